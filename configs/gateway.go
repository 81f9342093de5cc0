package configs

import (
	"fmt"
	"net/netip"
	"slices"
)

// maxGateways bounds how many hosts are asked each time.
const maxGateways = 8

const gatewayHint = "name the gateway of the VIP's network, or another host that is always there"

func gatewayKey(name, doc string) key {
	hosts := listing[netip.Addr]{
		name: name, takes: fmt.Sprintf(`"off", or an IP address, or a list of up to %d`, maxGateways), doc: doc,
		example: `["198.51.100.1", "198.51.100.2"]`,
		field:   func(c *Config) *[]netip.Addr { return &c.Health.Gateway },
		parse:   parseGateway,
		write:   netip.Addr.String,
		same:    netip.Addr.String,
		whole: func(list []netip.Addr, report reporter) bool {
			if len(list) > maxGateways {
				report(fmt.Sprintf("has %d addresses", len(list)), fmt.Sprintf("keep at most %d", maxGateways))
			}
			return len(list) <= maxGateways
		},
	}
	k := hosts.key()
	k.read = func(c *Config, v any, report reporter) {
		if v == "off" {
			c.Health.Gateway = nil
			return
		}
		hosts.read(c, v, report)
	}
	k.show = func(c *Config) string {
		if len(c.Health.Gateway) == 0 {
			return literal("off")
		}
		return hosts.show(c)
	}
	return k
}

// parseGateway takes link-local addresses too: the link is known, and gateways of
// IPv6 often have no other there.
func parseGateway(s string, report reporter) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "" {
		return a, true
	}
	return parseAddress(s, gatewayHint, report)
}

// validateGateway refuses hosts whose answer, or silence, means nothing.
func (d *decoder) validateGateway() {
	var others []netip.Addr // beside the masters
	for _, a := range d.config.Health.Gateway {
		switch {
		case slices.Contains(d.config.VIP.Addresses, a):
			d.report("health.gateway", fmt.Sprintf("%s is the VIP", a), gatewayHint)
			return
		case !slices.ContainsFunc(d.config.VIP.Addresses, func(v netip.Addr) bool { return v.Is4() == a.Is4() }) && d.config.Configured():
			d.warn("health.gateway", fmt.Sprintf("%s is not of the VIP's family: it tells whether the link works, not whether clients get through", a), "name a host of the VIP's family too")
		}
		if !slices.ContainsFunc(d.config.Masters, func(m Master) bool { return m.Address == a }) {
			others = append(others, a)
		}
	}
	if n := len(d.config.Health.Gateway); n == 1 && len(others) == 0 {
		d.report("health.gateway", fmt.Sprintf("%s is a master: on itself there would be nobody to ask", d.config.Health.Gateway[0]), gatewayHint)
	}
}
