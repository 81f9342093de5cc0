package vip

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestNowIsBoottime(t *testing.T) {
	read := func() time.Duration {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
			t.Fatal(err)
		}
		return time.Duration(ts.Nano())
	}
	before, now, after := read(), Now(), read()
	if now < before || now > after {
		t.Errorf("%v, want between %v and %v", now, before, after)
	}
}
