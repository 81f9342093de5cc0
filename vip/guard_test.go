package vip

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// killSlack is how late the guard may kill, beside what a timer of this process was
// late at the same moment: 1 to 3 ms were measured, the rest is for a busy machine.
const killSlack = 100 * time.Millisecond

// guardTime is long enough for a child on a busy machine to come to its point.
const guardTime = time.Second

// guardChild is a process that the guard may kill. It prints the time at which
// its guard fires, then does what the mode says.
func guardChild(mode string) int {
	at := Now() + guardTime
	switch mode {
	case "stopped": // between check and call
		arm(at)
		stopSelf()
	case "set-stopped", "set-stopped-before-arming":
		return setStopped(mode, at)
	case "finished": // in time, and lives on
		arm(at)()
	case "many": // no timer of many leaks
		for range 200 {
			arm(at)()
		}
	}
	// Lives on well past the moment, and says so.
	fmt.Println(int64(at))
	<-time.After(time.Until(time.Now().Add(at-Now())) + 150*time.Millisecond)
	fmt.Println("alive")
	return 0
}

func arm(at time.Duration) func() {
	disarm, err := killAt(at)
	if err != nil {
		panic(err)
	}
	return func() {
		if err := disarm(); err != nil {
			panic(err)
		}
	}
}

// stopSelf stops the process right here. The signal goes to the calling thread,
// which so takes it before it returns; sent to the process, another thread may
// take it while this one runs on.
func stopSelf() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP)
}

// setStopped runs the real Set on the real kernel, frozen at a point of choice.
func setStopped(mode string, at time.Duration) int {
	v, err := New(Config{Addresses: vips()[:1], Interface: os.Getenv("HAVIP_VIP_TEST_LINK")})
	if err != nil {
		panic(err)
	}
	v.kernel = freezer{system{}}
	if mode == "set-stopped-before-arming" {
		v.kernel = system{}
		v.guard = func(at time.Duration) (func() error, error) {
			stopSelf()
			return killAt(at)
		}
	}
	fmt.Println(int64(at))
	_, err = v.Set(30, at)
	fmt.Println("Set returned", err)
	return 0
}

// freezer stops the process after Set looked at the clock, before the kernel is
// asked.
type freezer struct{ system }

func (f freezer) prepare(as []assignment) (change, error) {
	ch, err := f.system.prepare(as)
	return frozenChange{ch}, err
}

type frozenChange struct{ change }

func (f frozenChange) apply(handled func()) error {
	stopSelf()
	return f.change.apply(handled)
}

// child starts this test binary as a guardChild and returns its first line, a
// reading of Now.
func child(t *testing.T, mode string, env ...string) (*exec.Cmd, *bufio.Scanner, time.Duration) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(append(os.Environ(), childEnv+"="+mode), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	if mode == "stopped" {
		return cmd, lines, 0
	}
	lines.Scan()
	at, err := strconv.ParseInt(lines.Text(), 10, 64)
	if err != nil {
		t.Fatalf("child %s said %q: %v", mode, lines.Text(), err)
	}
	return cmd, lines, time.Duration(at)
}

// killedAt waits for the child's end by SIGKILL and returns when it was.
func killedAt(t *testing.T, cmd *exec.Cmd) time.Duration {
	t.Helper()
	err := cmd.Wait()
	at := Now()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("child ended with %v, want killed", err)
	}
	return at
}

func TestGuardKillsStoppedProcess(t *testing.T) {
	began := Now()
	cmd, _, _ := child(t, "stopped")
	died := killedAt(t, cmd)
	if died-began < guardTime {
		t.Errorf("died %v after its start, before its time", died-began)
	}
	t.Logf("died %v after its start", died-began)
}

func TestGuardSparesWhoFinished(t *testing.T) {
	for _, mode := range []string{"finished", "many"} {
		cmd, lines, _ := child(t, mode)
		lines.Scan()
		if err := cmd.Wait(); err != nil || lines.Text() != "alive" {
			t.Errorf("%s: %v, last line %q", mode, err, lines.Text())
		}
	}
}

// TestSetStopped freezes a process inside Set: it dies at the latest moment and
// the address never comes, also when it is woken afterwards.
func TestSetStopped(t *testing.T) {
	l := newLab(t)
	for _, mode := range []string{"set-stopped", "set-stopped-before-arming"} {
		t.Run(mode, func(t *testing.T) {
			cmd, lines, latest := child(t, mode, "HAVIP_VIP_TEST_LINK="+l.node)
			woken := make(chan time.Duration, 1)
			go func() {
				<-time.After(latest - Now())
				woken <- Now() - latest
			}()
			if mode == "set-stopped-before-arming" {
				// Nothing is armed yet, so it stays stopped; it must die when woken late.
				awaitPast(latest)
				eventually(t, "stopped child", func() bool { return stopped(cmd.Process.Pid) })
				_ = cmd.Process.Signal(syscall.SIGCONT)
			}
			for lines.Scan() {
				t.Errorf("it went on: %s", lines.Text())
			}
			died := killedAt(t, cmd)
			own := <-woken
			if late := died - latest; late < 0 || mode == "set-stopped" && late > killSlack+own {
				t.Errorf("died %v after the latest moment, a timer here rang %v after it", late, own)
			} else {
				t.Logf("died %v after the latest moment, a timer here rang %v after it", late, own)
			}
			if found, err := l.vip(t, vip4).Found(); err != nil || len(found) > 0 {
				t.Errorf("the address is there: %v, %v", found, err)
			}
		})
	}
}

func awaitPast(at time.Duration) { <-time.After(at - Now() + 20*time.Millisecond) }

// stopped reads the state of a process from proc(5).
func stopped(pid int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "T")
}

func TestGuardRefusesNonsense(t *testing.T) {
	// A negative time cannot be armed; the timer made for it must not stay.
	if disarm, err := killAt(-1); err == nil {
		_ = disarm()
		t.Error("armed")
	}
	if err := deleteTimer(12345); err == nil {
		t.Error("deleted a timer that is not there")
	}
}
