package status

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// problems lists why the VIP is not held as well as it could be, worst first.
// No age is part of a problem's text, so that an unchanged problem reads the
// same a second later.
func problems(d *Document) []string {
	list := []string{}
	list = append(list, memoryProblems(d)...)
	list = append(list, addressProblems(d)...)
	list = append(list, conflictProblems(d)...)
	list = append(list, standbyProblems(d)...)
	for i := range d.Masters {
		list = append(list, masterProblems(d, &d.Masters[i])...)
	}
	list = append(list, etcdProblems(d)...)
	return list
}

func memoryProblems(d *Document) []string {
	switch {
	case d.etcdAnswers() || !d.held():
		return nil
	case d.claimedByForce():
		return []string{etcdTrouble(d) + "; " + d.Node + " has the VIP alone, claimed by force, and nobody could take over"}
	case d.Self.Role == RoleClaimant:
		return []string{"there is no etcd yet: " + d.Node + " has the VIP alone, by a claim, and nobody could take over"}
	case d.Holder.Node == d.Node:
		return []string{etcdTrouble(d) + "; the VIP is let go when its right ends"}
	}
	return []string{etcdTrouble(d)}
}

// claimedByForce tells break-glass from an init: that one has no member beside its
// own. The reason says no more after the daemon was restarted.
func (d *Document) claimedByForce() bool {
	return d.Self.Role == RoleClaimant && (d.Etcd.Members > 1 || strings.HasPrefix(d.Self.Reason, ForcedClaim))
}

func addressProblems(d *Document) []string {
	var list []string
	holding := d.held() && d.Holder.Node == d.Node
	link := orElse(d.Address.Link, "any link")
	if holding && d.Address.LinkReason != "" {
		list = append(list, fmt.Sprintf("%s of %s: %s", link, d.Node, d.Address.LinkReason))
	}
	for _, s := range d.Address.States {
		switch {
		case holding && !s.Present && d.Self.Role != RoleReleasing:
			list = append(list, fmt.Sprintf("%s is not on %s of %s, though %s holds it", s.Address, link, d.Node, d.Node))
		case s.Present && s.Permanent:
			list = append(list, fmt.Sprintf("%s is on %s of %s without a lifetime: something other than havip set it", s.Address, link, d.Node))
		case d.strayHere(s):
			list = append(list, fmt.Sprintf("%s is on %s of %s, which does not hold it", s.Address, link, d.Node))
		}
	}
	return list
}

// strayHere reports an address on this node's link that should not be there.
func (d *Document) strayHere(s AddressState) bool {
	switch {
	case !s.Present, d.Self.Role == RoleReleasing, d.Self.Role == RoleHolder:
		return false
	}
	return d.Holder == nil || d.Holder.Node != d.Node
}

func standbyProblems(d *Document) []string {
	switch {
	case !d.etcdAnswers() || !d.held():
		return nil
	case len(d.Masters) == 1:
		return []string{d.Masters[0].Name + " is the only master: nobody can take over"}
	case d.firstInRank() == nil:
		return []string{"no standby: nobody could take over"}
	case d.healthyStandbys() == 0:
		return []string{"no healthy standby"}
	}
	return nil
}

// masterProblems says what is wrong with one master. A drained one is out of
// service on purpose: that is a step to do, not a problem.
func masterProblems(d *Document, m *Master) []string {
	var list []string
	switch m.Role {
	case RoleGone:
		text := m.Name + " is gone"
		if m.etcdAlive() {
			text = "havipd on " + m.Name + " is not heard, though its etcd member runs"
		}
		list = append(list, text)
	case RoleNeverSeen:
		list = append(list, m.Name+" was never seen")
	case RoleWaiting:
		if !m.Self || d.Etcd.State == EtcdReady { // else etcdProblems says it
			list = append(list, m.Name+" waits for its etcd member"+because(m.EtcdDetail))
		}
	case RoleUnhealthy:
		if d.etcdAnswers() { // without quorum every API server hangs
			list = append(list, sickness(m)...)
		}
	case RoleHolder:
		if !m.Healthy && (m.Self || m.Present) && d.etcdAnswers() {
			list = append(list, sickness(m)...)
		}
	}
	return list
}

// sickness says why a master is not healthy.
func sickness(m *Master) []string {
	var list []string
	if m.APIServer == APIFailing {
		list = append(list, "the API server of "+m.Name+" fails"+because(m.APIServerDetail))
	}
	if m.Gateway == GatewaySilent {
		list = append(list, m.Name+" is cut off from the VIP's network"+because(m.GatewayDetail))
	}
	if len(list) == 0 {
		list = append(list, m.Name+" is not healthy yet")
	}
	return list
}

// allCutOff reports whether no master that is there hears its gateway: then it is
// the gateway, or the network, and nobody is better off than the holder.
func (d *Document) allCutOff() bool {
	silent := 0
	for _, m := range d.Masters {
		switch {
		case !m.Present:
		case m.Gateway != GatewaySilent:
			return false
		default:
			silent++
		}
	}
	return silent > 1
}

func (m *Master) etcdAlive() bool {
	return m.Etcd == MemberLeader || m.Etcd == MemberFollower || m.Etcd == MemberLearner
}

// etcdProblems leaves out the members whose loss a master's line explains.
func etcdProblems(d *Document) []string {
	e := d.Etcd
	var list []string
	if len(e.Alarms) > 0 && d.held() {
		list = append(list, "etcd raised an alarm: "+strings.Join(e.Alarms, ", "))
	}
	if !d.etcdAnswers() || e.Members == 0 {
		return list
	}
	if e.State != EtcdReady {
		list = append(list, etcdTrouble(d))
	}
	if lost := e.Members - e.Healthy; lost > d.explainedLosses() {
		list = append(list, fmt.Sprintf("etcd has %d of %s", e.Healthy, count(e.Members, "member")))
	}
	if e.Members == 2 && e.Healthy == 2 && len(d.Masters) > 1 {
		list = append(list, "etcd has two members and survives no failure")
	}
	return list
}

func (d *Document) explainedLosses() int {
	n := 0
	for _, m := range d.Masters {
		gone := m.Role == RoleGone || m.Role == RoleNeverSeen || m.Role == RoleWaiting
		if (gone && !m.etcdAlive()) || (m.Self && d.Etcd.State != EtcdReady) {
			n++
		}
	}
	return n
}

func conflictProblems(d *Document) []string {
	var list []string
	for _, c := range d.Address.Conflicts {
		if time.Duration(c.AgoMS)*time.Millisecond <= recentConflict {
			list = append(list, fmt.Sprintf("%s claimed %s on the wire", c.MAC, c.Address))
		}
	}
	return list
}

func joinAddrs(list []netip.Addr) string {
	var s []string
	for _, a := range list {
		s = append(s, a.String())
	}
	return strings.Join(s, ", ")
}
