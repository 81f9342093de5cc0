package e2e

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"havip/test/measure"
)

// Row is one case of the report: what was measured, by name, in each run.
type Row struct {
	Case    string
	Names   []string // in the order in which they are told
	Figures map[string][]time.Duration
}

// Note adds what was measured in a run of a case.
func Note(rows []*Row, name string, figures ...Figure) []*Row {
	i := slices.IndexFunc(rows, func(r *Row) bool { return r.Case == name })
	if i < 0 {
		i = len(rows)
		rows = append(rows, &Row{Case: name, Figures: map[string][]time.Duration{}})
	}
	r := rows[i]
	for _, f := range figures {
		if !slices.Contains(r.Names, f.Name) {
			r.Names = append(r.Names, f.Name)
		}
		r.Figures[f.Name] = append(r.Figures[f.Name], f.Took)
	}
	return rows
}

// Figure is one measurement.
type Figure struct {
	Name string
	Took time.Duration
}

// Facts is what the report says beside the table.
type Facts struct {
	System string // kernel, processors
	Load   string // at the end
	Late   time.Duration
}

// WriteReport writes the report as markdown. Cases that were not played keep the
// line that they have in the report of before, if it is about the same version.
func WriteReport(w io.Writer, version string, facts Facts, rows []*Row, before string) error {
	var b strings.Builder
	b.WriteString("# What it is like on a real cluster\n\n")
	fmt.Fprintf(&b, "Written by `sudo make e2e-report`. Three masters that boot Debian 12 with systemd and containerd, kubeadm, kubelet\n")
	fmt.Fprintf(&b, "and control plane of Kubernetes %s, etcd's data in memory; the cluster is made by `havipctl init` and `join`.\n\n", version)
	fmt.Fprintf(&b, "- measured on: %s\n", facts.System)
	fmt.Fprintf(&b, "- all machines share the processors; \"load\" is the computer's at the end of the run that a line is of\n")
	fmt.Fprintf(&b, "- two holders for less than %s ms could have gone unseen in the last run (lateness of the observer)\n\n", measure.Millis(facts.Late))
	b.WriteString("\"reads\" and \"writes\" are the longest spans in which clients that come over a new connection each time, every 50\n")
	b.WriteString("and every 200 ms, got no answer of the API server through the virtual IP; \"nobody\" and \"two\" are the longest\n")
	b.WriteString("that no node and that more than one had the address, from the kernels' own notifications. Milliseconds,\n")
	b.WriteString("min / median / max.\n\n")
	b.WriteString(tableHead)
	var lines []string
	if strings.Contains(before, "of Kubernetes "+version+",") {
		lines = tableLines(before)
	}
	for _, r := range rows {
		line := r.line(facts.Load)
		if i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "| "+r.Case+" |") }); i >= 0 {
			lines[i] = line
		} else {
			lines = append(lines, line)
		}
	}
	b.WriteString(strings.Join(lines, ""))
	b.WriteString(byHand)
	_, err := io.WriteString(w, b.String())
	return err
}

const tableHead = "| what is done | runs | load | measured |\n|---|---|---|---|\n"

// tableLines are the lines of a report's table.
func tableLines(report string) []string {
	_, table, _ := strings.Cut(report, tableHead)
	var lines []string
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		lines = append(lines, line)
	}
	return lines
}

func (r *Row) line(load string) string {
	var cells []string
	runs := 0
	for _, name := range r.Names {
		runs = max(runs, len(r.Figures[name]))
		cells = append(cells, name+" "+measure.Spread(r.Figures[name]))
	}
	return fmt.Sprintf("| %s | %d | %s | %s |\n", r.Case, runs, load, strings.Join(cells, "; "))
}

// byHand counts what an operator does for three masters.
const byHand = `
## What an operator does

For three masters with containerd, kubelet and kubeadm, each line one command:

| | havip | havip, unattended | kube-vip as a static pod |
|---|---|---|---|
| on every node | install the package, ` + "`havipctl config init …`, `systemctl enable --now havipd`" + ` | the same with ` + "`havip-kubeadm`" + ` enabled too, and the secret put in place | |
| on the first | ` + "`havipctl init`" + ` | | pull the image, make the manifest, point it to super-admin.conf, ` + "`kubeadm init …`" + `, point it back |
| on each other | ` + "`havipctl join`" + `, the ticket on stdin | | copy the manifest there, ` + "`kubeadm join … --control-plane --certificate-key …`" + ` |
| commands in all | 12 | 12, none of which needs what another printed | 9 |
| edits of files that a program made | 0 | 0 | 2, and the API is gone for a while after the second |
| values copied from one node to another | 1 ticket | 0 | token, CA hash and certificate key, and the manifest |
`
