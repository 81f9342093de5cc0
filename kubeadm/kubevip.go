package kubeadm

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"havip/configs"
)

// KubeVIP is what a kube-vip is told to do. Each setting has a variable and a flag
// (docs/flags/index.md of kube-vip); "vip" names are from before 0.6.
type KubeVIP struct {
	ControlPlane bool // it holds the control plane's VIP
	Services     bool // it serves Services
	ARP          bool // the VIP is an address on a link, announced by ARP
	Link         string
	Addresses    []netip.Addr
}

// ParseKubeVIP reads it from a container: by what it is told to do, not by the name
// of its image.
func ParseKubeVIP(c configs.Container) KubeVIP {
	is := func(env, flag string) bool { return yes(c.Env[env]) || yes(c.Flags[flag]) }
	v := KubeVIP{ControlPlane: is("cp_enable", "controlplane"), Services: is("svc_enable", "services"), ARP: is("vip_arp", "arp")}
	for _, name := range []string{c.Env["vip_interface"], c.Flags["interface"]} {
		if name != "" {
			v.Link = name
		}
	}
	for _, list := range []string{c.Env["address"], c.Env["vip_address"], c.Flags["address"], c.Flags["vip"]} {
		for text := range strings.SplitSeq(list, ",") {
			if a, err := netip.ParseAddr(strings.TrimSpace(text)); err == nil {
				v.Addresses = append(v.Addresses, a.Unmap())
			}
		}
	}
	return v
}

// HoldsVIP reports whether a container is a kube-vip that holds the VIP of the
// control plane. One that only serves Services is no rival.
func HoldsVIP(one configs.Container, c *configs.Config) bool {
	v := ParseKubeVIP(one)
	return v.ControlPlane && slices.ContainsFunc(v.Addresses, func(a netip.Addr) bool { return slices.Contains(c.VIP.Addresses, a) })
}

func yes(text string) bool {
	on, err := strconv.ParseBool(text)
	return err == nil && on
}
