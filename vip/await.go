package vip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// awaited is how often a host that was cut off is asked whether it is back. A
// client that sends through a dead entry of its neighbours drops it after 45 s of
// reachable time, 5 s of delay and 3 s of questions at the latest (Linux: 1.5 times
// base_reachable_time, delay_first_probe_time, 3 retrans_time); one that is idle
// keeps it. Switches forget a MAC that is silent after 300 s (IEEE 802.1Q), and
// would flood the questions from then on.
var awaited = []struct {
	every, during time.Duration
}{
	{20 * time.Millisecond, time.Minute},
	{250 * time.Millisecond, 4 * time.Minute},
}

// Await asks a host of the link, until it answers, whether it is back, and reports
// whether it is: false after 5 minutes. The questions go to the MAC alone that the
// kernel has for the host, so that nobody else hears them; the kernel itself asks
// everybody, and once a second at most.
//
// Errors: ErrDown, what Link returns, ctx's, the socket's, or errNoMAC.
func (v *VIP) Await(ctx context.Context, host netip.Addr) (bool, error) {
	back, err := v.await(ctx, host)
	if err != nil {
		return false, fmt.Errorf("wait for %v on the link: %w", host, err)
	}
	return back, nil
}

// errNoMAC: the host is beyond a router, or was silent for too long already.
var errNoMAC = errors.New("its MAC is not known")

func (v *VIP) await(ctx context.Context, host netip.Addr) (bool, error) {
	li, err := v.resolve()
	if err != nil {
		return false, err
	}
	l := li.public()
	if !l.Up {
		return false, fmt.Errorf("%s: %w", l.Name, ErrDown)
	}
	mac, err := v.kernel.neighbour(l.Index, host)
	if err != nil {
		return false, err
	}
	mine, err := v.kernel.addrs(everyAddress)
	if err != nil {
		return false, fmt.Errorf("list addresses: %w", err)
	}
	own, err := v.ownMACs()
	if err != nil {
		return false, err
	}
	ask, err := v.asNeighbour(l, mine)(host)
	if err != nil {
		return false, err
	}
	copy(ask[:ethernetAddr], mac)
	for _, a := range awaited {
		heard, err := probeOne(ctx, l, host, ask, int(a.during/a.every), a.every, listening{own: own})
		if heard != nil || err != nil {
			return heard != nil, err
		}
	}
	return false, nil
}
