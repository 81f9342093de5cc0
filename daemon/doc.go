// Package daemon turns what happens on a master into the events of the
// election's machine, and the machine's actions into calls.
//
// One goroutine, the loop, owns the machine and waits for nothing but its
// mailbox and its timer. Whatever may take time runs beside it with a deadline
// of its own and comes back as an event: transactions and reads of etcd, calls
// into the kernel (one at a time, in order), the state in /run, the check of the
// API server, the control socket, the notifications to systemd, the log.
package daemon
