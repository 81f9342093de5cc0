package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"havip/daemon/status"
	"havip/election"
	"havip/vip"
)

// linkEvery is how often the link is looked at beside the watch on it. Between
// a look and the begin of a watch a link can vanish unseen, and its warnings
// come from the addresses and settings of the moment.
const linkEvery = 10 * time.Second

// linkRetry is how soon it is looked at again when a look failed.
const linkRetry = 500 * time.Millisecond

func lookAtLink(ctx context.Context, a Address, clock Clock, put func(any)) error {
	t := time.NewTicker(linkEvery)
	defer t.Stop()
	for {
		put(lookUp(ctx, a, clock))
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// lookUp finds the link. That its warnings could not be told is one of them. A look
// that failed is no missing link before another one has: links that come and go can
// keep the kernel from telling them all, and the holder would hand the address over.
func lookUp(ctx context.Context, a Address, clock Clock) linkIs {
	begun := clock.Boot()
	link, err := a.Link()
	if err != nil && link.Index == 0 && !errors.Is(err, os.ErrNotExist) {
		select {
		case <-ctx.Done():
		case <-time.After(linkRetry):
		}
		begun = clock.Boot()
		link, err = a.Link()
	}
	if err != nil && link.Index != 0 {
		link.Warnings, err = []string{err.Error()}, nil
	}
	return linkIs{link, err, begun}
}

// watchLink follows the link and the address for as long as ctx lasts, and
// looks again after every failure.
func (d *daemon) watchLink(ctx context.Context, a Address, put func(any)) error {
	said := ""
	for {
		err := a.Watch(ctx, func(ev vip.Event) { put(ev) })
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && err.Error() != said {
			said = err.Error()
			d.Log.Warn("watch the link", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func (l *loop) fromLink(ev vip.Event) {
	switch e := ev.(type) {
	case vip.AddressDeleted:
		if v := l.machine.Glance(); v.Serving && v.Address == "present" && l.clock.Boot() < v.LivesTill-expiryUnsure {
			l.reasserts++
		}
		l.step(election.AddressLost{})
	case vip.AddressAdded:
		if e.Permanent && l.adopt.Stage != status.AdoptNone {
			return // another program's, from which the VIP is taken over
		}
		if !l.machine.Glance().Serving {
			l.step(election.AddressAppeared{Until: l.clock.Boot() + election.MaxTakeover})
		}
	case vip.LinkChanged:
		gone := e.Why == vip.LinkGone
		if e.Link.Index == l.link.Index {
			e.Link.Warnings = l.link.Warnings // a notice does not tell them
		}
		l.noticed = l.clock.Boot()
		l.linkIs(e.Link, goneError(gone, e.Link.Name))
		if !gone && e.Link.Up {
			l.tellNeighbours()
		}
	case vip.Conflict:
		l.conflict(e)
	}
}

func goneError(gone bool, name string) error {
	if gone {
		return fmt.Errorf("link %s is gone", name)
	}
	return nil
}

// looked takes in a look at the link. What a notice said meanwhile is newer, but tells
// no warnings.
func (l *loop) looked(e linkIs) {
	switch {
	case e.begun >= l.noticed:
		l.linkIs(e.link, e.err)
	case e.err == nil && e.link.Index == l.link.Index:
		l.link.Warnings = e.link.Warnings
	}
}

func (l *loop) linkIs(link vip.Link, err error) {
	if err != nil {
		l.linkWhy = err.Error()
		l.link.Up = false
		l.step(election.Link{Reason: l.linkWhy})
		return
	}
	l.link, l.linkWhy = link, ""
	l.fencing.look(link.Index)
	if !link.Up {
		l.linkWhy = "no carrier on " + link.Name
	}
	l.step(election.Link{Present: true, Up: link.Up, Reason: l.linkWhy})
}
