package election

import (
	"strings"
	"testing"
)

// A renewal whose reply was lost had committed: the next one is refused by it,
// which ends nothing, extends nothing, and is built upon.
func TestRefusedByItsOwnWrite(t *testing.T) {
	d := holding(t)
	d.hold = true
	d.run(700 * ms)
	if len(d.writes) < 2 {
		t.Fatalf("%d renewals, want 2", len(d.writes))
	}
	right, first, second := d.m.right(), d.writes[0], d.writes[1]
	d.etcd = first.Value
	d.send(Wrote{ID: first.ID, Outcome: Unknown})
	d.writes = nil
	d.send(Wrote{ID: second.ID, Outcome: Refused, Current: first.Value})
	if d.m.role != Holder || d.m.right() != right {
		t.Errorf("role %v, right %v, want a holder until %v", d.m.role, d.m.right(), right)
	}
	if len(d.writes) != 1 || d.writes[0].Expect != first.Value {
		t.Errorf("next renewal %+v, want one on the value that is there", d.writes)
	}
}

// A renewal and what gives the record away can be under way together.
func TestRenewalCommitsWhileLeaving(t *testing.T) {
	for _, refusedFirst := range []bool{false, true} {
		d := holding(t)
		d.hold = true
		d.run(500 * ms)
		renewal := d.writes[0]
		d.writes = nil
		d.send(Release{Token: 1})
		d.run(300 * ms)
		if len(d.writes) != 1 {
			t.Fatalf("%d writes, want the one that gives away", len(d.writes))
		}
		give := d.writes[0]
		d.writes = nil
		if refusedFirst {
			d.send(Wrote{ID: give.ID, Outcome: Refused, Current: renewal.Value})
		} else {
			d.send(Wrote{ID: renewal.ID, Outcome: Committed})
		}
		if d.m.serving() || d.m.role != Releasing {
			t.Errorf("serves again: role %v", d.m.role)
		}
		if len(d.writes) != 1 || d.writes[0].Expect != renewal.Value {
			t.Fatalf("writes %+v, want one more that gives away", d.writes)
		}
		d.send(Wrote{ID: d.writes[0].ID, Outcome: Refused, Current: give.Value})
		if got := strings.Join(d.take(), ";"); d.m.term != nil || !strings.Contains(got, "done: released") {
			t.Errorf("term %v: %s", d.m.term, got)
		}
	}
}

// A candidate's takeover that is refused shows what is there instead.
func TestTakeoverRefused(t *testing.T) {
	d := ready(t, "")
	d.hold = true
	d.run(5 * sec)
	d.send(Called{Call: Call{ID: "c1", From: "n2", To: "n1"}})
	given := record("n1", 3*sec, 4500*ms)
	given.Offer = d.m.offer.id
	given.Move = &Move{From: "n2", To: "n1", Reason: "drained"}
	d.send(Wrote{ID: d.writes[0].ID, Outcome: Refused, Current: given.encode()})
	if d.m.role != Holder || !strings.Contains(d.m.why, "n2 handed it over: drained") {
		t.Errorf("role %v, %q, want the holder by its offer", d.m.role, d.m.why)
	}
}

// After its right has lapsed a node takes its own record again without waiting,
// but never one that somebody else had in between.
func TestLapse(t *testing.T) {
	for _, stolen := range []bool{false, true} {
		d := holding(t)
		d.hold = true
		d.run(3500 * ms)
		if d.m.term != nil || d.until != 0 || d.m.past == "" {
			t.Fatalf("still holds: %+v", d.m.View())
		}
		if stolen {
			d.put(record("n2", 3*sec, 4500*ms).encode())
			if d.m.past != "" || d.saved != nil {
				t.Error("remembers a record that somebody else replaced")
			}
			continue
		}
		d.hold, d.writes = false, nil
		d.run(1500 * ms)
		if d.m.role != Holder || d.until == 0 {
			t.Errorf("did not take its own record again: %+v", d.m.View())
		}
	}
}

