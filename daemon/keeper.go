package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"havip/election"
)

// savedFile is what a process leaves in /run for the next one of this boot.
type savedFile struct {
	BootID string               `json:"boot_id"`
	VIP    string               `json:"vip"` // the record's name: another VIP is another election
	State  *election.SavedState `json:"state"`
}

// keeper keeps the machine's state in the run directory. Of the saves that want
// no answer only the newest is written.
type keeper struct {
	dir, bootID, vip string
	report           func(election.Event)
	onError          func(error)
	put              func(*election.SavedState) error
	said             string // the last error

	mu      sync.Mutex
	waiting []election.Save
	ready   chan struct{}
}

func newKeeper(dir, vip string, report func(election.Event), onError func(error)) *keeper {
	k := &keeper{dir: dir, bootID: bootID(), vip: vip, report: report, onError: onError, ready: make(chan struct{}, 1)}
	k.put = k.write
	return k
}

// bootID tells boots apart; without one nothing is ever adopted.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (k *keeper) path() string { return filepath.Join(k.dir, "state.json") }

// load returns what an earlier process of this boot left for this VIP, or nil.
func (k *keeper) load() (*election.SavedState, error) {
	b, err := os.ReadFile(k.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read saved state: %w", err)
	}
	var f savedFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("read saved state %s: %w", k.path(), err)
	}
	if f.BootID == "" || f.BootID != k.bootID || f.VIP != k.vip {
		return nil, nil
	}
	return f.State, nil
}

func (k *keeper) save(a election.Save) {
	k.mu.Lock()
	if n := len(k.waiting); n > 0 && k.waiting[n-1].Seq == 0 {
		k.waiting = k.waiting[:n-1]
	}
	k.waiting = append(k.waiting, a)
	k.mu.Unlock()
	select {
	case k.ready <- struct{}{}:
	default:
	}
}

func (k *keeper) next() (election.Save, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.waiting) == 0 {
		return election.Save{}, false
	}
	a := k.waiting[0]
	k.waiting = k.waiting[1:]
	return a, true
}

// run writes until ctx ends, and then what is still waiting.
func (k *keeper) run(ctx context.Context) error {
	for {
		k.writeAll()
		select {
		case <-ctx.Done():
			k.writeAll()
			return nil
		case <-k.ready:
		}
	}
}

func (k *keeper) writeAll() {
	for a, ok := k.next(); ok; a, ok = k.next() {
		err := k.put(a.State)
		if text(err) != k.said {
			if k.said = text(err); err != nil {
				k.onError(err) // once: there are some saves a second
			}
		}
		if a.Seq != 0 {
			k.report(election.Saved{Seq: a.Seq, OK: err == nil})
		}
	}
}

// write replaces the file in one step; /run is memory, so nothing is synced.
func (k *keeper) write(s *election.SavedState) error {
	if s == nil {
		if err := os.Remove(k.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("erase saved state: %w", err)
		}
		return nil
	}
	return replaceFile(k.path(), savedFile{BootID: k.bootID, VIP: k.vip, State: s}, func(*os.File) error { return nil })
}

// replaceFile writes v as JSON in one step: whoever reads gets the old content
// or the new one. settle is called before the new one takes the place.
func replaceFile(path string, v any, settle func(*os.File) error) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = settle(f)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// ErrRunning means that another daemon has the run directory.
var ErrRunning = errors.New("another havipd is running on this node")

// lockDir makes sure that one daemon runs per node. The lock ends with the process.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make run directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", f.Name(), ErrRunning)
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return f, nil
}
