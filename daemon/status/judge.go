package status

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// recentConflict is how long a foreign claim of the VIP keeps the verdict
// degraded: twice the longest time that ARP caches commonly keep an entry.
const recentConflict = 10 * time.Minute

// Judge fills in every field marked "judged" from the facts of the document,
// and makes empty lists of nil ones. It is pure and may be called again.
func Judge(d *Document) {
	d.Schema = Schema
	settleHolder(d)
	settleLists(d)
	judgeRoles(d)
	judgeRedundancy(d)
	d.Verdict, d.Reason, d.NobodySince, d.Problems = "", "", nil, []string{}
	switch {
	case !d.Configured:
		d.Verdict = Unconfigured
		d.Reason = "no [vip] in " + orElse(d.Config, "the config file")
	case d.held():
		d.Problems = problems(d)
		d.Verdict, d.Reason = Held, "held; "+d.standbys()
		if len(d.Problems) > 0 {
			d.Verdict, d.Reason = Degraded, d.Problems[0]
		}
	case d.etcdAnswers() && d.recordRead() || d.noQuorumAnywhere():
		d.Verdict, d.Reason = Nobody, whyNobody(d)
		d.NobodySince = nobodySince(d)
		d.Problems = append([]string{d.Reason}, problems(d)...)
	default:
		d.Verdict, d.Reason = Unknown, whyUnknown(d)
		d.Problems = append([]string{d.Reason}, problems(d)...)
	}
	d.Next = nextSteps(d)
	addWarnings(d)
}

// IsHeld reports whether somebody held the VIP when the document was judged:
// what ?wait=held waits for.
func (d *Document) IsHeld() bool { return d.Verdict == Held || d.Verdict == Degraded }

// settleHolder marks what is only remembered: while etcd does not answer, all
// that is known of another holder is of the past.
func settleHolder(d *Document) {
	h := d.Holder
	if h == nil || h.LastKnown || h.Node == d.Node || d.etcdAnswers() {
		return
	}
	h.LastKnown, h.Confirmed = true, false
	if d.Etcd.SilentMS != nil {
		h.AgeMS = *d.Etcd.SilentMS
	}
}

func settleLists(d *Document) {
	settle(&d.VIP)
	settle(&d.Masters)
	settle(&d.Warnings)
	settle(&d.Events)
	settle(&d.Etcd.Alarms)
	settle(&d.Etcd.List)
	settle(&d.Address.States)
	settle(&d.Address.Warnings)
	settle(&d.Address.Conflicts)
	if d.Heartbeats != nil {
		settle(&d.Heartbeats.Peers)
		settle(&d.Heartbeats.Dropped)
	}
}

func settle[T any](list *[]T) {
	if *list == nil {
		*list = []T{}
	}
}

// held reports whether the right of the known holder lasts, as far as this
// node can tell: what it only remembers counts for as long as hold.
func (d *Document) held() bool {
	h := d.Holder
	switch {
	case h == nil:
		return false
	case h.RightLeftMS != nil && *h.RightLeftMS <= 0:
		return false
	case h.LastKnown:
		return h.AgeMS <= d.holdMS()
	}
	return true
}

// holdMS is the hold the record in force asks for, or else this node's own.
func (d *Document) holdMS() int64 {
	if d.Record.HoldMS > 0 {
		return d.Record.HoldMS
	}
	return d.Timing.HoldMS
}

// etcdAnswers reports whether what this node knows of the record is of now.
func (d *Document) etcdAnswers() bool {
	return d.Etcd.State == EtcdReady || d.Etcd.Elsewhere
}

// recordRead reports whether this node has seen the record, or that there is none.
func (d *Document) recordRead() bool {
	return d.Record.State != RecordUnknown && d.Record.State != ""
}

// noQuorumAnywhere reports whether the members that said themselves that they
// have no leader leave too few others for a quorum: only then may a node that
// sees no quorum conclude that nobody has one, on the far side of a partition
// either.
func (d *Document) noQuorumAnywhere() bool {
	return d.Etcd.Members > 0 && d.Etcd.Members-d.leaderless() < d.Etcd.QuorumNeeded
}

// leaderless counts the members that answer and have no leader.
func (d *Document) leaderless() int {
	n := 0
	for _, m := range d.Masters {
		if m.Etcd == MemberNoQuorum {
			n++
		}
	}
	return n
}

// nobodySince tells since when nobody has held the VIP: since it was let go,
// or since the right of the last holder ran out.
func nobodySince(d *Document) *time.Time {
	if m := d.LastMove; m != nil && m.To == "" {
		return &m.At
	}
	if h := d.Holder; h != nil && h.RenewedAgoMS != nil {
		over := time.Duration(*h.RenewedAgoMS-d.holdMS()) * time.Millisecond
		at := d.Time.Add(-max(over, 0))
		return &at
	}
	return nil
}

func whyNobody(d *Document) string {
	switch {
	case d.Record.State == RecordImplausible:
		return "no node obeys the record in etcd: " + orElse(d.Record.Problem, "it is implausible")
	case !d.etcdAnswers():
		return "etcd has no quorum: " + membersWithoutLeader(d)
	case len(d.Etcd.Alarms) > 0:
		return "etcd refuses writes: " + strings.Join(d.Etcd.Alarms, ", ")
	case d.migrating():
		return "a migration is under way: havip does not have it yet"
	}
	return lostBy(d) + ", " + whoMayTake(d)
}

