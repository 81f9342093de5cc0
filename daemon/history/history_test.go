package history

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/daemon/status"
	"havip/election"
)

// writer writes the records of one VIP, one value after the other.
type writer struct {
	n   int
	rec election.Record
}

func (w *writer) value(r election.Record) string {
	w.n++
	r.Schema, r.Mode, r.HoldMS, r.TakeoverMS = election.Schema, election.ModePlain, 3000, 4500
	r.ID = fmt.Sprintf("x-%d", w.n)
	w.rec = r
	b, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// renew is the record in force once more.
func (w *writer) renew() string { w.rec.Offer = ""; return w.value(w.rec) }

func (w *writer) take(from, to string, at, lost int64, reason string) string {
	return w.value(election.Record{Node: to, Since: at, Move: &election.Move{From: from, To: to, AtMS: at, LostMS: lost, Reason: reason}})
}

func (w *writer) give(from, to string, at int64, offer, reason string) string {
	return w.value(election.Record{Node: to, Since: at, Offer: offer, Move: &election.Move{From: from, To: to, AtMS: at, LostMS: at - 3, Reason: reason}})
}

// began is the renewal in which a successor says when it began.
func (w *writer) began(at int64) string {
	m := *w.rec.Move
	m.AtMS = at
	w.rec.Move = &m
	return w.renew()
}

// line is a fact in short.
func line(f Fact) string {
	s := fmt.Sprintf("%s %s>%s at %d", f.Kind, f.From, f.To, f.AtMS)
	if f.LostMS != 0 {
		s += fmt.Sprintf(" lost %d", f.LostMS)
	}
	if f.Ended != "" {
		s += " ended " + f.Ended
	}
	if f.Open {
		s += " open"
	}
	return s
}

const t0 = 1_000_000

func TestTrackerFollowsTheRecord(t *testing.T) {
	type step struct {
		value func(w *writer) string
		live  bool
		at    int64
		want  []string
	}
	first := func(w *writer) string { return w.take("", "n1", t0, 0, reasonAbsent) }
	renew := (*writer).renew
	firstFact := []string{"taken >n1 at 1000000"}
	tests := map[string][]step{
		"a crash": {
			{first, true, t0, firstFact},
			{renew, true, t0 + 400, nil},
			{func(w *writer) string { return w.take("n1", "n2", t0+5000, t0+410, "n1 stopped renewing") }, true, t0 + 5001,
				[]string{"takeover n1>n2 at 1005000 lost 1000410 ended 0000001000000-n1"}},
			{renew, true, t0 + 5400, nil},
		},
		"a crash found by heartbeats": {
			{first, true, t0, firstFact},
			{renew, true, t0 + 400, nil},
			{func(w *writer) string { return w.take("n1", "n2", t0+700, t0+410, "n1 was not heard for 250ms") }, true, t0 + 701,
				[]string{"takeover n1>n2 at 1000700 lost 1000410 ended 0000001000000-n1"}},
		},
		"a crash long before this node began to look": {
			{first, false, t0 + 60_000, firstFact},
			{func(w *writer) string { return w.take("n1", "n2", t0+64_500, t0+60_000, "n1 stopped renewing") }, true, t0 + 64_501,
				[]string{"takeover n1>n2 at 1064500 ended 0000001000000-n1"}},
		},
		"a crash by the words of a node that had just begun to look": {
			{first, true, t0, firstFact},
			{func(w *writer) string { return w.take("n1", "n2", t0+64_500, t0+60_000, "n1 stopped renewing") }, true, t0 + 64_501,
				[]string{"takeover n1>n2 at 1064500 ended 0000001000000-n1"}},
		},
		"a lost watch that comes back to the same value": {
			{first, true, t0, firstFact},
			{func(w *writer) string { w.n--; return w.renew() }, false, t0 + 3000, nil},
			{func(w *writer) string { return w.take("n1", "n2", t0+5000, t0, "n1 stopped renewing") }, true, t0 + 5001,
				[]string{"takeover n1>n2 at 1005000 lost 1000000 ended 0000001000000-n1"}},
		},
		"a lost watch that comes back to another value": {
			{first, true, t0, firstFact},
			{renew, false, t0 + 3000, nil},
			{func(w *writer) string { return w.take("n1", "n2", t0+7500, t0+3000, "n1 stopped renewing") }, true, t0 + 7501,
				[]string{"takeover n1>n2 at 1007500 ended 0000001000000-n1"}},
		},
		"a move while the watch was lost": {
			{first, true, t0, firstFact},
			{func(w *writer) string { return w.take("n1", "n2", t0+5000, t0+400, "n1 stopped renewing") }, false, t0 + 9000,
				[]string{"takeover n1>n2 at 1005000 lost 1000400"}},
		},
		"a handover": {
			{first, true, t0, firstFact},
			{func(w *writer) string { return w.give("n1", "n2", t0+1000, "offer", "handover by an operator") }, true, t0 + 1001,
				[]string{"handover n1>n2 at 1001000 lost 1000997 ended 0000001000000-n1 open"}},
			{func(w *writer) string { return w.began(t0 + 1004) }, true, t0 + 1010,
				[]string{"handover n1>n2 at 1001004 lost 1000997 ended 0000001000000-n1"}},
			{renew, true, t0 + 1400, nil},
		},
		"a handover whose successor has the same clock": {
			{func(w *writer) string { return w.give("n1", "n2", t0+1000, "offer", "n1 is drained") }, true, t0 + 1001,
				[]string{"handover n1>n2 at 1001000 lost 1000997 open"}},
			{renew, true, t0 + 1010, []string{"handover n1>n2 at 1001000 lost 1000997"}},
		},
		"a release, and who takes it": {
			{first, true, t0, firstFact},
			{func(w *writer) string { return w.give("n1", "", t0+1000, "", "havipd on n1 stops") }, true, t0 + 1001,
				[]string{"release n1> at 1001000 lost 1000997 ended 0000001000000-n1"}},
			{func(w *writer) string {
				return w.take("n1", "n2", t0+9000, t0+997, "the record was free: havipd on n1 stops")
			}, true, t0 + 9001, []string{"taken >n2 at 1009000 lost 1000997 ended 0000001001000-nobody"}},
		},
		"a release by force, of which nobody saw the end": {
			{first, true, t0, firstFact},
			{func(w *writer) string {
				return w.value(election.Record{Wait: true, Move: &election.Move{From: "n1", AtMS: t0 + 9000, LostMS: t0 + 9000, Reason: "released by an operator on n3"}})
			}, true, t0 + 9001, []string{"release n1> at 1009000 ended 0000001000000-n1"}},
			{func(w *writer) string {
				return w.take("n1", "n2", t0+15_000, t0+9000, "the record was free: released by an operator on n3")
			}, true, t0 + 15_001, []string{"taken >n2 at 1015000 ended 0000001009000-nobody"}},
		},
		"the same node again after etcd had confirmed nothing": {
			{first, true, t0, firstFact},
			{func(w *writer) string {
				return w.value(election.Record{Node: "n1", Since: t0, Renewal: 7, Move: &election.Move{From: "n1", To: "n1", AtMS: t0 + 40_000, LostMS: t0 + 10, Reason: "its own record again, after etcd had confirmed nothing for longer than hold"}})
			}, true, t0 + 40_001, []string{"resumed n1>n1 at 1040000 lost 1000010 ended 0000001000000-n1"}},
			{renew, true, t0 + 40_400, nil},
		},
		"the same node again after a restart, which cannot know since when": {
			{first, true, t0, firstFact},
			{func(w *writer) string {
				return w.value(election.Record{Node: "n1", Since: t0, Renewal: 7, Move: &election.Move{From: "n1", To: "n1", AtMS: t0 + 4000, LostMS: t0 + 3990, Reason: reasonRestart}})
			}, true, t0 + 4001, []string{"resumed n1>n1 at 1004000 ended 0000001000000-n1"}},
		},
		"the same node again after a quick restart": {
			{first, true, t0, firstFact},
			{func(w *writer) string {
				return w.value(election.Record{Node: "n1", Since: t0, Renewal: 7, Move: &election.Move{From: "n1", To: "n1", AtMS: t0 + 1500, LostMS: t0 + 1490, Reason: reasonRestart}})
			}, true, t0 + 1501, []string{"resumed n1>n1 at 1001500 ended 0000001000000-n1"}},
		},
		"no record any more": {
			{first, true, t0, firstFact},
			{func(*writer) string { return "" }, true, t0 + 100, nil},
			{func(w *writer) string { return w.take("", "n2", t0+7000, 0, reasonAbsent) }, true, t0 + 7001, []string{"taken >n2 at 1007000"}},
		},
		"nonsense": {
			{first, true, t0, firstFact},
			{func(*writer) string { return "{" }, true, t0 + 100, nil},
			{func(w *writer) string { return w.value(election.Record{Node: "n2", Since: t0 + 7000}) }, true, t0 + 7001, nil},
			{renew, true, t0 + 7401, nil},
		},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			tr, w := NewTracker("n9", "", false), &writer{}
			for i, s := range steps {
				var got []string
				for _, f := range tr.Record(s.value(w), s.live, int64(i+1), s.at) {
					got = append(got, line(f))
				}
				if diff := cmp.Diff(s.want, got); diff != "" {
					t.Errorf("step %d (-want +got):\n%s", i+1, diff)
				}
			}
		})
	}
}

