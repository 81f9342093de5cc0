package daemon

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"havip/daemon/history"
	"havip/election"
	"havip/election/etcd"
)

// roster is who is there, and who was.
type roster struct {
	now     map[string]presence
	last    map[string]seenPresence
	raw     map[string]string
	changed map[string]time.Duration // when this node first saw the present value
}

type seenPresence struct {
	presence
	at time.Duration // when it was last known to be there
}

// update takes the whole set of presence values. A value that cannot be read
// is as good as none. sure is when what was there before was last known to be
// still there.
func (r *roster) update(values map[string]string, now, sure time.Duration) []election.Peer {
	if r.last == nil {
		r.last = map[string]seenPresence{}
	}
	for name, p := range r.now {
		r.last[name] = seenPresence{p, max(sure, r.changed[name])}
	}
	changed := map[string]time.Duration{}
	r.now = map[string]presence{}
	var peers []election.Peer
	for _, name := range slices.Sorted(maps.Keys(values)) {
		var p presence
		if json.Unmarshal([]byte(values[name]), &p) != nil || p.Node != name {
			continue
		}
		changed[name] = now
		if at, was := r.changed[name]; was && r.raw[name] == values[name] {
			changed[name] = at
		}
		r.now[name] = p
		peers = append(peers, p.Peer)
	}
	r.raw, r.changed = values, changed
	return peers
}

// joined reports whether somebody is there who was not before.
func (r *roster) joined(before map[string]presence) bool {
	for name := range r.now {
		if _, was := before[name]; !was {
			return true
		}
	}
	return false
}

// lastSure is when the presence of the others was last known to be current: now
// while the keys are followed, or when etcd last answered.
func (l *loop) lastSure(now time.Duration) time.Duration {
	if now-l.answered > 2*etcd.PollReady {
		return l.answered
	}
	return now
}

// reign is the time of one holder as this node sees it.
type reign struct {
	node    string
	renewed time.Duration // when the record last changed under it
}

// lapse is the end of a reign.
type lapse struct {
	reign
	at time.Duration // when the record was seen to name somebody else
}

// noteReign follows whom the record names.
func (l *loop) noteReign(v election.Glance, now time.Duration) {
	node := ""
	if v.Known && !v.Absent && v.Bad == nil {
		node = v.Record.Node
	}
	was := l.reign
	l.reign = reign{node: node, renewed: v.SeenAt}
	if node != was.node {
		l.lapsed = lapse{reign: was, at: now}
		l.awaitCutOff(v.Record.Move)
	}
}

// deadSince says since when a node is silent that lost the record because of that. Its presence outlives it by the time to live of the lease;
// a daemon that runs would say soon that it is the holder no more.
func (l *loop) deadSince(name string, m *election.Move) (time.Duration, bool) {
	p, here := l.roster.now[name]
	dead := here && p.Role == election.Holder.String() &&
		m != nil && m.From == name && history.FromSilent(*m) &&
		l.lapsed.node == name && l.roster.changed[name] < l.lapsed.at
	return l.lapsed.renewed, dead
}
