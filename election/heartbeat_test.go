package election

import (
	"slices"
	"testing"
	"time"
)

func TestEpochBegins(t *testing.T) {
	for _, d := range []Detection{StandardDetection(), FastDetection()} {
		c := beating(t, 3, d)
		id := c.record().Epoch.ID
		c.run(60 * sec)
		if e := c.record().Epoch; c.holder() != c.nodes[0] || e == nil || e.ID != id {
			t.Errorf("promise %v: the record is %s, want the epoch %s still", d.Promise, c.etcd, id)
		}
	}
}

// When the holder dies, the others need not wait for its record to run out.
func TestDeadHolder(t *testing.T) {
	for _, d := range []Detection{StandardDetection(), FastDetection()} {
		for _, size := range []int{3, 5} {
			c := beating(t, size, d)
			c.nodes[0].crash()
			took := c.runUntil(20*sec, func() bool { h := c.holder(); return h != nil && h != c.nodes[0] })
			if took > d.Promise+100*ms {
				t.Errorf("promise %v, %d masters: taken over after %v", d.Promise, size, took)
			}
			if r := c.record(); r.Epoch != nil {
				t.Errorf("the taker's first record is %s, want a plain one", c.etcd)
			}
		}
	}
}

// The right counts from the SEND of the beat, however slow the network is.
func TestAckCountsFromTheSend(t *testing.T) {
	c := beating(t, 3, StandardDetection())
	a, e := c.nodes[0], c.record().Epoch
	c.net = func(_, _ *node, _ Message) time.Duration { return 120 * ms }
	c.run(300 * ms)
	for range 200 {
		c.run(7 * ms)
		newest := Instant(0)
		for id, at := range a.m.term.bearing.acked {
			newest = max(newest, at)
			if id == a.member {
				t.Fatal("the holder acknowledges its own beats")
			}
		}
		if c.now-newest < 240*ms {
			t.Fatalf("an ack counts from %v at %v, but the way and back takes 240 ms", newest, c.now)
		}
		if got := a.m.right(); got > newest+e.Hold() {
			t.Fatalf("right until %v, want %v after %v", got, e.Hold(), newest)
		}
	}
}

// Whatever order a holder finds things in that was frozen beyond its right: its
// epoch is over, and the kernel has closed the address meanwhile.
func TestNothingCountsAfterTheRight(t *testing.T) {
	for name, thaw := range map[string]func(*node){
		"the time first": (*node).thaw,
		"the acks first": func(n *node) {
			n.frozen = false
			slices.SortStableFunc(n.inbox, func(a, b Event) int { return rank(a) - rank(b) })
			n.drain()
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := beating(t, 3, StandardDetection())
			a, id := c.nodes[0], c.record().Epoch.ID
			c.net = func(from, to *node, m Message) time.Duration {
				if m.Kind == Ack {
					return 30 * ms // so that some wait when it thaws
				}
				return ms
			}
			c.run(sec)
			c.runUntil(sec, func() bool { return a.m.beats.next > c.now+145*ms }) // a beat was just sent
			a.frozen = true
			c.run(1000 * ms) // beyond the right, and not yet beyond what the waiting acks would give
			if len(a.inbox) == 0 {
				t.Fatal("no ack waits")
			}
			beats := a.count(Beat)
			thaw(a)
			if a.m.serving() || a.m.term != nil {
				t.Errorf("serves at %v until %v by what came late", c.now, a.m.right())
			}
			c.run(ms)
			if a.count(Beat) != beats {
				t.Error("beats go on after the right")
			}
			c.runUntil(5*sec, func() bool { return c.holder() != nil })
			if e := c.record().Epoch; e != nil && e.ID == id {
				t.Errorf("the epoch lives on: %s", c.etcd)
			}
		})
	}
}

func rank(ev Event) int {
	if _, ok := ev.(Heard); ok {
		return 0
	}
	return 1
}

