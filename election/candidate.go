package election

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// driveCandidate takes the record over when its time has come.
func (m *Machine) driveCandidate() {
	if m.term != nil {
		return
	}
	if m.etcd.Local && !m.stopping() {
		// Watches die silently: without a sign for half a takeover, look (rule 3).
		m.keepReading(m.quietFor())
	}
	if !m.mayCampaign() {
		return
	}
	due, proof := m.freeAt()
	if !m.seen.known || !m.reached(max(due+m.stagger(), m.notBefore)) {
		return
	}
	if proof && !m.agreed(due) {
		return
	}
	if m.seen.raw == "" && !m.claimed() && !m.nobodyAnswers() {
		return
	}
	if !m.inherited() {
		return
	}
	m.campaign()
}

// mayCampaign: a leftover address is cleared first (rule 8), and a record that
// is not understood is left to the operator.
func (m *Machine) mayCampaign() bool {
	if m.aside() || m.stopping() || !m.etcd.Local || !m.link.Present {
		return false
	}
	if m.seen.bad != nil {
		m.warnOnce(m.seen.bad.Error() + "; havipctl release replaces it")
		return false
	}
	return (m.addr.state == absent || m.claimed()) && m.addr.op == opNone
}

// quietFor is how long nothing may be seen before the record is read.
func (m *Machine) quietFor() time.Duration {
	quiet := m.cfg.Timing.Takeover
	if m.seen.bad == nil && m.seen.rec.Epoch != nil {
		quiet = m.seen.rec.Takeover() // written seldom
	}
	return quiet / 2
}

// freeAt is when the record in sight may be taken, and whether a fresh read must
// agree.
func (m *Machine) freeAt() (due Instant, proof bool) {
	if since, ok := m.abandonedInSight(); ok {
		return since, false
	}
	wait, proof := m.waitFor()
	return m.seen.at + wait, proof
}

// waitFor is how long the record in sight must not change before it may be
// taken, and whether a fresh read must agree. It is the record's own takeover,
// not this node's (rule 3). Only a record that was seen to become free, one that
// is this node's own (rule 9), and none in an etcd that this node has just founded
// (rule 10) need no wait.
func (m *Machine) waitFor() (wait time.Duration, proof bool) {
	rec := m.seen.rec
	switch {
	case m.seen.raw == "" && m.claimed() && m.claim.founding:
		return 0, false
	case m.seen.raw == "":
		return m.cfg.Timing.Takeover, true
	case m.mine(rec):
		return 0, false
	case rec.Free() && !rec.Wait && m.seen.live:
		return 0, false
	default:
		return rec.Takeover(), true
	}
}

// agreed reports whether a linearizable read that was sent after due shows the
// value in sight unchanged, and asks for one.
func (m *Machine) agreed(due Instant) bool {
	if m.lastRead.known && m.lastRead.at >= due && m.lastRead.raw == m.seen.raw {
		return true
	}
	switch {
	case m.reading.sent < due:
		m.startRead()
	case m.reading.id != "":
		m.retryRead()
	case m.reached(m.reading.sent + m.cfg.Timing.Retry):
		m.startRead()
	}
	return false
}

// nobodyAnswers looks at the wire before an absent record is taken: where there
// is no record there may be a claimant of another beginning (rule 10).
func (m *Machine) nobodyAnswers() bool {
	p := &m.probe
	if p.silent != 0 && m.now.Boot < p.silent+probeFresh {
		return true
	}
	if p.id != "" {
		if m.reached(p.sent + probeTimeout) {
			p.id = ""
		}
		return false
	}
	if m.reached(p.next) {
		*p = probing{id: m.newID(), sent: m.now.Boot}
		m.emit(Probe{ID: p.id})
		m.wakeAt(p.sent + probeTimeout)
	}
	return false
}

func (m *Machine) probed(e Probed) {
	p := &m.probe
	if e.ID != p.id || e.ID == "" {
		return
	}
	p.id = ""
	switch {
	case m.seen.raw != "": // there is one by now
	case e.Failed:
		p.next = m.now.Boot + m.cfg.Timing.Retry
	case e.Answered:
		p.next = m.now.Boot + m.cfg.Timing.Takeover/2
		m.warnOnce("etcd has no record, and " + e.By + " answers for the address: not taking it; is there another cluster with this address?")
	default:
		p.silent = m.now.Boot
	}
}

const (
	probeTimeout = 3 * time.Second // for one look at the wire
	probeFresh   = 2 * time.Second // how long what was seen there counts
)

// keepReading reads when nothing has been seen for the given time.
func (m *Machine) keepReading(quiet time.Duration) {
	if m.reading.id != "" {
		m.retryRead()
		return
	}
	last := max(m.seen.sign, m.reading.sent)
	if !m.seen.known || quiet == 0 {
		last, quiet = m.reading.sent, m.cfg.Timing.Retry
		if last == 0 {
			quiet = 0
		}
	}
	if m.reached(last + quiet) {
		m.startRead()
	}
}

// retryRead gives up on a read that has not come back for a while.
func (m *Machine) retryRead() {
	if m.reached(m.reading.sent + readTimeout + m.cfg.Timing.Retry) {
		m.startRead()
	}
}

// readTimeout bounds one read; without an etcd leader it hangs.
const readTimeout = time.Second

func (m *Machine) startRead() {
	m.reading = reading{id: m.newID(), sent: m.now.Boot}
	m.emit(Read{ID: m.reading.id, Timeout: readTimeout})
	m.wakeAt(m.reading.sent + readTimeout + m.cfg.Timing.Retry)
}

