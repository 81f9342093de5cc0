package cluster

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Change says what happened to an address, or to a whole node.
type Change string

// The changes a timeline is made of.
const (
	Added   Change = "added"   // the kernel has the address, or was told a new lifetime for it
	Removed Change = "removed" // the kernel no longer has it
	Off     Change = "off"     // the node is cut from power: it holds nothing from here on
)

// Event is one entry of a timeline.
type Event struct {
	At   time.Duration // CLOCK_MONOTONIC
	Node string
	What Change
	Addr netip.Addr
	Bits int // prefix length: two that differ in it are two addresses to the kernel
	Link int
	// Valid is the lifetime that the kernel was given, in seconds; Forever
	// when it has none.
	Valid uint32
}

// Forever is the lifetime of an address that the kernel will not remove.
const Forever = 1<<32 - 1

// Holding is a time span in which the same nodes had a virtual address on an
// interface.
type Holding struct {
	Nodes    []string // sorted; empty: nobody
	From, To time.Duration
}

// Length is how long it lasted.
func (h Holding) Length() time.Duration { return h.To - h.From }

func (h Holding) String() string {
	who := "nobody"
	if len(h.Nodes) > 0 {
		who = strings.Join(h.Nodes, " and ")
	}
	return fmt.Sprintf("%s for %v", who, h.Length().Round(100*time.Microsecond))
}

// Move is a change of holder: From had it until Lost, To has it since Gained.
type Move struct {
	From, To     string
	Lost, Gained time.Duration
}

// Judgement is what a timeline says about one span of time.
type Judgement struct {
	Spans       []Holding // who held it, without gaps, from beginning to end
	Double      time.Duration
	Doubles     []Holding
	Nobody      time.Duration
	Moves       []Move
	Permanent   []Event // additions without a lifetime: the kernel would never remove those
	LongestNone time.Duration
}

// Judge reads the timeline between two moments. events must be in order of
// time; what happened before from decides who holds at its start. A node holds
// the virtual address while it has any of the addresses on any link, so two
// nodes with one address each (IPv4 here, IPv6 there) count as two holders.
func Judge(events []Event, from, to time.Duration) Judgement {
	var j Judgement
	nodes := holders{}
	last := from
	for _, e := range events {
		if e.At > to {
			break
		}
		if e.At > from {
			j.add(nodes.names(), last, e.At)
			last = e.At
			if e.What == Added && e.Valid == Forever {
				j.Permanent = append(j.Permanent, e)
			}
		}
		nodes.apply(e)
	}
	j.add(nodes.names(), last, to)
	j.sum()
	return j
}

// add appends a span, or makes the last one longer when the holders are the
// same. Spans of no length are kept out: the order of two events that the
// sampler saw at one instant means nothing.
func (j *Judgement) add(nodes []string, from, to time.Duration) {
	if to <= from {
		return
	}
	if n := len(j.Spans); n > 0 && slices.Equal(j.Spans[n-1].Nodes, nodes) {
		j.Spans[n-1].To = to
		return
	}
	j.Spans = append(j.Spans, Holding{Nodes: nodes, From: from, To: to})
}

func (j *Judgement) sum() {
	var holder *Holding
	for i := range j.Spans {
		s := &j.Spans[i]
		switch len(s.Nodes) {
		case 0:
			j.Nobody += s.Length()
			j.LongestNone = max(j.LongestNone, s.Length())
			continue
		case 1:
		default:
			j.Double += s.Length()
			j.Doubles = append(j.Doubles, *s)
		}
		if holder != nil {
			j.moved(*holder, *s)
		}
		holder = s
	}
}

// moved records one move for every node that holds now and did not before.
func (j *Judgement) moved(before, after Holding) {
	for _, n := range after.Nodes {
		if !slices.Contains(before.Nodes, n) {
			j.Moves = append(j.Moves, Move{From: before.Nodes[0], To: n, Lost: before.To, Gained: after.From})
		}
	}
}

// holders counts, per node, which address sits on which link.
type holders map[string]map[place]bool

type place struct {
	link int
	addr netip.Addr
	bits int
}

func (e Event) place() place { return place{e.Link, e.Addr, e.Bits} }

func (h holders) apply(e Event) {
	switch e.What {
	case Added:
		if h[e.Node] == nil {
			h[e.Node] = map[place]bool{}
		}
		h[e.Node][e.place()] = true
	case Removed:
		delete(h[e.Node], e.place())
	case Off:
		delete(h, e.Node)
	}
}

func (h holders) names() []string {
	var names []string
	for n, places := range h {
		if len(places) > 0 {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names
}

// hasAll reports whether the node has every one of the addresses.
func (h holders) hasAll(node string, addrs []netip.Addr) bool {
	for _, a := range addrs {
		found := false
		for p := range h[node] {
			found = found || p.addr == a
		}
		if !found {
			return false
		}
	}
	return true
}

// sortEvents puts events into order of time and keeps the order of those that
// happened at one instant.
func sortEvents(events []Event) {
	slices.SortStableFunc(events, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
}
