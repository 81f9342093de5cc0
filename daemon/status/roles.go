package status

import "strings"

// judgeRoles writes the role of every master.
func judgeRoles(d *Document) {
	for i := range d.Masters {
		m := &d.Masters[i]
		if m.Self {
			m.Present, m.Says = true, d.Self.Role
		}
		m.Role = roleOf(d, m)
	}
	if next := d.firstInRank(); next != nil && next.Role == RoleCandidate {
		next.Role = RoleNext
	}
}

func roleOf(d *Document, m *Master) Role {
	switch {
	case m.Self && m.Says == RoleClaimant:
		return RoleClaimant
	case d.held() && d.Holder.Node == m.Name && (!m.Self || m.Says != RoleReleasing):
		return RoleHolder
	case m.Self:
		return ownRole(m)
	case !d.etcdAnswers():
		return RoleUnknown
	case !m.Present && m.LastSeenMS == nil:
		return RoleNeverSeen
	case !m.Present:
		return RoleGone
	}
	return ownRole(m)
}

// ownRole is what a daemon that is there says of itself. Its word that it is
// the holder is out of date when the record does not name it.
func ownRole(m *Master) Role {
	switch m.Says {
	case RoleHolder:
		return RoleReleasing
	case RoleCandidate:
		if !m.Healthy {
			return RoleUnhealthy
		}
		return RoleCandidate
	case "":
		return RoleWaiting
	}
	return m.Says
}

// firstInRank is the candidate that would take over: by health, then priority,
// then name; nil when there is none.
func (d *Document) firstInRank() *Master {
	var best *Master
	for i := range d.Masters {
		m := &d.Masters[i]
		switch m.Role {
		case RoleCandidate, RoleNext, RoleUnhealthy:
		default:
			continue
		}
		if best == nil || before(m, best) {
			best = m
		}
	}
	return best
}

func before(a, b *Master) bool {
	switch {
	case a.Healthy != b.Healthy:
		return a.Healthy
	case a.Priority != b.Priority:
		return a.Priority > b.Priority
	}
	return a.Name < b.Name
}

func (d *Document) withRole(r Role) []string {
	var names []string
	for _, m := range d.Masters {
		if m.Role == r {
			names = append(names, m.Name)
		}
	}
	return names
}

// healthyStandbys counts the masters that could take over and are healthy.
func (d *Document) healthyStandbys() int {
	return len(d.withRole(RoleCandidate)) + len(d.withRole(RoleNext))
}

func (d *Document) standbys() string {
	next := strings.Join(d.withRole(RoleNext), "")
	if n := d.healthyStandbys(); n > 1 {
		return count(n, "healthy standby") + ", " + next + " is next"
	}
	return next + " is a healthy standby"
}
