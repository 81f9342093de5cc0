package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"golang.org/x/sys/unix"

	"havip/configs"
)

// fakeSystemd answers for systemd and logind. The zero value restarts nothing
// and has no logind.
type fakeSystemd struct {
	restart func(context.Context) (bool, error)

	mu     sync.Mutex
	has    bool // a logind
	hangs  bool // the bus does
	news   chan bool
	dials  int
	locks  int // held
	taken  int
	onFree func()
}

func (f *fakeSystemd) restarting(ctx context.Context) (bool, error) {
	if f.restart == nil {
		return false, nil
	}
	return f.restart(ctx)
}

func (f *fakeSystemd) dial(ctx context.Context) (logind, error) {
	if f.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dials++
	if !f.has {
		return nil, errors.New("connect to the system bus: no such file or directory")
	}
	f.news = make(chan bool, 1)
	return f, nil
}

// install gives the node a logind, or takes it away.
func (f *fakeSystemd) install(has bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.has = has
}

func (f *fakeSystemd) inhibit() (io.Closer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.locks++
	f.taken++
	return &fakeInhibitor{f: f}, nil
}

func (f *fakeSystemd) shutdowns() <-chan bool { return f.news }
func (f *fakeSystemd) close()                 {}

func (f *fakeSystemd) held() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.locks
}

type fakeInhibitor struct {
	f    *fakeSystemd
	once sync.Once
}

func (l *fakeInhibitor) Close() error {
	l.once.Do(func() {
		if l.f.onFree != nil {
			l.f.onFree()
		}
		l.f.mu.Lock()
		defer l.f.mu.Unlock()
		l.f.locks--
	})
	return nil
}

func TestRestartJob(t *testing.T) {
	job := func(unit, kind string) []dbus.JobStatus {
		return []dbus.JobStatus{{Unit: "kubelet.service", JobType: "restart"}, {Unit: unit, JobType: kind}}
	}
	for _, tt := range []struct {
		name, state string
		jobs        []dbus.JobStatus
		want        bool
	}{
		{"restart", "running", job("havipd.service", "restart"), true},
		{"try-restart", "degraded", job("havipd.service", "try-restart"), true},
		{"restart at boot", "starting", job("havipd.service", "restart"), true},
		{"stop", "running", job("havipd.service", "stop"), false},
		{"restart of another unit", "running", job("other.service", "restart"), false},
		{"no job: killed by hand", "running", nil, false},
		{"the node goes down", "stopping", job("havipd.service", "restart"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := restartJob(tt.state, "havipd.service", tt.jobs); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// A process that is told to end leaves the address only for one that will serve
// it; in every other case another master gets it.
func TestRestartOrStop(t *testing.T) {
	yes := func(context.Context) (bool, error) { return true, nil }
	edit := func(old, new string) func(*shell) {
		return func(s *shell) {
			b, err := os.ReadFile(s.d.Config)
			if err == nil {
				err = os.WriteFile(s.d.Config, []byte(strings.Replace(string(b), old, new, 1)), 0o600)
			}
			if err != nil {
				s.t.Fatal(err)
			}
		}
	}
	slowEtcd := func(s *shell) {
		edit("[health]", "[election]\ntakeover = \"4500ms\"\n[health]")(s)
		manifest := "spec: {containers: [{name: etcd, command: [etcd, --election-timeout=5000]}]}"
		if err := os.WriteFile(s.l.cfg.Etcd.Manifest, []byte(manifest), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		restart func(context.Context) (bool, error)
		before  func(*shell)
		stays   bool
		logs    string
	}{
		"restart":       {yes, func(*shell) {}, true, "told to restart; the address stays"},
		"another timer": {yes, edit("[health]", "[election]\nrenewal = \"300ms\"\n[health]"), true, "the address stays"},
		"stop":          {nil, func(*shell) {}, false, "told to stop"},
		"no systemd": {func(context.Context) (bool, error) { return false, errors.New("ask systemd: no such file") },
			func(*shell) {}, false, "taken for a stop"},
		"systemd hangs": {func(context.Context) (bool, error) { <-time.After(time.Second); return true, nil },
			func(*shell) {}, false, "no answer within 500ms"},
		"the file is broken now":   {yes, edit("[vip]", "[vip"), false, "would not serve the address"},
		"the file is gone":         {yes, func(s *shell) { os.Remove(s.d.Config) }, false, "would not serve the address"},
		"another interface":        {yes, edit(`"eth0"`, `"eth1"`), false, "the interface is eth1 now"},
		"times too short for etcd": {yes, slowEtcd, false, "takeover 4.5s is too short"},
		"another VIP":              {yes, edit("198.51.100.166", "198.51.100.177"), false, "the VIP is 198.51.100.177 now"},
		"no VIP":                   {yes, edit("[vip]", "#"), false, "would not serve the address"},
		"another name":             {yes, edit("n1 =", "m1 ="), false, "is not among [masters] any more"},
		"another address":          {yes, edit("198.51.100.162", "198.51.100.161"), false, "is not among [masters] any more"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, b *bench) {
				n1 := b.shell("n1").start()
				b.pass(6 * time.Second)
				n2 := b.shell("n2").start()
				b.pass(time.Second)
				n1.restart = tt.restart
				tt.before(n1)
				n1.stop()
				b.pass(managerTimeout + 400*time.Millisecond)
				if err := <-n1.done; err != nil {
					t.Error(err)
				}
				if got := n1.kernel.has(); got != tt.stays {
					t.Errorf("the address is still there: %v, want %v", got, tt.stays)
				}
				if got := n2.kernel.has(); got == tt.stays {
					t.Errorf("n2 has it: %v, want %v", got, !tt.stays)
				}
				if present := b.nodes["n1"] != ""; present != tt.stays {
					t.Errorf("its presence is still there: %v, want %v", present, tt.stays)
				}
				if !strings.Contains(n1.logged.String(), tt.logs) {
					t.Errorf("the log does not say %q:\n%s", tt.logs, n1.logged)
				}
			})
		})
	}
}

// A disk that hangs makes a restart a stop, and a stop no slower.
func TestRestartWhileTheDiskHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "havip.toml")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	d := &daemon{
		Options:    Options{Config: path, Log: slog.New(slog.DiscardHandler)},
		restarting: func(context.Context) (bool, error) { return true, nil },
	}
	answer := make(chan bool, 1)
	go func() { answer <- d.followed(configs.Default(), configs.Master{}) }()
	select {
	case yes := <-answer:
		if yes {
			t.Error("taken for a restart")
		}
	case <-time.After(20 * managerTimeout):
		t.Error("a stop waits for the disk")
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0) // lets the reader go
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// The process after a restart goes on where the one before it ended.
func TestRestartedProcessAdopts(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1").start()
		b.pass(6 * time.Second)
		n2 := b.shell("n2").start()
		b.pass(time.Second)
		since := b.now()
		n1.restart = func(context.Context) (bool, error) { return true, nil }
		n1.stop()
		synctest.Wait()
		<-n1.done
		b.pass(time.Second)
		next := b.shell("n1")
		next.kernel.until = n1.kernel.until
		next.start()
		b.pass(10 * time.Second)
		if !next.kernel.has() || n2.kernel.has() {
			t.Errorf("n1 has it: %v, n2 has it: %v", next.kernel.has(), n2.kernel.has())
		}
		for _, at := range b.times("n1", "clear") {
			if at > since {
				t.Errorf("cleared %v after the restart began", at-since)
			}
		}
	})
}

