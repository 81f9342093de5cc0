package vip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
)

// Probe asks the link n times, wait apart, whether somebody uses one of the
// addresses, and waits once more for the last answer: n times wait in all when
// nobody does. It is the shortened form of RFC 5227 section 2.1.1, and of the
// duplicate address detection of RFC 4862 for IPv6. Another node that probes for
// the same address counts as an answer. Each listens before it asks, so of two
// that ask at once at least one is answered.
//
// Silence proves little on a port that forwards nothing yet (spanning tree).
// Errors: ErrDown, what Link returns, ctx's error, or the socket's.
func (v *VIP) Probe(ctx context.Context, n int, wait time.Duration) (mac net.HardwareAddr, answered bool, err error) {
	return v.ask(ctx, n, wait, true)
}

// Used is Probe without counting others' probes: candidates of one election may
// look at the same time, and it is not the wire that decides between them.
func (v *VIP) Used(ctx context.Context, n int, wait time.Duration) (mac net.HardwareAddr, answered bool, err error) {
	return v.ask(ctx, n, wait, false)
}

func (v *VIP) ask(ctx context.Context, n int, wait time.Duration, probesCount bool) (net.HardwareAddr, bool, error) {
	mac, err := v.probe(ctx, n, wait, probesCount)
	if err != nil {
		return nil, false, fmt.Errorf("probe for %v: %w", v.addrs, err)
	}
	return mac, mac != nil, nil
}

func (v *VIP) probe(ctx context.Context, n int, wait time.Duration, probesCount bool) (net.HardwareAddr, error) {
	if n < 1 || wait <= 0 {
		return nil, fmt.Errorf("%d probes %v apart: both must be above 0", n, wait)
	}
	li, err := v.resolve()
	if err != nil {
		return nil, err
	}
	l := li.public()
	if !l.Up {
		return nil, fmt.Errorf("%s: %w", l.Name, ErrDown)
	}
	own, err := v.ownMACs()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var g errgroup.Group
	answers := make(chan net.HardwareAddr, len(v.addrs))
	for _, a := range v.addrs {
		g.Go(func() error {
			ask, err := question(l.MAC, a)
			if err != nil {
				return err
			}
			mac, err := probeOne(ctx, l, a, ask, n, wait, listening{own, probesCount})
			if mac != nil {
				cancel() // the other family need not wait for its end
				answers <- mac
			}
			return err
		})
	}
	err = g.Wait()
	select {
	case mac := <-answers:
		return mac, nil
	default:
		return nil, err
	}
}

// probeOne returns nil, nil when nobody answered.
func probeOne(ctx context.Context, l Link, a netip.Addr, ask []byte, n int, wait time.Duration, what listening) (net.HardwareAddr, error) {
	// Listening begins before the first question, or its answer could be missed.
	w, err := openListener(l, a)
	if err != nil {
		return nil, err
	}
	// In the kernel closing waits until nobody can be in the middle of delivering to
	// the socket (RCU): 10 ms and more, for which the answer need not wait.
	defer func() { go w.Close() }()
	heard := make(chan claim)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { done <- w.listen(ctx, a, what, heard) }()

	tick := time.NewTicker(wait)
	defer tick.Stop()
	for range n {
		if err := w.send(ask); err != nil {
			return nil, fmt.Errorf("%s: %w", l.Name, err)
		}
		select {
		case c := <-heard:
			return c.mac, nil
		case err := <-done:
			return nil, fmt.Errorf("%s: %w", l.Name, err)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil, nil
}

// listening says which frames are an answer.
type listening struct {
	own         macSet // are not: this node's
	probesCount bool   // others' probes are
}

// listen passes on the claims that others make, until ctx is done or the socket
// is closed.
func (w *wire) listen(ctx context.Context, a netip.Addr, what listening, to chan<- claim) error {
	for {
		c, err := w.read(a)
		if err != nil {
			return err
		}
		if what.own.has(c) || c.probe && !what.probesCount {
			continue
		}
		select {
		case to <- c:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// macSet is the MAC addresses of this node's own links.
type macSet map[string]bool

// has: a frame of ours that comes back, from a bridge or a bond's other link.
func (s macSet) has(c claim) bool { return s[string(c.mac)] || s[string(c.from)] }

func (v *VIP) ownMACs() (macSet, error) {
	ls, err := v.kernel.links()
	if err != nil {
		return nil, fmt.Errorf("list the MAC addresses of this node: %w", err)
	}
	s := make(macSet, len(ls))
	for _, l := range ls {
		if l.mac != nil {
			s[string(l.mac)] = true
		}
	}
	return s, nil
}
