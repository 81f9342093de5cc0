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
	before := "of Kubernetes v1.34.4,\n" + tableHead + "| cold start | 3 | 9.0 | held 1 / 2 / 3 |\n| reboot | 7 | 9.0 | reads 1 / 2 / 3 |\n\nmore\n| no | 1 | 2 | 3 |\n"
	if err := WriteReport(&b, "v1.34.4", Facts{System: "Linux", Load: "1.0", Late: 800 * time.Microsecond}, rows, before); err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(b.String(), tableHead)
	table, _, _ = strings.Cut(table, "\n\n")
	want := `| cold start | 3 | 9.0 | held 1 / 2 / 3 |
| reboot | 1 | 1.0 | reads 20 / 20 / 20 |
| crash | 2 | 1.0 | reads 4000 / 4500 / 5000; two 0 / 0 / 0 |`
	if diff := cmp.Diff(want, table); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	for _, fact := range []string{"of Kubernetes v1.34.4", "on: Linux\n", "less than 0.8 ms"} {
		if !strings.Contains(b.String(), fact) {
			t.Errorf("report lacks %q:\n%s", fact, b.String())
		}
	}
}

func TestReportOfAnotherVersionKeepsNothing(t *testing.T) {
	var b strings.Builder
	if err := WriteReport(&b, "v1.35.0", Facts{}, nil, "of Kubernetes v1.34.4,\n"+tableHead+"| cold start | 3 | 9.0 | held 1 / 2 / 3 |\n"); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "cold start") {
		t.Errorf("a line of 1.34.4 in the report of 1.35.0:\n%s", b.String())
	}
}
