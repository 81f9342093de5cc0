package faults

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWriteReport(t *testing.T) {
	rows := []Row{
		{"node crash", "moves", []Run{
			{Outage: 4200 * time.Millisecond, Nobody: 4100 * time.Millisecond, Moves: 1},
			{Outage: 4600 * time.Millisecond, Nobody: 4300 * time.Millisecond, Moves: 1},
			{Outage: 4000 * time.Millisecond, Nobody: 3900 * time.Millisecond, Moves: 2},
		}},
		{"API servers hang", "stays", []Run{{Outage: time.Minute, Unserved: true}}},
		{"deleted by hand", "back", []Run{{Outage: 12 * time.Millisecond, Nobody: 2345 * time.Microsecond}, {Double: 1500 * time.Microsecond}}},
		{"never run", "", nil},
	}
	var b strings.Builder
	err := WriteReport(&b, rows, Facts{System: "Linux", Noise: "quiet", Late: 800 * time.Microsecond, Idle: []string{"0.2 % of a core"}})
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(b.String(), "|---|---|---|---|---|---|---|\n")
	want := `| node crash | moves | 3 | 4000 / 4200 / 4600 | 3900 / 4100 / 4300 | 0 | 1, 2 |
| API servers hang | stays | 1 | no API server answers | 0 / 0 / 0 | 0 | 0 |
| deleted by hand | back | 2 | 0 / 6.0 / 12 | 0 / 1.2 / 2.3 | 1.5 | 0 |
| never run |  | 0 | - | - | 0 |  |
`
	if diff := cmp.Diff(want, table); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	for _, fact := range []string{"on: Linux\n", "broken: quiet\n", "less than 0.8 ", "- 0.2 % of a core\n"} {
		if !strings.Contains(b.String(), fact) {
			t.Errorf("report lacks %q:\n%s", fact, b.String())
		}
	}
}
