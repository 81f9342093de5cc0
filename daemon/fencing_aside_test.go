package daemon

import (
	"slices"
	"testing"
	"time"

	"havip/daemon/status"
	"havip/election"
)

// inEpoch has n1 hold the address with heartbeats.
func inEpoch(t *testing.T, b *bench) *shell {
	t.Helper()
	b.extra = withHeartbeats
	n1 := b.shell("n1").start()
	b.pass(first)
	b.shell("n2").start()
	b.shell("n3").start()
	b.pass(20 * time.Second)
	if e := epochOf(b); e == nil || !n1.kernel.has() {
		t.Fatalf("n1 has it: %v, the record is %s", n1.kernel.has(), b.current())
	}
	return n1
}

func epochOf(b *bench) *election.Epoch {
	r, _ := election.DecodeRecord(b.current())
	return r.Epoch
}

// TestFenceGoesAside: a migration that begins on the holder takes the fence from no
// address that was set with one, while the record still has the epoch.
func TestFenceGoesAside(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := inEpoch(t, b)
		detach := n1.fence.note
		n1.fence.note = func(what string) {
			if e := epochOf(b); what == "detach" && e != nil {
				t.Errorf("the fence is gone in the epoch %s", e.ID)
			}
			detach(what)
		}
		began := b.now()
		n1.l.box.put(adoptIs{mark: status.AdoptMark{Stage: status.AdoptGive}})
		for range 300 {
			b.pass(10 * time.Millisecond)
			if !n1.kernel.has() || b.clock().Boot() >= n1.fence.Until() && !slices.Contains(n1.fence.all(), "detach") {
				t.Fatalf("does not answer %v after the migration began", b.now()-began)
			}
		}
		if got := n1.fence.all(); !slices.Contains(got, "detach") || n1.kernel.length() != 31 {
			t.Errorf("in the end: %q, prefix length %d", got, n1.kernel.length())
		}
	})
}