// The fact of a move has the same key whoever makes it, in whatever state of the
// record it comes to see it.
func TestTheSameKeyForAll(t *testing.T) {
	for name, make := range map[string]func(w *writer) []string{
		"takeover": func(w *writer) []string {
			return []string{w.take("n1", "n2", t0, t0-4500, "n1 stopped renewing"), w.renew(), w.renew()}
		},
		"handover": func(w *writer) []string {
			return []string{w.give("n1", "n2", t0, "offer", "handover by an operator"), w.began(t0 + 4), w.renew()}
		},
	} {
		w := &writer{}
		ids := map[string]bool{}
		for _, v := range make(w) {
			for _, f := range NewTracker("n9", "", false).Record(v, false, 1, t0) {
				ids[f.ID] = true
			}
		}
		if len(ids) != 1 {
			t.Errorf("%s: keys %v", name, ids)
		}
	}
}

func TestTrackerNotes(t *testing.T) {
	const holder, candidate, waiting = election.Holder, election.Candidate, election.Waiting
	for name, test := range map[string]struct {
		from, to election.Role
		reason   string
		want     string
	}{
		"right ran out":          {holder, waiting, "etcd confirmed no renewal within 3s", "lost n1> at 1000500 ended 0000001000000-n1"},
		"while giving away":      {election.Releasing, candidate, "etcd confirmed no renewal within 3s", "lost n1> at 1000500 ended 0000001000000-n1"},
		"record deleted":         {holder, candidate, "the record was deleted from etcd", "lost n1> at 1000500 ended 0000001000000-n1"},
		"given, not confirmed":   {election.Releasing, candidate, "handover by an operator (etcd did not confirm it)", "lost n1> at 1000500 ended 0000001000000-n1"},
		"handed over":            {election.Releasing, candidate, "handover by an operator (handed over to n2)", ""},
		"released":               {election.Releasing, candidate, "havipd on n1 stops (released)", ""},
		"taken over":             {holder, candidate, "n2 has the record", ""},
		"released by another":    {holder, candidate, "the record was released: released by an operator on n2", ""},
		"begins to give away":    {holder, election.Releasing, "n1 is drained", ""},
		"keeps it after all":     {election.Releasing, holder, "the address was not given away", ""},
		"becomes candidate":      {waiting, candidate, "the local etcd member answers", ""},
		"becomes holder":         {candidate, holder, "n2 stopped renewing", ""},
		"claims":                 {waiting, election.Claimant, "claimed the address by force: no quorum", "claim >n1 at 1000500"},
		"adopts a claim":         {waiting, election.Claimant, "adopting the claim of the process before this one", ""},
		"claim runs out":         {election.Claimant, waiting, "the claim was not renewed", "claim end n1> at 1000500"},
		"claim meets the record": {election.Claimant, candidate, "n2 has the record", "claim end n1> at 1000500"},
	} {
		t.Run(name, func(t *testing.T) {
			tr, w := NewTracker("n1", "", false), &writer{}
			tr.Record(w.take("", "n1", t0, 0, reasonAbsent), true, 1, t0)
			f, ok := tr.Note(election.Note{From: test.from, To: test.to, Reason: test.reason}, t0+500)
			if got := line(f); ok != (test.want != "") || ok && (got != test.want || f.Reason != test.reason || f.By != "n1") {
				t.Errorf("%q, %v; want %q; %+v", got, ok, test.want, f)
			}
		})
	}
}

