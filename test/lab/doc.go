// Package lab builds masters that boot: each one is a Debian machine with
// systemd as its first program, logind, the bus and a journal, on the stage of
// test/cluster, so that the same witness and the same sampler judge it.
//
// A machine is a systemd-nspawn container over an overlay: below, one tree
// that is made once and cached (Rootfs), above, in memory, what the machine
// wrote since the lab began. The network of each life of a machine is a
// namespace that ends with it, as a kernel does at a power cut. Nothing has a
// route to the machine that runs the tests, and of that one neither sysctls,
// mounts nor cgroups are changed: the overlay is mounted where only the
// container sees it, and the container has cgroups of its own.
//
// There are two levels: masters with stand-ins for Kubernetes (StandIn), which
// boot in seconds, and machines with containerd, kubelet and kubeadm on which
// real clusters are made (Kubernetes).
//
// A run that is killed takes its machines with it. What can stay behind, a
// directory under /dev/shm and empty cgroups, the next Start removes.
package lab
