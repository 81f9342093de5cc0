package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"havip/daemon/status"
	"havip/election"
	"havip/election/etcd"
	"havip/vip"
)

// savedMark is what /run says of a record that was given away.
func savedMark(t *testing.T, s *shell) bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.d.RunDir, "state.json"))
	if err != nil {
		return false
	}
	var f savedFile
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	return f.State != nil && f.State.GivenAway
}

// The order of giving away: the address is cleared and confirmed, /run says that
// the record is being given away, and only then the transaction is sent.
func TestHandoverOrder(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		n2 := b.shell("n2").start()
		write := n1.lock.write
		var given atomic.Int64
		n1.lock.write = func(ctx context.Context, expect, value string, elsewhere bool) etcd.Result {
			if r, _ := election.DecodeRecord(value); r.Node != "n1" {
				given.Add(1)
				if n1.kernel.has() {
					t.Error("the address was there when the record was given away")
				}
				if !savedMark(t, n1) {
					t.Error("/run did not say that the record is being given away")
				}
				if !elsewhere {
					t.Error("giving away may use another member")
				}
			}
			return write(ctx, expect, value, elsewhere)
		}
		n1.start()
		b.pass(6 * time.Second)
		code, body := n1.ask(http.MethodPost, status.PathHandover, `{"to": "n2"}`)
		if code != http.StatusOK || !strings.Contains(string(body), "handed over to n2") {
			t.Fatalf("handover: %d %s", code, body)
		}
		b.pass(setTakes)
		if given.Load() != 1 || b.holder() != "n2" || !n2.kernel.has() || n1.kernel.has() {
			t.Errorf("given away %d times, n1 has it: %v, n2 has it: %v", given.Load(), n1.kernel.has(), n2.kernel.has())
		}
		m := n2.document().LastMove
		if m == nil || m.From != "n1" || m.To != "n2" || !m.Planned || *m.GapMS != 0 {
			t.Errorf("last move %+v", m)
		}
		if _, err := os.Stat(filepath.Join(n1.d.RunDir, "state.json")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what was given away can still be adopted: %v", err)
		}
	})
}

func TestStopEndsWithinItsBudget(t *testing.T) {
	const budget = 6*time.Second + straggling
	unreachable := etcd.Status{State: etcd.Unreachable, Reason: "connection refused"}
	tests := map[string]struct {
		before func(b *bench, s *shell)
		within time.Duration
	}{
		"just started":               {func(*bench, *shell) {}, 100 * time.Millisecond},
		"a candidate":                {func(b *bench, _ *shell) { b.pass(time.Second) }, 100 * time.Millisecond},
		"the holder, alone":          {func(b *bench, _ *shell) { b.pass(6 * time.Second) }, 100 * time.Millisecond},
		"etcd is gone":               {func(b *bench, s *shell) { b.silence(s.name, unreachable); b.pass(time.Second) }, 100 * time.Millisecond},
		"the holder, etcd hangs":     {func(b *bench, s *shell) { b.pass(6 * time.Second); b.silence(s.name) }, budget},
		"the holder, etcd just died": {func(b *bench, s *shell) { b.pass(6 * time.Second); b.silence(s.name, unreachable) }, budget},
		"the holder, etcd long gone": {func(b *bench, s *shell) { b.pass(6 * time.Second); b.silence(s.name, unreachable); b.pass(time.Minute) }, budget},
		"the holder, no quorum": {func(b *bench, s *shell) {
			b.pass(6 * time.Second)
			b.silence(s.name, etcd.Status{State: etcd.NoLeader, Via: "x", Local: true})
		}, budget},
		"the holder, etcd is full": {func(b *bench, s *shell) {
			b.pass(6 * time.Second)
			b.silence(s.name, etcd.Status{State: etcd.Alarmed, Via: "x", Local: true})
		}, budget},
		"the holder after 5 minutes": {func(b *bench, _ *shell) { b.pass(5 * time.Minute) }, 100 * time.Millisecond},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, b *bench) {
				s := b.shell("n1").start()
				test.before(b, s)
				begin := b.now()
				s.stop()
				if err := <-s.done; err != nil {
					t.Errorf("ended with %v", err)
				}
				if took := b.now() - begin; took > test.within {
					t.Errorf("took %v, want at most %v", took, test.within)
				}
				if s.kernel.has() {
					t.Error("the address is there after the end")
				}
				if b.nodes["n1"] != "" && !b.mute["n1"] {
					t.Error("the presence is there after the end")
				}
			})
		})
	}
}

func TestStopWhileACallHangs(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
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
		b.pass(time.Second)
		begin := b.now()
		n1.stop()
		if err := <-n1.done; !errors.Is(err, errStraggler) {
			t.Errorf("ended with %v", err)
		}
		if took := b.now() - begin; took > 6*time.Second+straggling {
			t.Errorf("took %v", took)
		}
		close(free)
	})
}

// A task that ends takes the daemon with it, but not before the address is
// given away: nobody would refresh it, or hear that it is lost.
func TestTaskThatEndsGivesTheAddressAway(t *testing.T) {
	for name, how := range map[string]error{"with an error": errors.New("broken"), "without one": nil} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, b *bench) {
				n2 := b.shell("n2").start()
				n1 := b.shell("n1")
				broken := make(chan struct{})
				n1.lock.run = func(ctx context.Context, sink func(etcd.Event)) error {
					b.follow("n1", sink)
					select {
					case <-broken:
					case <-ctx.Done():
					}
					return how
				}
				n1.start()
				b.pass(6 * time.Second)
				close(broken)
				err := <-n1.done
				if err == nil || !strings.HasPrefix(err.Error(), "following etcd ended: ") {
					t.Errorf("ended with %v", err)
				}
				b.pass(setTakes)
				if n1.kernel.has() || !n2.kernel.has() {
					t.Errorf("n1 has it: %v, n2 has it: %v", n1.kernel.has(), n2.kernel.has())
				}
			})
		})
	}
}

