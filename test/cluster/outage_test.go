package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func answer(at int, node string) Attempt { return Attempt{Sent: ms(at - 1), Done: ms(at), Node: node} }

func TestFindOutage(t *testing.T) {
	tests := []struct {
		name     string
		attempts []Attempt
		from, to int
		want     Outage
	}{
		{
			name: "no answer at all", from: 10, to: 50,
			want: Outage{From: ms(10), To: ms(50)},
		},
		{
			name:     "the longest gap counts",
			attempts: []Attempt{answer(10, "n1"), answer(15, "n1"), answer(40, "n2"), answer(45, "n2"), answer(60, "n2")},
			from:     12, to: 62,
			want: Outage{From: ms(15), To: ms(40), Before: "n1", After: "n2"},
		},
		{
			name:     "failures are no answers and order is that of the answers",
			attempts: []Attempt{answer(40, "n2"), {Sent: ms(20), Done: ms(30), Err: "timeout"}, answer(10, "n1")},
			from:     5, to: 41,
			want: Outage{From: ms(10), To: ms(40), Before: "n1", After: "n2"},
		},
		{
			name:     "a gap that began before the span",
			attempts: []Attempt{answer(10, "n1"), answer(90, "n2")},
			from:     50, to: 95,
			want: Outage{From: ms(10), To: ms(90), Before: "n1", After: "n2"},
		},
		{
			name:     "not over yet",
			attempts: []Attempt{answer(10, "n1"), answer(12, "n1"), answer(99, "n2")},
			from:     9, to: 60,
			want: Outage{From: ms(12), To: ms(60), Before: "n1"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := FindOutage(tt.attempts, ms(tt.from), ms(tt.to))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("FindOutage (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoise(t *testing.T) {
	attempts := []Attempt{answer(10, "n1"), answer(15, "n1"), answer(22, "n1"), answer(27, "n1"), answer(400, "n1")}
	median, worst := Noise(attempts, ms(5), ms(100))
	if median != ms(5) || worst != ms(7) {
		t.Errorf("Noise = %v, %v, want 5ms, 7ms", median, worst)
	}
	if median, worst = Noise(nil, 0, ms(100)); median != 0 || worst != 0 {
		t.Errorf("Noise of nothing = %v, %v, want 0, 0", median, worst)
	}
}
