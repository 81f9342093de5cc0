package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/test/cluster"
)

func TestComplaints(t *testing.T) {
	one := []cluster.Move{{From: "n1", To: "n2"}}
	two := cluster.Holding{Nodes: []string{"n1", "n2"}, To: 5 * time.Millisecond}
	tests := []struct {
		name   string
		j      cluster.Judgement
		doubts []string
		want   []string
	}{
		{"as promised", cluster.Judgement{Moves: one}, nil, nil},
		{
			"two holders", cluster.Judgement{Moves: one, Double: two.To, Doubles: []cluster.Holding{two}}, nil,
			[]string{"two nodes had the address at once for 5ms: [n1 and n2 for 5ms]"},
		},
		{"no move", cluster.Judgement{}, nil, []string{"the address moved 0 times, not once: "}},
		{
			"for ever, and unsure", cluster.Judgement{Moves: one, Permanent: []cluster.Event{{Node: "n2"}}},
			[]string{"n1: missed that it went"},
			[]string{"n2 had the address without a lifetime", "the observer missed something: n1: missed that it went"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, complaints(tt.j, tt.doubts)); diff != "" {
				t.Errorf("complaints (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSpans(t *testing.T) {
	at := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	got := spans([]cluster.Holding{
		{Nodes: []string{"n1"}, From: 0, To: at(2)},
		{From: at(2), To: at(4302)},
		{Nodes: []string{"n2"}, From: at(4302), To: at(5000)},
	})
	want := "n1 had it for 2ms, nobody for 4.3s, n2 had it since then"
	if got != want {
		t.Errorf("spans = %q, want %q", got, want)
	}
	if got := spans([]cluster.Holding{{From: 0, To: at(7)}}); got != "nobody for 7ms" {
		t.Errorf("spans of nobody = %q", got)
	}
}

func TestMoved(t *testing.T) {
	at := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	j := cluster.Judgement{
		Spans: []cluster.Holding{{From: 0, To: at(7)}},
		Moves: []cluster.Move{{From: "n1", To: "n2", Lost: at(103), Gained: at(4303)}},
	}
	if got, want := moved(j, at(100)), "n1 lost the address after 3ms, n2 got it 4.2s later"; got != want {
		t.Errorf("moved = %q, want %q", got, want)
	}
	j.Moves = nil
	if got, want := moved(j, 0), "nobody for 7ms"; got != want {
		t.Errorf("moved without a move = %q, want %q", got, want)
	}
}

func TestVerdict(t *testing.T) {
	var out bytes.Buffer
	s := &story{out: &out}
	if code := s.verdict(); code != 0 || !strings.Contains(out.String(), "as promised") {
		t.Errorf("verdict = %d, %q, want 0", code, out.String())
	}
	out.Reset()
	s.breaks("it moved %d times", 2)
	if code := s.verdict(); code != 1 || !strings.Contains(out.String(), "NOT as promised:\n  - it moved 2 times\n") {
		t.Errorf("verdict = %d, %q, want 1 and why", code, out.String())
	}
}
