package vip

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSetDecides(t *testing.T) {
	refused := errors.New("refused")
	const second = time.Second
	for _, tt := range []struct {
		name     string
		lifetime int
		left     time.Duration // from the call to its latest moment
		prepare  func(*fakeKernel)
		fence    error // of fencing the link
		want     error
		calls    []string
		addrs    []string // what is on the links afterwards
	}{
		{
			name: "in time", lifetime: 3, left: second,
			calls: []string{"arm", "set 198.51.100.166", "set 2001:db8::166", "disarm", "close"},
			addrs: []string{"198.51.100.166/32", "2001:db8::166/128"},
		},
		{name: "at the latest moment", lifetime: 3, left: 0, want: ErrTooLate, calls: []string{"close"}},
		{name: "less left than a healthy process may need", lifetime: 3, left: guardMargin - 1, want: ErrTooLate, calls: []string{"close"}},
		{name: "long past", lifetime: 3, left: -second, want: ErrTooLate, calls: []string{"close"}},
		{
			name: "the link cannot be fenced", lifetime: 3, left: second, want: ErrUntouched,
			fence: refused,
		},
		{
			name: "took effect late", lifetime: 3, left: second, want: ErrLate,
			// The effect came in time, then the process was held up before it could
			// look at the clock: it cannot know better.
			prepare: func(k *fakeKernel) { k.onAnswer = func(k *fakeKernel) { k.pass(second) } },
			calls:   []string{"arm", "set 198.51.100.166", "set 2001:db8::166", "disarm", "close"},
			addrs:   []string{"198.51.100.166/32", "2001:db8::166/128"},
		},
		{
			name: "the kernel refuses", lifetime: 3, left: second, want: refused,
			prepare: func(k *fakeKernel) { k.onApply = func(*fakeKernel) error { return refused } },
			calls:   []string{"arm", "disarm", "close"},
		},
		{
			name: "refused and late", lifetime: 3, left: second, want: ErrLate,
			prepare: func(k *fakeKernel) {
				k.onApply = func(k *fakeKernel) error { k.clock += second; return refused }
			},
			calls: []string{"arm", "disarm", "close"},
		},
		{
			name: "became permanent", lifetime: 3, left: second, want: ErrPermanent,
			prepare: func(k *fakeKernel) { k.mangle = func(a *addrInfo) { a.permanent = a.prefix.Addr().Is4() } },
			calls:   []string{"arm", "set 198.51.100.166", "set 2001:db8::166", "disarm", "close", "remove 198.51.100.166/32"},
			addrs:   []string{"2001:db8::166/128"},
		},
		{
			name: "lives longer than asked", lifetime: 3, left: second, want: ErrPermanent,
			prepare: func(k *fakeKernel) { k.mangle = func(a *addrInfo) { a.seconds++ } },
			calls: []string{"arm", "set 198.51.100.166", "set 2001:db8::166", "disarm", "close",
				"remove 198.51.100.166/32", "remove 2001:db8::166/128"},
		},
		{
			name: "permanent on another link with another prefix", lifetime: 3, left: second, want: ErrPermanent,
			prepare: func(k *fakeKernel) {
				k.as = []addrInfo{{index: 1, prefix: netip.MustParsePrefix("198.51.100.166/24"), permanent: true}}
			},
			calls: []string{"arm", "set 198.51.100.166", "set 2001:db8::166", "disarm", "close", "remove 198.51.100.166/24"},
			addrs: []string{"198.51.100.166/32", "2001:db8::166/128"},
		},
		{
			name: "gone at once", lifetime: 1, left: second, want: errAny,
			prepare: func(k *fakeKernel) {
				k.onAnswer = func(k *fakeKernel) { k.as = k.as[:1] }
			},
			calls: []string{"arm", "set 198.51.100.166", "set 2001:db8::166", "disarm", "close"},
			addrs: []string{"198.51.100.166/32"},
		},
		{name: "no lifetime", lifetime: 0, left: second, want: ErrUntouched},
		{name: "negative lifetime", lifetime: -1, left: second, want: ErrUntouched},
		{
			name: "no link", lifetime: 3, left: second, want: ErrUntouched,
			prepare: func(k *fakeKernel) { k.ls = k.ls[:1] },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newFake()
			if tt.prepare != nil {
				tt.prepare(k)
			}
			v := k.vip(vip6, vip4)
			fenced := 0
			v.FenceWith(func(link int) error { fenced = link; return tt.fence })
			_, err := v.Set(tt.lifetime, k.clock+tt.left)
			if tt.want == nil && err != nil || tt.want != nil && !matches(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if want := 2; fenced != want && tt.lifetime > 0 && len(k.ls) > 1 {
				t.Errorf("link %d was fenced before it was touched, want %d", fenced, want)
			}
			if asked := slices.Contains(k.calls, "arm"); errors.Is(err, ErrUntouched) == asked {
				t.Errorf("error %v, but asked the kernel: %v", err, asked)
			}
			if diff := cmp.Diff(tt.calls, k.calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			found, _ := v.Found()
			if diff := cmp.Diff(tt.addrs, addrsOf(found)); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
			if k.armed != 0 || k.killed {
				t.Errorf("guard still armed for %v, killed %v", k.armed, k.killed)
			}
		})
	}
}

// errAny stands for an error without a name.
var errAny = errors.New("any")

func matches(err, want error) bool { return err != nil && (want == errAny || errors.Is(err, want)) }

func TestSetErrorNamesAddressAndLink(t *testing.T) {
	k := newFake()
	_, err := k.vip(vip4).Set(3, k.clock)
	contains(t, err.Error(), "198.51.100.166", "eth0", "too late")
}

func TestLabelFor(t *testing.T) {
	for name, want := range map[string]string{
		"eth0":            "eth0:havip",
		"enp129s0f":       "enp129s0f:havip",
		"enp129s0f0":      "enp129s0f0:havi",
		"enp129s0f0np0":   "enp129s0f0np0:h",
		"enp129s0f0np0x":  "enp129s0f0np0x",
		"enp129s0f0np0xy": "enp129s0f0np0xy",
	} {
		if got := labelFor(name); got != want || len(got) > maxName {
			t.Errorf("label for %s: %s, want %s", name, got, want)
		}
	}
}

// lifecycle is what must hold of a VIP on any kernel.
func lifecycle(t *testing.T, v *VIP, latest func() time.Duration) {
	t.Helper()
	want := []string{"198.51.100.166/32", "2001:db8::166/128"}
	for range 2 { // the second time, it refreshes
		done, err := v.Set(2, latest())
		if err != nil {
			t.Fatal(err)
		}
		if done <= 0 || done >= latest() {
			t.Errorf("done at %v, latest was %v", done, latest())
		}
		found, err := v.Found()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, addrsOf(found)); diff != "" {
			t.Errorf("after Set (-want +got):\n%s", diff)
		}
		for _, f := range found {
			if f.Permanent || f.Remaining < 1 || f.Remaining > 2 {
				t.Errorf("%v: want at most 2 s left", f)
			}
			if f.Addr.Is4() && f.Label != f.Link+":havip" {
				t.Errorf("label %q on %s", f.Label, f.Link)
			}
		}
	}
	for range 2 { // the second time, there is nothing to do
		if err := v.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		if found, err := v.Found(); err != nil || len(found) != 0 {
			t.Errorf("after Clear: %v, %v", found, err)
		}
	}
}

