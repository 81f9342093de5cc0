package election

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// cluster is some machines with one etcd, a network between their daemons and a
// kernel each, that do what the test says: at once and with success unless it
// has set a delay, a loss or a freeze. It fails the test as soon as two kernels
// answer for the address.
type cluster struct {
	t     *testing.T
	now   Instant // the clocks of the nodes run by it, each at its own rate
	etcd  string  // the record
	stall Instant // etcd commits nothing before
	nodes []*node
	later []todo

	// net says how long a message takes; lost: it never comes.
	net func(from, to *node, m Message) time.Duration
}

const lost = time.Duration(-1)

type todo struct {
	at Instant
	do func()
}

// node is one master.
type node struct {
	c      *cluster
	member string
	lives  int
	cfg    Config
	rate   float64 // of its clock
	base   Instant // what it showed at 0
	m      *Machine
	dead   bool // no process
	frozen bool // the process does not run: what comes waits
	inbox  []Event
	peer   Peer
	saved  *SavedState

	toEtcd, fromEtcd time.Duration // of a transaction and its answer, or lost
	linkAfter        time.Duration // a start until the link is looked at
	watch            time.Duration // until a change is seen, or lost
	shown            Instant       // the watch keeps the order
	watches          int
	noClear          bool // the kernel does not remove the address
	noSave           bool // the disk takes nothing
	saves            int

	until Instant // kernel: when the address goes by the node's clock; 0: not there
	fence Instant // kernel
	bare  bool    // no fence

	sent   []Message
	writes []Write
	notes  []string
}

// newCluster has as many masters as asked for, the first of which holds the
// address, in plain mode as yet.
func newCluster(t *testing.T, size int, d Detection) *cluster {
	t.Helper()
	c := &cluster{t: t, now: 100 * sec}
	c.net = func(_, _ *node, _ Message) time.Duration { return ms }
	for i := range size {
		n := &node{c: c, member: fmt.Sprintf("m%d", i+1), rate: 1, toEtcd: 2 * ms, fromEtcd: 2 * ms, watch: 3 * ms}
		n.cfg = Config{Node: fmt.Sprintf("n%d", i+1), Timing: DeriveTiming(DefaultEtcdElection), Priority: 200 - i, Detection: d}
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		n.start()
	}
	c.run(6 * sec)
	if got := c.holder(); got != c.nodes[0] {
		t.Fatalf("holder %v, want n1", got)
	}
	return c
}

// beating is a cluster whose first node holds the address in an epoch that has
// outlived its first times.
func beating(t *testing.T, size int, d Detection) *cluster {
	t.Helper()
	c := newCluster(t, size, d)
	for range 100 {
		if e := c.record().Epoch; e != nil {
			c.run(6 * sec)
			if now := c.record().Epoch; now == nil || now.ID != e.ID {
				t.Fatalf("the epoch %s was not kept: %s", e.ID, c.etcd)
			}
			return c
		}
		c.run(100 * ms)
	}
	t.Fatalf("no epoch was begun: %s", c.nodes[0].m.beats.because)
	return nil
}

func (c *cluster) record() Record {
	c.t.Helper()
	if c.etcd == "" {
		return Record{}
	}
	r, err := DecodeRecord(c.etcd)
	if err != nil {
		c.t.Fatalf("the record cannot be obeyed: %v: %s", err, c.etcd)
	}
	return r
}

// holder is the node that serves; nil: nobody does.
func (c *cluster) holder() *node {
	for _, n := range c.nodes {
		if !n.dead && n.m.serving() && n.answers() {
			return n
		}
	}
	return nil
}

func (c *cluster) after(wait time.Duration, do func()) {
	c.later = append(c.later, todo{at: c.now + wait, do: do})
}

// run lets time pass.
func (c *cluster) run(wait time.Duration) {
	c.t.Helper()
	c.runUntil(wait, func() bool { return false })
}

// runUntil lets time pass until something is so, and says how long it took.
func (c *cluster) runUntil(wait time.Duration, so func() bool) time.Duration {
	c.t.Helper()
	start, end := c.now, c.now+wait
	for range 1_000_000 {
		if so() {
			return c.now - start
		}
		at, do := end+1, func() {}
		for _, n := range c.nodes {
			if next := n.realNext(); next < at {
				at, do = next, func() { n.event(Tick{}) }
			}
		}
		i := -1
		for j, l := range c.later {
			if l.at <= at && (i < 0 || l.at < c.later[i].at) {
				i = j
			}
		}
		if i >= 0 {
			at, do = c.later[i].at, c.later[i].do
		}
		if at > end {
			c.now = end
			return wait
		}
		if i >= 0 {
			c.later = slices.Delete(c.later, i, i+1)
		}
		c.now = max(c.now, at)
		do()
		c.judge()
	}
	c.t.Fatalf("the machines turn in a loop at %v", c.now)
	return 0
}

