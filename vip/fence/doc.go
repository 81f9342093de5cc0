// Package fence closes an address to its link at an instant, without anybody who
// would have to be awake then.
//
// Two small BPF programs on the link, one for what comes in and one for what goes
// out, compare the clock with a deadline in a map. Before it they let everything
// pass. After it what would show that the address is on this node is dropped:
//
//   - inward: ARP requests for it, IPv4 and IPv6 packets to it, neighbour
//     solicitations of it;
//   - outward: ARP with it as the sender, packets from it, neighbour
//     advertisements of it.
//
// What others say of their having the address comes in, also after the deadline:
// this node is their neighbour too.
//
// The deadline is absolute, a reading of CLOCK_BOOTTIME. Moving it is one store to
// memory: no system call that could hang, no timer, no transaction. A process that
// is frozen on the way to it, for however long, stores a time that is over.
//
// Facts of Linux that it relies on; "measured" means 6.18, veth pairs in network
// namespaces, by the tests of this package.
//
//  1. Programs at the tcx hooks (Linux 6.6 and newer) that were attached without a
//     bpf_link stay until the link goes or somebody detaches them, whatever becomes
//     of the process: killed or stopped, the fence closes in time. Nothing that was
//     sent at or after the deadline is answered (measured). Where there are no such
//     hooks, BPF filters of a clsact qdisc do the same (measured with Linux 6.1 of
//     Debian 12 too).
//  2. They run in order until one returns something else than TCX_NEXT. The fence
//     is put first and returns TCX_NEXT for what it lets pass, so that others run
//     as before. Cilium attaches its own last (pkg/datapath/loader/tcx.go), which
//     is behind the fence; a program before it might let packets pass unseen, so
//     Attach refuses to call that fenced. A filter that comes later is before it,
//     as Cilium's is on an old kernel; the fence then goes to the front again.
//  3. Opening a program or map by its ID needs CAP_SYS_ADMIN, opening it by a file
//     of a BPF file system needs the file's permissions alone (measured). So the
//     programs and the map are kept in files, for the next process to take over.
//  4. A packet that the outward program drops is told to its sender: ENOBUFS for a
//     packet socket (measured).
//  5. The hooks are behind the packet sockets inward and before them outward, and
//     both are beyond the node's own loopback: the node itself reaches an address
//     that it has through any fence.
//  6. A link's VLANs are links of their own. Their frames pass its hooks with the
//     tag beside them, and are let through; a tag without a VLAN (802.1p) does not
//     make a frame another link's.
//  7. The kernel answers for an address on every link. One that is attached to the
//     same network by a second link answers there, fence or not, until the kernel
//     has removed the address at the end of its lifetime.
package fence
