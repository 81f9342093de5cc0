package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// recentConflict is how long a claim on the wire is worth an error: as long as
// havipctl status counts it as a problem.
const recentConflict = 10 * time.Minute

var vipLooks = []Look{
	{
		Name: "stray", When: Always, Parts: []Part{PartLinks},
		About: "the VIP is on this node only where, and while, havip holds it",
		Why:   "an address that something else put here stays when another master takes the VIP: two nodes have it then",
		Fix:   "remove it where it is configured (the network configuration, another VIP program, a Service's externalIPs), then: ip addr del",
		judge: judgeStray,
	}, {
		Name: "vip", When: Always, Parts: []Part{PartWire, PartDaemon},
		About: "the VIP is free, or its rightful holder has it",
		Why:   "two machines with one address take each other's connections",
		Fix:   "find that machine and take the address off it",
		judge: judgeVIP,
	}, {
		Name: "conflicts", When: Always, Parts: []Part{PartDaemon},
		About: "nobody else claimed the VIP on the wire",
		Why:   "clients follow whoever spoke last: connections go to the wrong machine until this node announces the VIP again",
		Fix:   "find the machine with that MAC (the switch's forwarding table) and take the address off it",
		judge: judgeConflicts,
	}, {
		Name: "rivals", When: Always, Parts: []Part{PartNode},
		About: "no kube-vip and no keepalived would set the VIP too",
		// What counts is what a kube-vip is told to do (cp_enable and the address;
		// docs/flags/index.md of kube-vip): one for Services only is no rival, and
		// MetalLB never is.
		Why:   "it knows nothing of havip's election: two nodes would have the VIP",
		Fix:   "switch it off on every master",
		judge: judgeRivals,
	},
}

func judgeStray(f *Facts, r *reporter) {
	l, why := f.vipLink()
	for _, vip := range f.Config.File.VIP.Addresses {
		for _, o := range f.Links {
			if !o.has(vip) {
				continue
			}
			remove := fmt.Sprintf("remove it where it is configured, then: ip addr del %s dev %s", vip, o.Name)
			switch {
			case why != "":
				r.error(o.Name, fmt.Sprintf("%s is on it, and %s", vip, why), remove)
			case o.Name != l.Name:
				r.error(o.Name, fmt.Sprintf("%s is on it, and the VIP's link is %s", vip, l.Name), remove)
			case f.permanent(vip):
				r.error(o.Name, fmt.Sprintf("%s is on it without a lifetime: something other than havip set it", vip), remove)
			case f.Daemon.Stopped:
				r.error(o.Name, fmt.Sprintf("%s is on it, and havipd does not run", vip), remove)
			case f.unheld(vip):
				r.error(o.Name, fmt.Sprintf("%s is on it, and havip does not hold it here", vip), remove)
			}
		}
	}
}

// servingRoles are those in which a node has the VIP or is about to clear it.
var servingRoles = []string{"holder", "claimant", "releasing"}

// unheld reports that the daemon sees the address here too, and does not hold it:
// by the time that it was asked the address may have been handed over.
func (f *Facts) unheld(vip netip.Addr) bool {
	d := f.Daemon
	seen := slices.ContainsFunc(d.Addresses, func(a Address) bool { return a.Address == vip && a.Present })
	return d.Error == "" && seen && d.Holder != f.Self.Name && !slices.Contains(servingRoles, d.Role)
}

func (f *Facts) permanent(vip netip.Addr) bool {
	return slices.ContainsFunc(f.Daemon.Addresses, func(a Address) bool { return a.Address == vip && a.Present && a.Permanent })
}

func judgeVIP(f *Facts, r *reporter) {
	for _, a := range f.Wire {
		f.judgeAnswer(a, r)
	}
	if f.Daemon.Probed {
		f.judgeProbe(r)
	}
}

