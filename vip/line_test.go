package vip

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// TestRefreshLooksUpOnce: a refresh asks for the one link that the addresses are
// on, and all is looked up again as soon as that link or the address is gone.
func TestRefreshLooksUpOnce(t *testing.T) {
	eth1 := linkInfo{index: 3, name: "eth1", mac: macB, adminUp: true, carrier: true}
	for _, tt := range []struct {
		name   string
		before func(*fakeKernel, *VIP) // the second Set
		full   bool                    // whether that looks the route up again
		want   string
	}{
		{"refresh", func(*fakeKernel, *VIP) {}, false, "eth0"},
		{"routes moved while it is held", func(k *fakeKernel, _ *VIP) { k.routes[0].index = 3 }, false, "eth0"},
		{"down", func(k *fakeKernel, _ *VIP) { k.ls[1].carrier = false }, false, "eth0"},
		{"renamed", func(k *fakeKernel, _ *VIP) { k.ls[1].name = "wan" }, true, "wan"},
		{"new MAC", func(k *fakeKernel, _ *VIP) { k.ls[1].mac = macB }, true, "eth0"},
		{"became a port", func(k *fakeKernel, _ *VIP) { k.ls[1].master = 3 }, true, "eth0"},
		{"link gone", func(k *fakeKernel, _ *VIP) {
			k.as, k.ls, k.routes[0].index = nil, slices.Delete(k.ls, 1, 2), 3
		}, true, "eth1"},
		{"cleared", func(k *fakeKernel, v *VIP) { _ = v.Clear(t.Context()); k.routes[0].index = 3 }, true, "eth1"},
		{"removed by somebody", func(k *fakeKernel, v *VIP) {
			w := &watch{vip: v, sink: func(Event) {}, track: newTracker(v.addrs)}
			w.track.have = true
			_ = w.notice(t.Context(), notice{addr: &addrNotice{index: 2, addr: vip4, bits: 32, gone: true}})
			k.as, k.routes[0].index = nil, 3
		}, true, "eth1"},
		{"after a Set that failed", func(k *fakeKernel, v *VIP) { _, _ = v.Set(3, k.clock) }, true, "eth0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newFake()
			k.ls = append(k.ls, eth1)
			v := k.vip(vip4)
			v.name = "" // Auto
			if _, err := v.Set(3, soonOf(k)); err != nil {
				t.Fatal(err)
			}
			tt.before(k, v)
			k.calls = nil
			if _, err := v.Set(3, soonOf(k)); err != nil {
				t.Fatal(err)
			}
			if full := slices.Contains(k.calls, "route to 198.51.100.166"); full != tt.full {
				t.Errorf("looked everything up: %v, calls %v", full, k.calls)
			}
			found, err := v.Found()
			if i := len(found) - 1; err != nil || i < 0 || found[i].Link != tt.want {
				t.Errorf("on %v, %v, want %s", found, err, tt.want)
			}
		})
	}
}

// TestLine: the kernel's socket is kept, and never trusted after trouble.
func TestLine(t *testing.T) {
	l := newLab(t)
	v := mustNew(t, Config{Addresses: vips()})
	kept := v.kernel.(system).line
	set := func() *conn {
		t.Helper()
		if _, err := v.Set(9, soon()); err != nil {
			t.Fatal(err)
		}
		return kept.conn
	}
	first := set()
	if first == nil || set() != first {
		t.Error("a refresh opened another socket")
	}

	// What an earlier request left behind is not taken for an answer.
	for _, index := range []int{1, 4711} {
		req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
		msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
		msg.Index = int32(index)
		req.AddData(msg)
		if err := first.send(req.Serialize()); err != nil {
			t.Fatal(err)
		}
	}
	if li, err := v.kernel.linkByName(l.node); err != nil || li.name != l.node {
		t.Errorf("%v, %v", li, err)
	}
	if set() != first {
		t.Error("late answers cost the socket")
	}

	// In use: others get a socket of their own and do not wait.
	kept.mu.Lock()
	if found, err := v.Found(); err != nil || len(found) != 2 {
		t.Errorf("beside a call that does not return: %v, %v", found, err)
	}
	kept.mu.Unlock()

	if _, err := v.kernel.linkByIndex(4711); !errors.Is(err, os.ErrNotExist) || kept.conn != first {
		t.Errorf("%v: no such link is no trouble", err)
	}

	// Broken: a question fails, whoever asked looks everything up again.
	first.close()
	first.fd = -1
	if _, err := v.kernel.linkByName(l.node); !errors.Is(err, unix.EBADF) {
		t.Errorf("on a closed socket: %v", err)
	}
	if again := set(); again == first {
		t.Error("the broken socket was kept")
	}
}

// TestAddrsOfFamily: what is not asked for is not listed.
func TestAddrsOfFamily(t *testing.T) {
	l := newLab(t)
	for _, tt := range []struct {
		like []netip.Addr
		four bool
		six  bool
	}{{vips()[:1], true, false}, {vips()[1:], false, true}, {vips(), true, true}} {
		as, err := l.vip(t, tt.like...).kernel.addrs(tt.like)
		if err != nil {
			t.Fatal(err)
		}
		has := func(is4 bool) bool {
			return slices.ContainsFunc(as, func(a addrInfo) bool { return a.prefix.Addr().Is4() == is4 })
		}
		if has(true) != tt.four || has(false) != tt.six {
			t.Errorf("like %v: %v", tt.like, as)
		}
	}
}

// BenchmarkSet is a refresh on a real kernel: the link, the address, and reading
// it back.
func BenchmarkSet(b *testing.B) {
	v, err := New(Config{Addresses: vips()[:1], Interface: "lo"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Set(30, soon()); err != nil {
			b.Fatal(err)
		}
	}
	if err := v.Clear(b.Context()); err != nil {
		b.Fatal(err)
	}
}
