// Package check says what is wrong with a node before a cluster is made on it,
// and while it runs one.
//
// [Gather] looks, [Judge] draws conclusions: a pure function from [Facts] to
// findings, so that each of them can be tested without a node. The looks are
// listed in [Catalogue], with what each is for; docs/check.md is made from it.
//
// Nothing is ever changed: files are read, the kernel is asked, and the programs
// that are started (systemctl, kubectl, nft, firewall-cmd) are only asked. Each
// group of looks has an end; what has not answered by then, or may not be read,
// is reported as not looked at, never as fine.
//
// What needs the wire, the kernel's addresses or etcd comes from the running
// daemon, through [Daemon]; without it the other looks are made all the same.
package check
