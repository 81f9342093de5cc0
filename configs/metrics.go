package configs

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
)

// Metrics says where metrics and health are served over TCP.
type Metrics struct {
	Listen Listen
}

// SelfHost as the host of metrics.listen means the node's own address in
// [masters], which differs while the file does not.
const SelfHost = "self"

// minPort is the first port that needs no capability; the daemon has none for it.
const minPort = 1024

// Listen is an address to listen on. The zero value means none.
type Listen struct {
	Host string // SelfHost, an IP address, or "" for every address
	Port int    // 0: off
}

// On reports whether there is anything to listen on.
func (l Listen) On() bool { return l.Port != 0 }

// Address returns what to listen on, on the node with that address of its own.
func (l Listen) Address(self netip.Addr) string {
	host := l.Host
	if host == SelfHost {
		host = self.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(l.Port))
}

// String returns the address as it is written in the file.
func (l Listen) String() string {
	if !l.On() {
		return "off"
	}
	return net.JoinHostPort(l.Host, strconv.Itoa(l.Port))
}

const listenFix = `write "off", "self:9478" for the node's own address, or an address with a port such as "127.0.0.1:9478"`

func listenKey(name, doc string) key {
	return key{
		name: name, takes: `"off", or "self", an IP address or nothing, with a port`, doc: doc,
		read: func(c *Config, v any, report reporter) {
			s, ok := asText(v, report)
			if !ok {
				return
			}
			if l, ok := parseListen(s, report); ok {
				c.Metrics.Listen = l
			}
		},
		show: func(c *Config) string { return literal(c.Metrics.Listen.String()) },
	}
}

func parseListen(s string, report reporter) (Listen, bool) {
	if s == "off" {
		return Listen{}, true
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		report(fmt.Sprintf("%q is not an address with a port", s), listenFix)
		return Listen{}, false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n < minPort {
		report(fmt.Sprintf("%q has the port %q", s, port), fmt.Sprintf("write a port from %d to 65535: the daemon may not open a lower one", minPort))
		return Listen{}, false
	}
	if host != SelfHost && host != "" {
		a, err := netip.ParseAddr(host)
		if err != nil || a.Is4In6() || a.IsMulticast() {
			report(fmt.Sprintf("%q has the host %q, which is not an IP address to listen on", s, host), listenFix)
			return Listen{}, false
		}
		host = a.String()
	}
	return Listen{Host: host, Port: int(n)}, true
}

// takenPorts are those of a master's control plane. The daemon starts before it, so
// whoever is to have one of them would find it in use, at the next boot at the latest.
func (c *Config) takenPorts() map[int]string {
	_, api := c.Endpoint()
	return map[int]string{api: "the API server", 2379: "etcd's clients", 2380: "etcd's peers", 10250: "the kubelet",
		10257: "the controller manager", 10259: "the scheduler"}
}

// validateListen refuses what only the holder, or only one master, could open, and
// what somebody else must.
func (d *decoder) validateListen() {
	if who, ok := d.config.takenPorts()[d.config.Metrics.Listen.Port]; ok {
		d.report("metrics.listen", fmt.Sprintf("port %d is for %s, which could not start then", d.config.Metrics.Listen.Port, who), `write another one, such as "self:9478"`)
		return
	}
	a, err := netip.ParseAddr(d.config.Metrics.Listen.Host)
	if err != nil {
		return
	}
	if slices.Contains(d.config.VIP.Addresses, a) {
		d.report("metrics.listen", fmt.Sprintf("%s is the VIP: only the holder could listen there", a), `write "self:PORT" for the node's own address`)
		return
	}
	for _, m := range d.config.Masters {
		if m.Address == a && len(d.config.Masters) > 1 {
			d.warn("metrics.listen", fmt.Sprintf("%s is the address of %s alone", a, m.Name), `write "self:PORT": each master then listens on its own`)
		}
	}
}
