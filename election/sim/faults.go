package sim

import (
	"time"

	"havip/election"
)

// allFaults are what can go wrong; those that break most are there twice.
func (w *World) allFaults() []func(*node) {
	return []func(*node){
		w.crashProcess, w.crashProcess, w.freeze, w.freeze, w.losePower, w.cutNode, w.cutNode, w.cutOneWay, w.killMember,
		w.loseLeader, w.loseLeader, w.restore, w.silence, w.failHealth, w.handOver, w.handOver, w.drain, w.stop, w.stopAll, w.restart, w.restart, w.goDown,
		w.release, w.forceRelease, w.deletes, w.slow, w.overload, w.loseQuorum, w.failLink, w.loseLink, w.retime, w.scribble,
		w.deleteRecord, w.refuseSet, w.refuseClear, w.refuseFind, w.failDisk, w.deleteAndLeave, w.lateAndGone, w.lateAndGone,
	}
}

// someFaults picks the few kinds of trouble of one schedule: few at a time meet
// more often than all at once.
func (w *World) someFaults() []func(*node) {
	all := w.allFaults()
	if w.rng.IntN(3) == 0 {
		return all
	}
	w.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:2+w.rng.IntN(5)]
}

// randomFault lets one thing go wrong, and often heals it some time later.
func (w *World) randomFault(faults []func(*node)) {
	n := w.pick()
	if h := w.holders(); len(h) > 0 && w.chance(0.6) {
		n = h[0]
	}
	faults[w.rng.IntN(len(faults))](n)
}

func (w *World) crashProcess(n *node) {
	w.fault("%s: daemon killed", n.id)
	n.kill("SIGKILL")
	if w.chance(0.3) {
		n.setTiming(otherTiming(w.rng))
		w.mixed = true
	}
	if w.chance(0.8) {
		w.after(w.between(50*ms, 5*sec), n.start)
	}
}

func (w *World) freeze(n *node) {
	if !n.alive {
		return
	}
	d := w.between(50*ms, 9*sec)
	w.fault("%s: daemon frozen for %v", n.id, d)
	n.frozen = true
	w.after(d, n.thaw)
}

func (w *World) losePower(n *node) {
	w.fault("%s: power off", n.id)
	n.powerOff()
	w.tellEtcd()
	if w.chance(0.4) {
		w.after(w.between(sec, 6*sec), n.powerOn)
	}
}

func (w *World) cutNode(n *node) {
	d := w.between(100*ms, 8*sec)
	w.fault("%s: cut off for %v", n.id, d)
	n.cut = true
	w.tellEtcd()
	w.after(d, func() { n.cut = false; w.tellEtcd() })
}

func (w *World) killMember(n *node) {
	d := w.between(100*ms, 8*sec)
	w.fault("%s: etcd member gone for %v", n.id, d)
	n.member = false
	w.tellEtcd()
	w.after(d, func() { n.member = true; w.tellEtcd() })
}

func (w *World) loseLeader(*node) {
	d := w.between(300*ms, 2500*ms)
	w.fault("etcd: no leader for %v", d)
	w.etcd.leaderless = true
	w.after(d, func() { w.etcd.leaderless = false })
}

func (w *World) loseQuorum(*node) {
	d := w.between(500*ms, 7*sec)
	w.fault("etcd: no quorum for %v", d)
	w.etcd.down = true
	w.tellEtcd()
	w.after(d, func() { w.etcd.down = false; w.tellEtcd() })
}

// restore brings an older snapshot back, after the downtime that the promise
// asks for: longer than the longest takeover.
func (w *World) restore(*node) {
	h := w.etcd.history
	if len(h) == 0 || w.etcd.down {
		return
	}
	down := w.slowest*102/100 + w.between(200*ms, 2*sec)
	w.fault("etcd: down for %v, then an older snapshot", down)
	w.restoreTo(h[max(0, len(h)-1-w.rng.IntN(40))], down)
}

// restoreTo takes etcd away and brings it back with a value of its past.
func (w *World) restoreTo(back string, down time.Duration) {
	s := &w.etcd
	s.down = true
	s.epoch++
	w.tellEtcd()
	w.after(down, func() {
		if w.settled {
			return // it would have been down for too short a time
		}
		w.stats.Restored++
		s.value, s.down = back, false
		s.epoch++
		s.call, s.presence = election.Call{}, nil
		for _, n := range w.nodes {
			n.watching = false
			n.rewatch(w.between(10*ms, 700*ms))
			if n.alive && n.pub != nil {
				n.pubGen++
				n.publish(n.gen, n.pubGen)
			}
		}
		w.tellEtcd()
	})
}

func (w *World) silence(n *node) {
	d := w.between(500*ms, 8*sec)
	w.fault("%s: watch silent for %v", n.id, d)
	n.silent, n.watching = true, false
	w.after(d, func() {
		n.silent = false
		n.rewatch(w.between(0, 300*ms))
	})
}

func (w *World) failHealth(n *node) {
	n.healthy = !n.healthy
	w.fault("%s: API server healthy: %v", n.id, n.healthy)
	n.step(election.Health{OK: n.healthy, Reason: n.healthReason()})
}

func (w *World) failLink(n *node) {
	w.fault("%s: link down", n.id)
	n.step(election.Link{Present: !n.noLink, Reason: "no carrier"})
	w.after(w.between(100*ms, 5*sec), func() { n.step(n.linkState()) })
}

func (w *World) handOver(n *node) {
	w.fault("%s: handover", n.id)
	n.step(election.HandOver{Token: 7})
}

func (w *World) drain(n *node) {
	on := !n.drained
	w.fault("%s: drained: %v", n.id, on)
	n.drained = on
	n.step(election.SetDrained{Token: 8, On: on})
}

func (w *World) stop(n *node) {
	w.fault("%s: daemon stops", n.id)
	n.step(election.Stop{})
	w.after(w.between(500*ms, 8*sec), n.start)
}

func (w *World) release(n *node) {
	w.fault("%s: release", n.id)
	n.step(election.Release{Token: 9})
}

func (w *World) deletes(n *node) {
	w.fault("%s: somebody deletes the address", n.id)
	n.deleteAddress()
}

func (w *World) slow(*node) {
	d := w.between(100*ms, 1800*ms)
	w.fault("etcd: every call takes %v longer", d)
	w.etcd.slow = d
	w.after(w.between(sec, 6*sec), func() { w.etcd.slow = 0 })
}

// overload freezes a daemon again and again for short times, as a starved or
// swapping machine does.
func (w *World) overload(n *node) {
	w.fault("%s: starved", n.id)
	end := w.now + w.between(sec, 6*sec)
	var again func()
	again = func() {
		if w.now > end || w.settled {
			return
		}
		n.frozen = n.alive
		w.after(w.between(10*ms, 1200*ms), func() {
			n.thaw()
			w.after(w.between(time.Millisecond, 300*ms), again)
		})
	}
	again()
}
