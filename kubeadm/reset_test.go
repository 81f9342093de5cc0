package kubeadm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

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

// TestResetOfDamage: what no other command can read is no reason to stay.
func TestResetOfDamage(t *testing.T) {
	b := newBench(t, "")
	b.mustInit(t)
	if err := b.Store.Write(b.Store.journal(), []byte("{")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Init(t.Context(), nil); !errors.Is(err, errDamaged) {
		t.Errorf("init: %v", err)
	}
	if r, err := b.Reset(t.Context()); err != nil || !r.Changed {
		t.Fatalf("%+v, %v", r, err)
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

// TestResetOfAnothersClaim: nobody else will give back what an operator has claimed
// by force, or a run whose journal is lost.
func TestResetOfAnothersClaim(t *testing.T) {
	b := newBench(t, "")
	b.mustInit(t)
	b.daemon.claim, b.daemon.never = Claim{State: ClaimHeld, Run: "force-20260102T030405"}, true
	b.daemon.log = nil
	if r, err := b.Reset(t.Context()); err != nil || !r.Changed {
		t.Fatalf("%+v, %v", r, err)
	}
	if diff := cmp.Diff([]string{"former after addon", "end"}, b.daemon.calls()); diff != "" {
		t.Errorf("daemon (-want +got):\n%s", diff)
	}
}

// TestResetOnAFullDisk: a log that cannot be written does not kill kubeadm halfway, and
// what it has removed may be what the disk was full of.
func TestResetOnAFullDisk(t *testing.T) {
	b := newBench(t, "")
	b.mustInit(t)
	log := filepath.Join(b.Store.logs(), "reset.log")
	if err := os.Symlink("/dev/full", log); err != nil {
		t.Fatal(err)
	}
	var failed *StepError
	if _, err := b.Reset(t.Context()); !errors.Is(err, syscall.ENOSPC) || !errors.As(err, &failed) {
		t.Fatalf("reset: %v", err)
	}
	if last := failed.Tail; len(last) != 1 || last[0] != "[reset] done" {
		t.Errorf("kubeadm said %q", last)
	}
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	if r, err := b.Reset(t.Context()); err != nil || !r.Changed {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestResetOfNeeded: with another master down the quorum hangs on this node's member.
func TestResetOfNeeded(t *testing.T) {
	b := newBench(t, "")
	b.mustInit(t)
	b.daemon.former = Former{Members: []string{"n1"}, Needed: true}
	var blocked *BlockedError
	if _, err := b.Reset(t.Context()); !errors.As(err, &blocked) || !strings.HasPrefix(findingsText(blocked.Findings), "etcd: without the member of this node ") {
		t.Fatalf("reset: %v", err)
	}
	if calls := b.daemon.calls(); slices.Contains(b.fake.Phases(), "reset") || strings.HasPrefix(calls[len(calls)-1], "let go") {
		t.Errorf("ran %v, after %v", b.fake.Phases(), calls)
	}
	b.daemon.former.Needed = false
	if r, err := b.Reset(t.Context()); err != nil || !r.Changed {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestResetAlone: kubeadm reset ends well without a cluster that takes the member off
// its list. In an init that nobody can have joined there is none.
func TestResetAlone(t *testing.T) {
	for phase, want := range map[string]int{"wait-control-plane": 0, "addon": 1} {
		t.Run(phase, func(t *testing.T) {
			b := newBench(t, "")
			b.set(t, "fail-"+phase, "")
			if _, err := b.Init(t.Context(), nil); err == nil {
				t.Fatal("no failure")
			}
			b.set(t, "reset-alone", "")
			r, err := b.Reset(t.Context())
			if err != nil || len(r.Findings) != want || len(Blocking(r.Findings)) > 0 {
				t.Errorf("%+v, %v", r, err)
			}
			if b.Runner.Progress != Progress(b.watch) {
				t.Error("what was watched is watched on")
			}
		})
	}
}
