package daemon

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/daemon/status"
	"havip/vip"
)

// fakeFence notes what is done to it.
type fakeFence struct {
	note func(string)
	left bool // by an earlier process

	mu     sync.Mutex
	done   []string
	first  time.Duration // until when it was open at first
	until  time.Duration
	refuse error // of Attach
}

func (f *fakeFence) fences() fences {
	return fences{
		open: f.open, left: func(string) bool { return f.left },
		remove: func(string) error { f.add("remove"); return nil },
	}
}

func (f *fakeFence) open(_ string, _ []netip.Addr, until time.Duration) (Fence, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.first, f.until = until, until
	return f, nil
}

// add notes what was done, once as long as nothing else is.
func (f *fakeFence) add(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.done); n == 0 || f.done[n-1] != what {
		f.done = append(f.done, what)
		f.note(what)
	}
}

func (f *fakeFence) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.done)
}

func (f *fakeFence) Set(until time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.until = until
}

func (f *fakeFence) Until() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.until
}

func (f *fakeFence) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = err
}

func (f *fakeFence) Tend() {}

func (f *fakeFence) Attach(int) error {
	f.mu.Lock()
	err := f.refuse
	f.mu.Unlock()
	if err == nil {
		f.add("attach")
	}
	return err
}

func (f *fakeFence) Detach() error { f.add("detach"); return nil }
func (f *fakeFence) Close() error  { f.add("close"); return nil }

// fenced is a daemon with heartbeats, and so with a fence.
func (b *bench) fenced(name string) *shell {
	b.extra = "[election]\ndetection = \"standard\"\n"
	return b.shell(name)
}

// TestFenced: a fence is there before the address, is open as long as the address
// may be served, and goes after it.
func TestFenced(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.fenced("n1").start()
		b.until(first - time.Millisecond)
		if v := n1.l.machine.View(); !v.Beats.Fence.OK || n1.fence.Until() != 0 {
			t.Errorf("before the election: %+v, open until %v", v.Beats.Fence, n1.fence.Until())
		}
		b.until(first + setTakes)
		if got, want := n1.fence.Until()-b.clock().Boot(), takeover*99/100; got > want || got < want-time.Second {
			t.Errorf("the holder's fence is open for %v, want about %v", got, want)
		}
		n1.stop()
		b.pass(10 * time.Second)
		var did []string
		for _, n := range b.notes {
			if n.what != "announce" && (len(did) == 0 || did[len(did)-1] != n.what) {
				did = append(did, n.what)
			}
		}
		if diff := cmp.Diff([]string{"attach", "set", "clear", "close"}, slices.Compact(did)); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

// TestFenceLeftBehind: what a killed daemon leaves the next one begins with.
func TestFenceLeftBehind(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.fenced("n1").start()
		b.until(first + renewal)
		n1.crash()
		if slices.Contains(n1.fence.all(), "close") {
			t.Error("a killed daemon removed its fence")
		}
		right := b.clock().Boot() + hold
		n1 = b.fenced("n1").start()
		b.pass(time.Millisecond)
		if n1.fence.first > right || n1.fence.first < right-renewal {
			t.Errorf("a fence that was lost is open until %v, the right to serve ends at %v", n1.fence.first, right)
		}
	})
}

// TestFenceRefused: without a fence the address is served as before, and nothing
// that would close stays on the link.
func TestFenceRefused(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.fenced("n1")
		n1.fence.refuse = errors.New("this kernel has no tcx hooks")
		n1.start()
		b.until(first + setTakes)
		if v := n1.l.machine.View(); v.Beats.Fence.OK || v.Beats.Fence.Reason != "this kernel has no tcx hooks" {
			t.Errorf("%+v", v.Beats.Fence)
		}
		if !n1.kernel.has() {
			t.Error("without a fence the address is not served")
		}
		if w := n1.document().Warnings; !slices.ContainsFunc(w, func(s string) bool { return strings.Contains(s, "no tcx hooks") }) {
			t.Errorf("warnings: %q", w)
		}
		if diff := cmp.Diff([]string{"detach"}, n1.fence.all()); diff != "" {
			t.Errorf("done (-want +got):\n%s", diff)
		}
		n1.fence.fail(nil)
		b.pass(linkEvery)
		if w := n1.document().Warnings; len(w) > 0 {
			t.Errorf("warnings: %q", w)
		}
		if v := n1.l.machine.View(); !v.Beats.Fence.OK {
			t.Errorf("it can be fenced again, and is not: %+v", v.Beats.Fence)
		}
	})
}

// TestFenceLost: the machine is told before the address is set without a fence; a
// link that is gone is no reason to give the fence up.
func TestFenceLost(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		told bool
	}{"refused": {errors.New("BPF program 7 runs before the fence"), true}, "no link": {os.ErrNotExist, false}} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, b *bench) {
				n1 := b.fenced("n1").start()
				b.until(first + setTakes)
				n1.fence.fail(test.err)
				if err := n1.addr.fenced(eth0.Index); !errors.Is(err, test.err) {
					t.Errorf("the set that finds it is refused with %v", err)
				}
				b.pass(time.Millisecond)
				if v := n1.l.machine.View(); v.Beats.Fence.OK == test.told {
					t.Errorf("the machine reckons with %+v", v.Beats.Fence)
				}
				if slices.Contains(n1.fence.all(), "detach") {
					t.Error("taken from an address that may live for longer than others wait")
				}
				if err := n1.addr.fenced(eth0.Index); (err == nil) != test.told {
					t.Errorf("the set after it: %v", err)
				}
				if slices.Contains(n1.fence.all(), "detach") != test.told {
					t.Errorf("done: %q", n1.fence.all())
				}
			})
		})
	}
}

