package main

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sample has something of everything that the report shows.
var sample = Data{
	Trials: []Trial{
		{Masters: 3, Contender: "havip-fast", Fault: "crash", Outage: 200, Nobody: 185, Heal: 9, Moves: 1, Noise: 8, Commit: 2, Load: "0.50, 1, 1", System: "Linux 1", Late: 0.5},
		{Masters: 3, Contender: "havip-fast", Fault: "crash", Outage: 220, Nobody: 195, Heal: 12, Moves: 1, Noise: 10, Commit: 2, Load: "1.50, 1, 1", System: "Linux 1", Late: 0.7},
		{Masters: 3, Contender: tuned, Fault: "crash", Outage: 300, Heal: 400, Moves: 2, Noise: 8, Double: 4.5, Wire: 5, Commit: 4, Load: "2.50, 1, 1", System: "Linux 2", Late: 3},
		{Masters: 3, Contender: tuned, Fault: "standbys", Outage: 11, Noise: 9},
		{Masters: 3, Contender: "plain", Fault: "api", Outage: 45000, Open: true, Noise: 8},
		{Masters: 3, Contender: "plain", Fault: "standbys", Outage: 10, Noise: 9},
		{Masters: 3, Contender: "plain", Fault: "crash-leader", Outage: 7500, Etcd: 1300},
		{Masters: 5, Contender: "havip-fast", Fault: "crash", Outage: 210},
	},
	Idles: []Idle{
		{Masters: 5, Contender: "havip-fast", Holder: 0.5, Standby: 0.25, Memory: 19.5, Packets: 120, Requests: 3, Writes: 0.25},
		{Masters: 5, Contender: none, Packets: 80},
	},
}

func TestReport(t *testing.T) {
	got := Report(sample)
	for _, want := range []string{
		"- measured on: Linux 1\n", "- measured on: Linux 2\n",
		"plain election, TTL 5 s, node crash with the etcd leader: etcd confirmed a write again after 1300 / 1300 ms, clients had an answer 6200 / 6200 ms later",
		"late by at most 0 ms (median of the trials), 3.0 ms (the worst)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("report lacks %q:\n%s", want, got)
		}
	}
	var lines []string
	for line := range strings.Lines(got) {
		if strings.HasPrefix(line, "| ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	want := []string{
		"| fault | contender | trials | clients | ratio | nobody | healed | two, kernel | two, wire | moves | noise |",
		"| node crash, etcd leader elsewhere | havip fast | 2 | 210 / 220 / 220 | 0.70 | 190 / 195 | 11 / 12 | 0 | 0 | 1 | 9.0 |",
		"| node crash, etcd leader elsewhere | keepalived tuned | 1 | 300 / 300 / 300 | 1.00 | 0 / 0 | 400 / 400 | 4.5 | 5.0 | 2 | 8.0 |",
		"| node crash with the etcd leader on it | plain election, TTL 5 s | 1 | 7500 / 7500 / 7500 | - | 0 / 0 | 0 / 0 | 0 | 0 | 0 | 0 |",
		"| API server dead | plain election, TTL 5 s | 1 | > 45000 / 45000 / 45000 (1 never) | - | 0 / 0 | 0 / 0 | 0 | 0 | 0 | 8.0 |",
		"| each standby's daemon restarted | keepalived tuned | 1 | 11 / 11 / 11 | - | 0 / 0 | 0 / 0 | 0 | 0 | 0 | 9.0 |",
		"| each standby's daemon restarted | plain election, TTL 5 s | 1 | 10 / 10 / 10 | - | 0 / 0 | 0 / 0 | 0 | 0 | 0 | 9.0 |",
		"| masters | contender | holder, % | other, % | MiB | packets/s | requests/s | writes/s | crash |",
		"| 5 | etcd alone | 0.00 | 0.00 | 0.0 | 80.0 | 0.0 | 0.00 | - |",
		"| 5 | havip fast | 0.50 | 0.25 | 19.5 | 120.0 | 3.0 | 0.25 | 210 / 210 |",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}
}

func TestQuantile(t *testing.T) {
	ten := []float64{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}
	for _, tt := range []struct {
		values []float64
		part   float64
		want   float64
	}{{ten, 0.9, 9}, {ten, 1, 10}, {ten, 0.91, 10}, {ten, 0, 1}, {[]float64{7}, 0.9, 7}} {
		if got := quantile(tt.values, tt.part); got != tt.want {
			t.Errorf("quantile(%v, %v) = %v, want %v", tt.values, tt.part, got, tt.want)
		}
	}
}

// TestDraw finds the dots where the values are, in the colours of who they are of.
func TestDraw(t *testing.T) {
	text, err := Draw(sample.Trials)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	// havip fast is the first lane of the first panel there is.
	lane := plotTop + laneHeight/2
	for x, dotted := range map[int]bool{at(200): true, at(220): true, at(300): false, at(1000): false} {
		if got := colourful(picture, x, lane); got != dotted {
			t.Errorf("something drawn at %d, %d: %v, want %v", x, lane, got, dotted)
		}
	}
	if !colourful(picture, at(300), lane+laneHeight) {
		t.Error("nothing drawn for keepalived")
	}
	if _, height := layout(nil); height >= picture.Bounds().Dy() {
		t.Errorf("a picture of nothing is %d high, one of something %d", height, picture.Bounds().Dy())
	}
}

