package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// drainMark says who drained this node. It lies in the state directory, so
// that a restart or a reboot does not undo what an operator asked for.
type drainMark struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
}

func (d drainMark) String() string {
	return fmt.Sprintf("%s at %s", d.By, d.At.Format(time.RFC3339))
}

func drainPath(dir string) string { return filepath.Join(dir, "drained.json") }

// loadDrained returns the mark, or nil. A mark that cannot be read still drains.
func loadDrained(dir string) (*drainMark, error) {
	b, err := os.ReadFile(drainPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	m := drainMark{By: "somebody"}
	if err != nil {
		return &m, fmt.Errorf("read drain mark: %w", err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return &m, fmt.Errorf("read drain mark %s: %w", drainPath(dir), err)
	}
	return &m, nil
}

// saveDrained returns when the mark is on the disk: an operator who was told
// "drained" may cut the power next.
func saveDrained(dir string, m *drainMark) error {
	if m != nil {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make state directory: %w", err)
		}
		if err := replaceFile(drainPath(dir), m, (*os.File).Sync); err != nil {
			return err
		}
		return syncDir(dir)
	}
	err := os.Remove(drainPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("erase drain mark: %w", err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("write %s to disk: %w", dir, err)
	}
	return nil
}
