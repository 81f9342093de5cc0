package election

import (
	"math"
	"slices"
	"time"
)

const (
	never = Instant(math.MaxInt64)
	unset = Instant(-1) // the fence was not set by this process

	// rankStep staggers the takeovers of candidates, so that the best one wins
	// without a storm. It exceeds a read and a transaction on a local network.
	rankStep = 50 * time.Millisecond

	// maxUnsettled bounds how many writes without an outcome a node without a
	// right remembers; forgetting one costs speed, never safety.
	maxUnsettled = 64

	// maxInFlight bounds the transactions a candidate has under way at once.
	maxInFlight = 4
)

// Machine decides. It is driven by Step alone, owns no clock, no goroutine and
// no socket, and is not safe for concurrent use: one goroutine owns it.
type Machine struct {
	cfg  Config
	now  Now
	next Instant
	out  []Action

	role    Role
	why     string
	counter uint64 // of IDs and sequence numbers

	etcd     Etcd
	seen     sighting
	reading  reading  // under way
	asked    int64    // takeover_ms of the last record that was plausible
	lastRead sighting // the last one that ended, with the instant it was SENT
	probe    probing
	peers    []Peer
	call     Call
	offer    offer

	term   *term
	claim  claim
	past   string      // ID of the last confirmed write of a term that lapsed
	saved  *SavedState // what an earlier process left and this one may still adopt
	heir   uint64      // Seq of the Save that names this process as its heir; 0: it is done
	heirBy Instant     // no longer is it waited for
	writes []write     // mine, not settled
	forced forced      // an operator's release under way

	addr   address
	leave  *leave
	health Health
	link   Link
	linkBy Instant // until then it is waited for that it is looked at; 0: it was

	members   Members
	fence     Fence
	fenceTold bool    // of it, since the start
	fenced    Instant // what the kernel's fence was last set to
	beats     beats
	epoch     epochSeen // of the record that the watch shows
	looked    bool      // the watch has shown something

	reach      reach // of all that was saved
	reachSince reach // of what was saved with term.shorten and after it

	drained     bool
	down        bool    // the node is about to go down
	stopBy      Instant // 0: not stopping
	stopAt      Instant // when that was told
	restart     bool    // stopping, for another process that follows at once
	freshened   bool    // restarting: the address was set once more
	exited      bool
	campaigned  Instant // last takeover sent
	notBefore   Instant // no takeover before, after a release by command
	leaveAfter  Instant // no leaving before, after one that failed
	betterSince Instant // since when preemption is due to count; never: nobody better
	published   Peer
	publishedOK bool
	warned      string
}

// sighting is a value of the record and when this node's clock says it was seen.
type sighting struct {
	known bool
	raw   string
	rec   Record
	bad   error
	at    Instant // first seen, or for lastRead: sent
	sign  Instant // last sign that it is current
	live  bool
}

type reading struct {
	id   string
	sent Instant
}

// claim is the right to serve without a record.
type claim struct {
	until Instant // 0: there is none
	sure  Instant // until when the address is known to be on the link, or nobody's

	// founding: the etcd that appears is this node's own beginning, and nobody else
	// can have written into it ([ClaimFacts.Refusals]).
	founding bool
}

// probing is the look at the wire before an absent record is taken.
type probing struct {
	id     string  // under way
	sent   Instant // of it
	silent Instant // when nobody had answered; 0: not known
	next   Instant // no further one before
}

type offer struct {
	id, call string
	sent     Instant
}

type forced struct {
	id    string
	token uint64
}

// term is a record that is this node's own.
type term struct {
	raw       string // what the next write expects; "" while adopting
	rec       Record
	sent      Instant // of the last confirmed write
	tried     Instant // of the last write
	right     Instant // sent + hold
	limit     Instant // sent + 0.99 takeover: by then the kernel must have removed the address
	confirmed bool    // by a compare-and-swap or an offer of this process
	shorten   uint64  // Seq of the Save that must come before a write that shortens
	shortenOK bool
	bearing   bearing
}

// write is a transaction that may have committed or may still commit.
type write struct {
	id, expect, value string
	rec               Record
	sent              Instant
	flying            bool // no outcome yet
	begins            bool // begins an epoch
	gives             bool // gives the record away
	timeout           time.Duration
}

// New returns a machine for a node that starts now, and its first actions.
// saved is what an earlier process of this boot left, or nil.
func New(cfg Config, now Now, saved *SavedState, drained bool) (*Machine, []Action) {
	m := &Machine{cfg: cfg, now: now, drained: drained, betterSince: never}
	m.why = "just started"
	m.fenced = unset
	m.health.OK = true
	m.fence = Fence{Reason: "not attached yet"}
	// Above all that the process before this one sent, a nanosecond each: an answer to
	// one of its beats is none to a beat of this one.
	m.beats = beats{seq: uint64(now.Boot), heard: map[string]heard{}, steady: never, calm: calmFirst}
	m.link, m.linkBy = Link{Reason: "not looked at yet"}, now.Boot+findTime
	m.adopt(saved)
	m.emit(FindAddress{})
	return m, m.finish()
}

