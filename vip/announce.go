package vip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Announce tells the link once that this node has the addresses: for IPv4 an ARP
// request and an ARP reply with the sender as target, both broadcast; for IPv6
// an unsolicited neighbour advertisement with the override flag, to all nodes.
// It does not look whether the address is there: the caller knows whose it is.
// Errors: ErrDown, or what Link returns, or the socket's error with the link.
func (v *VIP) Announce() error {
	li, err := v.resolve()
	if err != nil {
		return fmt.Errorf("announce %v: %w", v.addrs, err)
	}
	if err := v.announceOn(li.public()); err != nil {
		return fmt.Errorf("announce %v on %s: %w", v.addrs, li.name, err)
	}
	return nil
}

func (v *VIP) announceOn(l Link) error {
	if !l.Up {
		return ErrDown
	}
	w, err := openSender(l)
	if err != nil {
		return err
	}
	defer w.Close()
	var errs []error
	for _, a := range v.addrs {
		frames, err := announcement(l.MAC, a)
		if err == nil {
			err = w.send(frames...)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// burst is when to announce after a trigger. Linux ignores a second update of a
// neighbour entry within 1 s, so one round lies just behind that; later ones are
// for switches whose port was not forwarding yet, and for lost frames.
var burst = []time.Duration{
	0,
	100 * time.Millisecond,
	300 * time.Millisecond,
	1100 * time.Millisecond,
	2200 * time.Millisecond,
	5 * time.Second,
}

// Between bursts one round comes every 30 to 60 s: forwarding tables age after
// 300 s on most switches, and several VIPs should not speak in step.
const (
	idleMin    = 30 * time.Second
	idleSpread = 30 * time.Second
)

// RunAnnouncer announces 0, 0.1, 0.3, 1.1, 2.2 and 5 s after every trigger, then
// every 30 to 60 s, each time only if owned says so right before. A trigger in
// the middle of a burst starts it again. It returns nil when ctx is done, or
// when trigger is closed; a round that fails is logged when the failure changes.
func (v *VIP) RunAnnouncer(ctx context.Context, trigger <-chan struct{}, owned func() bool) error {
	a := announcer{announce: v.Announce, owned: owned, log: v.logAnnounce()}
	return a.run(ctx, trigger)
}

// logAnnounce logs a failure once, and its end.
func (v *VIP) logAnnounce() func(error) {
	last := ""
	return func(err error) {
		text := ""
		if err != nil {
			text = err.Error()
		}
		switch {
		case text == last:
		case text != "":
			v.log.Warn("announcement failed, neighbours may keep the old holder", "err", err)
		default:
			v.log.Info("announcements work again")
		}
		last = text
	}
}

type announcer struct {
	announce func() error
	owned    func() bool
	log      func(error)
}

func (a *announcer) run(ctx context.Context, trigger <-chan struct{}) error {
	next := len(burst) // index of the next round of the burst; len(burst) is idle
	started := time.Now()
	timer := time.NewTimer(idle())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-trigger:
			if !open {
				return nil
			}
			started, next = time.Now(), 0
		case <-timer.C:
			if a.owned() {
				a.log(a.announce())
			}
			next = min(next+1, len(burst))
		}
		timer.Reset(wait(started, next))
	}
}

// wait returns how long to wait for round next of a burst that began at started.
// Rounds are counted from the trigger, so that slow ones do not add up.
func wait(started time.Time, next int) time.Duration {
	if next >= len(burst) {
		return idle()
	}
	return time.Until(started.Add(burst[next]))
}

func idle() time.Duration { return idleMin + rand.N(idleSpread) }
