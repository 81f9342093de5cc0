package kubeadm

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"havip/test/kubeadmtest"
)

// daemon is one that grants a claim, and hands it to the election once the fake
// control plane runs.
type daemon struct {
	fake *kubeadmtest.Fake

	mu     sync.Mutex
	claim  Claim
	log    []string // calls that change something, and what was run before each
	refuse []Finding
	gone   error
	never  bool // it never hands over

	former  Former // the etcd member that this node had
	changes bool   // it may not be removed any more, once that is tried

	renewed chan struct{} // one for each renewal, if it is there
}

func (d *daemon) ran() []string { return d.fake.Phases() }

func (d *daemon) Check(context.Context, string) (Claim, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Claim{State: ClaimNone, Findings: d.refuse}, d.gone
}

func (d *daemon) Claim(_ context.Context, run string) (Claim, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone != nil {
		return Claim{}, d.gone
	}
	if len(d.refuse) > 0 {
		return Claim{State: ClaimNone, Findings: d.refuse}, nil
	}
	if d.claim.State == ClaimHanded && d.claim.Run == run {
		return d.claim, nil
	}
	if d.claim.State != ClaimHeld || d.claim.Run != run {
		d.log = append(d.log, "claim")
	} else if d.renewed != nil {
		d.renewed <- struct{}{}
	}
	d.claim = Claim{State: ClaimHeld, Run: run, Left: time.Minute}
	return d.claim, nil
}

func (d *daemon) Ask(context.Context) (Claim, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone != nil {
		return Claim{}, d.gone
	}
	if d.claim.State == ClaimHeld && !d.never && slices.Contains(d.ran(), phaseWait) {
		d.claim.State = ClaimHanded
		d.log = append(d.log, "handed after "+d.ran()[len(d.ran())-1])
	}
	return d.claim, nil
}

func (d *daemon) End(_ context.Context, run string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.claim.State == ClaimHeld && d.claim.Run == run {
		d.claim.State = ClaimEnded
		d.log = append(d.log, "end")
	}
	return nil
}

func (d *daemon) LetGo(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = append(d.log, fmt.Sprintf("let go before %d phases", len(d.ran())))
	return nil
}

func (d *daemon) Former(context.Context) (Former, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = append(d.log, "former after "+d.ran()[len(d.ran())-1])
	return d.former, d.gone
}

func (d *daemon) RemoveFormer(context.Context) (Former, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = append(d.log, "remove")
	if d.changes {
		d.former.Removable, d.former.Findings = false, []Finding{{Subject: "etcd", What: "another member is not well: n2", Fix: "mend it first", Blocks: true}}
		return d.former, nil
	}
	was := d.former
	was.Removed, d.former = was.Removable, Former{}
	return was, d.gone
}

func (d *daemon) calls() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.log)
}

// watcher writes down the progress.
type watcher struct {
	mu    sync.Mutex
	lines []string
	last  []string      // lines of logs
	seen  chan struct{} // one for each line of a log that says "waiting"
}

func (w *watcher) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

func (w *watcher) Note(text string)                { w.say("note %s", text) }
func (w *watcher) Skip(s Step)                     { w.say("skip %s", s.Name) }
func (w *watcher) Begin(s Step, number, total int) { w.say("%d/%d %s", number, total, s.Name) }
func (w *watcher) End(_ Step, _ time.Duration, e error) {
	if e != nil {
		w.say("failed: %v", e)
	}
}

func (w *watcher) Line(line string) {
	w.mu.Lock()
	w.last = append(w.last, line)
	w.mu.Unlock()
	if strings.HasSuffix(line, " waiting") {
		w.seen <- struct{}{}
	}
}

func (w *watcher) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines := w.lines
	w.lines = nil
	return lines
}

// bench is a runner with all that it works on.
type bench struct {
	*Runner
	fake   *kubeadmtest.Fake
	daemon *daemon
	watch  *watcher
}

func newBench(t *testing.T, more string) *bench {
	t.Helper()
	dir, err := os.MkdirTemp("", "havip") // the path of a socket has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	help, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	fake, env, err := kubeadmtest.Install(dir, help)
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
	socket := filepath.Join(fake.Root(), "run/containerd/containerd.sock")
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := config(t, more)
	b := &bench{fake: fake, daemon: &daemon{fake: fake}, watch: &watcher{seen: make(chan struct{}, 100)}}
	b.Runner = &Runner{
		Config: c, Self: master(t, c, "n1"), Claims: b.daemon, Members: b.daemon, Store: Store{filepath.Join(dir, "state")}, Progress: b.watch,
		System: System{
			Root: fake.Root(), Addresses: func() ([]netip.Addr, error) { return []netip.Addr{addr("198.51.100.162")}, nil },
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				if network == "tcp" {
					address, network = socket, "unix" // something answers
				}
				return new(net.Dialer).DialContext(ctx, network, address)
			},
		},
	}
	return b
}

// again is the same node after this process has died.
func (b *bench) again() { b.Runner.lock = nil }

func (b *bench) set(t *testing.T, name, value string) {
	t.Helper()
	if err := b.fake.Set(name, value); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) unset(t *testing.T, name string) {
	t.Helper()
	if err := b.fake.Unset(name); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) mustInit(t *testing.T) Result {
	t.Helper()
	r, err := b.Init(t.Context(), nil)
	if err != nil {
		t.Fatalf("init: %v\n%s", err, strings.Join(b.watch.told(), "\n"))
	}
	return r
}

// noSecrets looks for the secrets in command lines, logs and the state.
func (b *bench) noSecrets(t *testing.T, s Secrets) {
	t.Helper()
	check := func(where, text string) {
		for _, secret := range []string{s.Token, s.Token[7:], s.CertificateKey, "0123456789abcdef"} {
			if secret != "" && strings.Contains(text, secret) {
				t.Errorf("%s has %s:\n%.500s", where, secret, text)
			}
		}
	}
	check("a command line", strings.Join(b.fake.Commands(), "\n"))
	check("the progress", strings.Join(b.watch.last, "\n"))
	if len(b.watch.last) == 0 {
		t.Error("no line of a log was shown")
	}
	files := 0
	err := filepath.WalkDir(b.Store.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %04o", path, info.Mode().Perm())
		}
		data, err := os.ReadFile(path)
		check(path, string(data))
		files++
		return err
	})
	if err != nil || files < 9 {
		t.Errorf("%d files, %v", files, err)
	}
}