func TestLifecycleFake(t *testing.T) {
	k := newFake()
	lifecycle(t, k.vip(vip4, vip6), func() time.Duration { return k.clock + time.Second })
}

func TestClear(t *testing.T) {
	by := func(prefix string, index int) addrInfo {
		return addrInfo{index: index, prefix: netip.MustParsePrefix(prefix), permanent: true}
	}
	t.Run("every link, whatever the prefix, nothing else", func(t *testing.T) {
		k := newFake()
		k.as = []addrInfo{by("198.51.100.162/24", 2), by("198.51.100.166/24", 1), by("198.51.100.166/32", 2), by("2001:db8::166/64", 2)}
		if err := k.vip(vip4, vip6).Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(k.as) != 1 || k.as[0].prefix.String() != "198.51.100.162/24" {
			t.Errorf("left: %v", k.as)
		}
	})
	t.Run("on a cancelled context too", func(t *testing.T) {
		k := newFake()
		k.as = []addrInfo{by("198.51.100.166/32", 2)}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := k.vip(vip4).Clear(ctx); err != nil || len(k.as) != 0 {
			t.Errorf("%v, left %v", err, k.as)
		}
	})
	t.Run("says what would not go", func(t *testing.T) {
		k := newFake()
		k.as, k.stubborn = []addrInfo{by("198.51.100.166/32", 2)}, true
		err := k.vip(vip4).Clear(t.Context())
		if !errors.Is(err, ErrStillThere) {
			t.Fatal(err)
		}
		contains(t, err.Error(), "198.51.100.166/32 on eth0 (permanent)")
		if n := len(slices.DeleteFunc(k.calls, func(s string) bool { return s != "remove 198.51.100.166/32" })); n != clearTries {
			t.Errorf("%d tries, want %d", n, clearTries)
		}
	})
	t.Run("is not done before a Set under way is", func(t *testing.T) {
		k := newFake()
		v := k.vip(vip4)
		v.busy <- struct{}{} // a Set that does not return
		k.as = []addrInfo{by("198.51.100.166/32", 2)}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := v.Clear(ctx)
		if !errors.Is(err, context.Canceled) || len(k.as) != 0 {
			t.Errorf("error %v, left %v: want removed, but not said to be", err, k.as)
		}
		<-v.busy
		if err := v.Clear(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	a := func(s ...string) (out []netip.Addr) {
		for _, x := range s {
			out = append(out, netip.MustParseAddr(x))
		}
		return out
	}
	for _, tt := range []struct {
		name  string
		c     Config
		wants []string
	}{
		{"nothing", Config{}, []string{"no address"}},
		{"unset", Config{Addresses: make([]netip.Addr, 1)}, []string{"not set"}},
		{"two of a family", Config{Addresses: a("198.51.100.1", "198.51.100.2")}, []string{"at most one per family"}},
		{"unreachable", Config{Addresses: a("127.0.0.1")}, []string{"127.0.0.1"}},
		{"link-local", Config{Addresses: a("fe80::1")}, []string{"fe80::1"}},
		{"zone", Config{Addresses: a("2001:db8::1%eth0")}, []string{"zone"}},
		{"mapped", Config{Addresses: a("::ffff:198.51.100.1")}, []string{"198.51.100.1"}},
		{"name", Config{Addresses: a("198.51.100.1"), Interface: "no/such"}, []string{`"no/such"`, "auto"}},
		{"long name", Config{Addresses: a("198.51.100.1"), Interface: "a-very-long-name"}, []string{"15"}},
		{"long MAC", Config{Addresses: a("198.51.100.1"), Interface: "02:00:5e:10:00:00:00:01"}, []string{"Ethernet"}},
		{"all at once", Config{Addresses: a("::1", "0.0.0.0"), Interface: "a/b"}, []string{"::1", "0.0.0.0", "a/b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := New(tt.c); err == nil {
				t.Error("accepted")
			} else {
				contains(t, err.Error(), tt.wants...)
			}
		})
	}
}
