// Package metrics makes Prometheus metrics of what the daemon knows: counts of
// what the loop tells it, and for everything else the status document of the
// moment, so that a scrape says what `havipctl status` says.
package metrics
