// Package measure is what the tests on masters of processes (test/faults) and
// on masters that boot (test/packages) have in common: when a cluster is calm,
// and how what was measured is written down.
package measure
