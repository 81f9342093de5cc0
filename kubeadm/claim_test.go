package kubeadm

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

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
