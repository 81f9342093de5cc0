package etcd

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"havip/test/etcdtest"
)

// kubeadm has not run: the files come later, and with them a member.
func TestFilesAppearLate(t *testing.T) {
	c := etcdtest.StartWith(t, 1, etcdtest.Options{TLS: true})
	m := c.Members[0]
	cfg := configFor(c, m)
	dir := t.TempDir()
	later := map[string]string{}
	for _, file := range []*string{&cfg.CA, &cfg.Cert, &cfg.Key} {
		at := filepath.Join(dir, filepath.Base(*file))
		later[at], *file = *file, at
	}
	s, events, _ := run(t, cfg)
	s.Publish("a")
	st, mark := events.awaitState(0, NotConfigured)
	if !strings.Contains(st.Reason, cfg.CA) {
		t.Errorf("reason %q does not name %s", st.Reason, cfg.CA)
	}
	if res := within(t, patience, s, "", "a", true); res.Outcome != NotSent || !errors.Is(res.Err, ErrNotConfigured) {
		t.Errorf("write without files = %+v, want not sent, %v", res, ErrNotConfigured)
	}
	for at, from := range later {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	events.awaitState(mark, Ready)
	events.awaitNodes(mark, func(n map[string]string) bool { return n["n1"] == "a" })
}

func TestFilesUnusable(t *testing.T) {
	pki := etcdtest.NewPKI(t, t.TempDir())
	garbage := filepath.Join(t.TempDir(), "garbage.pem")
	if err := os.WriteFile(garbage, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		files pemFiles
		want  string
	}{
		{"all there", pemFiles{pki.CA, pki.Client, pki.ClientKey}, ""},
		{"CA only", pemFiles{ca: pki.CA}, ""},
		{"CA is garbage", pemFiles{garbage, pki.Client, pki.ClientKey}, garbage},
		{"certificate is garbage", pemFiles{pki.CA, garbage, pki.ClientKey}, garbage},
		{"key is missing", pemFiles{pki.CA, pki.Client, garbage + ".none"}, garbage + ".none"},
		{"key of another", pemFiles{pki.CA, pki.Client, pki.CA}, pki.Client},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.files.config()
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (!errors.Is(err, ErrNotConfigured) || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error %v, want one that names %s", err, tt.want)
			}
		})
	}
}

// All certificates are replaced while everything runs: what is connected stays,
// the next connection uses the new ones.
func TestFilesRotated(t *testing.T) {
	c := etcdtest.StartWith(t, 1, etcdtest.Options{TLS: true})
	m := c.Members[0]
	s, events, _ := run(t, configFor(c, m))
	mustCommit(t, s, "", "a")
	_, mark := events.awaitState(0, Ready)
	c.PKI.Renew()
	mustCommit(t, s, "a", "b")

	// The member was not renewed yet: its certificate is of the old authority.
	m.Kill()
	_, mark = events.awaitLost(mark)
	m.Start()
	_, _, mark = events.await(mark, "the TLS error", func(e Event) bool {
		st, ok := e.(Status)
		return ok && st.State == Unreachable && strings.Contains(st.Reason, "certificate")
	})
	m.Kill()
	c.PKI.IssueServer(m.Name, "127.0.0.1")
	m.Start()
	_, mark = events.awaitState(mark, Ready)
	mustCommit(t, s, "b", "c")
	events.awaitRecord(mark, "c")
}

// The member does not accept our certificate, and says so.
func TestFilesRefused(t *testing.T) {
	c := etcdtest.StartWith(t, 1, etcdtest.Options{TLS: true})
	m := c.Members[0]
	other := etcdtest.NewPKI(t, t.TempDir())
	cfg := configFor(c, m)
	cfg.Cert, cfg.Key = other.Client, other.ClientKey
	_, events, _ := run(t, cfg)
	// Some attempts only see the connection break, before its reason arrives.
	events.await(0, "the member's refusal", func(e Event) bool {
		st, ok := e.(Status)
		return ok && st.State == Unreachable && strings.Contains(st.Reason, "refuses our client certificate")
	})
}
