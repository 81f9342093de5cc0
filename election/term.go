package election

import (
	"fmt"
	"slices"
	"time"
)

// begin starts a term on a record that is confirmed to be this node's. sent is
// the instant from which others count at the earliest.
func (m *Machine) begin(raw string, rec Record, sent Instant, reason string) {
	m.term = &term{raw: raw, rec: rec}
	m.betterSince = never
	m.past, m.saved, m.claim = "", nil, claim{}
	m.offer = offer{}                                         // what would still name it expects a record of before
	m.beats.steady, m.beats.heard = never, map[string]heard{} // who answers counts from now
	m.confirm(raw, rec, sent)
	m.become(Holder, reason)
}

// confirm counts the right from the SEND of what etcd confirmed (rule 2).
func (m *Machine) confirm(raw string, rec Record, sent Instant) {
	t := m.term
	old := t.rec.Epoch
	t.raw, t.rec, t.sent, t.tried = raw, rec, sent, sent
	t.right = sent + rec.Hold()
	t.limit = sent + kernelSpan(rec)
	t.confirmed = true
	t.shorten, t.shortenOK = 0, false
	m.bear(old, rec.Epoch, sent)
	m.settle()
	m.save(0, m.state(false))
}

// bear takes in that the confirmed record has an epoch, or none any more.
func (m *Machine) bear(was, is *Epoch, sent Instant) {
	b := &m.term.bearing
	if is != nil && is.ID == b.epoch {
		return
	}
	old := b.begun
	*b = bearing{}
	if is != nil {
		*b = bearing{epoch: is.ID, begun: sent}
	}
	m.beats.modeTurned(was, is, m.now.Boot, old)
}

// found takes in that the term's record is this value by now. That gives no right,
// and ends an epoch that it does not bear.
func (m *Machine) found(raw string, rec Record) {
	t := m.term
	was := t.rec.Epoch
	t.raw, t.rec = raw, rec
	if e := rec.Epoch; e == nil || e.ID != t.bearing.epoch {
		m.bear(was, nil, 0)
	}
}

// settle forgets the writes that can commit no more, because they expected
// another value than the term's.
func (m *Machine) settle() {
	m.writes = slices.DeleteFunc(m.writes, func(w write) bool { return w.expect != m.term.raw })
	for _, w := range m.writes {
		m.term.tried = max(m.term.tried, w.sent)
	}
}

// kernelSpan is how long after its send a record lets the kernel keep the
// address, for other nodes' clocks that run 1 % fast.
func kernelSpan(rec Record) time.Duration {
	return margin(rec.Takeover())
}

// right is the instant at which this node must have stopped serving: that of
// the confirmed record, and no later than that of any write of its own that may
// have committed unnoticed (rule 2).
func (m *Machine) right() Instant {
	if m.term == nil {
		return m.claim.until
	}
	t := m.term
	r := min(m.plainRight(), m.borneRight(t.rec, t.sent))
	for _, w := range m.writes {
		r = min(r, m.borneRight(w.rec, w.sent))
	}
	return r
}

// plainRight is the part of the right that hangs on etcd alone.
func (m *Machine) plainRight() Instant {
	r := m.term.right
	for _, w := range m.writes {
		if w.gives {
			return 0
		}
		r = min(r, w.sent+w.rec.Hold())
	}
	return r
}

// limit is the instant by which the kernel must have removed the address by
// itself, were there no fence to close it earlier.
func (m *Machine) limit() Instant {
	if m.term == nil {
		return m.claimLimit()
	}
	l := m.term.limit
	for _, w := range m.writes {
		l = min(l, w.sent+kernelSpan(w.rec))
	}
	return l
}

// fenceLimit is the instant at which the kernel must close the address.
func (m *Machine) fenceLimit() Instant {
	l := m.limit()
	if m.term == nil {
		return l
	}
	l = min(l, m.borneLimit(m.term.rec, m.term.sent))
	for _, w := range m.writes {
		l = min(l, m.borneLimit(w.rec, w.sent))
	}
	return l
}

