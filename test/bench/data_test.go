package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDataRoundTrip(t *testing.T) {
	want := Data{
		Trials: []Trial{
			{Masters: 3, Contender: "plain", Fault: "stop", Outage: 12.5, Heal: 7, Nobody: 3, Double: 1, Wire: 2, Moves: 1, Noise: 8, Commit: 1.5, Late: 0.2, Load: "1, 2, 3", System: "Linux"},
			{Masters: 3, Contender: "plain", Fault: "api", Open: true, Etcd: 900},
		},
		Idles: []Idle{{Masters: 5, Contender: "none", Holder: 0.5, Standby: 0.2, Memory: 19, Packets: 100, Requests: 2, Writes: 0.3, Load: "0, 0, 0", System: "Linux"}},
	}
	text, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	for _, bad := range []string{"{}", "x", `{"trial":{"unknown":1}}`} {
		if _, err := Decode([]byte(bad)); err == nil {
			t.Errorf("Decode(%q) = nil error", bad)
		}
	}
}

// TestMerge: a run replaces what it measured anew, all trials of it, and nothing
// else.
func TestMerge(t *testing.T) {
	trial := func(masters int, contender, fault string, outage float64) Trial {
		return Trial{Masters: masters, Contender: contender, Fault: fault, Outage: outage}
	}
	older := Data{
		Trials: []Trial{trial(3, "a", "stop", 1), trial(3, "a", "stop", 2), trial(3, "a", "kill", 3), trial(3, "b", "stop", 4), trial(5, "a", "stop", 5)},
		Idles:  []Idle{{Masters: 3, Contender: "a", Holder: 1}, {Masters: 5, Contender: "a", Holder: 2}},
	}
	newer := Data{Trials: []Trial{trial(3, "a", "stop", 6)}, Idles: []Idle{{Masters: 5, Contender: "a", Holder: 3}}}
	want := Data{
		Trials: []Trial{trial(3, "a", "stop", 6), trial(3, "a", "kill", 3), trial(3, "b", "stop", 4), trial(5, "a", "stop", 5)},
		Idles:  []Idle{{Masters: 5, Contender: "a", Holder: 3}, {Masters: 3, Contender: "a", Holder: 1}},
	}
	if diff := cmp.Diff(want, Merge(older, newer)); diff != "" {
		t.Errorf("merged (-want +got):\n%s", diff)
	}
}
