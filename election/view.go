package election

import "slices"

// Glance is the part of a View that can be asked for after every step: nothing is
// copied for it.
type Glance struct {
	Role   Role
	Reason string // of the last transition

	Serving   bool    // the address belongs on this node's link now
	Adopting  bool    // of an earlier process, not confirmed yet
	Right     Instant // until when this node may serve; 0 without a term
	Claim     Instant // until when the claim lasts; 0: none
	Sent      Instant // of the last confirmed renewal; 0 without one
	Address   string  // what is known of the address on the own link
	LivesTill Instant // when the kernel removes it unless refreshed; 0 if absent

	Known   bool // the record was read
	Record  Record
	Absent  bool
	Bad     error   // why the record is not obeyed
	SeenAt  Instant // when this value was first seen
	SignAt  Instant // when it was last confirmed to be current
	Leaving string  // why the address is being given away; "" if it is not
}

// View is what the machine knows, for people: nothing is decided from it.
type View struct {
	Glance
	Etcd     Etcd
	Health   Health
	Link     Link
	Beats    BeatsView
	Drained  bool
	Stopping bool
	Peers    []Peer // own presence included
	Next     string // the candidate that ranks first; "" if there is none
}

// BeatsView is what the machine knows of heartbeats.
type BeatsView struct {
	Detection Detection // of the config
	Fence     Fence
	Members   Members
	Epoch     *Epoch  // the one in force, of the record in sight; nil: plain mode
	Borne     Instant // holder: until when acknowledgements bear the right; 0 without an epoch
	Plain     string  // holder: why the mode is plain, or about to be; "" if it is not
	Heard     []HeardView
	LastBeat  Instant // others: when the epoch's last beat came; 0: none did
	Abandoned bool    // others: this node has abandoned it
}

// HeardView is the last answer of one member to the holder's beats.
type HeardView struct {
	Member  string
	At      Instant // SEND of the beat that was answered; 0: it never answered
	Verdict Verdict
}

func (m *Machine) beatsView() BeatsView {
	b := BeatsView{
		Detection: m.cfg.Detection, Fence: m.fence,
		Members:  Members{Self: m.members.Self, Voters: slices.Clone(m.members.Voters)},
		LastBeat: m.epoch.beat, Abandoned: m.epoch.abandoned,
	}
	if m.seen.known && m.seen.bad == nil {
		b.Epoch = m.seen.rec.Epoch
	}
	if m.term == nil || !m.term.confirmed {
		return b
	}
	b.Epoch, b.Plain = m.term.rec.Epoch, m.beats.because
	if b.Epoch != nil {
		b.Borne = m.borneRight(m.term.rec, m.term.sent)
	}
	for _, id := range m.members.Voters {
		if h := m.beats.heard[id]; id != m.members.Self {
			b.Heard = append(b.Heard, HeardView{Member: id, At: h.at, Verdict: h.verdict})
		}
	}
	return b
}

// Glance returns what is known of the address, the right to it and the record.
func (m *Machine) Glance() Glance {
	g := Glance{
		Role: m.role, Reason: m.why, Serving: m.serving(),
		Address: m.addr.state.String(), LivesTill: m.addr.until,
		Known: m.seen.known, Record: m.seen.rec, Absent: m.seen.known && m.seen.raw == "",
		Bad: m.seen.bad, SeenAt: m.seen.at, SignAt: m.seen.sign,
	}
	if m.claimed() {
		g.Claim, g.Right = m.claim.until, m.claim.until
	}
	if t := m.term; t != nil {
		g.Right, g.Adopting = m.right(), t.raw == ""
		if t.confirmed {
			g.Sent, g.Record = t.sent, t.rec
		}
	}
	if m.leave != nil {
		g.Leaving = m.leave.reason
	}
	return g
}

// View returns a copy.
func (m *Machine) View() View {
	return View{
		Glance: m.Glance(),
		Etcd:   m.etcd, Health: m.health, Link: m.link, Beats: m.beatsView(),
		Drained: m.drained, Stopping: m.stopping(), Peers: slices.Clone(m.peers), Next: m.nextHolder(),
	}
}

// nextHolder is the candidate that would take over first.
func (m *Machine) nextHolder() string {
	best := ""
	var rank Peer
	for _, p := range m.peers {
		if !p.Able || p.Node == m.seen.rec.Node {
			continue
		}
		if best == "" || better(p, rank) {
			best, rank = p.Node, p
		}
	}
	return best
}
