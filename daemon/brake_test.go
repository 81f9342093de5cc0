package daemon

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Only a process that is the last of many within a short time waits.
func TestBrake(t *testing.T) {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	waits := func(dir string, now time.Duration) bool {
		began := time.Now()
		brake(context.Background(), dir, now)
		return time.Since(began) >= startPause
	}
	for name, c := range map[string]struct {
		before string // the file
		now    time.Duration
		want   bool
	}{
		"the first":               {"", time.Hour, false},
		"the fourth":              {"[3600000000000,3600100000000,3600200000000]", time.Hour + time.Second, false},
		"the fifth":               {"[3600000000000,3600100000000,3600200000000,3600300000000]", time.Hour + time.Second, true},
		"the fifth, much later":   {"[3600000000000,3600100000000,3600200000000,3600300000000]", time.Hour + time.Minute, false},
		"after many, long before": {"[1,2,3,4,5]", time.Hour, false},
		"no JSON":                 {"[1,", time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if c.before != "" {
				if err := os.WriteFile(filepath.Join(dir, "starts.json"), []byte(c.before), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := waits(dir, c.now); got != c.want {
				t.Errorf("waits: %v, want %v", got, c.want)
			}
		})
	}
	t.Run("a loop", func(t *testing.T) {
		dir, n := t.TempDir(), 0
		for i := range 12 {
			began := time.Now()
			brake(gone, dir, time.Hour+time.Duration(i)*50*time.Millisecond)
			if time.Since(began) < startPause {
				n++
			}
		}
		if n != 12 {
			t.Error("waits although it is told to end")
		}
		if !waits(dir, time.Hour+time.Second) {
			t.Error("the thirteenth does not wait")
		}
	})
}
