package adopt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/configs"
	"havip/kubeadm"
)

// machine is a master with keepalived, havipd and systemd in memory.
type machine struct {
	t       *testing.T
	r       *Runner
	calls   []string
	enabled map[string]bool
	keeper  bool // it runs
	here    bool // the keeper gives this node the VIP
	daemon  Standing
	havip   bool   // the VIP is here by havip
	fail    string // the call that fails, once
	late    bool   // after it has done its work

	answers time.Time // when the daemon does
	hears   time.Time // when it knows of the others
}

var errFails = errors.New("fails")

func newMachine(t *testing.T, here bool) *machine {
	m := &machine{t: t, enabled: map[string]bool{unit: true}, keeper: true, here: here}
	s := node(t, map[string]string{
		keepalivedPath: instanceText, "/etc/kubernetes/admin.conf": "clusters:\n- cluster:\n    server: https://198.51.100.166:6443\n",
		"/etc/kubernetes/manifests/etcd.yaml": "{}", "/etc/havip/havip.toml": "# nothing yet\n",
	})
	s.Addresses = func() ([]netip.Addr, error) {
		own := []netip.Addr{netip.MustParseAddr("198.51.100.162")}
		if m.keeper && m.here || m.havip {
			own = append(own, vip4)
		}
		return own, nil
	}
	s.Dial = func(context.Context, string, string) (net.Conn, error) { c, _ := net.Pipe(); return c, nil }
	m.process(s)
	m.r = &Runner{
		System: s, Daemon: m, Services: m, Store: kubeadm.Store{Dir: s.Path("var/lib/havip/adopt")}, Progress: silence{}, ConfigPath: "/etc/havip/havip.toml",
		Kubectl: func(context.Context, ...string) (string, error) {
			return "n2 198.51.100.163\nn1 198.51.100.162\n", nil
		},
	}
	return m
}

// process shows keepalived in /proc, or not.
func (m *machine) process(s kubeadm.System) {
	path := s.Path("proc/7")
	if !m.keeper {
		m.must(os.RemoveAll(path))
		return
	}
	m.must(os.MkdirAll(path, 0o755))
	m.must(os.WriteFile(path+"/comm", []byte("keepalived\n"), 0o600))
}

func (m *machine) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) call(what string) error {
	if what == m.fail && !m.late {
		m.fail = ""
		return errFails
	}
	m.calls = append(m.calls, what)
	return nil
}

func (m *machine) Enabled(_ context.Context, unit string) bool { return m.enabled[unit] }

func (m *machine) Do(_ context.Context, verb, name string) error {
	if err := m.call(verb + " " + strings.TrimSuffix(name, ".service")); err != nil {
		return err
	}
	switch verb {
	case "enable", "disable":
		m.enabled[name] = verb == "enable"
		return nil
	}
	on := verb != "stop"
	if name == unit {
		m.keeper = on
		m.daemon.Foreign = on && m.here
		m.process(m.r.System)
		return nil
	}
	m.daemon.Runs, m.daemon.Known = on, on
	if !on {
		m.havip, m.daemon = false, Standing{}
		return nil
	}
	_, err := os.Stat(m.mark())
	if err == nil && m.daemon.Stage == stageOver {
		m.daemon.Stage = stageReady
	}
	m.daemon.Masters = []Master{{Name: "n2", Present: true, Stage: stageWait, Drained: true}}
	return nil
}

func (m *machine) mark() string { return m.r.System.Path("var/lib/havip/adopt.json") }

func (m *machine) Standing(context.Context) (Standing, error) {
	if time.Now().Before(m.answers) {
		return Standing{}, nil
	}
	s := m.daemon
	if time.Now().Before(m.hears) {
		s.Masters = nil
	}
	return s, nil
}

func (m *machine) Prepare() error {
	if err := m.call("prepare"); err != nil {
		return err
	}
	m.must(os.MkdirAll(m.r.System.Path("var/lib/havip"), 0o755))
	return os.WriteFile(m.mark(), nil, 0o600)
}
func (m *machine) Forget() error {
	if err := m.call("forget"); err != nil {
		return err
	}
	return removeFile(m.mark())
}
func (m *machine) Adopt(_ context.Context, stage string, _ []string) error {
	if err := m.call(fmt.Sprintf("adopt %q", stage)); err != nil {
		return err
	}
	m.daemon.Stage = stage
	if stage == stageTake {
		m.havip, m.daemon.Holder, m.daemon.Record = true, true, "n1"
	}
	if m.late && m.fail == fmt.Sprintf("adopt %q", stage) {
		m.fail = ""
		return errFails
	}
	return nil
}

