package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"havip/election"
)

const (
	ms  = time.Millisecond
	sec = time.Second
)

// World is one schedule: everything that happens in it, in real time, which
// none of the nodes can read.
type World struct {
	rng     *rand.Rand
	now     time.Duration
	queue   queue
	seq     int
	nodes   []*node
	etcd    store
	slowest time.Duration // takeover there ever was
	cell    []*node       // whose members are etcd's; nil: everybody's
	open    bool          // init has let others join
	oneOnly bool          // no second run of init
	preempt time.Duration
	twice   float64       // share of requests that are applied twice
	lawless time.Duration // until then P1 is not promised: somebody deleted the record
	mixed   bool
	waited  bool // a record was implausible: its release may have to be waited out for a minute
	calm    bool // fixed small delays and exact clocks: for transcripts

	beats       bool             // daemons hear each other, and etcd's membership may change
	homes       map[string]*node // by member ID, also of those that are members no more
	walls       map[wall]bool
	lossy       float64                // share of datagrams that are lost
	lost        map[wall]time.Duration // when the last one was, either way
	echo        time.Duration          // every datagram comes a second time, within this time; 0: none does
	beginning   func(*node)            // called once, when a node asks for an epoch to begin
	membersMade int

	settled bool // faults are over
	log     func(string)
	faults  []string
	bad     []string // violations
	moves   []move
	held    []span
	stats   Stats
}

// Stats counts what a schedule went through, so that a test can show that the
// schedules reach the corners.
type Stats struct {
	Steps, Writes, Unknown, LateCommits, Takeovers, Handovers, Adoptions, Killed, Restored, Lapses, Claims, Busiest, Sets int

	// With heartbeats.
	Datagrams, LateDatagrams, Refusals, Abandoned, Epochs, LateEpochs, Falls, ByAbandonment, Fenced, Members int
}

type move struct {
	at       time.Duration
	from, to string
}

// span is a time in which a node had the address on its link and would answer.
type span struct {
	node     string
	from, to time.Duration // to 0: still
}

type item struct {
	at  time.Duration
	seq int
	do  func()
}

func (a *item) before(b *item) bool {
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

// queue is a binary heap, the earliest item first. It is container/heap without
// the interface: it saves a sixth of a run.
type queue []item

func (q *queue) push(x item) {
	*q = append(*q, x)
	h, i := *q, len(*q)-1
	for i > 0 {
		up := (i - 1) / 2
		if !x.before(&h[up]) {
			break
		}
		h[i], i = h[up], up
	}
	h[i] = x
}

func (q *queue) pop() item {
	h := *q
	first, n := h[0], len(h)-1
	x := h[n]
	h[n].do = nil
	h = h[:n]
	*q = h
	i := 0
	for {
		down := 2*i + 1
		if down >= n {
			break
		}
		if right := down + 1; right < n && h[right].before(&h[down]) {
			down = right
		}
		if !h[down].before(&x) {
			break
		}
		h[i], i = h[down], down
	}
	if n > 0 {
		h[i] = x
	}
	return first
}

// after runs do when d has passed.
func (w *World) after(d time.Duration, do func()) {
	w.seq++
	w.queue.push(item{at: w.now + max(d, 0), seq: w.seq, do: do})
}

// run lets the world go on until t.
func (w *World) run(t time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= t {
		it := w.queue.pop()
		w.now = it.at
		it.do()
	}
	w.now = t
}

func newWorld(rng *rand.Rand, n int, timing func(i int) election.Timing) *World {
	w := &World{rng: rng, lost: map[wall]time.Duration{}}
	w.etcd.w = w
	for i := range n {
		w.nodes = append(w.nodes, newNode(w, i, timing(i)))
	}
	return w
}

func (w *World) sayf(format string, args ...any) {
	if w.log != nil {
		w.log(fmt.Sprintf("%9.3f  ", w.now.Seconds()) + fmt.Sprintf(format, args...))
	}
}

func (w *World) violate(format string, args ...any) {
	text := fmt.Sprintf("%.3f s: ", w.now.Seconds()) + fmt.Sprintf(format, args...)
	w.bad = append(w.bad, text)
	w.sayf("VIOLATION %s", text)
}

func (w *World) fault(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.faults = append(w.faults, fmt.Sprintf("%.3f s %s", w.now.Seconds(), text))
	w.sayf("! %s", text)
}

// holders are the nodes that have the address on their link, and not fenced, now.
func (w *World) holders() []*node {
	var h []*node
	for _, n := range w.nodes {
		if n.answers() {
			h = append(h, n)
		}
	}
	return h
}

// addressCame checks P1 at the only moments at which it can be broken.
func (w *World) addressCame(n *node, how string) {
	w.held = append(w.held, span{node: n.id, from: w.now})
	for _, o := range w.holders() {
		if o != n && w.now > w.lawless {
			w.violate("P1: %s has the address while %s still has it", n.id, o.id)
		}
	}
	last := ""
	if len(w.moves) > 0 {
		last = w.moves[len(w.moves)-1].to
	}
	if last != n.id {
		w.moves = append(w.moves, move{at: w.now, from: last, to: n.id})
	}
	w.sayf("%s: address %s", n.id, how)
}

func (w *World) addressWent(n *node, how string) {
	for i := range w.held {
		if w.held[i].node == n.id && w.held[i].to == 0 {
			w.held[i].to = w.now
		}
	}
	w.sayf("%s: address %s", n.id, how)
}

// Delays. Most are those of a good network; some are terrible.

func (w *World) chance(p float64) bool { return !w.calm && w.rng.Float64() < p }

func (w *World) between(a, b time.Duration) time.Duration {
	if w.calm || b <= a {
		return a
	}
	return a + time.Duration(w.rng.Int64N(int64(b-a)))
}

// wire is one way of a request.
func (w *World) wire() time.Duration {
	switch {
	case w.settled || !w.chance(0.04):
		return w.between(1*ms, 5*ms)
	case w.chance(0.3):
		return w.between(500*ms, 2500*ms)
	default:
		return w.between(20*ms, 500*ms)
	}
}

// wake is how late a timer or a goroutine may be.
func (w *World) wake() time.Duration {
	if !w.settled && w.chance(0.01) {
		return w.between(5*ms, 150*ms)
	}
	return w.between(0, 2*ms)
}

func (s *Stats) add(o Stats) {
	s.Steps += o.Steps
	s.Writes += o.Writes
	s.Unknown += o.Unknown
	s.LateCommits += o.LateCommits
	s.Takeovers += o.Takeovers
	s.Handovers += o.Handovers
	s.Adoptions += o.Adoptions
	s.Killed += o.Killed
	s.Restored += o.Restored
	s.Lapses += o.Lapses
	s.Claims += o.Claims
	s.Datagrams += o.Datagrams
	s.LateDatagrams += o.LateDatagrams
	s.Refusals += o.Refusals
	s.Abandoned += o.Abandoned
	s.Epochs += o.Epochs
	s.LateEpochs += o.LateEpochs
	s.Falls += o.Falls
	s.ByAbandonment += o.ByAbandonment
	s.Fenced += o.Fenced
	s.Members += o.Members
	s.Busiest = max(s.Busiest, o.Busiest)
	s.Sets = max(s.Sets, o.Sets)
}
