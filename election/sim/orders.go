package sim

import "havip/election"

// A successor may be told to leave when it has just been chosen: the record must
// not name a process that is gone, or everybody waits it out.
func runHandoverMeetsStop(w *World) {
	w.settled = true
	h := w.awaitHolder(12 * sec)
	if h == nil {
		return
	}
	w.fault("handover from %s by command", h.id)
	h.step(election.HandOver{Token: 1})
	next := w.nodes[0] // equals rank by name
	if next == h {
		next = w.nodes[1]
	}
	w.after(w.between(0, 25*ms), func() {
		switch w.rng.IntN(4) {
		case 0:
			w.fault("daemon of %s is stopped", next.id)
			next.step(election.Stop{})
		case 1:
			w.fault("daemon of %s is restarted", next.id)
			next.restart(w.between(50*ms, 500*ms))
		case 2:
			w.fault("%s is drained", next.id)
			next.drained = true
			next.step(election.SetDrained{Token: 2, On: true})
		case 3:
			w.fault("%s shuts down", next.id)
			next.step(election.Shutdown{Token: 2, On: true})
		}
	})
	spans := len(w.held)
	w.run(w.now + 6*sec)
	for i := spans; i < len(w.held); i++ {
		if gap := w.held[i].from - w.held[i-1].to; gap > 150*ms {
			w.violate("P2: nobody held the address for %v", gap)
		}
	}
	if len(w.holders()) != 1 {
		w.violate("P2: nobody holds the address after a handover")
	}
}

// What people and supervisors order does not cost the address as long as one
// node that could take it is left alone, however fast one order follows the other.
func runOrders(w *World) {
	w.settled = true
	h := w.awaitHolder(12 * sec)
	if h == nil {
		return
	}
	spare := w.nodes[len(w.nodes)-1]
	if spare == h {
		spare = w.nodes[0]
	}
	for range 2 + w.rng.IntN(4) {
		n := w.pick()
		if w.chance(0.5) {
			n = h
		}
		if n == spare {
			continue
		}
		w.after(w.between(0, 1500*ms), func() { w.order(n) })
	}
	spans := len(w.held)
	w.run(w.now + 9*sec)
	for i := spans; i < len(w.held); i++ {
		if gap := w.held[i].from - w.held[i-1].to; gap > 150*ms {
			w.violate("P2: nobody held the address for %v", gap)
		}
	}
	if len(w.holders()) != 1 {
		w.violate("P2: nobody holds the address after all that was ordered")
	}
}

// order is one command to one daemon.
func (w *World) order(n *node) {
	if !n.alive {
		return
	}
	switch w.rng.IntN(8) {
	case 0, 1:
		if w.chance(0.3) {
			n.setTiming(otherTiming(w.rng))
		}
		w.fault("daemon of %s is restarted", n.id)
		n.restart(w.between(50*ms, 500*ms))
	case 2:
		w.fault("daemon of %s is stopped", n.id)
		n.step(election.Stop{})
		w.after(w.between(100*ms, 3*sec), n.start)
	case 3:
		on := w.rng.IntN(2) == 0
		w.fault("%s shuts down: %v", n.id, on)
		n.step(election.Shutdown{Token: 1, On: on})
	case 4:
		n.drained = !n.drained
		w.fault("%s is drained: %v", n.id, n.drained)
		n.step(election.SetDrained{Token: 1, On: n.drained})
	case 5:
		w.fault("handover from %s by command", n.id)
		n.step(election.HandOver{Token: 1})
	case 6:
		n.setTiming(otherTiming(w.rng))
		w.fault("%s: hold is now %v", n.id, n.timing.Hold)
		n.step(election.Retime{Timing: n.timing, Detection: n.detect})
	case 7:
		w.fault("API server of %s healthy: %v", n.id, !n.healthy)
		n.healthy = !n.healthy
		n.step(election.Health{OK: n.healthy, Reason: n.healthReason()})
	}
}
