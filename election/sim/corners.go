package sim

import (
	"strings"
	"time"

	"havip/election"
)

// actions counts what daemons say to each other about epochs.
func (s *Stats) actions(acts []election.Action) {
	for _, a := range acts {
		m, ok := a.(election.Send)
		switch {
		case !ok:
		case m.Kind == election.Abandoned:
			s.Abandoned++
		case m.Kind == election.Ack && m.Verdict == election.Denied:
			s.Refusals++
		}
	}
}

func epochOf(value string) (election.Record, *election.Epoch) {
	if !strings.Contains(value, election.ModeHeartbeat) {
		return election.Record{}, nil
	}
	r, err := election.DecodeRecord(value)
	if err != nil {
		return r, nil
	}
	return r, r.Epoch
}

// tellBeginning calls whoever waits for the beginning of an epoch.
func (w *World) tellBeginning(n *node, a election.Write) {
	if w.beginning == nil {
		return
	}
	_, was := epochOf(a.Expect)
	if _, is := epochOf(a.Value); is != nil && was == nil {
		do := w.beginning
		w.beginning = nil
		do(n)
	}
}

// changes counts what the record's next value means for its epoch.
func (s *store) changes(value string) {
	old, was := epochOf(s.value)
	_, is := epochOf(value)
	quiet := s.w.now - s.changed
	s.changed = s.w.now
	switch {
	case is != nil && (was == nil || was.ID != is.ID):
		s.w.stats.Epochs++
		s.began = s.w.now
		s.w.sayf("record: an epoch of %v begins", is.Members)
	case was == nil || is != nil:
	default:
		s.w.sayf("record: the epoch is over")
		next, err := election.DecodeRecord(value)
		switch {
		case err != nil:
		case next.Node == old.Node:
			s.w.stats.Falls++
		case next.Offer == "" && !next.Free() && quiet < beatTakeover*9/10:
			s.w.stats.ByAbandonment++
		}
	}
}

// lateEpoch counts epochs that begin when the holder no longer counts on it.
func (s *store) lateEpoch(a election.Write, after time.Duration) {
	if _, e := epochOf(a.Value); e != nil && after > 100*ms {
		s.w.stats.LateEpochs++
	}
}
