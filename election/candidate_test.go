package election

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// takenAfter is how long the node waits from the sight of a record to its takeover.
func takenAfter(t *testing.T, prep func(*driver)) time.Duration {
	t.Helper()
	d := ready(t, record("n9", 6*sec, 50*sec).encode())
	d.run(sec)
	start := d.now
	prep(d)
	for d.now < start+70*sec {
		d.run(10 * ms)
		for _, a := range d.acts {
			if _, ok := a.(Write); ok {
				return d.now - start
			}
		}
	}
	return never
}

func TestWait(t *testing.T) {
	free := record("", 3*sec, 4500*ms)
	mustWait := free
	mustWait.Wait = true
	for _, tt := range []struct {
		name string
		prep func(*driver)
		want time.Duration
	}{
		{"held: the record's takeover", func(d *driver) { d.put(record("n2", 5*sec, 7*sec).encode()) }, 7 * sec},
		{"seen to become free", func(d *driver) { d.put(free.encode()) }, 0},
		{"found free", func(d *driver) { d.etcd = free.encode(); d.send(Observed{Value: d.etcd}) }, 4500 * ms},
		{"free, to be waited out", func(d *driver) { d.put(mustWait.encode()) }, 4500 * ms},
		{"absent: the own takeover, and a look at the wire", func(d *driver) { d.put("") }, 4900 * ms},
		{"nonsense", func(d *driver) { d.put("{}") }, never},
		{"this node's name, not its record", func(d *driver) { d.put(record("n1", 3*sec, 4500*ms).encode()) }, 4500 * ms},
		{"one better candidate", func(d *driver) { d.peer(fit("n0")); d.put(free.encode()) }, rankStep},
		{"two better ones", func(d *driver) { d.peer(fit("n0")); p := fit("n3"); p.Priority = 101; d.peer(p); d.put(free.encode()) }, 2 * rankStep},
		{"better, but sick", func(d *driver) { p := fit("n0"); p.Healthy = false; d.peer(p); d.put(free.encode()) }, 0},
		{"better, but not able", func(d *driver) { p := fit("n0"); p.Able = false; d.peer(p); d.put(free.encode()) }, 0},
		{"the one that is gone", func(d *driver) { d.peer(fit("n0")); d.put(record("n0", 3*sec, 4500*ms).encode()) }, 4500 * ms},
		{"sick itself", func(d *driver) { d.send(Health{}); d.peer(fit("n5")); d.put(free.encode()) }, rankStep},
		{"drained", func(d *driver) { d.send(SetDrained{On: true}); d.put(free.encode()) }, never},
		{"without a link", func(d *driver) { d.send(Link{}); d.put(free.encode()) }, never},
		{"without etcd", func(d *driver) { d.send(Etcd{}); d.put(free.encode()) }, never},
		{"stopping", func(d *driver) { d.send(Stop{}); d.put(free.encode()) }, never},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := takenAfter(t, tt.prep)
			if tt.want == never && got != never || tt.want != never && (got < tt.want || got > tt.want+40*ms) {
				t.Errorf("took over after %v, want %v", got, tt.want)
			}
		})
	}
}

