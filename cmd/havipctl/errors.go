package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"havip/configs"
	"havip/daemon/status"
)

// Exit codes. `status` adds those of status.ExitCode: 0, 1 and 4.
const (
	exitFailed      = 1   // refused by the daemon, or failed
	exitUsage       = 2   // the command line is wrong
	exitNotRunning  = 3   // the daemon does not run, or hangs
	exitCannotAsk   = 5   // permission denied, or its answer is not understood
	exitInterrupted = 130 // by SIGINT, as shells count it
)

// failure is an error with its exit code and what to do about it.
type failure struct {
	code  int
	err   error
	hints []string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// exitCode ends the program without a word: all has been said on stdout.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func usageError(hint, format string, args ...any) error {
	return &failure{code: exitUsage, err: fmt.Errorf(format, args...), hints: []string{hint}}
}

// report writes an error for a person and returns its exit code.
func report(w io.Writer, err error) int {
	var code exitCode
	var f *failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case !errors.As(err, &f):
		f = &failure{code: exitFailed, err: err}
	}
	for _, line := range strings.Split(strings.TrimSpace(f.err.Error()), "\n") {
		fmt.Fprintln(w, "error: "+line)
	}
	for _, hint := range f.hints {
		if hint != "" {
			fmt.Fprintln(w, "hint: "+hint)
		}
	}
	return f.code
}

// asked explains an error of a call to the daemon.
func asked(err error) error {
	var refused *status.RefusedError
	var told *failure
	const log = "its log: journalctl -u havipd -n 50"
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.As(err, &told):
		return err
	case status.NotRunning(err):
		return &failure{exitNotRunning, fmt.Errorf("havipd is not running: %w", err), []string{"start it: systemctl enable --now havipd", log}}
	case errors.Is(err, status.ErrNoAnswer), errors.Is(err, status.ErrBroken):
		return &failure{exitNotRunning, fmt.Errorf("havipd hangs or is stopping: %w", err), []string{"see what it does: systemctl status havipd", log}}
	case errors.Is(err, status.ErrPermission):
		return &failure{exitCannotAsk, err, []string{"run it as root; to read the status, being in the group havip is enough"}}
	case errors.As(err, &refused):
		return refusal(refused)
	}
	return &failure{exitCannotAsk, err, []string{"havipctl and havipd may be of different versions: systemctl restart havipd"}}
}

func refusal(r *status.RefusedError) error {
	switch {
	case r.Status == http.StatusForbidden && r.Hint == "":
		return &failure{exitCannotAsk, r, []string{"run it as root"}}
	case r.Status == http.StatusForbidden:
		return &failure{exitCannotAsk, r, []string{r.Hint}}
	}
	return &failure{exitFailed, r, []string{r.Hint}}
}

// warn writes what works, but probably not as meant.
func warn(w io.Writer, list []configs.Warning) {
	for _, one := range list {
		fmt.Fprintln(w, "warning: "+one.String())
	}
}
