package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

var clusterLooks = []Look{
	{
		Name: "nodeports", When: After, Parts: []Part{PartCluster},
		About: "NodePorts do not answer on the VIP",
		// kube-proxy takes every local address where nodePortAddresses is empty, but
		// in its mode nftables the primary ones (k8s.io/kube-proxy/config/v1alpha1,
		// and Virtual IPs and Service Proxies in the Kubernetes documentation).
		Why:   "clients get used to a Service on the VIP, which moves with the control plane and not with the Service",
		Fix:   `kubectl -n kube-system edit configmap kube-proxy: nodePortAddresses: ["primary"] (or the nodes' prefix, without the VIP), and restart kube-proxy`,
		judge: judgeNodePorts,
	}, {
		Name: "ipvs", When: After, Parts: []Part{PartCluster},
		About: "kube-proxy with ipvs answers ARP only where an address is",
		// metallb#153 and MetalLB's installation page ask for it; kube-proxy sets
		// arp_ignore 1 and arp_announce 2 then, which go well with a /32 on the link.
		Why:   "with ipvs every node has the Services' external addresses on kube-ipvs0, and without strictARP answers ARP for them on every link; a Service with the VIP among them would take it",
		Fix:   "kubectl -n kube-system edit configmap kube-proxy: ipvs.strictARP: true, and restart kube-proxy",
		judge: judgeIPVS,
	}, {
		Name: "calico", When: After, Parts: []Part{PartCluster},
		About: "Calico does not take the VIP for the node's address",
		// docs.tigera.io, Configure IP autodetection: first-found is the default. That
		// can-reach with the VIP takes the VIP itself on the holder was seen in
		// gitlab.com/sylva-projects/sylva-core, merge request 2503.
		Why:   "a node that Calico knows by the VIP loses its pods' traffic when the VIP moves",
		Fix:   "kubectl -n NAMESPACE set env daemonset/calico-node IP_AUTODETECTION_METHOD=kubernetes-internal-ip; with the operator: nodeAddressAutodetectionV4.kubernetes: NodeInternalIP",
		judge: judgeCalico,
	}, {
		Name: "cilium", When: After, Parts: []Part{PartCluster},
		About: "Cilium reaches the API server by the VIP, and works on its link",
		// Helm's k8sServiceHost becomes KUBERNETES_SERVICE_HOST of the agent (cilium
		// commit 24833f77). NodePorts and the VIP: cilium#37691, #36136.
		Why:   "without kube-proxy the agent needs an address of the API server that outlives a master, and it serves and filters only on its devices",
		Fix:   "helm upgrade cilium cilium/cilium --reuse-values --set k8sServiceHost=VIP --set k8sServicePort=6443",
		judge: judgeCilium,
	},
}

func judgeNodePorts(f *Facts, r *reporter) {
	p := f.Cluster.KubeProxy
	switch {
	case p == nil:
		r.none()
		return
	case len(p.NodePortAddresses) == 0 && p.Mode == "nftables":
		return
	case len(p.NodePortAddresses) == 0:
		r.warn("kube-proxy", "nodePortAddresses is not set: NodePorts answer on every address of the node, on the VIP too", "")
		return
	}
	for _, text := range p.NodePortAddresses {
		prefix, err := netip.ParsePrefix(text)
		covers := err == nil && slices.ContainsFunc(f.Config.File.VIP.Addresses, prefix.Contains)
		if covers || text == "all" {
			r.warn("kube-proxy", fmt.Sprintf("nodePortAddresses has %s, and the VIP is in it", text), "")
		}
	}
}

func judgeIPVS(f *Facts, r *reporter) {
	switch p := f.Cluster.KubeProxy; {
	case p == nil || p.Mode != "ipvs":
		r.none()
	case !p.StrictARP:
		r.warn("kube-proxy", "its mode is ipvs, and strictARP is false", "")
	}
}

func judgeCalico(f *Facts, r *reporter) {
	c := f.Cluster.Calico
	if c == nil {
		r.none()
		return
	}
	namespace, _, _ := strings.Cut(c.DaemonSet, "/")
	detects := c.IP == "" || c.IP == "autodetect"
	for _, m := range []struct {
		name, method string
		used         bool
	}{{"IP_AUTODETECTION_METHOD", c.Method, detects}, {"IP6_AUTODETECTION_METHOD", c.Method6, c.Method6 != ""}} {
		fix := fmt.Sprintf("kubectl -n %s set env daemonset/calico-node %s=kubernetes-internal-ip; with the operator: nodeAddressAutodetectionV4.kubernetes: NodeInternalIP", namespace, m.name)
		host, canReach := strings.CutPrefix(m.method, "can-reach=")
		a, err := netip.ParseAddr(host)
		switch {
		case !m.used:
		case canReach && err == nil && slices.Contains(f.Config.File.VIP.Addresses, a):
			r.error(c.DaemonSet, fmt.Sprintf("%s is %s: the holder takes the VIP itself", m.name, m.method), fix)
		case m.method == "" || m.method == "first-found":
			r.warn(c.DaemonSet, m.name+" is first-found: it may take the VIP where that comes first on a link", fix)
		}
	}
}

func judgeCilium(f *Facts, r *reporter) {
	c := f.Cluster.Cilium
	if c == nil {
		r.none()
		return
	}
	cfg := f.Config.File
	if c.Host != "" && !f.outlives(c) {
		host, port := cfg.Endpoint()
		r.error("k8sServiceHost", fmt.Sprintf("is %s: the agents of all nodes lose the API server with that master", c.Host),
			fmt.Sprintf("helm upgrade cilium cilium/cilium --reuse-values --set k8sServiceHost=%s --set k8sServicePort=%d", host, port))
	}
	if c.Host == "" && c.Replacement {
		r.warn("k8sServiceHost", "is not set, and there is no kube-proxy to lead the agent to the API server", "")
	}
	l, why := f.vipLink()
	if why == "" && len(c.Devices) > 0 && !slices.ContainsFunc(c.Devices, func(d string) bool { return matchesDevice(d, l.Name) }) {
		r.warn("devices", fmt.Sprintf("are %s, without %s: its host firewall and NodePorts do not work on the VIP's link", strings.Join(c.Devices, ", "), l.Name),
			fmt.Sprintf("add %s to devices, or leave it empty: Cilium finds links with a default route or a node's address by itself", l.Name))
	}
}

// outlives reports whether the agent's address of the API server survives the
// loss of any one master: the VIP, or each node's own.
func (f *Facts) outlives(c *Cilium) bool {
	host, _ := f.Config.File.Endpoint()
	if c.Host == host || c.Host == "localhost" || c.Host == "auto" {
		return true
	}
	masters := f.Config.File.Masters
	for _, a := range c.Addresses {
		for _, m := range masters {
			if a == m.Address || a == f.Config.File.Advertise(m) {
				return false
			}
		}
	}
	return true
}

// matchesDevice takes Cilium's + at the end for any end.
func matchesDevice(pattern, name string) bool {
	if begin, ok := strings.CutSuffix(pattern, "+"); ok {
		return strings.HasPrefix(name, begin)
	}
	return pattern == name
}
