package fence

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"havip/vip"
)

// childMain fences a link until soon, says so, and comes to grief.
func childMain(mode string) int {
	f, err := Open(dir, both, 0)
	if err == nil {
		err = f.Attach(mustIndex(nodeName))
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	until := vip.Now() + time.Hour
	if mode != "long" {
		until = vip.Now() + time.Second
	}
	f.Set(until)
	fmt.Println(int64(until))
	how := unix.SIGKILL
	if mode == "stopped" {
		how = unix.SIGSTOP
	}
	// To this thread, which so takes it before it runs on.
	runtime.LockOSThread()
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), how)
	f.Set(until) // frozen before it: a time that is over
	fmt.Println("lives on")
	<-time.After(time.Minute)
	return 0
}

func mustIndex(name string) int {
	l, err := net.InterfaceByName(name)
	if err != nil {
		panic(err)
	}
	return l.Index
}

// TestCapabilities: what the unit leaves the daemon is enough, also to take over
// what the process before left; what is missing is named.
func TestCapabilities(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	newLab(t)
	for _, test := range []struct{ name, keep, says string }{
		{"those of the unit", "-all,+net_admin,+net_raw,+bpf", ""},
		{"those of the unit, by the next process", "-all,+net_admin,+net_raw,+bpf", ""},
		{"none for BPF", "-all,+net_admin,+net_raw", "needs CAP_NET_ADMIN and CAP_BPF"},
		{"none for the network", "-all,+bpf", "needs CAP_NET_ADMIN and CAP_BPF"},
	} {
		if test.says != "" {
			// What is kept may be opened without CAP_BPF.
			if err := Remove(dir); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("setpriv", "--no-new-privs", "--inh-caps", "-all", "--bounding-set", test.keep, self)
		cmd.Env = append(os.Environ(), childEnv+"=long")
		out, err := cmd.Output()
		if test.says == "" {
			var until int64
			if _, err := fmt.Sscan(string(out), &until); err != nil {
				t.Errorf("%s: %s", test.name, out)
			}
			continue
		}
		if err == nil || !strings.Contains(string(out), test.says) {
			t.Errorf("%s: it says %q, %v", test.name, out, err)
		}
	}
}

// refusing are hooks that let nothing go.
type refusing struct {
	hooks
	err error
}

func (r refusing) detach(program, int, direction) error { return r.err }

// TestRemoveThatFails: who tries again, be it another process, finds what is still
// attached.
func TestRemoveThatFails(t *testing.T) {
	l := newLab(t)
	f := l.open(t, 0)
	busy := errors.New("busy")
	for _, p := range f.posts {
		p.hooks = refusing{p.hooks, busy}
	}
	if err := f.Close(); !errors.Is(err, busy) {
		t.Errorf("close: %v", err)
	}
	for _, p := range f.posts {
		if err := removePost(p.hooks, p.dir); !errors.Is(err, busy) {
			t.Errorf("remove %s: %v", p.dir, err)
		}
	}
	if err := Remove(dir); err != nil {
		t.Error(err)
	}
	for _, d := range []direction{inward, outward} {
		if ids := l.programs(t, d); len(ids) > 0 {
			t.Errorf("programs %v are still attached, %sward", ids, d.name)
		}
	}
	if Left(dir) {
		t.Error("their files are still there")
	}
}

// child starts one and returns its deadline once it has come to grief.
func child(t *testing.T, mode string) (*exec.Cmd, *bufio.Scanner, time.Duration) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+mode)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Scan()
	var until int64
	if _, err := fmt.Sscan(lines.Text(), &until); err != nil {
		t.Fatalf("the child says %q: %v", lines.Text(), err)
	}
	if mode != "stopped" {
		_ = cmd.Wait() // by the signal
		return cmd, lines, time.Duration(until)
	}
	eventually(t, "stopped child", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		return err == nil && strings.Contains(string(stat), ") T ")
	})
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	return cmd, lines, time.Duration(until)
}

// TestWithoutProcess: killed or frozen, the fence closes at its deadline.
func TestWithoutProcess(t *testing.T) {
	for _, mode := range []string{"killed", "stopped"} {
		t.Run(mode, func(t *testing.T) {
			l := newLab(t)
			cmd, lines, until := child(t, mode)
			sent, got := l.stream(t, until+50*time.Millisecond)
			t.Logf("last answered question sent %v from the deadline, its answer came at %v", sent-until, got-until)
			if sent == 0 || sent >= until {
				t.Errorf("last answered question: sent %v from the deadline", sent-until)
			}
			l.expect(t, "after the deadline", false)
			if mode == "killed" {
				return
			}
			// What it was about to write when it was frozen opens nothing.
			if err := cmd.Process.Signal(unix.SIGCONT); err != nil {
				t.Fatal(err)
			}
			if lines.Scan(); lines.Text() != "lives on" {
				t.Fatalf("it says %q", lines.Text())
			}
			l.expect(t, "after it ran on", false)
		})
	}
}

