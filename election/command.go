package election

import "fmt"

func (m *Machine) commandHandOver(e HandOver) {
	switch {
	case m.term == nil || m.term.raw == "":
		m.emit(Done{Token: e.Token, Err: m.notHolding()})
	case m.leave != nil:
		m.emit(Done{Token: e.Token, Err: "the address is being given away already: " + m.leave.reason})
	case e.To == m.cfg.Node:
		m.emit(Done{Token: e.Token, Message: m.cfg.Node + " holds the address already"})
	case m.restart:
		m.emit(Done{Token: e.Token, Err: m.restarted()})
	default:
		l := leave{reason: "handover by an operator", tokens: []uint64{e.Token}, only: e.To}
		if len(m.candidatesFor(&l)) == 0 {
			m.emit(Done{Token: e.Token, Err: m.noSuccessor(e.To)})
			return
		}
		m.beginLeave(l)
	}
}

func (m *Machine) notHolding() string {
	switch {
	case m.namesSelf(): // the watch can be quicker than the answer to a takeover
		return m.cfg.Node + " does not hold the address, though the record names it: look again in a moment"
	case m.seen.known && m.seen.bad == nil && m.seen.rec.Node != "":
		return fmt.Sprintf("%s does not hold the address, %s does", m.cfg.Node, m.seen.rec.Node)
	}
	return m.cfg.Node + " does not hold the address"
}

func (m *Machine) namesSelf() bool { return m.seen.bad == nil && m.seen.rec.Node == m.cfg.Node }

func (m *Machine) noSuccessor(to string) string {
	for _, p := range m.peers {
		switch {
		case p.Node != to:
		case p.Drained:
			return to + " is drained"
		default:
			return to + " cannot take the address over now: it is " + p.Role
		}
	}
	if to != "" {
		return to + " is not there: no daemon of that name is connected to etcd"
	}
	return "no other master can take the address over now"
}

func (m *Machine) commandDrain(e SetDrained) {
	if m.drained == e.On && (e.On || !m.down) {
		m.emit(Done{Token: e.Token, Message: map[bool]string{true: "drained already", false: "not drained"}[e.On]})
		return
	}
	m.drained, m.leaveAfter = e.On, 0
	m.down = m.down && e.On // undrain ends both
	done := Done{Token: e.Token, Changed: true, Message: m.cfg.Node + " may hold the address again"}
	if e.On {
		done.Message = m.cfg.Node + " will not take the address"
		if m.term != nil {
			done.Message = m.cfg.Node + " hands the address over as soon as another master can take it"
		}
	} else {
		m.resettle()
	}
	m.emit(done)
}

// resettle lets settleRole say anew what a node without a term is.
func (m *Machine) resettle() {
	if m.term == nil {
		m.role = Waiting
	}
}

// commandShutdown gives the address away while the local etcd member and the
// API server still run. Without anybody to give it to it stays until Stop.
func (m *Machine) commandShutdown(e Shutdown) {
	was := m.down
	m.down, m.leaveAfter = e.On, 0
	if e.On && m.restart { // nobody follows on a node that goes down
		m.restart, m.stopBy = false, m.now.Boot+stopBudget
	}
	switch {
	case !e.On:
		m.resettle()
		m.emit(Done{Token: e.Token, Changed: was, Message: m.cfg.Node + " may hold the address again"})
	case m.term == nil || m.term.raw == "":
		m.emit(Done{Token: e.Token, Changed: !was, Message: m.cfg.Node + " does not hold the address and will not take it"})
	case m.leave != nil: // anybody who can take the address will do now
		m.leave.tokens, m.leave.only, m.leave.sick = append(m.leave.tokens, e.Token), "", false
	default:
		l := leave{reason: m.cfg.Node + " shuts down", tokens: []uint64{e.Token}}
		if len(m.candidatesFor(&l)) == 0 {
			m.emit(Done{Token: e.Token, Err: m.noSuccessor("")})
			return
		}
		m.beginLeave(l)
	}
}

// commandStop: what has been cleared already is given away, whoever follows.
func (m *Machine) commandStop(e Stop) {
	if !m.stopping() {
		m.stopAt = m.now.Boot
	}
	switch {
	case m.stopping():
	case e.Restart && !m.down && (m.leave == nil || m.leave.step < stepClear):
		m.restart = true
		m.stopBy = m.now.Boot + restartBudget
		if m.offered() {
			m.stopBy = max(m.stopBy, m.offer.sent+offerLife)
		}
		m.abortLeave(m.restarted())
	default:
		m.stopBy = m.now.Boot + stopBudget
	}
}

func (m *Machine) restarted() string { return "havipd on " + m.cfg.Node + " is being restarted" }

// commandRelease lets go of the address without a successor; on another node it
// replaces a record that nobody renews, and everybody waits that one out.
func (m *Machine) commandRelease(e Release) {
	switch {
	case m.term != nil && m.leave != nil:
		m.emit(Done{Token: e.Token, Err: "the address is being given away already: " + m.leave.reason})
	case m.restart:
		m.emit(Done{Token: e.Token, Err: m.restarted()})
	case m.claimed():
		m.endClaim("released by an operator")
		m.emit(Done{Token: e.Token, Changed: true, Message: "released"})
	case m.term != nil && m.term.raw != "":
		m.beginRelease(e.Token)
	case !m.etcd.Local || !m.seen.known:
		m.emit(Done{Token: e.Token, Err: "the record cannot be replaced: " + m.etcd.Reason})
	case m.forced.id != "":
		m.emit(Done{Token: e.Token, Err: "a release is under way"})
	case m.seen.raw == "":
		m.emit(Done{Token: e.Token, Message: "there is no record to release"})
	case m.namesSelf() && !e.Force:
		m.emit(Done{Token: e.Token, Err: m.notHolding()})
	case m.seen.bad == nil && !e.Force:
		m.emit(Done{Token: e.Token, Err: m.notHolding() + "; only an implausible record is released from elsewhere"})
	default:
		m.forceRelease(e.Token)
	}
}

func (m *Machine) beginRelease(token uint64) {
	m.leave = &leave{
		reason: "released by an operator", tokens: []uint64{token}, forced: true,
		asked: map[string]bool{}, gaveID: map[string]bool{},
	}
	m.toStep(stepSettle)
}

// forceRelease writes a free record that must be waited out: nobody here saw
// the former holder clear the address.
func (m *Machine) forceRelease(token uint64) {
	rec := m.renewed(Record{})
	rec.Wait = true
	asked := m.asked
	if asked == 0 { // nonsense since this process started: nobody knows whose right is how long
		asked = MaxTakeover.Milliseconds()
	}
	rec.TakeoverMS = max(rec.TakeoverMS, asked)
	rec.ID = m.newID()
	rec.Move = &Move{From: m.seen.rec.Node, AtMS: m.now.Wall, LostMS: m.now.Wall, Reason: "released by an operator on " + m.cfg.Node}
	m.forced = forced{id: rec.ID, token: token}
	m.emit(Write{ID: rec.ID, Expect: m.seen.raw, Value: rec.encode(), Timeout: m.cfg.Timing.Hold})
}

func (m *Machine) forcedWrote(e Wrote) {
	done := Done{Token: m.forced.token}
	m.forced = forced{}
	switch e.Outcome {
	case Committed:
		done.Changed, done.Message = true, "the record is free; it is taken once everybody has waited it out"
	case Refused:
		done.Err = "the record changed meanwhile; look at the status and try again"
		m.see(e.Current, false)
	default:
		done.Err = "etcd did not confirm it (" + e.Outcome.String() + "); look at the status and try again"
	}
	m.emit(done)
}
