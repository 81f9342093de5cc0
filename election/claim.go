package election

import "time"

// ClaimFacts is what is known when a node is asked to hold the address alone,
// before there is an etcd that could elect.
type ClaimFacts struct {
	Force      bool // break-glass: an operator takes the risk that etcd's quorum is only out of sight
	Unfinished bool // the same run had the claim before, and the election never took it over
	Member     bool // this node has or had an etcd member: its data or its manifest is there
	Record     bool // etcd answers with a quorum here: the election decides
	Aside      bool // drained, or the node goes down
	Answered   bool // somebody uses the address, or probes for it too
	Passing    bool // the link was seen to pass frames, so that silence means something
	MasterUp   bool // another master's etcd or API server accepts connections
}

// ClaimRefusal is a reason not to claim.
type ClaimRefusal int

// The reasons. What Force does not overrule comes first.
const (
	RefusedAside    ClaimRefusal = iota // the node is to take no part
	RefusedRecord                       // etcd is there: nothing is claimed beside it
	RefusedAnswered                     // somebody has the address
	RefusedSilence                      // nothing was heard on the link, so nobody's silence proves anything
	RefusedMember                       // this node was part of a cluster, whose others may hold the address
	RefusedMasterUp                     // another master runs: there is a cluster, or one is being made
)

// Refusals returns every reason against the claim; none means that it may begin.
//
// A node that has been an etcd member may belong to a cluster that lives on
// without it, so it never claims again. The one exception is a run of kubeadm
// init that was cut off before the election had the record: until then no phase
// runs that lets another node join, so nobody else can have a part in its etcd.
func (f ClaimFacts) Refusals() []ClaimRefusal {
	var r []ClaimRefusal
	for _, c := range []struct {
		against bool
		reason  ClaimRefusal
	}{
		{f.Aside, RefusedAside},
		{f.Record, RefusedRecord},
		{f.Answered, RefusedAnswered},
		{!f.Passing, RefusedSilence},
		{f.Member && !f.Unfinished && !f.Force, RefusedMember},
		{f.MasterUp && !f.Force, RefusedMasterUp},
	} {
		if c.against {
			r = append(r, c.reason)
		}
	}
	return r
}

const (
	// claimLife is the kernel lifetime of a claimed address, in seconds.
	claimLife = 2

	// claimGap is how long a claimed address may have been off the link: whoever
	// looks at the wire for a claim asks three times, a second apart, and still
	// hears this node. After a longer gap the wire must be looked at anew.
	claimGap = time.Second

	// findTime is for finding out, after a start, whether the address and the link are there.
	findTime = time.Second
)

// claimed reports whether this node serves by a claim now.
func (m *Machine) claimed() bool {
	return m.term == nil && m.now.Boot < m.claim.until && m.now.Boot < m.claim.sure+claimGap &&
		!m.aside() && (!m.stopping() || m.restart)
}

// commandClaim begins or renews. A record of somebody else ends every claim.
func (m *Machine) commandClaim(e Claim) {
	refuse := func(why string) { m.emit(Done{Token: e.Token, Err: why}) }
	renewed := m.claimed()
	switch {
	case m.term != nil:
		m.emit(Done{Token: e.Token, Message: m.cfg.Node + " holds the address by election"})
		return
	case m.aside() || m.stopping():
		refuse(m.cfg.Node + " takes no part: it is drained or ends")
		return
	case m.othersRecord():
		refuse(m.lostTo())
		return
	case !renewed && m.now.Boot >= e.Looked+claimGap:
		refuse("nothing is claimed, and nobody has just looked at the wire")
		return
	}
	m.claim.until = m.now.Boot + e.For
	m.claim.sure = max(m.claim.sure, e.Looked)
	m.claim.founding = e.Founding
	m.save(0, &SavedState{Schema: Schema, Node: m.cfg.Node, Claim: m.claim.until})
	if !renewed {
		m.become(Claimant, e.Why)
	}
	m.emit(Done{Token: e.Token, Changed: !renewed, Message: m.cfg.Node + " holds the address by a claim"})
}

// foundForClaim: a claim of the process before this one goes on only if its
// address is still there.
func (m *Machine) foundForClaim(e AddressFound) {
	if m.claim.until == 0 {
		return
	}
	m.claim.sure = m.now.Boot
	if !e.Present {
		m.endClaim("the address was gone when the daemon came back")
	}
}

func (m *Machine) commandUnclaim(e Unclaim) {
	if !m.claimed() {
		m.emit(Done{Token: e.Token, Message: "nothing is claimed"})
		return
	}
	m.endClaim(e.Reason)
	m.emit(Done{Token: e.Token, Changed: true, Message: "the claim is over: " + e.Reason})
}

func (m *Machine) endClaim(reason string) {
	m.claim = claim{}
	m.save(0, nil)
	m.toIdle(reason)
}

// othersRecord: the record in sight names another node, or is not understood.
func (m *Machine) othersRecord() bool {
	s := m.seen
	return s.known && s.raw != "" && (s.bad != nil || !s.rec.Free() && !m.mine(s.rec))
}

// expireClaim ends a claim that is none any more.
func (m *Machine) expireClaim() {
	c := m.claim
	switch {
	case c.until == 0 || m.term != nil:
	case m.othersRecord():
		m.endClaim(m.lostTo())
	case m.aside() || m.stopping() && !m.restart:
		m.endClaim(m.cfg.Node + " takes no part any more")
	case m.reached(c.until):
		m.endClaim("the claim was not renewed")
	case m.reached(c.sure + claimGap):
		m.endClaim("the address was off the link for too long")
	}
}

// claimLimit is by when the kernel is to have removed a claimed address if it is
// not refreshed. Nobody counts on it: who comes next looks at the wire.
func (m *Machine) claimLimit() Instant {
	if !m.claimed() {
		return 0
	}
	return m.now.Boot + seconds(claimLife) + KernelLateness + killLateness + setSlack
}

func (m *Machine) refreshClaim() {
	if m.addr.state != present || m.reached(m.addr.from+setEvery-seconds(claimLife)) {
		m.setAddress(m.claimLimit(), setSlack)
	}
}
