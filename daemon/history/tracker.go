package history

import (
	"cmp"
	"fmt"
	"strings"

	"havip/daemon/status"
	"havip/election"
)

// agree is how far apart two nodes' words about one instant may be, in ms: a
// watch that lags, and clocks that are a little off.
const agree = 2000

// Tracker follows the record and this node's own role, and makes facts of what
// happens.
type Tracker struct {
	node string

	seen   sight
	last   Fact   // of the term in sight; its zero value if nothing is told of it
	own    string // this node's term, until this node knows its end
	former string // what own was in the process before this one, unless this one goes on with it
	reboot bool   // since then
	taken  bool   // the election took a claim of this node over
}

// sight is the record as it was last seen.
type sight struct {
	term    string
	write   string // the ID of the value
	changed int64  // Unix time in ms at which this value was seen
	live    bool   // it was seen to be written, so that changed is when it was
	unsure  bool   // a free record whose former holder nobody saw let go
}

// NewTracker begins for a node. own is what Own said at the end of the process
// before this one, "" if there was none, and rebooted that the node was started
// anew since.
func NewTracker(node, own string, rebooted bool) *Tracker {
	return &Tracker{node: node, former: own, reboot: rebooted}
}

// Own is this node's term, for the next process to know what it had; "" if it
// has none, or has let go of it in order.
func (t *Tracker) Own() string { return cmp.Or(t.own, t.former) }

// Record takes in the record's value at a revision. Live says that it was seen to
// be written, ms is the wall clock. Facts that were told before come again when
// there is more to tell: they replace those.
func (t *Tracker) Record(value string, live bool, rev, ms int64) []Fact {
	if value == "" {
		t.seen, t.last = sight{}, Fact{}
		return nil
	}
	r, err := election.DecodeRecord(value)
	if err != nil {
		t.seen, t.last = sight{}, Fact{}
		return nil
	}
	term := termOf(r)
	if term == t.seen.term {
		return t.renewed(r, live, ms)
	}
	facts := t.back(term, r, ms)
	before := t.seen
	t.seen = sight{term: term, write: r.ID, changed: ms, live: live, unsure: r.Wait}
	t.own, t.last = "", Fact{}
	if r.Node == t.node {
		t.own = term
	}
	if r.Move != nil {
		t.last = t.moved(r, before, rev)
		facts = append(facts, t.last)
	}
	return facts
}

// renewed follows a term. The record by which it was handed over has the time of
// the node that gave it; from the first renewal on it has that of the successor.
func (t *Tracker) renewed(r election.Record, live bool, ms int64) []Fact {
	if r.ID != t.seen.write {
		t.seen.write, t.seen.changed, t.seen.live = r.ID, ms, live
	}
	if r.Move == nil || t.last.ID == "" || r.Offer != "" || r.Move.AtMS == t.last.AtMS && !t.last.Open {
		return nil
	}
	t.last.AtMS, t.last.Open = r.Move.AtMS, false
	return []Fact{t.last}
}

// moved tells how the term in sight began.
func (t *Tracker) moved(r election.Record, before sight, rev int64) Fact {
	m := *r.Move
	f := Fact{
		Schema: Schema, ID: t.seen.term, Kind: kindOf(m), AtMS: m.AtMS, From: m.From, To: m.To,
		LostMS: t.lost(m, before), Reason: m.Reason, Chosen: m.Chosen, Planned: Planned(m.Reason),
		By: t.node, Rev: rev, Open: r.Offer != "",
	}
	if t.seen.live {
		f.Ended = before.term // else something may have come between
	}
	if f.Kind == status.HistoryTaken {
		f.From = "" // that From let go is an entry of its own
	}
	if t.taken && r.Node == t.node {
		f.From, f.Chosen = t.node, ""
		f.Reason = "the election took the claim over: " + m.Reason
	}
	t.taken = false
	return f.bounded()
}

