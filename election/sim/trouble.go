package sim

import (
	"fmt"
	"time"

	"havip/election"
)

// cutOneWay loses what goes in one direction only.
func (w *World) cutOneWay(n *node) {
	d := w.between(100*ms, 8*sec)
	n.deaf = w.chance(0.5)
	n.mute = !n.deaf
	w.fault("%s: deaf: %v, mute: %v, for %v", n.id, n.deaf, n.mute, d)
	w.tellEtcd()
	w.after(d, func() { n.deaf, n.mute = false, false; w.tellEtcd() })
}

// stopAll stops several daemons within moments, as a careless upgrade does.
func (w *World) stopAll(*node) {
	for _, n := range w.nodes {
		if w.chance(0.7) {
			w.after(w.between(0, 300*ms), func() { w.stop(n) })
		}
	}
}

// restart is a supervisor's, in time or not.
func (w *World) restart(n *node) {
	d := w.between(50*ms, 5*sec)
	w.fault("%s: daemon restarted, %v later the next one runs", n.id, d)
	if w.chance(0.3) {
		n.setTiming(otherTiming(w.rng))
		w.mixed = true
	}
	n.restart(d)
}

// goDown tells a daemon that its node shuts down, and often the node does.
func (w *World) goDown(n *node) {
	w.fault("%s: the node shuts down", n.id)
	n.step(election.Shutdown{Token: 12, On: true})
	d := w.between(0, 3*sec)
	if w.chance(0.3) {
		w.after(d, func() { n.step(election.Shutdown{Token: 13}) })
		return
	}
	w.after(d, func() { n.step(election.Stop{}) })
	w.after(d+w.between(10*ms, 2*sec), n.powerOff)
	w.after(d+w.between(3*sec, 8*sec), n.powerOn)
}

func (w *World) forceRelease(n *node) {
	w.fault("%s: release by force", n.id)
	n.step(election.Release{Token: 10, Force: true})
}

// loseLink takes the link away, and with it every address on it.
func (w *World) loseLink(n *node) {
	d := w.between(100*ms, 5*sec)
	w.fault("%s: link removed for %v", n.id, d)
	n.noLink = true
	n.deleteAddress()
	n.dropFence()
	n.step(n.linkState())
	w.after(d, func() { n.noLink = false; n.attachFence(); n.step(n.linkState()) })
}

// retime is a changed config, read by a running daemon.
func (w *World) retime(n *node) {
	w.mixed = true
	for range 1 + w.rng.IntN(2) {
		w.after(w.between(0, 300*ms), func() {
			n.setTiming(otherTiming(w.rng))
			w.fault("%s: hold is now %v", n.id, n.timing.Hold)
			n.step(election.Retime{Timing: n.timing, Detection: n.detect})
		})
	}
}

// scribble puts nonsense into the record, which an operator releases later.
func (w *World) scribble(*node) {
	w.waited = true
	w.seq++
	nonsense := []string{
		`{"schema":9,"mode":"plain","id":"x-%d","hold_ms":3000,"takeover_ms":4500}`,
		`{"schema":1,"mode":"plain","id":"x-%d","hold_ms":3000,"takeover_ms":90000}`,
		`{"schema":1,"mode":"plain","id":"x-%d","node":"n1","hold_ms":5000,"takeover_ms":4500}`,
		`{"schema":1,"mode":"other","id":"x-%d","hold_ms":3000,"takeover_ms":4500}`,
		`hello %d`,
	}
	w.fault("somebody writes nonsense into the record")
	w.etcd.put(fmt.Sprintf(nonsense[w.rng.IntN(len(nonsense))], w.seq))
	wait := w.between(0, 4*sec)
	if w.chance(0.5) { // before a holder that is frozen can notice
		wait = w.between(0, 300*ms)
		for _, n := range w.holders() {
			w.freeze(n)
		}
	}
	w.after(wait, w.operator)
}

// operator releases an implausible record, again until it is gone.
func (w *World) operator() {
	if _, err := election.DecodeRecord(w.etcd.value); err == nil || w.etcd.value == "" {
		return
	}
	if n := w.pick(); n.alive {
		w.fault("%s: release", n.id)
		n.step(election.Release{Token: 11})
	}
	w.after(w.between(500*ms, sec), w.operator)
}

// deleteRecord breaks the promise of one holder, but must not strand the address.
func (w *World) deleteRecord(*node) {
	w.fault("somebody deletes the record")
	w.lawless = w.now + 2*w.slowest
	w.etcd.put("")
}

func (w *World) refuseSet(n *node) {
	d := w.between(50*ms, 4*sec)
	w.fault("%s: set calls fail for %v", n.id, d)
	n.failSet = true
	w.after(d, func() { n.failSet = false })
}

func (w *World) refuseClear(n *node) {
	d := w.between(50*ms, 4*sec)
	w.fault("%s: clear calls fail for %v", n.id, d)
	n.failClear = true
	w.after(d, func() { n.failClear = false })
}

// refuseFind lets a daemon start without knowing what is on its link.
func (w *World) refuseFind(n *node) {
	w.fault("%s: the link cannot be read", n.id)
	n.failFind = true
	w.crashProcess(n)
	w.after(w.between(sec, 5*sec), func() { n.failFind = false })
}

// lateAndGone delays what etcd confirms to a node, and then stops it in its
// tracks: whoever counts from the reply believes in its right for too long.
func (w *World) lateAndGone(n *node) {
	n.slowReply = w.between(500*ms, 2500*ms)
	w.fault("%s: replies come %v late", n.id, n.slowReply)
	w.after(w.between(sec, 3*sec), func() {
		ends := []func(*node){w.cutNode, w.freeze, w.crashProcess}
		ends[w.rng.IntN(len(ends))](n)
		w.after(3*sec, func() { n.slowReply = 0 })
	})
}

func (w *World) failDisk(n *node) {
	d := w.between(50*ms, 4*sec)
	w.fault("%s: the disk fails or stalls for %v", n.id, d)
	if w.chance(0.5) {
		n.failSave = true
		w.after(d, func() { n.failSave = false })
		return
	}
	n.slowDisk = w.now + d
}

// deleteAndLeave lets a third party interfere just when the address is given away.
func (w *World) deleteAndLeave(n *node) {
	for range 6 {
		w.after(w.between(0, 1500*ms), func() { w.deletes(n) })
	}
	leaves := []func(*node){w.handOver, w.stop, w.drain, w.release}
	w.after(w.between(0, 1500*ms), func() { leaves[w.rng.IntN(len(leaves))](n) })
}

// twins gives two masters one name, as a careless copy of a config does.
func (w *World) twins() {
	w.nodes[1].name = w.nodes[0].name
	w.fault("%s and %s have one name", w.nodes[0].id, w.nodes[1].id)
}

// heal ends what a fault left on one node.
func (n *node) heal() {
	n.cut, n.deaf, n.mute, n.member, n.healthy, n.silent = false, false, false, true, true, false
	n.failSet, n.failClear, n.failFind, n.failSave, n.noLink = false, false, false, false, false
	n.slowDisk, n.slowReply, n.stalled, n.hungUntil = 0, 0, 0, 0
	n.shutIn, n.shutOut, n.fullDisk, n.fuse = false, false, false, fuse{}
	n.excuse(300 * ms)
}

// preempting lets priorities differ and matter.
func (w *World) preempting() {
	w.preempt = time.Duration(1+w.rng.IntN(3)) * sec
	for _, n := range w.nodes {
		n.prio = 100 + 10*w.rng.IntN(3)
	}
}
