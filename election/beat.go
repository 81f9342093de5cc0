package election

import (
	"fmt"
	"slices"
	"time"
)

const (
	// plainBeat spaces the beats of a holder without an epoch, which only find
	// out who hears them; an answer counts for plainFresh.
	plainBeat  = 500 * time.Millisecond
	plainFresh = 1200 * time.Millisecond

	// keptBeats is how many beats are remembered for the acks that answer them.
	keptBeats = 64

	// againPart of the time between two rounds of beats is what an answer may take
	// before another beat is sent: of three in succession two may be lost.
	againPart = 6

	// calmFirst is how long enough members must have answered without a break
	// before an epoch begins. Each one that lives for less than calmLong doubles
	// it, up to calmLong.
	calmFirst = 3 * time.Second
	calmLong  = time.Minute

	// settling is how long after its beginning an epoch's members may need to
	// see it in the record.
	settling = time.Second

	// turnRetry spaces the writes that go back to plain.
	turnRetry = 50 * time.Millisecond
)

// beats are the holder's side of the heartbeats.
type beats struct {
	seq  uint64
	sent [keptBeats]struct { // by seq modulo keptBeats
		seq uint64
		at  Instant
	}
	round   Instant          // SEND of the newest one that went to all
	next    Instant          // of the next such
	again   Instant          // of one to those who have not answered
	heard   map[string]heard // by member
	steady  Instant          // since when enough answer; never: they do not
	calm    time.Duration
	tried   Instant // last write that changes the mode
	because string  // why the mode is plain; "" if it is not, or is about to end
}

// heard is a member's last answer.
type heard struct {
	at      Instant // SEND of the beat that was answered
	verdict Verdict
	refuses Instant // since when it refuses the present epoch; 0: it does not
}

func (m *Machine) heardMessage(e Heard) {
	if e.From == "" || e.From == m.members.Self {
		return
	}
	switch e.Kind {
	case Beat:
		m.heardBeat(e.Message)
	case Ack:
		m.heardAck(e.Message)
	case Challenge:
		m.heardChallenge(e.Message)
	case Abandoned:
		m.heardAbandoned(e.Message)
	}
}

// heardAck takes in an answer to a beat of this process.
func (m *Machine) heardAck(e Message) {
	b := &m.beats
	sent := b.sent[e.Seq%keptBeats]
	if m.term == nil || e.Seq == 0 || sent.seq != e.Seq {
		return
	}
	h := b.heard[e.From]
	if sent.at < h.at {
		return // an old one
	}
	h.at, h.verdict = sent.at, e.Verdict
	switch {
	case e.Verdict != Denied:
		h.refuses = 0
	case h.refuses == 0:
		h.refuses = m.now.Boot
	}
	b.heard[e.From] = h
	if e.Verdict != Denied && e.Epoch != "" && e.Epoch == m.term.bearing.epoch {
		m.acknowledged(e.From, sent.at)
	}
}

// driveBeats sends beats, in any mode and never beyond the right. In an epoch, who has
// not answered the newest round of them is soon sent another one, so that rounds can be
// few.
func (m *Machine) driveBeats() {
	b := &m.beats
	if m.members.Self == "" || !m.beating() {
		return
	}
	every := m.beatEvery()
	if m.reached(b.next) {
		b.round, b.next = m.now.Boot, m.now.Boot+every
		b.again = b.round + every/againPart
		to := slices.Clone(m.members.Voters)
		if m.term.bearing.epoch != "" {
			to = append(to, m.term.rec.Epoch.Members...)
		}
		slices.Sort(to)
		m.beat(slices.Compact(to))
		m.wakeAt(b.next)
	}
	if to := m.silent(); len(to) > 0 && m.reached(b.again) {
		b.again = m.now.Boot + every/againPart
		m.beat(to)
		m.wakeAt(b.again)
	}
}

// beatEvery is the time between two rounds of beats.
func (m *Machine) beatEvery() time.Duration {
	if m.term.bearing.epoch == "" {
		return plainBeat
	}
	every := m.term.rec.Epoch.Hold() * 4 / 9 // by the one that began it, should that be another now
	if d := m.cfg.Detection; d.On() {
		every = min(every, d.Beat)
	}
	return every
}