type silence struct{}

func (silence) Note(string)                            {}
func (silence) Skip(kubeadm.Step)                      {}
func (silence) Begin(kubeadm.Step, int, int)           {}
func (silence) Line(string)                            {}
func (silence) End(kubeadm.Step, time.Duration, error) {}

const written = `# havip: the same file on every master.

[vip]
address = "198.51.100.166"

[masters]
n1 = "198.51.100.162"
n2 = "198.51.100.163"
`

func (m *machine) file() string {
	text, err := os.ReadFile(m.r.System.Path("/etc/havip/havip.toml"))
	m.must(err)
	return string(text)
}

var forward = map[bool][]string{
	false: {"prepare", "enable havipd", "restart havipd", "disable keepalived", "stop keepalived", `adopt "wait"`},
	true:  {"prepare", "enable havipd", "restart havipd", `adopt "take"`, "disable keepalived", "stop keepalived", `adopt ""`},
}

func TestRun(t *testing.T) {
	for here, want := range forward {
		t.Run(fmt.Sprint("holder ", here), func(t *testing.T) {
			m := newMachine(t, here)
			preview, err := m.r.Preview(t.Context())
			m.must(err)
			if len(kubeadm.Blocking(preview.Findings)) > 0 || len(m.calls) > 0 || m.file() != "# nothing yet\n" {
				t.Errorf("a rehearsal did %q, and found %v", m.calls, preview.Findings)
			}
			result, err := m.r.Begin(t.Context())
			m.must(err)
			if diff := cmp.Diff(want, m.calls); diff != "" || !result.Changed {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if m.file() != written {
				t.Errorf("havip.toml is %q", m.file())
			}
			m.calls = nil
			result, err = m.r.Begin(t.Context())
			m.must(err)
			if len(m.calls) > 0 || result.Changed {
				t.Errorf("the second time it did %q: %+v", m.calls, result)
			}
		})
	}
}

// TestCutOff: whichever call fails, the same command goes on, and the other one
// goes back to what was.
func TestCutOff(t *testing.T) {
	for here, calls := range forward {
		for _, fail := range calls {
			t.Run(fmt.Sprintf("holder %v, %s", here, fail), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := newMachine(t, here)
					m.fail = fail
					if _, err := m.r.Begin(t.Context()); !errors.Is(err, errFails) {
						t.Fatalf("ended with %v", err)
					}
					_, err := m.r.Begin(t.Context())
					m.must(err)
					if m.keeper || m.enabled[unit] || !m.daemon.Runs || m.havip != here {
						t.Errorf("went on to: keeper %v, havipd %v, VIP by havip %v", m.keeper, m.daemon.Runs, m.havip)
					}
				})
			})
			t.Run(fmt.Sprintf("holder %v, %s, back", here, fail), func(t *testing.T) {
				m := newMachine(t, here)
				m.fail = fail
				if _, err := m.r.Begin(t.Context()); !errors.Is(err, errFails) {
					t.Fatalf("ended with %v", err)
				}
				_, err := m.r.Undo(t.Context())
				m.must(err)
				m.wantAsWas()
			})
		}
	}
}

func (m *machine) wantAsWas() {
	m.t.Helper()
	_, mark := os.Stat(m.mark())
	_, journal := os.Stat(m.r.journal())
	if !m.keeper || !m.enabled[unit] || m.enabled[daemonUnit] || m.daemon.Runs || mark == nil || journal == nil || m.file() != "# nothing yet\n" {
		m.t.Errorf("as it was? keeper %v, enabled %v, havipd %v, mark %v, journal %v, file %q", m.keeper, m.enabled, m.daemon.Runs, mark, journal, m.file())
	}
}

