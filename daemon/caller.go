package daemon

import (
	"context"
	"errors"
	"math"
	"time"

	"havip/election"
	"havip/vip"
)

// clearTimeout bounds what a clear may wait for, in user space.
const clearTimeout = 2 * time.Second

// caller makes the calls into the kernel, one at a time and in the order in
// which the machine asked, so that a clear always comes after the set before it.
type caller struct {
	address Address
	clock   Clock
	orders  chan election.Action
	report  func(election.Event)
}

func newCaller(a Address, c Clock, report func(election.Event)) *caller {
	// The machine has at most one set and one clear under way; the rest is room.
	return &caller{address: a, clock: c, orders: make(chan election.Action, 16), report: report}
}

// run works until ctx ends.
func (c *caller) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case a := <-c.orders:
			c.report(c.call(a))
		}
	}
}

func (c *caller) call(a election.Action) election.Event {
	switch a := a.(type) {
	case election.SetAddress:
		return c.set(a)
	case election.ClearAddress:
		ctx, cancel := context.WithTimeout(context.Background(), clearTimeout)
		defer cancel()
		err := c.address.Clear(ctx)
		return election.AddressCleared{Seq: a.Seq, OK: err == nil, Reason: text(err)}
	default:
		return c.find()
	}
}

func (c *caller) set(a election.SetAddress) election.Event {
	before := c.clock.Boot()
	done, err := c.address.Set(a.Lifetime, a.Latest)
	return election.AddressSet{
		Seq: a.Seq, OK: err == nil, Untouched: errors.Is(err, vip.ErrUntouched),
		Before: before, After: max(done, before, c.afterFailure(err)), Reason: text(err),
	}
}

// afterFailure is the instant by which a call that failed may have taken effect.
func (c *caller) afterFailure(err error) time.Duration {
	if err == nil {
		return 0
	}
	return c.clock.Boot()
}

// find answers whether the address is still there. What cannot be read counts
// as there for ever.
func (c *caller) find() election.AddressFound {
	found, err := c.address.Found()
	if err != nil {
		return election.AddressFound{Present: true, Until: math.MaxInt64 / 2}
	}
	return election.AddressFound{Present: len(found) > 0, Until: lastUntil(found, c.clock.Boot())}
}

// lastUntil is the latest end of the lifetimes. The kernel tells whole seconds.
func lastUntil(found []vip.Found, now time.Duration) time.Duration {
	until := time.Duration(0)
	for _, f := range found {
		if f.Permanent {
			return math.MaxInt64 / 2
		}
		until = max(until, now+time.Duration(f.Remaining+1)*time.Second)
	}
	return until
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
