package election

import (
	"testing"
	"time"
)

// A standby that goes, and one that comes back, do not move the address.
func TestStandbyGoesAndReturns(t *testing.T) {
	for _, d := range []Detection{StandardDetection(), FastDetection()} {
		c := beating(t, 3, d)
		a, b := c.nodes[0], c.nodes[1]
		b.crash()
		gap := false
		took := c.runUntil(5*sec, func() bool { gap = gap || c.holder() != a; return c.record().Epoch == nil })
		if took > d.Hold || gap {
			t.Errorf("promise %v: plain after %v, served without a gap: %v", d.Promise, took, !gap)
		}
		c.run(10 * sec)
		b.start()
		took = c.runUntil(30*sec, func() bool { gap = gap || c.holder() != a; return c.record().Epoch != nil })
		if took > 15*sec || took < calmFirst || gap {
			t.Errorf("promise %v: an epoch again after %v, served without a gap: %v", d.Promise, took, !gap)
		}
	}
}

// While etcd confirms nothing, a holder that misses one of two goes by the plain record
// that it has sent, and one that misses both by its epoch. It says so.
func TestStandbysGoWhileEtcdStalls(t *testing.T) {
	for _, tt := range []struct {
		d        Detection
		crashed  []int
		from, to time.Duration
		why      string
	}{
		{StandardDetection(), []int{2}, 3 * sec, 4 * sec, "etcd confirmed no renewal within 3s"},
		{FastDetection(), []int{2}, 3 * sec, 3300 * ms, "etcd confirmed no renewal within 3s"},
		{StandardDetection(), []int{1, 2}, 900 * ms, 1080 * ms, "too few masters acknowledged within 1.08s"},
		{FastDetection(), []int{1, 2}, 150 * ms, 270 * ms, "too few masters acknowledged within 270ms"},
	} {
		c := beating(t, 3, tt.d)
		a := c.nodes[0]
		c.run(10 * sec)
		c.stall = c.now + 20*sec
		for _, i := range tt.crashed {
			c.nodes[i].crash()
		}
		took := c.runUntil(10*sec, func() bool { return a.m.role != Holder })
		if took < tt.from || took > tt.to || a.m.why != tt.why {
			t.Errorf("promise %v, %d crashed: let go after %v, says %q, want %q after %v to %v", tt.d.Promise, len(tt.crashed), took, a.m.why, tt.why, tt.from, tt.to)
		}
	}
}

func TestHandoverFromAnEpoch(t *testing.T) {
	c := beating(t, 3, StandardDetection())
	a, b := c.nodes[0], c.nodes[1]
	a.event(HandOver{Token: 1, To: "n2"})
	took := c.runUntil(sec, func() bool { return c.holder() == b })
	if c.holder() != b || c.record().Epoch != nil {
		t.Errorf("after %v the record is %s, want a plain one of n2", took, c.etcd)
	}
	c.run(20 * sec)
	if c.holder() != b || c.record().Epoch == nil {
		t.Errorf("the record is %s, want an epoch of n2", c.etcd)
	}
}

// A plain write may be found by the refusal of the one after it, before its own
// confirmation is here: then the epoch is over.
func TestPlainFoundByRefusal(t *testing.T) {
	c := beating(t, 3, StandardDetection())
	a := c.nodes[0]
	a.fromEtcd = 200 * ms // of the first
	c.nodes[2].crash()
	before := len(a.writes)
	c.runUntil(2*sec, func() bool { return len(a.writes) > before })
	a.fromEtcd = ms
	c.run(3 * sec)
	if r := c.record(); c.holder() != a || r.Epoch != nil {
		t.Errorf("holder %v, record %s", c.holder(), c.etcd)
	}
}

// The same while the address is being given away.
func TestPlainFoundWhileLeaving(t *testing.T) {
	c := beating(t, 3, StandardDetection())
	a, b := c.nodes[0], c.nodes[1]
	a.fromEtcd = 500 * ms
	c.nodes[2].crash()
	before := len(a.writes)
	c.runUntil(2*sec, func() bool { return len(a.writes) > before })
	a.noClear = true
	a.event(HandOver{Token: 1, To: "n2"})
	c.run(700 * ms)
	a.noClear, a.fromEtcd = false, ms
	c.run(2 * sec)
	if c.holder() != b {
		t.Errorf("the record is %s, want it handed over", c.etcd)
	}
}

