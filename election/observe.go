package election

import (
	"fmt"
	"slices"
)

// observe takes in a value of the record. It only ever restarts a wait or ends
// a term that is being adopted: a right comes from a transaction (wrote) or
// from this node's own offer, never from reading.
func (m *Machine) observe(e Observed) {
	if e.Read != "" && e.Read == m.reading.id {
		m.lastRead = sighting{known: true, raw: e.Value, at: m.reading.sent}
		m.reading.id = ""
	}
	m.see(e.Value, e.Live)
	if e.Read == "" {
		m.watched(m.seen)
	}
	switch {
	case m.term == nil:
		m.takeOffer()
		m.forgetPast()
	case m.term.raw == "":
		if e.Read != "" {
			m.adoptSeen()
		}
	case !m.ownWrite(m.seen):
		// A watch may lag behind this node's own transaction, so this is a hint,
		// no proof. The next transaction is the proof.
		m.renewNow()
	}
}

// see notes a value. Any change restarts the wait (rule 3).
func (m *Machine) see(raw string, live bool) {
	if m.seen.known && m.seen.raw == raw {
		m.seen.sign = m.now.Boot
		m.seen.live = m.seen.live || live
		return
	}
	s := sighting{known: true, raw: raw, at: m.now.Boot, sign: m.now.Boot, live: live}
	if raw != "" {
		s.rec, s.bad = DecodeRecord(raw)
		if s.bad == nil {
			m.asked = s.rec.TakeoverMS
		}
	}
	m.seen = s
}

// takeOffer begins a term when the record names the offer this process made
// and still holds in memory. The right counts from when the offer was SENT.
func (m *Machine) takeOffer() {
	s := m.seen
	if s.raw == "" || s.bad != nil || m.offer.id == "" || s.rec.Offer != m.offer.id || s.rec.Node != m.cfg.Node {
		return
	}
	sent := m.offer.sent
	if s.rec.Move != nil {
		move := *s.rec.Move
		move.AtMS = m.now.Wall
		s.rec.Move = &move
	}
	m.begin(s.raw, s.rec, sent, fmt.Sprintf("%s handed it over: %s", moveFrom(s.rec), moveReason(s.rec)))
	// The next renewal is due at once: the offer has aged.
	m.renewNow()
}

// ownWrite reports whether a sighting is a value this process wrote in its
// present term, be it an old one that a slow watch shows.
func (m *Machine) ownWrite(s sighting) bool {
	if s.raw == m.term.raw {
		return true
	}
	if s.raw == "" || s.bad != nil {
		return false
	}
	inc, _, ok := splitID(s.rec.ID)
	return ok && inc == m.cfg.Incarnation
}

// mine reports whether a record is exactly one that this node wrote for itself
// and never gave away: its last confirmed write, one without an outcome, or one
// at or after what an earlier process of this boot saved. The node's name alone
// proves nothing (rule 1).
func (m *Machine) mine(rec Record) bool {
	if rec.Node != m.cfg.Node || rec.Offer != "" || rec.Free() {
		return false
	}
	if m.past != "" && rec.ID == m.past {
		return true
	}
	if m.term != nil && rec.ID == m.term.rec.ID {
		return true
	}
	for _, w := range m.writes {
		if !w.gives && w.id == rec.ID {
			return true
		}
	}
	return m.savedMine(rec)
}

func (m *Machine) savedMine(rec Record) bool {
	if m.saved == nil {
		return false
	}
	was, n, ok1 := splitID(m.saved.ID)
	is, k, ok2 := splitID(rec.ID)
	return ok1 && ok2 && (was == is && k >= n || slices.Contains(m.saved.Heirs, is))
}

// forgetPast drops the claim on a lapsed term once somebody else's record is seen.
func (m *Machine) forgetPast() {
	if m.term != nil || (m.past == "" && m.saved == nil) {
		return
	}
	if m.seen.raw != "" && m.seen.bad == nil && m.mine(m.seen.rec) {
		return
	}
	if inc, _, ok := splitID(m.seen.rec.ID); ok && inc == m.cfg.Incarnation {
		return // a slow watch showing an older write of this process
	}
	m.past, m.saved = "", nil
	m.save(0, nil)
}

// called answers a holder's question with an offer: a promise of readiness
// with a fresh ID, timed by this node's clock before it is sent.
func (m *Machine) called(c Call) {
	m.call = c
	if c.To != m.cfg.Node || c.ID == m.offer.call || !m.able() {
		return
	}
	m.offer = offer{id: m.newID(), call: c.ID, sent: m.now.Boot}
}

func moveFrom(r Record) string {
	if r.Move == nil {
		return "somebody"
	}
	return r.Move.From
}

func moveReason(r Record) string {
	if r.Move == nil {
		return "no reason given"
	}
	return r.Move.Reason
}
