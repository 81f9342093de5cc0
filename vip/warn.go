package vip

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// warnings says what is odd about the link. The facts are gathered here, judged
// by judge.
func (v *VIP) warnings(li linkInfo) ([]string, error) {
	f := facts{link: li, vips: v.addrs}
	var err error
	if f.addrs, err = v.kernel.addrs(v.addrs); err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	if li.master != 0 {
		if m, err := v.kernel.linkByIndex(li.master); err == nil {
			f.port = portOf(li, []linkInfo{m})
		}
	}
	// The kernel applies the larger of the two.
	for _, where := range []string{"all", li.name} {
		n, err := strconv.Atoi(v.kernel.sysctl("net/ipv4/conf/" + where + "/arp_ignore"))
		if err == nil {
			f.arpIgnore = max(f.arpIgnore, n)
		}
	}
	return judge(f), nil
}

// facts is what warnings are judged from.
type facts struct {
	link      linkInfo
	port      string // the bridge or bond it belongs to
	addrs     []addrInfo
	vips      []netip.Addr
	arpIgnore int
}

func judge(f facts) []string {
	var out []string
	warn := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	name := f.link.name
	if f.port != "" {
		warn("%s is a port of %s: an address on it answers nobody, name %s instead", name, f.port, f.port)
	}
	if f.link.mac == nil {
		warn("%s has no Ethernet address: the VIP cannot be announced on it", name)
	}
	for _, vip := range f.vips {
		if vip.Is4() && (f.arpIgnore == 2 || f.arpIgnore == 8) {
			warn("arp_ignore is %d on %s: the kernel will not answer ARP for %v, set it to 0 or 1", f.arpIgnore, name, vip)
		}
		if w := judgeAddresses(f, vip); w != "" {
			warn("%s", w)
		}
	}
	for _, a := range f.addrs {
		for _, vip := range f.vips {
			if a.prefix.Addr() == vip && a.permanent {
				warn("%v is on link %d for ever: something else put it there, remove it", a.prefix, a.index)
			}
		}
	}
	return out
}

// judgeAddresses compares the VIP with the link's own addresses of its family.
func judgeAddresses(f facts, vip netip.Addr) string {
	var own []string
	inside, vipFirst := false, false
	for _, a := range f.addrs {
		p := a.prefix
		switch {
		case a.index != f.link.index || p.Addr().Is4() != vip.Is4() || p.Addr().IsLinkLocalUnicast():
		case p.Addr() == vip:
			vipFirst = len(own) == 0
		default:
			own = append(own, p.Masked().String())
			inside = inside || p.Contains(vip)
		}
	}
	switch {
	case len(own) == 0:
		return fmt.Sprintf("%s has no address of its own in the family of %v: programs may take the VIP for the node's address", f.link.name, vip)
	case !inside:
		return fmt.Sprintf("%v is outside every prefix of %s (%s): its neighbours reach it only if they have a route to it", vip, f.link.name, strings.Join(own, ", "))
	case vipFirst && vip.Is4():
		// IPv6 lists the newest first, always; there the deprecated flag counts.
		return fmt.Sprintf("%v comes before the node's own address on %s: programs that take the first one, and routes without a gateway, use it", vip, f.link.name)
	}
	return ""
}
