package e2e

import (
	"testing"

	"havip/test/cluster"
	"havip/test/lab"
)

const (
	secretPath = "/etc/havip/secret"
	unattended = "\n[unattended]\ninit_node = \"n1\"\nsecret_file = \"" + secretPath + "\"\n"
)

// TestUnattended: three machines with package, configuration and the same secret
// become a cluster when the unit is enabled; nobody types anything on any of them.
func TestUnattended(t *testing.T) {
	s := machines(t, masters)
	s.try(Each(s.Nodes, func(n *lab.Node) error {
		if err := s.InstallOnly(s.ctx, n, unattended); err != nil {
			return err
		}
		return n.WriteFile(secretPath, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n", 0o600)
	}))
	s.begin()
	s.try(Each(s.Nodes, func(n *lab.Node) error {
		_, err := n.Exec(s.ctx, "systemctl", "enable", "--now", "--no-block", "havipd", "havip-kubeadm")
		return err
	}))
	n1 := s.Nodes[0]
	s.try(cluster.Poll(s.ctx, stepTime, "an admin.conf on n1", func() bool {
		_, err := s.API(s.ctx, n1)
		return err == nil
	}))
	s.connect()
	s.try(cluster.Poll(s.ctx, stepTime, "three masters", func() bool { return s.unready(masters) == "" }))
	took := cluster.Now() - s.began
	s.calm()
	s.Logf("three ready masters %v after the unit was started", took)
	note("an unattended cluster, all three started at once", figure{"ready", took})
	if j := s.judge(); len(j.Moves) != 0 {
		s.Errorf("the virtual IP moved: %v", j.Spans)
	}
	// The secret has done its work; at each boot the unit finds nothing to do.
	for _, n := range s.Nodes {
		s.on(n, "rm", secretPath)
		s.on(n, "systemctl", "restart", "havip-kubeadm")
		u, err := n.Unit(s.ctx, "havip-kubeadm.service")
		s.try(err)
		if u["ActiveState"] != "active" || u["NRestarts"] != "0" {
			s.Errorf("havip-kubeadm on %s is %s after %s restarts, want active and none", n.Name, u["ActiveState"], u["NRestarts"])
		}
	}
}
