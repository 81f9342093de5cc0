package sim

import (
	"fmt"
	"slices"
	"time"

	"havip/election"
)

// smallest is how far a cluster is shrunk.
const smallest = 2

// withMembers gives the first size nodes a member of etcd each.
func (w *World) withMembers(size int) {
	w.homes = map[string]*node{}
	w.walls = map[wall]bool{}
	w.cell = []*node{}
	for i, n := range w.nodes {
		n.member, n.memberID, n.known = i < size, "", election.Members{}
		if n.member {
			w.cell = append(w.cell, n)
			w.newMember(n)
		}
	}
	for _, n := range w.cell {
		n.known = w.membership(n)
	}
}

// newMember gives a node a member ID that nobody had before.
func (w *World) newMember(n *node) {
	w.membersMade++
	n.memberID = fmt.Sprintf("m%d", w.membersMade)
	w.homes[n.memberID] = n
}

// entered is what daemons hear of a member that has just joined.
func (w *World) entered(n *node) {
	if w.beats {
		w.newMember(n)
		w.tellMembers()
	}
}

func (w *World) membership(n *node) election.Members {
	m := election.Members{Self: n.memberID}
	for _, o := range w.cell {
		m.Voters = append(m.Voters, o.memberID)
	}
	return m
}

// tellMembers lets every daemon learn of the members, each in its time.
func (w *World) tellMembers() {
	for _, n := range w.nodes {
		d := w.between(10*ms, 800*ms)
		if !w.settled && w.chance(0.2) {
			d = w.between(sec, 12*sec)
		}
		n.learnMembers(d)
	}
}

// learnMembers asks etcd for its members, until it answers.
func (n *node) learnMembers(d time.Duration) {
	w, gen := n.w, n.gen
	w.after(d, func() {
		if !n.alive || n.gen != gen {
			return
		}
		if !n.connected() || w.etcd.leaderless {
			n.learnMembers(w.between(200*ms, sec))
			return
		}
		m := w.membership(n)
		at := max(n.lastMembers, w.now+w.wire()) // one question after the other
		n.lastMembers = at
		w.after(at-w.now, func() {
			if n.gen == gen {
				n.known = m // and on its disk
				n.deliver(gen, m)
			}
		})
	})
}

// recallMembers is what a daemon that starts knows from its disk.
func (n *node) recallMembers() {
	if !n.w.beats {
		return
	}
	if n.known.Self != "" {
		n.step(n.known)
	}
	n.learnMembers(n.w.between(5*ms, 300*ms))
}

// admits: can etcd change its membership now? It refuses what would cost it its
// quorum at once.
func (w *World) admits(size, up int) bool {
	return w.etcd.quorum() && !w.etcd.leaderless && 2*up > size
}

// running counts the members that see each other.
func (w *World) running() int {
	up := 0
	for _, n := range w.cell {
		if n.member && n.powered && !n.isolated() {
			up++
		}
	}
	return up
}

// grow lets a node's member join, with an ID that it never had.
func (w *World) grow(n *node) {
	if w.inCell(n) || !n.powered || n.isolated() || !w.admits(len(w.cell)+1, w.running()+1) {
		return
	}
	w.cell = append(slices.Clone(w.cell), n)
	n.member = true
	w.newMember(n)
	w.fault("%s joins etcd as %s", n.id, n.memberID)
	w.memberChange()
	n.rewatch(w.between(10*ms, 300*ms))
}

// shrink removes a node's member, wherever the node is and whatever it knows.
func (w *World) shrink(n *node) {
	up := w.running()
	if n.member && n.powered && !n.isolated() {
		up--
	}
	if !w.inCell(n) || len(w.cell) <= smallest || !w.admits(len(w.cell)-1, up) {
		return
	}
	w.cell = slices.DeleteFunc(slices.Clone(w.cell), func(o *node) bool { return o == n })
	n.member = false
	w.fault("%s, %s, is removed from etcd", n.memberID, n.id)
	w.memberChange()
}

func (w *World) memberChange() {
	w.stats.Members++
	w.tellEtcd()
	w.tellMembers()
}

// anyJoins is for a schedule that wants the cluster to grow.
func (w *World) anyJoins(*node) {
	for _, n := range w.nodes {
		if !w.inCell(n) {
			w.grow(n)
			return
		}
	}
}

// replace removes a member and lets its node join again: in most cases as an
// empty machine, else with the daemon that has been there all the time.
func (w *World) replace(n *node) {
	was := w.inCell(n)
	w.shrink(n)
	if !was || w.inCell(n) {
		return
	}
	if w.chance(0.7) {
		w.after(w.between(0, 2*sec), func() {
			n.powerOff()
			n.known = election.Members{}
			w.tellEtcd()
			w.after(w.between(sec, 4*sec), n.powerOn)
		})
	}
	for _, d := range []time.Duration{w.between(sec, 8*sec), w.between(4*sec, 12*sec)} {
		w.after(d, func() { w.grow(n) })
	}
}
