package daemon

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/daemon/status"
	"havip/election/etcd"
	"havip/vip"
)

const (
	hold     = 3000 * time.Millisecond
	takeover = 4500 * time.Millisecond
	renewal  = 400 * time.Millisecond

	// first is when the first holder there is has the address: nobody has left a
	// record, and nobody on the link answers for the address.
	first = takeover + looks*lookPause
)

func TestLoneNodeTakesTheAddressAfterTakeover(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1").start()
		b.until(first - time.Millisecond)
		if b.current() != "" || n1.kernel.has() {
			t.Fatalf("before its time the record is %q, the address there: %v", b.current(), n1.kernel.has())
		}
		b.until(first + setTakes)
		if !n1.kernel.has() || b.holder() != "n1" {
			t.Fatalf("in its time the holder is %s, the address there: %v", b.holder(), n1.kernel.has())
		}
		if got, want := n1.times("n1", "announce"), []time.Duration{first + setTakes}; !cmp.Equal(got, want) {
			t.Errorf("announced at %v, want %v", got, want)
		}
	})
}

func TestRenewalEvery400Milliseconds(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		var at []time.Duration
		write := n1.lock.write
		n1.lock.write = func(ctx context.Context, expect, value string, elsewhere bool) etcd.Result {
			at = append(at, b.now())
			return write(ctx, expect, value, elsewhere)
		}
		n1.start()
		b.until(first + 3*renewal)
		want := []time.Duration{first, first + renewal, first + 2*renewal, first + 3*renewal}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Errorf("writes (-want +got):\n%s", diff)
		}
		if d := n1.document(); d.Verdict != status.Degraded || *d.Holder.RightLeftMS != 3000 || *d.Holder.RenewedAgoMS != 0 {
			t.Errorf("status: %s, %+v", d.Verdict, d.Holder)
		}
	})
}

func TestSilentEtcdClearsAtSendPlusHold(t *testing.T) {
	for name, events := range map[string][]etcd.Event{
		"calls hang":        nil,
		"and it is noticed": {etcd.WatchLost{Err: errors.New("gone")}, etcd.Status{State: etcd.Unreachable, Reason: "connection refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, b *bench) {
				n1 := b.shell("n1").start()
				sent := first + renewal
				b.until(sent + 100*time.Millisecond)
				b.silence("n1", events...)
				b.until(sent + hold - time.Millisecond)
				if !n1.kernel.has() {
					t.Error("the address went before the right ended")
				}
				b.until(sent + hold)
				if n1.kernel.has() {
					t.Error("the right has ended and the address is there")
				}
				if got, want := b.times("n1", "clear"), []time.Duration{sent + hold}; !cmp.Equal(got, want) {
					t.Errorf("cleared at %v, want %v", got, want)
				}
			})
		})
	}
}

// While etcd hangs for hours every write and read has its own goroutine; their
// deadlines bound how many there are.
func TestGoroutinesDoNotPileUpWhileEtcdHangs(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.shell("n1").start()
		b.until(first + renewal)
		b.silence("n1")
		b.pass(time.Hour)
		// Renewals every 0.2 s that last hold are 15.
		b.cell.lock.Lock()
		defer b.cell.lock.Unlock()
		if b.most > 16 || b.writing > 4 {
			t.Errorf("%d writes were under way at once, %d still are", b.most, b.writing)
		}
	})
}

func TestSetThatNeverReturns(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		n1.l.watchdog = time.Second
		free := make(chan struct{})
		var hangs atomic.Bool
		set := n1.addr.set
		n1.addr.set = func(lifetime int, latest time.Duration) (time.Duration, error) {
			if hangs.Load() {
				<-free
			}
			return set(lifetime, latest)
		}
		n1.start()
		b.until(first)
		hangs.Store(true)
		b.pass(5 * time.Second)
		// Rule 5: no write while a set call is pending, so the right runs out.
		if d := n1.document(); d.Holder != nil && *d.Holder.RightLeftMS > 0 {
			t.Errorf("the holder still has a right: %+v", d.Holder)
		}
		if n := n1.sent.count("WATCHDOG=1"); n < 9 {
			t.Errorf("the watchdog was fed %d times in 9.5 s", n)
		}
		if got := b.times("n1", "clear"); len(got) != 0 {
			t.Fatalf("cleared at %v beside the set", got)
		}
		close(free)
		synctest.Wait()
		if got := b.times("n1", "clear"); len(got) == 0 {
			t.Error("the clear did not follow the set")
		}
	})
}

