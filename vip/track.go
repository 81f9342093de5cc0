package vip

import (
	"bytes"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"
)

// tracker turns notices into events. It does no I/O: what it must look up it
// gets handed in.
type tracker struct {
	vips []netip.Addr
	link linkInfo // the last known one; index 0 when there never was one
	have bool     // link is there now
	seen map[placed]bool
}

// placed is an address at one place; the value in seen is whether it is permanent.
type placed struct {
	addr netip.Addr
	bits int
	link int
}

func newTracker(vips []netip.Addr) *tracker {
	return &tracker{vips: vips, seen: make(map[placed]bool)}
}

// address takes a notice about any address.
func (t *tracker) address(n addrNotice) []Event {
	if !slices.Contains(t.vips, n.addr) {
		return nil
	}
	at := placed{n.addr, n.bits, n.index}
	permanent, known := t.seen[at]
	if n.gone {
		delete(t.seen, at)
		if t.still(at) {
			return nil
		}
		return []Event{AddressDeleted{Addr: n.addr, Link: n.index}}
	}
	t.seen[at] = n.permanent
	if known && permanent == n.permanent {
		return nil
	}
	return []Event{AddressAdded{Addr: n.addr, Link: n.index, Permanent: n.permanent}}
}

// still reports whether the address is on the link with another prefix length and
// a lifetime: what went was another program's, or stood beside one that was.
func (t *tracker) still(gone placed) bool {
	for at, permanent := range t.seen {
		if at.addr == gone.addr && at.link == gone.link && !permanent {
			return true
		}
	}
	return false
}

// change takes a notice about any link. resolve says that the configuration must
// be resolved again, because of what this notice says: the answer goes to resolved.
func (t *tracker) change(n linkNotice) (events []Event, resolve bool) {
	if !t.have || n.index != t.link.index {
		// A new link may be the one that was missed, or take the place of ours.
		return nil, !t.have
	}
	if n.gone {
		t.have = false
		return t.say(LinkGone, t.link), true
	}
	old := t.link
	t.link = n.linkInfo
	if old.name != n.name {
		resolve = true
	}
	if !bytes.Equal(old.mac, n.mac) {
		events = append(events, t.say(LinkNewMAC, n.linkInfo)...)
		resolve = true
	}
	switch {
	case old.up() && !n.up():
		events = append(events, t.say(LinkDown, n.linkInfo)...)
	case !old.up() && n.up():
		events = append(events, t.say(LinkUp, n.linkInfo)...)
	}
	if n.notify {
		events = append(events, t.say(LinkNotify, n.linkInfo)...)
	}
	return events, resolve
}

// resolved takes the link that the configuration leads to now; ok is false when
// there is none.
func (t *tracker) resolved(l linkInfo, ok bool) []Event {
	was, had := t.link, t.have
	switch {
	case !ok && had:
		t.have = false
		was.adminUp = false
		return t.say(LinkGone, was)
	case !ok, had && was.index == l.index:
		return nil
	}
	t.link, t.have = l, true
	if was.index == 0 {
		return t.say(LinkSeen, l)
	}
	return t.say(LinkRecreated, l)
}

// resync takes all that is there, at the start and after lost notices, and tells
// how it differs from what was known. The link is always told.
func (t *tracker) resync(l linkInfo, ok bool, addrs []addrInfo) []Event {
	now := make(map[placed]bool)
	for _, a := range addrs {
		if slices.Contains(t.vips, a.prefix.Addr()) {
			now[placed{a.prefix.Addr(), a.prefix.Bits(), a.index}] = a.permanent
		}
	}
	var events []Event
	for _, at := range slices.SortedFunc(maps.Keys(t.seen), placed.compare) {
		if _, still := now[at]; !still {
			events = append(events, t.address(addrNotice{index: at.link, addr: at.addr, bits: at.bits, gone: true})...)
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(now), placed.compare) {
		events = append(events, t.address(addrNotice{index: at.link, addr: at.addr, bits: at.bits, permanent: now[at]})...)
	}
	if ok && t.have && t.link.index == l.index {
		t.link = l
		return append(events, t.say(LinkSeen, l)...)
	}
	return append(events, t.resolved(l, ok)...)
}

func (p placed) compare(q placed) int {
	if c := p.addr.Compare(q.addr); c != 0 {
		return c
	}
	return p.link - q.link
}

func (t *tracker) say(why LinkChange, l linkInfo) []Event {
	p := l.public()
	if why == LinkGone {
		p.Up = false
	}
	return []Event{LinkChanged{Link: p, Why: why}}
}

// Bounds on Conflict events: anybody on the link can send such frames.
const (
	conflictEvery = time.Second
	conflictMost  = 8
)

// limiter lets through one event per address and MAC in every window, and
// conflictMost in all.
type limiter struct {
	window time.Duration // when the present one began
	seen   map[string]bool
}

func (l *limiter) allow(now time.Duration, a netip.Addr, mac net.HardwareAddr) bool {
	if l.seen == nil || now-l.window >= conflictEvery {
		l.window, l.seen = now, make(map[string]bool)
	}
	key := a.String() + "|" + string(mac)
	if l.seen[key] || len(l.seen) >= conflictMost {
		return false
	}
	l.seen[key] = true
	return true
}
