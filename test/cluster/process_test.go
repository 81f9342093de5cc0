package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func sleeper(ns *namespace) func() (*process, error) {
	return func() (*process, error) {
		return ns.spawn(program{name: "sleeper", path: "/bin/sleep", args: []string{"600"}})
	}
}

func emptyNamespace(t *testing.T) *namespace {
	t.Helper()
	needRoot(t)
	ns, err := newNamespace()
	must(t, err)
	t.Cleanup(ns.close)
	return ns
}

func TestSupervisorRestartsWhatWasKilled(t *testing.T) {
	s := &supervisor{start: sleeper(emptyNamespace(t)), delay: ms(10)}
	must(t, s.up())
	first := s.current().pid()
	must(t, s.up()) // runs already
	if pid := s.current().pid(); pid != first {
		t.Errorf("up on a running program started process %d beside %d", pid, first)
	}
	must(t, s.current().kill())
	must(t, Poll(t.Context(), patience, "a restart", func() bool {
		p := s.current()
		return p.pid() != first && p.running()
	}))
	p := s.release()
	must(t, p.kill())
	must(t, Pause(t.Context(), ms(50)))
	if s.current() != p {
		t.Error("restarted after release")
	}
	must(t, s.up())
	if !s.current().running() {
		t.Error("not running after up")
	}
}

func TestSupervisorWithoutRestart(t *testing.T) {
	s := &supervisor{start: sleeper(emptyNamespace(t)), delay: -1}
	must(t, s.up())
	p := s.current()
	must(t, p.kill())
	must(t, Pause(t.Context(), ms(50)))
	if s.current() != p || p.running() {
		t.Error("restarted, want dead")
	}
}

// TestTimerSlack: the daemon gets the slack of its unit, what comes after it
// the kernel's own again.
func TestTimerSlack(t *testing.T) {
	unit, err := os.ReadFile("../../packaging/systemd/havipd.service")
	must(t, err)
	if line := fmt.Sprintf("\nTimerSlackNSec=%v\n", havipdSlack); !strings.Contains(string(unit), line) {
		t.Errorf("havipd.service does not say %q", line)
	}
	ns := emptyNamespace(t)
	for _, want := range []time.Duration{havipdSlack, 0} {
		p, err := ns.spawn(program{name: "sleeper", path: "/bin/sleep", args: []string{"600"}, slack: want})
		must(t, err)
		got, err := os.ReadFile(fmt.Sprintf("/proc/%d/timerslack_ns", p.pid()))
		must(t, err)
		if want == 0 {
			want = 50 * time.Microsecond
		}
		if strings.TrimSpace(string(got)) != fmt.Sprint(want.Nanoseconds()) {
			t.Errorf("timer slack %s ns, want %v", got, want)
		}
		must(t, p.kill())
	}
}

func TestProcessDiesWithItsNamespace(t *testing.T) {
	ns := emptyNamespace(t)
	p, err := sleeper(ns)()
	must(t, err)
	must(t, p.signal(syscall.SIGSTOP)) // even a frozen one
	ns.close()
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatal("process outlives its namespace")
	}
	if _, err := sleeper(ns)(); !errors.Is(err, errNamespaceClosed) {
		t.Errorf("start in a closed namespace = %v, want %v", err, errNamespaceClosed)
	}
}

func TestTerminateKillsWhoDoesNotListen(t *testing.T) {
	ns := emptyNamespace(t)
	p, err := sleeper(ns)()
	must(t, err)
	must(t, p.signal(syscall.SIGSTOP))
	must(t, Poll(t.Context(), patience, "the process to stop", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid()))
		return err == nil && strings.Contains(string(stat), ") T ")
	}))
	if err := p.terminate(ms(50)); err == nil {
		t.Error("terminate of a frozen process = nil, want an error")
	}
	if p.running() {
		t.Error("process survived")
	}
	if err := p.terminate(ms(50)); err != nil {
		t.Errorf("terminate of an ended process = %v, want nil", err)
	}
}

func TestFullPipeBlocks(t *testing.T) {
	r, w, err := fullPipe()
	must(t, err)
	defer r.Close()
	wrote := make(chan error, 1)
	go func() {
		_, err := w.Write([]byte("x"))
		wrote <- err
	}()
	select {
	case err := <-wrote:
		t.Fatalf("write to a full pipe returned: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if _, err := r.Read(make([]byte, 1<<16)); err != nil {
		t.Fatalf("read from pipe: %v", err)
	}
	select {
	case err := <-wrote:
		must(t, err)
	case <-time.After(patience):
		t.Fatal("write still blocks after a read")
	}
}

// echo answers everything it hears on the server's side.
func echo(server net.Conn) {
	buf := make([]byte, 64)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}

func TestSlowProxyDelaysEachRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, client := net.Pipe()
		far, server := net.Pipe()
		go echo(server)
		p := &slowProxy{target: func() (net.Conn, error) { return far, nil }}
		p.setDelay(ms(300))
		go p.serve(near)

		buf := make([]byte, 1)
		begin := time.Now()
		for i := range 3 { // one after the other: three round trips
			if _, err := client.Write([]byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Read(buf); err != nil || buf[0] != byte(i) {
				t.Fatalf("read %v, %v, want %d", buf, err, i)
			}
		}
		if took := time.Since(begin); took != ms(900) {
			t.Errorf("three round trips took %v, want 900ms", took)
		}

		begin = time.Now()
		for i := range 3 { // all under way at once: one delay
			if _, err := client.Write([]byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			if _, err := client.Read(buf); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begin); took != ms(300) {
			t.Errorf("three requests at once took %v, want 300ms", took)
		}
		client.Close()
		server.Close()
	})
}

func TestSlowProxyWithoutTarget(t *testing.T) {
	near, client := net.Pipe()
	p := &slowProxy{target: func() (net.Conn, error) { return nil, os.ErrClosed }}
	go p.serve(near)
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("read through a proxy without target = nil error, want the connection closed")
	}
}
