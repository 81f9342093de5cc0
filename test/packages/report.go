package packages

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"havip/test/measure"
)

// Run is what one case did once.
type Run struct {
	Outage time.Duration // the longest that clients got no answer
	Lost   int           // connections that failed
	Nobody time.Duration // the longest that no node had the address
	Double time.Duration // how long more than one node had it, in all
	Moves  int
}

// Row is one case of the report.
type Row struct {
	Case    string
	Promise string // what must hold, in a few words
	Runs    []Run
}

// Facts is what the report says beside the table.
type Facts struct {
	System string // kernel, processors
	Load   string // how busy the machine was at the end
	Noise  string // what clients see while nothing happens
	Late   time.Duration
	Ready  map[string][]time.Duration // from the daemon's start until systemd heard READY, by occasion
	// Security is what systemd-analyze says of the unit, from 0 (best) to 10.
	Security float64
	Sizes    map[string]int64 // of files, by name
}

// WriteReport writes the report as markdown.
func WriteReport(w io.Writer, rows []Row, facts Facts) error {
	var b strings.Builder
	b.WriteString("# What install, upgrade and reboot cost\n\n")
	b.WriteString("Written by `sudo make package-report`. Three masters that boot Debian 12 with systemd, the package installed\n")
	b.WriteString("by apt, real etcd members at their default timers (data in memory), stand-ins for kubelet, container runtime\n")
	b.WriteString("and API server.\n\n")
	fmt.Fprintf(&b, "- measured on: %s\n", facts.System)
	fmt.Fprintf(&b, "- load average at the end: %s\n", facts.Load)
	fmt.Fprintf(&b, "- while nothing happens: %s\n", facts.Noise)
	fmt.Fprintf(&b, "- two holders for less than %s ms could have gone unseen (lateness of the observer)\n", measure.Millis(facts.Late))
	for _, when := range slices.Sorted(maps.Keys(facts.Ready)) {
		fmt.Fprintf(&b, "- from the daemon's start, %s, until systemd heard READY: %s ms (%d starts, min / median / max)\n",
			when, measure.Spread(facts.Ready[when]), len(facts.Ready[when]))
	}
	fmt.Fprintf(&b, "- `systemd-analyze security havipd`: %.1f\n", facts.Security)
	for _, name := range slices.Sorted(maps.Keys(facts.Sizes)) {
		fmt.Fprintf(&b, "- size of %s: %.1f MiB\n", name, float64(facts.Sizes[name])/(1<<20))
	}
	b.WriteString("\n\"Clients\" is the longest span in which a client that connects through the virtual address every 5 ms got no\n")
	b.WriteString("answer, \"lost\" the number of its connections that failed in a whole run; \"nobody\" is the longest span in\n")
	b.WriteString("which no node had the address, from the kernels' own notifications; \"two\" is the longest that two nodes had\n")
	b.WriteString("it at once in any run. Milliseconds, min / median / max.\n\n")
	b.WriteString("| what is done on the holder | what must hold | runs | clients | lost | nobody | two | moves |\n|---|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		b.WriteString(r.markdown())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r Row) markdown() string {
	var outage, nobody []time.Duration
	var lost, moves []int
	var double time.Duration
	for _, run := range r.Runs {
		outage, nobody = append(outage, run.Outage), append(nobody, run.Nobody)
		lost, moves = append(lost, run.Lost), append(moves, run.Moves)
		double = max(double, run.Double)
	}
	return fmt.Sprintf("| %s | %s | %d | %s | %s | %s | %s | %s |\n", r.Case, r.Promise, len(r.Runs),
		measure.Spread(outage), measure.Counts(lost), measure.Spread(nobody), measure.Millis(double), measure.Numbers(moves))
}
