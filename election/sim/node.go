package sim

import (
	"fmt"
	"time"

	"havip/election"
)

// node is one master: its clock, its kernel, its etcd member and its daemon.
type node struct {
	w    *World
	id   string // of the machine, for the judge
	name string // in its config; two nodes may bear the same

	rate   float64
	booted time.Duration
	timing election.Timing
	detect election.Detection
	prio   int

	powered, cut, member bool
	data                 bool          // it has been a member of etcd
	init                 *founding     // the last run of kubeadm init here
	asking               time.Duration // until when it asks on the wire for the address
	deaf, mute           bool          // one way only is cut: to it, or from it
	shutIn, shutOut      bool          // a firewall drops datagrams on their way in, or out
	noLink               bool
	failSet, failClear   bool
	failFind, failSave   bool
	fullDisk             bool          // what fails to be written is not written by half
	slowDisk             time.Duration // until which nothing is written
	slowReply            time.Duration // added to every reply of etcd
	healthy              bool
	drained              bool

	m        *election.Machine
	gen      int // of the process
	alive    bool
	frozen   bool
	inbox    []election.Event
	socket   []election.Message // datagrams that nobody has read yet
	pending  []election.Action  // of the step in whose midst the process was frozen
	tick     int
	again    time.Duration // after its exit the next process starts; 0: none does
	role     election.Role
	run      *election.SavedState // /run
	saveGen  int
	unsaved  *election.Save    // the newest one that is not written yet
	written  time.Duration     // when the last one will be
	queue    []election.Action // for the one goroutine that calls the kernel
	busy     bool
	pub      *election.Peer
	pubGen   int
	watching bool
	silent   bool
	lastSeen time.Duration // delivery of the last watch event
	lastBook time.Duration // and of the last presence or call

	stalled     time.Duration    // until when its member of etcd takes nothing
	hungUntil   time.Duration    // until when datagrams to it wait on the way
	memberID    string           // the last one it had in etcd
	known       election.Members // on its disk
	lastMembers time.Duration    // delivery of the last ones

	doing activity
	fuse  fuse

	kernel struct {
		present bool
		gen     int
		until   time.Duration // real
	}
	fence     fence
	answering bool // as last looked at
}

func newNode(w *World, i int, t election.Timing) *node {
	id := fmt.Sprintf("n%d", i+1)
	n := &node{w: w, id: id, name: id, prio: 100, powered: true, member: true, healthy: true, rate: 1}
	n.setTiming(t)
	if w.rng != nil {
		n.rate = 0.995 + 0.01*w.rng.Float64()
	}
	return n
}

// setTiming is the operator's change of the config.
func (n *node) setTiming(t election.Timing) {
	n.timing = t
	n.w.slowest = max(n.w.slowest, t.Takeover)
}

// setDetection is another change of it.
func (n *node) setDetection(d election.Detection) {
	n.detect = d
	if d.On() {
		n.w.slowest = max(n.w.slowest, beatTakeover)
	}
}

// beatTakeover is what a record with an epoch asks others to wait.
const beatTakeover = 15 * sec

func (n *node) boot() election.Instant {
	return election.Instant(float64(n.w.now-n.booted) * n.rate)
}

func (n *node) clock() election.Now {
	return election.Now{Boot: n.boot(), Wall: 1_700_000_000_000 + n.w.now.Milliseconds()}
}

// realAt is when this node's clock will show t.
func (n *node) realAt(t election.Instant) time.Duration {
	return n.booted + time.Duration(float64(t)/n.rate)
}

// start begins a process on what the one before left in /run.
func (n *node) start() {
	if n.alive || !n.powered {
		return
	}
	n.gen++
	n.alive, n.frozen, n.busy, n.queue, n.inbox = true, false, false, nil, nil
	n.watching, n.pub, n.socket, n.pending = false, nil, nil, nil
	cfg := election.Config{Node: n.name, Incarnation: fmt.Sprintf("%s.%d", n.id, n.gen), Timing: n.timing, Priority: n.prio, Preempt: n.w.preempt, Detection: n.detect}
	n.w.sayf("%s: daemon starts", n.id)
	n.excuse(500 * ms)
	open := n.openFence()
	n.fence.counted = false
	var saved *election.SavedState
	if n.run != nil {
		c := *n.run
		c.Open = open
		saved = &c
	}
	var acts []election.Action
	n.m, acts = election.New(cfg, n.clock(), saved, n.drained)
	n.role = election.Waiting
	n.perform(acts)
	n.step(n.linkState())
	n.step(election.Health{OK: n.healthy, Reason: n.healthReason()})
	n.attachFence()
	n.recallMembers()
	n.linkToEtcd()
	n.rewatch(n.w.between(5*ms, 50*ms))
}

func (n *node) healthReason() string {
	if n.healthy {
		return "ready"
	}
	return "no answer in 1 s"
}

