package sim

import (
	"time"

	"havip/election"
)

// withBeats lets the daemons hear each other, each in its own way.
func (w *World) withBeats() {
	w.beats = true
	size := len(w.nodes)
	if size > 3 && w.rng.IntN(2) == 0 {
		size = 3 // the others may join
	}
	w.withMembers(size)
	how := w.rng.IntN(10)
	for _, n := range w.nodes {
		d := detections[how%3]
		if how >= 7 {
			d = w.anyDetection()
		}
		if how == 0 {
			d = election.Detection{}
		}
		n.setDetection(d)
	}
	switch w.rng.IntN(16) {
	case 0:
		w.twins()
	case 1:
		w.preempting()
	case 2:
		w.pick().fence.impossible = true
	}
}

var detections = []election.Detection{election.StandardDetection(), election.FastDetection(), election.FastDetection()}

func (w *World) anyDetection() election.Detection {
	return append(detections, election.Detection{})[w.rng.IntN(len(detections)+1)]
}

// withCalmBeats gives all daemons one detection in a world where little goes wrong.
func (w *World) withCalmBeats() {
	w.beats = true
	w.withMembers(len(w.nodes))
	d := election.StandardDetection()
	if w.rng.IntN(2) == 0 {
		d = election.FastDetection()
	}
	for _, n := range w.nodes {
		n.setDetection(d)
	}
}

// withFights also lets members join that a present epoch does not name.
func (w *World) withFights() {
	size := len(w.nodes)
	if w.rng.IntN(3) == 0 {
		for range 1 + w.rng.IntN(2) {
			w.nodes = append(w.nodes, newNode(w, len(w.nodes), w.nodes[0].timing))
		}
	}
	w.withCalmBeats()
	w.withMembers(size)
}

// beatFaults are what can go wrong between the daemons, beside all the rest.
func (w *World) beatFaults() []func(*node) {
	return []func(*node){
		w.blockDatagrams, w.blockDatagrams, w.raiseWall, w.raiseWall, w.loseDatagrams, w.freezeBriefly, w.freezeBriefly,
		w.redetect, w.shrink, w.anyJoins, w.replace, w.restartOthers, w.crashOthers, w.hangLink, w.lateAnswers, w.stallEtcd, w.passFence,
	}
}

// runBeats is chaos with heartbeats.
func runBeats(w *World) {
	w.run(w.between(500*ms, 6*sec))
	if w.chance(0.7) {
		w.run(w.now + 6*sec) // long enough for an epoch
	}
	all := append(w.allFaults(), w.beatFaults()...)
	faults := append(w.someOf(all, 2+w.rng.IntN(4)), w.someOf(w.beatFaults(), 1+w.rng.IntN(3))...)
	if w.rng.IntN(4) == 0 {
		faults = all
	}
	at := w.between(0, 3*sec)
	for range 1 + w.rng.IntN(9) {
		w.after(at, func() { w.randomFault(faults) })
		if w.chance(0.4) {
			at += w.between(0, 400*ms) // one upon the other
		} else {
			at = w.between(0, 8*sec)
		}
	}
	w.run(w.now + 10*sec)
	w.recover()
}

func (w *World) someOf(faults []func(*node), n int) []func(*node) {
	w.rng.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
	return faults[:min(n, len(faults))]
}

// runEdges lets an epoch begin and end again and again, while etcd answers late
// or not at all, and takes its holder away at any moment of that.
func runEdges(w *World) {
	w.settled = true
	h := w.awaitHolder(12 * sec)
	if h == nil {
		return
	}
	if w.chance(0.7) && w.awaitEpoch(w.between(0, 5*sec)) == nil {
		return
	}
	w.settled = false
	turns := []func(*node){w.blockDatagrams, w.raiseWall, w.loseDatagrams, w.restartOthers, w.crashOthers, w.redetect, w.anyJoins, w.replace, w.retime}
	etcds := []func(*node){w.loseLeader, w.slow, w.lateAndGone, w.cutOneWay, w.killMember, w.silence}
	ends := []func(*node){w.lateAnswers, w.freeze, w.freezeBriefly, w.crashProcess, w.losePower, w.cutNode, w.cutOneWay}
	for range 1 + w.rng.IntN(3) {
		w.after(w.between(0, 5*sec), func() { turns[w.rng.IntN(len(turns))](w.holderOr(h)) })
	}
	for range 1 + w.rng.IntN(3) {
		w.after(w.between(0, 6*sec), func() { etcds[w.rng.IntN(len(etcds))](w.holderOr(h)) })
	}
	for range 1 + w.rng.IntN(3) {
		w.after(w.between(0, 7*sec), func() { ends[w.rng.IntN(len(ends))](w.holderOr(h)) })
	}
	w.run(w.now + 10*sec)
	w.recover()
}