func TestStatusAnswersWhileTheKernelHangs(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		free := make(chan struct{})
		var asked atomic.Int64 // the first time by the caller, at the start
		n1.addr.found = func() ([]vip.Found, error) {
			if asked.Add(1) > 1 {
				<-free
			}
			return nil, nil
		}
		n1.start()
		b.until(first)
		for range 3 {
			begin := b.now()
			d := n1.document()
			if took := b.now() - begin; took > readBackTimeout {
				t.Errorf("the status took %v", took)
			}
			if !strings.Contains(strings.Join(d.Warnings, "\n"), "the kernel did not tell them within 1s") {
				t.Errorf("warnings: %q", d.Warnings)
			}
		}
		if got := asked.Load() - 1; got != 1 {
			t.Errorf("%d calls hang in the kernel, want one", got)
		}
		close(free)
	})
}

func TestClearFailsAndIsRetried(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		b.shell("n2").start()
		var works atomic.Bool
		var tries atomic.Int64
		clear := n1.addr.clear
		n1.addr.clear = func(ctx context.Context) error {
			if tries.Add(1); !works.Load() && n1.kernel.has() {
				return vip.ErrStillThere
			}
			return clear(ctx)
		}
		n1.start()
		b.pass(10 * time.Second)
		if b.holder() != "n1" {
			t.Fatalf("%s holds it", b.holder())
		}
		n1.stop()
		b.pass(time.Second)
		if b.holder() != "n1" {
			t.Errorf("released to %q though the address could not be cleared", b.holder())
		}
		if n := tries.Load(); n < 5 {
			t.Errorf("%d tries in a second", n)
		}
		works.Store(true)
		b.pass(200 * time.Millisecond)
		if b.holder() != "n2" {
			t.Errorf("after the clear the holder is %s", b.holder())
		}
	})
}

func TestSuspendClearsOnTheFirstWake(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.shell("n1").start()
		b.until(first + 100*time.Millisecond)
		b.silence("n1")
		b.suspend(time.Hour)
		b.pass(pulse)
		if got := b.times("n1", "clear"); len(got) < 1 || got[0] > time.Hour+first+100*time.Millisecond+pulse {
			t.Errorf("cleared at %v", got)
		}
	})
}

func TestDeletedAddressIsSetAgainAndCounted(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1").start()
		b.until(first + 100*time.Millisecond)
		n1.kernel.drop()
		b.pass(setTakes)
		if d := n1.document(); !n1.kernel.has() || d.Address.Reasserts != 1 {
			t.Errorf("the address is there: %v, set again %d times", n1.kernel.has(), d.Address.Reasserts)
		}
		// What this daemon clears itself does not count.
		b.silence("n1")
		b.pass(hold)
		n1.kernel.happen(vip.AddressDeleted{Addr: testVIP, Link: 2})
		synctest.Wait()
		if d := n1.document(); d.Address.Reasserts != 1 {
			t.Errorf("set again %d times after its own clear", d.Address.Reasserts)
		}
	})
}

// At the end of its lifetime the kernel removes the address: nobody else did.
func TestExpiryIsNoDeletionByOthers(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1").start()
		b.until(first + 100*time.Millisecond)
		b.silence("n1")
		b.until(first + hold - 50*time.Millisecond)
		if left := n1.kernel.left(); left <= 0 || left > expiryUnsure {
			t.Fatalf("the address lives for %v: nothing is tested", left)
		}
		n1.kernel.drop()
		synctest.Wait()
		if d := n1.document(); d.Address.Reasserts != 0 {
			t.Errorf("set again %d times", d.Address.Reasserts)
		}
	})
}

func TestFloodOfEventsDoesNotStopTheLoop(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1").start()
		b.until(first)
		for i := range 20000 {
			n1.l.box.put(etcd.Nodes{Values: map[string]string{"n2": strings.Repeat("x", i%50)}})
			n1.l.box.put(ready(true))
		}
		b.pass(renewal)
		if d := n1.document(); d.Holder == nil || *d.Holder.RightLeftMS < 2600 {
			t.Errorf("holder %+v", d.Holder)
		}
	})
}

// Every listener on the node hears each refresh, so there are two or three a
// second, however long etcd takes to confirm a renewal.
func TestRefreshesAreFew(t *testing.T) {
	for _, trip := range []time.Duration{0, 4 * time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond} {
		t.Run(trip.String(), func(t *testing.T) {
			in(t, func(t *testing.T, b *bench) {
				n1 := b.shell("n1")
				write := n1.lock.write
				n1.lock.write = func(ctx context.Context, expect, value string, elsewhere bool) etcd.Result {
					<-time.After(trip)
					return write(ctx, expect, value, elsewhere)
				}
				n1.start()
				b.pass(time.Minute)
				if n := len(b.times("n1", "set")); n > 3*60 {
					t.Errorf("%d sets in a minute", n)
				}
				if !n1.kernel.has() {
					t.Error("the address is not there")
				}
			})
		})
	}
}
