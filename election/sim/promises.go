package sim

import (
	"time"

	"havip/election"
)

// budget for a crash: the takeover from the last renewal seen, a read and a
// transaction, the ranks before this one, timers, and the address itself.
func crashBudget(w *World) time.Duration {
	return w.longestTakeover()*101/100 + 600*ms
}

func runCrash(w *World) {
	w.settled = true
	h := w.awaitHolder(12 * sec)
	if h == nil {
		return
	}
	w.fault("%s loses power", h.id)
	h.powerOff()
	w.stall(h)
	w.expectHolder(crashBudget(w), h)
}

// stall lets etcd elect a leader, if the dead node had it.
func (w *World) stall(h *node) {
	w.tellEtcd()
	if w.chance(0.4) {
		w.etcd.leaderless = true
		w.fault("and it had etcd's leader")
		w.after(w.between(950*ms, 2200*ms), func() { w.etcd.leaderless = false })
	}
}

// expectHolder checks P2: within the budget somebody else holds the address.
func (w *World) expectHolder(budget time.Duration, dead *node) {
	start := w.now
	for w.now < start+budget {
		w.run(w.now + 10*ms)
		if h := w.holders(); len(h) == 1 && h[0] != dead {
			w.run(w.now + 3*sec)
			if len(w.holders()) != 1 {
				w.violate("P3: the new holder did not keep the address")
			}
			return
		}
	}
	w.violate("P2: nobody took over within %v", budget)
}

// A watch that died without a word may cost half a takeover more, not a whole one.
func runCrashDeadWatch(w *World) {
	w.settled = true
	h := w.awaitHolder(12 * sec)
	if h == nil {
		return
	}
	w.fault("all watches die silently")
	for _, n := range w.nodes {
		n.silent, n.watching = true, false
	}
	w.run(w.now + w.between(0, 12*sec))
	if l := w.holders(); len(l) != 1 || l[0] != h {
		w.violate("P3: %s lost the address to a dead watch", h.id)
		return
	}
	w.fault("%s loses power", h.id)
	h.powerOff()
	w.tellEtcd()
	w.expectHolder(crashBudget(w)+w.longestTakeover()/2, h)
}

// keeps checks P3: the holder keeps the address without a gap while do goes on.
func (w *World) keeps(d time.Duration, what string) {
	if len(w.holders()) != 1 {
		return
	}
	h := w.holders()[0]
	spans := len(w.held)
	w.run(w.now + d)
	if l := w.holders(); len(l) != 1 || l[0] != h || len(w.held) != spans {
		w.violate("P3: %s did not keep the address through %s", h.name, what)
	}
}

func runLeaderChange(w *World) {
	w.settled = true
	if w.awaitHolder(12*sec) == nil {
		return
	}
	w.run(w.now + w.between(0, sec))
	w.etcd.leaderless = true
	stall := w.between(950*ms, 2200*ms)
	w.fault("etcd has no leader for %v", stall)
	w.after(stall, func() { w.etcd.leaderless = false })
	w.keeps(8*sec, "a leader change of etcd")
}

func runSlowEtcd(w *World) {
	w.settled = true
	if w.awaitHolder(12*sec) == nil {
		return
	}
	w.etcd.slow = w.between(200*ms, 900*ms)
	w.fault("every transaction takes %v longer", w.etcd.slow)
	w.keeps(10*sec, "slow renewals")
}

// A process that is back before its deadline keeps the address where it is.
func runRestart(w *World) {
	w.settled = true
	h := w.awaitHolder(12 * sec)
	if h == nil {
		return
	}
	if w.chance(0.3) {
		h.setTiming(otherTiming(w.rng))
	}
	if d := w.between(50*ms, 1000*ms); w.chance(0.5) {
		w.fault("daemon of %s is restarted", h.id)
		h.restart(d)
	} else {
		w.fault("daemon of %s is killed and started again", h.id)
		h.kill("SIGKILL")
		w.after(d, h.start)
	}
	w.stats.Adoptions++
	w.keeps(8*sec, "a restart of its daemon")
}

// runRetimed changes a holder's times again and again and takes it away at any
// moment: what is on the link by then was chosen under the times of before.
func runRetimed(w *World) {
	w.settled = true
	h := w.awaitHolder(12 * sec)
	if h == nil {
		return
	}
	w.settled = false
	for range 4 + w.rng.IntN(8) {
		w.after(w.between(0, 6*sec), func() { w.retime(h) })
	}
	ends := []func(*node){w.freeze, w.crashProcess, w.losePower, w.cutNode}
	w.after(w.between(0, 7*sec), func() { ends[w.rng.IntN(len(ends))](h) })
	w.run(w.now + 15*sec)
	w.recover()
}

