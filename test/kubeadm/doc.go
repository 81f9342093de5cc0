// Package kubeadm drives the real kubeadm with the real runner, against a real
// etcd, API server, controller manager and scheduler. What is played is the
// kubelet: it runs the commands of the static pods as plain processes, in a
// directory that stands for the node. So it needs neither containers nor
// systemd; the machine lab has those.
//
// It needs root and the binaries of one version of Kubernetes, which make
// kubeadm-test builds. Without them it fails and says so.
package kubeadm