// colourful reports whether something else than ground and grid is there.
func colourful(i image.Image, x, y int) bool {
	c := color.NRGBAModel.Convert(i.At(x, y)).(color.NRGBA)
	return max(c.R, c.G, c.B)-min(c.R, c.G, c.B) > 20
}

func TestAxis(t *testing.T) {
	if at(0) != plotLeft || at(1e9) != plotRight {
		t.Errorf("ends: %d, %d", at(0), at(1e9))
	}
	if a, b, c := at(10), at(100), at(1000); a >= b || max(b-a, c-b)-min(b-a, c-b) > 1 {
		t.Errorf("10, 100 and 1000 ms at %d, %d, %d: not logarithmic", a, b, c)
	}
}

func TestHuesForAll(t *testing.T) {
	if len(hues) != len(contenders) {
		t.Errorf("%d colours for %d contenders", len(hues), len(contenders))
	}
}

func TestFirstConfirmed(t *testing.T) {
	all := []commit{{sent: 90, confirmed: 130}, {sent: 120, confirmed: 190}, {sent: 110, confirmed: 200}}
	if got := firstConfirmed(all, 100); got != 90 {
		t.Errorf("first confirmed after %v, want 90: one sent before does not count", got)
	}
	if got := firstConfirmed(all, 130); got != 0 {
		t.Errorf("first confirmed after %v, want none", got)
	}
}

func TestEndedChildren(t *testing.T) {
	const stat = "7 (a (b) c) S 1 7 7 0 -1 0 1 2 3 4 5 6 70 30 20 0 1"
	if got, err := endedChildren(stat); err != nil || got != time.Second {
		t.Errorf("endedChildren = %v, %v, want 1s", got, err)
	}
	for _, bad := range []string{"", "7 (x) S 1", strings.Replace(stat, "70", "x", 1)} {
		if _, err := endedChildren(bad); err == nil {
			t.Errorf("endedChildren(%q) = nil error", bad)
		}
	}
}

// TestPriorities: of keepalived tuned they are all different, for however many.
func TestPriorities(t *testing.T) {
	for _, masters := range []int{3, 5, 7} {
		seen := map[string]bool{}
		for n := range masters {
			_, rest, _ := strings.Cut(tunedConfig("check", n, masters), "priority ")
			priority, _, _ := strings.Cut(rest, "\n")
			seen[priority] = true
		}
		if len(seen) != masters || !seen["200"] || !seen["100"] || masters == 3 && !seen["150"] {
			t.Errorf("priorities of %d: %v", masters, seen)
		}
	}
}

func TestKept(t *testing.T) {
	promises, none := contender{alone: true}, contender{}
	for _, tt := range []struct {
		who  contender
		wire float64
		kept bool
	}{{promises, 0, true}, {promises, 5, false}, {none, 5, true}} {
		if err := kept(tt.who, Trial{Wire: tt.wire, Double: 3000}); (err == nil) != tt.kept {
			t.Errorf("promised %v, two on the wire for %v: %v", tt.who.alone, tt.wire, err)
		}
	}
}

func TestNamesOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range faults {
		seen["fault "+f.name], seen["title "+f.title] = true, true
	}
	for _, c := range append(contenders, nobody) {
		seen["contender "+c.name], seen["called "+c.title] = true, true
	}
	if want := 2 * (len(faults) + len(contenders) + 1); len(seen) != want {
		t.Errorf("%d different names and titles, want %d: %v", len(seen), want, fmt.Sprint(seen))
	}
}

// TestWrongMode: havip is only calm once its record is in the mode asked for.
func TestWrongMode(t *testing.T) {
	for _, tt := range []struct {
		keys map[string]string
		calm bool
	}{
		{map[string]string{"/havip/v1/x/nodes/n1": "{}", "/havip/v1/x/record": `{"mode":"heartbeat"}`}, true},
		{map[string]string{"/havip/v1/x/record": `{"mode":"plain"}`}, false},
		{map[string]string{"/havip/v1/x/record": "x"}, false},
		{map[string]string{"/havip/v1/x/nodes/n1": `{"mode":"heartbeat"}`}, false},
	} {
		var y youth
		if why := y.wrongMode(tt.keys, "heartbeat", time.Now()); (why == "") != tt.calm {
			t.Errorf("wrongMode(%v) = %q, want calm: %v", tt.keys, why, tt.calm)
		}
	}
	young := map[string]string{"/record": `{"mode":"heartbeat","epoch":{"id":"a","first_promise_ms":4500}}`}
	var y youth
	now := time.Now()
	if y.wrongMode(young, "heartbeat", now) == "" {
		t.Error("calm with an epoch that was just begun")
	}
	if why := y.wrongMode(young, "heartbeat", now.Add(4500*time.Millisecond)); why != "" {
		t.Errorf("not calm after the epoch's first seconds: %s", why)
	}
}