// runUnnoticed cuts a holder off when the write that begins its epoch is under
// way, and changes its times until then.
func runUnnoticed(w *World) {
	w.settled = true
	h := w.awaitHolder(12 * sec)
	if h == nil {
		return
	}
	w.settled = false
	w.beginning = func(n *node) {
		w.after(w.between(0, 8*ms), func() { w.cutNode(n) })
	}
	for at := time.Duration(0); at < 4*sec; at += w.between(50*ms, 500*ms) {
		w.after(at, func() { w.retime(h) })
	}
	w.run(w.now + 10*sec)
	w.recover()
}

// epochOfAge waits for an epoch that has lasted so long, in quiet until then, and
// returns its holder, or nil, and what makes spans of its promise.
func (w *World) epochOfAge(age time.Duration) (h *node, part func(a, b float64) time.Duration) {
	w.settled = true
	if h = w.awaitEpoch(age); h == nil {
		return nil, nil
	}
	w.settled = false
	u := h.detect.Promise
	return h, func(a, b float64) time.Duration {
		return time.Duration((a + (b-a)*w.rng.Float64()) * float64(u))
	}
}

// runFights lets members abandon, forget and support an epoch at the same time,
// while etcd cannot settle it.
func runFights(w *World) {
	h, part := w.epochOfAge(w.between(0, 6*sec))
	if h == nil {
		return
	}
	etcds := []func(*node){w.stallEtcd, w.stallEtcd, w.loseLeader, w.slow, w.killMember}
	etcds[w.rng.IntN(len(etcds))](h)
	moves := []func(){
		func() { w.parted(h, w.others(h)[0], part(0.3, 3)) },
		func() { w.parted(h, w.others(h)[0], part(0.3, 3)) },
		func() { l := w.others(h); w.parted(l[0], l[1], part(0.3, 2)) },
		func() { w.halfParted(h, w.others(h)[0], part(0.3, 3)) },
		func() { w.halfParted(h, w.others(h)[0], part(0.3, 3)) },
		func() { w.forgets(w.others(h)[0]) },
		func() { w.forgets(w.others(h)[0]) },
		func() { w.pauses(w.pick(), part(0.1, 2)) },
		func() { w.lateAnswers(h) },
		func() { w.forgets(h) },
		func() { w.hangLink(w.pick()) },
		func() { w.anyJoins(h) },
		func() { w.shrink(w.others(h)[0]) },
	}
	if w.chance(0.6) {
		w.after(part(0, 1), func() { w.anyJoins(h) })
	}
	few := 3 + w.rng.IntN(6)
	switch {
	case w.chance(0.1):
		few = 0
		w.relinks(h, part)
	case w.chance(0.5):
		few = w.rng.IntN(3)
		w.byTurns(h, part)
	}
	for range few {
		w.after(part(0, 5), func() { moves[w.rng.IntN(len(moves))]() })
	}
	w.run(w.now + 5*h.detect.Promise + 4*sec)
	w.recover()
}

// relinks takes a holder's link away in an epoch that it cannot end, and gives it
// back without a fence.
func (w *World) relinks(h *node, part func(a, b float64) time.Duration) {
	w.fault("%s: its member of etcd stalls, and its link comes back without a fence", h.id)
	h.stalled = w.now + 3*sec
	h.fence.busy = w.now + 4*sec
	h.noLink = true
	h.deleteAddress()
	h.dropFence()
	h.step(h.linkState())
	w.after(part(0.05, 0.3), func() { h.noLink = false; h.attachFence(); h.step(h.linkState()) })
	w.after(part(0.2, 2), func() { w.freeze(h) })
}

