package vip

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Now returns CLOCK_BOOTTIME as the time since boot. It counts suspend, which
// CLOCK_MONOTONIC does not: a suspended holder must see that its right ran out.
//
// The call never waits, so it goes past the Go scheduler, which would otherwise
// wake its monitor thread for it each time the process was idle before.
func Now() time.Duration {
	var ts unix.Timespec
	// clock_gettime fails only for an unknown clock; CLOCK_BOOTTIME is in every
	// kernel since 2.6.39.
	_, _, _ = unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano())
}
