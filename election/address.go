package election

import "time"

type addrState int

const (
	unsure  addrState = iota // nobody has looked since the start
	absent                   // read back: on no link
	present                  // set by this process, or found and adopted
	maybe                    // a call failed; it may be there until `until`
)

type op int

const (
	opNone op = iota
	opSet
	opClear
)

const (
	// setEvery spaces refreshes: everybody on the node who listens for address
	// changes hears each one.
	setEvery = 750 * time.Millisecond

	// setSlack is how long before the latest safe instant a set call is normally
	// made; lastSlack is what is left for the one that lets the address live as
	// long as the right. A process that is frozen for longer than the slack, in
	// the middle of the call, is killed (rule 6).
	setSlack  = 500 * time.Millisecond
	lastSlack = 120 * time.Millisecond

	// lastEarly is how long before the last instant that call is made.
	lastEarly = 10 * time.Millisecond

	// minGain is what a refresh at the last instant must add to the address's
	// life: more than lastEarly and earlyExpiry, or it would be made again.
	minGain = 50 * time.Millisecond

	// unsetAfter is how long set calls may fail before a healthy node is given
	// the address; for unsetFor after the last failure this one is no successor.
	unsetAfter = time.Second
	unsetFor   = 10 * time.Second

	setRetry       = 200 * time.Millisecond
	untouchedRetry = 50 * time.Millisecond
	clearRetry     = 100 * time.Millisecond

	// earlyExpiry is how much too early the kernel may remove an address.
	earlyExpiry = 20 * time.Millisecond
)

// address is what this node knows of the address on its own link.
type address struct {
	state   addrState
	op      op
	seq     uint64  // of op
	life    int     // of the set call under way, in seconds
	latest  Instant // at which that call may take effect
	dirty   bool    // a set call took effect too late: clear before anything else
	from    Instant // its lifetime ends no earlier
	until   Instant // its lifetime ends no later
	retryAt Instant
	lost    bool    // removed by somebody while a set call was under way
	clearAt Instant // no further clear before
	lostAt  Instant // last time somebody else removed it
	failing Instant // since when no set call has succeeded; 0: the last one did
	failed  Instant // the last that did not
	why     string  // it did not
}

func (m *Machine) addressEvent(ev Event) {
	a := &m.addr
	switch e := ev.(type) {
	case AddressFound:
		if a.state != unsure || a.op != opNone {
			return
		}
		a.state = absent
		if e.Present {
			a.state, a.from, a.until = maybe, 0, e.Until
		}
		m.foundForClaim(e)
	case AddressSet:
		if a.op == opSet && a.seq == e.Seq {
			a.op = opNone
			m.setDone(e)
		}
	case AddressCleared:
		if a.op == opClear && a.seq == e.Seq {
			a.op = opNone
			m.clearDone(e)
		}
	case AddressLost:
		m.addressLost()
	case AddressAppeared:
		if a.op != opNone || a.state != absent {
			return
		}
		a.state, a.from, a.until = maybe, 0, e.Until
		if !m.serving() {
			m.emit(Warn{Text: "the address appeared on the link without a right to serve it; removing it"})
		}
	}
}

func (m *Machine) setDone(e AddressSet) {
	a := &m.addr
	if !e.OK {
		a.failed, a.why = m.now.Boot, e.Reason
		if a.failing == 0 {
			a.failing = m.now.Boot
		}
	}
	if e.Untouched {
		a.retryAt = m.now.Boot + setRetry
		if a.failing == m.now.Boot {
			a.retryAt = m.now.Boot + untouchedRetry
		}
		return
	}
	life := seconds(a.life)
	if !e.OK || e.After > a.latest {
		a.until = max(a.until, e.After+life)
		a.retryAt = m.now.Boot + setRetry
		a.state = maybe
		a.dirty = e.After > a.latest
		m.warnOnce("set the address: " + e.Reason)
		return
	}
	m.warned = ""
	a.failing = 0
	a.from, a.until = e.Before+life-earlyExpiry, e.After+life
	m.claim.sure = max(m.claim.sure, a.from)
	came := a.state != present
	a.state = present
	if a.lost {
		a.lost, a.state, a.from = false, maybe, 0
		m.fought()
		return
	}
	if came && m.serving() {
		m.emit(Announce{})
	}
}

func (m *Machine) clearDone(e AddressCleared) {
	a := &m.addr
	a.lost = false
	if e.OK {
		a.dirty = false
		a.state, a.from, a.until = absent, 0, 0
		return
	}
	a.state = maybe
	a.clearAt = m.now.Boot + clearRetry
	m.warnOnce("clear the address: " + e.Reason)
}

