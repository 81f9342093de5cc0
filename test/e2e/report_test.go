package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWriteReport(t *testing.T) {
	var rows []*Row
	rows = Note(rows, "crash", Figure{"reads", 4 * time.Second}, Figure{"two", 0})
	rows = Note(rows, "reboot", Figure{"reads", 20 * time.Millisecond})
	rows = Note(rows, "crash", Figure{"reads", 5 * time.Second}, Figure{"two", 0})
	var b strings.Builder
	if err := WriteReport(&b, "v1.34.4", Facts{System: "Linux", Load: "1.0, 2.0, 3.0", Late: 800 * time.Microsecond}, rows); err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(b.String(), "|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	want := `| crash | 2 | reads 4000 / 4500 / 5000; two 0 / 0 / 0 |
| reboot | 1 | reads 20 / 20 / 20 |`
	if diff := cmp.Diff(want, table); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	for _, fact := range []string{"of Kubernetes v1.34.4", "on: Linux\n", "end: 1.0, 2.0, 3.0;", "less than 0.8 ms"} {
		if !strings.Contains(b.String(), fact) {
			t.Errorf("report lacks %q:\n%s", fact, b.String())
		}
	}
}
