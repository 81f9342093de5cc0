package kubeadm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/test/kubeadmtest"
)

// initOrder is what a whole init runs: all but what only prints.
var initOrder = slices.DeleteFunc(slices.Clone(initPhases.known), func(name string) bool { return name == phaseShow })

func TestInit(t *testing.T) {
	b := newBench(t, "")
	r := b.mustInit(t)
	if diff := cmp.Diff(initOrder, b.fake.Phases()); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"claim", "handed after wait-control-plane"}, b.daemon.calls()); diff != "" {
		t.Errorf("daemon (-want +got):\n%s", diff)
	}
	if !r.Changed || r.Secrets == nil || r.Secrets.CAHash != kubeadmtest.CAHash || r.Message != "the cluster is there, and n1 is its first master" {
		t.Errorf("result %+v", r)
	}
	b.noSecrets(t, *r.Secrets)

	b.watch.told()
	b.again()
	commands := len(b.fake.Commands())
	r, err := b.Init(t.Context(), nil)
	if err != nil || r.Changed || !strings.HasPrefix(r.Message, "nothing to do: n1 is a master since ") {
		t.Errorf("again: %+v, %v", r, err)
	}
	if len(b.fake.Commands()) != commands || len(b.watch.told()) > 0 {
		t.Error("a finished node was touched again")
	}
}