// A process that starts denies the epoch it finds, which the process before it
// may have abandoned; the holder goes to plain, and later to another epoch.
func TestEpochFoundAtTheStartIsDenied(t *testing.T) {
	c := beating(t, 3, StandardDetection())
	a, b, id := c.nodes[0], c.nodes[1], c.record().Epoch.ID
	b.crash()
	b.sent = nil
	b.start()
	c.run(200 * ms)
	said := map[Verdict]int{}
	for _, m := range b.sent {
		if m.Kind == Ack && m.Epoch == id {
			said[m.Verdict]++
		}
	}
	if said[Denied] == 0 || said[Promised] != 0 {
		t.Errorf("answers %v, want denials alone", said)
	}
	served := true
	took := c.runUntil(5*sec, func() bool { served = served && c.holder() == a; return c.record().Epoch == nil })
	if took > 2*sec || !served {
		t.Errorf("plain after %v, served: %v", took, served)
	}
	c.runUntil(20*sec, func() bool { served = served && c.holder() == a; return c.record().Epoch != nil })
	if e := c.record().Epoch; e == nil || e.ID == id || !served {
		t.Errorf("the record is %s, want another epoch; served: %v", c.etcd, served)
	}
}

// Nobody abandons before the promise has passed since it received a beat, and
// those who never got one wait longer, from when they saw the epoch.
func TestAbandonAfterThePromise(t *testing.T) {
	gaveUp := func(n *node) bool { return n.m.epoch.abandoned }
	t.Run("beaten", func(t *testing.T) {
		c := beating(t, 3, StandardDetection())
		b := c.nodes[1]
		c.nodes[0].frozen = true
		c.run(10 * ms)
		last := b.m.epoch.beat
		c.runUntil(5*sec, func() bool { return gaveUp(b) })
		if got := c.now - last; got != b.m.epoch.epoch.Promise() {
			t.Errorf("abandoned %v after the last beat, want the promise", got)
		}
	})
	t.Run("never beaten", func(t *testing.T) {
		c := newCluster(t, 3, StandardDetection())
		b := c.nodes[1]
		c.net = func(_, _ *node, m Message) time.Duration {
			if m.Kind == Beat && m.Epoch != "" {
				return lost
			}
			return ms
		}
		c.runUntil(20*sec, func() bool { return b.m.epoch.epoch != nil })
		c.nodes[0].crash()
		first := c.now
		c.runUntil(10*sec, func() bool { return gaveUp(b) })
		if got := c.now - first; got != b.m.epoch.epoch.firstPromise() {
			t.Errorf("abandoned %v after it was first seen, want the first promise", got)
		}
	})
	t.Run("restarted", func(t *testing.T) {
		c := beating(t, 3, StandardDetection())
		b := c.nodes[1]
		c.nodes[0].crash()
		c.run(500 * ms)
		b.crash()
		b.start() // its former life has promised a second and more
		first := c.now
		c.runUntil(10*sec, func() bool { return gaveUp(b) })
		if got := c.now - first; got < 4500*ms {
			t.Errorf("abandoned %v after the start, want the first promise", got)
		}
	})
}

// Only the members that the record's own epoch names can prove it dead.
func TestAbandonmentsOfTheEpochsMembers(t *testing.T) {
	c := beating(t, 3, StandardDetection())
	b, e := c.nodes[1], c.record().Epoch
	c.nodes[0].crash()
	c.nodes[2].crash()
	c.runUntil(5*sec, func() bool { return b.m.epoch.abandoned })
	b.event(Members{Self: "m2", Voters: []string{"m1", "m2", "m3", "m4"}})
	for _, m := range []Message{
		{Kind: Abandoned, From: "m4", Epoch: e.ID},
		{Kind: Abandoned, From: "m2", Epoch: e.ID},
		{Kind: Abandoned, From: "m3", Epoch: "another"},
	} {
		b.event(Heard{m})
		if b.m.epoch.dead != 0 {
			t.Fatalf("dead by %+v", m)
		}
	}
	b.event(Heard{Message{Kind: Abandoned, From: "m3", Epoch: e.ID}})
	if b.m.epoch.dead == 0 {
		t.Error("alive, though two of three have abandoned it")
	}
}

