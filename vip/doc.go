// Package vip puts the virtual IP on a link of this node.
//
// It decides nothing: the caller says for how long the address may stay and
// until when a call may take effect, and this package does it or says why not.
//
// Facts of the Linux kernel that it relies on. "Measured" means Linux 6.18,
// veth pairs in network namespaces; the tests of this package repeat most.
//
//  1. An address with a valid lifetime is removed by the kernel alone, in whole
//     seconds and up to 1.3 s late, whatever became of the process (measured).
//  2. RTM_NEWADDR with NLM_F_REPLACE on a present address changes its lifetime
//     without removing it (measured: no RTM_DELADDR in 20 refreshes), and on a
//     vanished one creates it again. So a refresh that comes too late brings
//     the address back: the clock is checked before the call, a timer kills a
//     process that is stopped in between, the clock is checked again after it.
//  3. RTM_NEWADDR without lifetimes makes a present address permanent. They
//     are sent every time and read back.
//  4. rtnetlink requests are handled inside sendmsg(2): when it returns, the
//     effect is there or refused. Waiting for the RTNL mutex happens inside it
//     too, uninterruptibly: no socket timeout bounds it, and a process killed
//     while it waits still has its request carried out, then dies.
//  5. A POSIX timer on CLOCK_BOOTTIME with SIGKILL also kills a process that is
//     stopped by SIGSTOP, 1 to 3 ms after its time (measured).
//  6. A /32 makes no connected route, is nobody's secondary and takes no other
//     address with it. It is not chosen as a source address while the node has
//     an address of its own before it (measured).
//  7. A /128 is preferred as a source address, because its longer prefix
//     matches more (RFC 6724 section 5, rule 8), unless it is deprecated
//     (rule 3): so its preferred lifetime is 0 (measured both ways).
//  8. An IPv6 replace overwrites NODAD and NOPREFIXROUTE: they are sent every
//     time.
//  9. Adding an address sends no ARP (arp_notify speaks at link-up only).
//     Neighbours ignore a second update within 1 s (locktime), unless it is a
//     request or a reply aimed at its own sender (RFC 5944 section 4.6).
//  10. Removing an address resets no connection: established clients hang
//     until their own timeouts. SOCK_DESTROY with a socket's cookie resets that
//     very socket; without the cookie it could fall back to the listener.
//  11. Accepted sockets of a dual-stack listener are AF_INET6 with v4-mapped
//     addresses in the socket dump, also when the VIP is IPv4.
//  12. IPv4 addresses that differ in the prefix length alone are two, and the
//     node answers for them until the last one goes: its table of local
//     addresses has one entry for both. IPv6 addresses are one, whatever the
//     length that a request names (measured).
//  13. An IPv6 address for which duplicate address detection has failed answers
//     nobody, and a replace leaves it so, NODAD or not (measured).
package vip