// TestEachPhaseFails: the failure is explained, the VIP given back while it was
// only claimed, and the same command goes on with this phase.
func TestEachPhaseFails(t *testing.T) {
	for i, phase := range initOrder {
		t.Run(phase, func(t *testing.T) {
			b := newBench(t, "")
			b.set(t, "fail-"+phase, "")
			_, err := b.Init(t.Context(), nil)
			var failed *StepError
			if !errors.As(err, &failed) || failed.Step.Name != phase || len(failed.Hints) < 2 {
				t.Fatalf("init: %v", err)
			}
			if last := failed.Tail[len(failed.Tail)-1]; last != "error execution phase "+phase+": told to fail" {
				t.Errorf("last line %q", last)
			}
			if log, err := os.ReadFile(failed.Log); err != nil || !strings.Contains(string(log), "told to fail") {
				t.Errorf("log: %v\n%s", err, log)
			}
			handed := slices.Index(initOrder, phaseWait) < i
			if last := b.daemon.calls()[1]; (last == "end") == handed {
				t.Errorf("daemon: %v", b.daemon.calls())
			}
			b.unset(t, "fail-"+phase)
			if err := b.fake.Forget(); err != nil {
				t.Fatal(err)
			}
			b.again()
			if handed { // the fake control plane has been forgotten, the election has not
				b.daemon.claim.State = ClaimHanded
			}
			b.mustInit(t)
			if diff := cmp.Diff(initOrder[i:], b.fake.Phases()); diff != "" {
				t.Errorf("phases of the second run (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSecretsStay: what was uploaded before a failure is what is printed after.
func TestSecretsStay(t *testing.T) {
	b := newBench(t, "")
	b.set(t, "fail-addon", "")
	if _, err := b.Init(t.Context(), nil); err == nil {
		t.Fatal("no failure")
	}
	kept, ok, err := b.Store.Secrets()
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	b.unset(t, "fail-addon")
	r := b.mustInit(t)
	if r.Secrets.Token != kept.Token || r.Secrets.CertificateKey != kept.CertificateKey {
		t.Errorf("%+v, kept %+v", r.Secrets, kept)
	}
}

func TestChangedConfig(t *testing.T) {
	b := newBench(t, "")
	b.set(t, "fail-addon", "")
	if _, err := b.Init(t.Context(), nil); err == nil {
		t.Fatal("no failure")
	}
	b.unset(t, "fail-addon")
	if err := b.fake.Forget(); err != nil {
		t.Fatal(err)
	}
	b.Config.Kubeadm.ClusterName = "other"
	b.daemon.claim = Claim{}
	b.daemon.refuse = []Finding{{What: "this node is an etcd member", Blocks: true}}
	b.mustInit(t) // nothing is claimed a second time
	if diff := cmp.Diff(initOrder[1:], b.fake.Phases()); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"claim", "handed after wait-control-plane"}, b.daemon.calls()); diff != "" {
		t.Errorf("daemon (-want +got):\n%s", diff)
	}
}

func TestBlocked(t *testing.T) {
	b := newBench(t, "")
	b.set(t, "kubelet-version", "v1.35.0")
	b.daemon.refuse = []Finding{{Subject: "VIP", What: "198.51.100.166 is answered by 02:00:5e:10:00:01", Fix: "find it", Blocks: true}, {Subject: "n2", What: "is silent"}}
	_, err := b.Init(t.Context(), nil)
	var blocked *BlockedError
	if !errors.As(err, &blocked) {
		t.Fatalf("init: %v", err)
	}
	const both = `kubelet: v1.35.0 does not go with Kubernetes v1.34.4; install a kubelet 1.34
VIP: 198.51.100.166 is answered by 02:00:5e:10:00:01; find it`
	if diff := cmp.Diff(both, findingsText(blocked.Findings)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	b.unset(t, "kubelet-version")
	if _, err = b.Init(t.Context(), nil); !errors.As(err, &blocked) || len(blocked.Findings) != 1 {
		t.Errorf("the claim alone is refused: %v", err)
	}
	if len(b.fake.Phases()) > 0 {
		t.Errorf("ran %v", b.fake.Phases())
	}
	b.daemon.refuse = nil
	b.mustInit(t)
}

func TestDaemonIsNotThere(t *testing.T) {
	b := newBench(t, "")
	b.daemon.gone = errors.New("havipd is not running")
	for _, do := range []func(context.Context, *Secrets) (Result, error){b.Init, b.Join} {
		_, err := do(t.Context(), &someSecrets)
		var blocked *BlockedError
		if !errors.As(err, &blocked) || findingsText(blocked.Findings) != "havipd: havipd is not running; start it: systemctl enable --now havipd" {
			t.Errorf("%v", err)
		}
	}
}

// TestClaimUnanswered: the daemon may have taken the VIP though its answer got
// lost, so it is given back.
func TestClaimUnanswered(t *testing.T) {
	b := newBench(t, "")
	b.Runner.Claims = lostAnswer{b.daemon}
	_, err := b.Init(t.Context(), nil)
	var failed *StepError
	if !errors.As(err, &failed) || failed.Step.Name != stepClaim {
		t.Fatalf("init: %v", err)
	}
	if diff := cmp.Diff([]string{"claim", "end"}, b.daemon.calls()); diff != "" {
		t.Errorf("daemon (-want +got):\n%s", diff)
	}
}

type lostAnswer struct{ *daemon }

func (l lostAnswer) Claim(ctx context.Context, run string) (Claim, error) {
	_, _ = l.daemon.Claim(ctx, run) // it did it all the same
	return Claim{}, errors.New("the connection broke")
}

// TestNeverHanded: without the election's record no phase runs that lets others
// in; interrupted, the claim is given back.
func TestNeverHanded(t *testing.T) {
	b := newBench(t, "")
	b.daemon.never = true
	b.set(t, "block-none", "")
	ctx, cancel := context.WithCancel(t.Context())
	b.Runner.Progress = &onBegin{b.watch, stepHanded, cancel}
	_, err := b.Init(ctx, nil)
	var failed *StepError
	if !errors.As(err, &failed) || failed.Step.Name != stepHanded || !errors.Is(err, context.Canceled) {
		t.Fatalf("init: %v", err)
	}
	for _, phase := range b.fake.Phases() {
		if phase == phaseToken || phase == phaseUploadCerts {
			t.Errorf("%s was run", phase)
		}
	}
	if diff := cmp.Diff([]string{"claim", "end"}, b.daemon.calls()); diff != "" {
		t.Errorf("daemon (-want +got):\n%s", diff)
	}
}

// TestHandedUnnoticed: the election took the VIP over, and the run was killed
// before it had written that down.
func TestHandedUnnoticed(t *testing.T) {
	b := newBench(t, "")
	b.daemon.never = true
	ctx, cancel := context.WithCancel(t.Context())
	b.Runner.Progress = &onBegin{b.watch, stepHanded, cancel}
	if _, err := b.Init(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("init: %v", err)
	}
	b.daemon.never = false
	b.daemon.claim.State = ClaimHanded // as after kill -9, which gives nothing back
	b.daemon.log = nil
	b.Runner.Progress = b.watch
	b.mustInit(t)
	if calls := b.daemon.calls(); len(calls) > 0 {
		t.Errorf("daemon: %v", calls)
	}
}

type onBegin struct {
	*watcher
	step string
	do   func()
}

func (o *onBegin) Begin(s Step, number, total int) {
	o.watcher.Begin(s, number, total)
	if s.Name == o.step {
		o.do()
	}
}

// TestClaimLost: the claim expires, or another run takes it, while phases run.
func TestClaimLost(t *testing.T) {
	for name, claim := range map[string]Claim{"expired": {State: ClaimExpired}, "of another run": {State: ClaimHanded, Run: "other"}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "")
			b.daemon.never = true
			b.Runner.Progress = &onBegin{b.watch, stepHanded, func() {
				b.daemon.mu.Lock()
				defer b.daemon.mu.Unlock()
				if claim.Run == "" {
					claim.Run = b.daemon.claim.Run
				}
				b.daemon.claim = claim
			}}
			_, err := b.Init(t.Context(), nil)
			var failed *StepError
			if !errors.As(err, &failed) || failed.Step.Name != stepHanded {
				t.Fatalf("init: %v", err)
			}
			if slices.Contains(b.fake.Phases(), "upload-config") {
				t.Errorf("ran on: %v", b.fake.Phases())
			}
		})
	}
}

// TestInterrupted: Ctrl-C in the middle of a phase ends kubeadm, and the next run
// does this phase again.
func TestInterrupted(t *testing.T) {
	b := newBench(t, "")
	if err := b.fake.Block("etcd"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-b.watch.seen; cancel() }()
	_, err := b.Init(ctx, nil)
	var failed *StepError
	if !errors.As(err, &failed) || failed.Step.Name != "etcd" || !errors.Is(err, context.Canceled) {
		t.Fatalf("init: %v", err)
	}
	if err := os.Remove(filepath.Join(b.fake.Dir, "block-etcd")); err != nil {
		t.Fatal(err)
	}
	b.mustInit(t)
	want := slices.Insert(slices.Clone(initOrder), 3, "etcd")
	if diff := cmp.Diff(want, b.fake.Phases()); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
}

// TestRenewed: the claim is renewed while a phase takes its time, and not after it
// was handed over.
func TestRenewed(t *testing.T) {
	b := newBench(t, "")
	b.daemon.renewed = make(chan struct{}, 1000)
	if err := b.fake.Block("etcd"); err != nil {
		t.Fatal(err)
	}
	go func() {
		for range 3 {
			<-b.daemon.renewed
		}
		if err := b.fake.Unblock("etcd"); err != nil {
			t.Error(err)
		}
	}()
	b.Runner.Claims = shortClaims{b.daemon}
	b.mustInit(t)
	if diff := cmp.Diff([]string{"claim", "handed after wait-control-plane"}, b.daemon.calls()); diff != "" {
		t.Errorf("daemon (-want +got):\n%s", diff)
	}
}

// shortClaims are renewed as often as may be.
type shortClaims struct{ *daemon }

func (s shortClaims) Claim(ctx context.Context, run string) (Claim, error) {
	c, err := s.daemon.Claim(ctx, run)
	c.Left = time.Millisecond
	return c, err
}

func TestRefusedConfig(t *testing.T) {
	b := newBench(t, "")
	b.set(t, "invalid", "")
	_, err := b.Init(t.Context(), &someSecrets)
	if err == nil || !strings.Contains(err.Error(), "kubeadm refuses its configuration") || !strings.Contains(err.Error(), "the token is <redacted>") {
		t.Errorf("init: %v", err)
	}
	if len(b.fake.Phases()) > 0 || len(b.daemon.calls()) > 0 {
		t.Errorf("ran %v, %v", b.fake.Phases(), b.daemon.calls())
	}
}

func TestJoin(t *testing.T) {
	b := newBench(t, "")
	if _, err := b.Join(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "join needs a ticket") {
		t.Errorf("without a ticket: %v", err)
	}
	b.set(t, "fail-etcd-join", "")
	if _, err := b.Join(t.Context(), &someSecrets); err == nil {
		t.Fatal("no failure")
	}
	b.unset(t, "fail-etcd-join")
	if _, err := b.Init(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "havipctl join was begun here at ") {
		t.Errorf("init in the middle of join: %v", err)
	}
	r, err := b.Join(t.Context(), nil) // with the ticket of the first try
	if err != nil || !r.Changed || r.Secrets != nil || r.Message != "n1 is a master now" {
		t.Fatalf("%+v, %v", r, err)
	}
	want := slices.Insert(slices.Clone(joinPhases.known), 4, "etcd-join")
	if diff := cmp.Diff(want, b.fake.Phases()); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"former after control-plane-prepare"}, b.daemon.calls()); diff != "" {
		t.Errorf("join claims nothing (-want +got):\n%s", diff)
	}
	b.noSecrets(t, someSecrets)
}

