package daemon

import (
	"context"
	"errors"
	"os"
	"time"

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
