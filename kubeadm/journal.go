package kubeadm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// StateDir is where the journal, kubeadm's configuration and the logs are.
const StateDir = "/var/lib/havip/kubeadm"

// StepState says how far a step has come.
type StepState string

// The states of a step. One that is begun and not done when a run starts was cut
// off, and is done again.
const (
	StepBegun  StepState = "begun"
	StepDone   StepState = "done"
	StepFailed StepState = "failed"
)

// journalSchema is the number of the journal's layout.
const journalSchema = 1

// Journal is what is remembered between two runs of init or join.
type Journal struct {
	Schema   int        `json:"schema"`
	Command  string     `json:"command"` // init or join
	Run      string     `json:"run"`     // names this cluster's making to the daemon
	Node     string     `json:"node"`
	Kubeadm  string     `json:"kubeadm"` // its version
	Config   string     `json:"config"`  // hash of kubeadm's configuration, without secrets
	Begun    time.Time  `json:"begun"`
	Finished *time.Time `json:"finished,omitempty"`
	Steps    []Record   `json:"steps"`
}

// Record is what became of one step.
type Record struct {
	Name  string     `json:"name"`
	State StepState  `json:"state"`
	Begun time.Time  `json:"begun"`           // the last time
	Ended *time.Time `json:"ended,omitempty"` // absent: it was cut off, or is under way
	Tries int        `json:"tries"`
	Error string     `json:"error,omitempty"`
	Log   string     `json:"log,omitempty"`
}

// Step returns the record of a step.
func (j *Journal) Step(name string) (Record, bool) {
	for _, r := range j.Steps {
		if r.Name == name {
			return r, true
		}
	}
	return Record{}, false
}

// Done reports whether a step is done.
func (j *Journal) Done(name string) bool {
	r, ok := j.Step(name)
	return ok && r.State == StepDone
}

// Touched reports whether a run has changed anything on this node: a step of
// kubeadm beyond its own checks was begun.
func (j *Journal) Touched() bool {
	for _, r := range j.Steps {
		if r.Name != stepClaim && r.Name != phasePreflight {
			return true
		}
	}
	return false
}

// put notes what became of a step.
func (j *Journal) put(r Record) {
	for i := range j.Steps {
		if j.Steps[i].Name == r.Name {
			j.Steps[i] = r
			return
		}
	}
	j.Steps = append(j.Steps, r)
}

// repeat forgets that phases are done, except kubeadm's checks, which would
// stumble over what the phases have made. What was handed over stays so.
func (j *Journal) repeat() {
	for i := range j.Steps {
		if name := j.Steps[i].Name; name != phasePreflight && name != stepHanded && j.Steps[i].State == StepDone {
			j.Steps[i].State = StepBegun
		}
	}
}

// repeatSteps forgets that these are done, and reports whether one was.
func (j *Journal) repeatSteps(names []string) bool {
	any := false
	for i := range j.Steps {
		if slices.Contains(names, j.Steps[i].Name) && j.Steps[i].State == StepDone {
			j.Steps[i].State, any = StepBegun, true
		}
	}
	return any
}

// age is how long ago the first of these ended.
func (j *Journal) age(names []string) time.Duration {
	var oldest time.Duration
	for _, r := range j.Steps {
		if slices.Contains(names, r.Name) && r.Ended != nil {
			oldest = max(oldest, time.Since(*r.Ended))
		}
	}
	return oldest
}

// Store keeps the journal and what belongs to it in a directory.
type Store struct{ Dir string }

func (s Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.Dir}, parts...)...)
}

// ConfigFile is where kubeadm's configuration for a command is.
func (s Store) ConfigFile(command string) string { return s.path(command + ".yaml") }

func (s Store) journal() string { return s.path("journal.json") }
func (s Store) secrets() string { return s.path("secrets.json") }
func (s Store) logs() string    { return s.path("logs") }

// Load returns the journal, nil if there is none.
func (s Store) Load() (*Journal, error) {
	var j Journal
	ok, err := s.read(s.journal(), &j)
	if err != nil || !ok {
		return nil, err
	}
	if j.Schema != journalSchema {
		return nil, fmt.Errorf("read %s: it is of schema %d, this havipctl knows %d", s.journal(), j.Schema, journalSchema)
	}
	return &j, nil
}

// errDamaged ends what is said of a file that a crash cannot have left so.
var errDamaged = errors.New("the file is damaged: on a master that works move it away, elsewhere undo by: havipctl reset")

func (s Store) read(path string, v any) (bool, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read journal: %w", err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return false, fmt.Errorf("read %s: %w: %w", path, err, errDamaged)
	}
	return true, nil
}

// Save writes the journal so that it is there after a power cut.
func (s Store) Save(j *Journal) error { return s.writeJSON(s.journal(), j) }

func (s Store) writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return s.Write(path, append(data, '\n'))
}

// Write puts a whole file in place, readable by its owner alone. A crash leaves
// the old one or the new one.
func (s Store) Write(path string, data []byte) error {
	err := os.MkdirAll(s.Dir, 0o700)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	tmp, err := os.CreateTemp(s.Dir, ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err == nil {
		err = SyncPath(s.Dir)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// SyncPath returns when what is in a file, or the names in a directory, are on the disk.
func SyncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// Secrets returns those of an unfinished run, ok false if there are none.
func (s Store) Secrets() (found Secrets, ok bool, err error) {
	ok, err = s.read(s.secrets(), &found)
	return found, ok, err
}

// SaveSecrets keeps them until the run is finished: what was uploaded with them
// must be what is printed in the end.
func (s Store) SaveSecrets(secrets Secrets) error { return s.writeJSON(s.secrets(), secrets) }

// Forget removes the secrets, also those in kubeadm's configuration.
func (s Store) Forget() error {
	var errs []error
	for _, path := range []string{s.secrets(), s.ConfigFile("init"), s.ConfigFile("join")} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// tidy removes what one that was killed while it wrote has left, secrets in it.
func (s Store) tidy() error {
	list, _ := filepath.Glob(s.path(".new-*")) // the pattern is right
	var errs []error
	for _, path := range append(list, s.ConfigFile("token")) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Clear removes everything but the logs.
func (s Store) Clear() error {
	err := s.Forget()
	if rm := os.Remove(s.journal()); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	return err
}

// Lock keeps two runs apart. Programs that a run starts inherit the lock, so that
// it also tells of a kubeadm that outlived a killed run. waiting is called once
// if the lock is taken; the wait ends with give.
func (s Store) Lock(give <-chan struct{}, waiting func()) (*os.File, error) {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("lock %s: %w", s.Dir, err)
	}
	f, err := os.OpenFile(s.path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", s.Dir, err)
	}
	tick := time.NewTicker(lockEvery)
	defer tick.Stop()
	for said := false; ; {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		if !said {
			waiting()
			said = true
		}
		select {
		case <-tick.C:
		case <-give:
			f.Close()
			return nil, fmt.Errorf("lock %s: another run, or a kubeadm that a killed run left behind, has it", s.Dir)
		}
	}
}

// lockEvery is the pause between two tries; flock has no wait that can be ended.
const lockEvery = 100 * time.Millisecond
