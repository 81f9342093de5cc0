package election

import "time"

// epochSeen is what this node, as one of the others, knows of the epoch that its
// watch shows, in etcd's order.
type epochSeen struct {
	epoch     *Epoch          // nil: the record has none
	first     Instant         // first seen in this life
	beat      Instant         // last beat received, or sent if it was this node's own epoch
	seq       uint64          // of it
	refused   bool            // it was there when this process first looked
	abandoned bool            // for ever
	gaveUp    map[string]bool // by member: has abandoned it
	asked     map[string]bool // by member: wants to know
	dead      Instant         // since when enough have abandoned it; 0: they have not
	askedAt   Instant         // when this node last asked
}

// watched takes in what the watch shows. An epoch that was there when this
// process first looked may have been abandoned by the process before it, so it
// is never acknowledged; the ones that come later cannot have been (rule 11).
func (m *Machine) watched(s sighting) {
	first := !m.looked
	m.looked = true
	var e *Epoch
	if s.bad == nil && s.raw != "" {
		e = s.rec.Epoch
	}
	was := m.epoch.epoch
	switch {
	case e == nil:
		m.epoch = epochSeen{}
	case was == nil || was.ID != e.ID:
		m.epoch = epochSeen{
			epoch: e, first: m.now.Boot, refused: first,
			gaveUp: map[string]bool{}, asked: map[string]bool{},
		}
	}
}

// heardBeat answers. In an epoch the answer is a promise.
func (m *Machine) heardBeat(msg Message) {
	verdict := Promised
	if msg.Epoch == "" && !m.etcd.Local {
		verdict = Denied // it might not see an epoch that is begun
	}
	if msg.Epoch != "" {
		e := &m.epoch
		switch {
		case e.epoch == nil || e.epoch.ID != msg.Epoch || e.abandoned:
			verdict = Denied
		case msg.Seq <= e.seq:
			return // doubled or late: a dead holder's beats must not live on
		default:
			e.seq, e.beat = msg.Seq, m.now.Boot
			if e.refused {
				verdict = Denied
			}
		}
	}
	if verdict == Promised && m.stopping() {
		verdict = Leaving
	}
	m.tell(msg.From, Message{Kind: Ack, Epoch: msg.Epoch, Seq: msg.Seq, Verdict: verdict})
}

// ownBeat: a holder's own member has heard the beat, too.
func (m *Machine) ownBeat(epoch string) {
	if e := &m.epoch; e.epoch != nil && e.epoch.ID == epoch {
		e.beat = m.now.Boot
	}
}

func (m *Machine) heardChallenge(msg Message) {
	e := &m.epoch
	if e.epoch == nil || e.epoch.ID != msg.Epoch {
		return // asked again, until the watch shows it
	}
	e.gaveUp[msg.From] = true
	if e.abandoned {
		m.tell(msg.From, Message{Kind: Abandoned, Epoch: msg.Epoch})
		return
	}
	e.asked[msg.From] = true
}

func (m *Machine) heardAbandoned(msg Message) {
	if e := &m.epoch; e.epoch != nil && e.epoch.ID == msg.Epoch {
		e.gaveUp[msg.From] = true
	}
}

func (m *Machine) tell(to string, msg Message) {
	if msg.From = m.members.Self; msg.From != "" {
		m.emit(Send{To: to, Message: msg})
	}
}

// driveAbandon gives up the epoch in sight when it is asked to, or would
// challenge the holder, and the promise has passed; and asks the others.
func (m *Machine) driveAbandon() {
	e := &m.epoch
	if e.epoch == nil || m.term != nil || m.members.Self == "" {
		return
	}
	challenger := m.challenges()
	if !e.abandoned {
		if !challenger && len(e.asked) == 0 {
			return
		}
		if !m.reached(max(e.first+e.epoch.firstPromise(), e.beat+e.epoch.Promise())) {
			return
		}
		e.abandoned = true
		e.gaveUp[m.members.Self] = true
		for _, id := range e.epoch.Members {
			if e.asked[id] {
				m.tell(id, Message{Kind: Abandoned, Epoch: e.epoch.ID})
			}
		}
	}
	m.countAbandoned()
	if challenger && e.dead == 0 {
		m.askOthers()
	}
}

// countAbandoned counts those whom the record's own epoch names.
func (m *Machine) countAbandoned() {
	e, n := &m.epoch, 0
	for _, p := range m.peers {
		if p.Abandoned == e.epoch.ID && p.Member != "" {
			e.gaveUp[p.Member] = true
		}
	}
	for _, id := range e.epoch.Members {
		if e.gaveUp[id] {
			n++
		}
	}
	if e.dead == 0 && n >= e.epoch.Abandonments() {
		e.dead = m.now.Boot
	}
}

func (m *Machine) askOthers() {
	e := &m.epoch
	every := min(max(e.epoch.Promise()/10, 25*time.Millisecond), 250*time.Millisecond)
	if !m.reached(e.askedAt + every) {
		return
	}
	e.askedAt = m.now.Boot
	for _, id := range e.epoch.Members {
		if id != m.members.Self && !e.gaveUp[id] {
			m.tell(id, Message{Kind: Challenge, Epoch: e.epoch.ID})
		}
	}
	m.wakeAt(e.askedAt + every)
}

// challenges: would this node take the address, were the epoch in sight dead?
func (m *Machine) challenges() bool {
	return m.mayCampaign() && m.inSight() && !m.mine(m.seen.rec)
}

// inSight: is the record in sight of the epoch that the watch shows?
func (m *Machine) inSight() bool {
	s := m.seen
	return s.known && s.bad == nil && s.raw != "" && s.rec.Epoch != nil &&
		m.epoch.epoch != nil && s.rec.Epoch.ID == m.epoch.epoch.ID
}

// abandonedInSight is since when the record in sight needs no wait, because its
// epoch is dead: no transaction of its holder that is still under way can
// bring it back, and a late one of a candidate does no harm.
func (m *Machine) abandonedInSight() (since Instant, ok bool) {
	return m.epoch.dead, m.epoch.dead != 0 && m.inSight()
}

func (m *Machine) deadInSight() bool {
	_, ok := m.abandonedInSight()
	return ok
}

// relied: a holder counts on the promise of this node, which is about to end. It
// is told so with the first beat since; if it goes on with the others, it goes on.
func (m *Machine) relied() bool {
	e := &m.epoch
	return e.epoch != nil && m.term == nil && !e.refused && !e.abandoned && e.beat != 0 &&
		!m.reached(min(e.beat, m.stopAt)+e.epoch.Promise())
}
