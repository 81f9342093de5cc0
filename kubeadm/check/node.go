package check

import (
	"fmt"
	"slices"
	"strings"
)

var nodeLooks = []Look{
	{
		Name: "clock", When: Always, Parts: []Part{PartClock}, Free: true,
		About: "the clock is kept by something",
		// The election hangs on clock rates, never on the time of day
		// (election/doc.go); certificates, tokens and logs do.
		Why:   "certificates and join tokens are refused by a node whose clock is off, and times in the logs of two masters cannot be compared; who holds the VIP does not hang on it",
		Fix:   "systemctl enable --now chrony (chronyd, systemd-timesyncd)",
		judge: judgeClock,
	}, {
		Name: "node-ip", When: After, Parts: []Part{PartFiles},
		About: "kubelet and the API server go by the node's own address, never the VIP",
		Why:   "a node that goes by the VIP is another node after a move: its pods' traffic, logs and etcd's peers go astray",
		Fix:   "set --node-ip in KUBELET_EXTRA_ARGS (/etc/default/kubelet, /etc/sysconfig/kubelet), and: systemctl restart kubelet",
		judge: judgeNodeIP,
	},
}

func judgeClock(f *Facts, r *reporter) {
	switch {
	case f.Clock.Error != "":
		r.unseen("the kernel does not tell: " + f.Clock.Error)
	case f.Clock.Synchronised:
	case len(f.Clock.Keepers) > 0:
		r.warn("", fmt.Sprintf("not synchronised, though %s runs", strings.Join(f.Clock.Keepers, ", ")), "see what it waits for: chronyc sources, timedatectl timesync-status")
	default:
		r.warn("", "not synchronised, and no time service runs", "")
	}
}

func judgeNodeIP(f *Facts, r *reporter) {
	cfg, k := f.Config.File, f.Kubelet
	for _, a := range k.NodeIP {
		if slices.Contains(cfg.VIP.Addresses, a) {
			r.error("kubelet", fmt.Sprintf("--node-ip is the VIP %s, by %s", a, k.Source), "")
		}
	}
	if k.Source != "" && len(k.NodeIP) == 0 {
		r.warn("kubelet", "--node-ip is not set: while it has the VIP, kubelet may take that for the node's address", "")
	}
	flag := f.Pods.APIServer["advertise-address"]
	if f.isVIP("https://" + hostOf(flag)) {
		r.error("kube-apiserver", "--advertise-address is the VIP "+flag, "set it to the node's own address in /etc/kubernetes/manifests/kube-apiserver.yaml")
	}
	if f.Pods.APIServerError != "" {
		r.unseen(f.Pods.APIServerError)
	}
}

// hostOf puts an IPv6 address in brackets, as a URL has it.
func hostOf(address string) string {
	if strings.Contains(address, ":") {
		return "[" + address + "]"
	}
	return address
}
