package election

import (
	"fmt"
	"testing"
	"time"
)

// Slow round trips must never lead to a lifetime that outlives the record, nor
// to an address that goes while the right to serve lasts.
func TestLifetimes(t *testing.T) {
	for _, rtt := range []time.Duration{4 * ms, 300 * ms, 800 * ms, 1500 * ms} {
		t.Run(fmt.Sprint(rtt), func(t *testing.T) {
			d := holding(t)
			d.rtt = rtt
			d.run(4 * sec)
			d.take()
			d.sets = nil
			for range 2000 {
				before := len(d.sets)
				d.run(5 * ms)
				for _, s := range d.sets[before:] {
					if end := d.now + seconds(s.Lifetime) + KernelLateness; end > d.m.limit() {
						t.Fatalf("lifetime %d s at %v may end at %v, the limit is %v", s.Lifetime, d.now, end, d.m.limit())
					}
				}
				if d.until <= d.now && d.m.serving() {
					t.Fatalf("no address at %v, the right lasts until %v", d.now, d.m.right())
				}
			}
			if n := len(d.sets); n < 10 || n > 30 {
				t.Errorf("%d set calls in 10 s, want 10 to 30", n)
			}
			t.Logf("%d set calls in 10 s", len(d.sets))
		})
	}
}

// The right counts from the send, and nothing but a confirmation extends it.
func TestRight(t *testing.T) {
	d := holding(t)
	d.run(50 * ms)
	d.hold = true
	d.run(500 * ms)
	w, sent := d.writes[0], d.m.writes[0].sent
	old := d.m.right()
	for _, ev := range []Event{
		Wrote{ID: w.ID, Outcome: Unknown},
		Wrote{ID: w.ID + "0", Outcome: Committed},
		Observed{Value: w.Value, Live: true},
	} {
		d.send(ev)
		if d.m.right() != old {
			t.Errorf("%T moved the right", ev)
		}
	}
	d.run(300 * ms)
	d.send(Wrote{ID: w.ID, Outcome: Committed})
	if got := d.m.right(); got != sent+d.m.cfg.Timing.Hold {
		t.Errorf("right %v, want %v after the send", got, d.m.cfg.Timing.Hold)
	}
	d.run(4 * sec)
	if d.m.role == Holder || d.until != 0 {
		t.Errorf("role %v, address until %v after the right", d.m.role, d.until)
	}
}

func TestRefused(t *testing.T) {
	other := record("n2", 3*sec, 4500*ms).encode()
	for _, tt := range []struct {
		name, value string
	}{
		{"another's record", other},
		{"deleted", ""},
		{"nonsense", "{}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := holding(t)
			d.put(tt.value)
			d.run(100 * ms)
			if d.m.term != nil || d.until != 0 || d.saved != nil {
				t.Errorf("term %v, address until %v, saved %v, want none", d.m.term, d.until, d.saved)
			}
		})
	}
}

// A request that etcd applied twice is refused the second time by its own value.
func TestAppliedTwice(t *testing.T) {
	d := holding(t)
	d.hold = true
	d.run(500 * ms)
	w := d.writes[0]
	d.etcd = w.Value
	d.send(Wrote{ID: w.ID, Outcome: Refused, Current: w.Value})
	if d.m.role != Holder || d.m.term.raw != w.Value {
		t.Errorf("role %v, want holder of the new value", d.m.role)
	}
}

// Late outcomes must not fill the places of transactions under way.
func TestLateCommitsAreNotUnderWay(t *testing.T) {
	d := ready(t, "")
	d.hold = true
	d.run(5 * sec)
	for _, w := range d.writes {
		d.now += 4 * sec
		d.send(Wrote{ID: w.ID, Outcome: Committed})
	}
	d.run(2 * sec)
	if n := d.m.findWrite(d.writes[0].ID); n >= 0 && d.m.writes[n].flying {
		t.Error("a write with an outcome counts as under way")
	}
}

// Before a write that shortens, the next process must know and the kernel must
// not keep the address longer than the shorter record allows.
func TestShortening(t *testing.T) {
	short := DeriveTiming(DefaultEtcdElection)
	short.Hold, short.Takeover = 1500*ms, MinTakeoverFor(1500*ms)
	t.Run("order", func(t *testing.T) {
		d := holding(t)
		d.send(Retime{Timing: short})
		d.run(2 * sec)
		if got := d.m.term.rec.Hold(); got != short.Hold {
			t.Fatalf("hold %v, want %v", got, short.Hold)
		}
	})
	t.Run("the disk fails", func(t *testing.T) {
		d := holding(t)
		d.noSave = true
		d.send(Retime{Timing: short})
		d.run(1 * sec) // later what is saved is short enough by its age
		if got := d.m.term.rec.Hold(); got == short.Hold {
			t.Error("shortened without saving")
		}
	})
	t.Run("twice", func(t *testing.T) {
		d := holding(t)
		middle := DeriveTiming(DefaultEtcdElection)
		middle.Hold, middle.Takeover = 2500*ms, MinTakeoverFor(2500*ms)
		d.hold = true
		d.send(Retime{Timing: middle})
		d.run(500 * ms)
		d.noSave = true
		d.send(Retime{Timing: short})
		before := len(d.writes)
		d.run(500 * ms)
		for _, w := range d.writes[before:] {
			if r, _ := DecodeRecord(w.Value); r.Hold() == short.Hold {
				t.Fatal("the second shortening was sent without saving")
			}
		}
	})
	t.Run("never lengthens the kernel's lifetime", func(t *testing.T) {
		saved := &SavedState{Schema: Schema, Node: "n1", ID: "z-5", Right: 101 * sec, Limit: 102500 * ms}
		cfg := testConfig()
		cfg.Timing = short
		rec := record("n1", 3*sec, 4500*ms)
		rec.ID = "z-5"
		d := newDriver(t, cfg, saved)
		d.etcd = rec.encode()
		d.hold = true
		d.until = 200 * sec // by hand, or the link could not be read
		d.up()
		d.run(900 * ms)
		if len(d.sets) == 0 {
			t.Error("the kernel's lifetime was not shortened")
		}
		for _, s := range d.sets {
			if end := s.Latest + seconds(s.Lifetime) + KernelLateness; end > saved.Limit {
				t.Errorf("a set call of %d s may last until %v, the limit is %v", s.Lifetime, end, saved.Limit)
			}
		}
	})
}
