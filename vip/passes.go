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
	whom, err := v.neighbours(l.Index, others)
	if err != nil {
		return false, fmt.Errorf("ask the link's neighbours: %w", err)
	}
	if len(whom) == 0 {
		return false, fmt.Errorf("ask the link's neighbours: %s has no gateway, and no other master is on it", l.Name)
	}
	own, err := v.ownMACs()
	if err != nil {
		return false, err
	}
	return anyAnswers(ctx, l, whom, n, wait, listening{own: own})
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
	whom, err := v.notOwn(hosts)
	if err != nil {
		return false, l, fmt.Errorf("ask the gateway: %w", err)
	}
	if len(whom) == 0 {
		return false, l, errors.New("ask the gateway: this node is all that is named")
	}
	own, err := v.ownMACs()
	if err != nil {
		return false, l, err
	}
	answered, err := anyAnswers(ctx, l, whom, n, wait, listening{own: own})
	return answered, l, err
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
	return v.notOwn(whom)
}

// notOwn is the addresses that this node does not have, each once.
func (v *VIP) notOwn(whom []netip.Addr) ([]netip.Addr, error) {
	own, err := v.kernel.addrs([]netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()})
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	whom = slices.DeleteFunc(slices.Clone(whom), func(a netip.Addr) bool {
		return slices.ContainsFunc(own, func(i addrInfo) bool { return i.prefix.Addr() == a })
	})
	slices.SortFunc(whom, netip.Addr.Compare)
	return slices.Compact(whom), nil
}

// anyAnswers asks all of them at once and returns with the first answer.
func anyAnswers(ctx context.Context, l Link, whom []netip.Addr, n int, wait time.Duration, what listening) (bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		answered bool
		err      error
	}
	answers := make(chan answer, len(whom))
	for _, a := range whom {
		go func() {
			mac, err := probeOne(ctx, l, a, n, wait, what)
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
