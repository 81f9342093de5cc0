package election

import (
	"fmt"
	"time"
)

// The steps of giving the address away, in their only order: settle everything
// while it still serves, clear and confirm, mark what is saved, then send.
type leaveStep int

const (
	stepAsk    leaveStep = iota // for a successor's offer
	stepSettle                  // let renewals under way come back
	stepClear                   // the address; from here on it is not served
	stepSave                    // that the record is being given away (rule 8)
	stepGive                    // one transaction
)

const (
	askTimeout    = time.Second            // for one successor's offer
	settleTimeout = 200 * time.Millisecond // for renewals under way
	giveTimeout   = 2 * time.Second        // for the transaction and its repetitions
	offerFresh    = 1500 * time.Millisecond
	leaveBackoff  = 5 * time.Second
	stopBudget    = 6 * time.Second // from Stop to Exit, whatever happens
	stopReserve   = 2 * time.Second // of it, kept for clearing the address

	// restartBudget is from Stop to Exit when another process follows: renewals
	// and set calls take milliseconds, and nobody renews meanwhile.
	restartBudget = 500 * time.Millisecond

	// offerLife is how long after it was sent an offer may still be used: asked
	// for, kept until the address is cleared, and written.
	offerLife = askTimeout + offerFresh + 500*time.Millisecond
)

type leave struct {
	step   leaveStep
	reason string
	tokens []uint64 // of the commands that wait for it
	forced bool     // go even without a successor: write a free record
	sick   bool     // only a healthy successor will do
	only   string   // the one successor the operator wants

	to      string
	chosen  string // why to
	lost    int64  // Unix time in ms at which the address began to be cleared
	call    string
	offer   string
	offered Instant // when the offer was seen
	since   Instant // of the step
	asked   map[string]bool
	tried   Instant // last transaction
	first   Instant // first transaction
	saving  uint64
	saved   bool
	gaveID  map[string]bool
	final   string // what became of it
}

func (l *leave) gave(id string) bool { return id != "" && l.gaveID[id] }

// driveLeave starts giving away when there is a reason and somebody to give to,
// and takes the next step of one under way.
func (m *Machine) driveLeave() {
	if m.term == nil || m.term.raw == "" {
		return
	}
	if m.leave == nil && !m.restart {
		m.startLeave()
	}
	for m.leave != nil && m.stepLeave() {
	}
}

// startLeave looks for a reason to leave, the weightiest first.
func (m *Machine) startLeave() {
	better := m.preemptor()
	var l leave
	switch {
	case m.stopping():
		l.reason, l.forced = "havipd on "+m.cfg.Node+" stops", true
	case m.down:
		l.reason = m.cfg.Node + " shuts down"
	case m.drained:
		l.reason = m.cfg.Node + " is drained"
	case m.reached(m.linkBy) && (!m.link.Present || !m.link.Up):
		l.reason, l.sick = fmt.Sprintf("link of %s: %s", m.cfg.Node, m.link.Reason), true
	case m.cannotSet() && m.reached(m.addr.failing+unsetAfter):
		l.reason, l.sick = fmt.Sprintf("%s cannot set the address: %s", m.cfg.Node, m.addr.why), true
	case !m.etcd.Local && m.etcd.Elsewhere:
		l.reason, l.sick = fmt.Sprintf("etcd member of %s: %s", m.cfg.Node, m.etcd.Reason), true
	case !m.health.OK:
		l.reason, l.sick = fmt.Sprintf("API server of %s: %s", m.cfg.Node, m.health.Reason), true
	case better != "":
		l.reason, l.sick, l.only = fmt.Sprintf("%s has a higher priority", better), true, better
	default:
		return
	}
	if !m.stopping() && !m.reached(m.leaveAfter) {
		return
	}
	if !l.forced && len(m.candidatesFor(&l)) == 0 {
		return
	}
	m.beginLeave(l)
}

