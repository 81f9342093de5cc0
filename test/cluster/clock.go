package cluster

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Now reads CLOCK_MONOTONIC, the clock that the sampler, the witness and the
// faults share across processes.
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		// The clock exists on every Linux; a zero would be silently wrong.
		panic(fmt.Sprintf("read CLOCK_MONOTONIC: %v", err))
	}
	return time.Duration(ts.Nano())
}

// pollEvery is how often a condition that nothing announces is looked at.
const pollEvery = 20 * time.Millisecond

// Poll asks until ok holds, the limit has passed or ctx ends. what completes
// the sentence "waited 3s for …".
func Poll(ctx context.Context, limit time.Duration, what string, ok func() bool) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, context.Cause(ctx))
		case <-deadline.C:
			if ok() {
				return nil
			}
			return fmt.Errorf("waited %v for %s", limit, what)
		case <-tick.C:
		}
	}
	return nil
}

// Pause lets the cluster run for d, or until ctx ends.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