// byTurns parts a holder from half of its peers, then from the other half, and
// again, about as long each time as a promise lasts. Those who come back have
// abandoned it, and may have forgotten that.
func (w *World) byTurns(h *node, part func(a, b float64) time.Duration) {
	var l []*node
	for _, n := range w.others(h) {
		if w.inCell(n) {
			l = append(l, n)
		}
	}
	half, rest := l[:len(l)/2], l[len(l)/2:]
	at := time.Duration(0)
	for range 2 + w.rng.IntN(3) {
		d, these := part(0.8, 1.8), half
		w.after(at, func() {
			for _, n := range these {
				w.parted(h, n, d)
				if w.chance(0.5) {
					w.after(d-part(0, 0.3), func() { w.forgets(n) })
				}
			}
		})
		at += d + part(-0.1, 0.4)
		half, rest = rest, half
	}
}

// runEchoes brings what was said in one epoch back in the next one.
func runEchoes(w *World) {
	w.settled = true
	h := w.awaitEpoch(firstPromise)
	if h == nil {
		return
	}
	w.echo = 14 * sec
	u, l := float64(h.detect.Promise), w.others(h)
	d := time.Duration((1.1 + w.rng.Float64()) * u)
	w.fault("%s: its member of etcd stalls for %v", h.id, d)
	h.stalled = w.now + d
	w.partedFrom(h, l[:len(l)/2], d)
	for end := w.now + 12*sec; w.now < end && w.inEpoch(); {
		w.run(w.now + 100*ms)
	}
	if h = w.awaitEpoch(firstPromise); h == nil {
		return
	}
	w.settled = false
	w.stallEtcd(h)
	w.partedFrom(h, l[len(l)/2:], time.Duration((1.1+w.rng.Float64())*u))
	w.run(w.now + 6*sec)
	w.echo = 0
	w.recover()
}

func (w *World) partedFrom(h *node, these []*node, d time.Duration) {
	for _, n := range these {
		w.parted(h, n, d)
	}
}

// parted loses what two nodes would tell each other, etcd aside.
func (w *World) parted(a, b *node, d time.Duration) {
	w.fault("no datagrams between %s and %s for %v", a.id, b.id, d)
	w.oneWay(a, b, d)
	w.oneWay(b, a, d)
}

func (w *World) oneWay(a, b *node, d time.Duration) {
	s := wall{a, b}
	w.walls[s] = true
	w.after(d, func() { delete(w.walls, s) })
}

// halfParted is a wall that one side does not notice.
func (w *World) halfParted(a, b *node, d time.Duration) {
	if w.chance(0.5) {
		a, b = b, a
	}
	w.fault("no datagrams from %s to %s for %v", a.id, b.id, d)
	w.oneWay(a, b, d)
}

// forgets is a daemon that dies and is back before anybody misses it.
func (w *World) forgets(n *node) {
	w.fault("%s: daemon killed and started", n.id)
	n.kill("SIGKILL")
	w.after(w.between(ms, 60*ms), n.start)
}

func (w *World) pauses(n *node, d time.Duration) {
	if n.alive {
		w.fault("%s: daemon frozen for %v", n.id, d)
		n.frozen = true
		w.after(d, n.thaw)
	}
}

func (w *World) holderOr(n *node) *node {
	if h := w.holders(); len(h) > 0 {
		return h[0]
	}
	return n
}

// awaitEpoch lets the world run until the holder has an epoch that is older than
// its first promise, or for edges of any age, and returns it.
func (w *World) awaitEpoch(youngest time.Duration) *node {
	if w.awaitHolder(12*sec) == nil {
		return nil
	}
	for end := w.now + 30*sec; w.now < end; w.run(w.now + 100*ms) { // lost beats may end one or two
		if _, e := epochOf(w.etcd.value); e != nil {
			w.run(w.now + youngest + w.between(0, 3*sec))
			if h := w.holders(); len(h) == 1 && w.inEpoch() {
				return h[0]
			}
		}
	}
	if w.settled && !w.willing() {
		return nil
	}
	w.violate("P2: no heartbeats %v after the start, in which nothing went wrong", w.now)
	return nil
}