// Whatever fails at once is not tried again at once.
func TestNoHotLoops(t *testing.T) {
	answer := func(d *driver, do func(Action) Event) {
		for range 400 {
			acts := d.acts
			d.acts = nil
			for _, a := range acts {
				if ev := do(a); ev != nil {
					d.send(ev)
				}
			}
			d.run(5 * ms)
		}
	}
	for _, tt := range []struct {
		name  string
		start func(*testing.T) *driver
		do    func(Action) Event
	}{
		{"writes are refused at once", func(t *testing.T) *driver { d := ready(t, ""); d.hold = true; d.run(5 * sec); return d }, func(a Action) Event {
			if w, ok := a.(Write); ok {
				return Wrote{ID: w.ID, Outcome: NotDone}
			}
			return nil
		}},
		{"renewals are refused at once", func(t *testing.T) *driver { d := holding(t); d.hold = true; return d }, func(a Action) Event {
			if w, ok := a.(Write); ok {
				return Wrote{ID: w.ID, Outcome: NotDone}
			}
			return nil
		}},
		{"reads fail at once", func(t *testing.T) *driver { d := ready(t, ""); d.rtt = 1000 * sec; return d }, func(a Action) Event {
			if r, ok := a.(Read); ok {
				return ReadFailed{Read: r.ID}
			}
			return nil
		}},
		{"set calls fail", func(t *testing.T) *driver {
			d := holding(t)
			d.failSet, d.until = true, 0
			d.send(AddressLost{})
			return d
		}, func(Action) Event { return nil }},
		{"a set call that was late cannot be cleared", func(t *testing.T) *driver {
			d := holding(t)
			d.noSet, d.noClear = true, true
			d.sets = nil
			d.run(sec)
			s := d.sets[0]
			d.send(AddressSet{Seq: s.Seq, OK: true, Before: s.Latest, After: s.Latest + ms})
			return d
		}, func(Action) Event { return nil }},
		{"somebody fights for the address", holding, func(a Action) Event {
			if _, ok := a.(SetAddress); ok {
				return AddressLost{}
			}
			return nil
		}},
		{"there is no link", func(t *testing.T) *driver {
			d := holding(t)
			d.noSet, d.until = true, 0
			d.send(AddressLost{})
			return d
		}, func(a Action) Event {
			if s, ok := a.(SetAddress); ok {
				return AddressSet{Seq: s.Seq, Untouched: true, Reason: "no such link"}
			}
			return nil
		}},
		{"the record may be shortened, but the kernel refuses", func(t *testing.T) *driver {
			d := holding(t)
			d.failSet = true
			d.send(Retime{Timing: Timing{Hold: 1500 * ms, Takeover: 3 * sec, Renewal: 400 * ms, Retry: 200 * ms}})
			return d
		}, func(Action) Event { return nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := tt.start(t)
			d.acts = nil
			total := map[string]int{}
			answer(d, func(a Action) Event {
				total[strings.Fields(word(a) + " -")[0]]++
				return tt.do(a)
			})
			for what, n := range total {
				if n > 30 {
					t.Errorf("%d times %q within 2 s", n, what)
				}
			}
		})
	}
}

func TestAdoption(t *testing.T) {
	mine := record("n1", 3*sec, 4500*ms)
	mine.ID = "z-7"
	newer, offered := mine, mine
	newer.ID = "z-9"
	offered.Offer = "o"
	older := mine
	older.ID = "z-4"
	state := func(do func(*SavedState)) *SavedState {
		s := &SavedState{Schema: Schema, Node: "n1", ID: "z-5", Right: 102 * sec, Limit: 103400 * ms}
		do(s)
		return s
	}
	keep := func(*SavedState) {}
	for _, tt := range []struct {
		name   string
		saved  *SavedState
		record string
		role   Role // at once
		wait   bool // for a takeover
	}{
		{"its own record", state(keep), mine.encode(), Holder, false},
		{"one written after it was saved", state(keep), newer.encode(), Holder, false},
		{"one from before", state(keep), older.encode(), Holder, true},
		{"one that names an offer", state(keep), offered.encode(), Holder, true},
		{"another's", state(keep), record("n2", 3*sec, 4500*ms).encode(), Holder, true},
		{"deleted", state(keep), "", Holder, true},
		{"too late, but its own", state(func(s *SavedState) { s.Right = 99 * sec }), mine.encode(), Waiting, false},
		{"given away", state(func(s *SavedState) { s.GivenAway = true }), mine.encode(), Waiting, true},
		{"another schema", state(func(s *SavedState) { s.Schema = 2 }), mine.encode(), Waiting, true},
		{"another node's", state(func(s *SavedState) { s.Node = "n2" }), mine.encode(), Waiting, true},
		{"nothing saved", nil, mine.encode(), Waiting, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDriver(t, testConfig(), tt.saved)
			d.until = 101500 * ms
			d.etcd = tt.record
			if d.m.role != tt.role {
				t.Errorf("role %v, want %v", d.m.role, tt.role)
			}
			d.up()
			if tt.role == Holder && !tt.wait && d.until == 0 {
				t.Error("the address was touched before anything was known")
			}
			d.run(600 * ms)
			if held := d.m.term != nil && d.m.term.confirmed; held == tt.wait {
				t.Errorf("has a new right: %v, want %v", held, !tt.wait)
			}
			if tt.wait && d.until != 0 {
				t.Error("a leftover address was not cleared")
			}
		})
	}
	t.Run("etcd does not answer", func(t *testing.T) {
		d := newDriver(t, testConfig(), state(keep))
		d.until, d.rtt = 101500*ms, 1000*sec
		d.send(Link{Present: true, Up: true})
		d.run(1900 * ms)
		if len(d.sets) > 0 {
			t.Error("the address was refreshed without a right of its own")
		}
		d.run(200 * ms)
		if d.m.role == Holder || count(d.take(), "clear") == 0 {
			t.Error("still holds the address after the old deadline")
		}
	})
}

