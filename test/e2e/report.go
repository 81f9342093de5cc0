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

// WriteReport writes the report as markdown.
func WriteReport(w io.Writer, version string, facts Facts, rows []*Row) error {
	var b strings.Builder
	b.WriteString("# What it is like on a real cluster\n\n")
	fmt.Fprintf(&b, "Written by `sudo make e2e-report`. Three masters that boot Debian 12 with systemd and containerd, kubeadm, kubelet\n")
	fmt.Fprintf(&b, "and control plane of Kubernetes %s, etcd's data in memory; the cluster is made by `havipctl init` and `join`.\n\n", version)
	fmt.Fprintf(&b, "- measured on: %s\n", facts.System)
	fmt.Fprintf(&b, "- load at the end: %s; all machines share the processors\n", facts.Load)
	fmt.Fprintf(&b, "- two holders for less than %s ms could have gone unseen (lateness of the observer)\n\n", measure.Millis(facts.Late))
	b.WriteString("\"reads\" and \"writes\" are the longest spans in which clients that come over a new connection each time, every 50\n")
	b.WriteString("and every 200 ms, got no answer of the API server through the virtual IP; \"nobody\" and \"two\" are the longest\n")
	b.WriteString("that no node and that more than one had the address, from the kernels' own notifications. Milliseconds,\n")
	b.WriteString("min / median / max.\n\n")
	b.WriteString("| what is done | runs | measured |\n|---|---|---|\n")
	for _, r := range rows {
		var cells []string
		runs := 0
		for _, name := range r.Names {
			runs = max(runs, len(r.Figures[name]))
			cells = append(cells, name+" "+measure.Spread(r.Figures[name]))
		}
		fmt.Fprintf(&b, "| %s | %d | %s |\n", r.Case, runs, strings.Join(cells, "; "))
	}
	b.WriteString(byHand)
	_, err := io.WriteString(w, b.String())
	return err
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
