// Package election decides, for one node, who may hold the virtual IP.
//
// It is a pure machine: [Machine.Step] takes an event and the instant at which
// it happened and returns what is to be done. It reads no clock, does no I/O,
// starts no goroutine and imports the standard library alone, so that a
// simulation (package sim) can play millions of schedules against it.
//
// # The promise
//
//	P1 At most one holder. At no instant do two nodes have the address on a link.
//	P2 Fast. When the holder dies, somebody healthy holds the address within
//	   takeover, plus half of it if the watches had died too.
//	P3 Calm. A healthy holder keeps the address through leader changes of etcd,
//	   slow disks, trouble on other nodes, and restarts of its own daemon.
//	P4 Recoverable. Whatever state a crash leaves, the next start ends in a right
//	   one by itself.
//	P5 Explained. Every transition carries one reason.
//
// P1 holds through crash, kill, hang, partition, leader change, loss of quorum,
// restart, and the restore of a snapshot, within these bounds:
//
//   - The clock rates of two nodes differ by less than 1 %. Clocks need not
//     agree; nothing compares them.
//
//   - The kernel removes an address whose lifetime ran out no later than
//     [KernelLateness] (1.3 s; the worst seen). A call into the kernel that the
//     kernel itself holds up (RTNL contention) for longer than the 120 ms kept
//     free for it is undone as soon as it returns, but not before.
//
//   - A process that was stopped in the middle of such a call is killed by a
//     timer at most 20 ms after the latest safe instant (1 to 3 ms measured).
//
//   - etcd is linearizable. A snapshot is restored only after etcd was down for
//     longer than the longest takeover in use.
//
//   - A claim before there is etcd relies on the wire: masters that do not hear
//     each other may both claim. The operator asks for it on one of them.
//
// Not covered: a paused or restored virtual machine until its first failed
// renewal, a suspended machine (its clock counts on, but nothing runs to clear
// the address), an address added by hand, a record deleted or written by hand.
//
// # How
//
// One record in etcd says who may hold the address. It is only ever replaced by
// a transaction that compares its whole former value. The holder renews it; the
// others time its changes by their own clocks. The numbers in the code refer to
// these rules. Each was dropped once in the simulation, which then found two
// holders, or nobody for too long (package sim, the mutants).
//
//  1. Every write carries a fresh ID. A record is "mine" if it is the last write
//     of mine that was confirmed, or one without an outcome yet; never because
//     it bears the node's name (two nodes may bear one) and never by its
//     revision (a restored snapshot repeats revisions).
//  2. The right to serve lasts until the SEND of the last confirmed renewal plus
//     hold, and no longer than send plus hold of any write of mine that may have
//     committed without my knowing. An unknown outcome never extends it. If such
//     a write gave the record away there is no right from its send on. A
//     confirmation after its own deadline is none.
//  3. A candidate waits the takeover that the record asks for, from when it saw
//     it; any change restarts the wait. Watches die silently, so it reads when
//     it has seen nothing for half a takeover, and once more before it acts.
//  4. Giving away goes in one order: let renewals settle, clear the address,
//     read back that it is gone, mark the saved state, send.
//  5. The kernel's lifetime of the address ends, even 1.3 s late, before
//     send + 0.99 takeover of the confirmed write and of every unsettled one. No
//     write is sent while a set call is pending. A write that shortens the times
//     is sent only after the lifetime and the saved state have been shortened.
//  6. A set call has a latest instant. The caller checks it before, arms a timer
//     that kills the process at it, and the machine checks it again after the
//     call, and clears if it was late.
//  7. A handover names a fresh offer that the successor made. The successor's
//     right counts from when it SENT the offer, and only while it still has that
//     offer in memory. A process that ends stays until nobody can use it any more.
//  8. What a process saves lets the next one of the same boot go on, after a crash
//     or a restart: it leaves the address alone until the old deadline, reads, and
//     gains a new right by a transaction only. What was being given away is never
//     adopted. A start without anything to adopt clears a leftover address first.
//  9. A release writes a free record. Only one that was seen to become free, live,
//     is free now; found by a read, or absent, it is waited out like a held one.
//  10. Before there is etcd a node may claim the address alone, on the conditions of
//     [ClaimFacts]. The claim ends when it is not renewed, when somebody else's
//     record is seen, and when the election has this node's: then the address stays
//     where it is. A claimant writes the first record without a wait: until there is
//     one no other node joins its etcd, so nobody's right can hang on what is missing
//     there. A claim by force, and one that a daemon took over from the one before
//     it and nobody has renewed yet, wait. Where there is no record every other
//     candidate waits, and then looks at the wire before it takes the address, for a
//     claimant that no etcd it knows tells of.
//
// The ID of a write is the incarnation of its process, random for every start,
// and a counter, which is as fresh as a random ID for each.
package election