// What a watch shows of somebody else's record is a hint, no proof: it is tried.
func TestForeignSighting(t *testing.T) {
	d := holding(t)
	d.run(100 * ms)
	d.take()
	d.send(Observed{Value: record("n2", 3*sec, 4500*ms).encode(), Live: true})
	if d.m.role != Holder || count(d.take(), "write") != 1 {
		t.Error("want a holder that tries a renewal at once")
	}
}

func TestCommandErrors(t *testing.T) {
	drainedPeer, busy := fit("n2"), fit("n3")
	drainedPeer.Drained = true
	busy.Able, busy.Role = false, "waiting"
	for _, tt := range []struct {
		name string
		at   func(*testing.T) *driver
		ev   []Event
		want string
	}{
		{"handover by a candidate", func(t *testing.T) *driver { return ready(t, record("n2", 3*sec, 4500*ms).encode()) }, []Event{HandOver{Token: 1}}, "n1 does not hold the address, n2 does"},
		{"handover before etcd's answer", func(t *testing.T) *driver { return ready(t, record("n1", 3*sec, 4500*ms).encode()) }, []Event{HandOver{Token: 1}}, "n1 does not hold the address, though the record names it: look again in a moment"},
		{"release before etcd's answer", func(t *testing.T) *driver { return ready(t, record("n1", 3*sec, 4500*ms).encode()) }, []Event{Release{Token: 1}}, "n1 does not hold the address, though the record names it: look again in a moment"},
		{"handover by nobody's candidate", func(t *testing.T) *driver { return ready(t, "") }, []Event{HandOver{Token: 1}}, "n1 does not hold the address"},
		{"to a drained one", holding, []Event{Peers{List: []Peer{drainedPeer}}, HandOver{Token: 1, To: "n2"}}, "n2 is drained"},
		{"to one that cannot", holding, []Event{Peers{List: []Peer{busy}}, HandOver{Token: 1, To: "n3"}}, "n3 cannot take the address over now: it is waiting"},
		{"twice", holding, []Event{Peers{List: []Peer{fit("n2")}}, HandOver{Token: 1}, HandOver{Token: 2}}, "given away already"},
		{"release in a handover", holding, []Event{Peers{List: []Peer{fit("n2")}}, HandOver{Token: 1}, Release{Token: 2}}, "given away already"},
		{"release without etcd", func(t *testing.T) *driver { return ready(t, "{}") }, []Event{Etcd{Reason: "no leader"}, Release{Token: 1}}, "cannot be replaced: no leader"},
		{"drained twice", holding, []Event{SetDrained{Token: 1, On: true}, SetDrained{Token: 2, On: true}}, "drained already"},
		{"undrained", func(t *testing.T) *driver { return ready(t, "") }, []Event{SetDrained{Token: 1, On: true}, SetDrained{Token: 2}}, "may hold the address again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := tt.at(t)
			for _, ev := range tt.ev {
				d.send(ev)
			}
			if got := strings.Join(d.take(), ";"); !strings.Contains(got, "done: ") || !strings.Contains(got, tt.want) {
				t.Errorf("%s, want %q", got, tt.want)
			}
		})
	}
}

// A takeover that commits when its answer is given up is made good by another
// one, which tells of the same move.
func TestTakeoverCommitsLate(t *testing.T) {
	d := ready(t, record("n2", 3*sec, 4500*ms).encode())
	d.hold = true
	d.run(4700 * ms)
	if len(d.writes) == 0 {
		t.Fatal("no takeover")
	}
	first := d.writes[0]
	d.run(readTimeout)
	d.hold, d.writes = false, nil
	d.put(first.Value)
	d.run(sec)
	if d.m.role != Holder {
		t.Fatalf("role %v, want a holder", d.m.role)
	}
	got := *d.m.term.rec.Move
	if got.From != "n2" || got.Reason != "n2 stopped renewing" {
		t.Errorf("the move is told as %+v", got)
	}
}