func (m *Machine) beginLeave(l leave) {
	l.asked, l.gaveID = map[string]bool{}, map[string]bool{}
	l.since = m.now.Boot
	m.leave = &l
	m.askNext()
}

// preemptor is the node that preemption says should have the address by now.
func (m *Machine) preemptor() string {
	if m.cfg.Preempt <= 0 {
		return ""
	}
	s := m.successors(true)
	if len(s) == 0 || s[0].Priority <= m.cfg.Priority {
		m.betterSince = never
		return ""
	}
	m.betterSince = min(m.betterSince, m.now.Boot)
	if !m.reached(m.betterSince + m.cfg.Preempt) {
		return ""
	}
	return s[0].Node
}

func (m *Machine) candidatesFor(l *leave) []Peer {
	var fit []Peer
	for _, p := range m.successors(l.sick) {
		if !l.asked[p.Node] && (l.only == "" || l.only == p.Node) {
			fit = append(fit, p)
		}
	}
	return fit
}

// askNext asks the best candidate that was not asked yet.
func (m *Machine) askNext() {
	l := m.leave
	fit := m.candidatesFor(l)
	if len(fit) > 0 {
		l.to, l.chosen, l.call, l.offer = fit[0].Node, l.choice(fit[0]), m.newID(), ""
		l.asked[l.to] = true
		m.toStep(stepAsk)
		m.emit(Ask{Call: Call{ID: l.call, From: m.cfg.Node, To: l.to}})
		return
	}
	l.to, l.call, l.offer = "", "", ""
	if l.forced {
		m.toStep(stepSettle)
		return
	}
	m.abortLeave("nobody made an offer to take the address over")
}

// choice says why p is asked, unless it was named.
func (l *leave) choice(p Peer) string {
	switch {
	case l.only != "":
		return ""
	case len(l.asked) > 0:
		return p.Node + " was the first in rank to make an offer"
	}
	return ranking(p)
}

func (m *Machine) toStep(s leaveStep) {
	m.leave.step, m.leave.since = s, m.now.Boot
}

// stepLeave does what the present step can do and reports whether it moved on.
func (m *Machine) stepLeave() bool {
	l := m.leave
	switch l.step {
	case stepAsk:
		return m.awaitOffer()
	case stepSettle:
		if m.flyingWrites() > 0 && !m.reached(l.since+settleTimeout) {
			return false
		}
		m.toStep(stepClear)
		l.lost = m.now.Wall
		m.become(Releasing, l.reason)
		return true
	case stepClear:
		// driveAddress clears, since this step does not serve.
		if m.addr.state != absent || m.addr.op != opNone {
			return false
		}
		l.saving = m.newSeq()
		m.save(l.saving, m.state(true))
		m.toStep(stepSave)
		return true
	case stepSave:
		if !l.saved {
			return false
		}
		m.toStep(stepGive)
		return true
	default:
		return m.give()
	}
}

func (m *Machine) awaitOffer() bool {
	l := m.leave
	for _, p := range m.peers {
		if p.Node == l.to && p.Call == l.call && p.Offer != "" {
			l.offer, l.offered = p.Offer, m.now.Boot
			m.toStep(stepSettle)
			return true
		}
	}
	if !m.reached(l.since + askTimeout) {
		return false
	}
	m.askNext()
	return m.leave != nil && m.leave.step != stepAsk
}

func (m *Machine) flying(id string) bool {
	i := m.findWrite(id)
	return i >= 0 && m.writes[i].flying
}

func (m *Machine) flyingWrites() int {
	n := 0
	for _, w := range m.writes {
		if w.flying {
			n++
		}
	}
	return n
}