// TestPowerCut: that the keeper is off is on the disk before the others are told, and
// that it is on before the way back is forgotten.
func TestPowerCut(t *testing.T) {
	m := newMachine(t, false)
	links := m.r.System.Path("etc/systemd/system/multi-user.target.wants")
	m.must(os.MkdirAll(links, 0o755))
	m.r.sync = func(path string) error {
		if path != links {
			return fmt.Errorf("%s?", path)
		}
		return m.call("sync links")
	}
	_, err := m.r.Begin(t.Context())
	m.must(err)
	if diff := cmp.Diff([]string{"disable keepalived", "stop keepalived", "sync links", `adopt "wait"`}, m.calls[3:]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	m.calls = nil
	_, err = m.r.Undo(t.Context())
	m.must(err)
	if diff := cmp.Diff([]string{"stop havipd", "disable havipd", "enable keepalived", "restart keepalived", "sync links", "forget"}, m.calls); diff != "" {
		t.Errorf("back (-want +got):\n%s", diff)
	}
}

// TestMarkedFirst: a havipd that was enabled before starts by itself after a reboot, so
// a file that names the VIP is never there without the mark.
func TestMarkedFirst(t *testing.T) {
	m := newMachine(t, false)
	m.fail = "prepare"
	if _, err := m.r.Begin(t.Context()); !errors.Is(err, errFails) || m.file() != "# nothing yet\n" {
		t.Errorf("ended with %v, havip.toml is %q", err, m.file())
	}
}

// TestUndoCutOff: the way back too.
func TestUndoCutOff(t *testing.T) {
	for _, fail := range []string{`adopt "give"`, "stop havipd", "disable havipd", "enable keepalived", "restart keepalived", "forget"} {
		m := newMachine(t, true)
		_, err := m.r.Begin(t.Context())
		m.must(err)
		m.fail = fail
		if _, err := m.r.Undo(t.Context()); !errors.Is(err, errFails) {
			t.Fatalf("%s: ended with %v", fail, err)
		}
		_, err = m.r.Undo(t.Context())
		m.must(err)
		m.wantAsWas()
	}
}

// TestUndoOfEnabled: a havipd that was enabled before is so again in the end, and not
// while the keeper is on and the file names the VIP: a reboot would start both.
func TestUndoOfEnabled(t *testing.T) {
	for _, fail := range []string{"enable keepalived", "restart keepalived", "forget"} {
		m := newMachine(t, false)
		m.enabled[daemonUnit] = true
		_, err := m.r.Begin(t.Context())
		m.must(err)
		m.fail = fail
		if _, err := m.r.Undo(t.Context()); !errors.Is(err, errFails) {
			t.Fatalf("%s: ended with %v", fail, err)
		}
		if m.enabled[daemonUnit] {
			t.Errorf("%s failed, and havipd is enabled", fail)
		}
		_, err = m.r.Undo(t.Context())
		m.must(err)
		if !m.enabled[daemonUnit] || m.file() != "# nothing yet\n" {
			t.Errorf("havipd enabled: %v, havip.toml is %q", m.enabled[daemonUnit], m.file())
		}
	}
}

// TestUndoAgain: what an operator has undone of the way back meanwhile is done again,
// whatever the journal says.
func TestUndoAgain(t *testing.T) {
	m := newMachine(t, false)
	_, err := m.r.Begin(t.Context())
	m.must(err)
	m.daemon.Record = "n2"
	for range 2 {
		m.daemon.Stage = stageOver // by undrain
		_, err = m.r.Undo(t.Context())
		m.must(err)
		if m.daemon.Stage != stageBack {
			t.Errorf("the node is not kept back: %q", m.daemon.Stage)
		}
	}
	m.daemon.Record, m.fail = "", "enable keepalived"
	if _, err := m.r.Undo(t.Context()); !errors.Is(err, errFails) {
		t.Fatalf("ended with %v", err)
	}
	m.must(m.Do(t.Context(), "start", daemonUnit))
	_, err = m.r.Undo(t.Context())
	m.must(err)
	m.wantAsWas()

	m = newMachine(t, true)
	_, err = m.r.Begin(t.Context())
	m.must(err)
	m.fail = "enable keepalived"
	if _, err := m.r.Undo(t.Context()); !errors.Is(err, errFails) || m.daemon.Stage != stageGive {
		t.Fatalf("ended with %v at %q", err, m.daemon.Stage)
	}
	m.must(m.Adopt(t.Context(), stageOver, nil))
	m.calls = nil
	_, err = m.r.Undo(t.Context())
	m.must(err)
	if m.calls[0] != `adopt "give"` {
		t.Errorf("the keeper is switched on without room for it: %q", m.calls)
	}
}

// TestNotWrittenDown: the daemon has a stage of which the journal says nothing, since
// the command died right after it asked for it. A standby's daemon may even have
// ended its waiting since.
func TestNotWrittenDown(t *testing.T) {
	for _, tt := range []struct {
		here, ended bool
		fail        string
	}{
		{true, false, `adopt "take"`},
		{true, false, `adopt ""`},
		{false, false, `adopt "wait"`},
		{false, true, `adopt "wait"`},
	} {
		t.Run(fmt.Sprintf("holder %v, %s, ended %v", tt.here, tt.fail, tt.ended), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMachine(t, tt.here)
				m.fail, m.late = tt.fail, true
				if _, err := m.r.Begin(t.Context()); !errors.Is(err, errFails) {
					t.Fatalf("ended with %v", err)
				}
				if tt.ended {
					m.daemon.Stage = stageOver
				}
				m.answers = time.Now().Add(time.Second) // it was killed too
				_, err := m.r.Begin(t.Context())
				m.must(err)
				result, err := m.r.Begin(t.Context())
				m.must(err)
				if result.Changed || m.keeper || m.havip != tt.here {
					t.Errorf("went on to: changed %v, keeper %v, VIP by havip %v", result.Changed, m.keeper, m.havip)
				}
			})
		})
	}
}

