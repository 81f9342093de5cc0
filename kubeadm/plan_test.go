package kubeadm

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// minors are the versions whose help is in testdata, as their kubeadm prints it
// with the descriptions cut off.
var minors = []string{"1.31", "1.32", "1.33", "1.34", "1.35"}

func planText(p Plan) []byte {
	var b strings.Builder
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "%s %s\n", s.Kind, s.Name)
		if len(s.Args) > 0 {
			fmt.Fprintf(&b, "    kubeadm %s\n", strings.Join(s.Args, " "))
		}
	}
	return []byte(b.String())
}

func listed(t *testing.T, command, minor string) []Phase {
	t.Helper()
	phases, err := ParsePhases(command, read(t, "help-"+command+"-"+minor+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	return phases
}

func TestPlans(t *testing.T) {
	c := config(t, "[kubeadm]\nskip_phases = [\"addon/kube-proxy\"]\n")
	for _, minor := range minors {
		p, err := PlanInit(c, listed(t, "init", minor), "/f")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "plan-init-"+minor+".txt", planText(p))
		if p, err = PlanJoin(c, listed(t, "join", minor), "/f"); err != nil {
			t.Fatal(err)
		}
		golden(t, "plan-join-"+minor+".txt", planText(p))
	}
}

// TestSameSteps: what a version hides and what it lists comes to the same steps.
func TestSameSteps(t *testing.T) {
	for _, command := range []string{"init", "join"} {
		var first []string
		for _, minor := range minors {
			var got []string
			set := map[string]phaseSet{"init": initPhases, "join": joinPhases}[command]
			got = names(set.complete(listed(t, command, minor)))
			if first == nil {
				first = got
			}
			if diff := cmp.Diff(first, got); diff != "" {
				t.Errorf("%s of %s and %s (-want +got):\n%s", command, minors[0], minor, diff)
			}
			if diff := cmp.Diff(set.known, got); diff != "" {
				t.Errorf("%s of %s against what is known (-want +got):\n%s", command, minor, diff)
			}
		}
	}
}

func TestPlanSkips(t *testing.T) {
	phases := listed(t, "init", "1.34")
	p, err := PlanInit(config(t, "[kubeadm]\nskip_phases = [\"addon\", \"preflight\"]\nupload_certs = false\n"), phases, "/f")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Steps {
		if s.Name == "addon" || s.Name == "preflight" || slices.Contains(s.Args, "--upload-certs") {
			t.Errorf("step %s: %v", s.Name, s.Args)
		}
	}
	for _, skip := range []string{"addons", "addon/kubeproxy"} {
		_, err := PlanInit(config(t, "[kubeadm]\nskip_phases = [\""+skip+"\"]\n"), phases, "/f")
		if want := "kubeadm.skip_phases: this kubeadm has no phase " + skip; err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestUnknownPhases: what a future kubeadm adds is run with all that comes after
// it, but never across the barrier.
func TestUnknownPhases(t *testing.T) {
	help := strings.Replace(read(t, "help-init-1.34.txt"), "kubelet-start ", "warp          …\nkubelet-start ", 1)
	help = strings.Replace(help, "addon  ", "weft   …\naddon  ", 1)
	phases, err := ParsePhases("init", help)
	if err != nil {
		t.Fatal(err)
	}
	p, err := PlanInit(config(t, ""), phases, "/f")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "plan-init-unknown.txt", planText(p))
}

func TestUnsafeOrders(t *testing.T) {
	for name, list := range map[string][]string{
		"token first":      {"bootstrap-token", "kubelet-start", "wait-control-plane"},
		"certs first":      {"kubelet-start", "upload-certs", "wait-control-plane"},
		"no kubelet-start": {"preflight", "upload-certs"},
	} {
		if p, err := PlanInit(config(t, ""), phasesNamed(list), "/f"); err == nil {
			t.Errorf("%s: planned\n%s", name, planText(p))
		}
	}
}

func phasesNamed(list []string) []Phase {
	var phases []Phase
	for _, name := range list {
		phases = append(phases, Phase{Name: name})
	}
	return phases
}

// TestNobodyJoinsEarly: whatever a kubeadm lists and in whatever order, no phase
// that lets others join is run before the election has the VIP, every phase is
// run at most once, and each step skips all that it does not run.
func TestNobodyJoinsEarly(t *testing.T) {
	c := config(t, "")
	planned := 0
	for seed := range uint64(20000) {
		random := rand.New(rand.NewPCG(seed, 1))
		list := slices.Clone(initPhases.known)
		for i := range random.IntN(4) {
			list = slices.Insert(list, random.IntN(len(list)), fmt.Sprintf("new-%d", i))
		}
		if seed%2 == 1 { // the other half keeps the order
			i, j := random.IntN(len(list)), random.IntN(len(list))
			list[i], list[j] = list[j], list[i]
		}
		p, err := PlanInit(c, phasesNamed(list), "/f")
		if err != nil {
			continue
		}
		planned++
		checkSafe(t, list, p)
	}
	if planned < 10000 {
		t.Errorf("only %d plans", planned)
	}
}

func checkSafe(t *testing.T, list []string, p Plan) {
	t.Helper()
	handed := false
	var ran []string
	for _, s := range p.Steps {
		handed = handed || s.Kind == KindHanded
		for _, phase := range s.Phases {
			if !handed && (phase == phaseUploadCerts || phase == phaseToken) {
				t.Fatalf("%s before the election has the VIP:\n%s", phase, planText(p))
			}
			if slices.Contains(ran, phase) {
				t.Fatalf("%s twice:\n%s", phase, planText(p))
			}
			ran = append(ran, phase)
		}
		if s.Kind != KindPhase {
			continue
		}
		skipped := strings.Split(strings.TrimPrefix(s.Args[len(s.Args)-1], "--skip-phases="), ",")
		if len(skipped)+len(s.Phases) != len(list) {
			t.Fatalf("step %s runs %v and skips %v of %v", s.Name, s.Phases, skipped, list)
		}
	}
	if !handed || p.Steps[0].Kind != KindClaim || len(ran) != len(list)-1 { // one only prints
		t.Fatalf("%d of %d phases:\n%s", len(ran), len(list), planText(p))
	}
}

func TestParsePhasesRefuses(t *testing.T) {
	for name, help := range map[string]string{
		"nothing":      "",
		"no list":      "The \"init\" command executes the following phases:\n",
		"no end":       "command executes the following phases:\n```\npreflight …\n",
		"empty":        "command executes the following phases:\n```\n```\n",
		"child first":  "command executes the following phases:\n```\n  /ca …\n```\n",
		"another word": "command does the following phases:\n```\npreflight …\n```\n",
	} {
		if phases, err := ParsePhases("init", help); err == nil {
			t.Errorf("%s: %v", name, phases)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]Version{
		"v1.34.4\n":            {34, 4, "v1.34.4"},
		"Kubernetes v1.31.0":   {31, 0, "v1.31.0"},
		"v1.35.0-rc.1":         {35, 0, "v1.35.0-rc.1"},
		"v1.34.4-eks+1a2b":     {34, 4, "v1.34.4-eks+1a2b"},
		"warning: x\nv1.32.11": {32, 11, "v1.32.11"},
	} {
		if got, err := ParseVersion(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "1.34", "v2.0.0", "v1.99999999999999999999.0"} {
		if got, err := ParseVersion(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}
