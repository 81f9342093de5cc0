package daemon

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// alarm wakes the loop.
type alarm interface {
	// set has it ring at that reading of Clock.Boot, instead of at the last one. It
	// may ring once too often.
	set(at, now time.Duration)
	rings() <-chan time.Time
	end()
}

// runtimeAlarm does not count the time that a machine was suspended.
type runtimeAlarm struct{ *time.Timer }

func newRuntimeAlarm() alarm { return runtimeAlarm{time.NewTimer(pulse)} }

func (a runtimeAlarm) set(at, now time.Duration) { a.Reset(at - now) }
func (a runtimeAlarm) rings() <-chan time.Time   { return a.C }
func (a runtimeAlarm) end()                      { a.Stop() }

// newAlarm returns the kernel's, or the other one where that cannot be had.
func newAlarm() alarm {
	a, err := newKernelAlarm()
	if err != nil {
		return newRuntimeAlarm()
	}
	return a
}

// kernelAlarm is a timer of the kernel's that the process waits for as for its
// sockets. For one of its own the runtime wakes its monitor thread too, each time:
// a third to a half of what an idle daemon switched threads for (measured).
type kernelAlarm struct {
	file *os.File
	raw  syscall.RawConn
	fd   uintptr
	spec unix.ItimerSpec
	c    chan time.Time
}

// newKernelAlarm counts the time that a machine was suspended, as vip.Now does.
func newKernelAlarm() (alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a timer: %w", err)
	}
	a := &kernelAlarm{file: os.NewFile(uintptr(fd), "timerfd"), fd: uintptr(fd), c: make(chan time.Time, 1)}
	a.raw, err = a.file.SyscallConn()
	if err == nil {
		err = a.file.SetReadDeadline(time.Time{}) // fails if it is not waited for as sockets are
	}
	if err != nil {
		return nil, fmt.Errorf("make a timer: %w", errors.Join(err, a.file.Close()))
	}
	go a.listen()
	return a, nil
}

// listen is one read that is never satisfied: to be told that it has run out is all
// that is wanted of the timer, and setting it anew takes the place of reading it.
func (a *kernelAlarm) listen() {
	_ = a.raw.Read(func(uintptr) bool { // ends when the file is closed
		select {
		case a.c <- time.Time{}:
		default:
		}
		return false
	})
}

// set is called by who calls end, and not after it. The only errors are those of bad
// arguments. It does not wait: see vip.Now.
func (a *kernelAlarm) set(at, _ time.Duration) {
	a.spec.Value = unix.NsecToTimespec(max(int64(at), 1)) // 0 would turn it off
	_, _, _ = unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, a.fd, unix.TFD_TIMER_ABSTIME, uintptr(unsafe.Pointer(&a.spec)), 0, 0, 0)
}

func (a *kernelAlarm) rings() <-chan time.Time { return a.c }
func (a *kernelAlarm) end()                    { _ = a.file.Close() }