// The claim may be taken over before the watch shows the record, or after.
func TestTrackerClaimTakenOver(t *testing.T) {
	const want = "the election took the claim over: there was no record"
	note := election.Note{From: election.Claimant, To: election.Holder, Reason: reasonAbsent}
	w := &writer{}
	value := w.take("", "n1", t0, 0, reasonAbsent)

	before := NewTracker("n1", "", false)
	if f, ok := before.Note(note, t0); ok {
		t.Errorf("told of what no record shows yet: %+v", f)
	}
	if f := before.Record(value, true, 1, t0); len(f) != 1 || f[0].From != "n1" || f[0].Reason != want {
		t.Errorf("record after note: %+v", f)
	}

	after := NewTracker("n1", "", false)
	first := after.Record(value, true, 1, t0)
	f, ok := after.Note(note, t0)
	if !ok || f.From != "n1" || f.Reason != want || f.ID != first[0].ID {
		t.Errorf("record before note: %+v, then %+v", first, f)
	}
}

func TestTrackerAfterARestart(t *testing.T) {
	w := &writer{}
	own := w.take("", "n1", t0, 0, reasonAbsent)
	tr := NewTracker("n1", "", false)
	tr.Record(own, true, 1, t0)
	if tr.Own() != "0000001000000-n1" {
		t.Fatalf("own = %q", tr.Own())
	}
	t.Run("adopted", func(t *testing.T) {
		tr := NewTracker("n1", tr.Own(), false)
		if f := tr.Record(own, false, 1, t0+900); len(f) != 1 || f[0].Kind != status.HistoryTaken || tr.Own() != "0000001000000-n1" {
			t.Errorf("%+v, own %q", f, tr.Own())
		}
	})
	t.Run("not adopted, then taken by another", func(t *testing.T) {
		tr := NewTracker("n1", tr.Own(), false)
		tr.Record(own, false, 1, t0+900)
		f := tr.Record(w.take("n1", "n2", t0+5000, t0+900, "n1 stopped renewing"), true, 2, t0+5001)
		if len(f) != 2 || f[0].Kind != Back || f[1].Ended != f[0].Ended || f[1].LostMS != 0 || tr.Own() != "" {
			t.Errorf("%+v, own %q", f, tr.Own())
		}
	})
	t.Run("not adopted, then taken again", func(t *testing.T) {
		tr := NewTracker("n1", tr.Own(), true)
		tr.Record(own, false, 1, t0+900)
		f := tr.Record(w.take("n1", "n1", t0+5000, t0+900, "n1 stopped renewing"), true, 2, t0+5001)
		if len(f) != 2 || f[0].Kind != Back || f[0].Reason != "it was rebooted" || f[1].Ended != f[0].Ended || tr.Own() != f[1].ID {
			t.Errorf("%+v, own %q", f, tr.Own())
		}
		f = tr.Record(w.take("n1", "n2", t0+15_000, t0+10_000, "n1 stopped renewing"), true, 3, t0+15_001)
		if len(f) != 1 {
			t.Errorf("back once more: %+v", f)
		}
	})
	t.Run("too late for the address, but not for the record", func(t *testing.T) {
		tr := NewTracker("n1", tr.Own(), false)
		tr.Record(own, false, 1, t0+900)
		f := tr.Record(w.take("n1", "n1", t0+5000, t0+4990, reasonRestart), true, 2, t0+5001)
		if len(f) != 1 || f[0].Kind != status.HistoryResumed || f[0].LostMS != 0 {
			t.Errorf("%+v", f)
		}
	})
	t.Run("adopted, and lost later", func(t *testing.T) {
		tr := NewTracker("n1", tr.Own(), false)
		tr.Note(election.Note{From: election.Waiting, To: election.Holder, Reason: "adopting the address of the process before this one"}, t0+900)
		tr.Record(own, false, 1, t0+900)
		f := tr.Record(w.take("n1", "n2", t0+9000, t0+4500, "n1 stopped renewing"), true, 2, t0+9001)
		if len(f) != 1 || f[0].Kind != status.HistoryTakeover {
			t.Errorf("%+v", f)
		}
	})
	t.Run("lost meanwhile", func(t *testing.T) {
		tr := NewTracker("n1", tr.Own(), true)
		f := tr.Record(w.take("n1", "n2", t0+5000, t0+400, "n1 stopped renewing"), false, 2, t0+60_000)
		if len(f) != 2 || f[0].Kind != Back || f[0].Ended != "0000001000000-n1" || f[0].Reason != "it was rebooted" || tr.Own() != "" {
			t.Errorf("%+v, own %q", f, tr.Own())
		}
	})
	t.Run("right ran out before the record was read", func(t *testing.T) {
		tr := NewTracker("n1", tr.Own(), false)
		f, ok := tr.Note(election.Note{From: election.Holder, To: election.Waiting, Reason: "etcd confirmed no renewal within 3s"}, t0+3000)
		if !ok || f.Ended != "0000001000000-n1" || f.ID != "0000001000000-n1-lost" || tr.Own() != "" {
			t.Errorf("%+v, %v, own %q", f, ok, tr.Own())
		}
	})
}

