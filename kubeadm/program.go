package kubeadm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// askTime bounds a program that is only asked something; kubeadm takes 0.1 s to
// start on an idle machine.
const askTime = 30 * time.Second

// killAfter is how long a program may go on after it was told to end.
const killAfter = 10 * time.Second

// ask runs a program for its answer.
func ask(ctx context.Context, path string, args ...string) (string, error) {
	said, err := answer(ctx, askTime, path, args)
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", path, strings.Join(args, " "), err)
	}
	return said, nil
}

func answer(ctx context.Context, limit time.Duration, path string, args []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	var said, complained bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &complained
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		last := strings.TrimSpace(complained.String())
		if i := strings.LastIndexByte(last, '\n'); i >= 0 {
			last = last[i+1:]
		}
		return "", fmt.Errorf("%w: %s", err, last)
	}
	return said.String(), nil
}

// ErrNotInstalled says that a program is not in PATH.
var ErrNotInstalled = errors.New("is not installed (not in PATH)")

// Ask finds a program and runs it for its answer, within half a minute at most.
func Ask(ctx context.Context, name string, args ...string) (string, error) {
	return within(ctx, askTime, name, args...)
}

// within is Ask for what may take longer.
func within(ctx context.Context, limit time.Duration, name string, args ...string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s %w", name, ErrNotInstalled)
	}
	said, err := answer(ctx, limit, path, args)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return said, nil
}

// AskVersions asks kubeadm and kubelet for their versions.
func AskVersions(ctx context.Context) (kubeadm, kubelet Program) {
	return askVersion(ctx, "kubeadm", "version", "-o", "short"), askVersion(ctx, "kubelet", "--version")
}

// tellTime bounds a program that a report is made of, and tellSize what is kept of
// it: the end, from the begin of a line on.
const (
	tellTime = 10 * time.Second
	tellSize = 4 << 20
)

// Tell runs a program for what it says, which is returned as far as it came, also
// with an error.
func Tell(ctx context.Context, name string, args ...string) ([]byte, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("%s %w", name, ErrNotInstalled)
	}
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	said, complained := &tail{limit: tellSize}, &tail{limit: 4 << 10}
	cmd.Stdout, cmd.Stderr = said, complained
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SYSTEMD_COLORS=0")
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("no end within %v", tellTime)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(complained.bytes()))
	}
	return said.bytes(), err
}

// tail keeps the end of what is written to it.
type tail struct {
	limit int
	data  []byte
	lost  bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if over := len(t.data) - 2*t.limit; over > 0 { // not with every write
		t.data = append(t.data[:0], t.data[len(t.data)-t.limit:]...)
		t.lost = true
	}
	return len(p), nil
}

// bytes is what is kept, in whole lines.
func (t *tail) bytes() []byte {
	data := t.data
	if len(data) > t.limit {
		data, t.lost = data[len(data)-t.limit:], true
	}
	if t.lost {
		data = data[bytes.IndexByte(data, '\n')+1:]
	}
	return data
}

// askVersion finds a program and asks for its version.
func askVersion(ctx context.Context, name string, args ...string) Program {
	path, err := exec.LookPath(name)
	if err != nil {
		return Program{Error: ErrNotInstalled.Error()}
	}
	said, err := ask(ctx, path, args...)
	if err != nil {
		return Program{Path: path, Error: err.Error()}
	}
	v, err := ParseVersion(said)
	if err != nil {
		return Program{Path: path, Error: err.Error()}
	}
	return Program{Path: path, Version: v}
}

// start runs a program to its end, with all it says going to out line by line.
// It inherits held, so that what that locks stays locked as long as it runs, also
// when this process is killed. It has a process group of its own: Ctrl-C is for
// havipctl, which then ends it.
func start(ctx context.Context, path string, args []string, held *os.File, out io.Writer) error {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.ExtraFiles = []*os.File{held}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killAfter
	err := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("kubeadm ended with %s", exit.ProcessState)
	}
	return err
}