// A renewal that is confirmed after the acknowledgements ended revives nothing.
func TestLateRenewalDoesNotRevive(t *testing.T) {
	c := beating(t, 3, StandardDetection())
	a, id := c.nodes[0], c.record().Epoch.ID
	a.fromEtcd = 2 * sec // when the right has ended, and the first one would not have
	before := len(a.writes)
	c.runUntil(5*sec, func() bool { return len(a.writes) > before })
	a.toEtcd = lost
	c.cut(a, c.nodes[1])
	c.cut(a, c.nodes[2])
	for range 400 {
		c.run(10 * ms)
		if c.now > a.m.epoch.beat+c.nodes[0].cfg.Detection.Promise && a.m.serving() {
			t.Fatalf("serves at %v, nobody acknowledges since %v", c.now, a.m.epoch.beat)
		}
	}
	if e := c.record().Epoch; e != nil && e.ID == id {
		t.Errorf("the epoch was not succeeded: %s", c.etcd)
	}
}

// The next process of the node could not wait for acknowledgements.
func TestPlainBeforeARestart(t *testing.T) {
	for _, d := range []Detection{StandardDetection(), FastDetection()} {
		c := beating(t, 3, d)
		a := c.nodes[0]
		a.event(Stop{Restart: true})
		took := c.runUntil(sec, func() bool { return a.dead })
		if r := c.record(); !a.dead || r.Epoch != nil || r.Node != "n1" {
			t.Errorf("promise %v: exit %v after %v, the record is %s", d.Promise, a.dead, took, c.etcd)
		}
		if a.saved == nil || a.saved.Right < c.now+2500*ms {
			t.Errorf("promise %v: saved %+v at %v, want the right of a plain record", d.Promise, a.saved, c.now)
		}
		c.run(500 * ms)
		a.start()
		moved := false
		c.runUntil(20*sec, func() bool { moved = moved || !a.answers(); return c.record().Epoch != nil })
		if moved || c.record().Epoch == nil {
			t.Errorf("promise %v: off the link: %v; the record is %s", d.Promise, moved, c.etcd)
		}
	}
}

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

// The fence closes before those who bear the right may abandon it.
func TestFenceWithinThePromises(t *testing.T) {
	for _, d := range []Detection{StandardDetection(), FastDetection()} {
		c := beating(t, 5, d)
		a := c.nodes[0]
		i := time.Duration(0)
		c.net = func(_, _ *node, m Message) time.Duration {
			i++
			if i%7 == 0 {
				return lost
			}
			return i % 5 * 9 * ms
		}
		for range 2000 {
			c.run(3 * ms)
			e := c.record().Epoch
			if e == nil || a.m.term.bearing.epoch != e.ID {
				continue
			}
			promised := 1 // its own
			for _, o := range c.nodes[1:] {
				if s := o.m.epoch; s.epoch != nil && s.epoch.ID == e.ID && !s.abandoned &&
					a.fence <= max(s.first+e.firstPromise(), s.beat+e.Promise()) {
					promised++
				}
			}
			if promised < e.Acks {
				t.Fatalf("promise %v: the fence is open until %v by the promises of %d members, want %d", d.Promise, a.fence, promised, e.Acks)
			}
		}
	}
}

// What is left in an epoch lets the next process go on with it, as long as the
// right lasts, before etcd has told it anything.
func TestCrashInAnEpoch(t *testing.T) {
	for _, d := range []Detection{StandardDetection(), FastDetection()} {
		for _, size := range []int{3, 5} {
			c := beating(t, size, d)
			a, id := c.nodes[0], c.record().Epoch.ID
			for range 300 {
				c.run(11 * ms)
				if a.saved.Right > a.m.right() {
					t.Fatalf("promise %v: saved until %v, the right is %v", d.Promise, a.saved.Right, a.m.right())
				}
			}
			for range 3 {
				right := a.m.right()
				a.crash()
				c.run(d.Hold / 3)
				c.stall = c.now + 2*d.Hold
				a.start()
				if r := a.m.right(); r > right || r < right-2*fenceStep {
					t.Fatalf("promise %v: adopted until %v, the right was until %v", d.Promise, r, right)
				}
				gap := false
				c.runUntil(4*d.Hold, func() bool { gap = gap || !a.answers(); return false })
				if e := c.record().Epoch; gap || c.holder() != a || e == nil || e.ID != id || !a.m.term.confirmed {
					t.Fatalf("promise %v, %d masters: closed or off the link: %v; the record is %s", d.Promise, size, gap, c.etcd)
				}
			}
		}
	}
}

