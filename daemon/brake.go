package daemon

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"time"
)

// systemd starts a process that ended again after 20 ms, every time, so that a holder
// that was killed goes on before anybody misses it. One that ends whenever it is
// started would take a fifth of a processor (10 ms a start, measured), so from the
// startsKept-th start within startsWithin on each waits for startPause.
const (
	startsKept   = 5
	startsWithin = 10 * time.Second
	startPause   = time.Second
)

// brake notes this start in the run directory, and waits if there were too many.
// What cannot be read or written counts as none: it must not keep the daemon.
func brake(ctx context.Context, dir string, now time.Duration) {
	path := filepath.Join(dir, "starts.json")
	var starts []time.Duration
	if b, err := os.ReadFile(path); err == nil {
		_ = json.Unmarshal(b, &starts)
	}
	starts = append(starts, now)
	starts = starts[max(0, len(starts)-startsKept):]
	_ = replaceFile(path, starts, func(*os.File) error { return nil })
	if len(starts) == startsKept && now-starts[0] <= startsWithin {
		pause(ctx)
	}
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(startPause):
	}
}
