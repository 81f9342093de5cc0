package daemon

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// waited is for how long a start at that reading of the clock is held back.
func waited(t *testing.T, ctx context.Context, dir string, now time.Duration) (d time.Duration) {
	synctest.Test(t, func(*testing.T) {
		began := time.Now()
		brake(ctx, dir, now)
		d = time.Since(began)
	})
	return d
}

// Only a process that is the last of many within a short time waits.
func TestBrake(t *testing.T) {
	for name, c := range map[string]struct {
		before string // the file
		now    time.Duration
		want   time.Duration
	}{
		"the first":               {"", time.Hour, 0},
		"the fourth":              {"[3600000000000,3600100000000,3600200000000]", time.Hour + time.Second, 0},
		"the fifth":               {"[3600000000000,3600100000000,3600200000000,3600300000000]", time.Hour + time.Second, startPause},
		"the fifth, much later":   {"[3600000000000,3600100000000,3600200000000,3600300000000]", time.Hour + time.Minute, 0},
		"after many, long before": {"[1,2,3,4,5]", time.Hour, 0},
		"no JSON":                 {"[1,", time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if c.before != "" {
				if err := os.WriteFile(filepath.Join(dir, "starts.json"), []byte(c.before), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := waited(t, context.Background(), dir, c.now); got != c.want {
				t.Errorf("waits %v, want %v", got, c.want)
			}
		})
	}
}

func TestBrakeInALoop(t *testing.T) {
	dir := t.TempDir()
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for i := range 12 {
		if got := waited(t, gone, dir, time.Hour+time.Duration(i)*50*time.Millisecond); got != 0 {
			t.Errorf("start %d is told to end and waits %v", i, got)
		}
	}
	if got := waited(t, context.Background(), dir, time.Hour+time.Second); got != startPause {
		t.Errorf("the thirteenth waits %v, want %v", got, startPause)
	}
}

// Who cannot have the run directory, because another one has it or it cannot be made,
// can count nothing, and is started again all the same.
func TestBrakeWithoutTheRunDirectory(t *testing.T) {
	dir := t.TempDir()
	lock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for _, run := range []string{dir, filepath.Join(lock.Name(), "run")} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			err := Run(context.Background(), Options{RunDir: run})
			if got := time.Since(began); err == nil || got != startPause {
				t.Errorf("ends with %v after %v, want %v", err, got, startPause)
			}
		})
	}
}
