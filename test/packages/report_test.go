package packages

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWriteReport(t *testing.T) {
	rows := []Row{
		{"restart", "stays", []Run{
			{Outage: 12 * time.Millisecond}, {Outage: 10 * time.Millisecond}, {Outage: 15 * time.Millisecond, Lost: 1},
		}},
		{"reboot", "moves", []Run{{Outage: 25 * time.Millisecond, Lost: 3, Nobody: 5600 * time.Microsecond, Double: 1500 * time.Microsecond, Moves: 1}}},
		{"never run", "", nil},
	}
	var b strings.Builder
	err := WriteReport(&b, rows, Facts{
		System: "Linux", Load: "1.0, 2.0, 3.0", Noise: "quiet", Late: 800 * time.Microsecond,
		Ready: map[string][]time.Duration{"at boot": {40 * time.Millisecond, 30 * time.Millisecond}}, Security: 1.8,
		Sizes: map[string]int64{"havip.deb": 3 << 20, "/usr/sbin/havipd": 12*1<<20 + 1<<19},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(b.String(), "|---|---|---|---|---|---|---|---|\n")
	want := `| restart | stays | 3 | 10 / 12 / 15 | 0 / 0 / 1 | 0 / 0 / 0 | 0 | 0 |
| reboot | moves | 1 | 25 / 25 / 25 | 3 / 3 / 3 | 5.6 / 5.6 / 5.6 | 1.5 | 1 |
| never run |  | 0 | - | - | - | 0 |  |
`
	if diff := cmp.Diff(want, table); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	for _, fact := range []string{"on: Linux\n", "end: 1.0, 2.0, 3.0\n", "happens: quiet\n", "less than 0.8 ms", "start, at boot, until systemd heard READY: 30 / 35 / 40 ms (2 starts", "security havipd`: 1.8\n", "- size of /usr/sbin/havipd: 12.5 MiB\n- size of havip.deb: 3.0 MiB\n"} {
		if !strings.Contains(b.String(), fact) {
			t.Errorf("report lacks %q:\n%s", fact, b.String())
		}
	}
}