// campaign sends one takeover; a further one while the first has no answer.
func (m *Machine) campaign() {
	retry, most := m.cfg.Timing.Retry, maxInFlight
	if m.deadInSight() {
		retry, most = deadRetry, int(readTimeout/deadRetry)
	}
	if m.flyingFor(m.seen.raw) >= most {
		return
	}
	// A watch may show this node's own write before its outcome is here.
	recent := m.campaigned >= m.seen.at || m.flying(m.seen.rec.ID)
	if recent && !m.reached(m.campaigned+retry) {
		return
	}
	m.campaigned = m.now.Boot
	m.send(write{expect: m.seen.raw, rec: m.taken(), timeout: readTimeout})
	m.wakeAt(m.campaigned + retry)
}

// flyingFor counts the transactions under way that could still replace the value.
func (m *Machine) flyingFor(raw string) int {
	n := 0
	for _, w := range m.writes {
		if w.flying && w.expect == raw {
			n++
		}
	}
	return n
}

// deadRetry spaces the takeovers from a holder that is known to be dead. A
// member of etcd passes on what it is sent to a leader that died with the holder,
// until it misses it: only a later one is kept for the next leader.
const deadRetry = 100 * time.Millisecond

// taken is the record of a term that begins now.
func (m *Machine) taken() Record {
	rec := m.renewed(Record{})
	old := m.seen.rec
	rec.Node, rec.Renewal, rec.Since = m.cfg.Node, 0, m.now.Wall
	move := &Move{From: old.Node, To: m.cfg.Node, AtMS: m.now.Wall}
	quiet := (m.now.Boot - m.seen.at).Milliseconds()
	switch {
	case m.seen.raw == "":
		move.Reason, move.Chosen = "there was no record", m.chosen()
	case m.tookLate(old):
		rec.Since = old.Since
		*move = *old.Move
		move.AtMS = m.now.Wall
	case m.mine(old):
		rec.Since, rec.Renewal = old.Since, old.Renewal+1
		move.LostMS = m.now.Wall - quiet
		move.Reason = "its own record again, after etcd had confirmed nothing for longer than hold"
		if m.savedMine(old) {
			move.Reason = "its own record again, after a restart"
		}
	case old.Free():
		move.Reason, move.Chosen = "the record was free: "+moveReason(old), m.chosen()
		if old.Move != nil {
			move.From, move.LostMS = old.Move.From, old.Move.LostMS
		}
	case m.deadInSight():
		move.LostMS = m.now.Wall - (m.now.Boot - m.epoch.beat).Milliseconds()
		move.Reason, move.Chosen = fmt.Sprintf("%s was not heard for %v", old.Node, old.Epoch.Promise()), m.chosen()
	default:
		move.LostMS = m.now.Wall - quiet
		move.Reason, move.Chosen = fmt.Sprintf("%s stopped renewing", old.Node), m.chosen()
	}
	rec.Move = move
	return rec
}

// tookLate: is it a takeover of this process that committed when nobody waited for
// the answer any more? Nobody has served by it, so its move is yet to come.
func (m *Machine) tookLate(rec Record) bool {
	return m.mine(rec) && m.findWrite(rec.ID) >= 0 && rec.Renewal == 0 && rec.Move != nil
}

// stagger is this node's place among those who could take over, in time.
func (m *Machine) stagger() time.Duration {
	if m.seen.known && m.seen.bad == nil && m.seen.raw != "" && m.mine(m.seen.rec) {
		return 0
	}
	before, _ := m.rivals()
	return time.Duration(before) * rankStep
}

// rivals counts those who could take the record over too, and those of them who
// rank before this node.
func (m *Machine) rivals() (before, all int) {
	gone, me := m.seen.rec.Node, m.self()
	for _, p := range m.peers {
		if p.Node == m.cfg.Node || p.Node == gone || !p.Able {
			continue
		}
		all++
		if better(p, me) {
			before++
		}
	}
	return before, all
}

// chosen says why this node takes the record over, and no other.
func (m *Machine) chosen() string {
	switch before, all := m.rivals(); {
	case all == 0:
		return "nobody else could take it"
	case before > 0:
		return m.cfg.Node + " was quicker than who ranks before it"
	}
	return ranking(m.self())
}

func ranking(p Peer) string {
	health := "unhealthy"
	if p.Healthy && p.LinkUp {
		health = "healthy"
	}
	return fmt.Sprintf("%s ranked first (%s, priority %d)", p.Node, health, p.Priority)
}

func (m *Machine) self() Peer {
	return Peer{Node: m.cfg.Node, Priority: m.cfg.Priority, Healthy: m.health.OK, LinkUp: m.link.Up && !m.cannotSet()}
}

func better(a, b Peer) bool { return comparePeers(a, b) < 0 }

// comparePeers ranks by health, then priority, then node name. An unhealthy
// candidate ranks last; it is not excluded.
func comparePeers(a, b Peer) int {
	fit := func(p Peer) int {
		if p.Healthy && p.LinkUp {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(fit(a), fit(b)),
		cmp.Compare(b.Priority, a.Priority),
		cmp.Compare(a.Node, b.Node),
	)
}

// successors are the nodes that could take the address from this one, the best
// first. healthy leaves out those that are no better off than a sick holder.
func (m *Machine) successors(healthy bool) []Peer {
	var s []Peer
	for _, p := range m.peers {
		if p.Node == m.cfg.Node || !p.Able || p.Drained || (healthy && !(p.Healthy && p.LinkUp)) {
			continue
		}
		s = append(s, p)
	}
	slices.SortFunc(s, comparePeers)
	return s
}