// silent are the members of the epoch that the holder counts on and that have not
// answered the newest round of beats.
func (m *Machine) silent() (ids []string) {
	e := m.term.rec.Epoch
	if e == nil || e.ID != m.term.bearing.epoch {
		return nil
	}
	for _, id := range e.Members {
		if id != m.members.Self && m.beats.heard[id].at < m.beats.round && !m.missed(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// missed: has a member not borne the epoch for so long that the holder counts on it no
// more? That leaves a third of the right for the write that goes back to plain.
func (m *Machine) missed(id string) bool {
	b := &m.term.bearing
	return m.reached(max(b.begun+settling, max(b.heardFrom(id), b.adopted)+m.term.rec.Epoch.Hold()*2/3))
}

// beat is heard by this node's own member too.
func (m *Machine) beat(to []string) {
	b, epoch := &m.beats, m.term.bearing.epoch
	m.ownBeat(epoch)
	b.seq++
	b.sent[b.seq%keptBeats].seq, b.sent[b.seq%keptBeats].at = b.seq, m.now.Boot
	for _, id := range to {
		if id != m.members.Self {
			m.emit(Send{To: id, Message: Message{Kind: Beat, From: m.members.Self, Epoch: epoch, Seq: b.seq}})
		}
	}
}

func (m *Machine) beating() bool {
	t := m.term
	return t != nil && (t.confirmed && m.cfg.Detection.On() || t.bearing.epoch != "") &&
		m.now.Boot < m.right()
}

// inEpoch reports whether the right hangs on acknowledgements, which the next
// process of this node could not wait for.
func (m *Machine) inEpoch() bool { return m.term != nil && m.term.confirmed && m.term.rec.Epoch != nil }

// turn is a change of mode that the next write makes.
type turn int

const (
	stay turn = iota
	toPlain
	toEpoch
)

// turn decides about the mode. A holder that doubts its epoch goes back to
// plain before its right ends.
func (m *Machine) turn() turn {
	t := m.term
	if t == nil || !t.confirmed || t.raw == "" {
		return stay
	}
	b := &m.beats
	if t.rec.Epoch != nil {
		b.because = m.doubt(t.rec.Epoch)
		if b.because != "" {
			return toPlain
		}
		return stay
	}
	b.because = m.noEpoch()
	if b.because != "" {
		b.steady = never
		return stay
	}
	b.steady = min(b.steady, m.now.Boot)
	if len(m.writes) > 0 || m.leave != nil || !m.reached(b.steady+b.calm) {
		return stay
	}
	return toEpoch
}

// doubt is a reason to end the epoch.
func (m *Machine) doubt(e *Epoch) string {
	switch d := m.cfg.Detection; {
	case e.ID != m.term.bearing.epoch:
		return "taken over from the process before this one"
	case m.restart:
		return "havipd is being restarted"
	case e.PromiseMS != d.Promise.Milliseconds() || e.HoldMS != d.Hold.Milliseconds():
		return "detection was changed"
	case !m.fence.OK && !m.kept():
		return "no fence: " + m.fence.Reason
	case !m.sameMembers(e.Members):
		return "etcd's members have changed"
	}
	b := &m.term.bearing
	n := 0
	for _, id := range e.Members {
		h := m.beats.heard[id]
		if id == m.members.Self {
			continue
		}
		if h.refuses != 0 && m.reached(max(h.refuses, b.begun)+settling) {
			return id + " does not support the epoch, as after a restart"
		}
		if h.verdict == Leaving && h.at > b.begun {
			continue
		}
		if !m.missed(id) {
			n++
		}
	}
	if n < e.peers() {
		return fmt.Sprintf("%d of %d other members acknowledge, %d must", n, len(e.Members)-1, e.peers())
	}
	return ""
}

// noEpoch is a reason not to begin one.
func (m *Machine) noEpoch() string {
	voters := m.members.Voters
	switch {
	case !m.cfg.Detection.On():
		return "detection is off"
	case !m.fence.OK:
		return "no fence: " + m.fence.Reason
	case !slices.Contains(voters, m.members.Self):
		return "this node's etcd member is not known"
	case len(voters) < MinMembers:
		return fmt.Sprintf("etcd has %d members, heartbeats need %d", len(voters), MinMembers)
	case m.restart:
		return "havipd is being restarted"
	}
	n := 0
	for _, id := range voters {
		h := m.beats.heard[id]
		if id != m.members.Self && h.verdict == Promised && !m.reached(h.at+plainFresh) {
			n++
		}
	}
	if e := newEpoch("", voters, m.cfg.Detection, m.cfg.Timing); n < e.peers() {
		return fmt.Sprintf("%d of %d other members answer heartbeats, %d must", n, len(voters)-1, e.peers())
	}
	return ""
}

func (m *Machine) sameMembers(ids []string) bool {
	if len(ids) != len(m.members.Voters) {
		return false
	}
	for _, id := range ids {
		if !slices.Contains(m.members.Voters, id) {
			return false
		}
	}
	return true
}

// modeTurned notes that an epoch has begun or, begun at that instant, is over.
func (b *beats) modeTurned(was, is *Epoch, now, begun Instant) {
	switch {
	case is != nil:
		b.next = now
	case was != nil && now-begun < calmLong:
		b.steady, b.calm = never, min(2*b.calm, calmLong)
	case was != nil:
		b.steady, b.calm = never, calmFirst
	}
	for id, h := range b.heard {
		h.refuses = 0
		b.heard[id] = h
	}
}