// Until etcd confirms that heartbeats are off, they go on as they were.
func TestDetectionOffWhileEtcdStalls(t *testing.T) {
	c := beating(t, 3, StandardDetection())
	a := c.nodes[0]
	a.toEtcd = lost
	a.sent = nil
	a.event(Retime{Timing: a.cfg.Timing})
	c.run(2 * sec)
	if n := a.count(Beat) / 2; n < 4 || n > 6 {
		t.Errorf("%d beats in 2 s, want one every %v", n, StandardDetection().Hold*4/9)
	}
	if c.holder() != a {
		t.Error("the holder does not serve any more")
	}
}

// The first record with an epoch may ask the others to wait shorter than the
// record before it: with a configuration that was made shorter just then.
func TestEpochWithShorterTimes(t *testing.T) {
	short := Timing{Hold: 1500 * ms, Takeover: MinTakeoverFor(1500 * ms), Renewal: 400 * ms, Retry: 200 * ms}
	for after := range 40 {
		c := newCluster(t, 3, Detection{})
		a := c.nodes[0]
		a.event(Retime{Timing: DeriveTiming(2 * sec), Detection: StandardDetection()})
		c.run(calmFirst + Instant(after)*10*ms)
		if c.record().Epoch != nil {
			if after == 0 {
				t.Fatal("an epoch too early")
			}
			break
		}
		a.event(Retime{Timing: short, Detection: StandardDetection()})
		a.toEtcd = lost // else the next record would be a plain one first
		c.run(500 * ms)
	}
}

// A standby that is stopped goes as soon as the holder does not need it any more:
// of five it never did.
func TestStandbyStops(t *testing.T) {
	for _, size := range []int{3, 5} {
		for _, d := range []Detection{StandardDetection(), FastDetection()} {
			c := beating(t, size, d)
			a, b := c.nodes[0], c.nodes[1]
			b.event(Stop{})
			gap := false
			took := c.runUntil(10*sec, func() bool { gap = gap || c.holder() != a; return b.dead })
			if took > d.Promise+50*ms || gap {
				t.Errorf("%d masters, promise %v: exit after %v, served without a gap: %v", size, d.Promise, took, !gap)
			}
		}
	}
}

// A disk that takes nothing is not asked without a pause.
func TestShorterPlainWithoutADisk(t *testing.T) {
	c := beating(t, 3, StandardDetection())
	a := c.nodes[0]
	a.event(Retime{Timing: DeriveTiming(2 * sec), Detection: StandardDetection()})
	c.run(10 * sec)
	a.noSave, a.saves = true, 0
	a.event(Retime{Timing: Timing{Hold: 1500 * ms, Takeover: MinTakeoverFor(1500 * ms), Renewal: 400 * ms, Retry: 200 * ms}})
	c.run(sec)
	if a.saves > 30 {
		t.Errorf("%d saves in a second", a.saves)
	}
}

// Without the fence nothing that is frozen is closed in time: plain mode.
func TestFenceLostAndFound(t *testing.T) {
	c := beating(t, 3, StandardDetection())
	a := c.nodes[0]
	gap := false
	noGap := func() bool { gap = gap || c.holder() != a; return false }
	a.bare = true
	a.event(Fence{Reason: "taken away"})
	c.runUntil(100*ms, noGap)
	if c.record().Epoch != nil {
		t.Errorf("an epoch without a fence: %s", c.etcd)
	}
	c.runUntil(10*sec, noGap)
	a.bare = false
	a.fence = 0
	a.event(Fence{OK: true})
	c.runUntil(20*sec, noGap)
	if c.record().Epoch == nil || gap {
		t.Errorf("the record is %s, served without a gap: %v", c.etcd, !gap)
	}
}

// What is left of a fence that counts no more, as behind another program, closes no
// address that may be served: it is moved on until it is taken away.
func TestFenceInTheWay(t *testing.T) {
	for _, d := range []Detection{StandardDetection(), FastDetection()} {
		c := beating(t, 3, d)
		a := c.nodes[0]
		a.event(Fence{Reason: "another program runs before it"})
		closed := c.runUntil(10*sec, func() bool { return !a.answers() })
		if closed < 10*sec || c.record().Epoch != nil {
			t.Errorf("promise %v: closed after %v; the record is %s", d.Promise, closed, c.etcd)
		}
	}
}

