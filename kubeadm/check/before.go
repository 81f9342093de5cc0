package check

import (
	"slices"
	"strings"

	"havip/kubeadm"
)

// beforeLooks are those of havipctl init and join: the same guards, and the same
// words.
var beforeLooks = []Look{
	{
		Name: "kubeadm", When: Before, Parts: []Part{PartNode},
		About: "kubeadm and kubelet are installed, of versions that go together",
		Why:   "havipctl init and join drive kubeadm 1.31 and newer",
		Fix:   "install both in the version that the cluster is to have",
		judge: guarded("kubeadm", "kubelet", "kubeadm.version"),
	}, {
		Name: "runtime", When: Before, Parts: []Part{PartNode},
		About: "one container runtime is there and answers",
		Why:   "kubelet starts etcd and the API server by it",
		Fix:   "install containerd or CRI-O and start it, or name its socket in kubeadm.cri_socket",
		judge: guarded("container runtime"),
	}, {
		Name: "address", When: Before, Parts: []Part{PartNode},
		About: "the address that API server and etcd are to have is on this node",
		Why:   "both listen on it and their certificates name it",
		Fix:   "configure it on a link, or correct [masters] or [kubeadm.advertise_address]",
		judge: guarded("address"),
	}, {
		Name: "endpoint-name", When: Before, Parts: []Part{PartNode},
		About: "the name of the control-plane endpoint leads to the VIP",
		Why:   "every kubelet and every kubeconfig will go by it",
		Fix:   "make it lead to the VIP on every node, in DNS or /etc/hosts",
		judge: guarded("endpoint"),
	}, {
		Name: "swap", When: Before, Parts: []Part{PartNode},
		About: "no swap is in use, or kubelet is told to bear it",
		Why:   "a kubelet with its own defaults does not start beside it",
		Fix:   "swapoff -a, and remove it from /etc/fstab",
		judge: guarded("swap"),
	}, {
		Name: "ports", When: Before, Parts: []Part{PartNode},
		About: "the control plane's ports are free",
		Why:   "API server, etcd and kubelet cannot listen where something else does",
		Fix:   "see what it is: ss -ltnp, and stop it",
		judge: guarded("port "),
	}, {
		Name: "leftovers", When: Before, Parts: []Part{PartNode},
		About: "nothing of an earlier cluster is left",
		Why:   "kubeadm takes what is there for its own: keys of another CA, a member of another etcd",
		Fix:   "havipctl reset",
		judge: guarded("leftovers", "certificates"),
	}, {
		Name: "kernel", When: Before, Parts: []Part{PartNode},
		About: "the kernel forwards packets and bridges can be filtered",
		// kubeadm's preflight refuses without ip_forward; since 1.30 it asks for
		// br_netfilter no more, and leaves it to the network plugin.
		Why:   "kubeadm refuses a node that does not forward, and many network plugins need br_netfilter",
		Fix:   "echo net.ipv4.ip_forward=1 >/etc/sysctl.d/k8s.conf; echo br_netfilter >/etc/modules-load.d/k8s.conf; then: modprobe br_netfilter; sysctl --system",
		judge: judgeKernel,
	},
}

// guarded makes a look out of those guards of init whose subject is one of these,
// or begins with one that ends in a space.
func guarded(subjects ...string) func(*Facts, *reporter) {
	return func(f *Facts, r *reporter) {
		if f.Self.Name == "" {
			r.unseen("which of [masters] this node is, is not known")
			return
		}
		for _, g := range kubeadm.Guard(f.Config.File, f.Self, f.Node, kubeadm.Situation{Command: "init", Begun: f.Begun}) {
			if !slices.ContainsFunc(subjects, func(s string) bool {
				return g.Subject == s || strings.HasSuffix(s, " ") && strings.HasPrefix(g.Subject, s)
			}) {
				continue
			}
			tell := r.warn
			if g.Blocks {
				tell = r.error
			}
			tell(g.Subject, g.What, g.Fix)
		}
	}
}

func judgeKernel(f *Facts, r *reporter) {
	if !f.Kernel.Forwards {
		r.error("net.ipv4.ip_forward", "is 0", "")
	}
	if !f.Kernel.Bridges {
		r.warn("br_netfilter", "is not loaded", "")
	}
}
