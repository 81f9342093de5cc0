package daemon

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"havip/configs"
	"havip/daemon/status"
	"havip/election"
	"havip/vip"
)

// adopting makes a daemon that finds the mark of a stage.
func (b *bench) adopting(name string, stage status.AdoptStage) *shell {
	b.t.Helper()
	s := b.shell(name)
	if err := saveAdopt(s.d.StateDir, status.AdoptMark{Schema: status.Schema, Stage: stage}); err != nil {
		b.t.Fatal(err)
	}
	return s
}

// adopt asks for a stage and wants the answer to have these words.
func (s *shell) adopt(stage status.AdoptStage, want int, words string) {
	s.t.Helper()
	code, body := s.ask(http.MethodPost, status.PathAdopt, fmt.Sprintf(`{"stage": %q}`, stage))
	if code != want || !strings.Contains(string(body), words) {
		s.t.Errorf("%s asks for %q: %d %s, want %d and %q", s.name, stage, code, body, want, words)
	}
	s.pass(10 * time.Millisecond)
}

func marked(s *shell) bool {
	_, err := os.Stat(filepath.Join(s.d.StateDir, status.AdoptFile))
	return err == nil
}

// TestAdopt is a whole migration: the standbys wait, the holder takes the address
// in place, and only when its keeper is gone do the others take part.
func TestAdopt(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2, n3 := b.adopting("n1", status.AdoptReady), b.adopting("n2", status.AdoptReady), b.adopting("n3", status.AdoptReady)
		n1.kernel.keep(true)
		for _, s := range []*shell{n1, n2, n3} {
			s.start()
		}
		b.pass(20 * time.Second)
		if b.current() != "" || len(b.times("n1", "clear"))+len(b.times("n1", "set")) != 0 {
			t.Fatalf("ready: record %q, calls on n1 %v", b.current(), b.notes)
		}
		n1.adopt(status.AdoptTake, http.StatusConflict, "n2 has not switched off what held the address, n3 has not")
		n2.adopt(status.AdoptWait, http.StatusOK, "waits")
		n1.adopt(status.AdoptTake, http.StatusConflict, "n3 has not")
		n3.adopt(status.AdoptWait, http.StatusOK, "waits")
		n1.adopt(status.AdoptNone, http.StatusConflict, "does not go on")
		b.pass(20 * time.Second)
		if b.current() != "" {
			t.Fatalf("somebody took the record while n1's keeper had the address: %s", b.current())
		}
		n1.adopt(status.AdoptTake, http.StatusOK, "in place")
		b.pass(2 * time.Second)
		if b.holder() != "n1" || !n1.kernel.has() || len(b.times("n1", "clear")) != 0 {
			t.Errorf("holder %s, on n1 %v, cleared %v", b.holder(), n1.kernel.has(), b.times("n1", "clear"))
		}
		b.pass(time.Minute)
		for _, s := range []*shell{n2, n3} {
			if d := s.document(); d.Self.Role != status.RoleDrained || d.Self.Adopting != status.AdoptWait {
				t.Errorf("%s is %s at stage %q although n1's keeper runs", s.name, d.Self.Role, d.Self.Adopting)
			}
		}
		n1.adopt(status.AdoptNone, http.StatusConflict, "ip address del 198.51.100.166/24 dev eth0")
		n1.kernel.keep(false)
		n1.adopt(status.AdoptNone, http.StatusOK, "over")
		b.pass(time.Second)
		for _, s := range []*shell{n1, n2, n3} {
			if d := s.document(); d.Self.Adopting != status.AdoptNone || s.kernel.spared() || marked(s) || s != n1 && d.Self.Role != status.RoleCandidate {
				t.Errorf("%s is %s at stage %q, spares %v, has a mark: %v", s.name, d.Self.Role, d.Self.Adopting, s.kernel.spared(), marked(s))
			}
		}
		n1.crash()
		b.pass(10 * time.Second)
		if b.holder() == "n1" {
			t.Error("nobody took over from n1")
		}
	})
}

