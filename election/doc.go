// Package election decides, for one node, who may hold the virtual IP.
//
// It is a pure machine: [Machine.Step] takes an event and the instant at which
// it happened and returns what is to be done. It reads no clock, does no I/O,
// starts no goroutine and imports the standard library alone, so that a
// simulation (package sim) can play millions of schedules against it.
//
// # The promise
//
//	P1 At most one holder. At no instant do two nodes' kernels answer for the
//	   address: have it on a link whose fence, if there is one, is open.
//	P2 Fast. When the holder dies, somebody healthy holds the address within
//	   takeover, plus half of it if the watches had died too; in heartbeat mode
//	   within the promise and a transaction; in an epoch's first moments within the
//	   plain takeover, and where too few are left to prove it dead within its
//	   record's own.
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
//   - The fence closes on time: it is a comparison with the clock that the kernel
//     makes for every packet of the link. It is there as long as nobody takes it
//     away by hand, and covers the link that the address is on. What a program
//     before it answers by itself, as at the link's XDP hook, it does not see.
//
//   - A process that was stopped in the middle of such a call is killed by a
//     timer at most 20 ms after the latest safe instant (1 to 3 ms measured).
//
//   - etcd is linearizable. A snapshot is restored only after etcd was down for
//     longer than the longest takeover in use.
//
//   - A claim before there is etcd relies on the wire: masters that do not hear
//     each other may both claim, and so may one while those of a cluster that was
//     made before are all off. The operator asks for it on one of them.
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
//     Before an adopting process writes, it is saved that it may: it can be killed
//     between the commit and the answer, and the next one must know the record.
//  9. A release writes a free record. Only one that was seen to become free, live,
//     is free now; found by a read, or absent, it is waited out like a held one.
//  10. Before there is etcd a node may claim the address alone, on the conditions of
//     [ClaimFacts]. The claim ends when it is not renewed, when somebody else's
//     record is seen, and when the election has this node's: then the address stays
//     where it is. A claimant writes the first record without a wait: until it
//     knows that it has one no other node joins its etcd, so nobody's right can hang
//     on what is missing there, and nobody takes a record from a claimant that does
//     not know of it. That others may join is on the disk before anybody is told, and
//     no process goes on with the claim of one before it then, whatever that saved. A
//     claim by force, and one that a daemon took over from the one before it and
//     nobody has renewed yet, wait. Where there is no record every other candidate
//     waits, and then looks at the wire before it takes the address, for a claimant
//     that no etcd it knows tells of.
//
// # Heartbeats
//
// A record in etcd cannot be quick: its right must outlast a leader change of
// etcd. So the daemons may also hear each other. The record alone still says who
// holds the address; the others only prove that its holder is gone. They prove
// it of an [Epoch], which one write of the holder begins and any record without it
// ends. The epoch names etcd's members of that time. Of n members a majority W,
// the holder included, must acknowledge its beats, and n-W+1 must have abandoned
// it before it is dead: one member at least would have to do both, and
//
//  11. a member that acknowledges a beat does not abandon the epoch before the
//     promise has passed since it received it; it abandons for ever. The holder's
//     right lasts hold, 0.9 promise, from the SEND of the beats that W
//     acknowledged. The write that begins an epoch counts as its first beat, with
//     the times of a plain record: a member sees it no earlier than it was sent.
//     What a write without an outcome would begin or end binds besides what is
//     confirmed. When the right has ended nothing brings the epoch back: no beat is
//     sent, no answer counts, no renewal that is confirmed then. A process that
//     starts may have abandoned an epoch in its former life, so it never
//     acknowledges the one that its watch shows first; those that come later had
//     not begun when the former life ended. It goes by its watch alone, which
//     keeps etcd's order. A candidate that knows of
//     enough abandonments replaces the record at once, by a plain one. If its
//     transaction commits late, the epoch is as dead then.
//  12. Lifetimes in whole seconds are too coarse for this. A fence in the kernel
//     (package vip) closes the address at an instant: 0.99 promise from the SENDs
//     that bear the right. The instant is absolute. A process that is frozen
//     between deciding and writing it writes an old one. The lifetime of rule 5
//     stays, as in plain mode, so that what a dead daemon left goes soon.
//  13. A holder goes back to a plain record before its right ends, when fewer
//     members answer than prove the epoch dead and, without any one of them, bear
//     it, when one answers that it cannot support it, when the members of etcd
//     change, and before it is restarted. With members missing a plain record is
//     taken over sooner than the long one of an epoch that nobody can prove dead. It
//     begins another epoch once enough have answered without a break, the longer
//     the shorter the last one lived.
//  14. A process that follows one of the same boot goes on with its epoch, before
//     etcd has told it anything: beats, counts answers and moves the fence, as long
//     as the right of the one before is not over. How long that is tells the fence,
//     which the kernel keeps, less the 0.09 promise that it is open for longer. It
//     needs no look at the record, because a record never shows that an epoch lives;
//     the answers do. What else rule 11 asks for is there. This node's member is one
//     of the W, and has not abandoned the epoch in its former life: that waits for a
//     promise after its own last beat, and the fence closed before. Nor does it in
//     this one while the term lasts. The right that etcd gave is saved apart from
//     the one that answers give, with the unknown writes counted in, and is no
//     longer for the next process; if one of them replaced the record, a member that
//     sees so denies, and who does not is waited for as by rule 3. Beats are numbered
//     from the clock of the boot on, above all of the processes before: the others
//     take none for an old one, and an answer to theirs is none to this process's.
//     What is saved may be of an epoch before, if the disk has taken nothing since,
//     and the fence open by what came after it. So no address is set before etcd has
//     confirmed the record: what the kernel has of the one before lasts no longer
//     than its own writes allowed. When that is gone the term ends, and the others
//     are not kept from the address.
//
// The ID of a write is the incarnation of its process, random for every start,
// and a counter, which is as fresh as a random ID for each.
package election