// A request that reaches etcd twice is refused the second time, by its own value.
func runTwice(w *World) {
	w.settled = true
	if w.awaitHolder(12*sec) == nil {
		return
	}
	w.twice = 0.3
	w.fault("requests are applied twice")
	w.keeps(10*sec, "requests that are applied twice")
}

// A holder that cannot set the address is no holder: somebody else must serve.
func runCannotSet(w *World) {
	w.settled = true
	h := w.awaitHolder(12 * sec)
	if h == nil {
		return
	}
	w.fault("%s cannot set the address any more", h.id)
	h.failSet = true
	h.deleteAddress()
	w.run(w.now + w.longestTakeover() + 6*sec)
	if l := w.holders(); len(l) != 1 || l[0] == h {
		w.violate("P4: %s cannot set the address and does not let go of the record", h.id)
	}
}

// A snapshot in which the record is free, or of a term that its holder gave up,
// says nothing of who serves now. Being waited out by everybody, it does no harm
// even if etcd was away for less than a takeover.
func runGivenUp(w *World) {
	w.settled = true
	h := w.awaitHolder(12 * sec)
	if h == nil {
		return
	}
	w.settled = false
	w.fault("%s is told to release", h.id)
	h.step(election.Release{Token: 1})
	w.run(w.now + w.between(sec, 2*sec))
	back := ""
	for i, v := range w.etcd.history {
		if r, err := election.DecodeRecord(v); err == nil && r.Free() {
			back = v
			if w.chance(0.5) {
				back = w.etcd.history[i-1] // the last one of the term that was given up
			}
		}
	}
	if back == "" {
		return
	}
	for _, n := range w.holders() {
		if w.chance(0.5) {
			w.cutNode(n)
		} else {
			w.freeze(n)
		}
	}
	down := w.between(2600*ms, 3500*ms) // longer than any watch event is late
	w.fault("etcd: down for %v, then a snapshot of a term that was given up", down)
	w.restoreTo(back, down)
	w.run(w.now + 8*sec)
	w.recover()
}

func runStandby(w *World) {
	w.settled = true
	h := w.awaitHolder(12 * sec)
	if h == nil {
		return
	}
	for _, n := range w.nodes {
		if n == h {
			continue
		}
		w.after(w.between(0, 4*sec), func() {
			w.fault("trouble on %s, a standby", n.id)
			switch w.rng.IntN(3) {
			case 0:
				n.kill("SIGKILL")
				w.after(w.between(0, 3*sec), n.start)
			case 1:
				n.healthy = false
				n.step(election.Health{Reason: "no answer in 1 s"})
			case 2:
				n.frozen = true
				w.after(w.between(0, 8*sec), n.thaw)
			}
		})
	}
	w.keeps(12*sec, "trouble on the standbys")
}

func runHandover(w *World) {
	w.settled = true
	if h := w.awaitHolder(12 * sec); h != nil {
		w.handsOver(h)
	}
}

// handsOver gives the address to another node, for one reason or the other.
func (w *World) handsOver(h *node) {
	how := w.rng.IntN(5)
	switch how {
	case 0:
		w.fault("handover from %s by command", h.id)
		h.step(election.HandOver{Token: 1})
	case 1:
		w.fault("%s is drained", h.id)
		h.drained = true
		h.step(election.SetDrained{Token: 1, On: true})
	case 2:
		w.fault("daemon of %s is stopped", h.id)
		h.step(election.Stop{})
	case 3:
		w.fault("API server of %s fails", h.id)
		h.healthy = false
		h.step(election.Health{Reason: "no answer in 1 s"})
	case 4:
		w.fault("%s shuts down", h.id)
		h.step(election.Shutdown{Token: 1, On: true})
	}
	start := w.now
	for w.now < start+sec {
		w.run(w.now + 5*ms)
		if l := w.holders(); len(l) == 1 && l[0] != h {
			if gap := w.gap(); gap > 60*ms {
				w.violate("P2: nobody held the address for %v in a planned handover", gap)
			}
			w.keeps(6*sec, "the time after a handover")
			return
		}
	}
	w.violate("P2: nobody took over within 1 s of a planned handover")
}

// gap is how long nobody had the address before the present holder.
func (w *World) gap() time.Duration {
	if len(w.held) < 2 {
		return 0
	}
	return w.held[len(w.held)-1].from - w.held[len(w.held)-2].to
}
