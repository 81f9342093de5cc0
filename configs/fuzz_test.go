package configs

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzDecode looks for input that panics, is refused without a place, or is
// accepted as something else than what is written out of it.
func FuzzDecode(f *testing.F) {
	f.Add(Minimal())
	f.Add(Reference())
	f.Add(uncomment(Reference()))
	f.Add(exampleConfig().TOML())
	for _, group := range [][]problemCase{syntaxCases, unknownCases, vipCases, masterCases, etcdCases, electionCases, healthCases, kubeadmCases, unattendedCases} {
		for _, tt := range group {
			f.Add([]byte(tt.text))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Decode("f", data)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		if _, _, err := c.Timing(EtcdTimers{}); err != nil {
			checkRefusal(t, err)
		}
		again, err := Decode("f", c.TOML())
		if err != nil {
			t.Fatalf("decode what was written out: %v\n%s", err, c.TOML())
		}
		c.Warnings, again.Warnings = nil, nil // whether a key was written matters to them
		if len(c.Election.Priority) == 0 {
			c.Election.Priority = nil
		}
		if !c.Configured() {
			c.VIP, again.VIP = VIP{}, VIP{}
		}
		if diff := cmp.Diff(c, again, sameConfig); diff != "" {
			t.Fatalf("written out and decoded again (-want +got):\n%s", diff)
		}
	})
}

func checkRefusal(t *testing.T, err error) {
	t.Helper()
	var problems Problems
	if !errors.As(err, &problems) || len(problems) == 0 {
		t.Fatalf("refused with %T: %v, want Problems", err, err)
	}
	for _, p := range problems {
		if p.Line <= 0 && p.Key == "" {
			t.Errorf("refused without a place: %v", p)
		}
		if p.What == "" || p.Fix == "" {
			t.Errorf("refused without a word or a fix: %#v", p)
		}
		if strings.Contains(p.String(), "\n") {
			t.Errorf("a problem of several lines: %q", p)
		}
	}
}

// FuzzManifest looks for a manifest that panics the readers.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(etcdManifest("--election-timeout=1000")))
	f.Add([]byte(apiServerManifest("--secure-port=6443")))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, program := range []string{"etcd", "kube-apiserver"} {
			c, err := findContainer(data, program)
			if err != nil {
				continue
			}
			if timers, err := c.timers(); err == nil && (timers.ElectionTimeout <= 0 || timers.Heartbeat <= 0) {
				t.Errorf("timers without an error: %+v", timers)
			}
			if s, err := c.apiServer(); err == nil && (s.Port < 1 || s.Port > 65535) {
				t.Errorf("API server without an error: %+v", s)
			}
		}
	})
}
