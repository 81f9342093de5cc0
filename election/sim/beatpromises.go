package sim

import (
	"time"

	"havip/election"
)

// firstPromise is how long an epoch's first write is a promise of all members.
const firstPromise = 4550 * ms

// beatBudget is within what another node holds the address when the holder of an
// epoch dies: the promise, a question and its answer, a transaction, the ranks
// before this one, timers, and the address itself.
func beatBudget(h *node) time.Duration { return h.detect.Promise*101/100 + 150*ms }

// A holder that dies in an epoch is replaced after the promise, and in a young
// one no later than in plain mode.
func runBeatsCrash(w *World) {
	w.settled = true
	age := firstPromise
	if w.chance(0.2) {
		age = 0
	}
	h := w.awaitEpoch(age)
	if h == nil {
		return
	}
	if w.chance(0.3) {
		w.fault("datagrams come again later")
		w.echo = 3 * sec
		w.run(w.now + w.between(0, 2*sec))
	}
	if w.chance(0.2) {
		w.fault("the others do not hear each other")
		for _, a := range w.others(h) {
			for _, b := range w.others(h) {
				w.walls[wall{a, b}] = true
			}
		}
	}
	w.lose(h)
	w.expectHolder(max(beatBudget(h), w.etcd.began+firstPromise+150*ms-w.now), h)
}

// lose takes a node away, so that nobody hears of it.
func (w *World) lose(h *node) {
	if w.chance(0.5) {
		w.fault("%s loses power", h.id)
		h.powerOff()
	} else {
		w.fault("%s is cut off", h.id)
		h.cut = true
	}
	w.tellEtcd()
}

// If it had etcd's leader, it is replaced as soon as there is another one.
func runBeatsCrashLeader(w *World) {
	w.settled = true
	h := w.awaitEpoch(firstPromise)
	if h == nil {
		return
	}
	w.etcd.leaderless = true
	stall := w.between(300*ms, 2500*ms)
	w.lose(h)
	w.fault("and etcd has no leader for %v", stall)
	w.after(stall, func() { w.etcd.leaderless = false })
	w.expectHolder(max(stall, beatBudget(h))+600*ms, h)
}

// A frozen holder is closed by its kernel, and another one has the address.
func runBeatsFrozen(w *World) {
	w.settled = true
	h := w.awaitEpoch(firstPromise)
	if h == nil {
		return
	}
	w.fault("daemon of %s is frozen", h.id)
	h.frozen = true
	w.after(w.between(2*sec, 8*sec), h.thaw)
	w.expectHolder(beatBudget(h), h)
	w.run(w.now + 6*sec)
}

// What happens to the standbys does not move the address.
func runBeatsStandbys(w *World) {
	w.settled = true
	h := w.awaitEpoch(firstPromise)
	if h == nil {
		return
	}
	others := w.others(h)
	all := w.chance(0.4)
	for i, n := range others {
		if i > 0 && !all {
			break
		}
		w.after(w.between(0, sec), func() { w.standbyTrouble(n, i) })
	}
	w.keeps(12*sec, "trouble on the standbys")
	w.comesBack()
}

// All standbys at once are restarted in order, while a transaction takes more than
// half of a promise: they leave no sooner than the holder can do without.
func runBeatsUpgrade(w *World) {
	w.settled = true
	h := w.awaitEpoch(firstPromise)
	if h == nil {
		return
	}
	w.etcd.slow = time.Duration((0.5 + 0.25*w.rng.Float64()) * float64(h.detect.Promise))
	w.fault("every transaction takes %v longer, and all standbys are restarted", w.etcd.slow)
	for _, n := range w.others(h) {
		w.after(w.between(0, 30*ms), func() { n.restart(w.between(100*ms, sec)) })
	}
	w.keeps(8*sec, "an upgrade of the standbys")
}

func (w *World) others(h *node) []*node {
	var l []*node
	for _, n := range w.nodes {
		if n != h {
			l = append(l, n)
		}
	}
	w.rng.Shuffle(len(l), func(i, j int) { l[i], l[j] = l[j], l[i] })
	return l
}

func (w *World) standbyTrouble(n *node, i int) {
	how := w.rng.IntN(5)
	if i > 0 && how == 4 {
		how = 3 // etcd keeps its quorum
	}
	w.fault("trouble %d on %s, a standby", how, n.id)
	switch how {
	case 0:
		n.restart(w.between(50*ms, 2*sec))
	case 1:
		n.kill("SIGKILL")
		w.after(w.between(0, 2*sec), n.start)
	case 2:
		n.step(election.Stop{})
		w.after(w.between(2*sec, 3*sec), n.start) // it has ended by then
	case 3:
		n.frozen = true
		w.after(w.between(20*ms, 5*sec), n.thaw)
	case 4:
		n.powerOff()
		w.tellEtcd()
		w.after(w.between(sec, 6*sec), n.powerOn)
	}
}

// comesBack: once all is well again, there are heartbeats again.
func (w *World) comesBack() {
	if len(w.bad) > 0 {
		return
	}
	for end := w.now + 25*sec; w.now < end; w.run(w.now + 200*ms) {
		if w.inEpoch() {
			return
		}
	}
	w.violate("P2: no heartbeats any more, though nothing goes wrong")
}