// Whoever comes when the right is over does not go on with the epoch: this node may
// have abandoned it itself.
func TestCrashInAnEpochForLong(t *testing.T) {
	c := beating(t, 3, FastDetection())
	a, id := c.nodes[0], c.record().Epoch.ID
	c.nodes[1].crash()
	c.nodes[2].frozen = true
	right := a.m.right()
	a.crash()
	c.run(right - a.clock())
	a.start()
	if a.m.term != nil {
		t.Fatalf("adopts until %v at %v", a.m.right(), a.clock())
	}
	before := a.count(Beat)
	c.runUntil(100*ms, func() bool { return c.record().Epoch == nil })
	if e := c.record().Epoch; e != nil || a.count(Beat) > before {
		t.Errorf("the epoch %s goes on: %s", id, c.etcd)
	}
}

// Whoever goes on with an epoch where etcd does not answer any more cannot set the
// address again. When it is gone, the others get it.
func TestCrashWithoutEtcd(t *testing.T) {
	for _, d := range []Detection{StandardDetection(), FastDetection()} {
		c := beating(t, 3, d)
		a := c.nodes[0]
		a.crash()
		c.run(20 * ms)
		a.toEtcd = lost
		a.start()
		c.runUntil(10*sec, func() bool { return !a.has() })
		if a.answers() || a.m.term != nil {
			t.Fatalf("promise %v: still adopts, until %v at %v", d.Promise, a.m.right(), a.clock())
		}
		if wait := c.runUntil(10*sec, func() bool { return c.holder() == c.nodes[1] }); wait > d.Promise+200*ms {
			t.Errorf("promise %v: nobody has the address for %v", d.Promise, wait)
		}
	}
}

// Whoever finds no fence any more goes back to a plain record, and until that is there
// the address gets no lifetime that others would not wait for, be it a shorter one.
func TestCrashWithoutFence(t *testing.T) {
	c := beating(t, 3, FastDetection())
	a := c.nodes[0]
	a.crash()
	c.run(20 * ms)
	a.until = a.clock() + 4*sec // in the kernel's whole seconds
	found := a.until
	a.start()
	a.event(Fence{Reason: "the link is busy"})
	wait := c.runUntil(2*sec, func() bool { return a.until != found || c.record().Epoch == nil })
	if a.until != found || wait == 2*sec {
		t.Errorf("set to %v instead of %v, after %v: %s", a.until, found, wait, c.etcd)
	}
}

// It says why its right ended, though it has read nothing yet.
func TestCrashAlone(t *testing.T) {
	c := beating(t, 3, FastDetection())
	a := c.nodes[0]
	c.net = func(_, _ *node, _ Message) time.Duration { return lost }
	a.crash()
	c.run(a.fence - 9*FastDetection().Promise/100 - 2*ms - a.clock())
	a.start()
	c.runUntil(4*ms, func() bool { return a.m.term == nil })
	if got, want := a.m.why, "too few masters acknowledged within 225ms"; got != want {
		t.Errorf("says %q, want %q", got, want)
	}
}

// An answer to a beat of the process before is none to one of this process.
func TestAckOfTheProcessBefore(t *testing.T) {
	c := beating(t, 3, FastDetection())
	a := c.nodes[0]
	c.net = func(_, to *node, m Message) time.Duration {
		if m.Kind == Ack && to == a {
			return 60 * ms
		}
		return ms
	}
	c.run(300 * ms)
	right := a.m.right()
	a.crash()
	c.run(20 * ms)
	a.start()
	c.run(55 * ms) // its own first beat is not answered yet
	if r := a.m.right(); r > right {
		t.Errorf("the right lasts until %v by answers to the process before, whose own was until %v", r, right)
	}
}