// TestDetectionChanged: heartbeats are turned on and off master by master, as
// docs/runbooks.md has it, and the address stays.
func TestDetectionChanged(t *testing.T) {
	for name, changes := range map[string][2]string{
		"off":    {"fast", "off"},
		"on":     {"off", "fast"},
		"slower": {"fast", "standard"},
		"faster": {"standard", "fast"},
	} {
		for _, order := range [][]string{{"n2", "n3", "n1"}, {"n1", "n2", "n3"}} {
			t.Run(name+", "+order[0]+" first", func(t *testing.T) { in(t, func(t *testing.T, b *bench) { b.detectionChanges(changes, order) }) })
		}
	}
}

func (b *bench) detectionChanges(changes [2]string, order []string) {
	b.extra = fmt.Sprintf("[election]\ndetection = %q\n", changes[0])
	run := map[string]*shell{}
	for _, name := range []string{"n1", "n2", "n3"} {
		run[name] = b.shell(name).start()
	}
	b.pass(20 * time.Second)
	b.wantBeats(run["n1"], changes[0])
	b.extra = fmt.Sprintf("[election]\ndetection = %q\n", changes[1])
	for _, name := range order {
		was, next := run[name], b.shell(name) // which writes the file
		was.restart = func(context.Context) (bool, error) { return true, nil }
		was.stop()
		<-was.done
		b.pass(200 * time.Millisecond)
		next.kernel.until, next.fence.left = was.kernel.until, changes[0] != "off"
		run[name] = next.start()
		b.pass(20 * time.Second)
	}
	b.wantBeats(run["n1"], changes[1])
	if b.holder() != "n1" || !run["n1"].kernel.has() || len(b.times("n1", "clear")) > 0 {
		b.t.Errorf("%s holds it, n1 cleared the address %d times", b.holder(), len(b.times("n1", "clear")))
	}
}

func (b *bench) wantBeats(s *shell, detection string) {
	b.t.Helper()
	e := s.l.machine.View().Beats.Epoch
	if on := detection != "off"; on != (e != nil) {
		b.t.Fatalf("with %s the record has the epoch %+v", detection, e)
	}
	if want := (map[string]time.Duration{"standard": 1200 * time.Millisecond, "fast": 300 * time.Millisecond})[detection]; e != nil && e.Promise() != want {
		b.t.Errorf("with %s the promise is %v", detection, e.Promise())
	}
}
