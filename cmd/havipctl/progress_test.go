package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"havip/kubeadm"
)

func TestProgress(t *testing.T) {
	step := kubeadm.Step{Name: "certs", Text: "make certificates"}
	for name, tt := range map[string]struct {
		live bool
		want []string
	}{
		"in a file":     {false, []string{"note: x\n", "2/15 certs: make certificates\n", "2/15 certs: done in 1.2s\n", "2/15 certs: FAILED in 0s\n"}},
		"on a terminal": {true, []string{"\r\x1b[Knote: x\n", "\r2/15 certs  0s  make certific\x1b[K", "\r\x1b[K2/15 certs: done in 1.2s\n", "\r\x1b[K2/15 certs: FAILED in 0s\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			p := &progress{out: &b, live: tt.live, width: func() int { return 30 }}
			p.Note("x")
			p.Begin(step, 2, 15)
			p.End(step, 1234*time.Millisecond, nil)
			p.Begin(step, 2, 15)
			p.Line("[certs]\ta \x1b[31mline")
			p.End(step, time.Millisecond, errors.New("no"))
			for _, want := range tt.want {
				if !strings.Contains(b.String(), want) {
					t.Errorf("no %q in:\n%q", want, b.String())
				}
			}
			if strings.Contains(b.String(), "\x1b[31m") {
				t.Error("a control sequence of the log came through")
			}
		})
	}
}