// judge is promise P1.
func (c *cluster) judge() {
	c.t.Helper()
	var who []string
	for _, n := range c.nodes {
		if n.answers() {
			who = append(who, n.cfg.Node)
		}
	}
	if len(who) > 1 {
		c.t.Fatalf("%v: %s answer for the address at once; the record is %s", c.now, strings.Join(who, " and "), c.etcd)
	}
}

// judgeWrite is rule 5, and what rule 12 makes of it: when a write leaves, this
// node's kernel is known to be silent before others may act on it.
func (n *node) judgeWrite(a Write) {
	n.c.t.Helper()
	r, err := DecodeRecord(a.Value)
	if err != nil {
		n.c.t.Fatalf("%s writes what nobody obeys: %v", n.cfg.Node, err)
	}
	if r.Node != n.cfg.Node {
		if n.answers() && n.m.term != nil {
			n.c.t.Fatalf("%s answers for the address, and gives it away", n.cfg.Node)
		}
		return
	}
	wait := r.Takeover()
	if r.Epoch != nil && r.Epoch.ID != n.m.term.bearing.epoch {
		wait = min(wait, r.Epoch.firstPromise())
	}
	if s := n.saved; s != nil && n.m.term != nil && s.servable() > n.clock()+r.Hold()+ms {
		n.c.t.Fatalf("%s writes at %v a record with a hold of %v, and the next process may serve until %v", n.cfg.Node, n.clock(), r.Hold(), s.servable())
	}
	end := n.until + KernelLateness
	if !n.bare {
		end = min(end, n.fence)
	}
	if end > n.clock()+time.Duration(clockMargin*float64(wait))+ms {
		n.c.t.Fatalf("%s writes at %v a record that others wait out in %v, and its kernel answers until %v", n.cfg.Node, n.clock(), wait, end)
	}
}

func (n *node) clock() Instant { return n.clockAt(n.c.now) }

func (n *node) clockAt(now Instant) Instant { return n.base + Instant(float64(now)*n.rate) }

// setRate makes the clock go faster or slower from now on.
func (n *node) setRate(rate float64) {
	was := n.clock()
	n.rate, n.base = rate, 0
	n.base = was - n.clock()
}

// answers: does this node's kernel take packets for the address? It removes it
// as late as it may.
func (n *node) answers() bool {
	return n.has() && (n.bare || n.clock() < n.fence)
}

func (n *node) has() bool { return n.until != 0 && n.clock() < n.until+KernelLateness }

func (n *node) realNext() Instant {
	if n.dead || n.frozen || n.m.Next() == never {
		return never
	}
	at := Instant(math.Ceil(float64(n.m.Next()-n.base) / n.rate))
	for n.clockAt(at) < n.m.Next() { // by rounding
		at++
	}
	return max(n.c.now, at)
}

// start begins a process, and tells it what the shell would.
func (n *node) start() {
	n.lives++
	n.dead, n.frozen, n.inbox = false, false, nil
	n.cfg.Incarnation = fmt.Sprintf("%s.%d", n.member, n.lives)
	saved := n.saved
	if saved != nil {
		s := *saved
		s.Open = n.fence
		saved = &s
	}
	m, acts := New(n.cfg, Now{Boot: n.clock()}, saved, false)
	n.m = m
	n.perform(acts)
	if n.linkAfter == 0 {
		n.event(Link{Present: true, Up: true})
	} else {
		n.eventLater(n.linkAfter, Link{Present: true, Up: true})
	}
	n.event(Fence{OK: !n.bare, Reason: "no fence here"})
	var voters []string
	for _, o := range n.c.nodes {
		voters = append(voters, o.member)
	}
	n.event(Members{Self: n.member, Voters: voters})
	n.event(Etcd{Local: true, Reason: "ready"})
	n.rewatch()
}

// crash ends the process; its kernel stays.
func (n *node) crash() { n.dead = true }

// thaw lets a frozen process run again: it finds that the time it asked for has
// come, and only then what waited.
func (n *node) thaw() {
	n.frozen = false
	n.event(Tick{})
	n.drain()
}

func (n *node) drain() {
	waiting := n.inbox
	n.inbox = nil
	for _, ev := range waiting {
		n.event(ev)
	}
}