// TestJoinAfterRefusedInit: an init that was refused, or stopped with no more than
// its claim, does not keep the node from joining.
func TestJoinAfterRefusedInit(t *testing.T) {
	for name, spoil := range map[string]func(*bench) (mend func()){
		"claim refused": func(b *bench) func() {
			b.daemon.refuse = []Finding{{Subject: "VIP", What: "is answered", Blocks: true}}
			return func() { b.daemon.refuse = nil }
		},
		"preflight failed": func(b *bench) func() {
			b.set(t, "fail-preflight", "")
			return func() { b.unset(t, "fail-preflight") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "")
			mend := spoil(b)
			if _, err := b.Init(t.Context(), nil); err == nil {
				t.Fatal("no failure")
			}
			mend()
			b.daemon.claim.State = ClaimHeld // as a killed run leaves it
			if r, err := b.Join(t.Context(), &someSecrets); err != nil || !r.Changed {
				t.Errorf("join: %+v, %v", r, err)
			}
			if held := b.daemon.claim; held.Run != "" && held.State != ClaimEnded {
				t.Errorf("the claim is %+v, want it given back", held)
			}
		})
	}
}

func TestToken(t *testing.T) {
	b := newBench(t, "")
	if _, err := b.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "this node is no master") {
		t.Errorf("before init: %v", err)
	}
	first := b.mustInit(t)
	if err := b.fake.Forget(); err != nil {
		t.Fatal(err)
	}
	s, err := b.Token(t.Context())
	if err != nil || s.CAHash != kubeadmtest.CAHash || s.Token == first.Secrets.Token || s.CertificateKey == first.Secrets.CertificateKey {
		t.Fatalf("%+v, %v", s, err)
	}
	if diff := cmp.Diff([]string{"token", "upload-certs"}, b.fake.Phases()); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	b.noSecrets(t, s)
	b.set(t, "fail-token", "")
	var failed *StepError
	if _, err := b.Token(t.Context()); !errors.As(err, &failed) || failed.Step.Name != "token" {
		t.Errorf("a failure: %v", err)
	}
}

