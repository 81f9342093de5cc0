package daemon

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"havip/configs"
	"havip/daemon/history"
	"havip/daemon/status"
	"havip/election"
	"havip/election/etcd"
)

func (l *loop) query(q *query) {
	if !q.held || l.isHeld() {
		q.answer <- l.document()
		return
	}
	l.waiters = append(l.waiters, q)
}

// answerWaiters answers those who wait for a holder, or whose time is up.
func (l *loop) answerWaiters() {
	if len(l.waiters) == 0 {
		return
	}
	held, now := l.isHeld(), l.clock.Boot()
	l.waiters = slices.DeleteFunc(l.waiters, func(q *query) bool {
		if !held && now < q.until {
			return q.gone.Err() != nil
		}
		q.answer <- l.document()
		return true
	})
}

func (l *loop) isHeld() bool {
	d := l.document()
	status.Judge(&d)
	return d.IsHeld()
}

// document gathers the facts of this moment; status.Judge draws conclusions.
func (l *loop) document() status.Document {
	v, now := l.machine.View(), l.clock.Boot()
	d := status.Document{
		Time: l.clock.Wall(), Node: l.self.Name, Version: l.version, Config: l.path, Configured: true,
		VIP:      l.cfg.VIP.Addresses,
		Holder:   l.holder(v, now),
		Record:   l.recordFacts(v, now),
		Self:     l.selfFacts(v),
		LastMove: lastMove(v.Record),
		Masters:  l.masters(v, now),
		Etcd:     l.etcdFacts(now),
		Address: status.Address{
			Link: l.link.Name, LinkReason: l.linkWhy, Warnings: slices.Clone(l.link.Warnings), Reasserts: l.reasserts,
		},
		Timing: status.Timing{
			HoldMS: l.timing.Hold.Milliseconds(), TakeoverMS: l.timing.Takeover.Milliseconds(),
			RenewalMS: l.timing.Renewal.Milliseconds(), RetryMS: l.timing.Retry.Milliseconds(),
		},
		Heartbeats: l.heartbeatFacts(v, now),
		Events:     slices.Clone(l.events),
		LogDropped: l.dropped(),
	}
	for _, k := range slices.Sorted(maps.Keys(l.warnings)) {
		d.Warnings = append(d.Warnings, l.warnings[k])
	}
	for _, name := range l.strangers() {
		d.Warnings = append(d.Warnings, name+" takes part and is not in [masters]: the file must be the same on every master")
	}
	for _, k := range slices.Sorted(maps.Keys(l.conflicts)) {
		c := l.conflicts[k]
		c.AgoMS = (now - c.at).Milliseconds()
		d.Address.Conflicts = append(d.Address.Conflicts, c.Conflict)
	}
	return d
}

// holder is who may serve by what this node knows.
func (l *loop) holder(v election.View, now time.Duration) *status.Holder {
	if v.Right > 0 {
		h := &status.Holder{Node: l.self.Name, Link: l.link.Name, RightLeftMS: ms(v.Right - now), Confirmed: true}
		if v.Claim > 0 { // of a record, if there is one, this is no term
			return h
		}
		h.Since = unixMS(v.Record.Since)
		if v.Sent > 0 {
			h.RenewedAgoMS = ms(now - v.Sent)
		}
		if l.trip > 0 {
			h.RoundTripMS = ms(l.trip)
		}
		return h
	}
	if !v.Known || v.Absent || v.Bad != nil || v.Record.Free() {
		return nil
	}
	h := &status.Holder{
		Node: v.Record.Node, Link: l.roster.now[v.Record.Node].Link, Since: unixMS(v.Record.Since),
		RenewedAgoMS: ms(now - v.SeenAt), RightLeftMS: ms(v.SeenAt + v.Record.Hold() - now), Confirmed: true,
	}
	if !l.etcdAnswers() {
		h.Confirmed, h.LastKnown, h.AgeMS = false, true, (now - v.SignAt).Milliseconds()
	}
	return h
}

