package metrics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"havip/test/cluster"
)

// What is shipped for those who monitor.
const (
	rules     = "../../packaging/monitoring/havip.rules.yml"
	rulesTest = "../../packaging/monitoring/havip.rules.test.yml"
	dashboard = "../../packaging/monitoring/havip.dashboard.json"
)

// promtool runs it; `make promtool` takes it out of Debian's package.
func promtool(t *testing.T, stdin []byte, args ...string) {
	t.Helper()
	path, err := cluster.Tool("promtool")
	if err != nil {
		t.Fatalf("%v: run make promtool", err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "FAILED") {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPromtool(t *testing.T) {
	promtool(t, nil, "check", "rules", rules)
	promtool(t, nil, "test", "rules", rulesTest)
	m := New("n1", "198.51.100.166")
	m.Transition("holder", "n2 stopped renewing")
	var b bytes.Buffer
	if err := m.Write(&b, Snapshot{LoopAge: time.Second, Document: holding()}); err != nil {
		t.Fatal(err)
	}
	promtool(t, b.Bytes(), "check", "metrics")
}

var alert = regexp.MustCompile(`alert: (\w+)`)

// TestEveryAlertIsTested: one that fires, and one that does not.
func TestEveryAlertIsTested(t *testing.T) {
	tests := read(t, rulesTest)
	alerts := alert.FindAllStringSubmatch(read(t, rules), -1)
	if len(alerts) < 8 {
		t.Fatalf("only %d alerts", len(alerts))
	}
	for _, a := range alerts {
		if !regexp.MustCompile(`alertname: ` + a[1] + `\}`).MatchString(tests) {
			t.Errorf("%s: no test that it stays quiet", a[1])
		}
		if !regexp.MustCompile(`alertname: ` + a[1] + `\n +exp_alerts:\n +- exp_labels`).MatchString(tests) {
			t.Errorf("%s: no test that it fires", a[1])
		}
	}
}

var named = regexp.MustCompile(`\b(havip|process|go)_[a-z0-9_]+`)

// TestNamesExist: whoever asks for a metric that is not there sees nothing, for ever.
func TestNamesExist(t *testing.T) {
	families := full(t)
	var known []string
	for name, f := range families {
		known = append(known, name)
		if f.GetMetric()[0].GetHistogram() != nil {
			known = append(known, name+"_bucket", name+"_sum", name+"_count")
		}
	}
	for _, path := range []string{rules, rulesTest, dashboard, docs} {
		names := named.FindAllString(read(t, path), -1)
		if len(names) == 0 {
			t.Errorf("%s names no metric", path)
		}
		for _, name := range names {
			if !slices.Contains(known, name) {
				t.Errorf("%s: there is no metric %s", path, name)
			}
		}
	}
}

type target struct {
	Expr  string `json:"expr"`
	RefID string `json:"refId"`
}

type panel struct {
	ID         int             `json:"id"`
	Title      string          `json:"title"`
	Datasource json.RawMessage `json:"datasource"`
	Targets    []target        `json:"targets"`
	GridPos    struct{ X, Y, W, H int }
}

// TestDashboard: every panel asks something that Prometheus understands, of the
// data source and the VIP that were chosen, and covers no other.
func TestDashboard(t *testing.T) {
	var d struct{ Panels []panel }
	if err := json.Unmarshal([]byte(read(t, dashboard)), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Panels) < 10 {
		t.Fatalf("only %d panels", len(d.Panels))
	}
	var asked strings.Builder
	asked.WriteString("groups: [{name: dashboard, rules: [\n")
	for i, p := range d.Panels {
		if p.ID != i+1 || p.Title == "" || len(p.Targets) == 0 || !strings.Contains(string(p.Datasource), "${datasource}") {
			t.Errorf("panel %d is incomplete: %+v", i+1, p)
		}
		for _, q := range d.Panels[:i] {
			a, b := p.GridPos, q.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%q covers %q", p.Title, q.Title)
			}
		}
		for _, target := range p.Targets {
			if strings.Contains(target.Expr, "havip_") && !strings.Contains(target.Expr, `vip=~"$vip"`) {
				t.Errorf("%q does not heed the VIP that was chosen: %s", p.Title, target.Expr)
			}
			expr := strings.NewReplacer("$__rate_interval", "1m", "$__range", "6h").Replace(target.Expr)
			fmt.Fprintf(&asked, "{record: panel%d:%s, expr: %q},\n", p.ID, target.RefID, expr)
		}
	}
	asked.WriteString("]}]\n")
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, []byte(asked.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, nil, "check", "rules", file)
}
