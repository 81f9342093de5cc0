package election

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The record explains the last change of holder (promise P5): from whom to whom,
// why, and why to that one.
func TestMove(t *testing.T) {
	better := fit("n0")
	sick := fit("n0")
	sick.Healthy = false
	taken := func(peers ...Peer) func(*testing.T, *driver) {
		return func(t *testing.T, d *driver) {
			for _, p := range peers {
				d.peer(p)
			}
			d.put(record("n9", 3*sec, 4500*ms).encode())
			d.run(5 * sec)
		}
	}
	given := func(ev Event, silent int) func(*testing.T, *driver) {
		return func(t *testing.T, d *driver) {
			d.run(6 * sec)
			d.peer(fit("n2"))
			d.peer(fit("n3"))
			d.send(ev)
			for range silent {
				d.run(askTimeout)
			}
			d.offer()
			d.run(100 * ms)
		}
	}
	for name, tt := range map[string]struct {
		do   func(*testing.T, *driver)
		want Move
	}{
		"alone":             {taken(), Move{From: "n9", To: "n1", Reason: "n9 stopped renewing", Chosen: "nobody else could take it"}},
		"a sick rival":      {taken(sick), Move{From: "n9", To: "n1", Reason: "n9 stopped renewing", Chosen: "n1 ranked first (healthy, priority 100)"}},
		"a better rival":    {taken(better), Move{From: "n9", To: "n1", Reason: "n9 stopped renewing", Chosen: "n1 was quicker than who ranks before it"}},
		"the first ever":    {func(t *testing.T, d *driver) { d.run(6 * sec) }, Move{To: "n1", Reason: "there was no record", Chosen: "nobody else could take it"}},
		"a drain":           {given(SetDrained{On: true}, 0), Move{From: "n1", To: "n2", Reason: "n1 is drained", Chosen: "n2 ranked first (healthy, priority 100)"}},
		"the first is mute": {given(SetDrained{On: true}, 1), Move{From: "n1", To: "n3", Reason: "n1 is drained", Chosen: "n3 was the first in rank to make an offer"}},
		"to a node named":   {given(HandOver{Token: 1, To: "n3"}, 0), Move{From: "n1", To: "n3", Reason: "handover by an operator"}},
		"a release":         {func(t *testing.T, d *driver) { d.run(6 * sec); d.send(Release{}); d.run(sec) }, Move{From: "n1", Reason: "released by an operator"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := ready(t, "")
			tt.do(t, d)
			rec, err := DecodeRecord(d.etcd)
			if err != nil || rec.Move == nil {
				t.Fatalf("record %q: %v", d.etcd, err)
			}
			got := *rec.Move
			got.AtMS, got.LostMS = 0, 0
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// The gap that people read begins with the clear, not with the transaction after it.
func TestMoveBeginsWithTheClear(t *testing.T) {
	d := holding(t)
	d.peer(fit("n2"))
	d.noDisk = true
	d.send(SetDrained{On: true})
	d.offer()
	cleared := d.clock().Wall
	d.run(50 * ms)
	for _, a := range d.acts {
		if s, ok := a.(Save); ok && s.Seq != 0 {
			d.send(Saved{Seq: s.Seq, OK: true})
		}
	}
	d.run(50 * ms)
	rec, err := DecodeRecord(d.etcd)
	if err != nil || rec.Node != "n2" {
		t.Fatalf("record %q: %v", d.etcd, err)
	}
	if m := rec.Move; m.LostMS-cleared > 5 || m.AtMS-m.LostMS < 40 {
		t.Errorf("cleared at %d, the move: %+v", cleared, *m)
	}
}