// TestFenceLostMeanwhile: who looks at the link takes no fence from an address that was
// set with one, and a set call that was asked for before is refused.
func TestFenceLostMeanwhile(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.fenced("n1").start()
		b.until(first + setTakes)
		n1.addr.found = func() ([]vip.Found, error) { return []vip.Found{{Addr: testVIP, Remaining: 2}}, nil }
		refuse := errors.New("BPF program 7 runs before the fence")
		n1.fence.fail(refuse)
		if err := n1.l.fencing.check(eth0.Index); !errors.Is(err, refuse) {
			t.Errorf("the look ends with %v", err)
		}
		if err := n1.l.fencing.before(eth0.Index); !errors.Is(err, refuse) {
			t.Errorf("the set that was asked for before ends with %v", err)
		}
		if slices.Contains(n1.fence.all(), "detach") {
			t.Error("taken from an address that may live for longer than others wait")
		}
		if err := n1.l.fencing.before(eth0.Index); err != nil || !slices.Contains(n1.fence.all(), "detach") {
			t.Errorf("the set after it: %v, done: %q", err, n1.fence.all())
		}
	})
}

// TestFenceLostBesides: whoever looks at the link finds that another program came before
// the fence.
func TestFenceLostBesides(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := inEpoch(t, b)
		b.pass(n1.kernel.left() - 1200*time.Millisecond - 20*time.Millisecond)
		n1.fence.fail(errors.New("BPF program 7 runs before the fence"))
		began := b.now()
		n1.l.fencing.look(eth0.Index)
		for range 300 {
			b.pass(10 * time.Millisecond)
			if !n1.kernel.has() || b.clock().Boot() >= n1.fence.Until() && !slices.Contains(n1.fence.all(), "detach") {
				t.Errorf("does not answer %v after it was noticed", b.now()-began)
			}
		}
	})
}

// TestFenceLeftToNobody: a fence that a killed daemon left stays on its address, though
// the next one cannot use it.
func TestFenceLeftToNobody(t *testing.T) {
	for name, refuse := range map[string]func(*shell){
		"not attached": func(n1 *shell) { n1.fence.refuse = errors.New("no memory") },
		"not opened": func(n1 *shell) {
			n1.d.fences.open = func(string, []netip.Addr, time.Duration) (Fence, error) { return nil, errors.New("no memory") }
		},
	} {
		t.Run(name, func(t *testing.T) { testFenceLeftToNobody(t, refuse) })
	}
}

func testFenceLeftToNobody(t *testing.T, refuse func(*shell)) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.fenced("n1")
		refuse(n1)
		n1.addr.found = func() ([]vip.Found, error) { return []vip.Found{{Addr: testVIP, Remaining: 2}}, nil }
		n1.start()
		b.pass(time.Second)
		if got := n1.fence.all(); len(got) > 0 {
			t.Errorf("the address is there, and the fence was %q", got)
		}
	})
}

// TestFenceOff: what an earlier process left goes when the address is not there, or
// is served without it.
func TestFenceOff(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		n1.fence.left = true
		n1.start()
		b.pass(time.Second)
		if diff := cmp.Diff([]string{"remove"}, n1.fence.all()); diff != "" {
			t.Errorf("the address is not there: (-want +got):\n%s", diff)
		}
	})
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		n1.fence.left = true
		n1.addr.found = func() ([]vip.Found, error) { return []vip.Found{{Addr: testVIP, Remaining: 3}}, nil }
		n1.start()
		b.pass(time.Second)
		if got := n1.fence.all(); len(got) > 0 {
			t.Errorf("the address is there, and the fence was %q", got)
		}
		if err := n1.addr.fenced(eth0.Index); err != nil || !slices.Contains(n1.fence.all(), "remove") {
			t.Errorf("the address is set, and the fence was %q, %v", n1.fence.all(), err)
		}
	})
}

// TestFenceInMigration: it would close another program's address.
func TestFenceInMigration(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.fenced("n1")
		if err := saveAdopt(n1.d.StateDir, status.AdoptMark{Stage: status.AdoptReady}); err != nil {
			t.Fatal(err)
		}
		n1.start()
		b.pass(time.Second)
		if diff := cmp.Diff([]string{"detach"}, n1.fence.all()); diff != "" {
			t.Errorf("done (-want +got):\n%s", diff)
		}
		if v := n1.l.machine.View(); v.Beats.Fence.OK || !strings.Contains(v.Beats.Fence.Reason, "migration") {
			t.Errorf("%+v", v.Beats.Fence)
		}
		n1.l.box.put(adoptIs{})
		b.pass(linkEvery)
		if v := n1.l.machine.View(); !v.Beats.Fence.OK {
			t.Errorf("after the migration: %+v", v.Beats.Fence)
		}
	})
}
