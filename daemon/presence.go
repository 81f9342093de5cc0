package daemon

import (
	"encoding/json"

	"havip/daemon/status"
	"havip/election"
)

// presence is what a node says of itself in its leased key: what the election
// ranks by, and what the status shows.
type presence struct {
	election.Peer

	Gateway status.Gateway `json:"gateway,omitempty"`
	Cut     string         `json:"gateway_detail,omitempty"` // why the gateway is silent

	Address   string           `json:"address"`
	Version   string           `json:"version"`
	Link      string           `json:"link,omitempty"`
	Etcd      status.Member    `json:"etcd"`
	APIServer status.APIServer `json:"api_server"`
	Detail    string           `json:"detail,omitempty"` // why the API server fails
	Process   string           `json:"process"`          // fresh for every start: two nodes of one name show

	Detection string `json:"detection,omitempty"` // "": no heartbeats

	Adopt status.AdoptStage `json:"adopt,omitempty"` // in a migration
}

func (p presence) encode() string {
	b, err := json.Marshal(p)
	if err != nil {
		return "{}" // strings, numbers and booleans always encode
	}
	return string(b)
}
