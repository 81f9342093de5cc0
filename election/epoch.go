package election

import (
	"fmt"
	"slices"
	"time"
)

// Epoch is a stretch of a term in which the holder serves only while enough
// members acknowledge its beats, and may be replaced without a wait once enough
// of them have abandoned it (rule 11). It is begun by one write and is over with
// the first record that does not bear it.
type Epoch struct {
	ID      string   `json:"id"`      // fresh for every epoch
	Members []string `json:"members"` // of etcd, when it began: nobody else counts
	Acks    int      `json:"acks"`    // so many of them, the holder included, must bear it

	// A member may abandon it when it has received no beat for PromiseMS. The
	// holder's right lasts HoldMS from the send of a beat that enough acknowledged.
	PromiseMS int64 `json:"promise_ms"`
	HoldMS    int64 `json:"hold_ms"`

	// The write that begins it counts as the first beat, with longer times.
	FirstPromiseMS int64 `json:"first_promise_ms"`
	FirstHoldMS    int64 `json:"first_hold_ms"`
}

// MinMembers is how many members of etcd heartbeats need: of two, none can lose
// the other and still write.
const MinMembers = 3

// Promise is how long a member that received a beat does not abandon the epoch.
func (e *Epoch) Promise() time.Duration { return time.Duration(e.PromiseMS) * time.Millisecond }

// Hold is how long a beat bears the holder's right, from its send.
func (e *Epoch) Hold() time.Duration { return time.Duration(e.HoldMS) * time.Millisecond }

func (e *Epoch) firstPromise() time.Duration {
	return time.Duration(e.FirstPromiseMS) * time.Millisecond
}
func (e *Epoch) firstHold() time.Duration { return time.Duration(e.FirstHoldMS) * time.Millisecond }

// Abandonments is how many members must have abandoned the epoch before it is
// dead: so many that every set that could still bear it misses one.
func (e *Epoch) Abandonments() int { return len(e.Members) - e.Acks + 1 }

// peers is how many members beside the holder must answer for heartbeats to make
// sense: enough to prove the epoch dead when the holder dies, and one more than
// must bear it, so that the loss of any one of them does not end the right before
// a plain record is written.
func (e *Epoch) peers() int { return max(e.Acks, e.Abandonments()) }

func newEpoch(id string, members []string, d Detection, first Timing) *Epoch {
	return &Epoch{
		ID: id, Members: slices.Clone(members), Acks: len(members)/2 + 1,
		PromiseMS: d.Promise.Milliseconds(), HoldMS: d.Hold.Milliseconds(),
		FirstPromiseMS: first.Takeover.Milliseconds(), FirstHoldMS: first.Hold.Milliseconds(),
	}
}

func (e *Epoch) plausible() error {
	members := slices.Clone(e.Members)
	slices.Sort(members)
	switch {
	case e.ID == "":
		return fmt.Errorf("%w: epoch.id: empty", ErrImplausible)
	case len(slices.Compact(members)) != len(e.Members):
		return fmt.Errorf("%w: epoch.members: a member is there twice", ErrImplausible)
	case e.Acks < 1 || e.Acks > len(e.Members):
		return fmt.Errorf("%w: epoch.acks: %d, must be 1 to %d", ErrImplausible, e.Acks, len(e.Members))
	case !spanned(e.HoldMS, e.PromiseMS):
		return fmt.Errorf("%w: epoch.hold_ms: %d, must be above 0 and at most %v of promise_ms %d", ErrImplausible, e.HoldMS, clockMargin, e.PromiseMS)
	case e.PromiseMS > e.FirstPromiseMS || e.FirstPromiseMS > MaxTakeover.Milliseconds():
		// Who restarts waits the first promise, and may have made the other before.
		return fmt.Errorf("%w: epoch.first_promise_ms: %d, must be promise_ms %d to %d", ErrImplausible, e.FirstPromiseMS, e.PromiseMS, MaxTakeover.Milliseconds())
	case !spanned(e.FirstHoldMS, e.FirstPromiseMS):
		return fmt.Errorf("%w: epoch.first_hold_ms: %d, must be above 0 and at most %v of first_promise_ms %d", ErrImplausible, e.FirstHoldMS, clockMargin, e.FirstPromiseMS)
	}
	return nil
}

// spanned: a right of hold ends before a promise that began later, by any clock.
func spanned(hold, promise int64) bool {
	return hold > 0 && float64(hold) <= clockMargin*float64(promise)
}

// bearing is how a term's own epoch is borne.
type bearing struct {
	epoch string  // the one confirmed by this process; "": none
	begun Instant // SEND of the write that began it
	acked []acked // by whoever did

	adopted Instant // since when this process bears it; 0: it began it
}

// acked is the SEND of the newest beat that a member acknowledged.
type acked struct {
	by   string
	sent Instant
}

// heardFrom is the send of the newest beat that the member acknowledged; 0: none.
func (b *bearing) heardFrom(member string) Instant {
	for i := range b.acked {
		if b.acked[i].by == member {
			return b.acked[i].sent
		}
	}
	return 0
}

// ack counts an acknowledgement of a beat, if it is of the newest one.
func (b *bearing) ack(by string, sent Instant) {
	for i := range b.acked {
		if a := &b.acked[i]; a.by == by {
			a.sent = max(a.sent, sent)
			return
		}
	}
	b.acked = append(b.acked, acked{by, sent})
}

// borne is until when acknowledgements bear the record's epoch, if a beat does
// so for each, and the epoch's own write, sent then, for first. A record
// without an epoch needs none.
func (m *Machine) borne(rec Record, sent Instant, first, each time.Duration) Instant {
	e := rec.Epoch
	if e == nil {
		return never
	}
	b := &m.term.bearing
	if e.ID != b.epoch {
		return sent + first // not confirmed: nobody was asked to acknowledge it
	}
	// The holder is one of those who bear it.
	need := e.Acks - 1
	if need == 0 {
		return never
	}
	var few [7]Instant // as many as a control plane has: asked many times a second
	until := few[:0]
	for _, id := range e.Members {
		if id != m.members.Self {
			until = append(until, max(b.begun+first, b.heardFrom(id)+each))
		}
	}
	slices.Sort(until)
	if need > len(until) {
		return 0
	}
	return until[len(until)-need]
}

// bears: a record with an epoch gives a right only to the term that began it,
// which was never without one since. Others may have abandoned it meanwhile.
func (m *Machine) bears(w write) bool {
	e := w.rec.Epoch
	return e == nil || m.term != nil && (w.begins || e.ID == m.term.bearing.epoch)
}

// borneRight is the part of the right that hangs on acknowledgements.
func (m *Machine) borneRight(rec Record, sent Instant) Instant {
	if rec.Epoch == nil {
		return never
	}
	return m.borne(rec, sent, rec.Epoch.firstHold(), rec.Epoch.Hold())
}

// borneLimit is by when the kernel must have closed the address for lack of
// acknowledgements, for other nodes' clocks that run 1 % fast (rule 12).
func (m *Machine) borneLimit(rec Record, sent Instant) Instant {
	if rec.Epoch == nil {
		return never
	}
	return m.borne(rec, sent, margin(rec.Epoch.firstPromise()), margin(rec.Epoch.Promise()))
}

// acknowledged counts an answer to a beat. After the right has ended none
// counts, or what others have abandoned would live again.
func (m *Machine) acknowledged(from string, sent Instant) {
	e, b := m.term.rec.Epoch, &m.term.bearing
	if e == nil || e.ID != b.epoch || m.now.Boot >= m.right() || !slices.Contains(e.Members, from) {
		return
	}
	b.ack(from, sent)
}
