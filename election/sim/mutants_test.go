package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var mutantSchedules = flag.Int("mutant-schedules", 60000, "schedules that a mutant may survive at most")

// A mutant is the election with one rule taken out. Its edits must each match
// exactly once, so that a mutant that no longer fits the code is noticed.
// kind, if given, is the kind of schedules that is about the rule: the others
// would find it too, later.
type mutant struct {
	name  string
	edits []edit
	kind  string
}

type edit struct{ file, old, new string }

var mutants = []mutant{
	{"the deadline counts from the reply", []edit{
		{"term.go", "m.confirm(w.value, w.rec, w.sent)", "m.confirm(w.value, w.rec, m.now.Boot)"},
	}, ""},
	{"a late confirmation counts", []edit{
		{"term.go", "if m.now.Boot >= w.sent+w.rec.Hold() || !m.bears(w) {", "w.sent = m.now.Boot\n\tif !m.bears(w) {"},
	}, ""},
	{"no kernel lifetime", []edit{
		{"address.go", "Lifetime: life, Latest", "Lifetime: 3600, Latest"},
	}, ""},
	{"a kernel that is never late is relied on", []edit{
		{"address.go", "room := limit - now - KernelLateness - killLateness - slack", "room := limit - now - slack"},
		{"address.go", "a.latest = limit - seconds(life) - KernelLateness - killLateness", "a.latest = limit - seconds(life)"},
	}, ""},
	{"released before cleared", []edit{
		{"leave.go", "if m.addr.state != absent || m.addr.op != opNone {\n\t\t\treturn false", "if false {\n\t\t\treturn false"},
	}, ""},
	{"takeover without a fresh read", []edit{
		{"candidate.go", "if proof && !m.agreed(due) {", "if proof && false {"},
		{"candidate.go", "m.keepReading(m.quietFor())", "if !m.seen.known {\n\t\t\tm.keepReading(0)\n\t\t}"},
	}, ""},
	{"an unknown outcome is taken as success", []edit{
		{"term.go", "switch e.Outcome {\n\tcase Unknown:", "switch e.Outcome {\n\tcase Unknown:\n\t\tm.committed(w)"},
	}, ""},
	{"the node's name makes a record its own", []edit{
		{"observe.go", "return m.savedMine(rec)\n}", "return true\n}"},
	}, ""},
	{"an own record of long ago is still its own", []edit{
		{"observe.go", "m.past, m.saved = \"\", nil\n\tm.save(0, nil)", ""},
		{"term.go", "m.term, m.past, m.saved, m.writes = nil, \"\", nil, nil\n\tm.save(0, nil)", "if m.term != nil && m.term.confirmed {\n\t\tm.past = m.term.rec.ID\n\t}\n\tm.term, m.writes = nil, nil"},
	}, ""},
	{"candidates wait what their own config says", []edit{
		{"candidate.go", "return rec.Takeover(), true", "return m.cfg.Timing.Takeover, true"},
	}, ""},
	{"a new ID does not restart the wait", []edit{
		{"observe.go", "s := sighting{known: true, raw: raw, at: m.now.Boot, sign: m.now.Boot, live: live}", "s := sighting{known: true, raw: raw, at: m.seen.at, sign: m.now.Boot, live: live}"},
	}, ""},
	{"free found by a read is free now", []edit{
		{"candidate.go", "rec.Free() && !rec.Wait && m.seen.live", "rec.Free() && !rec.Wait"},
	}, ""},
	{"an absent record is free now", []edit{
		{"candidate.go", "return m.cfg.Timing.Takeover, true", "return 0, false"},
		// The look at the wire would see most of what the wait is for.
		{"candidate.go", "m.seen.raw == \"\" && !m.claimed() && !m.nobodyAnswers()", "false && !m.nobodyAnswers()"},
	}, "a cluster is made"},
	{"adoption gives a new right without a transaction", []edit{
		{"saved.go", "m.term = &term{right: s.servable(), limit: s.Limit,", "m.term = &term{confirmed: true, right: m.now.Boot + m.cfg.Timing.Hold, limit: m.now.Boot + m.cfg.Timing.Takeover,"},
	}, ""},
	{"an offer counts from when it is taken up", []edit{
		{"observe.go", "sent := m.offer.sent", "sent := m.now.Boot"},
	}, ""},
	{"a frozen set call is not killed", []edit{
		{"sim/kernel.go", "if !finished && n.alive && n.gen == gen {", "if !finished && n.alive && n.gen == gen && false {"},
	}, ""},
	{"a leftover address is not cleared", []edit{
		{"address.go", "if e.Present {", "if false {"},
	}, ""},
	{"writes that shorten are not counted", []edit{
		{"term.go", "r = min(r, w.sent+w.rec.Hold())", "_ = w"},
		{"term.go", "if m.shortens(rec) && !m.prepareShorter(rec) {", "if false {"},
		{"term.go", "l = min(l, w.sent+kernelSpan(w.rec))", "_ = w"},
	}, ""},
	{"a write is sent while a set call is pending", []edit{
		{"term.go", "return m.addr.op != opSet && m.addr.state != unsure", "return true"},
		{"term.go", "return m.addr.state == absent || m.addr.until+KernelLateness", "return m.addr.state == absent || m.addr.op == opSet || m.addr.until+KernelLateness"},
	}, "times are changed"},
	{"the kernel's lifetime is not shortened before the record's", []edit{
		{"term.go", "if m.kernelWithin(limit) {", "if true {"},
	}, ""},
	{"news of a removal make the address absent", []edit{
		{"address.go", "a.lost, a.state, a.from = false, maybe, 0", "a.lost, a.state, a.from = false, absent, 0"},
		{"address.go", "a.state, a.from = maybe, 0\n\t\tm.fought()", "a.state, a.from = absent, 0\n\t\tm.fought()"},
	}, ""},
	{"a clear call that failed counts as cleared", []edit{
		{"address.go", "if e.OK {\n\t\ta.dirty = false", "if true {\n\t\ta.dirty = false"},
	}, ""},
	{"a failed clear call is repeated at once", []edit{
		{"address.go", "a.clearAt = m.now.Boot + clearRetry", "a.clearAt = 0"},
	}, ""},
	{"a holder does not look at the clock", []edit{
		{"term.go", "m.term != nil && m.now.Boot < m.right() &&", "m.term != nil &&"},
		{"term.go", "|| !m.reached(m.right()) {", "|| true {"},
	}, ""},
	{"a record released by force is free at once", []edit{
		{"command.go", "rec.Wait = true", "rec.Wait = false"},
	}, ""},
	{"nonsense is released without waiting for the record before it", []edit{
		{"command.go", "rec.TakeoverMS = max(rec.TakeoverMS, asked)", "_ = asked"},
	}, "chaos"},
	{"an offer may be taken up by whoever has one", []edit{
		{"observe.go", "|| s.rec.Offer != m.offer.id || s.rec.Node != m.cfg.Node {", "|| s.rec.Node != m.cfg.Node || s.rec.Offer == \"\" {"},
	}, ""},
	{"a node that leaves forgets that its offer may be used", []edit{
		{"leave.go", "m.flyingWrites() == 0 && !m.offered() && !m.relied())", "m.flyingWrites() == 0 && !m.relied())"},
	}, "handover to a node that leaves"},
	{"a term that rests on an offer is left to the next process", []edit{
		{"leave.go", "left && !m.unrenewed()", "left"},
		{"term.go", "m.restart && !m.unrenewed() && turn", "m.restart && turn"},
	}, "handover to a node that leaves"},
	{"a claim does not heed who answers for the address", []edit{
		{"claim.go", "{f.Answered, RefusedAnswered}", "{false, RefusedAnswered}"},
	}, "a cluster is made"},
	{"a node that was a member of etcd claims again", []edit{
		{"claim.go", "{f.Member && !f.Unfinished && !f.Force, RefusedMember}", "{false, RefusedMember}"},
	}, "init on a member"},
	{"a claim goes on beside another node's record", []edit{
		{"claim.go", "case m.othersRecord():\n\t\tm.endClaim(m.lostTo())", "case false:\n\t\tm.endClaim(m.lostTo())"},
		{"claim.go", "{f.Member && !f.Unfinished && !f.Force, RefusedMember}", "{false, RefusedMember}"},
	}, "init on a member"},
	{"an absent record is taken without a look at the wire", []edit{
		{"candidate.go", "m.seen.raw == \"\" && !m.claimed() && !m.nobodyAnswers()", "false && !m.nobodyAnswers()"},
	}, "a cluster is made"},
	{"a claim outlives its address", []edit{
		{"claim.go", "m.now.Boot < m.claim.until && m.now.Boot < m.claim.sure+claimGap &&", "m.now.Boot < m.claim.until &&"},
		{"claim.go", "case m.reached(c.sure + claimGap):", "case false:"},
		{"claim.go", "if !e.Present {", "if false {"},
	}, "a cluster is made"},
	{"an old look at the wire is good for a claim", []edit{
		{"claim.go", "case !renewed && m.now.Boot >= e.Looked+claimGap:", "case false:"},
		{"claim.go", "m.claim.sure = max(m.claim.sure, e.Looked)", "m.claim.sure = m.now.Boot"},
	}, "a cluster is made"},
	{"a claim is not given up when it ends", []edit{
		{"claim.go", "m.now.Boot < m.claim.until && m.now.Boot < m.claim.sure+claimGap &&", "m.claim.until != 0 && m.now.Boot < m.claim.sure+claimGap &&"},
		{"claim.go", "case m.reached(c.until):", "case false:"},
	}, "a cluster is made"},
	{"a restart leaves the setting to the next process", []edit{
		{"address.go", "if m.restart && a.state == present {", "if m.restart {\n\t\tif a.state != present {\n\t\t\treturn\n\t\t}"},
	}, "orders one upon the other"},
	{"a holder that cannot set keeps the record", []edit{
		{"leave.go", "case m.cannotSet() &&", "case false && m.cannotSet() &&"},
	}, ""},
	{"a request applied twice loses the record", []edit{
		{"term.go", "if e.Current == w.value {", "if false {"},
	}, ""},
	{"a refused renewal is no loss", []edit{
		{"term.go", "m.lose(m.lostTo())", "m.found(m.seen.raw, m.seen.rec)"},
	}, ""},
}

