package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"havip/kubeadm/check"
)

func TestCheckText(t *testing.T) {
	r := check.Report{Errors: 1, Warnings: 1, Fine: 1, Unseen: 3, Findings: []check.Finding{
		{Level: check.LevelError, Look: "arp-ignore", Subject: "eth0", What: "arp_ignore is 2", Why: "the kernel does not answer for an address that is on the link as a /32", Fix: "sysctl -w a=1 and a line that is long, which nobody wants to copy in two pieces"},
		{Level: check.LevelWarning, Look: "held", What: "DEGRADED: n\x1b[31m3 is gone", Why: "so", Fix: "havipctl status"},
		{Level: check.LevelUnseen, Look: "ipvs", What: "no kubectl"},
		{Level: check.LevelUnseen, Look: "output", What: "no nft"},
		{Level: check.LevelUnseen, Look: "calico", What: "no kubectl"},
		{Level: check.LevelOK, Look: "clock", What: "the clock is kept by something"},
	}}
	tests := []struct {
		name  string
		width int
		color bool
		all   bool
		want  string
	}{
		{"a pipe", 0, false, false, `error     eth0: arp_ignore is 2
  why     the kernel does not answer for an address that is on the link as a /32
  do      sysctl -w a=1 and a line that is long, which nobody wants to copy in two pieces

warning   DEGRADED: n?[31m3 is gone
  why     so
  do      havipctl status

not seen  ipvs, calico: no kubectl
not seen  output: no nft

1 error, 1 warning, 1 look found nothing wrong (--all lists them), 3 could not be made
`},
		{"a narrow terminal", 40, true, true, "\x1b[31merror\x1b[0m     eth0: arp_ignore is 2\n" +
			"  why     the kernel does not answer for an address that is\n          on the link as a /32\n" +
			"  do      sysctl -w a=1 and a line that is long, which nobody wants to copy in two pieces\n\n" +
			"\x1b[33mwarning\x1b[0m   DEGRADED: n?[31m3 is gone\n  why     so\n  do      havipctl status\n\n" +
			"not seen  ipvs, calico: no kubectl\nnot seen  output: no nft\n\n" +
			"\x1b[32mok\x1b[0m        clock: the clock is kept by something\n" +
			"1 error, 1 warning, 1 look found nothing wrong, 3 could not be made\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &cli{color: tt.color, width: func() int { return tt.width }}
			if diff := cmp.Diff(tt.want, c.checkText(r, tt.all)); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
}