// TestAdoptSurvives: a daemon that is killed in the middle of taking goes on.
func TestAdoptSurvives(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2, n3 := b.adopting("n1", status.AdoptReady), b.adopting("n2", status.AdoptWait), b.adopting("n3", status.AdoptWait)
		n1.kernel.keep(true)
		for _, s := range []*shell{n1, n2, n3} {
			s.start()
		}
		b.pass(time.Second)
		n1.adopt(status.AdoptTake, http.StatusOK, "")
		b.pass(6 * time.Second)
		n1.crash()
		b.pass(time.Minute)
		if b.holder() != "n1" || n2.kernel.has() || n3.kernel.has() {
			t.Fatalf("a node that waits has taken over from n1, whose keeper runs: %s", b.holder())
		}
		again := b.shell("n1")
		again.kernel.keep(true)
		again.start()
		b.pass(6 * time.Second)
		if d := again.document(); d.Self.Role != status.RoleHolder || d.Self.Adopting != status.AdoptTake || !again.kernel.has() {
			t.Errorf("after a restart n1 is %s at stage %q", d.Self.Role, d.Self.Adopting)
		}
	})
}

// TestAdoptUndrain: where the node that was to take the address is dead, an
// operator lets another one take it; where the keeper still runs, not so.
func TestAdoptUndrain(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2 := b.adopting("n1", status.AdoptReady).start(), b.adopting("n2", status.AdoptWait).start()
		b.pass(time.Second)
		if code, body := n1.ask(http.MethodPost, status.PathUndrain, ""); code != http.StatusConflict {
			t.Errorf("undrain at ready: %d %s", code, body)
		}
		n2.addr.answers = func() (net.HardwareAddr, bool) { return net.HardwareAddr{2, 0, 0, 0, 0, 9}, true }
		if code, body := n2.ask(http.MethodPost, status.PathUndrain, ""); code != http.StatusConflict || !strings.Contains(string(body), "02:00:00:00:00:09 answers") {
			t.Errorf("undrain at wait while somebody has the address: %d %s", code, body)
		}
		n2.addr.answers = func() (net.HardwareAddr, bool) { return nil, false }
		if code, body := n2.ask(http.MethodPost, status.PathUndrain, ""); code != http.StatusOK || !strings.Contains(string(body), `"changed": true`) {
			t.Errorf("undrain at wait: %d %s", code, body)
		}
		b.pass(10 * time.Second)
		if !n2.kernel.has() || n2.kernel.spared() || marked(n2) {
			t.Errorf("n2 has the address: %v, spares: %v, has a mark: %v", n2.kernel.has(), n2.kernel.spared(), marked(n2))
		}
	})
}

// TestAdoptUndrainBack: on the way back the keeper has the address and the record is
// free, so that a node that is kept back would take it beside the keeper. While a
// node has it by the election, nothing is in the way of an operator who thinks better.
func TestAdoptUndrainBack(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2, n3 := b.shell("n1").start(), b.shell("n2").start(), b.shell("n3").start()
		b.pass(6 * time.Second)
		undrain := func(want int, words string) {
			t.Helper()
			if code, body := n2.ask(http.MethodPost, status.PathUndrain, ""); code != want || !strings.Contains(string(body), words) {
				t.Errorf("undrain at back: %d %s, want %d and %q", code, body, want, words)
			}
		}
		n2.addr.answers = func() (net.HardwareAddr, bool) { return net.HardwareAddr{2, 0, 0, 0, 0, 9}, true }
		n2.adopt(status.AdoptBack, http.StatusOK, "")
		undrain(http.StatusOK, "")
		n2.adopt(status.AdoptBack, http.StatusOK, "")
		n3.adopt(status.AdoptBack, http.StatusOK, "")
		n1.adopt(status.AdoptGive, http.StatusOK, "")
		undrain(http.StatusConflict, "02:00:00:00:00:09 answers")
		n1.kernel.keep(true)
		n1.stop()
		b.pass(10 * time.Second)
		undrain(http.StatusConflict, "02:00:00:00:00:09 answers")
		b.pass(10 * time.Second)
		if n2.kernel.has() || !marked(n2) {
			t.Errorf("n2 has the address: %v, has a mark: %v", n2.kernel.has(), marked(n2))
		}
		n2.addr.answers = func() (net.HardwareAddr, bool) { return nil, false }
		n2.kernel.keep(true) // nobody hears oneself
		undrain(http.StatusConflict, "ip address del 198.51.100.166/24 dev eth0")
		n2.kernel.keep(false)
		undrain(http.StatusOK, "")
		b.pass(10 * time.Second)
		if !n2.kernel.has() || marked(n2) {
			t.Errorf("n2 has the address: %v, has a mark: %v", n2.kernel.has(), marked(n2))
		}
	})
}

