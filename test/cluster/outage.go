package cluster

import (
	"slices"
	"time"
)

// Attempt is one connection that the witness tried to open through the virtual
// address.
type Attempt struct {
	Sent time.Duration // CLOCK_MONOTONIC
	Done time.Duration // when the node's answer was there, or the attempt was given up
	Node string        // who answered; "" for a failure
	Err  string
}

// Outage is the longest span in which no client got an answer.
type Outage struct {
	From, To time.Duration // last answer before, first answer after
	Before   string        // who gave the last answer; "" if none was seen
	After    string        // who gave the first one; "" if none came
}

// Length is how long clients got no answer.
func (o Outage) Length() time.Duration { return o.To - o.From }

// FindOutage returns the longest time between two answers that lies within, or
// begins within, the span. An answer still missing at the span's end counts as
// coming there.
func FindOutage(attempts []Attempt, from, to time.Duration) Outage {
	var worst Outage
	last := Attempt{Done: from}
	for _, a := range answers(attempts) {
		if a.Done > to {
			break
		}
		// The last answer before the span is where a gap at its start begins.
		if a.Done >= from {
			if o := (Outage{last.Done, a.Done, last.Node, a.Node}); o.Length() > worst.Length() {
				worst = o
			}
		}
		last = a
	}
	if o := (Outage{last.Done, to, last.Node, ""}); o.Length() > worst.Length() {
		worst = o
	}
	return worst
}

// Noise returns the longest times between answers in a quiet span: what a
// machine of this load shows with nothing broken.
func Noise(attempts []Attempt, from, to time.Duration) (median, worst time.Duration) {
	var gaps []time.Duration
	var last time.Duration
	for _, a := range answers(attempts) {
		if a.Done < from || a.Done > to {
			continue
		}
		if last != 0 {
			gaps = append(gaps, a.Done-last)
		}
		last = a.Done
	}
	if len(gaps) == 0 {
		return 0, 0
	}
	slices.Sort(gaps)
	return gaps[len(gaps)/2], gaps[len(gaps)-1]
}

// answers returns the successful attempts in the order of their answers.
func answers(attempts []Attempt) []Attempt {
	var ok []Attempt
	for _, a := range attempts {
		if a.Node != "" {
			ok = append(ok, a)
		}
	}
	slices.SortFunc(ok, func(a, b Attempt) int { return int(a.Done - b.Done) })
	return ok
}
