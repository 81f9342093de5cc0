package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"havip/election"
)

func TestKeeperWritesWhatWaitsAtTheEnd(t *testing.T) {
	for range 20 { // select is random
		k := newKeeper(t.TempDir(), "198.51.100.166", func(election.Event) {}, func(err error) { t.Error(err) })
		ctx, stop := context.WithCancel(t.Context())
		stop()
		k.save(election.Save{State: &election.SavedState{Schema: election.Schema, Node: "n1"}})
		if err := k.run(ctx); err != nil {
			t.Fatal(err)
		}
		if s, err := k.load(); err != nil || s == nil || s.Node != "n1" {
			t.Fatalf("load: %+v, %v", s, err)
		}
		k.save(election.Save{})
		if err := k.run(ctx); err != nil {
			t.Fatal(err)
		}
		if s, err := k.load(); err != nil || s != nil {
			t.Fatalf("after erasing: %+v, %v", s, err)
		}
	}
}

func TestDrainMarkThatCannotBeReadDrains(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(drainPath(dir), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err := loadDrained(dir); err == nil || m == nil || m.By != "somebody" {
		t.Errorf("%v, %v", m, err)
	}
	if err := os.Remove(drainPath(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(drainPath(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	if m, err := loadDrained(dir); err == nil || m == nil {
		t.Errorf("%v, %v", m, err)
	}
}

func TestLockDirErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := lockDir(filepath.Join(file, "run")); err == nil || errors.Is(err, ErrRunning) {
		t.Errorf("below a file: %v", err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lock"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := lockDir(dir); err == nil || errors.Is(err, ErrRunning) {
		t.Errorf("a directory as lock: %v", err)
	}
}
