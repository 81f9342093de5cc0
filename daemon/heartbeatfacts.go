package daemon

import (
	"slices"
	"time"

	"havip/configs"
	"havip/daemon/status"
	"havip/election"
	"havip/election/heartbeat"
)

// detection is what this node says of itself: "" without heartbeats.
func (l *loop) detection() string {
	if l.heartbeats == nil {
		return ""
	}
	return string(l.cfg.Election.Detection)
}

// heartbeatFacts is nil where heartbeats are off.
func (l *loop) heartbeatFacts(v election.View, now time.Duration) *status.Heartbeats {
	h := l.heartbeats
	if h == nil {
		return nil
	}
	s := h.wire.Stats()
	f := &status.Heartbeats{Detection: l.detection(), Port: l.cfg.Election.HeartbeatPort, Key: s.Key, Plain: v.Beats.Plain, Trouble: s.Trouble}
	if e := v.Beats.Epoch; e != nil {
		f.Epoch = e.ID
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.bad != nil && !h.keys.Known():
		f.Trouble = h.bad.Error() + ": havipctl key rotate"
	case !h.keys.Known() && f.Trouble == "":
		f.Trouble = "there is no key for them in etcd yet"
	}
	for _, m := range h.known.members {
		if p, ok := s.Peers[m.id]; ok {
			f.Peers = append(f.Peers, l.peerFacts(m, p, now))
		}
	}
	for i, n := range s.Dropped {
		if n > 0 {
			f.Dropped = append(f.Dropped, status.HeartbeatDrop{Reason: heartbeat.Reason(i).String(), Count: int64(n)})
		}
	}
	return f
}

func (l *loop) peerFacts(m rollMember, p heartbeat.PeerStats, now time.Duration) status.HeartbeatPeer {
	f := status.HeartbeatPeer{
		Member: memberID(m.id), Name: l.masterOf(m), UnansweredMS: p.Unanswered.Milliseconds(),
		Unsent: int64(p.Unsent), Error: p.Error,
	}
	f.Detection = l.roster.now[f.Name].Detection
	for i := range p.Sent {
		f.Sent += int64(p.Sent[i])
		f.Received += int64(p.Received[i])
	}
	if p.Heard > 0 {
		f.HeardAgoMS = ms(now - p.Heard)
	}
	if p.Acknowledged > 0 {
		f.AnsweredAgoMS = ms(now - p.Acknowledged)
		us := p.RoundTrip.Microseconds()
		f.RoundTripUS = &us
	}
	return f
}

// masterOf is the master whose address an etcd member has, or who has its name.
func (l *loop) masterOf(m rollMember) string {
	i := slices.IndexFunc(l.cfg.Masters, func(c configs.Master) bool { return slices.Contains(m.addresses, l.cfg.Advertise(c)) })
	if i < 0 {
		return m.name
	}
	return l.cfg.Masters[i].Name
}