func TestEntries(t *testing.T) {
	took := func(from, to string, at, lost, rev int64, ended string) Known {
		return Known{Fact: Fact{ID: key(at, to), Kind: status.HistoryTakeover, AtMS: at, From: from, To: to, LostMS: lost, Reason: from + reasonStopped, By: to, Rev: rev, Ended: ended}}
	}
	lapse := func(node, ended string, at int64) Known {
		return Known{Fact: Fact{ID: ended + "-lost", Kind: status.HistoryLost, AtMS: at, From: node, Reason: "no renewal", By: node, Ended: ended}}
	}
	back := func(node, ended string, at int64) Known {
		return Known{Fact: Fact{ID: ended + "-back", Kind: Back, AtMS: at, From: node, Reason: "it was rebooted", By: node, Ended: ended}}
	}
	other := func(kind status.HistoryKind, from, to string, at, lost, rev int64, ended string) Known {
		return Known{Fact: Fact{ID: key(at, to, string(kind)), Kind: kind, AtMS: at, From: from, To: to, LostMS: lost, Reason: "r", By: "n1", Rev: rev, Ended: ended}}
	}
	for name, test := range map[string]struct {
		facts []Known
		want  []string
	}{
		"none": {nil, nil},
		"a crash": {[]Known{took("n1", "n2", 9500, 5000, 2, "a")},
			[]string{"takeover n1>n2 <4500: n1 stopped renewing [n2]"}},
		"a crash of which only one side is known": {[]Known{took("n1", "n2", 9500, 0, 2, "a")},
			[]string{"takeover n1>n2 ?: n1 stopped renewing [n2]"}},
		"the loser let go and says why": {[]Known{lapse("n1", "a", 8000), took("n1", "n2", 48_000, 5000, 2, "a")},
			[]string{"takeover n1>n2 40000: n1 let go: no renewal [n2 n1]"}},
		"the winner did not see it, the loser did": {[]Known{lapse("n1", "a", 8000), took("n1", "n2", 48_000, 0, 2, "a")},
			[]string{"takeover n1>n2 40000: n1 let go: no renewal [n2 n1]"}},
		"the loser was frozen": {[]Known{took("n1", "n2", 9500, 5000, 2, "a"), lapse("n1", "a", 15_700)},
			[]string{"takeover n1>n2 <4500: n1 stopped renewing; n1 itself found out 6.2 s later: no renewal [n2 n1]"}},
		"the loser's clock is an hour behind": {[]Known{lapse("n1", "a", 4_000_000), took("n1", "n2", 7_640_000, 7_600_000, 2, "a")},
			[]string{"takeover n1>n2 <40000: n1 stopped renewing; n1 itself found out 0.0 s later: no renewal [n2 n1]"}},
		"the loser is back": {[]Known{took("n1", "n2", 9500, 5000, 2, "a"), back("n1", "a", 200_000)},
			[]string{"takeover n1>n2 <4500: n1 stopped renewing; n1: it was rebooted, and was back 3 min later [n2 n1]"}},
		"back, and it took it itself": {[]Known{took("n1", "n1", 9500, 0, 2, "a"), back("n1", "a", 9501)},
			[]string{"takeover n1>n1 ?: n1 stopped renewing; it was rebooted [n1]"}},
		"back after it had given away": {[]Known{other(status.HistoryHandover, "n1", "n2", 9500, 9496, 2, "a"), back("n1", "a", 200_000)},
			[]string{"handover n1>n2 4: r [n1]"}},
		"back, and nobody tells of what": {[]Known{back("n1", "a", 200_000)}, nil},
		"given away and not confirmed": {[]Known{other(status.HistoryHandover, "n1", "n2", 9500, 9496, 2, "a"), lapse("n1", "a", 11_500)},
			[]string{"handover n1>n2 4: r [n1]"}},
		"let go and not taken yet": {[]Known{took("n1", "n2", 9500, 5000, 2, "a"), lapse("n2", key(9500, "n2"), 20_000)},
			[]string{"takeover n1>n2 <4500: n1 stopped renewing [n2]", "lost n2> ?: no renewal [n2]"}},
		"deleted and taken": {[]Known{lapse("n1", "a", 8000), other(status.HistoryTaken, "", "n2", 20_000, 0, 3, "")},
			[]string{"lost n1> ?: no renewal [n1]", "taken >n2 12000: r [n1]"}},
		"released and taken": {[]Known{other(status.HistoryRelease, "n1", "", 8000, 7997, 2, "a"), other(status.HistoryTaken, "", "n2", 20_000, 0, 3, "b")},
			[]string{"release n1> ?: r [n1]", "taken >n2 12000: r [n1]"}},
		"released by force and taken": {[]Known{other(status.HistoryRelease, "n1", "", 8000, 0, 2, "a"), other(status.HistoryTaken, "", "n2", 20_000, 0, 3, "b")},
			[]string{"release n1> ?: r [n1]", "taken >n2 ?: r [n1]"}},
		"a claim that was taken over": {[]Known{other(status.HistoryClaim, "", "n1", 8000, 0, 0, ""), other(status.HistoryTaken, "n1", "n1", 20_000, 0, 3, "")},
			[]string{"claim >n1 ?: r [n1]", "taken n1>n1 0: r [n1]"}},
		"clocks that do not agree": {[]Known{other(status.HistoryHandover, "n1", "n2", 8000, 9000, 2, "a")},
			[]string{"handover n1>n2 ?: r [n1]"}},
		"the order is that of etcd, whatever the clocks say": {[]Known{took("n2", "n3", 5000, 0, 30, "b"), took("n1", "n2", 900_000, 0, 20, "a")},
			[]string{"takeover n1>n2 ?: n1 stopped renewing [n2]", "takeover n2>n3 ?: n2 stopped renewing [n3]"}},
		"what no record tells of goes by its time": {[]Known{took("n1", "n2", 5000, 0, 20, "a"), took("n2", "n3", 9000, 0, 30, "b"), other(status.HistoryDrain, "", "", 9000, 0, 0, ""), other(status.HistoryUndrain, "", "", 7000, 0, 0, "")},
			[]string{"takeover n1>n2 ?: n1 stopped renewing [n2]", "undrain > ?: r [n1]", "drain > ?: r [n1]", "takeover n2>n3 ?: n2 stopped renewing [n3]"}},
		"what waits is there once": {[]Known{{Fact: took("n1", "n2", 9500, 0, 2, "a").Fact, Waiting: true}, took("n1", "n2", 9500, 5000, 2, "a")},
			[]string{"takeover n1>n2 <4500: n1 stopped renewing [n2]"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, e := range Entries(test.facts) {
				gap := "?"
				if e.GapMS != nil {
					gap = fmt.Sprint(*e.GapMS)
				}
				if e.GapMost {
					gap = "<" + gap
				}
				got = append(got, fmt.Sprintf("%s %s>%s %s: %s %v", e.Kind, e.From, e.To, gap, e.Reason, e.By))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
		})
	}
	if Entries(nil) == nil {
		t.Error("no list at all")
	}
}

func TestDecode(t *testing.T) {
	sound := Fact{Schema: Schema, ID: "k", Kind: status.HistoryTakeover, AtMS: 1, From: "n1", To: "n2", Reason: "n1 -> n2 <&>", By: "n2", Rev: 7}
	if got, err := Decode("k", sound.Encode()); err != nil || !cmp.Equal(got, sound) {
		t.Errorf("%+v, %v", got, err)
	}
	if !strings.Contains(sound.Encode(), "n1 -> n2 <&>") {
		t.Errorf("not for people: %s", sound.Encode())
	}
	later := sound
	later.Kind = "of tomorrow"
	if _, err := Decode("k", later.Encode()); err != nil {
		t.Errorf("a kind of a later version: %v", err)
	}
	for _, value := range []string{
		"", "null", "[]", "7", "{}", `{"schema":2,"id":"k","kind":"lost","at_ms":1,"by":"n1"}`,
		`{"schema":1,"id":"other","kind":"lost","at_ms":1,"by":"n1"}`, `{"schema":1,"id":"k","at_ms":1,"by":"n1"}`,
		`{"schema":1,"id":"k","kind":"lost","by":"n1"}`, `{"schema":1,"id":"k","kind":"lost","at_ms":1}`,
		`{"schema":1,"id":"k","kind":"lost","at_ms":1e99,"by":"n1"}`, `{"schema":1,"id":"k","kind":"lost","at_ms":-1,"by":"n1"}`,
	} {
		if f, err := Decode("k", value); err == nil {
			t.Errorf("%s is taken for %+v", value, f)
		}
	}
}

// maxValue is what etcd is given at most (election/etcd.MaxKept).
const maxValue = 4 << 10

// Whatever stands in the record, no value grows beyond what is kept, and no key
// leaves the prefix.
func FuzzTracker(f *testing.F) {
	w := &writer{}
	f.Add(w.take("n1", "n2", t0, t0-4500, "n1 stopped renewing"), "n1", "etcd confirmed no renewal within 3s")
	f.Add(w.give("n1", "", t0, "", strings.Repeat("\x00\"\\<\u2028", 400)), "../n1\x00", strings.Repeat("\xff", 4000))
	f.Fuzz(func(t *testing.T, value, node, reason string) {
		tr := NewTracker(node, "former", true)
		facts := tr.Record(value, true, 1, t0)
		for from := election.Waiting; from <= election.Releasing; from++ {
			for to := election.Waiting; to <= election.Releasing; to++ {
				if fact, ok := tr.Note(election.Note{From: from, To: to, Reason: reason}, t0); ok {
					facts = append(facts, fact)
				}
			}
		}
		var known []Known
		for _, fact := range append(facts, tr.Drain(true, t0)) {
			if n := len(fact.Encode()); n > maxValue {
				t.Errorf("%d bytes: %q", n, fact.Encode())
			}
			if strings.ContainsFunc(fact.ID, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' }) || len(fact.ID) > 150 {
				t.Errorf("key %q", fact.ID)
			}
			known = append(known, Known{Fact: fact})
		}
		Entries(known)
	})
}

func TestCutAndSpan(t *testing.T) {
	if got := cut(strings.Repeat("ä", 10), 12); got != "ääää…" {
		t.Errorf("cut = %q", got)
	}
	if got := cut("a\x1b[31m\nb", 20); got != "a?[31m?b" {
		t.Errorf("cut = %q", got)
	}
	for ms, want := range map[int64]string{-5: "0.0 s", 6200: "6.2 s", 119_000: "119.0 s", int64(3 * time.Hour / time.Millisecond): "180 min"} {
		if got := span(ms); got != want {
			t.Errorf("span(%d) = %s, want %s", ms, got, want)
		}
	}
}
