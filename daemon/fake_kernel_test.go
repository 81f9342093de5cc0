package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"havip/vip"
)

// fakeAddress is an Address of functions.
type fakeAddress struct {
	set      func(lifetime int, latest time.Duration) (time.Duration, error)
	clear    func(context.Context) error
	found    func() ([]vip.Found, error)
	spare    func(vip.Sparing)
	foreign  func() ([]vip.Found, error)
	link     func() (vip.Link, error)
	answers  func() (net.HardwareAddr, bool) // who answers a probe
	mute     error                           // why nobody can be probed
	passes   func() (bool, error)
	watch    func(context.Context, func(vip.Event)) error
	fenced   func(link int) error // before every set
	announce func(ctx context.Context, trigger <-chan struct{}, owned func() bool) error
	reaches  func() (bool, error)
	await    func(ctx context.Context, host netip.Addr) (bool, error)
}

func (f *fakeAddress) Set(lifetime int, latest time.Duration) (time.Duration, error) {
	if err := f.fenced(eth0.Index); err != nil {
		return 0, fmt.Errorf("%w: %w", vip.ErrUntouched, err)
	}
	return f.set(lifetime, latest)
}
func (f *fakeAddress) FenceWith(before func(link int) error) { f.fenced = before }
func (f *fakeAddress) Clear(ctx context.Context) error       { return f.clear(ctx) }
func (f *fakeAddress) Found() ([]vip.Found, error)           { return f.found() }
func (f *fakeAddress) Spare(how vip.Sparing)                 { f.spare(how) }
func (f *fakeAddress) Foreign() ([]vip.Found, error)         { return f.foreign() }
func (f *fakeAddress) Link() (vip.Link, error)               { return f.link() }
func (f *fakeAddress) Probe(ctx context.Context, n int, wait time.Duration) (net.HardwareAddr, bool, error) {
	select {
	case <-ctx.Done():
		return nil, false, ctx.Err()
	case <-time.After(time.Duration(n) * wait):
	}
	mac, answered := f.answers()
	return mac, answered, f.mute
}
func (f *fakeAddress) Passes(context.Context, []netip.Addr, int, time.Duration) (bool, error) {
	return f.passes()
}
func (f *fakeAddress) Used(ctx context.Context, n int, wait time.Duration) (net.HardwareAddr, bool, error) {
	return f.Probe(ctx, n, wait)
}
func (f *fakeAddress) Watch(ctx context.Context, sink func(vip.Event)) error {
	return f.watch(ctx, sink)
}
func (f *fakeAddress) RunAnnouncer(ctx context.Context, trigger <-chan struct{}, owned func() bool) error {
	return f.announce(ctx, trigger, owned)
}
func (f *fakeAddress) Await(ctx context.Context, host netip.Addr) (bool, error) {
	return f.await(ctx, host)
}

func (f *fakeAddress) Reaches(ctx context.Context, _ []netip.Addr, n int, wait time.Duration) (bool, vip.Link, error) {
	answered, err := f.reaches()
	if !answered && err == nil {
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(n) * wait):
		}
	}
	return answered, eth0, err
}

// eth0 is the link that every node has.
var eth0 = vip.Link{Index: 2, Name: "eth0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Up: true}

// setTakes is how long a call that sets the address takes.
const setTakes = time.Millisecond

// kernel is a node's link: it removes the address at the end of its lifetime.
type kernel struct {
	b    *bench
	note func(string) // of what was done, with the time

	mu    sync.Mutex
	until time.Duration // 0: not there
	bits  int
	other bool // somebody else's is there, without a lifetime
	spare vip.Sparing
	sink  func(vip.Event)
}

func (k *kernel) address() *fakeAddress {
	a := &fakeAddress{link: func() (vip.Link, error) { return eth0, nil }}
	a.answers = func() (net.HardwareAddr, bool) { return nil, false }
	a.passes = func() (bool, error) { return true, nil }
	a.spare = func(how vip.Sparing) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.spare = how
	}
	a.foreign = k.foreign
	a.set = func(lifetime int, latest time.Duration) (time.Duration, error) {
		now := k.b.clock().Boot()
		if now > latest {
			return 0, vip.ErrTooLate
		}
		<-time.After(setTakes)
		k.note("set")
		k.mu.Lock()
		defer k.mu.Unlock()
		k.until = now + setTakes + time.Duration(lifetime)*time.Second
		k.bits = 32
		if k.spare == vip.SpareRoom {
			k.bits = 31
		}
		return now + setTakes, nil
	}
	a.clear = func(context.Context) error {
		k.note("clear")
		k.mu.Lock()
		defer k.mu.Unlock()
		k.until = 0
		k.other = k.other && k.spare != vip.SpareNothing
		return nil
	}
	a.found = func() ([]vip.Found, error) {
		if others, _ := k.foreign(); len(others) > 0 && !k.spared() {
			return others, nil
		}
		left := k.left()
		if left <= 0 {
			return nil, nil
		}
		return []vip.Found{{Link: "eth0", LinkIndex: 2, Addr: testVIP, Bits: k.length(), Remaining: int(left / time.Second)}}, nil
	}
	a.watch = func(ctx context.Context, sink func(vip.Event)) error {
		k.mu.Lock()
		k.sink = sink
		k.mu.Unlock()
		sink(vip.LinkChanged{Link: eth0, Why: vip.LinkSeen})
		<-ctx.Done()
		return nil
	}
	a.reaches = func() (bool, error) { return true, nil }
	a.await = func(ctx context.Context, _ netip.Addr) (bool, error) { <-ctx.Done(); return false, ctx.Err() }
	a.announce = func(ctx context.Context, trigger <-chan struct{}, owned func() bool) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-trigger:
				if owned() {
					k.note("announce")
				}
			}
		}
	}
	return a
}

func (k *kernel) left() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.until - k.b.clock().Boot()
}

func (k *kernel) foreign() ([]vip.Found, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.other {
		return nil, nil
	}
	return []vip.Found{{Link: "eth0", LinkIndex: 2, Addr: testVIP, Bits: 24, Permanent: true}}, nil
}

func (k *kernel) length() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.bits
}

func (k *kernel) spared() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.spare != vip.SpareNothing
}

// keep puts somebody else's address on the link, or takes it away.
func (k *kernel) keep(on bool) {
	k.mu.Lock()
	k.other = on
	k.mu.Unlock()
}

// has reports whether the address is on the link now.
func (k *kernel) has() bool { return k.left() > 0 }

// drop takes the address away as `ip address del` does.
func (k *kernel) drop() {
	k.mu.Lock()
	k.until = 0
	k.mu.Unlock()
	k.happen(vip.AddressDeleted{Addr: testVIP, Link: 2})
}

func (k *kernel) happen(e vip.Event) {
	k.mu.Lock()
	sink := k.sink
	k.mu.Unlock()
	if sink != nil { // else the daemon does not watch yet
		sink(e)
	}
}