// A disk that hangs must not stop the loop; it stops a handover, which must not
// be sent before /run says so.
func TestSlowKeeperDoesNotBlockTheLoop(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		free := make(chan struct{})
		var hangs atomic.Bool
		n1.l.keeper.put = func(s *election.SavedState) error {
			if hangs.Load() {
				<-free
			}
			return nil
		}
		n1.start()
		b.pass(6 * time.Second)
		hangs.Store(true)
		b.pass(time.Minute)
		if d := n1.document(); d.Holder == nil || *d.Holder.RightLeftMS < 2600 || !n1.kernel.has() {
			t.Errorf("holder %+v", d.Holder)
		}
		if n := len(n1.l.keeper.waiting); n > 1 {
			t.Errorf("%d saves wait", n)
		}
		close(free)
	})
}

func TestStateThatCannotBeSavedStopsAHandover(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n2 := b.shell("n2").start()
		n1 := b.shell("n1")
		n1.l.keeper.put = func(s *election.SavedState) error { return errors.New("no space left on device") }
		n1.start()
		b.pass(6 * time.Second)
		code, body := n1.ask(http.MethodPost, status.PathHandover, "")
		if code != http.StatusConflict || !strings.Contains(string(body), "could not be saved") {
			t.Errorf("answered %d %s", code, body)
		}
		if b.holder() != "n1" || n1.kernel.has() || n2.kernel.has() {
			t.Errorf("holder %s, n1 has it: %v, n2 has it: %v", b.holder(), n1.kernel.has(), n2.kernel.has())
		}
		if n := strings.Count(n1.logged.String(), "no space left"); n > 2 {
			t.Errorf("the same error was logged %d times", n)
		}
	})
}

func TestCrashTakeover(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n2 := b.shell("n2").start()
		n1 := b.shell("n1").start()
		b.pass(6 * time.Second)
		last := first + 2*renewal
		n1.crash()
		<-n1.done
		b.until(last + takeover + 50*time.Millisecond + 10*time.Millisecond)
		if !n2.kernel.has() {
			t.Fatal("n2 has not taken over")
		}
		// The lease of n1 has not run out: its key still says that it is the holder.
		if b.nodes["n1"] == "" {
			t.Fatal("the presence of n1 is gone: nothing is tested")
		}
		b.pass(time.Second)
		d := n2.document()
		m := masterOf(d, "n1")
		if m.Present || m.Role != status.RoleGone || d.Verdict != status.Degraded {
			t.Errorf("n1 is %+v, the verdict %s", m, d.Verdict)
		}
		if got, want := time.Duration(*m.LastSeenMS)*time.Millisecond, b.now()-last; got != want {
			t.Errorf("n1 was last seen %v ago, want %v", got, want)
		}
		b.expire("n1")
		b.pass(time.Second)
		if m := masterOf(n2.document(), "n1"); m.Present || m.Role != status.RoleGone {
			t.Errorf("after its lease ran out n1 is %+v", m)
		}
		// It comes back: its own word counts again.
		b.shell("n1").start()
		b.pass(time.Second)
		if m := masterOf(n2.document(), "n1"); !m.Present || m.Role != status.RoleNext {
			t.Errorf("n1 is back as %+v", m)
		}
	})
}

// An ex-holder that lives says soon that it is no holder any more.
func TestPartitionedHolderIsNotCalledGoneWhenItSpeaks(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n2 := b.shell("n2").start()
		b.shell("n1").start()
		b.pass(6 * time.Second)
		b.silence("n1", etcd.Status{State: etcd.Unreachable, Reason: "connection refused"})
		b.pass(5 * time.Second)
		if m := masterOf(n2.document(), "n1"); m.Present {
			t.Errorf("n1 cannot be heard and is %+v", m)
		}
		b.cell.lock.Lock()
		b.mute["n1"] = false
		sink := b.sinks["n1"]
		b.cell.lock.Unlock()
		b.follow("n1", sink)
		b.pass(time.Second)
		if m := masterOf(n2.document(), "n1"); !m.Present || m.Role != status.RoleNext {
			t.Errorf("n1 is back as %+v", m)
		}
	})
}

func TestSetErrors(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		var fails atomic.Bool
		fails.Store(true)
		set := n1.addr.set
		n1.addr.set = func(lifetime int, latest time.Duration) (time.Duration, error) {
			if fails.Load() {
				return 0, errors.New("permission denied")
			}
			return set(lifetime, latest)
		}
		n1.addr.found = func() ([]vip.Found, error) { return nil, errors.New("interrupted") }
		n1.start()
		b.pass(6 * time.Second)
		d := n1.document()
		if !strings.Contains(strings.Join(d.Warnings, "\n"), "interrupted") {
			t.Errorf("warnings %q", d.Warnings)
		}
		if n := strings.Count(n1.logged.String(), "permission denied"); n != 1 {
			t.Errorf("logged %d times", n)
		}
		fails.Store(false)
		b.pass(time.Second)
		if !n1.kernel.has() {
			t.Error("the address is not there although setting it works again")
		}
		if len(d.Address.States) != 0 {
			t.Errorf("states %v of a kernel that tells none", d.Address.States)
		}
	})
}
