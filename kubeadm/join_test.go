package kubeadm

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

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
