package check

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"havip/configs"
)

var linkLooks = []Look{
	{
		Name: "link", When: Always, Parts: []Part{PartLinks},
		About: "the VIP's link is there, up, with carrier, and can carry an address",
		Why:   "a master whose link is down cannot hold the VIP, and hands it over if it does",
		Fix:   "set vip.interface to the link that clients come by, or mend that one",
		judge: judgeLink,
	}, {
		Name: "prefix", When: Always, Parts: []Part{PartLinks},
		About: "the VIP is inside a prefix of its link",
		Why:   "neighbours ask by ARP for addresses of their own prefix only; one outside of it is reached by a route, or not at all",
		Fix:   "take an address of the link's network as VIP, or set vip.interface to the link whose network it is in",
		judge: judgePrefix,
	}, {
		Name: "arp-ignore", When: Always, Parts: []Part{PartLinks},
		About: "the kernel answers ARP for the VIP",
		// ip-sysctl: arp_ignore 2 answers only senders in the same subnet as the
		// address, which for a /32 is nobody; 8 answers nobody.
		Why:   "with arp_ignore 2 or 8 the kernel does not answer for an address that is on the link as a /32, so nobody finds the VIP",
		Fix:   "sysctl -w net.ipv4.conf.all.arp_ignore=1 and the same for the link, and correct it in /etc/sysctl.d",
		judge: judgeARPIgnore,
	}, {
		Name: "announcements", When: Always, Parts: []Part{PartLinks},
		About: "this node believes the announcement of a VIP that has moved",
		Why:   "with drop_gratuitous_arp or drop_unsolicited_na it goes on talking to the old holder until its neighbour entry times out",
		Fix:   "sysctl -w net.ipv4.conf.all.drop_gratuitous_arp=0 net.ipv6.conf.all.drop_unsolicited_na=0 and the same for the link, and correct it in /etc/sysctl.d",
		judge: judgeAnnouncements,
	}, {
		Name: "one-lan", When: Always, Parts: []Part{PartLinks},
		About: "no other link of this node answers for the VIP",
		// ip-sysctl: with arp_ignore 0 the kernel answers for any local address on
		// any link, with arp_announce 0 it speaks from any.
		Why:   "of two links in one network both answer ARP for the VIP while arp_ignore is 0, each with its own MAC, and clients stick to either",
		Fix:   "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2, and put it into /etc/sysctl.d",
		judge: judgeOneLAN,
	}, {
		Name: "ipv6", When: Always, Parts: []Part{PartLinks},
		About: "IPv6 is on where the VIP has an IPv6 address",
		Why:   "an IPv6 address cannot be set on a link with disable_ipv6",
		Fix:   "sysctl -w net.ipv6.conf.all.disable_ipv6=0 and the same for the link, and correct it in /etc/sysctl.d",
		judge: judgeIPv6,
	},
}

// vipLink is the link that carries the VIP or would, as far as it can be told
// without asking the kernel for a route; the daemon knows better.
func (f *Facts) vipLink() (Link, string) {
	wanted := f.Config.File.VIP.Interface
	switch {
	case wanted.Name != "":
		return f.link(func(l Link) bool { return l.Name == wanted.Name }, "there is no link "+wanted.Name)
	case len(wanted.MAC) > 0:
		return f.link(func(l Link) bool { return bytes.Equal(l.MAC, wanted.MAC) && l.Master == "" }, "no link has the MAC "+wanted.MAC.String())
	case f.Daemon.Link != "":
		return f.link(func(l Link) bool { return l.Name == f.Daemon.Link }, "there is no link "+f.Daemon.Link)
	}
	vip := f.Config.File.VIP.Addresses[0]
	if l, why := f.link(func(l Link) bool { return l.Up && l.Master == "" && l.contains(vip) }, "none"); why == "" {
		return l, ""
	}
	return f.link(func(l Link) bool { return l.Name == f.DefaultLink }, fmt.Sprintf("no link has the network of %s, and there is no default route", vip))
}

func (f *Facts) link(is func(Link) bool, otherwise string) (Link, string) {
	i := slices.IndexFunc(f.Links, is)
	if i < 0 {
		return Link{}, otherwise
	}
	return f.Links[i], ""
}

// contains reports whether an address of the link, other than the VIP itself,
// has the VIP in its network.
func (l Link) contains(vip netip.Addr) bool {
	return slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return p.Addr() != vip && !p.IsSingleIP() && p.Contains(vip) })
}

func (l Link) has(a netip.Addr) bool {
	return slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return p.Addr() == a })
}

func judgeLink(f *Facts, r *reporter) {
	l, why := f.vipLink()
	switch {
	case why != "":
		r.error("", why, "set vip.interface to one of "+strings.Join(f.linkNames(), ", "))
	case l.Master != "":
		r.error(l.Name, fmt.Sprintf("is a port of %s: an address on it answers nobody", l.Master), "set vip.interface to "+l.Master)
	case l.Loopback || l.MAC == nil:
		r.error(l.Name, "has no Ethernet address: the VIP cannot be announced on it", "")
	case !l.Up:
		r.error(l.Name, "is down", "ip link set "+l.Name+" up")
	case !l.Carrier:
		r.error(l.Name, "has no carrier", "check its cable, switch port, bond or bridge")
	}
}

