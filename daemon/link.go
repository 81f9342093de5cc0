package daemon

import (
	"context"
	"time"

	"havip/vip"
)

// linkEvery is how often the link is looked at beside the watch on it. Between
// a look and the begin of a watch a link can vanish unseen, and its warnings
// come from the addresses and settings of the moment.
const linkEvery = 10 * time.Second

func lookAtLink(ctx context.Context, a Address, put func(any)) error {
	t := time.NewTicker(linkEvery)
	defer t.Stop()
	for {
		put(lookUp(a))
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// lookUp finds the link. That its warnings could not be told is one of them.
func lookUp(a Address) linkIs {
	link, err := a.Link()
	if err != nil && link.Index != 0 {
		link.Warnings, err = []string{err.Error()}, nil
	}
	return linkIs{link, err}
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