// lost is when the former holder last served, if it is known. A node that gave
// the record away says when it let go. A node that took it from a silent holder
// only knows when it last saw a renewal being written; what it found by a read
// may be hours old.
func (t *Tracker) lost(m election.Move, before sight) int64 {
	switch kindOf(m) {
	case status.HistoryHandover, status.HistoryRelease:
		if t.seen.unsure {
			return 0
		}
		return m.LostMS
	case status.HistoryTaken:
		if before.unsure || m.Reason == reasonAbsent {
			return 0
		}
		return m.LostMS
	}
	if !before.live || m.Reason == reasonRestart {
		return 0
	}
	if d := before.changed - m.LostMS; d > agree || d < -agree {
		return 0
	}
	return m.LostMS
}

// back tells that this node had a term which a process before this one left
// behind and this one did not go on with.
func (t *Tracker) back(term string, r election.Record, ms int64) []Fact {
	former := t.former
	if former == "" || term == former {
		return nil
	}
	t.former = ""
	if r.Move != nil && r.Move.Reason == reasonRestart && r.Node == t.node {
		return nil // it says so itself
	}
	reason := "its havipd had ended"
	if t.reboot {
		reason = "it was rebooted"
	}
	return []Fact{{
		Schema: Schema, ID: former + "-back", Kind: Back, AtMS: ms, From: t.node,
		Reason: reason, By: t.node, Ended: former,
	}}
}

// Note takes in a change of this node's own role: what no record tells.
func (t *Tracker) Note(n election.Note, ms int64) (Fact, bool) {
	if n.To == election.Holder && t.former != "" {
		t.own, t.former = t.Own(), "" // adopted
	}
	switch {
	case n.To == election.Claimant && n.From != election.Claimant:
		if strings.HasPrefix(n.Reason, "adopting ") {
			return Fact{}, false
		}
		f := t.act(status.HistoryClaim, ms, n.Reason)
		f.To, f.Planned = t.node, true
		return f.bounded(), true
	case n.From == election.Claimant && n.To == election.Holder:
		t.taken = true
		return t.takenOver()
	case n.From == election.Claimant:
		f := t.act(status.HistoryClaimEnd, ms, n.Reason)
		f.From, f.Planned = t.node, Planned(n.Reason)
		return f.bounded(), true
	case holds(n.From) && !holds(n.To) && !told(n.Reason):
		return t.lapsed(n.Reason, ms), true
	}
	return Fact{}, false
}

func holds(r election.Role) bool { return r == election.Holder || r == election.Releasing }

// told reports whether a record, or who wrote it, tells of this end of a term.
func told(reason string) bool {
	return strings.HasSuffix(reason, reasonReleased) || strings.Contains(reason, reasonHanded) ||
		strings.HasSuffix(reason, " has the record") || strings.HasPrefix(reason, "the record was released: ")
}

// takenOver amends the fact of this node's own record, which the watch may have
// shown before its transaction was answered.
func (t *Tracker) takenOver() (Fact, bool) {
	if t.last.ID == "" || t.last.ID != t.own || t.last.To != t.node {
		return Fact{}, false
	}
	t.taken = false
	t.last.From, t.last.Chosen = t.node, ""
	t.last.Reason = "the election took the claim over: " + t.last.Reason
	return t.last.bounded(), true
}

// lapsed tells that this node had to let go.
func (t *Tracker) lapsed(reason string, ms int64) Fact {
	f := t.act(status.HistoryLost, ms, reason)
	f.From, f.Ended = t.node, t.Own()
	if f.Ended != "" {
		f.ID = f.Ended + "-lost"
	}
	t.own, t.former = "", ""
	return f.bounded()
}

func (t *Tracker) act(kind status.HistoryKind, ms int64, reason string) Fact {
	return Fact{
		Schema: Schema, ID: key(ms, t.node, strings.ReplaceAll(string(kind), " ", "-")), Kind: kind, AtMS: ms,
		Reason: reason, By: t.node,
	}
}

// Drain tells what an operator did to this node.
func (t *Tracker) Drain(on bool, ms int64) Fact {
	kind, reason := status.HistoryUndrain, "%s may hold the address again"
	if on {
		kind, reason = status.HistoryDrain, "%s is to take no part until undrain"
	}
	f := t.act(kind, ms, fmt.Sprintf(reason, t.node))
	f.Planned = true
	return f.bounded()
}
