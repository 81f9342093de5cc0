package vip

import (
	"time"

	"golang.org/x/sys/unix"
)

// Now returns CLOCK_BOOTTIME as the time since boot. It counts suspend, which
// CLOCK_MONOTONIC does not: a suspended holder must see that its right ran out.
func Now() time.Duration {
	var ts unix.Timespec
	// clock_gettime fails only for an unknown clock; CLOCK_BOOTTIME is in every
	// kernel since 2.6.39.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return time.Duration(ts.Nano())
}
