package adopt

import (
	"fmt"
	"testing"

	"havip/test/lab"
)

// withKeepalived is a cluster whose address keepalived holds, n1 first.
func withKeepalived(t *testing.T, mask string) *scene {
	t.Helper()
	s := open(t, func(n *lab.Node, number int) error {
		state, priority := "BACKUP", 101-number
		if number == 1 {
			state = "MASTER"
		}
		return n.WriteFile("/etc/keepalived/keepalived.conf", fmt.Sprintf(keepalivedConfig, state, priority, mask), 0o644)
	})
	s.holder("n1")
	return s
}

// TestKeepalived migrates there, back, and there again.
func TestKeepalived(t *testing.T) {
	for _, mask := range []string{"/24", ""} {
		t.Run("mask "+mask, func(t *testing.T) { migrateKeepalived(withKeepalived(t, mask)) })
	}
}

func migrateKeepalived(s *scene) {
	n1, n2, n3 := s.l.Nodes[0], s.l.Nodes[1], s.l.Nodes[2]
	begin, undo := []string{"havipctl", "adopt", "--begin"}, []string{"havipctl", "adopt", "--undo"}
	s.quick(s.step("rehearsal on all", func() {
		for _, n := range s.l.Nodes {
			s.says(n, "keepalived by /etc/keepalived/keepalived.conf", "havipctl", "adopt")
		}
	}))
	s.quick(s.step("n1 too early", func() { s.says(n1, "First, on n2, n3", begin...) }))
	s.quick(s.step("n2", func() { s.on(n2, begin...) }))
	s.quick(s.step("n2 back", func() { s.says(n2, "as it was", undo...) }))
	s.quick(s.step("n2 again", func() { s.on(n2, begin...) }))
	s.quick(s.step("n1 too early again", func() { s.says(n1, "First, on n3", begin...) }))
	s.quick(s.step("n3", func() { s.on(n3, begin...) }))
	s.quick(s.step("n1", func() { s.says(n1, "is done", begin...) }))
	s.stable(n1)
	for _, n := range s.l.Nodes {
		s.says(n, "nothing to do", begin...)
		s.on(n, "sh", "-c", "! systemctl is-active keepalived && ! systemctl is-enabled keepalived && systemctl is-enabled havipd")
	}
	s.step("handover to n2 and back", func() {
		s.on(n1, "havipctl", "handover", "--to", "n2")
		s.holder("n2")
		s.on(n2, "havipctl", "handover", "--to", "n1")
		s.holder("n1")
	})

	s.refused(n1, "n2: it would take the VIP", undo...)
	s.quick(s.step("n2 kept back", func() { s.says(n2, "on n1: havipctl adopt --undo", undo...) }))
	s.refused(n1, "n3: it would take the VIP", undo...)
	s.quick(s.step("n3 kept back", func() { s.says(n3, "on n1: havipctl adopt --undo", undo...) }))
	// keepalived takes the removal of havip's own address for the loss of its own,
	// and is master again after its skew time, (256 - priority) / 256 s.
	if m := s.step("n1 back", func() { s.says(n1, "as it was", undo...) }); m.nobody > back {
		s.Errorf("n1 back: nobody had the address for %v, want %v at most", m.nobody, back)
	}
	s.quick(s.step("n2 back", func() { s.says(n2, "as it was", undo...) }))
	s.quick(s.step("n3 back", func() { s.says(n3, "as it was", undo...) }))
	for _, n := range s.l.Nodes {
		s.on(n, "sh", "-c", "systemctl is-active keepalived && systemctl is-enabled keepalived && ! systemctl is-active havipd && ! systemctl is-enabled havipd && test ! -e /etc/havip/havip.toml")
	}
	s.holder("n1")
	// One that was left over is switched off by hand (docs/runbooks.md, "Two holders").
	s.on(n3, "systemctl", "disable", "--now", "keepalived")
	s.on(n3, "sh", "-c", "! systemctl is-active keepalived && ! systemctl is-enabled keepalived")
	s.holder("n1")
}
