package check

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"havip/configs"
)

var firewallLooks = []Look{
	{
		Name: "firewalld", When: Always, Parts: []Part{PartFirewall, PartLinks},
		About: "firewalld lets in the API server, etcd and heartbeats on the VIP's link",
		Why:   "clients come through the VIP to the API server's port, and masters to each other's etcd, by which they elect; ARP it does not filter. Where election.detection is on, masters also hear each other over UDP: without it a dead holder is found as late as without heartbeats",
		Fix:   "firewall-cmd --permanent --add-service=havip && firewall-cmd --reload",
		judge: judgeFirewalld,
	}, {
		Name: "output", When: Always, Parts: []Part{PartFirewall}, Free: true,
		About: "no output chain drops what it does not know",
		Why:   "what such a chain does not let out havip cannot send: etcd's clients and peers, heartbeats where election.detection is on, and with the family arp the VIP's announcements",
		Fix:   "let out TCP to 2379, 2380 and the API server's port among the masters, UDP to election.heartbeat_port (9478), and ARP; nft list ruleset",
		judge: judgeOutput,
	},
}

// known are the services of firewalld that open these ports, by themselves or by
// what they include (firewalld 1.3, /usr/lib/firewalld/services; havip.xml is of this
// package).
var known = map[string][]int{
	"havip": {6443, 2379, 2380}, "kube-control-plane": {6443, 2379, 2380}, "kube-control-plane-secure": {6443, 2379, 2380},
	"kube-apiserver": {6443}, "etcd-client": {2379}, "etcd-server": {2380},
}

func judgeFirewalld(f *Facts, r *reporter) {
	w := f.Firewall
	switch {
	case w.Error != "":
		r.unseen("firewalld runs, and does not tell: " + w.Error)
		return
	case w.Firewalld == nil:
		r.none()
		return
	case w.Firewalld.Target == "ACCEPT":
		return
	}
	_, api := f.Config.File.Endpoint()
	judgeHeartbeatPort(f.Config.File.Election, w.Firewalld, r)
	var closed, add []string
	for _, port := range []int{api, 2379, 2380} {
		if !w.Firewalld.open("tcp", port) {
			closed = append(closed, strconv.Itoa(port))
			add = append(add, fmt.Sprintf("--add-port=%d/tcp", port))
		}
	}
	if len(closed) == 0 {
		return
	}
	fix := "" // the service has the API server's usual port
	if api != 6443 {
		fix = "firewall-cmd --permanent --zone=" + w.Firewalld.Zone + " " + strings.Join(add, " ") + " && firewall-cmd --reload"
	}
	what := "does not let in TCP to " + strings.Join(closed, ", ")
	if w.Firewalld.BySource {
		r.warn("zone "+w.Firewalld.Zone, what+"; whether a zone that goes by addresses lets the others in is not looked at", fix)
		return
	}
	r.error("zone "+w.Firewalld.Zone, what, fix)
}

// judgeHeartbeatPort only warns: heartbeats that do not come cost speed.
func judgeHeartbeatPort(e configs.Election, z *Firewalld, r *reporter) {
	if !e.Detection.Heartbeats().On() || z.open("udp", e.HeartbeatPort) {
		return
	}
	fix := "" // the service has the usual port
	if e.HeartbeatPort != configs.DefaultHeartbeatPort {
		fix = fmt.Sprintf("firewall-cmd --permanent --zone=%s --add-port=%d/udp && firewall-cmd --reload", z.Zone, e.HeartbeatPort)
	}
	r.warn("zone "+z.Zone, fmt.Sprintf("does not let in UDP to %d: the masters' heartbeats", e.HeartbeatPort), fix)
}

// open reports whether the zone lets a port in. Of the services only this package's
// has heartbeats.
func (z *Firewalld) open(protocol string, port int) bool {
	byService := func(s string) bool {
		if protocol == "udp" {
			return s == "havip" && port == configs.DefaultHeartbeatPort
		}
		return slices.Contains(known[s], port)
	}
	if slices.ContainsFunc(z.Services, byService) {
		return true
	}
	return slices.ContainsFunc(z.Ports, func(text string) bool {
		numbers, of, _ := strings.Cut(text, "/")
		first, last, ranged := strings.Cut(numbers, "-")
		if !ranged {
			last = first
		}
		a, err1 := strconv.Atoi(first)
		b, err2 := strconv.Atoi(last)
		return of == protocol && err1 == nil && err2 == nil && a <= port && port <= b
	})
}

func judgeOutput(f *Facts, r *reporter) {
	if f.Firewall.ChainsError != "" {
		r.unseen(f.Firewall.ChainsError)
		return
	}
	for _, c := range f.Firewall.Chains {
		name := fmt.Sprintf("%s %s %s", c.Family, c.Table, c.Name)
		switch {
		case c.Family == "arp" && c.Rules == 0:
			r.error(name, fmt.Sprintf("drops all ARP (hook %s)", c.Hook), "nft delete chain "+name+", or accept ARP in it")
		case c.Family == "arp":
			r.warn(name, fmt.Sprintf("drops ARP that none of its %d rules accepts (hook %s)", c.Rules, c.Hook), "")
		case c.Hook == "output" && c.Rules == 0:
			r.error(name, "drops all that this node sends", "nft delete chain "+name)
		case c.Hook == "output":
			r.warn(name, fmt.Sprintf("drops what none of its %d rules accepts", c.Rules), "")
		}
	}
}
