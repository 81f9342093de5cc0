package e2e

import (
	"context"
	"slices"
	"testing"
	"time"

	"havip/test/cluster"
	"havip/test/lab"
)

const (
	secretPath        = "/etc/havip/secret"
	unattendedSection = "\n[unattended]\ninit_node = \"n1\"\nsecret_file = \"" + secretPath + "\"\n"
)

// TestUnattended: three machines with package, configuration and the same secret
// become a cluster when the unit is enabled; nobody types anything on any of them.
func TestUnattended(t *testing.T) {
	each(t, func(t *testing.T) { machines(t, masters).unattended() })
}

func (s *scene) unattended() {
	s.enableEverywhere()
	took := s.becomesCluster()
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

// TestUnattendedPowerCut: the first master loses its power in the middle, and the
// second one in the middle of its join; the units go on.
func TestUnattendedPowerCut(t *testing.T) {
	s := machines(t, masters)
	s.enableEverywhere()
	for i, step := range []string{"wait-control-plane", "etcd-join"} {
		n := s.Nodes[i]
		s.try(underWay(s.ctx, n, step))
		s.try(n.PowerCut())
		s.try(n.PowerOn(s.ctx))
	}
	s.becomesCluster()
	s.judge()
}

// enableEverywhere is all that an operator does.
func (s *scene) enableEverywhere() {
	s.Helper()
	s.try(Each(s.Nodes, func(n *lab.Node) error {
		if err := s.InstallOnly(s.ctx, n, unattendedSection); err != nil {
			return err
		}
		return n.WriteFile(secretPath, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n", 0o600)
	}))
	s.begin()
	s.try(Each(s.Nodes, func(n *lab.Node) error {
		_, err := n.Exec(s.ctx, "systemctl", "enable", "--now", "--no-block", "havipd", "havip-kubeadm")
		return err
	}))
}

// becomesCluster waits until it is one, and says how long that took.
func (s *scene) becomesCluster() time.Duration {
	s.Helper()
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
	return took
}

// underWay waits until the step of a run that nobody here started is under way.
func underWay(ctx context.Context, n *lab.Node, name string) error {
	return cluster.Poll(ctx, stepTime, "step "+name+" on "+n.Name, func() bool {
		all, err := Steps(n)
		return err == nil && slices.ContainsFunc(all, func(s Step) bool { return s.Name == name })
	})
}