func TestReset(t *testing.T) {
	b := newBench(t, "")
	r, err := b.Reset(t.Context())
	if err != nil || r.Changed || !strings.HasPrefix(r.Message, "nothing to do") {
		t.Errorf("of nothing: %+v, %v", r, err)
	}
	b.mustInit(t)
	phases := len(b.fake.Phases())
	r, err = b.Reset(t.Context())
	if err != nil || !r.Changed || r.Message != "n1 is no master any more" {
		t.Fatalf("%+v, %v", r, err)
	}
	want := fmt.Sprintf("let go before %d phases", phases)
	if calls := b.daemon.calls(); calls[len(calls)-1] != want {
		t.Errorf("daemon: %v, want %s", calls, want)
	}
	if j, err := b.Store.Load(); err != nil || j != nil {
		t.Errorf("journal %+v, %v", j, err)
	}
	b.daemon.claim = Claim{}
	b.mustInit(t)
}

// TestResetOfClaim: an unfinished init gives its claim back.
func TestResetOfClaim(t *testing.T) {
	b := newBench(t, "")
	b.set(t, "fail-certs", "")
	if _, err := b.Init(t.Context(), nil); err == nil {
		t.Fatal("no failure")
	}
	j, err := b.Store.Load()
	if err != nil {
		t.Fatal(err)
	}
	b.daemon.claim = Claim{State: ClaimHeld, Run: j.Run} // as after kill -9
	b.daemon.log = nil
	if r, err := b.Reset(t.Context()); err != nil || !r.Changed {
		t.Fatalf("%+v, %v", r, err)
	}
	if diff := cmp.Diff([]string{"end"}, b.daemon.calls()); diff != "" {
		t.Errorf("daemon (-want +got):\n%s", diff)
	}
}

// TestVanished: a finished node that was reset by kubeadm alone.
func TestVanished(t *testing.T) {
	b := newBench(t, "")
	b.mustInit(t)
	if err := os.RemoveAll(filepath.Join(b.fake.Root(), "etc/kubernetes")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Init(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "havipctl reset") {
		t.Errorf("init: %v", err)
	}
}

func TestPreview(t *testing.T) {
	b := newBench(t, "")
	b.daemon.refuse = []Finding{{Subject: "VIP", What: "is taken", Blocks: true}}
	for _, command := range []string{"init", "join"} {
		p, err := b.Preview(t.Context(), command)
		if err != nil || len(p.Plan.Steps) < 7 || !strings.Contains(string(p.Config), "<redacted>") || strings.Contains(string(p.Config), placeholders.Token) {
			t.Errorf("%s: %+v, %v", command, p, err)
		}
		if (len(p.Findings) == 1) != (command == "init") {
			t.Errorf("%s: %s", command, findingsText(p.Findings))
		}
	}
	if _, err := os.Stat(b.Store.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a preview wrote into %s: %v", b.Store.Dir, err)
	}
	if len(b.fake.Phases()) > 0 || len(b.daemon.calls()) > 0 {
		t.Errorf("a preview ran %v, %v", b.fake.Phases(), b.daemon.calls())
	}
}

func TestWithoutUploads(t *testing.T) {
	b := newBench(t, "[kubeadm]\nupload_certs = false\n")
	r := b.mustInit(t)
	if r.Secrets.CertificateKey != "" {
		t.Errorf("a ticket with a key for certificates that are not there: %+v", r.Secrets)
	}
	for _, c := range b.fake.Commands() {
		if strings.Contains(c, "--upload-certs") {
			t.Error(c)
		}
	}
}
