package sim

import (
	"time"

	"havip/election"
)

// fence is what the kernel of a node has of it. It outlives the process, not
// the boot, and the deadline outlives the link.
type fence struct {
	impossible bool          // this kernel has none
	busy       time.Duration // until when it cannot be attached, or others run before it
	counted    bool          // a set call that is under way may count on it
	made       bool          // there are programs and their deadline
	off        bool          // the process was started without heartbeats: it only takes the fence away
	attached   bool
	until      election.Instant
	alarm      time.Duration // when the next look at it is due; 0: none is
}

// open: does the kernel let the address's packets pass?
func (n *node) open() bool { return !n.fence.attached || n.boot() < n.fence.until }

// answers: would a client that asks for the address reach this node? This is
// what no two nodes may do at once.
func (n *node) answers() bool { return n.kernel.present && n.open() }

// changed looks whether the node has come to answer, or does no more, and says how.
func (n *node) changed(came, went string) {
	switch is := n.answers(); {
	case is == n.answering:
	case is:
		n.answering = true
		n.w.addressCame(n, came)
	default:
		n.answering = false
		n.w.addressWent(n, went)
	}
}

// openFence is what a process does with it when it starts, and returns the deadline
// that it finds. A fresh one is open as long as the process before had the right.
func (n *node) openFence() election.Instant {
	f := &n.fence
	if f.off = !n.detect.On(); f.off || f.impossible || !n.w.beats {
		return 0
	}
	if !f.made {
		f.made, f.until = true, n.boot()
		if s := n.run; s != nil && !s.GivenAway {
			f.until = max(f.until, s.Right, s.Claim)
		}
	}
	return f.until
}

// tendFence is what a daemon does after each step: what is over does not get older.
func (n *node) tendFence() {
	if f := &n.fence; f.made && !f.off {
		f.until = max(f.until, n.boot())
	}
}

// setFence writes the deadline into the map that the kernel looks at.
func (n *node) setFence(until election.Instant) {
	if !n.fence.made || n.fence.off {
		return
	}
	n.fence.until = max(until, n.boot())
	n.changed("open", "closed")
	n.watchFence()
}

// watchFence notices the instant at which the fence closes.
func (n *node) watchFence() {
	f, w := &n.fence, n.w
	at := max(n.realAt(f.until), w.now) + 1
	if !f.attached || !n.open() || (f.alarm != 0 && f.alarm <= at) {
		return
	}
	f.alarm = at
	w.after(at-w.now, func() {
		if f.alarm != at {
			return
		}
		f.alarm = 0
		if n.answering && !n.open() && n.frozen {
			w.stats.Fenced++
		}
		n.changed("", "closed by the fence")
		n.watchFence()
	})
}

// attachFence is what a daemon does when it starts, and when its link comes back.
func (n *node) attachFence() {
	if !n.w.beats {
		return
	}
	gen := n.gen
	if n.fence.impossible {
		n.deliver(gen, election.Fence{Reason: "this kernel has none"})
		return
	}
	d := n.w.between(0, 20*ms)
	if n.fence.off {
		n.w.after(d, func() {
			n.userspace(gen, func() {
				if !n.kernel.present {
					n.liftFence()
				}
			})
		})
		return
	}
	if !n.w.settled && n.w.chance(0.1) {
		n.fence.busy = max(n.fence.busy, n.w.now+n.w.between(100*ms, 5*sec))
	}
	if n.w.now < n.fence.busy {
		n.deliver(gen, election.Fence{Reason: "the link is busy"})
		d = n.fence.busy - n.w.now
	}
	n.w.after(d, func() {
		n.userspace(gen, func() {
			if n.noLink {
				return // tried again when there is one
			}
			if n.w.now < n.fence.busy {
				n.attachFence()
				return
			}
			n.fenced()
		})
	})
}

// fenced: it is attached, before all others.
func (n *node) fenced() {
	n.fence.attached, n.fence.counted = true, true
	n.changed("", "fenced")
	n.watchFence()
	n.step(election.Fence{OK: true})
}

// beforeSet is what a daemon does about it before it sets the address, and reports
// whether it may: what counts on a fence is not set without one.
func (n *node) beforeSet() bool {
	f := &n.fence
	switch {
	case f.off:
		n.liftFence()
	case !n.w.beats || f.impossible:
	case n.w.now >= f.busy:
		if !f.counted {
			n.fenced()
		}
	case f.counted:
		f.counted = false
		n.step(election.Fence{Reason: "the link is busy"})
		return false
	default:
		f.attached = false
		n.changed("unfenced", "")
	}
	return true
}

// passFence is another program that comes before the fence, until it is noticed.
func (w *World) passFence(n *node) {
	d := w.between(100*ms, 4*sec)
	w.fault("%s: the fence cannot be attached for %v", n.id, d)
	n.fence.busy = w.now + d
	if w.chance(0.3) {
		n.attachFence() // something else has it looked at; the next set call does in any case
	}
}

// dropFence is what becomes of it when its link goes away.
func (n *node) dropFence() {
	if !n.w.beats {
		return
	}
	n.fence.attached = false
	if !n.fence.off {
		n.deliver(n.gen, election.Fence{Reason: "no such link"})
	}
}

// liftFence is for a process without heartbeats: what it sets must answer.
func (n *node) liftFence() {
	n.fence.attached, n.fence.made = false, false
	n.changed("unfenced", "")
}
