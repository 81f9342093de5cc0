package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"havip/daemon/status"
)

// TestMain lets the test binary be havipd.
func TestMain(m *testing.M) {
	if os.Getenv("HAVIPD_TEST_MAIN") != "" {
		os.Exit(run(os.Args[1:], os.Stderr))
	}
	os.Exit(m.Run())
}

const patience = 20 * time.Second

// havipd is one process of it.
type havipd struct {
	*exec.Cmd
	dir    string
	notify *net.UnixConn
	exited chan error
}

// command is havipd with its files in a directory of its own; the path of a
// socket has 107 bytes at most, so it is not the test's.
func command(t *testing.T, args ...string) *havipd {
	t.Helper()
	dir, err := os.MkdirTemp("", "havipd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "notify")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { notify.Close() })
	args = append([]string{
		"-config", filepath.Join(dir, "havip.toml"), "-run-dir", filepath.Join(dir, "run"),
		"-state-dir", filepath.Join(dir, "state"), "-socket", filepath.Join(dir, "s"),
	}, args...)
	d := &havipd{Cmd: exec.Command("/proc/self/exe", args...), dir: dir, notify: notify, exited: make(chan error, 1)}
	d.Env = []string{"HAVIPD_TEST_MAIN=1", "NOTIFY_SOCKET=" + socket}
	return d
}

// start starts it and waits for READY.
func (d *havipd) start(t *testing.T) {
	t.Helper()
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { d.exited <- d.Wait() }()
	t.Cleanup(func() { _ = d.Process.Kill() })
	b := make([]byte, 4096)
	if err := d.notify.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for {
		n, err := d.notify.Read(b)
		if err != nil {
			t.Fatalf("no READY: %v", err)
		}
		if string(b[:n]) == "READY=1" {
			return
		}
	}
}

// answers waits until the socket answers.
func (d *havipd) answers(t *testing.T) {
	t.Helper()
	c := status.NewClient(filepath.Join(d.dir, "s"))
	defer c.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); ; {
		_, err := c.Status(t.Context())
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("no status: %v", err)
		}
	}
}

// term sends SIGTERM and returns the exit code.
func (d *havipd) term(t *testing.T) int {
	t.Helper()
	if err := d.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	return d.code(t)
}

func (d *havipd) code(t *testing.T) int {
	t.Helper()
	select {
	case err := <-d.exited:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return d.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatal("does not end")
	}
	return -1
}

func TestCommandLine(t *testing.T) {
	tests := []struct {
		args []string
		code int
		out  string
		err  string
	}{
		{[]string{"-version"}, 0, "dev\n", ""},
		{[]string{"-nonsense"}, 2, "", "-nonsense"},
		{[]string{"start"}, 2, "", `error: havipd takes no arguments, got ["start"]`},
	}
	for _, test := range tests {
		d := command(t, test.args...)
		var out, errOut bytes.Buffer
		d.Stdout, d.Stderr = &out, &errOut
		_ = d.Run() // the exit code says it
		if got := d.ProcessState.ExitCode(); got != test.code || out.String() != test.out || !strings.Contains(errOut.String(), test.err) {
			t.Errorf("%q: exit code %d, %q, %q", test.args, got, out.String(), errOut.String())
		}
	}
}

func TestStartAndStop(t *testing.T) {
	d := command(t)
	var log bytes.Buffer
	d.Stderr = &log
	d.Env = append(d.Env, "JOURNAL_STREAM=8:1")
	d.start(t)
	d.answers(t)
	second := command(t, "-run-dir", filepath.Join(d.dir, "run"), "-socket", filepath.Join(d.dir, "s"))
	out, err := second.CombinedOutput()
	if err == nil || second.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "another havipd is running on this node") {
		t.Errorf("a second one: %v, %s", err, out)
	}
	d.answers(t)
	if code := d.term(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if strings.Contains(log.String(), "time=") || !strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("log for the journal:\n%s", log.String())
	}
}

// TestStderr: whatever becomes of the log, the daemon goes on.
func TestStderr(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, r, w *os.File){
		"nobody reads it any more": func(t *testing.T, r, w *os.File) { r.Close() },
		"it is full and blocks": func(t *testing.T, r, w *os.File) {
			raw, err := w.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			block := make([]byte, 4096)
			err = raw.Write(func(fd uintptr) bool {
				for {
					if _, err := syscall.Write(int(fd), block); err != nil {
						return true // full: the pipe does not block on this side
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			spoil(t, r, w)
			d := command(t, "-debug")
			d.Stderr = w // blocks in the child: passing a file makes it so
			d.start(t)
			w.Close()
			d.answers(t)
			if code := d.term(t); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

func TestLogger(t *testing.T) {
	for _, journal := range []string{"", "8:1"} {
		t.Setenv("JOURNAL_STREAM", journal)
		var b bytes.Buffer
		l := logger(&b, true)
		l.Debug("hello", slog.Group("sub", "time", "kept"))
		if got := strings.HasPrefix(b.String(), "time="); got != (journal == "") || !strings.Contains(b.String(), "sub.time=kept") {
			t.Errorf("JOURNAL_STREAM=%q: %s", journal, b.String())
		}
		b.Reset()
		logger(&b, false).Debug("hello")
		if b.Len() != 0 {
			t.Errorf("debug without -debug: %s", b.String())
		}
	}
}

// The man page names every option with its default, and none that is not there.
func TestManPage(t *testing.T) {
	page, err := os.ReadFile("../../packaging/man/havipd.8.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "\n# OPTIONS\n")
	section, _, ok := strings.Cut(rest, "\n# ")
	if !ok {
		t.Fatal("no section OPTIONS")
	}
	n := 0
	newFlags(&settings{}, io.Discard).VisitAll(func(f *flag.Flag) {
		n++
		if !strings.Contains(section, "\n**-"+f.Name+"**") {
			t.Errorf("-%s is not in the man page", f.Name)
		}
		if f.DefValue != "false" && !strings.Contains(section, "(default: "+f.DefValue+")") {
			t.Errorf("-%s: the man page does not say that its default is %s", f.Name, f.DefValue)
		}
	})
	if got := strings.Count(section, "\n**-"); got != n {
		t.Errorf("the man page has %d options, havipd %d", got, n)
	}
}

// TestUnfence: that there is no fence is no failure, what cannot be read is one, and so
// is a daemon that runs.
func TestUnfence(t *testing.T) {
	dir := t.TempDir()
	none := filepath.Join(dir, "none")
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		run, dir string
		code     int
	}{"nothing there": {none, none, 0}, "no directory": {none, "/dev/null", 1}, "one runs": {dir, none, 1}} {
		d := command(t, "-unfence", "-run-dir", c.run, "-fence-dir", c.dir)
		err := d.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if got := d.ProcessState.ExitCode(); got != c.code {
			t.Errorf("%s: exit status %d, want %d", name, got, c.code)
		}
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("the run directory was made")
	}
}
