// Package etcdtest runs real etcd members for tests.
//
// The binaries are built by "make tools"; without them a test fails. Members
// run with etcd's default timers, as kubeadm's do, but do not sync to disk.
package etcdtest