// TestTakeOver: the next process finds the fence as it was, and not one question
// stays without an answer.
func TestTakeOver(t *testing.T) {
	for _, was := range []string{"the same version", "another version", "a version whose map is gone"} {
		t.Run(was, func(t *testing.T) {
			l := newLab(t)
			_, _, until := child(t, "long")
			post := filepath.Join(dir, fileName(vip4))
			before := l.programs(t, inward)
			if len(before) != 2 {
				t.Fatalf("programs %v", before)
			}
			switch was {
			case "another version":
				old := filepath.Join(post, "in-"+version(vip4, inward))
				if err := os.Rename(old, filepath.Join(post, "in-0")); err != nil {
					t.Fatal(err)
				}
			case "a version whose map is gone":
				if err := os.Remove(filepath.Join(post, untilFile)); err != nil {
					t.Fatal(err)
				}
			}
			stop, lost := make(chan struct{}), make(chan int)
			go func() { lost <- l.unanswered(stop) }()
			f := l.open(t, until)
			if f.Until() != until {
				t.Errorf("the deadline became %v, it was %v", f.Until(), until)
			}
			f.Set(long())
			close(stop)
			if n := <-lost; n != 0 {
				t.Errorf("%d questions stayed without an answer", n)
			}
			after := l.programs(t, inward)
			if len(after) != 2 || slices.Equal(before, after) != (was == "the same version") {
				t.Errorf("programs %v, before %v", after, before)
			}
			f.Set(0)
			l.expect(t, "closed by the second process", false)
			f.Set(long())
			l.expect(t, "opened by the second process", true)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			l.expect(t, "taken away by the second process", true)
		})
	}
}

// unanswered pings all the time and counts.
func (l *lab) unanswered(stop chan struct{}) (lost int) {
	for n := uint16(1); ; n++ {
		select {
		case <-stop:
			return lost
		default:
		}
		q := pingFrame(l.wire.node, l.wire.mac, peer4, vip4, n)
		if _, err := unix.Write(l.wire.fd, q); err != nil {
			return -1
		}
		if l.wire.await(answered, func(f frame) bool { return f.from(vip4, unix.IPPROTO_ICMP) && string(f[40:42]) == string(q[40:42]) }) == nil {
			lost++
		}
	}
}

// TestForgotten: a fence that nobody tends opens, and is removed by who fences
// another address; one that may still matter stays.
func TestForgotten(t *testing.T) {
	l := newLab(t)
	other := netip.MustParseAddr("198.51.100.167")
	next := func() *Fence {
		t.Helper()
		f, err := Open(dir, []netip.Addr{other}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Attach(l.link); err != nil {
			t.Fatal(err)
		}
		return f
	}
	left := l.open(t, 0)
	age := func(by time.Duration) {
		for _, p := range left.posts {
			p.clock.set(vip.Now() - by)
		}
	}
	age(forgotten - 10*time.Second)
	l.expect(t, "not forgotten yet", false)
	f := next()
	l.expect(t, "with another address's beside it", false)
	open := long()
	left.Set(open)
	if left.Tend(); left.Until() != open {
		t.Errorf("tended while it was open, it is open for %v", left.Until()-vip.Now())
	}
	age(time.Minute)
	left.Tend()
	if since := vip.Now() - left.Until(); since > time.Second {
		t.Errorf("tended, its deadline is %v ago", since)
	}
	age(forgotten)
	l.expect(t, "forgotten", true)
	again, err := Open(dir, both, long())
	if err != nil {
		t.Fatal(err)
	}
	l.expect(t, "forgotten, and taken over", false)
	if err := again.forget(); err != nil {
		t.Error(err)
	}
	age(forgotten)
	if err := f.Attach(l.link); err != nil {
		t.Fatal(err)
	}
	if ids := l.programs(t, inward); !slices.Equal(ids, []uint32{f.posts[0].in.id}) {
		t.Errorf("programs %v are there, want that of %v alone", ids, other)
	}
	if !Left(dir) {
		t.Error("nothing seems to be left")
	}
	if err := Remove(dir); err != nil || Left(dir) {
		t.Fatalf("left: %v, %v", Left(dir), err)
	}
	if ids := l.programs(t, outward); len(ids) != 0 {
		t.Errorf("programs %v are left", ids)
	}
	if err := Remove(dir); err != nil {
		t.Errorf("remove what is not there: %v", err)
	}
	if err := f.forget(); err != nil {
		t.Error(err)
	}
}
