package sim

import (
	"slices"
	"time"

	"havip/election"
)

// claimLook is how long the daemon looks at the wire before a claim, and
// claimFor how long one lasts without being renewed.
const (
	claimLook = 3 * sec
	claimFor  = 30 * sec
	wireEvery = 10 * ms // what the model samples the wire at
)

// founding is one run of kubeadm init on a node.
type founding struct {
	n         *node
	running   bool // else it was killed, and may be run again
	begun     bool // it had the claim
	cancelled bool
}

// inCell: is this node's member one of etcd's?
func (w *World) inCell(n *node) bool { return w.cell == nil || slices.Contains(w.cell, n) }

// beforeEtcd takes etcd away: nobody was ever a member of it.
func (w *World) beforeEtcd() {
	w.cell = []*node{}
	for _, n := range w.nodes {
		n.member = false
	}
}

// beforeEtcdWithBeats is the same with daemons that will hear each other.
func (w *World) beforeEtcdWithBeats() {
	w.withCalmBeats()
	w.withMembers(0)
	w.beforeEtcd()
}

// wireBusy tells which other node that this one hears has the address, or asks for it.
func (n *node) wireBusy(probesCount bool) (by string) {
	for _, o := range n.w.nodes {
		if o == n || o.isolated() || n.isolated() || !o.powered {
			continue
		}
		if o.answers() || probesCount && n.w.now < o.asking {
			return o.id
		}
	}
	return ""
}

// listen looks at the wire for d and tells who was heard, "" for nobody.
func (n *node) listen(d time.Duration, probesCount bool, done func(by string)) {
	n.asking = max(n.asking, n.w.now+d)
	end := n.w.now + d
	var look func()
	look = func() {
		if by := n.wireBusy(probesCount); by != "" || n.w.now >= end {
			done(by)
			return
		}
		n.w.after(wireEvery, look)
	}
	look()
}

// tryClaim is what the daemon does when it is asked for a claim.
func (n *node) tryClaim(f *founding) {
	gen := n.gen
	if !n.alive || n.frozen {
		return
	}
	n.listen(claimLook, true, func(by string) {
		if !n.alive || n.gen != gen || !f.running {
			return
		}
		facts := election.ClaimFacts{
			Unfinished: f.begun, Member: n.data, Aside: n.drained, Answered: by != "", Passing: !n.isolated(),
			Record: n.w.etcd.reachable(n, false),
		}
		for _, o := range n.w.nodes {
			facts.MasterUp = facts.MasterUp || o != n && o.powered && o.member && !o.isolated() && !n.isolated()
		}
		if why := facts.Refusals(); len(why) > 0 {
			n.w.sayf("%s: claim refused: %v", n.id, why)
			return
		}
		f.begun = true
		n.w.stats.Claims++
		n.deliver(gen, election.Claim{Token: 20, For: claimFor, Looked: n.boot(), Founding: true})
	})
}

// found runs kubeadm init on a node: claim, etcd, and then nothing that lets
// another node join before the record is won. Where another one has made a cluster it
// would make a second one, whose etcd nothing compares with, if the first is not heard
// just then: that is outside the promise.
func (w *World) found(f *founding) {
	if f.running || f.cancelled || !f.n.powered || w.etcd.value != "" && !w.inCell(f.n) {
		return
	}
	w.fault("%s: kubeadm init", f.n.id)
	f.running, f.n.init = true, f
	w.tellInit(f.n)
	f.n.tryClaim(f)
	var renew func()
	renew = func() {
		if !f.running || w.settled {
			return
		}
		if f.n.alive && f.n.m.Glance().Role == election.Claimant {
			f.n.step(election.Claim{Token: 21, For: claimFor, Founding: true})
		}
		w.after(10*sec, renew)
	}
	w.after(claimLook+sec, renew)
	w.after(claimLook+w.between(sec, 8*sec), func() { w.startFirstMember(f) })
}

// startFirstMember is the phase after which this node can never claim again.
func (w *World) startFirstMember(f *founding) {
	n := f.n
	if !f.running || len(w.cell) > 0 {
		return
	}
	if !f.begun || !n.alive || n.role != election.Claimant { // init waits for its daemon
		w.after(500*ms, func() { w.startFirstMember(f) })
		return
	}
	w.fault("%s: etcd starts", n.id)
	n.data, n.member = true, true
	w.cell = []*node{n}
	w.entered(n)
	w.tellEtcd()
	n.rewatch(w.between(10*ms, 300*ms))
}

// tellInit is told that n holds the address by election. Only when init has heard
// that from its daemon does it run the phases that let others join: a record that
// committed is not enough, for the daemon may not know of it and serve by its claim.
func (w *World) tellInit(n *node) {
	if f := n.init; f != nil && f.running && n.alive && n.role == election.Holder {
		w.open = true
	}
}