// etcdAnswers reports whether what this node sees in etcd is of now. A watch
// outlives its quorum by some seconds.
func (l *loop) etcdAnswers() bool {
	s := l.etcdNow
	return s.State == etcd.Ready || s.Via != "" && (!s.Local || s.State == etcd.Alarmed)
}

// strangers are those who take part and are not in this node's file.
func (l *loop) strangers() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(l.roster.now)) {
		if !slices.ContainsFunc(l.cfg.Masters, func(m configs.Master) bool { return m.Name == name }) {
			names = append(names, name)
		}
	}
	return names
}

func (l *loop) recordFacts(v election.View, now time.Duration) status.Record {
	r := status.Record{State: status.RecordUnknown}
	switch {
	case !v.Known:
		return r
	case !l.etcdAnswers() && v.Right == 0:
		r.Node = v.Record.Node // of memory; its state is not known
	case v.Absent:
		r.State = status.RecordAbsent
	case v.Bad != nil:
		r.State, r.Problem = status.RecordImplausible, strings.TrimPrefix(v.Bad.Error(), election.ErrImplausible.Error()+": ")
	case v.Record.Free():
		r.State = status.RecordFree
	default:
		r.State, r.Node = status.RecordHeld, v.Record.Node
	}
	r.UnchangedMS = ms(now - v.SeenAt)
	if v.Bad == nil && !v.Absent {
		r.HoldMS, r.TakeoverMS = v.Record.HoldMS, v.Record.TakeoverMS
		if v.Right == 0 {
			r.TakeoverInMS = ms(v.SeenAt + v.Record.Takeover() - now)
		}
	}
	return r
}

func (l *loop) selfFacts(v election.View) status.Self {
	s := status.Self{Role: status.Role(v.Role.String()), Reason: v.Reason, Pending: v.Leaving}
	switch {
	case v.Drained && l.drain != nil:
		s.DrainedBy = l.drain.String()
	case v.Drained && keptBack(l.adopt.Stage):
		s.DrainedBy = "havipctl adopt at " + l.adopt.At.Format(time.RFC3339)
	}
	s.Adopting = l.adopt.Stage
	return s
}

func lastMove(r election.Record) *status.LastMove {
	m := r.Move
	if m == nil {
		return nil
	}
	out := &status.LastMove{From: m.From, To: m.To, At: time.UnixMilli(m.AtMS), Reason: m.Reason, Chosen: m.Chosen, LostAt: unixMS(m.LostMS), Planned: history.Planned(m.Reason)}
	if m.LostMS > 0 && m.To != "" && m.AtMS >= m.LostMS {
		gap := m.AtMS - m.LostMS
		out.GapMS = &gap
	}
	return out
}

func (l *loop) masters(v election.View, now time.Duration) []status.Master {
	var list []status.Master
	for _, c := range l.cfg.Masters {
		m := status.Master{
			Name: c.Name, Address: c.Address, Self: c.Name == l.self.Name, Priority: l.cfg.Priority(c.Name),
			APIServer: status.APIUnknown, Etcd: status.MemberUnknown,
		}
		if m.Self {
			l.describeSelf(&m, v)
		} else {
			l.describeOther(&m, v.Record.Move, now)
		}
		list = append(list, m)
	}
	return list
}

func (l *loop) describeSelf(m *status.Master, v election.View) {
	m.Present, m.Healthy, m.Version = true, v.Health.OK, l.version
	m.Says = status.Role(v.Role.String())
	m.LastSeenMS = ms(0)
	m.Adopting = l.adopt.Stage
	m.Etcd = l.memberState()
	if m.Etcd == status.MemberUnreachable {
		m.EtcdDetail = l.etcdNow.Reason
	}
	m.APIServer, m.APIServerDetail = cmp.Or(l.health.state, status.APIUnknown), l.healthDetail()
	m.Gateway, m.GatewayDetail = l.gateway.state, l.gateway.detail
}