// Nor does one that the next process can put on the link, and this one could not.
func TestFenceOfTheNextProcess(t *testing.T) {
	c := newCluster(t, 3, FastDetection())
	a := c.nodes[0]
	a.bare, a.fence = true, 0
	a.crash()
	a.start()
	c.run(2 * sec)
	a.crash()
	a.bare = false
	c.stall = c.now + 2*sec
	a.start()
	if closed := c.runUntil(sec, func() bool { return !a.answers() }); closed < sec {
		t.Errorf("closed after %v: open until %v, the right lasts until %v", closed, a.fence, a.m.right())
	}
}

// A standby is restarted and, right then, another dies with etcd's leader on it:
// there is always one more than the right needs.
func TestTwoStandbysMissing(t *testing.T) {
	for _, size := range []int{4, 5, 6} {
		c := beating(t, size, StandardDetection())
		a, b := c.nodes[0], c.nodes[1]
		gap := false
		noGap := func() bool { gap = gap || c.holder() != a; return false }
		b.event(Stop{Restart: true})
		c.runUntil(500*ms, noGap)
		b.crash()
		b.start()
		c.runUntil(100*ms, noGap)
		c.nodes[2].crash()
		c.stall = c.now + 2200*ms
		c.runUntil(4*sec, noGap)
		if gap {
			t.Errorf("%d masters: the address was lost: %v", size, a.notes)
		}
	}
}

// The write that begins an epoch may have no answer, or a late one: both the epoch
// and the plain record before it bind the holder until it knows.
func TestEpochWithoutAnAnswer(t *testing.T) {
	for name, tt := range map[string]struct {
		to, back time.Duration
		frozen   bool
	}{
		"never came":           {lost, 2 * ms, false},
		"answer lost":          {2 * ms, lost, false},
		"answer late":          {2 * ms, 700 * ms, false},
		"came late":            {700 * ms, 2 * ms, false},
		"too late":             {4 * sec, 2 * ms, false},
		"answer lost, freezes": {2 * ms, lost, true},
		"came late, freezes":   {2500 * ms, 2 * ms, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 3, StandardDetection())
			a, b := c.nodes[0], &c.nodes[0].m.beats
			c.runUntil(20*sec, func() bool { return b.steady != never && c.now >= b.steady+b.calm-ms })
			a.toEtcd, a.fromEtcd = tt.to, tt.back
			before := len(a.writes)
			c.runUntil(sec, func() bool { return len(a.writes) > before })
			if r, _ := DecodeRecord(a.writes[before].Value); r.Epoch == nil {
				t.Fatalf("wrote %s, want an epoch", a.writes[before].Value)
			}
			a.toEtcd, a.fromEtcd = 2*ms, 2*ms
			if a.frozen = tt.frozen; a.frozen {
				took := c.runUntil(20*sec, func() bool { return c.holder() != nil && c.holder() != a })
				if took > 8*sec {
					t.Errorf("taken over after %v", took)
				}
				a.thaw()
			}
			h := c.holder()
			gap := false
			c.runUntil(30*sec, func() bool { gap = gap || c.holder() != h; return false })
			if gap || c.record().Epoch == nil {
				t.Errorf("served without a gap: %v; the record is %s", !gap, c.etcd)
			}
		})
	}
}

// A node that comes back as another member of etcd speaks for that one alone.
func TestOwnMemberChanges(t *testing.T) {
	c := beating(t, 3, StandardDetection())
	a := c.nodes[0]
	a.member = "m9"
	a.event(Members{Self: "m9", Voters: []string{"m9", "m2", "m3"}})
	gap := false
	c.runUntil(10*sec, func() bool { gap = gap || c.holder() != a; return false })
	e := c.record().Epoch
	if gap || e == nil {
		t.Fatalf("served without a gap: %v; the record is %s", !gap, c.etcd)
	}
	if got := e.Members; got[0] != "m9" {
		t.Errorf("the epoch's members are %v", got)
	}
}
