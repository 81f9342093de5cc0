package daemon

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
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

// TestKilledAsItGoesAside: the next process of a holder that was killed as a migration
// began goes on with its epoch, and then without a fence.
func TestKilledAsItGoesAside(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		dead := inEpoch(t, b)
		if err := saveAdopt(dead.d.StateDir, status.AdoptMark{Stage: status.AdoptGive}); err != nil {
			t.Fatal(err)
		}
		dead.crash()
		<-dead.done
		synctest.Wait()
		n1 := b.shell("n1")
		n1.kernel.until, n1.fence.left = dead.kernel.until, true
		n1.d.fences.open = func(string, []netip.Addr, time.Duration) (Fence, error) {
			n1.fence.Set(dead.fence.Until())
			return n1.fence, nil
		}
		n1.start()
		for range 1000 {
			b.pass(10 * time.Millisecond)
			if b.holder() == "n1" && !n1.kernel.has() {
				t.Fatalf("holds the record, and the address is gone: %s", b.current())
			}
		}
		if epochOf(b) != nil {
			t.Errorf("the epoch goes on: %s", b.current())
		}
	})
}
