package election

import (
	"testing"
	"time"
)

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
