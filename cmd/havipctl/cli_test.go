package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"havip/configs"
	"havip/daemon/status"
)

// onTerminal returns a command line whose stdout is a terminal of 80 columns,
// and the daemon it asks.
func onTerminal(t *testing.T, names ...string) (*cli, *bytes.Buffer, *fake) {
	t.Helper()
	docs, err := filepath.Abs("../../daemon/status/testdata")
	if err != nil {
		t.Fatal(err)
	}
	f := newFake(docs, filepath.Join(t.TempDir(), "sock"))
	if err := f.start(names); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.stop)
	out := &bytes.Buffer{}
	return &cli{in: strings.NewReader(""), out: out, err: out, color: true, width: func() int { return 80 },
		face: face{drawable: true, height: func() int { return 24 }}}, out, f
}

func TestStatusOnTerminal(t *testing.T) {
	c, out, f := onTerminal(t, "stray-address")
	if code := c.run(t.Context(), []string{"--socket", f.sock, "status"}); code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"\x1b[32mHELD\x1b[0m by n2", "\x1b[33mDEGRADED\x1b[0m: ", "\n                 something other than havip set it\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

func TestWaitInterrupted(t *testing.T) {
	c, out, f := onTerminal(t, "!hang")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if code := c.run(ctx, []string{"--socket", f.sock, "status", "--wait", "60s"}); code != exitInterrupted || out.Len() > 0 {
		t.Errorf("exit code %d, %q", code, out)
	}
}

func TestReport(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		code int
		want string
	}{
		"none":        {nil, 0, ""},
		"silent":      {exitCode(4), 4, ""},
		"interrupted": {fmt.Errorf("wait: %w", context.Canceled), exitInterrupted, ""},
		"plain":       {errors.New("no"), exitFailed, "error: no\n"},
		"two lines":   {errors.New("a\nb"), exitFailed, "error: a\nerror: b\n"},
		"with hints":  {&failure{exitUsage, errors.New("no"), []string{"", "do x"}}, exitUsage, "error: no\nhint: do x\n"},
		"forbidden":   {asked(&status.RefusedError{Status: 403, Failure: status.Failure{Message: "no", Hint: "sudo"}}), exitCannotAsk, "error: no\nhint: sudo\n"},
		"conflict":    {asked(&status.RefusedError{Status: 409, Failure: status.Failure{Message: "no"}}), exitFailed, "error: no\n"},
	} {
		var b bytes.Buffer
		if code := report(&b, tc.err); code != tc.code {
			t.Errorf("%s: exit code %d, want %d", name, code, tc.code)
		}
		if diff := cmp.Diff(tc.want, b.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestOutputFails: a full disk behind stdout is an error, not a good end.
func TestOutputFails(t *testing.T) {
	c, out, f := onTerminal(t, "all-well")
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	c.out = full
	for _, args := range [][]string{{"status"}, {"status", "-o", "json"}, {"drain"}, {"version"}, {"config", "reference"}} {
		out.Reset()
		if code := c.run(t.Context(), append([]string{"--socket", f.sock}, args...)); code != exitFailed || !strings.Contains(out.String(), "no space left") {
			t.Errorf("%v: exit code %d, %q", args, code, out)
		}
	}
}

func TestTerminal(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if columns, rows := size(null); isTerminal(null) || columns != 0 || rows != 0 {
		t.Errorf("%s is a terminal of %d columns and %d rows", os.DevNull, columns, rows)
	}
}

// TestInitOverPackagedFile: the untouched file of the package may go.
func TestInitOverPackagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "havip.toml")
	for name, tc := range map[string]struct {
		old  string
		code int
	}{"packaged": {packaged(), 0}, "empty": {"\n", 0}, "edited": {packaged() + "#", 1}} {
		if err := os.WriteFile(path, []byte(tc.old), 0o600); err != nil {
			t.Fatal(err)
		}
		c, out, _ := onTerminal(t, "all-well")
		code := c.run(t.Context(), []string{"config", "init", "--vip", "198.51.100.166", "--master", "n1=198.51.100.162", "-f", path})
		if code != tc.code {
			t.Errorf("%s: exit code %d: %s", name, code, out)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() == 0 {
		t.Errorf("%v, %v", info, err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".havip*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func packaged() string { return string(configs.Minimal()) }
