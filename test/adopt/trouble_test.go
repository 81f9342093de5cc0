package adopt

import (
	"strings"
	"testing"
	"time"

	"havip/test/cluster"
)

// TestKilled: the command is killed again and again in the middle of each master's
// part, and goes on each time.
func TestKilled(t *testing.T) {
	s := withKeepalived(t, "")
	n1, n2, n3 := s.l.Nodes[0], s.l.Nodes[1], s.l.Nodes[2]
	s.quick(s.step("killed on the way", func() {
		for _, n := range s.l.Nodes[1:] {
			for _, after := range []string{"0.1", "0.3", "0.6", "1"} {
				_, _, _, err := n.Try(s.ctx, "sh", "-c", "timeout --signal=KILL "+after+" havipctl adopt --begin; true")
				s.try(err)
			}
			s.on(n, "havipctl", "adopt", "--begin")
		}
		for _, after := range []string{"0.1", "0.3", "0.6", "1", "1.5", "2"} {
			_, _, _, err := n1.Try(s.ctx, "sh", "-c", "timeout --signal=KILL "+after+" havipctl adopt --begin; true")
			s.try(err)
			s.on(n1, "systemctl", "kill", "--signal=KILL", "havipd")
		}
		s.on(n1, "havipctl", "adopt", "--begin")
	}))
	s.stable(n1)
	s.step("killed on the way back", func() {
		s.on(n2, "havipctl", "adopt", "--undo")
		s.on(n3, "havipctl", "adopt", "--undo")
		for _, n := range s.l.Nodes {
			for _, after := range []string{"0.1", "0.3", "0.6", "1", "2", "4"} {
				_, _, _, err := n.Try(s.ctx, "sh", "-c", "timeout --signal=KILL "+after+" havipctl adopt --undo; true")
				s.try(err)
			}
			s.on(n, "havipctl", "adopt", "--undo")
		}
	})
	for _, n := range s.l.Nodes {
		s.on(n, "sh", "-c", "systemctl is-active keepalived && systemctl is-enabled keepalived && ! systemctl is-active havipd && test ! -e /etc/havip/havip.toml")
	}
	s.holder("n1")
}

// TestHolderDies: the master whose part comes last loses power when all others
// wait. They wait on, until an operator lets one of them take the address.
func TestHolderDies(t *testing.T) {
	s := withKeepalived(t, "/24")
	n1, n2, n3 := s.l.Nodes[0], s.l.Nodes[1], s.l.Nodes[2]
	s.on(n2, "havipctl", "adopt", "--begin")
	s.on(n3, "havipctl", "adopt", "--begin")
	s.step("the holder dies", func() {
		s.try(n1.PowerCut())
		s.try(cluster.Pause(s.ctx, 10*time.Second))
		if h := s.l.Sampler.Holders(); len(h) != 0 {
			s.Errorf("%v took the address", h)
		}
		s.on(n2, "havipctl", "undrain")
		s.holder("n2")
	})
	err := cluster.Poll(s.ctx, patience, "n3 takes part", func() bool {
		out, _, _, err := n3.Try(s.ctx, "havipctl", "status", "-o", "json")
		return err == nil && !strings.Contains(out, `"adopting"`) && strings.Contains(out, `"role": "candidate"`)
	})
	s.try(err)
}
