package election

import (
	"testing"
	"time"
)

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

// A process that has not looked at its link yet does not give away for it what it
// adopts; one that cannot find out about it does.
func TestAdoptsBeforeTheLinkIsSeen(t *testing.T) {
	for after, stays := range map[time.Duration]bool{300 * ms: true, 10 * sec: false} {
		c := beating(t, 3, StandardDetection())
		a := c.nodes[0]
		a.crash()
		c.run(30 * ms)
		a.linkAfter = after
		a.start()
		c.run(8 * sec)
		if got := c.holder() == a; got != stays {
			t.Errorf("the link is seen after %v: it holds: %v, want %v; the record is %s", after, got, stays, c.etcd)
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
	if got, want := a.m.why, "too few masters acknowledged within 270ms"; got != want {
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