// serving reports whether the address belongs on this node's link now.
func (m *Machine) serving() bool {
	return m.claimed() || m.term != nil && m.now.Boot < m.right() && (m.leave == nil || m.leave.step < stepClear)
}

// expireRight ends a term whose right has run out: the address goes, whatever
// the cause. The record may still be this node's; a new transaction tells.
func (m *Machine) expireRight() {
	if m.term == nil || (m.leave != nil && m.leave.step >= stepGive) || !m.reached(m.right()) {
		return
	}
	t := m.term
	plain, hold := m.plainRight(), t.rec.Hold()
	unborne := m.borneRight(t.rec, t.sent) < plain
	for _, w := range m.writes {
		if w.sent+w.rec.Hold() == plain {
			hold = w.rec.Hold() // of one that went back to plain, say
		}
	}
	m.term = nil
	if t.confirmed {
		m.past = t.rec.ID
	}
	for i := range m.writes {
		m.writes[i].flying = false // renewals without an answer must not keep a takeover back
	}
	m.abortLeave("the right to serve ran out")
	switch {
	case unborne:
		m.toIdle(fmt.Sprintf("too few masters acknowledged within %v", t.rec.Epoch.Hold()))
		return
	case hold == 0:
		hold = m.cfg.Timing.Hold // adopting: nothing was read yet
	}
	m.toIdle(fmt.Sprintf("etcd confirmed no renewal within %v", hold))
}

// lose ends a term because the record is somebody else's.
func (m *Machine) lose(reason string) {
	m.term, m.past, m.saved, m.writes = nil, "", nil, nil
	m.save(0, nil)
	m.abortLeave(reason)
	m.toIdle(reason)
}

// toIdle leaves the holder's roles with a reason; settleRole sorts out the rest.
func (m *Machine) toIdle(reason string) {
	switch {
	case m.aside():
		m.become(Drained, reason)
	case !m.etcd.Local:
		m.become(Waiting, reason)
	default:
		m.become(Candidate, reason)
	}
}

// driveTerm renews.
func (m *Machine) driveTerm() {
	t := m.term
	if t == nil || (m.leave != nil && m.leave.step >= stepSettle) {
		return
	}
	turn := m.turn()
	if m.restart && !m.unrenewed() && turn != toPlain {
		return
	}
	if t.raw == "" {
		m.keepReading(0)
		return
	}
	if !m.reached(m.renewalDue(turn)) || !m.readyToWrite() || !m.inherited() {
		return
	}
	rec := m.nextRecord(turn)
	if m.shortens(rec) && !m.prepareShorter(rec) {
		return
	}
	t.tried = m.now.Boot
	if turn != stay {
		m.beats.tried = m.now.Boot
	}
	m.send(write{expect: t.raw, rec: rec, begins: turn == toEpoch, timeout: m.cfg.Timing.Hold})
	m.wakeAt(m.renewalDue(turn))
}

// renewalDue is when the next write of the term is due. One that changes the
// mode is due at once, for its right may end soon.
func (m *Machine) renewalDue(turn turn) Instant {
	t, pace := m.term, m.pace()
	due := t.sent + pace.Renewal
	if t.tried > t.sent {
		due = t.tried + pace.Retry
	}
	if retry := m.turnRetry(turn); turn != stay && m.flyingWrites() < maxInFlight {
		due = min(due, m.beats.tried+retry)
	}
	return due
}

// turnRetry spaces the writes that change the mode. The one back to plain has
// little time, and no better chance at once where etcd is gone.
func (m *Machine) turnRetry(turn turn) time.Duration {
	if turn == toPlain && m.etcd.Local {
		return turnRetry
	}
	return m.cfg.Timing.Retry
}

