package election

import "fmt"

// state is what the next process of this boot needs to adopt the record.
func (m *Machine) state(givenAway bool) *SavedState {
	return &SavedState{
		Schema: Schema, Node: m.cfg.Node, ID: m.term.rec.ID,
		Right: m.right(), Limit: min(m.limit(), m.lifeCap()), GivenAway: givenAway,
	}
}

// reach is how far any state reaches at most that the disk may have.
type reach struct{ right, limit Instant }

func (r *reach) extend(s *SavedState) {
	r.right, r.limit = max(r.right, s.Right), max(r.limit, s.Limit)
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
	c := *s
	m.saved = &c
	m.reach.extend(s)
	if m.now.Boot >= s.Right {
		return // too late to keep serving, but a record that is still ours need not be waited out
	}
	m.term = &term{right: s.Right, limit: s.Limit, rec: Record{ID: s.ID, Node: m.cfg.Node}}
	m.become(Holder, "adopting the address of the process before this one")
}

// adoptSeen decides once a read shows the record.
func (m *Machine) adoptSeen() {
	s := m.seen
	if s.raw == "" || s.bad != nil || !m.savedMine(s.rec) || s.rec.Node != m.cfg.Node || s.rec.Offer != "" {
		m.lose(fmt.Sprintf("nothing to adopt: %s", m.lostTo()))
		return
	}
	m.term.raw, m.term.rec = s.raw, s.rec
	m.term.tried, m.term.sent = 0, m.now.Boot-m.pace().Renewal
}

func (m *Machine) stateSaved(e Saved) {
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