func membersWithoutLeader(d *Document) string {
	n, verb := d.leaderless(), "answer without a leader"
	if n == 1 {
		verb = "answers without a leader"
	}
	return fmt.Sprintf("%d of %s %s, %d must see each other", n, count(d.Etcd.Members, "member"), verb, d.Etcd.QuorumNeeded)
}

// lostBy says how the VIP came to be without a holder.
func lostBy(d *Document) string {
	switch {
	case d.Record.State == RecordHeld && d.Record.Node != "":
		return d.Record.Node + " stopped renewing"
	case d.LastMove != nil && d.LastMove.To == "" && d.LastMove.Reason != "":
		return d.LastMove.Reason
	case d.Record.State == RecordFree:
		return "it was released"
	}
	return "it was never held"
}

// migrating reports whether a program that is not havip may have the VIP, by a
// migration that is under way on some master.
func (d *Document) migrating() bool {
	return slices.ContainsFunc(d.Masters, func(m Master) bool { return m.Adopting != AdoptNone })
}

// whoMayTake says who will take the VIP, or why nobody can.
func whoMayTake(d *Document) string {
	if next := d.firstInRank(); next != nil {
		return next.Name + " takes over"
	}
	if names := d.withRole(RoleDrained); len(names) > 0 {
		return "and no master that is left may take it: " + isAre(names) + " drained"
	}
	return "and no candidate is there to take it"
}

func whyUnknown(d *Document) string {
	node := orElse(d.Node, "this node")
	switch {
	case d.noElection():
		return d.Self.Reason + ": this node takes no part, and cannot tell who holds the VIP"
	case d.etcdAnswers():
		return node + " has not read the record yet"
	}
	switch d.Etcd.State {
	case EtcdUnknown, "":
		return node + " has not asked etcd yet"
	}
	if silent := d.silentOthers(); d.Etcd.State == EtcdNoQuorum && len(silent) > 0 {
		do, they := "do", "they are"
		if len(silent) == 1 {
			do, they = "does", "it is"
		}
		return fmt.Sprintf("no quorum: %s %s not answer %s; if %s down, nobody holds it", and(silent), do, node, they)
	}
	return etcdTrouble(d) + "; who holds it cannot be seen from here"
}

// noElection reports whether the daemon could not begin: then it does not even
// know which node it is on, and says why it waits.
func (d *Document) noElection() bool {
	return d.Configured && d.Node == "" && d.Self.Reason != ""
}

// silentOthers names the other masters whose etcd members do not answer here.
func (d *Document) silentOthers() []string {
	var names []string
	for _, m := range d.Masters {
		if !m.Self && !m.etcdAlive() && m.Etcd != MemberNoQuorum && m.Etcd != MemberNone {
			names = append(names, m.Name)
		}
	}
	return names
}

// etcdTrouble says in one clause why this node's etcd is of no use.
func etcdTrouble(d *Document) string {
	node := orElse(d.Node, "this node")
	var s string
	switch d.Etcd.State {
	case EtcdNoQuorum: // the reason says the same, and more where it is another
		s = "the etcd member of " + node + " has no leader"
		if strings.HasPrefix(d.Etcd.Reason, "etcd has no leader") {
			return s
		}
	case EtcdLearner:
		s = "the etcd member of " + node + " is a learner and does not vote yet"
	case EtcdDenied:
		s = "etcd refuses " + node
	case EtcdNotConfigured:
		return node + " has no etcd member yet" + because(d.Etcd.Reason)
	case EtcdUnknown, "":
		return node + " has not asked etcd yet"
	default:
		s = "the etcd member of " + node + " does not answer"
	}
	return s + because(d.Etcd.Reason)
}

// addWarnings adds what follows from other facts and changes no verdict.
func addWarnings(d *Document) {
	h := d.Holder
	// A renewal that needs more than a quarter of hold leaves too little for a second try.
	// With heartbeats in force hold is long; the way back from them is a plain renewal.
	hold := d.holdMS()
	if d.Timing.HoldMS > 0 {
		hold = min(hold, d.Timing.HoldMS)
	}
	if h != nil && h.RoundTripMS != nil && hold > 0 && *h.RoundTripMS*4 > hold {
		d.warn("renewals are slow: their round trip is above a quarter of hold")
	}
	for _, m := range d.Masters {
		if m.Gateway == GatewayUnknown && m.GatewayDetail != "" {
			d.warn(m.Name + " cannot ask the hosts of health.gateway, and counts as healthy: " + m.GatewayDetail)
		}
	}
	addHeartbeatWarnings(d)
	if d.LogDropped > 0 {
		d.warn(count(int(d.LogDropped), "log line") + " dropped: journald did not take them in time")
	}
}

// warn adds a warning once, so that judging again changes nothing.
func (d *Document) warn(text string) {
	if !slices.Contains(d.Warnings, text) {
		d.Warnings = append(d.Warnings, text)
	}
}
