package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"havip/daemon/status"
)

// Known is a fact and where it is from.
type Known struct {
	Fact
	Waiting bool // not in etcd yet
}

// servesOn is how long after its last renewal a node may have served, in ms:
// election.MaxTakeover, and clocks may be a little off.
const servesOn = 60_000 + agree

// Entries puts facts together: one entry for each transition, oldest first.
func Entries(list []Known) []status.HistoryEntry {
	moves, more := split(once(list))
	entries := []status.HistoryEntry{}
	for _, k := range inOrder(moves) {
		e := entry(k)
		for _, m := range more[k.ID] {
			e = add(e, k, m)
		}
		entries = append(entries, e)
	}
	fillGaps(entries)
	return entries
}

// once leaves one of the facts of each ID: what is in etcd counts.
func once(list []Known) []Known {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Known) int { return cmp.Or(cmp.Compare(a.ID, b.ID), order(a.Waiting, b.Waiting)) })
	return slices.CompactFunc(list, func(a, b Known) bool { return a.ID == b.ID })
}

func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// split tells the facts that stand for themselves from those that add to the end
// of a term: these come back by the ID of the move that ended it. The end of a
// term of which no move tells stands for itself.
func split(list []Known) (moves []Known, more map[string][]Known) {
	ending := map[string]Known{} // moves, by the term they ended
	for _, k := range list {
		if k.Ended != "" && !adds(k.Kind) {
			ending[k.Ended] = k
		}
	}
	more = map[string][]Known{}
	for _, k := range list {
		move, ok := ending[k.Ended]
		switch {
		case !adds(k.Kind):
			moves = append(moves, k)
		case ok && k.Ended != "":
			more[move.ID] = append(more[move.ID], k)
		case k.Kind == status.HistoryLost:
			moves = append(moves, k)
		}
	}
	return moves, more
}

func adds(k status.HistoryKind) bool { return k == status.HistoryLost || k == Back }

// inOrder sorts by the revision of the record that tells of a fact. What no
// record tells of has only the time by the clock of its writer; what an operator
// did is put before the move of the same instant that came of it.
func inOrder(list []Known) []Known {
	byTime := func(a, b Known) int { return cmp.Or(cmp.Compare(a.AtMS, b.AtMS), cmp.Compare(a.ID, b.ID)) }
	var out, rest []Known
	for _, k := range list {
		if k.Rev > 0 {
			out = append(out, k)
		} else {
			rest = append(rest, k)
		}
	}
	slices.SortFunc(out, func(a, b Known) int { return cmp.Or(cmp.Compare(a.Rev, b.Rev), byTime(a, b)) })
	slices.SortFunc(rest, byTime)
	for _, k := range rest {
		i := len(out)
		for i > 0 && (out[i-1].AtMS > k.AtMS || out[i-1].AtMS == k.AtMS && out[i-1].Rev > 0) {
			i--
		}
		out = slices.Insert(out, i, k)
	}
	return out
}

func entry(k Known) status.HistoryEntry {
	e := status.HistoryEntry{
		ID: k.ID, At: k.at(), Kind: k.Kind, From: k.From, To: k.To, Reason: k.Reason, Chosen: k.Chosen,
		Planned: k.Planned, By: []string{k.By}, Waiting: k.Waiting,
	}
	switch {
	case k.Kind == status.HistoryTaken && k.From != "":
		e.GapMS = new(int64) // the claim: the address stayed
	case k.LostMS > 0:
		lostAt(&e, time.UnixMilli(k.LostMS))
		e.GapMost = e.GapMS != nil && (k.Kind == status.HistoryTakeover || k.Kind == status.HistoryResumed)
	}
	return e
}

// lostAt says since when nobody held it. Clocks that do not agree tell no gap.
func lostAt(e *status.HistoryEntry, t time.Time) {
	e.LostAt, e.GapMS = &t, nil
	if gap := e.At.Sub(t).Milliseconds(); gap >= 0 && e.To != "" {
		e.GapMS = &gap
	}
}

// add puts what the former holder knows of the end of its term to what its
// successor told. A record that was given away says all there is to say.
func add(e status.HistoryEntry, move, m Known) status.HistoryEntry {
	if move.Kind != status.HistoryTakeover && move.Kind != status.HistoryResumed && move.Kind != status.HistoryTaken {
		return e
	}
	late := m.AtMS - move.AtMS
	switch {
	case m.Kind == Back && m.From == move.To:
		e.Reason += "; " + m.Reason
	case m.Kind == Back:
		e.Reason += fmt.Sprintf("; %s: %s, and was back %s later", m.From, m.Reason, span(late))
	case late <= 0 && inTime(m.AtMS, move.LostMS):
		e.Reason = fmt.Sprintf("%s let go: %s", m.From, m.Reason)
		lostAt(&e, m.at())
		e.GapMost = false
	default:
		e.Reason += fmt.Sprintf("; %s itself found out %s later: %s", m.From, span(late), m.Reason)
	}
	if !slices.Contains(e.By, m.By) {
		e.By = append(e.By, m.By)
	}
	e.Waiting = e.Waiting || m.Waiting
	return e
}

// inTime reports whether a node may have let go then, by another one's clock.
func inTime(ms, lost int64) bool { return lost == 0 || ms >= lost-agree && ms <= lost+servesOn }

func span(ms int64) string {
	d := max(time.Duration(ms)*time.Millisecond, 0)
	if d < 2*time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%d min", d/time.Minute)
}

// fillGaps: who took what nobody had knows at times less than the entry before.
func fillGaps(entries []status.HistoryEntry) {
	var last *status.HistoryEntry
	for i := range entries {
		e := &entries[i]
		if e.Kind == status.HistoryDrain || e.Kind == status.HistoryUndrain {
			continue
		}
		if e.Kind == status.HistoryTaken && e.GapMS == nil && last != nil && last.To == "" &&
			(last.LostAt != nil || last.Kind != status.HistoryRelease) {
			lostAt(e, last.At)
		}
		last = e
	}
}
