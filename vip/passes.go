package vip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Passes reports whether the link is known to pass frames: one of its gateways,
// or of the others given, answers within n questions, wait apart. A port in
// spanning tree has a carrier and drops everything for half a minute, so without
// that nobody's silence proves anything. Addresses of this node are left out.
//
// Errors: ErrDown, what Link returns, or that there is nobody to ask.
func (v *VIP) Passes(ctx context.Context, others []netip.Addr, n int, wait time.Duration) (bool, error) {
	li, err := v.resolve()
	if err != nil {
		return false, fmt.Errorf("ask the link's neighbours: %w", err)
	}
	l := li.public()
	if !l.Up {
		return false, fmt.Errorf("ask the link's neighbours: %s: %w", l.Name, ErrDown)
	}
	mine, err := v.kernel.addrs(everyAddress)
	if err != nil {
		return false, fmt.Errorf("ask the link's neighbours: list addresses: %w", err)
	}
	whom, err := v.neighbours(l.Index, others)
	if err != nil {
		return false, fmt.Errorf("ask the link's neighbours: %w", err)
	}
	whom = without(whom, mine)
	if len(whom) == 0 {
		return false, fmt.Errorf("ask the link's neighbours: %s has no gateway, and no other master is on it", l.Name)
	}
	own, err := v.ownMACs()
	if err != nil {
		return false, err
	}
	return anyAnswers(ctx, l, whom, v.asNeighbour(l, mine), n, wait, listening{own: own})
}

// Reaches reports whether one of the hosts answers on the VIP's link within n
// questions, wait apart. Unlike Passes it asks nobody else, and looks at no
// route. Addresses of this node are left out. The link is returned as far as it
// is known.
//
// Errors: ErrDown, what Link returns, or that there is nobody to ask.
func (v *VIP) Reaches(ctx context.Context, hosts []netip.Addr, n int, wait time.Duration) (bool, Link, error) {
	li, err := v.resolve()
	if err != nil {
		return false, Link{}, fmt.Errorf("ask the gateway: %w", err)
	}
	l := li.public()
	if !l.Up {
		return false, l, fmt.Errorf("ask the gateway: %s: %w", l.Name, ErrDown)
	}
	mine, err := v.kernel.addrs(everyAddress)
	if err != nil {
		return false, l, fmt.Errorf("ask the gateway: list addresses: %w", err)
	}
	whom := without(hosts, mine)
	if len(whom) == 0 {
		return false, l, errors.New("ask the gateway: this node is all that is named")
	}
	own, err := v.ownMACs()
	if err != nil {
		return false, l, err
	}
	answered, err := anyAnswers(ctx, l, whom, v.asNeighbour(l, mine), n, wait, listening{own: own})
	return answered, l, err
}

// asNeighbour makes the frames that ask for a host's MAC from an address of this
// node. A link without any can only ask as if it wanted the host's address.
func (v *VIP) asNeighbour(l Link, mine []addrInfo) func(netip.Addr) ([]byte, error) {
	return func(a netip.Addr) ([]byte, error) {
		from, ok := v.askFrom(l, mine, a)
		if !ok {
			return question(l.MAC, a)
		}
		return inquiry(l.MAC, from, a)
	}
}

// askFrom chooses among this node's own addresses on the link, never the VIP: a
// host that is asked notes who asks.
func (v *VIP) askFrom(l Link, mine []addrInfo, a netip.Addr) (best netip.Addr, ok bool) {
	for _, m := range mine {
		from := m.prefix.Addr()
		if m.index != l.Index || from.Is4() != a.Is4() || slices.Contains(v.addrs, from) {
			continue
		}
		if m.prefix.Contains(a) {
			return from, true
		}
		if !best.IsValid() {
			best = from
		}
	}
	return best, best.IsValid()
}

// neighbours are the gateways on the link, and those of the others that a route
// without gateway leads to.
func (v *VIP) neighbours(link int, others []netip.Addr) ([]netip.Addr, error) {
	var whom []netip.Addr
	for _, like := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		routes, err := v.kernel.mainRoutes(like)
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			if r.index != link {
				continue
			}
			if r.via.IsValid() {
				whom = append(whom, r.via)
				continue
			}
			for _, o := range others {
				if r.dst.Contains(o) {
					whom = append(whom, o)
				}
			}
		}
	}
	return whom, nil
}

// everyAddress asks the kernel for all addresses, of both families.
var everyAddress = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}

// without is the addresses that this node does not have, each once.
func without(whom []netip.Addr, own []addrInfo) []netip.Addr {
	whom = slices.DeleteFunc(slices.Clone(whom), func(a netip.Addr) bool {
		return slices.ContainsFunc(own, func(i addrInfo) bool { return i.prefix.Addr() == a })
	})
	slices.SortFunc(whom, netip.Addr.Compare)
	return slices.Compact(whom)
}

// anyAnswers asks all of them at once and returns with the first answer.
func anyAnswers(ctx context.Context, l Link, whom []netip.Addr, ask func(netip.Addr) ([]byte, error), n int, wait time.Duration, what listening) (bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		answered bool
		err      error
	}
	answers := make(chan answer, len(whom))
	for _, a := range whom {
		go func() {
			frame, err := ask(a)
			if err != nil {
				answers <- answer{err: err}
				return
			}
			mac, err := probeOne(ctx, l, a, frame, n, wait, what)
			answers <- answer{mac != nil, err}
		}()
	}
	var errs []error
	for range whom {
		a := <-answers
		if a.answered {
			return true, nil
		}
		errs = append(errs, a.err)
	}
	return false, errors.Join(errs...)
}
