package e2e

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"havip/test/cluster"
	"havip/test/lab"
)

// TestPlain is what a cluster takes without havip, with a virtual IP that stays
// where it was put by hand: the measure for what havipctl adds.
func TestPlain(t *testing.T) {
	each(t, func(t *testing.T) { testPlain(t, machines(t, masters)) })
}

func testPlain(t *testing.T, s *scene) {
	init, joined, ready := s.plainCluster()
	s.Logf("init took %v, with joins %v, ready after %v", init, joined, ready)
	note("a cluster by plain kubeadm, the virtual IP put on by hand", figure{"init", init}, figure{"joined", joined}, figure{"ready", ready})
}

// plainCluster makes one, and says how long that took up to each point.
func (s *scene) plainCluster() (init, joined, ready time.Duration) {
	s.Helper()
	n1 := s.Nodes[0]
	start := cluster.Now()
	s.try(n1.AddVIP(cluster.VIP4))
	endpoint := cluster.VIP4.String() + ":6443"
	said := s.on(n1, s.plain(n1, "init", "--control-plane-endpoint="+endpoint, "--upload-certs", "--kubernetes-version="+s.kubernetes.Version,
		"--image-repository="+lab.ImageRepository, "--skip-phases=addon")...)
	init = cluster.Now() - start
	word := func(pattern string) string {
		found := regexp.MustCompile(pattern).FindStringSubmatch(said)
		if found == nil {
			s.Fatalf("kubeadm init said no %s:\n%s", pattern, said)
		}
		return found[1]
	}
	s.connect()
	for _, n := range s.Nodes[1:] {
		s.on(n, s.plain(n, "join", endpoint, "--control-plane", "--token="+word(`--token ([a-z0-9.]+)`),
			"--discovery-token-ca-cert-hash="+word(`--discovery-token-ca-cert-hash (sha256:[0-9a-f]+)`), "--certificate-key="+word(`--certificate-key ([0-9a-f]+)`))...)
	}
	joined = cluster.Now() - start
	s.ready(masters)
	return init, joined, cluster.Now() - start
}

func (s *scene) plain(n *lab.Node, args ...string) []string {
	return append(append([]string{"kubeadm"}, args...), "--apiserver-advertise-address="+n.Address.String(), "--node-name="+n.Name,
		"--ignore-preflight-errors="+strings.Join(ignored, ","))
}