// pace is how often this term renews.
func (m *Machine) pace() Timing {
	if m.term.bearing.epoch != "" {
		return beatTiming(m.cfg.Timing)
	}
	return m.cfg.Timing
}

// renewNow lets the next renewal be due at once.
func (m *Machine) renewNow() {
	t := m.term
	t.sent = min(t.sent, m.now.Boot-m.pace().Renewal)
	t.tried = min(t.tried, t.sent)
}

// nextRecord is the record that renews the term: in the mode that turn asks for, or
// in the one it has.
func (m *Machine) nextRecord(turn turn) Record {
	rec := m.renewed(m.term.rec)
	switch {
	case turn == toEpoch:
		rec.Epoch = newEpoch(m.newID(), m.members.Voters, m.cfg.Detection, m.cfg.Timing)
	case turn == stay && m.term.bearing.epoch != "":
		rec.Epoch = m.term.rec.Epoch
	default:
		return rec
	}
	rec.Mode = ModeHeartbeat
	long := beatTiming(m.cfg.Timing)
	rec.HoldMS, rec.TakeoverMS = long.Hold.Milliseconds(), long.Takeover.Milliseconds()
	return rec
}

// readyToWrite holds writes back while a set call is pending, whose lifetime
// was chosen without them, or while it is unknown what the kernel has (rule 5).
func (m *Machine) readyToWrite() bool {
	return m.addr.op != opSet && m.addr.state != unsure
}

func (m *Machine) renewed(old Record) Record {
	rec := old
	rec.Schema, rec.Mode, rec.Epoch = Schema, ModePlain, nil
	rec.Renewal++
	rec.Offer = ""
	rec.HoldMS = m.cfg.Timing.Hold.Milliseconds()
	rec.TakeoverMS = m.cfg.Timing.Takeover.Milliseconds()
	return rec
}

// shortens reports whether what is saved, or what the kernel has, reaches
// further than the record allows.
func (m *Machine) shortens(rec Record) bool {
	right, limit := m.reaches(rec)
	return m.reach.right > right || m.reach.limit > limit || !m.kernelWithin(limit)
}

// reaches is until when a record that is sent now lets this node serve, and the
// kernel have the address. One that begins an epoch is waited out like the plain
// record before it: others may abandon it as soon.
func (m *Machine) reaches(rec Record) (right, limit Instant) {
	right, limit = m.now.Boot+rec.Hold(), m.now.Boot+kernelSpan(rec)
	if e := rec.Epoch; e != nil && e.ID != m.term.bearing.epoch {
		right, limit = min(right, m.borneRight(rec, m.now.Boot)), min(limit, m.borneLimit(rec, m.now.Boot))
	}
	return right, limit
}

// kernelWithin: has the kernel removed the address, even late, by limit?
func (m *Machine) kernelWithin(limit Instant) bool {
	return m.addr.state == absent || m.addr.until+KernelLateness+killLateness <= limit
}

// prepareShorter makes a write that shortens hold or takeover safe before it is
// sent: the next process must know of it, and the kernel must not keep the
// address longer than the shorter record allows. A right to serve shrinks by
// itself, since the unsettled write counts.
func (m *Machine) prepareShorter(rec Record) bool {
	t := m.term
	right, limit := m.reaches(rec)
	if t.shorten == 0 {
		t.shorten = m.newSeq()
		s := m.state(false)
		s.Right, s.Plain, s.Limit = min(s.Right, right), min(s.Plain, right), min(s.Limit, limit)
		m.reachSince = reach{}
		m.save(t.shorten, s)
	}
	if !t.shortenOK {
		return false
	}
	if m.kernelWithin(limit) {
		return true
	}
	if m.reached(m.addr.retryAt) {
		// Not beyond what the present record allows, which others may act on
		// first, nor without a fence beyond its epoch: the shorter one is not
		// written yet.
		m.setAddress(min(limit, m.lifeLimit()), lastSlack)
	}
	m.wakeAt(m.now.Boot + untouchedRetry)
	return false
}

