package status

import (
	"fmt"
	"strings"
	"time"
)

// Digest is equal for two judged documents that differ only in what changes
// every second, such as ages: a watcher prints a new block when it changes.
func (d *Document) Digest() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q %q %v\n", d.Verdict, d.Reason, d.Problems, d.Warnings)
	if h := d.Holder; h != nil {
		fmt.Fprintf(&b, "holder %q on %q, last known %v\n", h.Node, h.Link, h.LastKnown)
	}
	if m := d.LastMove; m != nil {
		fmt.Fprintf(&b, "move %q %q %s %q\n", m.From, m.To, m.At.Format(time.RFC3339Nano), m.Reason)
	}
	for _, m := range d.Masters {
		fmt.Fprintf(&b, "master %q %s %s %s %q\n", m.Name, m.Role, m.APIServer, m.Etcd, m.Version)
	}
	fmt.Fprintf(&b, "%s; %d reasserts, self %s %q\n", d.Redundancy, d.Address.Reasserts, d.Self.Role, d.Self.Pending)
	return b.String()
}
