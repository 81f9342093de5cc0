package kubeadm

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var deadMember = Former{Members: []string{"n1 (ID a1, https://198.51.100.162:2380)"}, Removable: true}

// joinTo is what join runs up to the look for a former member.
var joinTo = []string{phasePreflight, phasePrepare}

// TestFormerMember: a node that was made anew is told of its dead member before
// anything of it is in the cluster; join --replace goes on from there.
func TestFormerMember(t *testing.T) {
	b := newBench(t, "")
	b.daemon.former = deadMember
	_, err := b.Join(t.Context(), &someSecrets)
	var failed *StepError
	if !errors.As(err, &failed) || failed.Step.Name != stepFormer {
		t.Fatalf("join: %v", err)
	}
	want := "step former-member: etcd still lists the member that this node had before it was made anew: n1 (ID a1, https://198.51.100.162:2380); it does not answer and its data is gone, so it can only be removed"
	if diff := cmp.Diff(want, failed.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	if len(failed.Hints) != 2 || !strings.Contains(failed.Hints[0], "havipctl join --replace") || !strings.Contains(failed.Hints[1], "havipctl reset") {
		t.Errorf("hints: %q", failed.Hints)
	}
	if diff := cmp.Diff(joinTo, b.fake.Phases()); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}

	b.again()
	if _, err := b.Join(t.Context(), nil); !errors.As(err, &failed) || failed.Step.Name != stepFormer {
		t.Errorf("once more without --replace: %v", err)
	}
	b.again()
	b.Replace = true
	r, err := b.Join(t.Context(), nil)
	if err != nil || !r.Changed {
		t.Fatalf("join --replace: %+v, %v", r, err)
	}
	if diff := cmp.Diff(joinPhases.known, b.fake.Phases()); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	look := "former after control-plane-prepare"
	if diff := cmp.Diff([]string{look, look, look, "remove"}, b.daemon.calls()); diff != "" {
		t.Errorf("daemon (-want +got):\n%s", diff)
	}
	if told := b.watch.told(); !slices.Contains(told, "note removed from etcd: n1 (ID a1, https://198.51.100.162:2380)") {
		t.Errorf("told: %q", told)
	}
}

// TestFormerMemberStays: --replace is no order to the daemon.
func TestFormerMemberStays(t *testing.T) {
	held := Former{Members: deadMember.Members, Findings: []Finding{{Subject: "etcd", What: "another member is not well: n2", Fix: "mend it first", Blocks: true}}}
	for name, tt := range map[string]struct {
		spoil func(*daemon)
		calls []string
	}{
		"refused at the look":    {func(d *daemon) { d.former = held }, []string{"former after control-plane-prepare"}},
		"refused at the removal": {func(d *daemon) { d.former, d.changes = deadMember, true }, []string{"former after control-plane-prepare", "remove"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "")
			b.Replace = true
			tt.spoil(b.daemon)
			_, err := b.Join(t.Context(), &someSecrets)
			var failed *StepError
			if !errors.As(err, &failed) || !strings.HasSuffix(failed.Error(), "; it may not be removed: another member is not well: n2") {
				t.Fatalf("join: %v", err)
			}
			if diff := cmp.Diff([]string{"mend it first", "then go on: havipctl join --replace"}, failed.Hints); diff != "" {
				t.Errorf("hints (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.calls, b.daemon.calls()); diff != "" {
				t.Errorf("daemon (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(joinTo, b.fake.Phases()); diff != "" {
				t.Errorf("phases (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNothingToReplace: --replace where nothing is in the way is said, and no error.
func TestNothingToReplace(t *testing.T) {
	b := newBench(t, "")
	b.Replace = true
	if _, err := b.Join(t.Context(), &someSecrets); err != nil {
		t.Fatal(err)
	}
	if told := b.watch.told(); !slices.Contains(told, "note there is nothing to replace: etcd lists no member of this node's") {
		t.Errorf("told: %q", told)
	}
}

// TestOwnMemberIsNoFormer: a join that is repeated because its configuration has
// changed does not take the member that it has just added for a dead one.
func TestOwnMemberIsNoFormer(t *testing.T) {
	b := newBench(t, "")
	b.set(t, "fail-etcd-join", "")
	if _, err := b.Join(t.Context(), &someSecrets); err == nil {
		t.Fatal("no failure")
	}
	b.unset(t, "fail-etcd-join")
	b.daemon.former = deadMember // what the failed phase may have added
	b.again()
	b.Config = config(t, "[kubeadm]\nkubelet_args = [\"v=2\"]\n")
	if _, err := b.Join(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"former after control-plane-prepare"}, b.daemon.calls()); diff != "" {
		t.Errorf("daemon (-want +got):\n%s", diff)
	}
}

// TestFormerIsLookedForAgain: with another configuration, as long as no member was
// added.
func TestFormerIsLookedForAgain(t *testing.T) {
	b := newBench(t, "")
	b.set(t, "fail-kubelet-start", "")
	if _, err := b.Join(t.Context(), &someSecrets); err == nil {
		t.Fatal("no failure")
	}
	b.unset(t, "fail-kubelet-start")
	b.again()
	b.Config = config(t, "[kubeadm]\nkubelet_args = [\"v=2\"]\n")
	if _, err := b.Join(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"former after control-plane-prepare", "former after control-plane-prepare"}, b.daemon.calls()); diff != "" {
		t.Errorf("daemon (-want +got):\n%s", diff)
	}
}

// TestFormerBeforeEtcd: whatever a kubeadm lists beside what is known, the look
// comes after the certificates and before any phase that asks or changes etcd.
func TestFormerBeforeEtcd(t *testing.T) {
	c := config(t, "")
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 1))
		list := slices.Clone(joinPhases.known)
		for i := range random.IntN(4) {
			list = slices.Insert(list, random.IntN(len(list)+1), fmt.Sprintf("new-%d", i))
		}
		p, err := PlanJoin(c, phasesNamed(list), "/f")
		if err != nil {
			t.Fatal(err)
		}
		var before, after []string
		seen := 0
		for _, s := range p.Steps {
			switch {
			case s.Kind == KindFormer:
				seen++
			case seen == 0:
				before = append(before, s.Phases...)
			default:
				after = append(after, s.Phases...)
			}
		}
		if seen != 1 || !slices.Contains(before, phasePrepare) || !slices.Contains(after, "check-etcd") || !slices.Contains(after, "etcd-join") {
			t.Fatalf("%v: planned\n%s", list, planText(p))
		}
	}
}
