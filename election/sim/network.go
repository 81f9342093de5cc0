package sim

import (
	"time"

	"havip/election"
)

// socketBuffer is how many datagrams wait for a daemon that does not read.
const socketBuffer = 200

// wall loses datagrams from one node to another, while etcd finds other ways.
type wall struct{ from, to *node }

// datagram carries a message to the machine on which the member is, or was: an
// address outlives what is installed behind it.
func (w *World) datagram(from *node, a election.Send) {
	w.stats.Datagrams++
	to := w.homes[a.To]
	if to == nil || to == from || !from.sends() {
		return
	}
	w.carry(from, to, a.Message)
	if !w.settled && w.chance(0.02) {
		w.carry(from, to, a.Message)
	}
	if w.echo > 0 {
		w.after(w.between(0, w.echo), func() { w.carry(from, to, a.Message) })
	}
}

func (w *World) carry(from, to *node, m election.Message) {
	if w.loses(from, to) || w.walls[wall{from, to}] {
		return
	}
	gen := to.gen
	w.after(max(w.flight(), to.hungUntil-w.now), func() {
		if !to.alive || !to.receives() || w.walls[wall{from, to}] {
			return
		}
		if to.gen != gen {
			w.stats.LateDatagrams++
		}
		if !to.frozen {
			to.step(election.Heard{Message: m})
			return
		}
		if len(to.socket) < socketBuffer {
			to.socket = append(to.socket, m)
		}
	})
}

// loses: where little goes wrong, two that follow each other are not lost between the
// same nodes. That would be trouble of its own, in which a fast epoch ends.
func (w *World) loses(a, b *node) bool {
	if !w.settled {
		return w.chance(max(w.lossy, 0.02))
	}
	if w.echo > 0 || !w.chance(0.0003) {
		return false // what is lost and comes again is late, and may be the last beat
	}
	if b.id < a.id {
		a, b = b, a
	}
	last, before := w.lost[wall{a, b}]
	if before && w.now < last+sec {
		return false
	}
	w.lost[wall{a, b}] = w.now
	return true
}

// flight is how long a datagram is under way.
func (w *World) flight() time.Duration {
	switch {
	case w.settled || !w.chance(0.04):
		return w.between(ms/10, ms)
	case w.chance(0.15):
		return w.between(sec, 6*sec)
	default:
		return w.between(5*ms, 300*ms)
	}
}

// sends and receives: do datagrams leave this node, do they reach it?
func (n *node) sends() bool    { return n.powered && !n.cut && !n.mute && !n.shutOut }
func (n *node) receives() bool { return n.powered && !n.cut && !n.deaf && !n.shutIn }

// waiting is what a process finds when it runs again: what its goroutines had
// for the machine, and what its socket kept, in no order between them.
func (n *node) waiting() []election.Event {
	events, socket := n.inbox, n.socket
	n.inbox, n.socket = nil, nil
	if len(socket) == 0 {
		return events
	}
	var all []election.Event
	for len(events)+len(socket) > 0 {
		if len(socket) == 0 || len(events) > 0 && n.w.chance(0.5) {
			all, events = append(all, events[0]), events[1:]
		} else {
			all, socket = append(all, election.Heard{Message: socket[0]}), socket[1:]
		}
	}
	return all
}
