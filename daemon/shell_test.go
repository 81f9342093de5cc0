package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"havip/configs"
	"havip/daemon/status"
	"havip/election"
)

// in runs a test in a bubble of fake time. Directories are made outside, since
// they are removed outside.
func in(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Helper()
	dirs := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.dir = dirs
		defer b.end()
		test(t, b)
	})
}

// shell is one daemon around fakes.
type shell struct {
	*bench
	name   string
	d      *daemon
	l      *loop
	lock   *fakeLock
	addr   *fakeAddress
	kernel *kernel
	fence  *fakeFence
	sent   *messages // to systemd
	logged *lines
	*fakeSystemd
	open      map[string]bool // ports of other masters that accept connections
	etcdComes func()          // with bare

	stop  func() // as SIGTERM does
	crash func() // as SIGKILL does, as far as a process can
	done  chan error
}

const testConfig = `
[vip]
address   = "198.51.100.166"
interface = "eth0"
[masters]
n1 = "198.51.100.162"
n2 = "198.51.100.163"
n3 = "198.51.100.164"
[etcd]
endpoint = "http://127.0.0.1:2379"
manifest = "%s/etcd.yaml"
[health]
apiserver = "none"
`

// shell makes a daemon that start lets run; until then its fakes can be changed.
func (b *bench) shell(name string) *shell {
	b.t.Helper()
	dir := filepath.Join(b.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	text := append(fmt.Appendf(nil, testConfig, dir), b.extra...)
	cfg, err := configs.Decode("havip.toml", text)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "havip.toml"), text, 0o600); err != nil {
		b.t.Fatal(err)
	}
	timing, _, err := cfg.Timing(configs.EtcdTimers{})
	if err != nil {
		b.t.Fatal(err)
	}
	s := &shell{bench: b, name: name, lock: b.client(name), sent: &messages{}, logged: &lines{}, fakeSystemd: &fakeSystemd{}, done: make(chan error, 1)}
	s.kernel = &kernel{b: b, note: func(what string) { b.note(name, what) }}
	s.addr = s.kernel.address()
	s.d = &daemon{clock: b.clock(), notifier: newNotifier(), restarting: s.restarting, logind: s.dial, Options: Options{
		Config: filepath.Join(dir, "havip.toml"), RunDir: dir, StateDir: filepath.Join(dir, "state"), Version: "1.2.3",
		Log: slog.New(slog.NewTextHandler(s.logged, nil)), Dropped: func() int64 { return 0 },
	}}
	s.d.notifier.send = s.sent.add
	s.d.alarm = newRuntimeAlarm // of the test's own time
	s.d.wire = b.ether.wire
	s.fence = &fakeFence{note: s.kernel.note}
	s.d.fences = s.fence.fences()
	s.d.faces = newFaces(s.d.StateDir, s.d.clock, s.d.Log)
	s.d.faces.ask = func(context.Context, string) (status.Member, string) { return status.MemberUnreachable, "no answer" }
	s.d.faces.knock = func(_ context.Context, address string) (bool, string) { return s.open[address], "is closed" }
	s.d.faces.etcdData = filepath.Join(dir, "etcd", "member")
	self := cfg.Masters[slices.IndexFunc(cfg.Masters, func(m configs.Master) bool { return m.Name == name })]
	s.l = s.d.newLoop(cfg, self, timing, s.lock, s.addr)
	return s
}

// end kills what still runs and lets its last calls run out.
func (b *bench) end() {
	for _, s := range b.shells {
		s.crash()
	}
	<-time.After(10 * time.Second)
}

func (s *shell) start() *shell {
	s.shells = append(s.shells, s)
	ctx, stop := context.WithCancel(context.Background())
	life, crash := context.WithCancel(context.Background())
	s.stop, s.crash = stop, func() { crash(); stop() }
	go func() { _ = s.d.notifier.run(life) }()
	go func() {
		err := s.d.runLoop(ctx, life, s.l, s.lock, s.addr)
		if life.Err() == nil && !s.l.followed.Load() {
			_ = s.lock.Leave(context.Background())
		}
		crash()
		s.done <- err
	}()
	return s
}

// note keeps what happened and when.
func (b *bench) note(node, what string) {
	b.lock.Lock()
	defer b.lock.Unlock()
	b.notes = append(b.notes, note{b.now(), node, what})
}

type note struct {
	at         time.Duration
	node, what string
}

// times are when something was done on a node.
func (b *bench) times(node, what string) []time.Duration {
	b.lock.Lock()
	defer b.lock.Unlock()
	var at []time.Duration
	for _, n := range b.notes {
		if n.node == node && n.what == what {
			at = append(at, n.at)
		}
	}
	return at
}

// pass lets time pass, and then everything that is due.
func (b *bench) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// until lets time pass up to an instant of the test.
func (b *bench) until(at time.Duration) { b.pass(at - b.now()) }

// ask makes one request of the control socket's handler, as root.
func (s *shell) ask(method, path, body string) (int, []byte) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r = r.WithContext(context.WithValue(r.Context(), uidKey{}, uint32(0)))
	w := httptest.NewRecorder()
	s.d.faces.handler().ServeHTTP(w, r)
	return w.Code, w.Body.Bytes()
}

func (s *shell) document() status.Document {
	s.t.Helper()
	code, body := s.ask(http.MethodGet, status.PathStatus, "")
	var d status.Document
	if err := json.Unmarshal(body, &d); err != nil || code != http.StatusOK {
		s.t.Fatalf("status: %d %s: %v", code, body, err)
	}
	return d
}

func masterOf(d status.Document, name string) status.Master {
	for _, m := range d.Masters {
		if m.Name == name {
			return m
		}
	}
	return status.Master{}
}

// holder is whom the record names.
func (b *bench) holder() string {
	r, err := election.DecodeRecord(b.current())
	if err != nil {
		return "nobody: " + err.Error()
	}
	return r.Node
}

// messages are those to systemd.
type messages struct {
	mu   sync.Mutex
	list []string
}

func (m *messages) add(s string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, s)
}

func (m *messages) count(s string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, x := range m.list {
		if x == s {
			n++
		}
	}
	return n
}

func (m *messages) last(prefix string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range slices.Backward(m.list) {
		if strings.HasPrefix(x, prefix) {
			return x
		}
	}
	return ""
}

// lines is a log in memory.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