// TestHearsThemAgain: a daemon that was started anew in the middle knows the others
// a moment later than its own record.
func TestHearsThemAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, true)
		m.r.Progress = atStep{doOff, func() {
			m.hears = time.Now().Add(time.Second)
		}}
		_, err := m.r.Begin(t.Context())
		m.must(err)
		if m.keeper {
			t.Error("the keeper runs")
		}
	})
}

// TestMovedMeanwhile: a keeper that has the VIP by now is no standby's.
func TestMovedMeanwhile(t *testing.T) {
	m := newMachine(t, false)
	m.r.Progress = atStep{doOff, func() { m.here = true }}
	if _, err := m.r.Begin(t.Context()); err == nil || !strings.Contains(err.Error(), "has moved meanwhile") || !m.keeper {
		t.Errorf("ended with %v, the keeper runs: %v", err, m.keeper)
	}
}

// atStep does something when a step begins.
type atStep struct {
	name string
	do   func()
}

func (atStep) Note(string)                            {}
func (atStep) Skip(kubeadm.Step)                      {}
func (a atStep) Begin(s kubeadm.Step, _, _ int)       { a.at(s) }
func (atStep) Line(string)                            {}
func (atStep) End(kubeadm.Step, time.Duration, error) {}
func (a atStep) at(s kubeadm.Step) {
	if s.Name == a.name {
		a.do()
	}
}

// TestWaitsNoMore: the holder's keeper stays on when another master has gone back
// meanwhile.
func TestWaitsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, true)
		m.r.Progress = atStep{doOff, func() { m.daemon.Masters[0].Present = false }}
		if _, err := m.r.Begin(t.Context()); err == nil || !strings.Contains(err.Error(), "n2 waits no more") || !m.keeper {
			t.Errorf("ended with %v, the keeper runs: %v", err, m.keeper)
		}
	})
}

// TestStillThere: the keeper is not started beside an address that havipd left.
func TestStillThere(t *testing.T) {
	m := newMachine(t, false)
	_, err := m.r.Begin(t.Context())
	m.must(err)
	m.calls = nil
	m.r.Progress = atStep{doOn, func() { m.havip = true }}
	if _, err := m.r.Undo(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing runs that holds it") || m.keeper {
		t.Errorf("ended with %v after %q", err, m.calls)
	}
}

func TestParseMasters(t *testing.T) {
	got, err := parseMasters("n2 198.51.100.163\n\nn1 198.51.100.162 2001:db8::1\n")
	if err != nil || len(got) != 2 || got[0] != (configs.Master{Name: "n2", Address: netip.MustParseAddr("198.51.100.163")}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"n1", "n1 x"} {
		if _, err := parseMasters(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