// linkToEtcd tells the daemon what its etcd client would tell it.
func (n *node) linkToEtcd() {
	e := election.Etcd{Local: n.member && n.w.inCell(n) && !n.isolated() && n.w.etcd.quorum(), Reason: "ready"}
	switch {
	case n.isolated() || !n.w.etcd.quorum():
		e.Reason = "no leader"
	case !n.member || !n.w.inCell(n):
		e.Reason, e.Elsewhere = "connection refused", true
	}
	n.deliver(n.gen, e)
}

func (n *node) kill(why string) {
	if !n.alive {
		return
	}
	n.w.sayf("%s: daemon dies (%s)", n.id, why)
	n.alive, n.frozen, n.unsaved, n.written = false, false, nil, 0
	n.m, n.again = nil, 0
	n.gen++
	gen := n.gen
	n.w.after(n.w.between(5*sec, 8*sec), func() { // its lease runs out
		if !n.alive && n.gen == gen {
			n.w.etcd.present(n.id, nil)
		}
	})
}

// probe looks whether another node that the wire reaches has the address.
func (n *node) probe(a election.Probe) {
	gen := n.gen
	n.listen(probeTakes, false, func(by string) {
		n.deliver(gen, election.Probed{ID: a.ID, Answered: by != "", By: by, Failed: n.noLink})
	})
}

// probeTakes is how long the daemon looks at the wire.
const probeTakes = 400 * ms

// exit is the orderly end of a process. One that another follows leaves its
// presence to it.
func (n *node) exit() {
	n.judgeExit()
	if n.again == 0 {
		n.w.etcd.present(n.id, nil)
	}
	if n.unsaved != nil && !n.failSave && n.w.now >= n.slowDisk {
		n.run = n.unsaved.State // an orderly end writes what waits
	}
	again := n.again
	n.kill("exit")
	if again != 0 {
		n.w.after(again, n.start)
	}
}

// restart is what a supervisor does, with d from one process to the next.
func (n *node) restart(d time.Duration) {
	if n.alive {
		n.again = d
		n.step(election.Stop{Restart: true})
	}
}

func (n *node) thaw() {
	if !n.frozen {
		return
	}
	n.frozen = false
	n.excuse(100 * ms)
	n.w.sayf("%s: daemon goes on", n.id)
	acts := n.pending
	n.pending = nil
	n.perform(acts)
	for _, ev := range n.waiting() {
		n.step(ev)
	}
	n.step(election.Tick{})
}

// deliver hands an event to the process of generation gen.
func (n *node) deliver(gen int, ev election.Event) {
	switch {
	case !n.alive || n.gen != gen:
	case n.frozen:
		n.inbox = append(n.inbox, ev)
	default:
		n.step(ev)
	}
}

func (n *node) step(ev election.Event) {
	if !n.alive {
		return
	}
	if n.frozen {
		n.inbox = append(n.inbox, ev)
		return
	}
	n.w.stats.Steps++
	acts := n.m.Step(n.clock(), ev)
	n.count(acts)
	n.w.stats.actions(acts)
	n.perform(acts)
	if !n.alive {
		return
	}
	n.tendFence()
	n.tick++
	tick, gen := n.tick, n.gen
	if next := n.m.Next(); next < 1<<62 {
		late := n.w.wake()
		if late > 5*ms {
			n.excuse(n.realAt(next) - n.w.now + late)
		}
		n.w.after(n.realAt(next)-n.w.now+late, func() {
			if n.tick == tick {
				n.deliver(gen, election.Tick{})
			}
		})
	}
}

func (n *node) perform(acts []election.Action) {
	for i, a := range acts {
		if n.alive && n.w.beats && !n.w.settled && !n.w.calm {
			n.stumble(a)
		}
		if n.alive && n.fuse.burns(a) {
			n.fused()
		}
		if !n.alive {
			return
		}
		if n.frozen {
			n.pending = append(n.pending, acts[i:]...)
			return
		}
		switch a := a.(type) {
		case election.Write:
			n.w.etcd.txn(n, a)
		case election.Read:
			n.w.etcd.read(n, a)
		case election.Probe:
			n.probe(a)
		case election.Publish:
			p := a.Peer
			n.pub = &p
			n.pubGen++
			n.publish(n.gen, n.pubGen)
		case election.Ask:
			n.w.etcd.ask(n, a.Call)
		case election.Send:
			n.w.datagram(n, a)
		case election.SetFence:
			n.setFence(a.Until)
		case election.SetAddress, election.ClearAddress, election.FindAddress:
			n.queue = append(n.queue, a)
			n.nextCall()
		case election.Save:
			n.save(a)
		case election.Note:
			n.noted(a)
		case election.Warn:
			n.w.sayf("%s: warning: %s", n.id, a.Text)
		case election.Done:
			n.w.sayf("%s: command %d: %s%s", n.id, a.Token, a.Message, a.Err)
		case election.Exit:
			n.exit()
		}
	}
}