func (l *loop) describeOther(m *status.Master, move *election.Move, now time.Duration) {
	p, here := l.roster.now[m.Name]
	if since, dead := l.deadSince(m.Name, move); dead {
		here = false
		m.LastSeenMS = ms(now - since)
	} else if here {
		m.LastSeenMS = ms(0)
		if !l.etcdAnswers() {
			m.LastSeenMS = ms(now - l.answered)
		}
	} else if was, ok := l.roster.last[m.Name]; ok {
		p = was.presence
		m.LastSeenMS = ms(now - was.at)
	} else {
		return
	}
	m.Present, m.Says, m.Version = here && l.etcdAnswers(), status.Role(p.Role), p.Version
	m.Priority, m.Healthy, m.Adopting = p.Priority, p.Healthy, p.Adopt
	if m.Present {
		m.APIServer, m.APIServerDetail, m.Etcd = cmp.Or(p.APIServer, status.APIUnknown), p.Detail, cmp.Or(p.Etcd, status.MemberUnknown)
		m.Gateway, m.GatewayDetail = p.Gateway, p.Cut
	}
}

func (l *loop) memberState() status.Member {
	if !l.asked {
		return status.MemberUnknown
	}
	s := l.etcdNow
	switch s.State {
	case etcd.NotConfigured:
		return status.MemberNone
	case etcd.Unreachable:
		return status.MemberUnreachable
	case etcd.Learner:
		return status.MemberLearner
	case etcd.NoLeader:
		return status.MemberNoQuorum
	case etcd.Denied:
		return status.MemberUnknown
	}
	if s.IsLeader {
		return status.MemberLeader
	}
	return status.MemberFollower
}

func (l *loop) etcdFacts(now time.Duration) status.Etcd {
	s := l.etcdNow
	e := status.Etcd{
		State: l.etcdState(), Reason: s.Reason, Elsewhere: s.Via != "" && !s.Local,
		Alarms: slices.Clone(s.Alarms), MemberVersion: s.Version,
	}
	if !l.etcdAnswers() && l.answered > 0 {
		e.SilentMS = ms(now - l.answered)
	}
	for _, m := range s.Members {
		e.List = append(e.List, status.EtcdMember{Name: m.Name, ClientURLs: append([]string{}, m.ClientURLs...), Learner: m.Learner})
		if !m.Learner {
			e.Members++
		}
	}
	return e
}

func (l *loop) etcdState() status.EtcdState {
	if !l.asked {
		return status.EtcdUnknown
	}
	switch l.etcdNow.State {
	case etcd.NotConfigured:
		return status.EtcdNotConfigured
	case etcd.Unreachable:
		return status.EtcdUnreachable
	case etcd.Denied:
		return status.EtcdDenied
	case etcd.Learner:
		return status.EtcdLearner
	case etcd.NoLeader:
		return status.EtcdNoQuorum
	}
	return status.EtcdReady
}

func ms(d time.Duration) *int64 {
	n := d.Milliseconds()
	return &n
}

func unixMS(n int64) *time.Time {
	if n == 0 {
		return nil
	}
	t := time.UnixMilli(n)
	return &t
}

// sentence is what systemctl status shows.
func sentence(v election.Glance, now time.Duration) string {
	switch {
	case v.Leaving != "":
		return "giving the address away: " + v.Leaving
	case v.Serving && v.Address == "present":
		return "holds the address"
	case v.Right > now:
		return "has the right to the address and is setting it: " + v.Reason
	case v.Bad != nil:
		return "blocked: " + v.Bad.Error()
	case v.Role == election.Waiting || v.Role == election.Drained:
		return fmt.Sprintf("%s: %s", v.Role, v.Reason)
	case v.Known && !v.Absent && !v.Record.Free() && now < v.SeenAt+v.Record.Hold():
		return fmt.Sprintf("standing by; %s holds the address", v.Record.Node)
	case v.Known && !v.Absent && !v.Record.Free():
		return fmt.Sprintf("candidate; nobody holds the address, %s stopped renewing", v.Record.Node)
	default:
		return "candidate; nobody holds the address"
	}
}