func (m *Machine) addressLost() {
	a := &m.addr
	switch {
	case a.op == opSet:
		a.lost = true
	case m.term != nil && !m.term.confirmed:
		a.lostAt = m.now.Boot // nothing is set before it is confirmed
	case a.op == opNone && a.state == present:
		// The news may be older than the last set call: not known to be absent.
		a.state, a.from = maybe, 0
		m.fought()
		if m.serving() {
			m.emit(Warn{Text: "somebody removed the address from the link; setting it again"})
		}
	}
}

// fought spaces the set calls if somebody removes the address again and again.
func (m *Machine) fought() {
	a := &m.addr
	if a.lostAt != 0 && m.now.Boot < a.lostAt+setRetry {
		a.retryAt = max(a.retryAt, m.now.Boot+setRetry)
	}
	a.lostAt = m.now.Boot
}

// driveAddress brings the link in line with the right to serve.
func (m *Machine) driveAddress() {
	a := &m.addr
	if !m.serving() || a.dirty {
		// A set call that has not returned counts as set: the clear queues behind it.
		if a.op != opClear && a.state != unsure && (a.state != absent || a.op == opSet) && m.reached(a.clearAt) {
			a.op, a.seq = opClear, m.newSeq()
			m.emit(ClearAddress{Seq: a.seq})
		}
		return
	}
	if a.op != opNone || (m.term != nil && !m.term.confirmed) || !m.link.Present || a.state == unsure || !m.reached(a.retryAt) {
		return
	}
	if m.restart && a.state == present {
		m.freshen()
		return
	}
	if m.term == nil {
		m.refreshClaim()
		return
	}
	m.refresh()
}

// freshen prolongs the address's life once more before a restart, so that the
// next process has the longest time there is to come up.
func (m *Machine) freshen() {
	limit, now := m.lifeLimit(), m.now.Boot
	for _, slack := range []time.Duration{setSlack, lastSlack} {
		gains := now+seconds(lifetime(limit, now, slack)) >= m.addr.from+minGain
		if !m.freshened && gains && m.setAddress(limit, slack) {
			break
		}
	}
	m.freshened = true
}

// refresh sets the address if it is not there, if that prolongs its life by
// enough to be worth a call, or if this is the last instant that lets it live
// as long as the right does.
func (m *Machine) refresh() {
	a, limit, now := &m.addr, m.lifeLimit(), m.now.Boot
	if a.state != present {
		if !m.setAddress(limit, setSlack) {
			m.setAddress(limit, lastSlack)
		}
		return
	}
	if life := lifetime(limit, now, setSlack); life > 0 && now+seconds(life) >= a.from+setEvery {
		m.setAddress(limit, setSlack)
		return
	}
	if a.from >= m.right() || limit < m.limit() {
		return
	}
	life := lifetime(limit, now, lastSlack)
	last := limit - seconds(life) - KernelLateness - killLateness - lastSlack
	gain := minGain
	if life > 1 {
		gain = setEvery // a second later comes a chance that is as good
	}
	if life > 0 && last+seconds(life) >= a.from+earlyExpiry+gain && m.reached(last-lastEarly) {
		m.setAddress(limit, lastSlack)
	}
}

// setAddress emits a set call with the longest lifetime in whole seconds that
// ends before limit even if the kernel is late, and reports whether one fits.
func (m *Machine) setAddress(limit Instant, slack time.Duration) bool {
	a := &m.addr
	life := lifetime(limit, m.now.Boot, slack)
	if a.op != opNone || life < 1 {
		return false
	}
	a.op, a.seq, a.life, a.lost = opSet, m.newSeq(), life, false
	a.latest = limit - seconds(life) - KernelLateness - killLateness
	m.emit(SetAddress{Seq: a.seq, Lifetime: life, Latest: a.latest})
	return true
}

// lifetime is the largest number of whole seconds that an address set now may
// live so that the kernel has removed it by limit (rule 5).
func lifetime(limit, now Instant, slack time.Duration) int {
	room := limit - now - KernelLateness - killLateness - slack
	if room <= 0 {
		return 0
	}
	return int(room / time.Second)
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

func (s addrState) String() string {
	return [...]string{"not looked at", "absent", "present", "uncertain"}[s]
}

// cannotSet reports whether the kernel refuses to set the address here.
func (m *Machine) cannotSet() bool {
	a := &m.addr
	return a.failing != 0 && !m.reached(a.failed+unsetFor)
}
