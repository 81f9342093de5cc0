package sim

import "havip/election"

// fuse ends a process between two things that it does, and those that follow it.
type fuse struct {
	left  int  // of them, the next process's first ones included
	heavy bool // what is told to other daemons does not count
	kills int  // that are still to come
}

// burns counts what the process is about to do, and reports whether it is the last.
func (f *fuse) burns(next election.Action) bool {
	if _, told := next.(election.Send); f.left == 0 || f.heavy && told {
		return false
	}
	f.left--
	return f.left == 0
}

// fused is the kill, and the start of the next process within moments, which may be
// killed as well.
func (n *node) fused() {
	w := n.w
	w.fault("%s: daemon killed on the way", n.id)
	n.kill("SIGKILL")
	if n.fuse.kills--; n.fuse.kills > 0 {
		n.fuse.left = 1 + w.rng.IntN(20)
	}
	if w.chance(0.1) { // its config was changed
		n.setDetection(w.anyDetection())
	}
	w.after(w.between(5*ms, 60*ms), n.start)
}

func (w *World) lightFuse(n *node) {
	n.fuse = fuse{left: 1 + w.rng.IntN(12), heavy: w.chance(0.6), kills: 1 + w.rng.IntN(4)}
}

// runKilled kills a holder between any two things that it does, while its epoch ends
// and others begin, are given away and are fought over.
func runKilled(w *World) {
	h, part := w.epochOfAge(w.between(0, 6*sec))
	if h == nil {
		return
	}
	if w.chance(0.2) {
		w.echo = 3 * sec
	}
	etcds := []func(*node){w.stallEtcd, w.stallEtcd, w.loseLeader, w.slow, w.killMember, w.cutOneWay, w.lateAndGone, w.loseQuorum}
	moves := []func(*node){
		func(h *node) { w.partedFrom(h, w.others(h), part(0.5, 2)) },
		func(h *node) { w.partedFrom(h, w.others(h), part(0.5, 2)) },
		func(h *node) { w.parted(h, w.others(h)[0], part(0.3, 3)) },
		func(h *node) { w.halfParted(h, w.others(h)[0], part(0.3, 3)) },
		func(h *node) { w.silence(w.others(h)[0]) },
		func(h *node) { w.silence(w.others(h)[0]) },
		func(h *node) { w.forgets(w.others(h)[0]) },
		func(h *node) { w.pauses(h, part(0.1, 2)) },
		func(h *node) { w.pauses(w.others(h)[0], part(0.1, 2)) },
		func(h *node) { w.byTurns(h, part) },
		func(h *node) { w.hangLink(w.pick()) },
		w.lateAnswers, w.handOver, w.release, w.drain, w.failHealth, w.loseLink, w.redetect, w.retime, w.anyJoins, w.replace,
		w.refuseSet, w.refuseClear, w.deletes, w.restart, w.stop, w.goDown, w.failDisk, w.fillDisk, w.passFence, w.passFence,
		func(h *node) { w.shrink(w.others(h)[0]) },
	}
	span := part(1, 8) + 2*sec
	for range 1 + w.rng.IntN(4) {
		w.after(w.between(0, span), func() { w.lightFuse(w.holderOr(h)) })
	}
	for range w.rng.IntN(4) {
		w.after(w.between(0, span), func() { etcds[w.rng.IntN(len(etcds))](w.holderOr(h)) })
	}
	for range 1 + w.rng.IntN(5) {
		w.after(w.between(0, span), func() { moves[w.rng.IntN(len(moves))](w.holderOr(h)) })
	}
	w.run(w.now + span + 3*sec)
	w.echo = 0
	w.recover()
}

// fillDisk leaves what is saved as it is, however often it is to be replaced.
func (w *World) fillDisk(n *node) {
	d := w.between(200*ms, 12*sec)
	w.fault("%s: the disk is full for %v", n.id, d)
	n.failSave, n.fullDisk = true, true
	w.after(d, func() { n.failSave, n.fullDisk = false, false })
}

// One that is killed where etcd answers no more, and back at once, cannot set the
// address again. It must not keep it from the others when it is gone.
func runBeatsKilledAlone(w *World) {
	w.settled = true
	h := w.awaitEpoch(firstPromise)
	if h == nil {
		return
	}
	w.fault("daemon of %s is killed and started again, and its member of etcd is gone", h.id)
	h.member = false
	w.tellEtcd()
	h.kill("SIGKILL")
	w.after(w.between(5*ms, 60*ms), h.start)
	w.run(w.now + 100*ms)
	for len(w.holders()) > 0 && w.now < 60*sec {
		w.run(w.now + 10*ms)
	}
	w.expectHolder(beatBudget(h)+200*ms, h)
}

// runStale lets a holder lose its epoch and take the address again, while its disk
// keeps what it saved in the epoch, and kills it there: with the fence open by the
// later record, and somebody who has not seen the epoch end.
func runStale(w *World) {
	h, part := w.epochOfAge(w.between(0, 4*sec))
	if h == nil {
		return
	}
	l := w.others(h)
	for _, n := range l[:len(l)/2] {
		w.fault("%s: its watch is silent, and who wants the address cannot ask it", n.id)
		n.silent, n.watching = true, false
		for _, o := range l[len(l)/2:] {
			w.parted(n, o, 20*sec)
		}
	}
	w.fault("%s: the disk is full", h.id)
	h.failSave, h.fullDisk = true, true
	d := part(1, 1.6)
	w.fault("%s: its member of etcd stalls for %v", h.id, d)
	h.stalled = w.now + d
	w.partedFrom(h, l, d+part(-0.1, 0.3))
	w.run(w.now + d + w.between(0, 1500*ms))
	h = w.holderOr(h)
	d = w.between(0, 9*sec)
	w.fault("%s: its member of etcd stalls for %v", h.id, d)
	h.stalled = w.now + d
	w.lightFuse(h)
	w.run(w.now + 9*sec)
	w.recover()
}