// Step tells the machine one event and returns what it wants done.
func (m *Machine) Step(now Now, ev Event) []Action {
	m.now.Wall = now.Wall
	m.now.Boot = max(m.now.Boot, now.Boot)
	m.handle(ev)
	return m.finish()
}

// Next is the instant at which the machine wants a Tick.
func (m *Machine) Next() Instant { return m.next }

func (m *Machine) finish() []Action {
	m.next = never
	if !m.exited {
		m.expireClaim()
		m.expireRight()
		m.forsake()
		m.driveLeave()
		m.driveTerm()
		m.driveBeats()
		m.driveAbandon()
		m.driveCandidate()
		m.driveFence()
		m.driveAddress()
		m.driveStop()
		m.settleRole()
		m.publish()
	}
	out := m.out
	m.out = nil
	return out
}

func (m *Machine) handle(ev Event) {
	switch e := ev.(type) {
	case Tick:
	case Observed:
		m.observe(e)
	case ReadFailed:
		if e.Read == m.reading.id {
			m.reading.id = ""
		}
	case Wrote:
		m.wrote(e)
	case Probed:
		m.probed(e)
	case Etcd:
		m.etcd = e
	case Peers:
		m.peers = slices.Clone(e.List)
	case Called:
		m.called(e.Call)
	case AddressFound, AddressSet, AddressCleared, AddressLost, AddressAppeared:
		m.addressEvent(ev)
	case Saved:
		m.stateSaved(e)
	case Members:
		m.members = Members{Self: e.Self, Voters: slices.Clone(e.Voters)}
	case Heard:
		m.heardMessage(e)
	case Fence:
		m.fence, m.fenceTold = e, true
		m.fenced = unset
	case Retime:
		m.cfg.Timing, m.cfg.Detection = e.Timing, e.Detection
		if m.term != nil {
			m.term.shorten, m.term.shortenOK = 0, false // what was saved is not for this timing
		}
	case Health:
		m.health = e
	case Link:
		m.link, m.linkBy = e, 0
	case HandOver:
		m.commandHandOver(e)
	case SetDrained:
		m.commandDrain(e)
	case Release:
		m.commandRelease(e)
	case Claim:
		m.commandClaim(e)
	case Unclaim:
		m.commandUnclaim(e)
	case Shutdown:
		m.commandShutdown(e)
	case Stop:
		m.commandStop(e)
	}
}

func (m *Machine) emit(a Action) { m.out = append(m.out, a) }

// wakeAt asks for a Tick at t; the earliest wish counts.
func (m *Machine) wakeAt(t Instant) { m.next = min(m.next, t) }

// reached reports whether t has come, and asks for a Tick if it has not.
func (m *Machine) reached(t Instant) bool {
	if m.now.Boot >= t {
		return true
	}
	m.wakeAt(t)
	return false
}

func (m *Machine) newID() string {
	return makeID(m.cfg.Incarnation, m.newSeq())
}

func (m *Machine) newSeq() uint64 {
	m.counter++
	return m.counter
}

func (m *Machine) stopping() bool { return m.stopBy != 0 }

// aside reports whether this node is not to have the address.
func (m *Machine) aside() bool { return m.drained || m.down }

// become is the only place where the role changes.
func (m *Machine) become(r Role, reason string) {
	m.why = reason
	if r == m.role {
		return
	}
	m.emit(Note{From: m.role, To: r, Reason: reason})
	m.role = r
}

// settleRole derives the role of a node that has no term.
func (m *Machine) settleRole() {
	if m.term != nil || m.claimed() {
		return
	}
	switch {
	case m.drained:
		m.become(Drained, "drained by an operator")
	case m.down:
		m.become(Drained, m.cfg.Node+" shuts down")
	case !m.etcd.Local:
		m.become(Waiting, "no usable etcd member on this node: "+m.etcd.Reason)
	case !m.seen.known:
		m.become(Waiting, "the record is not read yet")
	case m.role != Candidate:
		m.become(Candidate, "the local etcd member answers")
	}
}

func (m *Machine) warnOnce(text string) {
	if text != m.warned {
		m.warned = text
		m.emit(Warn{Text: text})
	}
}

func (m *Machine) publish() {
	p := Peer{
		Node: m.cfg.Node, Role: m.role.String(), Priority: m.cfg.Priority,
		Healthy: m.health.OK, Drained: m.aside(), LinkUp: m.link.Present && m.link.Up,
		Able: m.able(),
	}
	if !m.aside() && !m.stopping() { // else it is withdrawn, though who has seen it may still use it
		p.Call, p.Offer = m.offer.call, m.offer.id
	}
	if e := &m.epoch; e.abandoned {
		p.Member, p.Abandoned = m.members.Self, e.epoch.ID
	}
	if m.publishedOK && p == m.published {
		return
	}
	m.published, m.publishedOK = p, true
	m.emit(Publish{Peer: p})
}

// able reports whether this node could take the address over at once.
func (m *Machine) able() bool {
	return m.term == nil && m.etcd.Local && m.seen.known && m.addr.state == absent &&
		m.link.Present && !m.cannotSet() && !m.aside() && !m.stopping()
}