// TestMutantsApply tells in no time what TestMutants would after minutes.
func TestMutantsApply(t *testing.T) {
	for _, m := range slices.Concat(mutants, beatMutants) {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) { m.apply(t) })
	}
}

// TestMutants shows that the simulation has teeth: with a rule taken out, some
// schedule breaks a promise.
func TestMutants(t *testing.T) {
	if *oneSeed != 0 {
		t.Skip("not with -seed")
	}
	for _, m := range slices.Concat(mutants, beatMutants) {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			out, err := runMutant(t, m)
			if err == nil {
				t.Fatalf("survived %d schedules", *mutantSchedules)
			}
			if !strings.Contains(out, "VIOLATION") {
				t.Fatalf("did not run: %v\n%s", err, out)
			}
			t.Log(firstViolation(out))
		})
	}
	fmt.Fprintf(os.Stderr, "mutants: %d\n", len(mutants)+len(beatMutants))
}

// apply returns the file that has the compiler read the mutant's source.
func (m mutant) apply(t *testing.T) string {
	dir := t.TempDir()
	replace := map[string]string{}
	for i, e := range m.edits {
		path, err := filepath.Abs(filepath.Join("..", e.file))
		if err != nil {
			t.Fatal(err)
		}
		from := path
		if r, ok := replace[path]; ok {
			from = r
		}
		src, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(src), e.old); n != 1 {
			t.Fatalf("edit %d of this mutant matches %s %d times, want once: bring it up to date", i, e.file, n)
		}
		to := filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(to, []byte(strings.Replace(string(src), e.old, e.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[path] = to
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func runMutant(t *testing.T, m mutant) (string, error) {
	cmd := exec.Command("go", "test", "-vet=off", "-overlay", m.apply(t), ".", "-run", "TestSchedules", "-args", "-schedules", fmt.Sprint(*mutantSchedules), "-enough", "1", "-kind", m.kind)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func firstViolation(out string) string {
	for line := range strings.Lines(out) {
		if strings.Contains(line, "VIOLATION") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
