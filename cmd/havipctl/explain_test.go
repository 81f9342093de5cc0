package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"havip/daemon/status"
	"havip/kubeadm"
)

func TestExplain(t *testing.T) {
	step := kubeadm.Step{Name: "certs"}
	for name, tt := range map[string]struct {
		err  error
		code int
		want string
	}{
		"blocked": {&kubeadm.BlockedError{Findings: []kubeadm.Finding{{Subject: "swap", What: "in use", Fix: "swapoff -a"}, {What: "alone"}}}, exitFailed,
			"error: swap: in use\nhint: swapoff -a\nerror: alone\nnothing was done\n"},
		"a step": {&kubeadm.StepError{Step: step, Log: "/l", Tail: []string{"a", "b"}, Hints: []string{"h"}, Err: errors.New("no")}, exitFailed,
			"  | a\n  | b\nerror: step certs: no\nhint: all it said: /l\nhint: h\n"},
		"interrupted": {&kubeadm.StepError{Step: step, Hints: []string{"h"}, Err: context.Canceled}, exitInterrupted, "error: interrupted in step certs\nhint: h\n"},
		"not allowed": {fmt.Errorf("lock /x: %w", fs.ErrPermission), exitCannotAsk, "error: lock /x: permission denied\nhint: run it as root\n"},
		"no daemon":   {fmt.Errorf("ask: %w", status.ErrNoSocket), exitNotRunning, "error: havipd is not running: ask: no socket there\nhint: start it: systemctl enable --now havipd\nhint: its log: journalctl -u havipd -n 50\n"},
		"plain":       {errors.New("no"), exitFailed, "error: no\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			c := &cli{err: &b}
			if code := report(&b, c.explain(tt.err)); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if diff := cmp.Diff(tt.want, b.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
