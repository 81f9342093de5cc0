package election

import (
	"fmt"
	"slices"
	"time"
)

// state is what the next process of this boot needs to adopt the record.
func (m *Machine) state(givenAway bool) *SavedState {
	s := &SavedState{
		Schema: Schema, Node: m.cfg.Node, ID: m.term.rec.ID,
		Right: m.right(), Limit: m.limit(), GivenAway: givenAway,
	}
	if !m.term.confirmed && m.saved != nil {
		s.Heirs = m.saved.Heirs
	}
	if b := &m.term.bearing; b.epoch != "" {
		s.Epoch, s.Begun, s.Plain = m.term.rec.Epoch, b.begun, m.plainRight()
	}
	return s
}

// servable is until when the address may be served, were there acknowledgements
// enough.
func (s *SavedState) servable() Instant {
	if s.Epoch != nil {
		return s.Plain
	}
	return s.Right
}

// reach is how far any state reaches at most that the disk may have.
type reach struct{ right, limit Instant }

func (r *reach) extend(s *SavedState) {
	r.right, r.limit = max(r.right, s.servable()), max(r.limit, s.Limit)
}

// save replaces what the next process may adopt.
func (m *Machine) save(seq uint64, s *SavedState) {
	if s != nil {
		m.reach.extend(s)
		m.reachSince.extend(s)
	}
	m.emit(Save{Seq: seq, State: s})
}

// adopt begins with the term of an earlier process of this boot: the address is
// left alone until its old deadline, a read shows whose the record is, and only
// a new transaction gives a new right (rule 8).
func (m *Machine) adopt(s *SavedState) {
	if s == nil || s.Schema != Schema || s.Node != m.cfg.Node || s.GivenAway {
		return
	}
	if s.Claim != 0 {
		if m.now.Boot < s.Claim {
			m.claim = claim{until: s.Claim, sure: m.now.Boot + findTime}
			m.become(Claimant, "adopting the claim of the process before this one")
		}
		return
	}
	m.inherit(s)
	m.term = &term{right: s.servable(), limit: s.Limit, rec: Record{ID: s.ID, Node: m.cfg.Node}}
	if s.Epoch != nil {
		m.term.rec.Epoch, m.term.bearing = s.Epoch, s.bearing()
		m.term.bearing.adopted = m.now.Boot
	}
	if m.now.Boot >= m.right() {
		m.term = nil
		return // too late to keep serving, but a record that is still ours need not be waited out
	}
	m.become(Holder, "adopting the address of the process before this one")
}

// inherit says in what is saved that this process may write the record from now
// on: it may be killed between the commit of its first write and the save that
// tells of it.
func (m *Machine) inherit(s *SavedState) {
	c := *s
	c.Heirs = append(slices.Clone(s.Heirs), m.cfg.Incarnation)
	c.Heirs = c.Heirs[max(0, len(c.Heirs)-maxHeirs):]
	m.saved = &c
	m.heir, m.heirBy = m.newSeq(), m.now.Boot+m.cfg.Timing.Retry
	m.save(m.heir, &c)
}

// maxHeirs bounds those that are remembered. Each was killed before etcd answered it.
const maxHeirs = 8

// inherited: is it on the disk that this process may write? One that hangs must
// not end the term.
func (m *Machine) inherited() bool { return m.heir == 0 || m.reached(m.heirBy) }

// bearing is how the epoch was borne when the process that saved this ended: it had
// left the fence open until at most 0.99 promise from the sends that enough had
// acknowledged, or for the longer times of the epoch's first write.
func (s *SavedState) bearing() bearing {
	e := s.Epoch
	b := bearing{epoch: e.ID, begun: s.Begun}
	for _, id := range e.Members {
		b.ack(id, s.Open-margin(e.Promise()))
	}
	return b
}

// margin is what another node's clock that runs 1 % fast leaves of d.
func margin(d time.Duration) time.Duration { return time.Duration(clockMargin * float64(d)) }

// forsake ends a term whose epoch this process bears, though it can serve no more:
// the address that it found is gone, and it sets none before etcd has confirmed the
// record. To go on with the beats would keep the others from it.
func (m *Machine) forsake() {
	t, a := m.term, &m.addr
	if t == nil || t.confirmed || t.bearing.epoch == "" || m.leave != nil {
		return
	}
	if a.state == absent || a.state == maybe && (a.lostAt != 0 || m.reached(a.until+KernelLateness)) {
		m.term = nil
		for i := range m.writes {
			m.writes[i].flying = false
		}
		m.toIdle("nothing to adopt: the address is gone before etcd confirmed a renewal")
	}
}

// adoptSeen decides once a read shows the record.
func (m *Machine) adoptSeen() {
	s := m.seen
	if s.raw == "" || s.bad != nil || !m.savedMine(s.rec) || s.rec.Node != m.cfg.Node || s.rec.Offer != "" {
		m.lose(fmt.Sprintf("nothing to adopt: %s", m.lostTo()))
		return
	}
	m.found(s.raw, s.rec)
	m.term.tried, m.term.sent = 0, m.now.Boot-m.pace().Renewal
}

func (m *Machine) stateSaved(e Saved) {
	if e.Seq == m.heir {
		m.heir = 0
	}
	if m.term != nil && m.term.shorten == e.Seq && e.Seq != 0 {
		m.term.shortenOK = e.OK
		if e.OK {
			m.reach = m.reachSince
		}
		if !e.OK {
			m.term.shorten, m.term.tried, m.beats.tried = 0, m.now.Boot, m.now.Boot // once more after the retry interval
		}
	}
	if m.leave == nil || m.leave.saving != e.Seq || e.Seq == 0 {
		return
	}
	if e.OK {
		m.leave.saved = true
		return
	}
	// Without the mark a restarted process could adopt what was given away, so
	// nothing is sent: record and kernel lifetime run out together.
	l := m.leave
	m.leave, m.leaveAfter = nil, m.now.Boot+leaveBackoff
	m.answer(l, Done{Err: "the state could not be saved; the record runs out by itself"})
	m.lose("gave up: the state could not be saved before giving the address away")
}