// rewatch is a linearizable read of the record and a watch from there.
func (n *node) rewatch() {
	n.watches++
	n.event(Observed{Value: n.c.etcd})
}

func (n *node) event(ev Event) {
	switch {
	case n.dead:
	case n.frozen:
		n.inbox = append(n.inbox, ev)
	default:
		n.perform(n.m.Step(Now{Boot: n.clock(), Wall: int64(n.c.now / ms)}, ev))
		n.c.judge()
	}
}

// eventLater is for this process only, not for one that follows it.
func (n *node) eventLater(wait time.Duration, ev Event) {
	n.eventsLater(wait, func() Event { return ev })
}

func (n *node) eventsLater(wait time.Duration, ev func() Event) {
	life := n.lives
	n.c.after(wait, func() {
		if life == n.lives {
			n.event(ev())
		}
	})
}

func (n *node) perform(acts []Action) {
	for _, a := range acts {
		switch a := a.(type) {
		case Write:
			n.writes = append(n.writes, a)
			n.write(a)
		case Read:
			n.eventsLater(4*ms, func() Event { return Observed{Value: n.c.etcd, Read: a.ID} })
		case Probe:
			n.eventLater(400*ms, Probed{ID: a.ID})
		case FindAddress:
			n.eventsLater(ms, func() Event { return AddressFound{Present: n.has(), Until: n.until} })
		case SetAddress:
			n.until = n.clock() + seconds(a.Lifetime)
			n.eventLater(ms, AddressSet{Seq: a.Seq, OK: true, Before: n.clock(), After: n.clock() + ms})
		case ClearAddress:
			if !n.noClear {
				n.until = 0
			}
			n.eventLater(ms, AddressCleared{Seq: a.Seq, OK: !n.noClear, Reason: "not permitted"})
		case SetFence:
			n.fence = a.Until
		case Send:
			n.sent = append(n.sent, a.Message)
			n.c.post(n, a)
		case Save:
			n.saves++
			if !n.noSave {
				n.saved = a.State
			}
			n.eventLater(ms, Saved{Seq: a.Seq, OK: !n.noSave})
		case Publish:
			n.peer = a.Peer
			n.c.tellPeers()
		case Ask:
			for _, o := range n.c.nodes {
				o.eventLater(3*ms, Called(a))
			}
		case Note:
			n.notes = append(n.notes, a.Reason)
		case Exit:
			n.dead = true
		}
	}
}

func (n *node) write(a Write) {
	n.judgeWrite(a)
	life, back := n.lives, n.fromEtcd
	if n.toEtcd == lost {
		n.eventLater(a.Timeout, Wrote{ID: a.ID, Outcome: Unknown})
		return
	}
	n.c.after(max(n.toEtcd, n.c.stall-n.c.now), func() {
		ev := n.c.transact(a)
		if back == lost {
			ev, back = Wrote{ID: a.ID, Outcome: Unknown}, a.Timeout
		}
		if life == n.lives {
			n.eventLater(back, ev)
		}
	})
}

func (c *cluster) transact(a Write) Wrote {
	if c.etcd != a.Expect {
		return Wrote{ID: a.ID, Outcome: Refused, Current: c.etcd}
	}
	c.etcd = a.Value
	c.record()
	for _, n := range c.nodes {
		if n.watch != lost {
			n.shown = max(n.shown, c.now+n.watch)
			watch := n.watches
			c.after(n.shown-c.now, func() {
				if watch == n.watches {
					n.event(Observed{Value: a.Value, Live: true})
				}
			})
		}
	}
	return Wrote{ID: a.ID, Outcome: Committed}
}

func (c *cluster) post(from *node, a Send) {
	for _, to := range c.nodes {
		if to.member != a.To {
			continue
		}
		if wait := c.net(from, to, a.Message); wait != lost {
			c.after(wait, func() { to.event(Heard{a.Message}) })
		}
	}
}

func (c *cluster) tellPeers() {
	var list []Peer
	for _, n := range c.nodes {
		list = append(list, n.peer)
	}
	for _, n := range c.nodes {
		if n.m != nil {
			n.eventLater(3*ms, Peers{List: list})
		}
	}
}

// cut loses every message between two nodes, in both directions.
func (c *cluster) cut(a, b *node) {
	before := c.net
	c.net = func(from, to *node, m Message) time.Duration {
		if from == a && to == b || from == b && to == a {
			return lost
		}
		return before(from, to, m)
	}
}

// count is how many messages of a kind a node has sent.
func (n *node) count(k Kind) int {
	i := 0
	for _, m := range n.sent {
		if m.Kind == k {
			i++
		}
	}
	return i
}
