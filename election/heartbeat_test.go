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

// Of three beats in succession two may be lost, or their answers, and the epoch lives on.
func TestLostBeats(t *testing.T) {
	for _, kind := range []Kind{Beat, Ack} {
		for lose, want := range map[int]bool{1: true, 2: true, 3: false} {
			c := beating(t, 3, FastDetection())
			a, id := c.nodes[0], c.record().Epoch.ID
			c.runUntil(sec, func() bool { return a.m.beats.round == c.now }) // and all is answered
			c.run(10 * ms)
			before, n := c.net, 0
			c.net = func(from, to *node, m Message) time.Duration {
				if m.Kind == kind && (from == c.nodes[1] || to == c.nodes[1]) {
					if n++; n <= lose {
						return lost
					}
				}
				return before(from, to, m)
			}
			c.run(sec)
			e := c.record().Epoch
			if got := e != nil && e.ID == id; got != want || n <= lose || c.holder() != a {
				t.Errorf("%d of kind %d lost of %d: the epoch lives: %v, want %v; it serves: %v", lose, kind, n, got, want, c.holder() == a)
			}
		}
	}
}

// A member that is gone for long is sent no more beats than any other.
func TestBeatsToADeadMember(t *testing.T) {
	c := beating(t, 5, FastDetection())
	a, dead := c.nodes[0], c.nodes[4]
	for _, o := range c.nodes[:4] {
		c.cut(o, dead)
	}
	c.run(sec)
	a.sent = nil
	c.run(12 * sec)
	if got := a.count(Beat) / 4; got != 100 || c.record().Epoch == nil {
		t.Errorf("%d beats to each in 12 s, want 100; record %s", got, c.etcd)
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
		for _, ack := range a.m.term.bearing.acked {
			newest = max(newest, ack.sent)
			if ack.by == a.member {
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