func (f *Facts) linkNames() []string {
	var names []string
	for _, l := range f.Links {
		if !l.Loopback && l.MAC != nil && l.Master == "" {
			names = append(names, l.Name)
		}
	}
	return names
}

func judgePrefix(f *Facts, r *reporter) {
	l, why := f.vipLink()
	if why != "" {
		r.unseen(why)
		return
	}
	for _, vip := range f.Config.File.VIP.Addresses {
		other, none := f.link(func(o Link) bool { return o.Name != l.Name && !o.Loopback && o.contains(vip) }, "none")
		switch {
		case l.contains(vip):
			judgeEnds(l, vip, r)
		case none == "":
			r.error(l.Name, fmt.Sprintf("%s is not in its network, but in that of %s", vip, other.Name), "set vip.interface to "+other.Name)
		default:
			r.warn(l.Name, fmt.Sprintf("%s is outside of its prefixes (%s)", vip, prefixes(l, vip)), "")
		}
	}
}

// judgeEnds finds the two addresses of an IPv4 network that are nobody's.
func judgeEnds(l Link, vip netip.Addr, r *reporter) {
	for _, p := range l.Prefixes {
		if p.Bits() > 30 || !vip.Is4() || !p.Contains(vip) {
			continue
		}
		after := vip.Next()
		if vip == p.Masked().Addr() || !p.Contains(after) {
			r.error(l.Name, fmt.Sprintf("%s is the first or last address of %s, which no machine can have", vip, p.Masked()), "take another address as VIP")
			return
		}
	}
}

func prefixes(l Link, vip netip.Addr) string {
	var list []string
	for _, p := range l.Prefixes {
		if p.Addr().Is4() == vip.Is4() && p.Addr() != vip {
			list = append(list, p.Masked().String())
		}
	}
	if len(list) == 0 {
		return "it has none of that family"
	}
	return strings.Join(list, ", ")
}

func vip4(c *configs.Config) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(c.VIP.Addresses), func(a netip.Addr) bool { return !a.Is4() })
}

func vip6(c *configs.Config) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(c.VIP.Addresses), func(a netip.Addr) bool { return a.Is4() })
}

func judgeARPIgnore(f *Facts, r *reporter) {
	l, why := f.vipLink()
	switch {
	case len(vip4(f.Config.File)) == 0:
		r.none()
	case why != "":
		r.unseen(why)
	case l.ARPIgnore == 2 || l.ARPIgnore == 8:
		r.error(l.Name, fmt.Sprintf("arp_ignore is %d", l.ARPIgnore), fixFor("net.ipv4.conf", l, "arp_ignore=1"))
	}
}

// fixFor is the command that sets something for all links and this one.
func fixFor(tree string, l Link, setting string) string {
	return fmt.Sprintf("sysctl -w %[1]s.all.%[3]s %[1]s.%[2]s.%[3]s, and correct it in /etc/sysctl.d", tree, strings.ReplaceAll(l.Name, ".", "/"), setting)
}

func judgeAnnouncements(f *Facts, r *reporter) {
	l, why := f.vipLink()
	if why != "" {
		r.unseen(why)
		return
	}
	if l.DropGratuitous && len(vip4(f.Config.File)) > 0 {
		r.warn(l.Name, "drop_gratuitous_arp is on", fixFor("net.ipv4.conf", l, "drop_gratuitous_arp=0"))
	}
	if l.DropNA && len(vip6(f.Config.File)) > 0 {
		r.warn(l.Name, "drop_unsolicited_na is on", fixFor("net.ipv6.conf", l, "drop_unsolicited_na=0"))
	}
}

func judgeOneLAN(f *Facts, r *reporter) {
	l, why := f.vipLink()
	if why != "" {
		r.unseen(why)
		return
	}
	for _, vip := range vip4(f.Config.File) {
		for _, o := range f.Links {
			if o.Name != l.Name && o.Up && !o.Loopback && o.MAC != nil && o.Master == "" && o.ARPIgnore == 0 && o.contains(vip) && l.contains(vip) {
				r.warn(o.Name, fmt.Sprintf("is in the same network as %s, and answers ARP for %s too (arp_ignore is 0)", l.Name, vip), "")
			}
		}
	}
}

func judgeIPv6(f *Facts, r *reporter) {
	l, why := f.vipLink()
	switch {
	case len(vip6(f.Config.File)) == 0:
		r.none()
	case why != "":
		r.unseen(why)
	case l.NoIPv6:
		r.error(l.Name, "disable_ipv6 is on", fixFor("net.ipv6.conf", l, "disable_ipv6=0"))
	}
}
