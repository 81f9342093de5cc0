package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// pseudoTerminal is a real terminal of this size, and the end at which a person
// would sit.
func pseudoTerminal(t *testing.T, columns, rows int) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	number, err := unix.IoctlGetUint32(int(person.Fd()), unix.TIOCGPTN)
	err = errors.Join(err, unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0))
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	setSize(t, program, columns, rows)
	return person, program
}

func setSize(t *testing.T, f *os.File, columns, rows int) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(f.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(columns), Row: uint16(rows)}); err != nil {
		t.Fatal(err)
	}
}

func modes(t *testing.T, f *os.File) unix.Termios {
	t.Helper()
	m, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *m
}

// TestStillKeys: what is typed is neither shown nor left for the shell.
func TestStillKeys(t *testing.T) {
	person, program := pseudoTerminal(t, 80, 24)
	before := modes(t, program)
	undo := stillKeys(program)
	if m := modes(t, program); m.Lflag&(unix.ECHO|unix.ICANON) != 0 || m.Lflag&unix.ISIG == 0 || m.Cc[unix.VSUSP] != 0 || m.Cc[unix.VINTR] != 3 {
		t.Errorf("modes %+v", m)
	}
	if _, err := person.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	fds := []unix.PollFd{{Fd: int32(program.Fd()), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 20_000); n != 1 || err != nil { // the kernel brings it over in its own time
		t.Fatalf("what was typed does not arrive: %v", err)
	}
	undo()
	if diff := cmp.Diff(before, modes(t, program)); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
	if n, err := unix.IoctlGetInt(int(program.Fd()), unix.TIOCINQ); n != 0 || err != nil {
		t.Errorf("%d bytes are left for the shell, %v", n, err)
	}
}

func TestReaderGone(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if readerGone(w) {
		t.Error("a pipe that is read")
	}
	r.Close()
	if !readerGone(w) {
		t.Error("a pipe that was closed")
	}
	person, program := pseudoTerminal(t, 80, 24)
	if readerGone(program) {
		t.Error("a terminal")
	}
	person.Close()
	if !readerGone(program) {
		t.Error("a terminal that was hung up")
	}
}

// reading is what a program writes, for a test to wait for a part of it.
type reading struct {
	t    *testing.T
	came chan string
	all  string
	seen int // how much of it earlier waits have passed
}

// read is given a descriptor that blocks, since asking for it by number makes it so.
func read(t *testing.T, from *os.File) *reading {
	r := &reading{t: t, came: make(chan string, 1000)}
	go func() {
		defer close(r.came)
		buf := make([]byte, 4096)
		for {
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			r.came <- string(buf[:n])
		}
	}()
	return r
}

func (r *reading) until(what string) {
	r.t.Helper()
	late := time.After(20 * time.Second)
	for {
		if i := strings.Index(r.all[r.seen:], what); i >= 0 {
			r.seen += i + len(what)
			return
		}
		select {
		case s, ok := <-r.came:
			if r.all += s; !ok {
				r.t.Fatalf("no %q, but the end and %q", what, r.all[r.seen:])
			}
		case <-late:
			r.t.Fatalf("no %q in 20 s, but %q", what, r.all[r.seen:])
		}
	}
}

// program is havipctl on a pseudo-terminal.
type program struct {
	*reading
	cmd    *exec.Cmd
	person *os.File
	tty    *os.File
	before unix.Termios
}

// runOnTerminal starts the real program on a real terminal, with a daemon that
// serves one document.
func runOnTerminal(t *testing.T, doc string, env []string, args ...string) *program {
	t.Helper()
	docs, err := filepath.Abs("../../daemon/status/testdata")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "havip") // a socket's path has 108 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	f := newFake(docs, filepath.Join(dir, "sock"))
	if err := f.start([]string{doc}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.stop)
	p := &program{}
	p.person, p.tty = pseudoTerminal(t, 80, 24)
	p.before = modes(t, p.tty)
	p.reading = read(t, p.person)
	p.cmd = exec.Command("/proc/self/exe", append([]string{"--socket", f.sock}, args...)...)
	p.cmd.Args[0] = "havipctl" // what testscript.Main goes by
	p.cmd.Env = append(append(os.Environ(), "TERM=xterm", "NO_COLOR=", "TZ=UTC"), env...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = p.tty, p.tty, p.tty
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// TestWatchOnTerminal: it is drawn to the terminal's size, also to a new one, and
// the terminal put back by every signal that ends it.
func TestWatchOnTerminal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			p := runOnTerminal(t, "all-well", nil, "status", "--watch")
			p.until(openScreen + clearScreen + "\x1b[1;1H\x1b[K  198.51.100.166   \x1b[32mHELD\x1b[0m by n2")
			if m := modes(t, p.tty); m.Lflag&unix.ECHO != 0 {
				t.Error("typed keys are shown")
			}
			setSize(t, p.person, 60, 2) // the kernel sends SIGWINCH
			p.until(clearScreen + "\x1b[1;1H")
			p.until("as seen by n2")
			if err := p.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			p.until(closeScreen)
			if err := p.cmd.Wait(); err != nil {
				t.Errorf("ended with %v", err)
			}
			if diff := cmp.Diff(p.before, modes(t, p.tty)); diff != "" {
				t.Errorf("the terminal's modes (-before +after):\n%s", diff)
			}
		})
	}
}

// TestColourOnTerminal: there is colour, unless somebody wants none.
func TestColourOnTerminal(t *testing.T) {
	const coloured, plain = "\x1b[33mDEGRADED\x1b[0m", "    DEGRADED: n1 is gone"
	for name, tc := range map[string]struct {
		env  string
		flag string
		want string
	}{
		"plainly":          {"", "auto", coloured},
		"NO_COLOR":         {"NO_COLOR=1", "auto", plain},
		"dumb":             {"TERM=dumb", "auto", plain},
		"never":            {"", "never", plain},
		"always, NO_COLOR": {"NO_COLOR=1", "always", coloured},
	} {
		t.Run(name, func(t *testing.T) {
			p := runOnTerminal(t, "one-gone", []string{tc.env}, "status", "--color="+tc.flag)
			p.until(tc.want)
			p.until("journalctl") // the end of it
			if all := p.all; tc.want == plain && strings.Contains(all, "\x1b") {
				t.Errorf("an escape sequence in %q", all)
			}
			_ = p.cmd.Wait() // exit code 1: degraded
		})
	}
	t.Run("a dumb terminal is told lines", func(t *testing.T) {
		p := runOnTerminal(t, "one-gone", []string{"TERM=dumb"}, "status", "--watch")
		p.until("Z  DEGRADED by n2 on eth0: n1 is gone\r\n")
		if all := p.all; strings.Contains(all, "\x1b") {
			t.Errorf("an escape sequence in %q", all)
		}
	})
}
