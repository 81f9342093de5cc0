package e2e

import (
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"havip/test/cluster"
	"havip/test/lab"
)

// Rivals that would set the virtual IP too.
const (
	kubeVIPPath = "/etc/kubernetes/manifests/kube-vip.yaml"
	kubeVIP     = `apiVersion: v1
kind: Pod
metadata: {name: kube-vip, namespace: kube-system}
spec:
  containers:
  - name: kube-vip
    image: ghcr.io/kube-vip/kube-vip:v1.0.0
    args: [manager]
    env:
    - {name: cp_enable, value: "true"}
    - {name: address, value: 198.51.100.166}
`
	keepalivedPath = "/etc/keepalived/keepalived.conf"
	keepalivedLink = "/etc/systemd/system/multi-user.target.wants/keepalived.service"
	keepalived     = "vrrp_instance masters {\n  virtual_ipaddress {\n    198.51.100.166/32 dev eth0\n  }\n}\n"
)

// TestRefused: init refuses and touches nothing where something else has the
// virtual IP or would set it. Of two inits at once one at most goes on; then the
// others join.
func TestRefused(t *testing.T) {
	s := machines(t, masters)
	s.install("")
	n1, n3 := s.Nodes[0], s.Nodes[2]

	t.Run("somebody answers for the virtual IP", func(t *testing.T) {
		s.on(n3, "systemctl", "stop", "havipd") // it would not stand for it
		s.try(n3.AddVIP(cluster.VIP4))
		s.refuses(t, n1, "somebody uses the VIP already")
		s.try(n3.DeleteVIP(cluster.VIP4))
		s.on(n3, "systemctl", "start", "havipd")
	})
	t.Run("kube-vip", func(t *testing.T) {
		s.try(n1.WriteFile(kubeVIPPath, kubeVIP, 0o600))
		s.refuses(t, n1, "kube-vip in "+kubeVIPPath)
		s.on(n1, "rm", kubeVIPPath)
	})
	t.Run("keepalived", func(t *testing.T) {
		s.try(n1.WriteFile(keepalivedPath, keepalived, 0o600))
		s.try(n1.WriteFile(keepalivedLink, "", 0o600))
		s.refuses(t, n1, "keepalived, by "+keepalivedPath)
		s.on(n1, "rm", keepalivedPath, keepalivedLink)
	})
	s.began = cluster.Now()
	s.twoAtOnce(n1, s.Nodes[1])
}

// refuses checks that init says why it refuses, and leaves everything as it was.
func (s *scene) refuses(t *testing.T, n *lab.Node, why string) {
	t.Helper()
	look := func() string {
		return s.on(n, "sh", "-c", "find /etc/kubernetes /var/lib/etcd /var/lib/kubelet | sort")
	}
	before := look()
	out, errOut, code, err := n.Try(s.ctx, "havipctl", "init")
	s.try(err)
	if code != 1 || !strings.Contains(errOut, why) || !strings.Contains(errOut, "nothing was done") {
		t.Errorf("init ended with exit status %d, want 1 and %q:\n%s%s", code, why, out, errOut)
	}
	if after := look(); after != before {
		t.Errorf("init changed files from\n%s\nto\n%s", before, after)
	}
	for _, one := range s.Sampler.Holders() {
		if one == n.Name {
			t.Errorf("%s has the virtual IP, though init refused", one)
		}
	}
}

// twoAtOnce runs init on two nodes at once, and makes a cluster of what came of it.
func (s *scene) twoAtOnce(nodes ...*lab.Node) {
	s.Helper()
	outcomes := make([]Outcome, len(nodes))
	failures := make([]error, len(nodes))
	var g errgroup.Group
	for i, n := range nodes {
		g.Go(func() error {
			outcomes[i], failures[i] = s.Init(s.ctx, n)
			return nil
		})
	}
	s.try(g.Wait())
	first := -1
	for i, err := range failures {
		s.Logf("%s: %v", nodes[i].Name, err)
		switch {
		case err != nil && !strings.Contains(err.Error(), "nothing was done"):
			s.Errorf("init on %s: %v, want a refusal that touches nothing", nodes[i].Name, err)
		case err == nil && first >= 0:
			s.Fatalf("init went on on both %s and %s", nodes[first].Name, nodes[i].Name)
		case err == nil:
			first = i
		}
	}
	if first < 0 { // each was in the other's way; one after the other goes
		first = 0
		var err error
		outcomes[0], err = s.Init(s.ctx, nodes[0])
		s.try(err)
	}
	var err error
	s.api, err = s.API(s.ctx, nodes[first])
	s.try(err)
	for _, n := range s.Others(nodes[first]) {
		s.try(s.Join(s.ctx, n, outcomes[first].Join.Ticket))
	}
	s.calm()
	s.judge()
}