// give sends the transaction that ends the term, and again while its outcome is
// unknown. The term is over from the first one on.
func (m *Machine) give() bool {
	l := m.leave
	if l.first == 0 {
		l.first = m.now.Boot
	}
	if m.reached(l.first + giveTimeout) {
		l.final = "etcd did not confirm it"
		m.finishLeave()
		return false
	}
	if l.tried != 0 && !m.reached(l.tried+m.cfg.Timing.Retry) {
		return false
	}
	l.tried = m.now.Boot
	m.send(write{expect: m.term.raw, rec: m.given(), gives: true, timeout: giveTimeout})
	l.gaveID[m.writes[len(m.writes)-1].id] = true
	m.wakeAt(l.tried + m.cfg.Timing.Retry)
	return false
}

// given is the record that ends a term: it names the successor's offer, or
// nobody if there is none or it has become stale.
func (m *Machine) given() Record {
	l := m.leave
	rec := m.renewed(Record{})
	rec.Since, rec.Renewal = m.now.Wall, 0
	if l.offer != "" && m.now.Boot-l.offered < offerFresh {
		rec.Node, rec.Offer = l.to, l.offer
	}
	rec.Move = &Move{From: m.cfg.Node, To: rec.Node, AtMS: m.now.Wall, LostMS: l.lost, Reason: l.reason}
	if rec.Node != "" {
		rec.Move.Chosen = l.chosen
	}
	return rec
}

// finishLeave ends the term after it was given away.
func (m *Machine) finishLeave() {
	l := m.leave
	if l == nil {
		return
	}
	if m.seen.bad == nil && m.seen.raw != "" && l.gave(m.seen.rec.ID) {
		l.final = "released"
		if to := m.seen.rec.Node; to != "" {
			l.final = "handed over to " + to
		}
	} else if l.to != "" && m.seen.rec.Node == l.to {
		l.final = "handed over to " + l.to
	}
	m.leave = nil
	if len(l.tokens) > 0 {
		m.answer(l, Done{Changed: true, Message: l.final})
		m.notBefore = m.now.Boot + m.cfg.Timing.Takeover
	}
	m.lose(fmt.Sprintf("%s (%s)", l.reason, l.final))
}

// abortLeave gives up leaving; what has been cleared is cleared.
func (m *Machine) abortLeave(why string) {
	l := m.leave
	if l == nil {
		return
	}
	m.leave = nil
	m.leaveAfter = m.now.Boot + leaveBackoff
	m.answer(l, Done{Err: why})
}

// answer tells everybody who waits for a leave what became of it.
func (m *Machine) answer(l *leave, d Done) {
	for _, d.Token = range l.tokens {
		m.emit(d)
	}
}

// driveStop ends the machine when nothing is left to let go of.
func (m *Machine) driveStop() {
	if !m.stopping() || m.exited {
		return
	}
	if m.restart {
		// What is under way comes back first: the saved state is then the newest.
		// An address without a right is nothing to leave to anybody.
		left := m.serving() && !m.addr.dirty || m.addr.state == absent
		m.exitOnce(m.addr.op == opNone && left && !m.unrenewed() && !m.inEpoch())
		return
	}
	if m.term != nil && (m.leave == nil || m.leave.step < stepClear) && m.reached(m.stopBy-stopReserve) {
		m.lose("havipd stops; the record runs out by itself")
		m.driveAddress()
	}
	clear := m.addr.state == absent && m.addr.op == opNone
	m.exitOnce(m.term == nil && clear)
}

// exitOnce exits when rest says so and nothing is under way any more that could
// make this node the holder.
func (m *Machine) exitOnce(rest bool) {
	if (rest && m.flyingWrites() == 0 && !m.offered() && !m.relied()) || m.reached(m.stopBy) {
		m.exited = true
		m.emit(Exit{})
	}
}

// unrenewed reports whether the term still rests on this process's own offer,
// which no other process may adopt.
func (m *Machine) unrenewed() bool { return m.term != nil && m.term.rec.Offer != "" }

// offered reports whether an offer of this node may still be used.
func (m *Machine) offered() bool {
	return m.offer.id != "" && !m.reached(m.offer.sent+offerLife)
}