// judgeAnswer compares who answers at the VIP with who should.
func (f *Facts) judgeAnswer(a Answer, r *reporter) {
	here := slices.ContainsFunc(f.Links, func(l Link) bool { return l.has(a.Address) })
	answered := a.Accepts || a.Refuses || a.MAC != "" && !a.Stale
	who := "somebody"
	if a.MAC != "" {
		who = a.MAC
	}
	d := &f.Daemon
	switch {
	case here, slices.Contains(servingRoles, d.Role): // the stray look's
	case !answered && !a.Silent:
		r.unseen("the wire cannot be asked: " + a.Error)
	case d.Error == "" && d.Holder != "" && !answered:
		r.error(a.Address.String(), fmt.Sprintf("%s holds it, and connections to it get no answer here: %s", d.Holder, a.Error),
			fmt.Sprintf("see that %s and this node are in one network: VLAN, switch, bond; and that no firewall is between them", d.Holder))
	case d.Error == "" && d.Holder != "":
	case a.Accepts && !f.Joined: // the cluster that this node is to join, or another one
		r.warn(a.Address.String(), fmt.Sprintf("%s accepts connections to the API server at it", who),
			"right if this node is to join that cluster: havipctl join; if there is none yet, find that machine")
	case f.Joined && d.Error != "": // who holds it is not known here
	case a.Stale && !d.Probed:
		r.unseen(fmt.Sprintf("%s had %s a while ago, and whether it still has is not known yet: ask again in a minute", a.MAC, a.Address))
	case answered:
		r.error(a.Address.String(), fmt.Sprintf("%s answers for it, and no master is known to hold it", who), "")
	case !slices.ContainsFunc(f.Links, func(l Link) bool { return l.contains(a.Address) }):
		r.unseen(a.Address.String() + " is in no network of this node: that it does not answer proves nothing")
	}
}

// judgeProbe takes over what the daemon saw when it asked the wire. Where an API
// server answers at the VIP there is a cluster, whose holder answers rightly.
func (f *Facts) judgeProbe(r *reporter) {
	if f.Daemon.ProbeError != "" {
		r.unseen("the daemon could not look at the wire: " + f.Daemon.ProbeError)
		return
	}
	if f.Daemon.Holder != "" || slices.ContainsFunc(f.Wire, func(a Answer) bool { return a.Accepts }) {
		return
	}
	for _, p := range f.Daemon.Probe {
		if p.Subject == "VIP" && p.Blocks || p.Subject == "link" && p.Blocks {
			r.error(p.Subject, p.What+f.probed(p.Subject), p.Fix)
		}
	}
}

// probed is what else the daemon said of it, such as the MAC that answered.
func (f *Facts) probed(subject string) string {
	var more []string
	for _, p := range f.Daemon.Probe {
		if p.Subject == subject && !p.Blocks {
			more = append(more, p.What)
		}
	}
	if len(more) == 0 {
		return ""
	}
	return " (" + strings.Join(more, "; ") + ")"
}

func judgeConflicts(f *Facts, r *reporter) {
	if !f.asked(r) {
		return
	}
	for _, c := range f.Daemon.Conflicts {
		often := "once"
		if c.Count > 1 {
			often = fmt.Sprintf("%d times", c.Count)
		}
		what := fmt.Sprintf("%s claimed it %s, last %s ago", c.MAC, often, c.Ago.Round(time.Second))
		if c.Ago <= recentConflict {
			r.error(c.Address.String(), what, "")
		} else {
			r.warn(c.Address.String(), what, "")
		}
	}
}

// asked reports whether the daemon could be asked, and says so if not.
func (f *Facts) asked(r *reporter) bool {
	switch {
	case f.Daemon.Stopped:
		r.unseen("havipd does not run")
	case f.Daemon.Error != "":
		r.unseen(f.Daemon.Error)
	case !f.Daemon.Configured:
		r.unseen("havipd has no configuration yet")
	default:
		return true
	}
	return false
}

func judgeRivals(f *Facts, r *reporter) {
	for _, rival := range f.Node.Rivals {
		r.error("", rival.What+" would set the VIP too", rival.Fix)
	}
	for _, set := range f.Cluster.KubeVIP {
		r.error("", "kube-vip in "+set+" would set the VIP too", "take cp_enable off it: kubectl -n "+strings.Replace(set, "/", " edit daemonset ", 1))
	}
}
