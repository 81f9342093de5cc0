package sim

import (
	"slices"
	"time"

	"havip/election"
)

// store is etcd as its clients see it: one linearizable register that answers
// while there is a leader, a quorum, and a way to it.
type store struct {
	w          *World
	value      string
	history    []string
	leaderless bool
	down       bool // all of it, for a restore
	epoch      int  // a restore ends everything under way
	slow       time.Duration
	changed    time.Duration // when the value last did
	began      time.Duration // when the last epoch did
	presence   []present
	call       election.Call
}

// present is one process's leased key.
type present struct {
	id   string
	peer election.Peer
}

func (s *store) quorum() bool {
	up := 0
	for _, n := range s.w.nodes {
		if s.w.inCell(n) && n.member && n.powered && !n.isolated() {
			up++
		}
	}
	size := len(s.w.nodes)
	if s.w.cell != nil {
		size = len(s.w.cell)
	}
	return !s.down && 2*up > size
}

// reachable: can this node's requests commit now? Elsewhere allows other members.
func (s *store) reachable(n *node, elsewhere bool) bool {
	return n.powered && !n.cut && !n.mute && n.w.now >= n.stalled && (n.member && s.w.inCell(n) || elsewhere) && s.quorum() && !s.leaderless
}

func (s *store) apply(expect, value string) (election.Outcome, string) {
	if s.value != expect {
		return election.Refused, s.value
	}
	s.changes(value)
	s.history = append(s.history, s.value)
	s.value = value
	for _, n := range s.w.nodes {
		n.watchEvent(value)
	}
	return election.Committed, ""
}

// txn carries one transaction there and back.
func (s *store) txn(n *node, a election.Write) {
	w, gen, epoch := s.w, n.gen, s.epoch
	done := false
	reply := func(o election.Outcome, current string) {
		if done {
			return
		}
		done = true
		n.deliver(gen, election.Wrote{ID: a.ID, Outcome: o, Current: current})
	}
	w.stats.Writes++
	sent := w.now
	w.tellBeginning(n, a)
	w.after(a.Timeout, func() {
		if !done {
			w.stats.Unknown++
		}
		reply(election.Unknown, "")
	})
	if !n.member && !a.Elsewhere {
		w.after(w.between(ms, 3*ms), func() { reply(election.NotDone, "") })
		return
	}
	var arrive func(tries int)
	arrive = func(tries int) {
		if epoch != s.epoch {
			return
		}
		if !s.reachable(n, a.Elsewhere) {
			// Lost, or waiting in some queue and committed later.
			if tries < 40 && w.chance(0.7) {
				w.after(w.between(20*ms, 300*ms), func() { arrive(tries + 1) })
			}
			return
		}
		o, current := s.apply(a.Expect, a.Value)
		if o == election.Committed && tries > 0 {
			w.stats.LateCommits++
			s.lateEpoch(a, w.now-sent)
		}
		if !w.settled && w.chance(0.02) {
			return // the reply is lost
		}
		w.after(w.wire()+s.slow/2+n.slowReply, func() {
			if n.hears() {
				reply(o, current)
			}
		})
	}
	if !w.settled && w.chance(0.02) {
		return // the request is lost
	}
	w.after(w.wire()+s.slow/2, func() { arrive(0) })
	if (!w.settled && w.chance(0.02)) || w.chance(w.twice) {
		w.after(w.wire()+w.wire(), func() { // applied a second time
			if epoch != s.epoch || !s.reachable(n, a.Elsewhere) {
				return
			}
			o, current := s.apply(a.Expect, a.Value)
			w.after(w.wire(), func() {
				if n.hears() {
					reply(o, current)
				}
			})
		})
	}
}

func (s *store) read(n *node, a election.Read) {
	w, gen, epoch := s.w, n.gen, s.epoch
	done := false
	fails := a.Timeout
	if !n.member {
		fails = w.between(ms/10, 2*ms) // refused at once
	}
	w.after(fails, func() {
		if !done {
			done = true
			n.deliver(gen, election.ReadFailed{Read: a.ID})
		}
	})
	w.after(w.wire()+s.slow/2, func() {
		if epoch != s.epoch || !s.reachable(n, false) || (!w.settled && w.chance(0.01)) {
			return
		}
		value := s.value
		w.after(w.wire()+s.slow/2, func() {
			if !done && n.hears() {
				done = true
				n.deliver(gen, election.Observed{Value: value, Read: a.ID})
			}
		})
	})
}

// present changes one node's presence; a nil peer removes it.
func (s *store) present(id string, p *election.Peer) {
	s.presence = slices.DeleteFunc(s.presence, func(o present) bool { return o.id == id })
	if p != nil {
		s.presence = append(s.presence, present{id, *p})
	}
	for _, n := range s.w.nodes {
		n.bookkeeping(election.Peers{List: s.peers()})
	}
}

func (s *store) peers() []election.Peer {
	var list []election.Peer
	for _, p := range s.presence {
		list = append(list, p.peer)
	}
	return list
}

// put is what somebody does by hand: without a comparison.
func (s *store) put(value string) {
	s.apply(s.value, value)
}

func (s *store) ask(n *node, c election.Call) {
	s.w.after(s.w.wire(), func() {
		if s.reachable(n, true) {
			s.call = c
			for _, o := range s.w.nodes {
				o.bookkeeping(election.Called{Call: c})
			}
		}
	})
}
