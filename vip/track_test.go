package vip

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTracker(t *testing.T) {
	eth0 := linkInfo{index: 2, name: "eth0", mac: macA, adminUp: true, carrier: true}
	with := func(l linkInfo, f func(*linkInfo)) linkInfo { f(&l); return l }
	down := with(eth0, func(l *linkInfo) { l.carrier = false })
	again := with(eth0, func(l *linkInfo) { l.index = 7 })
	addr := func(a netip.Addr, gone, permanent bool) addrNotice {
		return addrNotice{index: 2, addr: a, bits: a.BitLen(), gone: gone, permanent: permanent}
	}
	link := func(l linkInfo) linkNotice { return linkNotice{linkInfo: l} }

	type step struct {
		in   any
		want string // the events, and whether the link is to be resolved again
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"refreshes are silent", []step{
			{addr(vip4, false, false), "[198.51.100.166 added to link 2]"},
			{addr(vip4, false, false), "[]"},
			{addr(vip4, false, true), "[198.51.100.166 added to link 2 for ever]"},
			{addr(vip4, true, false), "[198.51.100.166 deleted from link 2]"},
			{addr(vip4, false, false), "[198.51.100.166 added to link 2]"},
			{addr(netip.MustParseAddr("198.51.100.162"), true, false), "[]"},
		}},
		{"carrier", []step{
			{link(down), "[link eth0: down]"},
			{link(down), "[]"},
			{link(eth0), "[link eth0: up]"},
		}},
		{"new MAC", []step{
			{link(with(eth0, func(l *linkInfo) { l.mac = macB })), "[link eth0: new MAC] resolve"},
			{eth0, "[]"},
		}},
		{"failover", []step{{linkNotice{linkInfo: eth0, notify: true}, "[link eth0: asked to announce]"}}},
		{"other links", []step{{link(again), "[]"}, {linkNotice{linkInfo: again, gone: true}, "[]"}}},
		{"re-created", []step{
			{linkNotice{linkInfo: eth0, gone: true}, "[link eth0: gone] resolve"},
			{nil, "[]"},
			{link(again), "[] resolve"},
			{again, "[link eth0: re-created]"},
			{link(with(again, func(l *linkInfo) { l.adminUp = false })), "[link eth0: down]"},
		}},
		{"renamed away", []step{
			{link(with(eth0, func(l *linkInfo) { l.name = "wan" })), "[] resolve"},
			{nil, "[link wan: gone]"},
		}},
		{"lost notices", []step{
			{addr(vip4, false, false), "[198.51.100.166 added to link 2]"},
			{[]addrInfo{{index: 2, prefix: netip.PrefixFrom(vip6, 128)}}, "[198.51.100.166 deleted from link 2 2001:db8::166 added to link 2 link eth0: seen]"},
			{[]addrInfo{{index: 2, prefix: netip.PrefixFrom(vip6, 128)}}, "[link eth0: seen]"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTracker([]netip.Addr{vip4, vip6})
			if got := fmt.Sprint(tr.resync(eth0, true, nil)); got != "[link eth0: seen]" {
				t.Fatalf("began with %s", got)
			}
			for i, s := range tt.steps {
				var events []Event
				resolve := false
				switch in := s.in.(type) {
				case addrNotice:
					events = tr.address(in)
				case linkNotice:
					events, resolve = tr.change(in)
				case linkInfo:
					events = tr.resolved(in, true)
				case nil:
					events = tr.resolved(linkInfo{}, false)
				case []addrInfo:
					events = tr.resync(eth0, true, in)
				}
				got := fmt.Sprint(events)
				if resolve {
					got += " resolve"
				}
				if diff := cmp.Diff(s.want, got); diff != "" {
					t.Errorf("step %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}

func TestLimiter(t *testing.T) {
	var l limiter
	now := time.Hour
	if !l.allow(now, vip4, macA) || l.allow(now, vip4, macA) || !l.allow(now, vip4, macB) || !l.allow(now, vip6, macA) {
		t.Error("want one per address and MAC")
	}
	if n := count(&l, now); n != conflictMost-3 {
		t.Errorf("%d more let through, want %d in all", n, conflictMost)
	}
	if !l.allow(now+conflictEvery, vip4, macA) {
		t.Error("silent in the next second")
	}
}

func count(l *limiter, now time.Duration) (n int) {
	for i := range 100 {
		if l.allow(now, vip4, []byte{byte(i)}) {
			n++
		}
	}
	return n
}
