package vip

import (
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigevent is struct sigevent of sigevent(3type): 64 bytes, of which the kernel
// reads the first three fields for SIGEV_SIGNAL.
type sigevent struct {
	value  uintptr
	signo  int32
	notify int32
	pad    [64 - unsafe.Sizeof(uintptr(0)) - 8]byte
}

const (
	sigevSignal  = 0 // SIGEV_SIGNAL: to the process, not to one thread
	timerAbstime = 1 // TIMER_ABSTIME
)

// killAt arms a timer that kills this process with SIGKILL at the given reading
// of CLOCK_BOOTTIME, and returns what disarms it. It is the cure for a process
// that is stopped, starved or swapped out between looking at the clock and acting
// on what it saw: such a process cannot be asked, only killed, and 1 to 3 ms
// after the time it was (measured with SIGSTOP).
//
// Arming and disarming are raw system calls, so that the Go scheduler cannot put
// anything between them and what they guard. disarm deletes the timer; once it
// returned nil the timer kills no more.
//
// It does not stop what the kernel has already begun: a request that waits for
// the RTNL mutex is carried out before the signal takes the process.
func killAt(at time.Duration) (disarm func() error, err error) {
	ev := sigevent{signo: int32(unix.SIGKILL), notify: sigevSignal}
	var id int32
	_, _, errno := unix.RawSyscall(unix.SYS_TIMER_CREATE, unix.CLOCK_BOOTTIME,
		uintptr(unsafe.Pointer(&ev)), uintptr(unsafe.Pointer(&id)))
	if errno != 0 {
		return nil, fmt.Errorf("create the guard timer: %w", errno)
	}
	disarm = func() error { return deleteTimer(id) }
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(at))}
	_, _, errno = unix.RawSyscall6(unix.SYS_TIMER_SETTIME, uintptr(id), timerAbstime,
		uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	runtime.KeepAlive(&spec)
	if errno != 0 {
		_ = disarm()
		return nil, fmt.Errorf("arm the guard timer: %w", errno)
	}
	return disarm, nil
}

func deleteTimer(id int32) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_TIMER_DELETE, uintptr(id), 0, 0); errno != 0 {
		return fmt.Errorf("delete the guard timer: %w", errno)
	}
	return nil
}