// TestAdoptDrained: what an operator asked for outlives the migration.
func TestAdoptDrained(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n2 := b.adopting("n2", status.AdoptWait).start()
		b.pass(time.Second)
		n2.ask(http.MethodPost, status.PathDrain, "")
		n1 := b.shell("n1").start()
		b.pass(10 * time.Second)
		if d := n2.document(); !n1.kernel.has() || d.Self.Adopting != status.AdoptNone || d.Self.Role != status.RoleDrained || !strings.HasPrefix(d.Self.DrainedBy, "root at") {
			t.Errorf("n2 is %s at stage %q, by %q", d.Self.Role, d.Self.Adopting, d.Self.DrainedBy)
		}
	})
}

// TestAdoptLeftover: what has no lifetime is nobody's once the migration is over
// on a node, and goes.
func TestAdoptLeftover(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n2 := b.adopting("n2", status.AdoptWait)
		n2.kernel.keep(true)
		n2.start()
		b.shell("n1").start()
		b.pass(10 * time.Second)
		if others, _ := n2.kernel.foreign(); len(others) > 0 || len(b.times("n2", "clear")) == 0 {
			t.Errorf("n1 holds the address, and n2 has %v", others)
		}
	})
}

// TestAdoptBack keeps a node from taking over while the holder goes back.
func TestAdoptBack(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2 := b.shell("n1").start(), b.shell("n2").start()
		b.pass(6 * time.Second)
		n1.adopt(status.AdoptBack, http.StatusConflict, "n1 holds the address")
		n2.adopt(status.AdoptBack, http.StatusOK, "kept from")
		b.pass(time.Minute)
		n1.stop()
		b.pass(time.Minute)
		if n2.kernel.has() || n1.kernel.has() {
			t.Error("somebody has the address after n1 let it go")
		}
	})
}

// TestAdoptGive: the holder makes room for what held the address before, once all
// others are kept back, and goes when that has set it.
func TestAdoptGive(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2, n3 := b.shell("n1").start(), b.shell("n2").start(), b.shell("n3").start()
		b.pass(6 * time.Second)
		n2.adopt(status.AdoptGive, http.StatusConflict, "n2 does not hold the address")
		n2.adopt(status.AdoptBack, http.StatusOK, "")
		n1.adopt(status.AdoptGive, http.StatusConflict, `"n3 would take the address`)
		n3.ask(http.MethodPost, status.PathDrain, "")
		b.pass(10 * time.Millisecond)
		n1.adopt(status.AdoptGive, http.StatusConflict, `"n3 would take the address as soon as`) // undrain does not ask whether a keeper has it
		n3.adopt(status.AdoptBack, http.StatusOK, "")
		n1.adopt(status.AdoptGive, http.StatusOK, "room")
		if n1.kernel.length() != 31 || !n1.kernel.has() {
			t.Errorf("the address has %d bits", n1.kernel.length())
		}
		n1.kernel.keep(true)
		n1.kernel.happen(vip.AddressAdded{Addr: testVIP, Link: 2, Permanent: true})
		b.pass(time.Minute)
		if d := n1.document(); d.Self.Role != status.RoleHolder || len(d.Address.Foreign) != 1 || len(b.times("n1", "clear")) != 0 {
			t.Errorf("n1 is %s beside %v", d.Self.Role, d.Address.Foreign)
		}
		n1.stop()
		b.pass(time.Minute)
		if others, _ := n1.kernel.foreign(); len(others) != 1 || n1.kernel.has() || n2.kernel.has() || n3.kernel.has() {
			t.Errorf("after the end: %v on n1, by havip on %v %v %v", others, n1.kernel.has(), n2.kernel.has(), n3.kernel.has())
		}
	})
}

// TestStrangerWithoutMigration: where no migration is under way, what appears without
// a lifetime on a node that does not hold the VIP is removed.
func TestStrangerWithoutMigration(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		_, n2 := b.shell("n1").start(), b.shell("n2").start()
		b.pass(6 * time.Second)
		n2.kernel.keep(true)
		n2.kernel.happen(vip.AddressAdded{Addr: testVIP, Link: 2, Permanent: true})
		b.pass(100 * time.Millisecond)
		if others, _ := n2.kernel.foreign(); len(others) > 0 || b.holder() != "n1" {
			t.Errorf("n2 has %v, and %s holds the address", others, b.holder())
		}
	})
}