// send emits one transaction and counts it as possibly committed from now on.
func (m *Machine) send(w write) {
	w.id = m.newID()
	w.rec.ID = w.id
	w.value = w.rec.encode()
	w.sent = m.now.Boot
	w.flying = true
	m.writes = append(m.writes, w)
	if m.term == nil && len(m.writes) > maxUnsettled {
		m.writes = m.writes[1:]
	}
	m.emit(Write{ID: w.id, Expect: w.expect, Value: w.value, Elsewhere: w.gives, Timeout: w.timeout})
}

func (m *Machine) wrote(e Wrote) {
	if e.ID == m.forced.id && e.ID != "" {
		m.forcedWrote(e)
		return
	}
	i := m.findWrite(e.ID)
	if i < 0 {
		return // settled meanwhile
	}
	m.writes[i].flying = false
	w := m.writes[i]
	switch e.Outcome {
	case Unknown:
	case NotDone:
		m.dropWrite(i)
	case Refused:
		if e.Current == w.value {
			m.committed(w) // it reached etcd twice, and this is the answer to the second time
			return
		}
		m.dropWrite(i)
		m.refused(w, e.Current)
	case Committed:
		m.committed(w)
	}
}

func (m *Machine) findWrite(id string) int {
	for i, w := range m.writes {
		if w.id == id {
			return i
		}
	}
	return -1
}

func (m *Machine) dropWrite(i int) {
	m.writes = append(m.writes[:i:i], m.writes[i+1:]...)
}

func (m *Machine) committed(w write) {
	m.see(w.value, false)
	if w.gives {
		m.finishLeave()
		return
	}
	if m.leave != nil && m.leave.step >= stepClear {
		// A renewal that was still under way: the record is this value now, and
		// what was sent to give it away expected another one.
		m.found(w.value, w.rec)
		m.settle()
		m.leave.tried = 0
		return
	}
	if m.now.Boot >= w.sent+w.rec.Hold() || !m.bears(w) {
		// A confirmation after its own deadline is none, and an epoch whose term
		// has ended is not revived by one. The record is ours all the same, so the
		// next transaction need not wait.
		m.past = w.id
		return
	}
	if m.term == nil {
		m.begin(w.value, w.rec, w.sent, moveReason(w.rec))
		return
	}
	m.confirm(w.value, w.rec, w.sent)
}

// refused means: the compare failed, and current was there instead.
func (m *Machine) refused(w write, current string) {
	m.see(current, false)
	if m.term == nil {
		m.takeOffer()
		m.forgetPast()
		return
	}
	if m.seen.raw == m.term.raw {
		return // w expected an older value of this term
	}
	if m.seen.raw != "" && m.seen.bad == nil && m.mine(m.seen.rec) {
		// An earlier write of ours had committed. Reading that gives no right.
		m.found(m.seen.raw, m.seen.rec)
		m.renewNow()
		m.beats.tried = 0
		if m.leave != nil {
			m.leave.tried = 0
		}
		return
	}
	if m.leave != nil && m.leave.gave(m.seen.rec.ID) {
		m.finishLeave()
		return
	}
	if l := m.leave; l != nil && l.step == stepGive && m.seen.bad == nil && l.to != "" && m.seen.rec.Node == l.to {
		m.finishLeave() // the successor has renewed before this repetition was refused
		return
	}
	m.lose(m.lostTo())
}

func (m *Machine) lostTo() string {
	switch {
	case m.seen.raw == "":
		return "the record was deleted from etcd"
	case m.seen.bad != nil:
		return "the record was overwritten: " + m.seen.bad.Error()
	case m.seen.rec.Free():
		return "the record was released: " + moveReason(m.seen.rec)
	default:
		return m.seen.rec.Node + " has the record"
	}
}