// A write of the adopting process that was committed is known as this node's own
// by the one after it, whenever the former died.
func TestKilledTwice(t *testing.T) {
	for _, d := range []Detection{{}, StandardDetection(), FastDetection()} {
		for after := time.Duration(0); after < 20*ms; after += ms {
			c := newCluster(t, 3, d)
			if d.On() {
				c = beating(t, 3, d)
			}
			a := c.nodes[0]
			for range 3 {
				a.crash()
				c.run(10 * ms)
				a.start()
				c.run(after)
			}
			c.run(200 * ms)
			if c.holder() != a || c.record().Move.Reason != "there was no record" {
				t.Fatalf("promise %v, killed after %v: the record is %s", d.Promise, after, c.etcd)
			}
		}
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
	if n := a.count(Beat) / 2; n < 7 || n > 14 {
		t.Errorf("%d beats in 2 s, want one every %v", n, StandardDetection().Hold/4)
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

// A standby whose watch is gone can support no new epoch: none is begun again
// and again.
func TestStandbyWithoutAWatch(t *testing.T) {
	c := newCluster(t, 3, StandardDetection())
	b := c.nodes[1]
	b.watch = lost
	b.watches++
	b.event(Etcd{Local: false, Reason: "stopped"})
	epochs := map[string]bool{}
	c.runUntil(300*sec, func() bool {
		if e := c.record().Epoch; e != nil {
			epochs[e.ID] = true
		}
		return false
	})
	if len(epochs) > 0 {
		t.Errorf("%d epochs in 5 minutes, want none", len(epochs))
	}
}

// For a while the shell may not know its own member: that must not silence it.
func TestOwnMemberForgotten(t *testing.T) {
	c := beating(t, 3, StandardDetection())
	a := c.nodes[0]
	a.event(Members{})
	gap := false
	c.runUntil(10*sec, func() bool { gap = gap || c.holder() != a; return false })
	if gap {
		t.Errorf("the address moved: %s", c.etcd)
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

// A holder whose clock is slow freezes, its kernel keeps the address, and the
// others are fast and lose no time on the way.
func TestClockRates(t *testing.T) {
	for _, d := range []Detection{StandardDetection(), FastDetection()} {
		for phase := range 60 {
			c := beating(t, 3, d)
			c.net = func(_, _ *node, _ Message) time.Duration { return 0 }
			for i, n := range c.nodes {
				n.setRate([]float64{0.995, 1.005, 1.005}[i])
				n.toEtcd, n.fromEtcd, n.watch = 0, 0, 0
			}
			a := c.nodes[0]
			c.run(sec + Instant(phase)*7*ms)
			a.frozen = true
			took := c.runUntil(20*sec, func() bool { return c.holder() != nil && c.holder() != a })
			if took > d.Promise+100*ms {
				t.Fatalf("promise %v: taken over after %v", d.Promise, took)
			}
		}
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

// Two of five that hear each other's daemons and not the holder's ask the others
// whether they have abandoned the epoch, but not so often that it matters.
func TestChallengesAreFew(t *testing.T) {
	for _, d := range []Detection{StandardDetection(), FastDetection()} {
		c := beating(t, 5, d)
		a := c.nodes[0]
		c.cut(a, c.nodes[4])
		gap := false
		for _, n := range c.nodes {
			n.sent = nil
		}
		c.runUntil(60*sec, func() bool { gap = gap || c.holder() != a; return false })
		if gap || c.record().Epoch == nil {
			t.Errorf("promise %v: served without a gap: %v; the record is %s", d.Promise, !gap, c.etcd)
		}
		for _, n := range c.nodes {
			if got := len(n.sent); got > 60*4*100 {
				t.Errorf("promise %v: %s sent %d messages in a minute", d.Promise, n.cfg.Node, got)
			}
		}
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

// What else may be wrong when the holder dies costs no more than its own time.
func TestDeadHolderAnd(t *testing.T) {
	for name, tt := range map[string]struct {
		wrong func(*cluster)
		most  time.Duration
	}{
		"the watches have died": {func(c *cluster) {
			for _, n := range c.nodes {
				n.watch = lost
			}
			c.run(10 * sec)
		}, 1400 * ms},
		"the other standby is drained": {func(c *cluster) {
			c.nodes[1].event(SetDrained{On: true})
			c.run(sec)
		}, 1400 * ms},
		"the other standby's etcd is away": {func(c *cluster) {
			c.nodes[1].event(Etcd{Reason: "stopped"})
			c.run(sec)
		}, 1400 * ms},
		"half of the messages are lost": {func(c *cluster) {
			i := 0
			c.net = func(_, _ *node, _ Message) time.Duration {
				i++
				return []time.Duration{lost, ms, lost, 5 * ms, 2 * ms}[i%5]
			}
			c.run(sec)
		}, 1900 * ms},
		"etcd's leader with it": {func(c *cluster) { c.stall = c.now + 2200*ms }, 2400 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			c := beating(t, 3, StandardDetection())
			tt.wrong(c)
			if c.holder() != c.nodes[0] || c.record().Epoch == nil {
				t.Fatalf("the record is %s before the death", c.etcd)
			}
			c.nodes[0].crash()
			if took := c.runUntil(20*sec, func() bool { h := c.holder(); return h != nil && h != c.nodes[0] }); took > tt.most {
				t.Errorf("taken over after %v, want %v", took, tt.most)
			}
		})
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

// Two standbys that hear the holder and not each other learn of each other's
// abandonment through etcd.
func TestStandbysDoNotHearEachOther(t *testing.T) {
	c := beating(t, 3, StandardDetection())
	c.net = func(from, to *node, _ Message) time.Duration {
		if from != c.nodes[0] && to != c.nodes[0] {
			return lost
		}
		return ms
	}
	c.run(5 * sec)
	c.nodes[0].crash()
	took := c.runUntil(20*sec, func() bool { return c.holder() != nil })
	if took > 1500*ms {
		t.Errorf("nobody held the address for %v", took)
	}
}

// A plain record that etcd does not take at first is written again before the exit.
func TestPlainBeforeARestartOnceMore(t *testing.T) {
	c := beating(t, 3, StandardDetection())
	a := c.nodes[0]
	a.toEtcd = lost
	before := len(a.writes)
	a.event(Stop{Restart: true})
	c.runUntil(sec, func() bool { return len(a.writes) > before })
	a.toEtcd = 2 * ms
	a.event(Wrote{ID: a.writes[before].ID, Outcome: NotDone})
	if a.dead {
		t.Error("exits in an epoch")
	}
	c.run(restartBudget)
	if !a.dead || c.record().Epoch != nil {
		t.Errorf("exit: %v; the record is %s", a.dead, c.etcd)
	}
}

// Beats that come twice, the second time late, keep no dead holder's epoch alive.
func TestEchoesOfADeadHolder(t *testing.T) {
	c := beating(t, 3, StandardDetection())
	a := c.nodes[0]
	c.net = func(_, to *node, m Message) time.Duration {
		for i := range Instant(4) {
			c.after(i*900*ms, func() { to.event(Heard{m}) })
		}
		return ms
	}
	c.run(5 * sec)
	a.crash()
	took := c.runUntil(20*sec, func() bool { h := c.holder(); return h != nil && h != a })
	if most := a.cfg.Detection.Promise + 100*ms; took > most {
		t.Errorf("taken over after %v, want %v", took, most)
	}
}

// In an epoch the kernel is not let have the address for as long as its record
// would allow: what a dead daemon leaves behind the fence goes soon.
func TestLifetimeInAnEpoch(t *testing.T) {
	c := beating(t, 3, StandardDetection())
	a := c.nodes[0]
	for range 500 {
		c.run(20 * ms)
		if left := a.until - c.now; left > 3*sec || left < sec {
			t.Fatalf("the address lives for %v more", left)
		}
	}
}

// Who answered in an earlier term of this node says nothing of now: an epoch is begun
// only when enough have answered for the calm time in this one.
func TestCalmCountsFromTheTermsBegin(t *testing.T) {
	c := newCluster(t, 3, StandardDetection())
	a, b := c.nodes[0], c.nodes[1]
	c.runUntil(20*sec, func() bool { return c.record().Epoch != nil })
	a.event(HandOver{Token: 1, To: "n2"}) // away and back within moments
	c.runUntil(sec, func() bool { return c.holder() == b })
	c.run(50 * ms)
	b.event(HandOver{Token: 2, To: "n1"})
	c.runUntil(sec, func() bool { return c.holder() == a })
	if c.holder() != a {
		t.Fatalf("holder %v, want n1", c.holder())
	}
	back := c.now
	c.runUntil(20*sec, func() bool { return c.record().Epoch != nil })
	if got := c.now - back; got < calmFirst {
		t.Errorf("an epoch was begun %v after the term", got)
	}
}
