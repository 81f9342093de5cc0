package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"havip/test/cluster"
	"havip/test/lab"
)

// upgrades bounds what kubeadm takes for one master.
const upgrades = 6 * time.Minute

// TestUpgrade: a cluster goes to the next minor version while clients use the API,
// as docs/kubeadm.md has it: one master after another gives the virtual IP away, is
// upgraded, and takes part again.
func TestUpgrade(t *testing.T) {
	if *upgrade == "" {
		t.Skip("NOT RUN: no version to upgrade to was named: NEXT of make e2e")
	}
	each(t, func(t *testing.T) {
		s := machinesWith(t, Setup{Machines: masters, Next: *upgrade})
		s.install("")
		s.makeCluster()
		s.calm()
		s.begin()
		c := s.clients(uniqueName("upgrade"))
		for i, n := range s.Nodes {
			args := "node"
			if i == 0 {
				args = "apply --yes " + s.next.Version
			}
			s.maintain(c, n, fmt.Sprintf("`kubeadm upgrade %s`", strings.Fields(args)[0]), func() { s.upgrade(n, args) })
		}
		c.stop()
		s.calm()
		s.upgraded()
		if j := s.judge(); j.LongestNone > handsOver {
			t.Errorf("nobody had the virtual IP for %v, want handovers: %v", j.LongestNone, j.Spans)
		}
	})
}

// maintain does something to a master that gave the virtual IP away for it.
func (s *scene) maintain(c *clients, n *lab.Node, what string, do func()) {
	s.Helper()
	role := "a standby"
	if s.holder() == n {
		role = "the holder"
	}
	c.from = cluster.Now()
	s.on(n, "havipctl", "drain")
	do()
	s.on(n, "havipctl", "undrain")
	s.calm()
	s.back(c, what+" of "+role+", drained")
}

// ignoredByUpgrade are checks of kubeadm that ask for an addon which the lab lacks.
var ignoredByUpgrade = []string{"CoreDNSUnsupportedPlugins", "CoreDNSMigration"}

// upgrade is what an operator does on one master when the new packages are there.
func (s *scene) upgrade(n *lab.Node, args string) {
	s.Helper()
	s.try(lab.ImportImages(s.ctx, n, nextImages))
	start := cluster.Now()
	s.on(n, "sh", "-c", fmt.Sprintf("timeout %d %s/kubeadm upgrade %s --ignore-preflight-errors=%s", int(upgrades.Seconds()), next, args,
		strings.Join(slices.Concat(ignored, ignoredByUpgrade), ",")))
	s.Logf("kubeadm upgrade %s on %s took %v", args, n.Name, cluster.Now()-start)
	s.try(n.WriteFile("/etc/systemd/system/kubelet.service.d/20-next.conf", strings.ReplaceAll(lab.KubeletDropIn, "/usr/bin/kubelet", next+"/kubelet"), 0o644))
	s.on(n, "systemctl", "daemon-reload")
	s.on(n, "systemctl", "restart", "kubelet")
}

// upgraded checks that everything has the next version.
func (s *scene) upgraded() {
	s.Helper()
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   struct {
				NodeInfo struct{ KubeletVersion string }
			}
		}
	}
	s.try(s.api.Get(s.ctx, "/api/v1/nodes", &list))
	for _, o := range list.Items {
		if got := o.Status.NodeInfo.KubeletVersion; got != s.next.Version {
			s.Errorf("kubelet of %s is %s, want %s", o.Metadata.Name, got, s.next.Version)
		}
	}
	for _, n := range s.Nodes[:masters] {
		for _, program := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
			manifest := s.on(n, "cat", "/etc/kubernetes/manifests/"+program+".yaml")
			if want := program + ":" + s.next.Version; !strings.Contains(manifest, want) {
				s.Errorf("%s does not run %s", n.Name, want)
			}
		}
	}
}

// TestRenewCertificates: every certificate is made anew on one master after another,
// and what uses them is started again, while clients use the API.
func TestRenewCertificates(t *testing.T) {
	play(t, func(s *scene) {
		c := s.clients(uniqueName("renew"))
		for _, n := range s.Nodes[:masters] {
			s.maintain(c, n, "`kubeadm certs renew all`", func() { s.renewCertificates(n) })
		}
		c.stop()
		if j := s.judge(); j.LongestNone > handsOver {
			s.Errorf("nobody had the virtual IP for %v, want handovers: %v", j.LongestNone, j.Spans)
		}
	})
}

// renewCertificates is what kubeadm's documentation asks for: the pods of the
// control plane read certificates when they start, and start when their manifests
// come back.
func (s *scene) renewCertificates(n *lab.Node) {
	s.Helper()
	before := s.certificates(n)
	s.on(n, "kubeadm", "certs", "renew", "all")
	s.on(n, "mv", "/etc/kubernetes/manifests", "/etc/kubernetes/manifests.away")
	s.try(cluster.Poll(s.ctx, settles, "the end of the control plane on "+n.Name, func() bool { return len(s.certificates(n)) == 0 }))
	s.on(n, "mv", "/etc/kubernetes/manifests.away", "/etc/kubernetes/manifests")
	after := map[string]string{}
	s.try(cluster.Poll(s.ctx, settles, "the control plane on "+n.Name, func() bool {
		after = s.certificates(n)
		return len(after) == len(before)
	}))
	for port, serial := range before {
		if after[port] == serial {
			s.Errorf("%s still serves certificate %s on port %s", n.Name, serial, port)
		}
	}
}

// certificates are the serial numbers of what the node's API server and etcd show,
// by port; those that do not answer are missing.
func (s *scene) certificates(n *lab.Node) map[string]string {
	s.Helper()
	serials := map[string]string{}
	for _, port := range []string{"6443", "2379", "2380"} {
		conn, err := s.Dial(s.ctx, "tcp", net.JoinHostPort(n.Address.String(), port))
		if err != nil {
			continue
		}
		// Whom to trust is not the question here.
		secured := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		if err := secured.HandshakeContext(s.ctx); err == nil {
			serials[port] = secured.ConnectionState().PeerCertificates[0].SerialNumber.String()
		}
		conn.Close()
	}
	return serials
}
