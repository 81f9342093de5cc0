package adopt

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// StateDir is where the journal is, and what is needed for the way back.
const StateDir = "/var/lib/havip/adopt"

const journalSchema = 1

// Journal is what is remembered between two runs.
type Journal struct {
	Schema int       `json:"schema"`
	Node   string    `json:"node"`
	Begun  time.Time `json:"begun"`
	Keeper Keeper    `json:"keeper"`
	Holder bool      `json:"holder"` // this node had the VIP when its keeper was stopped

	KeeperEnabled bool   `json:"keeper_enabled"` // its unit was, before
	HavipdEnabled bool   `json:"havipd_enabled"`
	Manifest      []byte `json:"manifest,omitempty"` // of a kube-vip, as it was
	Config        []byte `json:"config"`             // havip.toml as it was; null: there was none
	ConfigWritten bool   `json:"config_written"`

	Touched  bool       `json:"touched"`  // the keeper may have been switched off
	Stopping bool       `json:"stopping"` // on the way back, havipd may have been stopped
	Steps    []string   `json:"steps"`    // done
	Finished *time.Time `json:"finished,omitempty"`
}

func (j *Journal) done(name string) bool { return j != nil && slices.Contains(j.Steps, name) }

func (r *Runner) journal() string { return r.Store.Dir + "/journal.json" }

// load returns nil if there is no journal.
func (r *Runner) load() (*Journal, error) {
	data, err := os.ReadFile(r.journal())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	var j Journal
	if err := json.Unmarshal(data, &j); err != nil {
		return nil, fmt.Errorf("read %s: %w", r.journal(), err)
	}
	if j.Schema != journalSchema {
		return nil, fmt.Errorf("read %s: it is of schema %d, this havipctl knows %d", r.journal(), j.Schema, journalSchema)
	}
	return &j, nil
}

func (r *Runner) save(j *Journal) error {
	data, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", r.journal(), err)
	}
	return r.Store.Write(r.journal(), append(data, '\n'))
}

// clear ends it all: the node is as it was.
func (r *Runner) clear() error {
	if err := os.Remove(r.journal()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clear journal: %w", err)
	}
	return nil
}