// TestAdoptMarkUnreadable: such a node has no part in anything.
func TestAdoptMarkUnreadable(t *testing.T) {
	for _, text := range []string{"", "{", `{"stage": "soon"}`} {
		in(t, func(t *testing.T, b *bench) {
			n1 := b.adopting("n1", status.AdoptReady)
			if err := os.WriteFile(adoptPath(n1.d.StateDir), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			n1.start()
			b.pass(20 * time.Second)
			if d := n1.document(); d.Self.Role != status.RoleDrained || !strings.Contains(n1.logged.String(), "kept back") {
				t.Errorf("with %q in its mark n1 is %s", text, d.Self.Role)
			}
		})
	}
}

// TestRefuseAdopt asks for each stage after each, with everything else in order.
func TestRefuseAdopt(t *testing.T) {
	stages := []status.AdoptStage{status.AdoptNone, status.AdoptReady, status.AdoptWait, status.AdoptTake, status.AdoptBack, status.AdoptGive}
	may := map[string]bool{
		"->back": true, "->give": true, "give->": true, "take->": true, "ready->wait": true, "ready->take": true, "ready->back": true, "wait->back": true,
	}
	for _, from := range stages {
		for _, to := range stages {
			f := adoptFacts{now: from, self: "n1", role: election.Drained, etcd: true}
			if to == status.AdoptGive || to == status.AdoptNone {
				f.role, f.serving = election.Holder, true
			}
			if got, want := refuseAdopt(f, to) == "", from == to || may[string(from+"->"+to)]; got != want {
				t.Errorf("%q after %q: %v, want %v", to, from, got, want)
			}
		}
	}
	masters := []configs.Master{{Name: "n1"}, {Name: "n2"}}
	for _, c := range []struct {
		name string
		to   status.AdoptStage
		f    adoptFacts
		want string
	}{
		{"over", status.AdoptNone, adoptFacts{now: status.AdoptTake, role: election.Holder, serving: true}, ""},
		{"over too early", status.AdoptNone, adoptFacts{now: status.AdoptTake, role: election.Holder}, "not taken the address yet"},
		{"over, and it is another's", status.AdoptNone, adoptFacts{now: status.AdoptTake, role: election.Candidate, serving: true}, "not taken the address yet"},
		{"take, drained", status.AdoptTake, adoptFacts{now: status.AdoptReady, etcd: true, drained: true}, "drained by an operator"},
		{"take, no etcd", status.AdoptTake, adoptFacts{now: status.AdoptReady}, "etcd does not answer"},
		{"take what is another's", status.AdoptTake, adoptFacts{now: status.AdoptReady, etcd: true, record: "n2"}, "n2 holds the address"},
		{"take, nobody there", status.AdoptTake, adoptFacts{now: status.AdoptReady, etcd: true, masters: masters}, "n2 is not there"},
		{"take, it is off for good", status.AdoptTake, adoptFacts{now: status.AdoptReady, etcd: true, masters: masters, without: []string{"n2"}}, ""},
		{"take, it takes part", status.AdoptTake, adoptFacts{now: status.AdoptReady, etcd: true, masters: masters, here: map[string]presence{"n2": {}}}, "n2 has not switched off"},
		{"take, a stranger takes part", status.AdoptTake, adoptFacts{now: status.AdoptReady, etcd: true, here: map[string]presence{"n1": {}, "n9": {}}}, "n9 has not switched off"},
		{"take, a stranger is off for good", status.AdoptTake, adoptFacts{now: status.AdoptReady, etcd: true, here: map[string]presence{"n9": {}}, without: []string{"n9"}}, ""},
		{"give, a stranger takes part", status.AdoptGive, adoptFacts{role: election.Holder, serving: true, here: map[string]presence{"n9": {}}}, "n9 would take the address"},
		{"back of the holder", status.AdoptBack, adoptFacts{role: election.Holder}, "holds the address"},
		{"back of who lets go", status.AdoptBack, adoptFacts{role: election.Releasing}, "holds the address"},
	} {
		c.f.self = "n1"
		if got := refuseAdopt(c.f, c.to); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestAdoptStageUnknown(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.shell("n1").start().adopt("soon", http.StatusBadRequest, "not known")
	})
}
