package check

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

var etcdLooks = []Look{
	{
		Name: "etcd-urls", When: After, Parts: []Part{PartFiles},
		About: "no URL of etcd names the VIP",
		// kubeadm#2614: etcd that is reached by, or speaks from, the VIP fails its
		// peers' certificate checks.
		Why:   "the VIP moves with the election that etcd decides: a member that is reached by it is another member after a move",
		Fix:   "give it the node's own address in /etc/kubernetes/manifests/etcd.yaml, and: etcdctl member update",
		judge: judgeEtcdURLs,
	}, {
		Name: "etcd-members", When: After, Parts: []Part{PartDaemon},
		About: "etcd has an odd number of voting members, at least three, and no learner left over",
		Why:   "two members survive no failure, four no more than three; a learner has no vote and stays until it is promoted or removed",
		Fix:   "join or remove a master (havipctl join; havipctl reset on it)",
		judge: judgeMembers,
	}, {
		Name: "etcd-alarms", When: After, Parts: []Part{PartDaemon},
		About: "etcd has raised no alarm",
		Why:   "with an alarm etcd refuses writes, so no holder can renew and the API server can change nothing",
		Fix:   "NOSPACE: etcdctl compact, etcdctl defrag on every member, etcdctl alarm disarm; CORRUPT: replace that member",
		judge: judgeAlarms,
	},
}

// urlFlags are etcd's flags with URLs (etcd --help).
var urlFlags = []string{"advertise-client-urls", "initial-advertise-peer-urls", "listen-client-urls", "listen-peer-urls"}

func judgeEtcdURLs(f *Facts, r *reporter) {
	if f.Pods.EtcdError != "" {
		r.unseen(f.Pods.EtcdError)
	}
	for _, flag := range urlFlags {
		for u := range strings.SplitSeq(f.Pods.Etcd[flag], ",") {
			if f.isVIP(u) {
				r.error("--"+flag, "names the VIP: "+u, "")
			}
		}
	}
	for _, m := range f.Daemon.Etcd.Members {
		for _, u := range m.ClientURLs {
			if f.isVIP(u) {
				r.error(m.Name, "is known to etcd by the VIP: "+u, "")
			}
		}
	}
}

// isVIP reports whether a URL leads to an address of the VIP.
func (f *Facts) isVIP(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(u.Hostname())
	return err == nil && slices.Contains(f.Config.File.VIP.Addresses, a.Unmap())
}

func judgeMembers(f *Facts, r *reporter) {
	if !f.asked(r) {
		return
	}
	e := f.Daemon.Etcd
	if !e.Answers() || len(e.Members) == 0 {
		r.unseen("etcd does not answer havipd: " + e.State)
		return
	}
	voting := 0
	for _, m := range e.Members {
		if m.Learner {
			r.warn(cmp.Or(m.Name, "a member that never started"), "is a learner", "if it is not joining at this moment: etcdctl member promote, or etcdctl member remove")
			continue
		}
		voting++
	}
	masters := len(f.Config.File.Masters)
	switch {
	case voting == 1 && masters == 1:
	case voting == 1:
		r.warn("", fmt.Sprintf("etcd has one member, and [masters] names %d", masters), "")
	case voting == 2:
		r.warn("", "etcd has two members: it survives the loss of neither", "")
	case voting%2 == 0:
		r.warn("", fmt.Sprintf("etcd has %d members: it survives no more failures than with %d", voting, voting-1), "")
	}
}

func judgeAlarms(f *Facts, r *reporter) {
	if !f.asked(r) {
		return
	}
	for _, a := range f.Daemon.Etcd.Alarms {
		r.error("", a, "")
	}
}