func TestOffers(t *testing.T) {
	d := ready(t, record("n2", 3*sec, 4500*ms).encode())
	d.send(Called{Call: Call{ID: "c1", From: "n2", To: "n1"}})
	made, id := d.now, d.m.offer.id
	d.send(Called{Call: Call{ID: "c1", From: "n2", To: "n1"}})
	d.send(Called{Call: Call{ID: "c2", From: "n2", To: "n3"}})
	if id == "" || d.m.offer.id != id {
		t.Fatalf("offer %q then %q, want one", id, d.m.offer.id)
	}
	d.run(300 * ms)
	given := record("n1", 3*sec, 4500*ms)
	given.ID = "b-9"
	given.Offer = "another"
	d.put(given.encode())
	if d.m.term != nil {
		t.Fatal("took up an offer of somebody else")
	}
	given.ID, given.Offer = "b-10", id
	d.hold = true
	d.put(given.encode())
	if d.m.role != Holder || d.m.right() != made+3*sec {
		t.Errorf("role %v, right %v, want until %v", d.m.role, d.m.right(), made+3*sec)
	}
	d.run(10 * ms)
	if len(d.writes) == 0 {
		t.Error("the first renewal is not sent at once")
	}
}

// News of a removal are no proof that the address is gone: two nodes had it.
func TestLostIsNotAbsent(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*driver)
	}{
		{"while a set call is under way", func(d *driver) {
			d.noSet = true
			d.sets = nil
			d.run(sec)
			s := d.sets[0]
			d.send(AddressLost{})
			d.until = d.now + 3*sec
			d.send(AddressSet{Seq: s.Seq, OK: true, Before: d.now, After: d.now})
			d.send(Release{Token: 1})
		}},
		{"after it returned", func(d *driver) {
			d.noSet = true
			d.send(AddressLost{})
			d.send(Release{Token: 1})
		}},
		{"after it came late from a former process", func(d *driver) {
			d.m.addr.state = absent
			d.noSet = true
			d.send(AddressAppeared{Until: d.now + 3*sec})
			d.m.addr.retryAt = never
			d.send(Release{Token: 1})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := holding(t)
			tt.do(d)
			d.run(500 * ms)
			if got := d.take(); count(got, "clear") == 0 || d.until != 0 {
				t.Errorf("the address was not cleared: %q", got)
			}
		})
	}
}

func TestForcedRelease(t *testing.T) {
	long := record("n2", 6*sec, 8*sec)
	for _, tt := range []struct {
		name, before, now string
		force             bool
		want              []string
		takeover          time.Duration
	}{
		{"held", "", long.encode(), false, []string{"done: error: n1 does not hold the address, n2 does; only an implausible record is released from elsewhere"}, 0},
		{"held, by force", "", long.encode(), true, []string{"write free, wait", "done: the record is free; it is taken once everybody has waited it out"}, 8 * sec},
		{"nonsense after a longer record", long.encode(), "{}", false, []string{"write free, wait", "done: the record is free; it is taken once everybody has waited it out"}, 8 * sec},
		{"nonsense and nothing before", "", "{}", false, []string{"write free, wait", "done: the record is free; it is taken once everybody has waited it out"}, MaxTakeover},
		{"absent", "", "", true, []string{"done: there is no record to release"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := ready(t, tt.now)
			if tt.before != "" {
				d = ready(t, tt.before)
				d.put(tt.now)
			}
			d.take()
			d.send(Release{Token: 1, Force: tt.force})
			d.run(50 * ms)
			if diff := cmp.Diff(tt.want, steps(d.take())); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if r, err := DecodeRecord(d.etcd); tt.takeover > 0 && (err != nil || r.Takeover() != tt.takeover) {
				t.Errorf("takeover %v, want %v", r.Takeover(), tt.takeover)
			}
		})
	}
	t.Run("outcomes", func(t *testing.T) {
		for o, want := range map[Outcome]string{Refused: "changed meanwhile", Unknown: "did not confirm", NotDone: "did not confirm"} {
			d := ready(t, "{}")
			d.hold = true
			d.send(Release{Token: 1})
			d.send(Release{Token: 2})
			d.send(Wrote{ID: d.writes[0].ID, Outcome: o, Current: "x"})
			got := strings.Join(d.take(), ";")
			if !strings.Contains(got, want) || !strings.Contains(got, "a release is under way") {
				t.Errorf("%v: %s", o, got)
			}
		}
	})
}

func TestView(t *testing.T) {
	d := holding(t)
	d.peer(fit("n2"))
	v := d.m.View()
	if v.Role != Holder || !v.Serving || v.Adopting || v.Next != "n2" || v.Record.Node != "n1" || v.Right == 0 || v.Sent == 0 || v.Address != "present" {
		t.Errorf("view %+v", v)
	}
	d.send(Release{Token: 1})
	if v := d.m.View(); v.Serving || v.Leaving == "" {
		t.Errorf("while releasing: %+v", v)
	}
}
