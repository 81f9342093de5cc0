package daemon

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"havip/daemon/status"
)

// leftover puts the address on a node's link as a daemon that was killed leaves
// it, and returns the daemon after it.
func leftover(t *testing.T, b *bench, change func(*shell, *savedFile)) *shell {
	t.Helper()
	dead := b.shell("n1").start()
	b.pass(6 * time.Second)
	dead.crash()
	<-dead.done
	synctest.Wait()
	path := filepath.Join(dead.d.RunDir, "state.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var f savedFile
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	if change(dead, &f); f.BootID != "" {
		if err := replaceFile(path, f, func(*os.File) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	b.expire("n1")
	next := b.shell("n1")
	next.kernel.until = dead.kernel.until
	return next
}

func TestAdoption(t *testing.T) {
	garbage := func(text string) func(*shell, *savedFile) {
		return func(s *shell, f *savedFile) {
			f.BootID = "" // do not write it
			if err := os.WriteFile(filepath.Join(s.d.RunDir, "state.json"), []byte(text), 0o600); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	tests := map[string]struct {
		change func(*shell, *savedFile)
		adopts bool
		logs   string
	}{
		"of this boot":      {func(*shell, *savedFile) {}, true, ""},
		"of another boot":   {func(_ *shell, f *savedFile) { f.BootID = "another" }, false, ""},
		"of another VIP":    {func(_ *shell, f *savedFile) { f.VIP = "198.51.100.177" }, false, ""},
		"of another node":   {func(_ *shell, f *savedFile) { f.State.Node = "n9" }, false, ""},
		"given away":        {func(_ *shell, f *savedFile) { f.State.GivenAway = true }, false, ""},
		"no state":          {func(_ *shell, f *savedFile) { f.State = nil }, false, ""},
		"garbage":           {garbage(`{"boot_id":`), false, "nothing is adopted"},
		"empty":             {garbage(``), false, "nothing is adopted"},
		"of the wrong kind": {garbage(`{"boot_id": 7}`), false, "nothing is adopted"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, b *bench) {
				n1 := leftover(t, b, test.change)
				begin := b.now()
				n1.start()
				b.pass(time.Second)
				cleared := len(b.times("n1", "clear"))
				if test.adopts && (cleared > 0 || !n1.kernel.has()) {
					t.Errorf("cleared %d times, the address is there: %v", cleared, n1.kernel.has())
				}
				if !test.adopts && (cleared == 0 || n1.kernel.has()) {
					t.Errorf("cleared %d times, the address is there: %v", cleared, n1.kernel.has())
				}
				if !strings.Contains(n1.logged.String(), test.logs) {
					t.Errorf("log: %s", n1.logged)
				}
				// Whatever was there, the node serves again after takeover.
				b.until(begin + takeover + renewal)
				if !n1.kernel.has() || b.holder() != "n1" {
					t.Errorf("later the holder is %s, the address there: %v", b.holder(), n1.kernel.has())
				}
			})
		})
	}
}

func TestDrainIsPersistedBeforeItIsAnswered(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n2 := b.shell("n2").start()
		n1 := b.shell("n1").start()
		b.pass(6 * time.Second)
		code, body := n1.ask(http.MethodPost, status.PathDrain, "")
		if m, err := loadDrained(n1.d.StateDir); code != http.StatusOK || m == nil || err != nil {
			t.Fatalf("answered %d %s with the mark %v, %v", code, body, m, err)
		}
		b.pass(100 * time.Millisecond)
		if n1.kernel.has() || !n2.kernel.has() {
			t.Fatalf("n1 has it: %v, n2 has it: %v", n1.kernel.has(), n2.kernel.has())
		}
		first := n1.document().Self.DrainedBy
		if !strings.HasPrefix(first, "root at ") {
			t.Errorf("drained by %q", first)
		}
		b.pass(time.Minute)
		if _, body := n1.ask(http.MethodPost, status.PathDrain, ""); !strings.Contains(string(body), `"changed": false`) {
			t.Errorf("drained twice: %s", body)
		}
		if again := n1.document().Self.DrainedBy; again != first {
			t.Errorf("drained again by %q, first by %q", again, first)
		}
		n1.crash()
		<-n1.done
		n1 = b.shell("n1").start()
		b.pass(time.Second)
		if got := n1.document().Self; got.Role != status.RoleDrained || got.DrainedBy != first {
			t.Errorf("after a restart: %+v", got)
		}
		if code, body := n1.ask(http.MethodPost, status.PathUndrain, ""); code != http.StatusOK {
			t.Errorf("undrain: %d %s", code, body)
		}
		if m, err := loadDrained(n1.d.StateDir); m != nil || err != nil {
			t.Errorf("after undrain the mark is %v, %v", m, err)
		}
		if got := n1.document().Self; got.Role != status.RoleCandidate || got.DrainedBy != "" {
			t.Errorf("after undrain: %+v", got)
		}
	})
}

func TestDrainThatCannotBePersistedIsRefused(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1").start()
		b.pass(time.Second)
		if err := os.WriteFile(n1.d.StateDir, nil, 0o600); err != nil { // where the directory should be
			t.Fatal(err)
		}
		code, body := n1.ask(http.MethodPost, status.PathDrain, "")
		if code != http.StatusInternalServerError || n1.document().Self.Role == status.RoleDrained {
			t.Errorf("answered %d %s", code, body)
		}
	})
}
