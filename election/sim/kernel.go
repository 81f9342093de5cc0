package sim

import (
	"time"

	"havip/election"
)

// nextCall lets the one goroutine that calls the kernel take its next order.
func (n *node) nextCall() {
	if n.busy || len(n.queue) == 0 || !n.alive {
		return
	}
	a := n.queue[0]
	n.queue = n.queue[1:]
	n.busy = true
	gen := n.gen
	late := n.w.wake()
	if late > 5*ms {
		n.excuse(late)
	}
	n.w.after(late, func() { n.userspace(gen, func() { n.call(gen, a) }) })
}

// userspace runs do in the process of generation gen: not while it is frozen,
// and not if it is gone.
func (n *node) userspace(gen int, do func()) {
	switch {
	case !n.alive || n.gen != gen:
	case n.frozen:
		n.w.after(5*ms, func() { n.userspace(gen, do) })
	default:
		do()
	}
}

func (n *node) returned(gen int, ev election.Event) {
	n.userspace(gen, func() {
		n.busy = false
		n.step(ev)
		n.nextCall()
	})
}

func (n *node) call(gen int, a election.Action) {
	switch a := a.(type) {
	case election.SetAddress:
		n.callSet(gen, a)
	case election.ClearAddress:
		n.w.after(n.w.between(ms/5, 3*ms), func() {
			ok := !n.failClear
			if n.powered && (ok || n.w.chance(0.3)) {
				n.removed("cleared")
			}
			if !ok {
				n.excuse(100 * ms)
			}
			n.w.after(n.w.between(0, ms), func() {
				n.returned(gen, election.AddressCleared{Seq: a.Seq, OK: ok, Reason: "operation not permitted"})
			})
		})
	case election.FindAddress:
		until := election.Instant(0)
		if n.kernel.present {
			until = n.boot() + time.Duration(float64(n.kernel.until-n.w.now)*n.rate) + sec
		}
		found := election.AddressFound{Present: n.kernel.present, Until: until}
		if n.failFind {
			found = election.AddressFound{Present: true, Until: 1 << 62}
		}
		n.returned(gen, found)
	}
}

// callSet is vip.Set: check the clock, arm the timer that kills a process frozen
// from here on, call the kernel, look at the clock again.
func (n *node) callSet(gen int, a election.SetAddress) {
	w := n.w
	before := n.boot()
	if before >= a.Latest {
		n.returned(gen, election.AddressSet{Seq: a.Seq, Before: before, After: before, Untouched: true, Reason: "too late"})
		return
	}
	if n.noLink {
		n.returned(gen, election.AddressSet{Seq: a.Seq, Before: before, After: before, Untouched: true, Reason: "no such link"})
		return
	}
	if !n.beforeSet() {
		n.returned(gen, election.AddressSet{Seq: a.Seq, Before: before, After: before, Untouched: true, Reason: "no fence"})
		return
	}
	finished := false
	w.after(n.realAt(a.Latest)-w.now+w.between(0, 20*ms), func() {
		if !finished && n.alive && n.gen == gen {
			w.stats.Killed++
			n.kill("frozen in a set call")
			n.restartLater()
		}
	})
	gap := w.between(0, ms/5)
	if !w.settled && w.chance(0.005) {
		gap = w.between(ms, 200*ms)
		n.excuse(gap)
		if w.chance(0.3) {
			w.freeze(n) // between the look at the clock and the call
		}
	}
	w.after(gap, func() {
		n.userspace(gen, func() {
			// Inside the kernel now: it goes on whatever becomes of the process.
			w.after(w.between(ms/10, 5*ms), func() {
				if !n.powered {
					return
				}
				ok := !n.failSet && !n.noLink
				if !w.settled && w.chance(0.01) {
					n.deleteAddress()
				}
				if ok || !n.noLink && w.chance(0.5) {
					n.set(a.Lifetime)
				}
				n.userspaceDone(gen, func() {
					finished = true
					n.returned(gen, election.AddressSet{Seq: a.Seq, OK: ok, Before: before, After: n.boot(), Reason: "operation not permitted"})
				})
			})
		})
	})
}

func (n *node) userspaceDone(gen int, do func()) {
	n.w.after(n.w.between(0, ms/5), func() { n.userspace(gen, do) })
}

// set gives the address a lifetime, as RTM_NEWADDR with NLM_F_REPLACE does: a
// vanished one comes back.
func (n *node) set(life int) {
	w := n.w
	late := w.between(2*ms, 450*ms)
	if w.chance(0.2) {
		late = w.between(0, 1300*ms)
	}
	if w.chance(0.05) {
		late = -w.between(0, 20*ms)
	}
	d := time.Duration(float64(time.Duration(life)*sec)/n.rate) + late
	n.kernel.gen++
	gen := n.kernel.gen
	n.kernel.until = w.now + d
	if !n.kernel.present {
		n.kernel.present = true
		n.changed("on the link", "")
		n.appeared()
	}
	w.after(d, func() {
		if n.kernel.gen == gen {
			n.removed("its lifetime ran out")
			n.deliver(n.gen, election.AddressLost{})
		}
	})
}

func (n *node) removed(why string) {
	if !n.kernel.present {
		return
	}
	n.kernel.present = false
	n.kernel.gen++
	n.changed("", "gone ("+why+")")
}

// deleteAddress is what a third party does.
func (n *node) deleteAddress() {
	if n.kernel.present {
		n.removed("deleted by somebody")
		gen := n.gen
		d := n.w.between(0, 2*ms)
		if !n.w.settled && n.w.chance(0.3) {
			d = n.w.between(0, 30*ms) // it comes another way than what set calls return
		}
		n.w.after(d, func() { n.deliver(gen, election.AddressLost{}) })
	}
}

// appeared is the shell's watch on the link: an address that came while this
// node did not want it is told to the machine.
func (n *node) appeared() {
	gen := n.gen
	n.w.after(n.w.between(0, 2*ms), func() {
		n.userspace(gen, func() {
			if !n.m.Glance().Serving {
				n.step(election.AddressAppeared{Until: n.boot() + election.MaxTakeover})
			}
		})
	})
}

func (n *node) powerOff() {
	n.kill("power off")
	n.powered = false
	n.kernel.gen++
	n.kernel.present = false
	n.changed("", "gone (power off)")
	n.fence.attached, n.fence.made, n.fence.until = false, false, 0
}

func (n *node) powerOn() {
	if n.powered {
		return
	}
	n.powered = true
	n.booted = n.w.now
	n.run = nil
	n.w.after(n.w.between(500*ms, 3*sec), n.start)
	n.w.tellEtcd()
}

func (n *node) restartLater() {
	n.w.after(n.w.between(100*ms, 600*ms), n.start)
}

// tellEtcd lets every daemon learn of a change in its way to etcd, each in its time.
func (w *World) tellEtcd() {
	for _, n := range w.nodes {
		gen := n.gen
		w.after(w.between(200*ms, 1500*ms), func() {
			if n.gen == gen && n.alive {
				n.linkToEtcd()
			}
		})
	}
}