// stumble stops a process now and then between two things that one step wants done.
func (n *node) stumble(next election.Action) {
	r := n.w.rng.Float64()
	if _, ok := next.(election.Send); !ok {
		r /= 5 // the worse places
	}
	switch {
	case r < 0.00002:
		n.w.crashProcess(n)
	case r < 0.0001:
		n.w.freeze(n)
	case r < 0.0002:
		n.w.freezeBriefly(n)
	}
}

func (n *node) noted(a election.Note) {
	n.w.sayf("%s: %s -> %s: %s", n.id, a.From, a.To, a.Reason)
	n.role = a.To
	n.w.tellInit(n)
	switch {
	case a.To == election.Holder && a.From == election.Candidate:
		n.w.stats.Takeovers++
	case a.To == election.Releasing:
		n.w.stats.Handovers++
	case a.From == election.Holder:
		n.w.stats.Lapses++
	}
}

func (n *node) publish(gen, pub int) {
	w := n.w
	w.after(w.wire(), func() {
		if !n.alive || n.gen != gen || n.pubGen != pub {
			return
		}
		if !w.etcd.reachable(n, true) || n.frozen {
			w.after(w.between(100*ms, 400*ms), func() { n.publish(gen, pub) })
			return
		}
		w.etcd.present(n.id, n.pub)
	})
}

func (n *node) save(a election.Save) {
	n.saveGen++
	n.unsaved = &a
	gen, save := n.gen, n.saveGen
	d := n.w.between(ms/10, 2*ms)
	if !n.w.settled && n.w.chance(0.01) {
		d = n.w.between(2*ms, 400*ms)
	}
	d += max(0, n.slowDisk-n.w.now)
	n.written = max(n.written, n.w.now+d) // one after the other
	n.w.after(n.written-n.w.now, func() {
		if !n.alive || n.gen != gen {
			return // died before it was written
		}
		ok := !n.failSave
		if (n.saveGen == save || a.Seq != 0) && (ok || !n.fullDisk && n.w.chance(0.5)) {
			n.run = a.State
		}
		if n.saveGen == save {
			n.unsaved = nil
		}
		if a.Seq != 0 {
			n.deliver(gen, election.Saved{Seq: a.Seq, OK: ok})
		}
	})
}

// connected: does anything from etcd reach this node? Once there is a cluster,
// other members answer a node whose own one was removed.
func (n *node) connected() bool {
	return n.powered && n.alive && !n.cut && !n.deaf && (n.w.inCell(n) || n.w.beats) && n.w.etcd.quorum()
}

// watchEvent carries one change of the record to this node, in order.
func (n *node) watchEvent(value string) {
	if !n.watching || !n.alive {
		return
	}
	if n.silent || !n.connected() {
		n.watching = false
		if !n.silent {
			n.rewatch(n.w.between(300*ms, 800*ms))
		}
		return
	}
	at := max(n.lastSeen, n.w.now+n.w.wire())
	n.lastSeen = at
	gen := n.gen
	n.w.after(at-n.w.now, func() { n.deliver(gen, election.Observed{Value: value, Live: true}) })
}

// rewatch reads and watches again, as soon as it can.
func (n *node) rewatch(d time.Duration) {
	gen := n.gen
	n.w.after(d, func() {
		if !n.alive || n.gen != gen || n.watching {
			return
		}
		if n.silent || !n.connected() || n.w.etcd.leaderless {
			n.rewatch(n.w.between(200*ms, 600*ms))
			return
		}
		n.watching = true
		value, peers, call := n.w.etcd.value, n.w.etcd.peers(), n.w.etcd.call
		first := n.w.between(ms, 4*ms)
		if n.w.beats {
			first = n.w.wire()
		}
		at := max(n.lastSeen, n.lastBook, n.w.now+first)
		n.lastSeen, n.lastBook = at, at
		n.w.after(at-n.w.now, func() {
			n.deliver(gen, election.Observed{Value: value})
			n.deliver(gen, election.Peers{List: peers})
			n.deliver(gen, election.Called{Call: call})
		})
	})
}

// bookkeeping carries presence and calls, which safety does not hang on.
func (n *node) bookkeeping(ev election.Event) {
	if !n.watching || !n.alive {
		return
	}
	if !n.connected() || n.silent {
		n.watching = false // it missed something, and finds out
		n.rewatch(n.w.between(300*ms, 800*ms))
		return
	}
	at := max(n.lastBook, n.w.now+n.w.wire()) // in order, as a watch brings them
	n.lastBook = at
	gen := n.gen
	n.w.after(at-n.w.now, func() { n.deliver(gen, ev) })
}

// isolated: does the local etcd member miss the others, in one way at least?
func (n *node) isolated() bool { return n.cut || n.deaf || n.mute }

// hears: do replies reach this node?
func (n *node) hears() bool { return n.powered && !n.cut && !n.deaf }

func (n *node) linkState() election.Link {
	if n.noLink {
		return election.Link{Reason: "no such link"}
	}
	return election.Link{Present: true, Up: true}
}
