// Package adopt takes the VIP of a running cluster over from keepalived or from a
// kube-vip static pod, on this node.
//
// What is to be done is decided by pure functions over [Facts]: [Guard] says what
// is in the way, [Begin] and [Undo] plan the steps. [Runner] carries them out and
// keeps a journal, so that the same command goes on after a crash.
//
// docs/migration.md has the order of the steps over all masters, and why it never
// leaves two nodes with the VIP.
package adopt
