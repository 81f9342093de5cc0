package faults

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"havip/test/measure"
)

// Run is what one fault did once.
type Run struct {
	Outage time.Duration // the longest that clients got no answer
	Nobody time.Duration // the longest that no node had the address, or answered for it
	Double time.Duration // how long more than one node had it, or answered, in all
	Moves  int
	// Unserved: no API server answers during the fault, whoever has the
	// address, so the outage says nothing about havip.
	Unserved bool
}

// Row is one fault of the report.
type Row struct {
	Fault   string
	Promise string // what must hold, in a few words
	Runs    []Run
}

// Facts is what the report says beside the table: what it was measured on and
// with.
type Facts struct {
	System string // kernel, processors, etcd
	Noise  string // what clients see with nothing broken
	Late   time.Duration
	Idle   []string // one measurement a line
}

// WriteReport writes the report as markdown.
func WriteReport(w io.Writer, rows []Row, facts Facts) error {
	var b strings.Builder
	b.WriteString("# What each fault costs\n\n")
	b.WriteString("Written by `sudo make faults`. Three masters as network namespaces on a bridge, each with a real etcd\n")
	b.WriteString("member at its default timers (data in memory), a stand-in API server and havipd with its default timers.\n\n")
	fmt.Fprintf(&b, "- measured on: %s\n", facts.System)
	fmt.Fprintf(&b, "- with nothing broken: %s\n", facts.Noise)
	fmt.Fprintf(&b, "- two holders for less than %s could have gone unseen (lateness of the observer)\n", measure.Millis(facts.Late))
	b.WriteString("- an IPv6 address can be there before its kernel tells of it: up to 14 ms on Linux 6.18, in about 4 of 10 additions\n")
	for _, line := range facts.Idle {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	b.WriteString("\n\"Clients\" is the longest span in which a client that connects through the virtual address every 5 ms got no\n")
	b.WriteString("answer; \"nobody\" is the longest span in which no node had the address, from the kernels' own notifications;\n")
	b.WriteString("\"two\" is the longest that two nodes had it at once in any run. With heartbeats both are about who answers for\n")
	b.WriteString("it on the wire, asked every 5 ms. Milliseconds, min / median / max.\n\n")
	b.WriteString("| fault | what must hold | runs | clients | nobody | two | moves |\n|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		b.WriteString(r.markdown())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r Row) markdown() string {
	outage := "no API server answers"
	if !slices.ContainsFunc(r.Runs, func(run Run) bool { return run.Unserved }) {
		outage = measure.Spread(each(r.Runs, func(run Run) time.Duration { return run.Outage }))
	}
	var double time.Duration
	for _, run := range r.Runs {
		double = max(double, run.Double)
	}
	return fmt.Sprintf("| %s | %s | %d | %s | %s | %s | %s |\n", r.Fault, r.Promise, len(r.Runs), outage,
		measure.Spread(each(r.Runs, func(run Run) time.Duration { return run.Nobody })), measure.Millis(double),
		measure.Numbers(each(r.Runs, func(run Run) int { return run.Moves })))
}

func each[T any](runs []Run, of func(Run) T) (all []T) {
	for _, r := range runs {
		all = append(all, of(r))
	}
	return all
}