// Nor does what happens to etcd, for as long as heartbeats flow.
func runBeatsEtcd(w *World) {
	w.settled = true
	if w.awaitEpoch(firstPromise) == nil {
		return
	}
	s := &w.etcd
	switch w.rng.IntN(4) {
	case 0:
		d := w.between(950*ms, 2200*ms)
		w.fault("etcd has no leader for %v", d)
		s.leaderless = true
		w.after(d, func() { s.leaderless = false })
	case 1:
		w.fault("etcd stalls for 5 s")
		s.leaderless = true
		w.after(5*sec, func() { s.leaderless = false })
	case 2:
		s.slow = w.between(200*ms, 2*sec)
		w.fault("every transaction takes %v longer", s.slow)
		w.after(8*sec, func() { s.slow = 0 })
	case 3: // less than the record's hold, by the time between two renewals and the one under way
		d := w.between(sec, 8*sec)
		w.fault("etcd has no quorum for %v", d)
		s.down = true
		w.tellEtcd()
		w.after(d, func() { s.down = false; w.tellEtcd() })
	}
	w.keeps(14*sec, "trouble of etcd")
}

// A port that is blocked, or a daemon less, costs speed and nothing else.
func runBeatsBlocked(w *World) {
	w.settled = true
	h := w.awaitEpoch(firstPromise)
	if h == nil {
		return
	}
	n := h
	if len(w.nodes) == 3 && w.chance(0.5) {
		n = w.others(h)[0]
	}
	if n != h && w.chance(0.4) {
		w.fault("daemon of %s is stopped", n.id)
		n.step(election.Stop{})
	} else {
		n.shutIn = w.chance(0.5)
		n.shutOut = !n.shutIn || w.chance(0.5)
		w.fault("%s: datagrams blocked, in: %v, out: %v", n.id, n.shutIn, n.shutOut)
	}
	w.keeps(6*sec, "a peer less")
	if w.inEpoch() {
		w.violate("P2: still an epoch, though %s does not answer", n.id)
	}
	w.fault("%s loses power", h.id)
	h.powerOff()
	w.tellEtcd()
	w.expectHolder(crashBudget(w), h)
}

// A holder whose daemon is restarted keeps the address.
func runBeatsRestart(w *World) {
	w.settled = true
	h := w.awaitEpoch(firstPromise)
	if h == nil {
		return
	}
	w.fault("daemon of %s is restarted", h.id)
	h.restart(w.between(50*ms, sec))
	w.keeps(8*sec, "a restart of its daemon")
	w.comesBack()
}

// One that is killed and back within the promise keeps it too, and its epoch, though
// it may be killed once more meanwhile.
func runBeatsKilled(w *World) {
	w.settled = true
	h := w.awaitEpoch(firstPromise)
	if h == nil {
		return
	}
	epoch := w.stats.Epochs
	part := func(most float64) time.Duration { return w.between(0, time.Duration(most*float64(h.detect.Hold))) }
	w.fault("daemon of %s is killed and started again", h.id)
	h.kill("SIGKILL")
	again := part(0.25)
	w.after(again, h.start)
	if w.chance(0.5) {
		life := min(part(0.12), 40*ms)
		w.fault("and killed after %v", life)
		w.after(again+life, func() { h.kill("SIGKILL") })
		w.after(again+life+part(0.15), h.start)
	}
	w.keeps(h.detect.Hold+300*ms, "a kill of its daemon")
	if w.stats.Epochs != epoch || !w.inEpoch() {
		w.violate("P3: the epoch ended by a kill of its daemon")
	}
	w.keeps(8*sec, "the time after a kill of its daemon")
}

func runBeatsHandover(w *World) {
	w.settled = true
	if h := w.awaitEpoch(firstPromise); h != nil {
		w.handsOver(h)
		h.start() // if it was stopped
		w.comesBack()
	}
}

// Members come and go while nothing else does.
func runBeatsMembers(w *World) {
	w.settled = true
	h := w.awaitEpoch(firstPromise)
	if h == nil {
		return
	}
	for _, n := range w.others(h)[:1+w.rng.IntN(2)] {
		at := w.between(0, 4*sec)
		w.after(at, func() { w.shrink(n) })
		if w.chance(0.7) {
			w.after(at+w.between(sec, 5*sec), func() { w.grow(n) })
		}
	}
	w.keeps(12*sec, "changes of etcd's members")
	if len(w.cell) >= election.MinMembers {
		w.comesBack()
	}
}

// runBeatsIdle: an epoch in which nothing happens costs next to nothing.
func runBeatsIdle(w *World) {
	w.settled = true
	if w.awaitEpoch(firstPromise) == nil {
		return
	}
	w.run(w.now + 2*sec)
	writes, epochs := w.stats.Writes, w.stats.Epochs
	w.keeps(20*sec, "a time in which nothing happened")
	if n := w.stats.Writes - writes; n > 10 {
		w.violate("P3: %d writes within 20 s in which nothing happened", n)
	}
	if w.stats.Epochs != epochs {
		w.violate("P3: an epoch ended though nothing happened")
	}
}