// willing: does nothing in the configs keep the holder from heartbeats?
func (w *World) willing() bool {
	for _, n := range w.cell {
		if !n.detect.On() || n.fence.impossible || n.name != n.id {
			return false
		}
	}
	return len(w.cell) >= election.MinMembers
}

func (w *World) inEpoch() bool {
	_, e := epochOf(w.etcd.value)
	return e != nil
}

// blockDatagrams is a firewall on one node, which lets etcd through.
func (w *World) blockDatagrams(n *node) {
	d := w.between(50*ms, 8*sec)
	n.shutIn, n.shutOut = w.chance(0.6), w.chance(0.6)
	w.fault("%s: datagrams blocked for %v, in: %v, out: %v", n.id, d, n.shutIn, n.shutOut)
	w.after(d, func() { n.shutIn, n.shutOut = false, false })
}

// raiseWall loses the datagrams between two nodes, one way or both.
func (w *World) raiseWall(n *node) {
	o := w.pick()
	if o == n {
		return
	}
	d := w.between(50*ms, 8*sec)
	sides := []wall{{n, o}, {o, n}}[w.rng.IntN(2):]
	for _, s := range sides {
		w.fault("no datagram from %s to %s for %v", s.from.id, s.to.id, d)
		w.walls[s] = true
	}
	w.after(d, func() {
		for _, s := range sides {
			delete(w.walls, s)
		}
	})
}

func (w *World) loseDatagrams(*node) {
	d := w.between(100*ms, 6*sec)
	w.lossy = 0.1 + 0.9*w.rng.Float64()
	w.fault("%.0f %% of datagrams lost for %v", 100*w.lossy, d)
	w.after(d, func() { w.lossy = 0 })
}

// freezeBriefly is about as long as promises are.
func (w *World) freezeBriefly(n *node) {
	if !n.alive {
		return
	}
	d := w.between(20*ms, 1500*ms)
	w.fault("%s: daemon frozen for %v", n.id, d)
	n.frozen = true
	w.after(d, n.thaw)
}

// redetect is a changed config, read by a running daemon.
func (w *World) redetect(n *node) {
	w.mixed = true
	n.setDetection(w.anyDetection())
	w.fault("%s: the promise is now %v", n.id, n.detect.Promise)
	n.step(election.Retime{Timing: n.timing, Detection: n.detect})
}

// restartOthers is an upgrade of the standbys, in order or not.
func (w *World) restartOthers(n *node) {
	for _, o := range w.nodes {
		if o != n && w.chance(0.7) {
			w.after(w.between(0, 600*ms), func() { w.restart(o) })
		}
	}
}

// crashOthers takes from the standbys what they have promised.
func (w *World) crashOthers(n *node) {
	for _, o := range w.nodes {
		if o != n && w.chance(0.6) {
			w.after(w.between(0, 600*ms), func() {
				w.fault("%s: daemon killed", o.id)
				o.kill("SIGKILL")
				w.after(w.between(10*ms, sec), o.start)
			})
		}
	}
}

// stallEtcd keeps a node from writing, though all looks well.
func (w *World) stallEtcd(n *node) {
	d := w.between(200*ms, 4*sec)
	w.fault("%s: its member of etcd stalls for %v", n.id, d)
	n.stalled = w.now + d
}

// lateAnswers lets a node hear late what others answered to its last beats.
func (w *World) lateAnswers(n *node) {
	late := time.Duration(w.rng.Float64() * float64(n.detect.Hold))
	d := w.between(100*ms, 3*sec)
	w.fault("%s: mute for %v, and what is answered comes %v late", n.id, d, late)
	n.hungUntil = w.now + late
	n.mute = true
	w.tellEtcd()
	w.after(d, func() { n.mute = false; w.tellEtcd() })
}

// hangLink delays all datagrams to a node, which then come in one heap.
func (w *World) hangLink(n *node) {
	d := w.between(50*ms, 3*sec)
	w.fault("%s: datagrams wait for %v", n.id, d)
	n.hungUntil = w.now + d
}

// healBeats ends what a fault left between the daemons.
func (w *World) healBeats() {
	w.lossy = 0
	clear(w.walls)
	if w.beats {
		w.tellMembers()
	}
}
