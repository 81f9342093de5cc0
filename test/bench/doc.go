// Command bench puts the same faults into clusters that are alike but for who
// keeps the virtual address: havip in its ways of detection, keepalived, and a
// plain election in etcd.
//
// Contenders take turns, a round of all faults each, so that whatever else the
// machine does falls on all of them. Each trial begins with a calm cluster and a
// second in which nothing happens, whose noise is noted, and ends when the fault
// is healed and all is calm again. Clients, the kernels and the wire are observed
// by test/cluster; nothing that a contender says of itself counts.
//
// What was measured is kept in a file of one line per trial, beside the report
// and the picture that are made of it: a run of some faults or some contenders
// replaces its own and keeps all others.
package main
