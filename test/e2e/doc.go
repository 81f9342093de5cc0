// Package e2e makes clusters with the real kubeadm, kubelet, container runtime
// and control plane on machines that boot, through havipctl as an operator would
// use it, and sees that the virtual IP holds. What it asserts it asks the API
// server behind the virtual IP, and the machines' kernels.
package e2e
