// Package cluster builds a small kubeadm-like control plane out of real parts:
// every master is a network namespace on a bridge with a real etcd member, a
// stand-in API server and a havipd, and faults can be put into any of them.
//
// Nothing touches the machine's own network namespace. The namespaces have no
// names: each one lives exactly as long as the thread, the sockets and the
// processes inside it, and every process is killed by the kernel when the
// thread that started it goes. So a run that is killed leaves nothing behind
// but its directory under /dev/shm, which the next run removes. To look into
// one: nsenter -n -t <pid of its etcd>.
//
// Three observers judge what happens, none of them the daemon: the sampler
// listens to the kernel of every master for addresses that come and go, the
// witness opens connections to the virtual address from a client namespace all
// the time, the asker asks the wire who has it. They run as processes of their
// own so that a busy test cannot delay them, and every time they report is a
// CLOCK_MONOTONIC reading.
package cluster
