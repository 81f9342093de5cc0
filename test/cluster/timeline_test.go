package cluster

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var (
	v4 = netip.MustParseAddr("198.51.100.166")
	v6 = netip.MustParseAddr("2001:db8::166")
)

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func event(at int, node string, what Change, addr netip.Addr) Event {
	return Event{At: ms(at), Node: node, What: what, Addr: addr, Link: 2, Valid: 2}
}

func TestJudge(t *testing.T) {
	tests := []struct {
		name     string
		events   []Event
		from, to int
		want     Judgement
	}{
		{
			name: "nobody ever",
			to:   100,
			want: Judgement{Spans: []Holding{{nil, 0, ms(100)}}, Nobody: ms(100), LongestNone: ms(100)},
		},
		{
			name: "a refresh changes nothing",
			events: []Event{
				event(10, "n1", Added, v4), event(20, "n1", Added, v4), event(30, "n1", Added, v4),
			},
			from: 15, to: 100,
			want: Judgement{Spans: []Holding{{[]string{"n1"}, ms(15), ms(100)}}},
		},
		{
			name: "planned move",
			events: []Event{
				event(10, "n1", Added, v4), event(50, "n1", Removed, v4), event(61, "n2", Added, v4),
			},
			from: 20, to: 100,
			want: Judgement{
				Spans: []Holding{
					{[]string{"n1"}, ms(20), ms(50)}, {nil, ms(50), ms(61)}, {[]string{"n2"}, ms(61), ms(100)},
				},
				Nobody: ms(11), LongestNone: ms(11),
				Moves: []Move{{From: "n1", To: "n2", Lost: ms(50), Gained: ms(61)}},
			},
		},
		{
			name: "gone and back on the same node is no move",
			events: []Event{
				event(10, "n1", Added, v4), event(50, "n1", Removed, v4), event(70, "n1", Added, v4),
			},
			from: 20, to: 100,
			want: Judgement{
				Spans: []Holding{
					{[]string{"n1"}, ms(20), ms(50)}, {nil, ms(50), ms(70)}, {[]string{"n1"}, ms(70), ms(100)},
				},
				Nobody: ms(20), LongestNone: ms(20),
			},
		},
		{
			name: "two holders",
			events: []Event{
				event(10, "n1", Added, v4), event(40, "n2", Added, v4), event(45, "n1", Removed, v4),
			},
			to: 100, from: 10,
			want: Judgement{
				Spans: []Holding{
					{[]string{"n1"}, ms(10), ms(40)}, {[]string{"n1", "n2"}, ms(40), ms(45)}, {[]string{"n2"}, ms(45), ms(100)},
				},
				Double:  ms(5),
				Doubles: []Holding{{[]string{"n1", "n2"}, ms(40), ms(45)}},
				Moves:   []Move{{From: "n1", To: "n2", Lost: ms(40), Gained: ms(40)}},
			},
		},
		{
			name: "one family here and one there are two holders",
			events: []Event{
				event(10, "n1", Added, v4), event(10, "n1", Added, v6), event(40, "n1", Removed, v4),
				event(50, "n2", Added, v4), event(60, "n1", Removed, v6),
			},
			from: 45, to: 60,
			want: Judgement{
				Spans:   []Holding{{[]string{"n1"}, ms(45), ms(50)}, {[]string{"n1", "n2"}, ms(50), ms(60)}},
				Double:  ms(10),
				Doubles: []Holding{{[]string{"n1", "n2"}, ms(50), ms(60)}},
				Moves:   []Move{{From: "n1", To: "n2", Lost: ms(50), Gained: ms(50)}},
			},
		},
		{
			name: "power cut ends a holding",
			events: []Event{
				event(10, "n1", Added, v4), {At: ms(30), Node: "n1", What: Off}, event(90, "n2", Added, v4),
			},
			from: 20, to: 100,
			want: Judgement{
				Spans: []Holding{
					{[]string{"n1"}, ms(20), ms(30)}, {nil, ms(30), ms(90)}, {[]string{"n2"}, ms(90), ms(100)},
				},
				Nobody: ms(60), LongestNone: ms(60),
				Moves: []Move{{From: "n1", To: "n2", Lost: ms(30), Gained: ms(90)}},
			},
		},
		{
			name: "seen at one instant in the wrong order is no double holding",
			events: []Event{
				event(10, "n1", Added, v4), event(50, "n2", Added, v4), event(50, "n1", Removed, v4),
			},
			from: 20, to: 100,
			want: Judgement{
				Spans: []Holding{{[]string{"n1"}, ms(20), ms(50)}, {[]string{"n2"}, ms(50), ms(100)}},
				Moves: []Move{{From: "n1", To: "n2", Lost: ms(50), Gained: ms(50)}},
			},
		},
		{
			name: "an address for ever is reported",
			events: []Event{
				{At: ms(30), Node: "n1", What: Added, Addr: v4, Link: 2, Valid: Forever},
			},
			from: 20, to: 40,
			want: Judgement{
				Spans:  []Holding{{nil, ms(20), ms(30)}, {[]string{"n1"}, ms(30), ms(40)}},
				Nobody: ms(10), LongestNone: ms(10),
				Permanent: []Event{{At: ms(30), Node: "n1", What: Added, Addr: v4, Link: 2, Valid: Forever}},
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Judge(tt.events, ms(tt.from), ms(tt.to))
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("Judge (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTwoOfOneAddress: a node has an address as long as it has it with any prefix
// length.
func TestTwoOfOneAddress(t *testing.T) {
	h := holders{}
	for _, bits := range []int{24, 32} {
		h.apply(Event{Node: "n1", What: Added, Addr: v4, Bits: bits})
	}
	for i, want := range []int{1, 0} {
		h.apply(Event{Node: "n1", What: Removed, Addr: v4, Bits: 24 + 8*i})
		if got := len(h.names()); got != want {
			t.Errorf("after %d of 2 went there are %d holders, want %d", i+1, got, want)
		}
	}
}

func TestHasAll(t *testing.T) {
	h := holders{}
	h.apply(event(1, "n1", Added, v4))
	if h.hasAll("n1", []netip.Addr{v4, v6}) {
		t.Error("hasAll with one of two addresses = true, want false")
	}
	h.apply(event(2, "n1", Added, v6))
	if !h.hasAll("n1", []netip.Addr{v4, v6}) {
		t.Error("hasAll with both addresses = false, want true")
	}
}