// joined lets another node's member join, once init has let it.
func (w *World) joined(n *node) {
	if !w.open || w.inCell(n) || !w.etcd.quorum() {
		return
	}
	w.fault("%s: joins etcd", n.id)
	n.data, n.member = true, true
	w.cell = append(w.cell, n)
	w.entered(n)
	w.tellEtcd()
	n.rewatch(w.between(10*ms, 300*ms))
}

// runBootstrap makes a cluster while this and that goes wrong.
func runBootstrap(w *World) {
	w.run(w.between(0, 2*sec))
	first := &founding{n: w.nodes[0]}
	w.found(first)
	runs := []*founding{first}
	for range w.rng.IntN(5) {
		w.after(w.between(0, 25*sec), func() { w.bootstrapTrouble(&runs) })
	}
	for range 12 {
		w.run(w.now + w.between(sec, 4*sec))
		if w.chance(0.5) {
			w.joined(w.pick())
		}
	}
	for _, f := range runs {
		f.running = false
	}
	w.endBootstrap()
	w.recover()
}

// endBootstrap is an operator who brings to an end what was begun.
func (w *World) endBootstrap() {
	w.run(w.now + claimFor + 3*sec) // what was claimed has run out
	for _, n := range w.nodes {
		n.member, n.data = true, true
		if w.beats && !w.inCell(n) {
			w.cell = append(w.cell, n)
			w.entered(n)
		}
	}
	if !w.beats {
		w.cell = nil
	}
}

func (w *World) bootstrapTrouble(runs *[]*founding) {
	if w.settled {
		return
	}
	f := (*runs)[w.rng.IntN(len(*runs))]
	n := f.n
	switch w.rng.IntN(8) {
	case 0:
		w.crashProcess(n)
	case 1:
		w.restart(n)
	case 2:
		w.freeze(n)
	case 3:
		if len(*runs) == 1 { // two claims on the two sides of a cut are outside the promise
			w.oneOnly = true
			w.cutNode(n)
		}
	case 4:
		w.fault("%s: power off", n.id)
		f.running = false
		n.powerOff()
		w.tellEtcd()
		w.after(w.between(sec, 12*sec), n.powerOn) // its member comes back with it
	case 5:
		w.fault("%s: init is killed", n.id)
		f.running = false
		w.after(w.between(sec, 40*sec), func() { w.found(f) })
	case 6:
		w.fault("%s: init is cancelled", n.id)
		f.running, f.cancelled = false, true
		if n.alive && !w.inCell(n) {
			n.step(election.Unclaim{Token: 22, Reason: "init was cancelled"})
		}
	case 7:
		// Another one, while the first has no record.
		if w.etcd.value == "" && !w.oneOnly {
			second := &founding{n: w.nodes[1+w.rng.IntN(len(w.nodes)-1)]}
			*runs = append(*runs, second)
			w.found(second)
		}
	}
}

// runClaimKept makes a cluster in which nothing goes wrong: from the claim until
// the last one has joined the address never leaves the first node.
func runClaimKept(w *World) {
	w.settled = true
	w.run(sec)
	f := &founding{n: w.nodes[0]}
	w.found(f)
	w.run(w.now + claimLook + 500*ms)
	if h := w.holders(); len(h) != 1 || h[0] != f.n {
		w.violate("P2: the claimant does not hold the address")
		return
	}
	restarts := w.chance(0.5)
	if restarts {
		w.after(w.between(0, 15*sec), func() {
			w.fault("%s: daemon restarted", f.n.id)
			f.n.restart(w.between(50*ms, 800*ms))
		})
	}
	w.keeps(22*sec, "the start of its etcd")
	if w.etcd.value == "" && len(w.cell) > 0 {
		w.violate("P4: no record %v after the claim", 22*sec)
	}
	for _, n := range w.nodes[1:] {
		w.joined(n)
		w.keeps(4*sec, "a join")
	}
}

// runInitOnMember is an operator who runs init on the only master of a cluster
// that is up, with a daemon that has seen nothing of the cluster. The others
// come back.
func runInitOnMember(w *World) {
	w.settled = true
	if w.awaitHolder(12*sec) == nil {
		return
	}
	w.settled = false
	for _, n := range w.nodes {
		n.data = true
	}
	n := w.pick()
	for _, o := range w.nodes {
		if o != n {
			w.fault("%s: power off", o.id)
			o.powerOff()
		}
	}
	w.tellEtcd()
	w.run(w.now + w.between(0, 6*sec))
	n.kill("SIGKILL")
	n.run = nil
	n.restartLater()
	w.run(w.now + sec)
	f := &founding{n: n}
	w.found(f)
	w.run(w.now + w.between(claimLook, 12*sec))
	if w.chance(0.5) {
		w.cutNode(n)
	}
	for _, o := range w.nodes {
		w.after(w.between(0, 2*sec), o.powerOn)
	}
	w.run(w.now + 15*sec)
	f.running = false
	w.recover()
}
