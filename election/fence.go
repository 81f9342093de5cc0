package election

import "time"

// fenceStep is by how much the fence must lag behind before it is set anew.
const fenceStep = 10 * time.Millisecond

// driveFence lets the kernel close the address by itself when what bears the
// right may be gone (rule 12). The instant is absolute, so what a frozen process
// writes late is an old one and does no harm.
//
// It does so whether there is a fence or not: what is left of one that counts no more,
// or comes to the link next, must not close what is served by right.
func (m *Machine) driveFence() {
	switch {
	case m.claimed() || m.serving() && (m.term.confirmed || m.term.bearing.epoch != ""):
		if until := m.fenceLimit(); m.fenced == unset || until > m.fenced+fenceStep || until < m.fenced {
			m.setFence(until)
		}
	case m.addr.state == absent && m.addr.op == opNone && m.term == nil && m.fenced != 0:
		m.setFence(0)
	}
}

// kept: nobody has looked yet whether the fence that the process before this one
// left is on the link. Its deadline can be moved meanwhile.
func (m *Machine) kept() bool {
	return !m.fenceTold && m.term != nil && m.term.bearing.adopted != 0
}

func (m *Machine) setFence(until Instant) {
	m.fenced = until
	m.emit(SetFence{Until: until})
}

// lifeLimit is by when the kernel must have removed the address by itself.
func (m *Machine) lifeLimit() Instant {
	l := min(m.limit(), m.lifeCap())
	if !m.fence.OK {
		l = min(l, m.fenceLimit())
	}
	return l
}

// lifeCap bounds the kernel's lifetime of the address while the record's own
// takeover is long: what a frozen daemon leaves behind the fence goes soon, and
// a plain record can follow at once.
func (m *Machine) lifeCap() Instant {
	if m.term == nil || m.term.rec.Epoch == nil {
		return never
	}
	return m.now.Boot + margin(m.cfg.Timing.Takeover)
}
