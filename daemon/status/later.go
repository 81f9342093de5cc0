package status

import (
	"slices"
	"time"
)

// Later is the document as it would read d later if nothing had happened since:
// ages grow, and what runs out has less left. Nothing is judged anew; that is
// for the next look.
func (d *Document) Later(by time.Duration) *Document {
	l := *d
	l.Time = d.Time.Add(by)
	if d.Holder != nil {
		h := *d.Holder
		h.RightLeftMS, h.RenewedAgoMS = less(h.RightLeftMS, by), more(h.RenewedAgoMS, by)
		if h.LastKnown {
			h.AgeMS += by.Milliseconds()
		}
		l.Holder = &h
	}
	l.Record.UnchangedMS, l.Record.TakeoverInMS = more(d.Record.UnchangedMS, by), less(d.Record.TakeoverInMS, by)
	l.Etcd.SilentMS = more(d.Etcd.SilentMS, by)
	l.Masters = slices.Clone(d.Masters)
	for i := range l.Masters {
		l.Masters[i].LastSeenMS = more(l.Masters[i].LastSeenMS, by)
	}
	l.Address.States = slices.Clone(d.Address.States)
	for i := range l.Address.States {
		l.Address.States[i].LifetimeLeftMS = less(l.Address.States[i].LifetimeLeftMS, by)
	}
	l.Address.Conflicts = slices.Clone(d.Address.Conflicts)
	for i := range l.Address.Conflicts {
		l.Address.Conflicts[i].AgoMS += by.Milliseconds()
	}
	return &l
}

func more(ms *int64, by time.Duration) *int64 {
	if ms == nil {
		return nil
	}
	n := *ms + by.Milliseconds()
	return &n
}

func less(ms *int64, by time.Duration) *int64 { return more(ms, -by) }
