package sim

import (
	"time"

	"havip/election"
)

// What the judge demands of every daemon, beside the promises.
const (
	// maxSteps and maxActions in one second of simulated time are beyond what
	// any storm of events needs: a daemon that exceeds them turns in a loop.
	maxActions = 100
	maxSends   = 600 // 20 beats a second to 6 others, their answers, and what a frozen one makes up for
	maxFences  = 250
	maxSteps   = 1500
	maxSets    = 25

	// lateClear is how long an address may stay on the link of a running daemon
	// that no longer serves it: clearAllowance of the election.
	lateClear = 100 * ms
	glance    = 25 * ms // between two looks
)

// activity counts what a daemon does in one second.
type activity struct {
	second         time.Duration
	actions, steps int
	sets           int // everybody on a node hears them
	sends, fences  int
	stale          time.Duration // since when the address is there without a right; 0: it is not
	excused        time.Duration // until when the model itself makes the daemon slow
}

// excuse takes a delay that the model caused from what the judge expects.
func (n *node) excuse(d time.Duration) {
	n.doing.excused = max(n.doing.excused, n.w.now+d)
}

// count notices a daemon that turns in a loop.
func (n *node) count(acts []election.Action) {
	a := &n.doing
	if s := n.w.now / sec; s != a.second {
		*a = activity{second: s, stale: a.stale, excused: a.excused}
	}
	a.steps++
	for _, act := range acts {
		switch act.(type) {
		case election.Send:
			a.sends++
			continue
		case election.SetFence:
			a.fences++
			continue
		case election.SetAddress:
			a.sets++
		}
		a.actions++
	}
	n.w.stats.Sets = max(n.w.stats.Sets, a.sets)
	n.w.stats.Busiest = max(n.w.stats.Busiest, a.actions)
	if a.actions > maxActions || a.steps > maxSteps || a.sets > maxSets || a.sends > maxSends || a.fences > maxFences {
		n.w.violate("P4: %s turns in a loop: %d actions, %d set calls, %d fences, %d messages and %d steps within a second, the last %+v", n.id, a.actions, a.sets, a.fences, a.sends, a.steps, acts)
		n.powerOff()
	}
}

// look checks again and again that no running daemon leaves the address on its
// link after the end of its right.
func (w *World) look() {
	for _, n := range w.nodes {
		a := &n.doing
		if !n.alive || n.frozen || !n.kernel.present {
			a.stale = 0
			continue
		}
		if v := n.m.Glance(); v.Serving && n.boot() < v.Right {
			a.stale = 0
			continue
		}
		if a.stale == 0 {
			a.stale = w.now
		}
		if w.now > max(a.stale, a.excused)+lateClear+glance {
			w.violate("P1: %s has no right, runs, and leaves the address on its link", n.id)
			a.excused = w.now + sec
		}
	}
	w.after(glance, w.look)
}

// judgeExit checks that an orderly end leaves the address on the link only by
// right, and only to a process that follows. The model's own delays are excused.
func (n *node) judgeExit() {
	if !n.kernel.present || n.busy || n.failClear || n.w.now <= n.doing.excused {
		return
	}
	if v := n.m.Glance(); n.again == 0 || !v.Serving || n.boot() >= v.Right {
		n.w.violate("P1: the daemon of %s ends and leaves the address without a right on the link", n.id)
	}
}

// orderly checks that no daemon is stuck halfway.
func (w *World) orderly() {
	for _, n := range w.nodes {
		if n.alive && n.role == election.Releasing {
			w.violate("P4: %s is still releasing in a quiet world", n.id)
		}
	}
}
