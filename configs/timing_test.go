package configs

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/election"
)

const ms = time.Millisecond

func TestTiming(t *testing.T) {
	tests := []struct {
		name string
		set  Election
		etcd time.Duration
		want election.Timing
		says string // of the warnings
	}{
		{"nothing set", Election{}, 0, election.Timing{Hold: 3 * time.Second, Takeover: 4500 * ms, Renewal: 400 * ms, Retry: 200 * ms}, ""},
		{"slow etcd", Election{}, 5 * time.Second, election.Timing{Hold: 11800 * ms, Takeover: 13400 * ms, Renewal: 400 * ms, Retry: 200 * ms}, ""},
		{"quick etcd", Election{}, 50 * ms, election.Timing{Hold: time.Second, Takeover: 2500 * ms, Renewal: 400 * ms, Retry: 200 * ms},
			"election.takeover: with takeover 2.5s the VIP leaves the link whenever etcd takes more than 35ms to confirm a renewal"},
		{"hold set", Election{Hold: 6 * time.Second}, 0, election.Timing{Hold: 6 * time.Second, Takeover: 7500 * ms, Renewal: 400 * ms, Retry: 200 * ms}, ""},
		{"takeover set", Election{Takeover: 10 * time.Second}, 0, election.Timing{Hold: 3 * time.Second, Takeover: 10 * time.Second, Renewal: 400 * ms, Retry: 200 * ms}, ""},
		{"rare renewals", Election{Renewal: time.Second, Retry: 500 * ms}, 0, election.Timing{Hold: 3900 * ms, Takeover: 5400 * ms, Renewal: time.Second, Retry: 500 * ms}, ""},
		{"short hold", Election{Hold: 2 * time.Second}, 0, election.Timing{Hold: 2 * time.Second, Takeover: 3500 * ms, Renewal: 400 * ms, Retry: 200 * ms},
			"havip.toml:9: election.hold: 2s is shorter than the 3s that a leader change of etcd may take with its election timeout of 1s: every etcd leader change would move the VIP; set it to at least \"3s\", or remove it to have it derived"},
		{"both short", Election{Hold: 3 * time.Second, Takeover: 5 * time.Second}, 2 * time.Second, election.Timing{Hold: 3 * time.Second, Takeover: 5 * time.Second, Renewal: 400 * ms, Retry: 200 * ms},
			"set it to at least \"5.2s\" and takeover to at least \"6.7s\", or remove both"},
		{"slower than any record may be", Election{}, 40 * time.Second, election.Timing{Hold: 57900 * ms, Takeover: time.Minute, Renewal: 400 * ms, Retry: 200 * ms},
			"no hold above 57.9s is possible"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Default()
			c.Election = tt.set
			c.places = map[string]Place{"election.hold": {File: "havip.toml", Line: 9}}
			got, warnings, err := c.Timing(EtcdTimers{ElectionTimeout: tt.etcd})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("timing (-want +got):\n%s", diff)
			}
			checkWarnings(t, warnings, tt.says)
		})
	}
}

func checkWarnings(t *testing.T, warnings []Warning, says string) {
	t.Helper()
	var texts []string
	for _, w := range warnings {
		texts = append(texts, w.String())
	}
	text := strings.Join(texts, "\n")
	if says == "" && text != "" || !strings.Contains(text, says) {
		t.Errorf("warnings %q, want %q", text, says)
	}
}

func TestTimingWarnsOfRenewalsBelowTheHeartbeat(t *testing.T) {
	c := Default()
	_, warnings, err := c.Timing(EtcdTimers{ElectionTimeout: 5 * time.Second, Heartbeat: 500 * ms})
	if err != nil {
		t.Fatal(err)
	}
	checkWarnings(t, warnings, `election.renewal: 400ms is shorter than etcd's heartbeat interval of 500ms`)
}

func TestTimingRefuses(t *testing.T) {
	tests := []struct {
		name string
		set  Election
		etcd time.Duration
		want string
	}{
		{"takeover below what etcd asks for", Election{Takeover: 4500 * ms}, 2 * time.Second,
			`election.takeover: takeover 4.5s is too short for hold 5.2s (derived from etcd's election timeout of 2s): two nodes could have the VIP, since the kernel may remove it 1.3s late and clocks may differ by 1 %; set takeover to at least "6.7s", or hold to at most "3s"`},
		{"built by hand", Election{Hold: 70 * time.Second, Takeover: 80 * time.Second}, 0, `election: takeover 1m20s is outside 1s to 1m0s`},
		{"hold beyond every takeover", Election{Hold: 59 * time.Second, Takeover: time.Minute}, 0, `set takeover higher, or hold to at most "57.9s"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Default()
			c.Election = tt.set
			_, _, err := c.Timing(EtcdTimers{ElectionTimeout: tt.etcd})
			if err == nil {
				t.Fatal("accepted")
			}
			checkRefusal(t, err)
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error:\n%v\nwant:\n%s", err, tt.want)
			}
		})
	}
}

// Whatever is accepted is safe by the election's own rule, and whatever is
// suggested is accepted.
func TestTimingOverTheGrid(t *testing.T) {
	durations := []time.Duration{0, 1000 * ms, 1300 * ms, 2500 * ms, 3000 * ms, 4500 * ms, 9 * time.Second, 57900 * ms, time.Minute}
	for _, etcd := range []time.Duration{50 * ms, time.Second, 5 * time.Second, 50 * time.Second} {
		for _, hold := range durations {
			for _, takeover := range durations {
				c := Default()
				c.Election = Election{Hold: hold, Takeover: takeover}
				got, _, err := c.Timing(EtcdTimers{ElectionTimeout: etcd})
				if err != nil {
					checkRefusal(t, err)
					continue
				}
				if err := got.CheckSafe(); err != nil {
					t.Errorf("hold %v, takeover %v, etcd %v: accepted, but %v", hold, takeover, etcd, err)
				}
				if hold > 0 && got.Hold != hold || takeover > 0 && got.Takeover != takeover {
					t.Errorf("hold %v, takeover %v: became %+v", hold, takeover, got)
				}
			}
		}
	}
	if hold := longestHold(minTakeover); hold != minHold {
		t.Errorf("the longest hold of the shortest takeover is %v, want %v", hold, minHold)
	}
}
