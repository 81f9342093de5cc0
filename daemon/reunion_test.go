package daemon

import (
	"context"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"havip/daemon/status"
)

// awaited is whom a node waits for on the link.
type awaited struct {
	host chan netip.Addr
	back chan struct{}
	end  chan error // why it does so no more
}

func (s *shell) awaits() *awaited {
	a := &awaited{host: make(chan netip.Addr, 9), back: make(chan struct{}), end: make(chan error, 9)}
	s.addr.await = func(ctx context.Context, host netip.Addr) (bool, error) {
		a.host <- host
		select {
		case <-a.back:
			return true, nil
		case <-ctx.Done():
			a.end <- ctx.Err()
			return false, ctx.Err()
		}
	}
	return a
}

func TestFormerHolderIsAwaited(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2 := b.shell("n1").start(), b.shell("n2")
		a := n2.awaits()
		n2.start()
		b.until(first + time.Second)
		n1.crash()
		b.pass(20 * time.Second)
		if len(a.host) != 1 {
			t.Fatalf("n2 waits for %d masters after n1 went silent, want one", len(a.host))
		}
		if host := <-a.host; host != n1.l.self.Address {
			t.Errorf("n2 waits for %v", host)
		}
		before := len(b.times("n2", "announce"))
		close(a.back)
		synctest.Wait()
		if got := len(b.times("n2", "announce")) - before; got != 1 {
			t.Errorf("announced %d times when n1 was there again, want once", got)
		}
		b.pass(time.Minute)
		if len(a.host) != 0 {
			t.Error("n2 waits again though n1 has come back")
		}
	})
}

// TestAwaitedByTheHolderAlone: who gives the address away leaves the waiting to who
// gets it.
func TestAwaitedByTheHolderAlone(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2, n3 := b.shell("n1").start(), b.shell("n2"), b.shell("n3")
		second, third := n2.awaits(), n3.awaits()
		n2.start()
		b.until(first + time.Second)
		n1.crash()
		b.pass(20 * time.Second)
		n3.start()
		b.pass(time.Second)
		if len(third.host) != 0 {
			t.Errorf("n3 waits for %v though n2 is the holder", <-third.host)
		}
		if code, body := n2.ask(http.MethodPost, status.PathHandover, `{"to": "n3"}`); code != http.StatusOK {
			t.Fatalf("handover: %d %s", code, body)
		}
		b.pass(time.Second)
		if len(second.host) != 1 || len(second.end) != 1 {
			t.Errorf("n2 waited for %d masters and gave up on %d, want 1 and 1", len(second.host), len(second.end))
		}
		if len(third.host) != 1 || <-third.host != n1.l.self.Address {
			t.Error("n3 does not wait for n1")
		}
	})
}

// TestNobodyIsAwaitedAfterAHandover: who was holder hears the announcements.
func TestNobodyIsAwaitedAfterAHandover(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2 := b.shell("n1").start(), b.shell("n2")
		a := n2.awaits()
		n2.start()
		b.until(first + time.Second)
		n1.stop()
		b.pass(time.Minute)
		if b.holder() != "n2" || len(a.host) != 0 {
			t.Errorf("%s holds it, n2 waits for %d masters, want none", b.holder(), len(a.host))
		}
	})
}
