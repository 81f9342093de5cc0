package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"havip/election/heartbeat"
)

// heartbeatStore is the file with the key and the members, in the state directory: a
// reboot must not cost them, since etcd comes up after the daemon. It is as secret as
// the key.
type heartbeatStore struct{ dir, vip string }

type heartbeatFile struct {
	Schema  int               `json:"schema"`
	VIP     string            `json:"vip"` // another VIP has another key
	Keys    json.RawMessage   `json:"keys,omitempty"`
	Self    string            `json:"self,omitempty"` // of members
	Members []heartbeatMember `json:"members,omitempty"`
}

type heartbeatMember struct {
	ID        string       `json:"id"`
	Name      string       `json:"name"`
	Voter     bool         `json:"voter"`
	Addresses []netip.Addr `json:"addresses"`
}

func (s heartbeatStore) path() string { return filepath.Join(s.dir, "heartbeats.json") }

// load returns zero values where there is nothing for this VIP.
func (s heartbeatStore) load() (heartbeat.Keys, roll, error) {
	keys, r, err := s.read()
	if err != nil {
		return heartbeat.Keys{}, roll{}, fmt.Errorf("read %s: %w", s.path(), err)
	}
	return keys, r, nil
}

func (s heartbeatStore) read() (keys heartbeat.Keys, r roll, err error) {
	b, err := os.ReadFile(s.path())
	if errors.Is(err, fs.ErrNotExist) {
		return keys, r, nil
	}
	if err != nil {
		return keys, r, err
	}
	var f heartbeatFile
	if json.Unmarshal(b, &f) != nil {
		return keys, r, errors.New("not the JSON of this file") // the decoder's error may tell a part of the key
	}
	if f.Schema != 1 || f.VIP != s.vip {
		return keys, r, nil
	}
	if len(f.Keys) > 0 {
		if keys, err = heartbeat.DecodeKeys(string(f.Keys)); err != nil {
			return keys, r, err
		}
	}
	r, err = f.roll()
	return keys, r, err
}

func (f heartbeatFile) roll() (r roll, err error) {
	if f.Self == "" {
		return r, nil
	}
	if r.self, err = strconv.ParseUint(f.Self, 16, 64); err != nil {
		return r, fmt.Errorf("self: %w", err)
	}
	for _, m := range f.Members {
		id, err := strconv.ParseUint(m.ID, 16, 64)
		if err != nil {
			return r, fmt.Errorf("members: %w", err)
		}
		r.members = append(r.members, rollMember{id: id, name: m.Name, voter: m.Voter, addresses: m.Addresses})
	}
	return r, nil
}

func (s heartbeatStore) save(keys heartbeat.Keys, r roll) error {
	f := heartbeatFile{Schema: 1, VIP: s.vip}
	if keys.Known() {
		f.Keys = json.RawMessage(keys.Encode())
	}
	if r.self != 0 {
		f.Self = memberID(r.self)
	}
	for _, m := range r.members {
		f.Members = append(f.Members, heartbeatMember{ID: memberID(m.id), Name: m.name, Voter: m.voter, Addresses: m.addresses})
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	return replaceFile(s.path(), f, (*os.File).Sync)
}
