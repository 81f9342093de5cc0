package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Program is what can run as a node's daemon in havipd's place.
type Program struct {
	Name string // its log's name too
	Path string
	Args []string
}

// StartHavipd starts the node's daemon unless it is running.
func (n *Node) StartHavipd() error {
	if n.cluster.opts.NoDaemon {
		return nil
	}
	return n.daemon.up()
}

// Supervise makes a daemon that ends by itself, or is killed with KillHavipd,
// come back after delay; below 0 it stays dead, which is the default.
func (n *Node) Supervise(delay time.Duration) {
	n.daemon.mu.Lock()
	defer n.daemon.mu.Unlock()
	n.daemon.delay = delay
}

// KillHavipd sends SIGKILL to the daemon and waits for its end. Its supervisor,
// if it has one, brings it back.
func (n *Node) KillHavipd() error { return n.daemon.current().kill() }

// StopHavipd ends the daemon as systemctl stop does: SIGTERM, then up to limit.
func (n *Node) StopHavipd(limit time.Duration) error { return n.daemon.release().terminate(limit) }

// PauseHavipd freezes the daemon with SIGSTOP.
func (n *Node) PauseHavipd() error { return n.daemon.current().signal(syscall.SIGSTOP) }

// ResumeHavipd lets a frozen daemon run on.
func (n *Node) ResumeHavipd() error { return n.daemon.current().signal(syscall.SIGCONT) }

// HavipdRunning reports whether the daemon's process is there, frozen or not.
func (n *Node) HavipdRunning() bool { return n.daemon.current().running() }

// HavipdPID is the daemon's process, for whoever wants to measure it; 0 when
// it never ran.
func (n *Node) HavipdPID() int {
	if p := n.daemon.current(); p != nil {
		return p.pid()
	}
	return 0
}

// HavipdStarts counts how often the daemon was started, by hand or by its
// supervisor.
func (n *Node) HavipdStarts() int {
	n.daemon.mu.Lock()
	defer n.daemon.mu.Unlock()
	return n.daemon.starts
}

// BlockStderr decides for the daemon's next starts: its stderr becomes a pipe
// that is full and that nobody reads, as with a log service that hangs.
func (n *Node) BlockStderr(on bool) { n.blocked = on }

// havipdSlack is TimerSlackNSec of its unit.
const havipdSlack = time.Millisecond

// spawnDaemon starts what Options.Instead names, or havipd.
func (n *Node) spawnDaemon() (*process, error) {
	if n.cluster.opts.Instead == nil {
		return n.spawnHavipd()
	}
	p, err := n.cluster.opts.Instead(n)
	if err != nil {
		return nil, err
	}
	stderr, err := n.logFile(p.Name + ".log")
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	return n.ns.spawn(program{
		name: n.Name + "'s " + p.Name, path: p.Path, args: p.Args, stdout: stderr, stderr: stderr,
	})
}

func (n *Node) spawnHavipd() (*process, error) {
	if err := writeFile(filepath.Join(n.dir, "havip.toml"), n.havipConfig(), 0o644); err != nil {
		return nil, err
	}
	stderr, err := n.daemonStderr()
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	return n.ns.spawn(program{
		name: n.Name + "'s havipd", path: n.cluster.opts.Havipd, stderr: stderr, slack: havipdSlack,
		args: []string{
			"--config", filepath.Join(n.dir, "havip.toml"),
			"--run-dir", n.runDir(),
			"--state-dir", filepath.Join(n.dir, "state"),
			"--fence-dir", n.bpf.path("havip"),
			"--socket", n.socket(),
		},
	})
}

func (n *Node) daemonStderr() (*os.File, error) {
	if !n.blocked {
		return n.logFile("havipd.log")
	}
	r, w, err := fullPipe()
	if err != nil {
		return nil, err
	}
	// Kept open: without a reader the daemon would get SIGPIPE instead.
	n.readers = append(n.readers, r)
	return w, nil
}

// fullPipe returns a pipe that takes no more bytes; writing to w blocks.
func fullPipe() (r, w *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, nil, fmt.Errorf("make pipe: %w", err)
	}
	block := make([]byte, 4096)
	for err == nil {
		_, err = unix.Write(fds[1], block)
	}
	if errors.Is(err, unix.EAGAIN) {
		err = unix.SetNonblock(fds[1], false)
	}
	if err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return nil, nil, fmt.Errorf("fill pipe: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "pipe"), os.NewFile(uintptr(fds[1]), "pipe"), nil
}

// Ctl runs havipctl on the node and returns what it printed and its exit code.
func (n *Node) Ctl(ctx context.Context, args ...string) (stdout, stderr string, code int, err error) {
	cmd := exec.CommandContext(ctx, n.cluster.opts.Havipctl, append([]string{"--socket", n.socket()}, args...)...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := n.ns.start(cmd); err != nil {
		return "", "", 0, fmt.Errorf("start havipctl: %w", err)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return out.String(), errOut.String(), exit.ExitCode(), nil
	}
	if err != nil {
		return "", "", 0, fmt.Errorf("run havipctl %v: %w", args, err)
	}
	return out.String(), errOut.String(), 0, nil
}

// MustCtl is Ctl for a command that has to succeed.
func (n *Node) MustCtl(ctx context.Context, args ...string) (string, error) {
	stdout, stderr, code, err := n.Ctl(ctx, args...)
	if err != nil {
		return "", err
	}
	if code != 0 {
		return "", fmt.Errorf("havipctl %v on %s: exit status %d: %s", args, n.Name, code, stderr)
	}
	return stdout, nil
}

// CtlLine is the command line, for a person to type, that Ctl runs.
func (n *Node) CtlLine(args ...string) string {
	return strings.Join(append([]string{n.cluster.opts.Havipctl, "--socket", n.socket()}, args...), " ")
}
