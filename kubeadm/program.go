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
	said, err := answer(ctx, path, args)
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", path, strings.Join(args, " "), err)
	}
	return said, nil
}

func answer(ctx context.Context, path string, args []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
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

// Ask finds a program and runs it for its answer. ctx bounds it.
func Ask(ctx context.Context, name string, args ...string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s %w", name, ErrNotInstalled)
	}
	said, err := answer(ctx, path, args)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return said, nil
}

// AskVersions asks kubeadm and kubelet for their versions.
func AskVersions(ctx context.Context) (kubeadm, kubelet Program) {
	return askVersion(ctx, "kubeadm", "version", "-o", "short"), askVersion(ctx, "kubelet", "--version")
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
