package daemon

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"havip/daemon/status"
	"havip/election"
)

// presence is what a node says of itself in its leased key: what the election
// ranks by, and what the status shows.
type presence struct {
	election.Peer
	Address   string           `json:"address"`
	Version   string           `json:"version"`
	Link      string           `json:"link,omitempty"`
	Etcd      status.Member    `json:"etcd"`
	APIServer status.APIServer `json:"api_server"`
	Detail    string           `json:"detail,omitempty"` // why the API server fails
	Process   string           `json:"process"`          // fresh for every start: two nodes of one name show
}

func (p presence) encode() string {
	b, err := json.Marshal(p)
	if err != nil {
		return "{}" // strings, numbers and booleans always encode
	}
	return string(b)
}

// roster is who is there, and who was.
type roster struct {
	now  map[string]presence
	last map[string]seenPresence
}

type seenPresence struct {
	presence
	at time.Duration // when it was last known to be there
}

// update takes the whole set of presence values. A value that cannot be read
// is as good as none.
func (r *roster) update(values map[string]string, now time.Duration) []election.Peer {
	if r.last == nil {
		r.last = map[string]seenPresence{}
	}
	for name, p := range r.now {
		r.last[name] = seenPresence{p, now}
	}
	r.now = map[string]presence{}
	var peers []election.Peer
	for _, name := range slices.Sorted(maps.Keys(values)) {
		var p presence
		if json.Unmarshal([]byte(values[name]), &p) != nil || p.Node != name {
			continue
		}
		r.now[name] = p
		peers = append(peers, p.Peer)
	}
	return peers
}
