package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/configs"
	"havip/kubeadm"
)

// told are the findings of a report but those that all is well.
func told(r Report) string {
	var lines []string
	for _, f := range r.Findings {
		if f.Level == LevelOK {
			continue
		}
		line := fmt.Sprintf("%s %s: ", f.Level, f.Look)
		if f.Subject != "" {
			line += f.Subject + ": "
		}
		lines = append(lines, line+f.What)
	}
	return strings.Join(lines, "\n")
}

type judgeTest struct {
	name   string
	base   func(*testing.T) Facts
	change func(f *Facts)
	want   string
	fix    string // of the first finding; empty: whatever it is
}

var judgeTests = []judgeTest{
	{"master", master, func(*Facts) {}, "", ""},
	{"bare", bare, func(*Facts) {}, "", ""},
	{"master that holds it", master, func(f *Facts) {
		f.Daemon.Holder, f.Daemon.Role = "n1", "holder"
		f.Links[1].Prefixes = append(f.Links[1].Prefixes, netip.MustParsePrefix("198.51.100.166/32"), netip.MustParsePrefix("2001:db8::166/128"))
		f.Daemon.Addresses = []Address{{Address: addr("198.51.100.166"), Present: true}}
		f.Wire = []Answer{{Address: addr("198.51.100.166"), Accepts: true}, {Address: addr("2001:db8::166"), Accepts: true}}
	}, "", ""},
	{"to join", bare, func(f *Facts) { // the daemon's probe is answered, by the cluster
		f.Wire[0], f.Wire[1] = Answer{Address: addr("198.51.100.166"), Accepts: true, MAC: "02:00:00:00:00:02"}, Answer{Address: addr("2001:db8::166"), Accepts: true}
		f.Daemon.Probe = []kubeadm.Finding{{Subject: "VIP", What: "somebody uses the VIP already", Blocks: true}, {Subject: "masters", What: "another master runs already", Blocks: true}}
	}, `warning vip: 198.51.100.166: 02:00:00:00:00:02 accepts connections to the API server at it
warning vip: 2001:db8::166: somebody accepts connections to the API server at it`, ""},
	{"no cluster, other masters silent", bare, func(f *Facts) {
		f.Daemon.Probe = []kubeadm.Finding{{Subject: "n2", What: "port 2380 is closed"}}
	}, "", ""},

	{"broken config", master, func(f *Facts) {
		f.Config = Config{Path: "/x", Problems: []string{"x:1: syntax", "x:2: vip.adress: unknown"}}
		f.Daemon.Warnings = f.Config.Problems // havipd has read it too
	}, `error config: x:1: syntax
error config: x:2: vip.adress: unknown
unseen self: the config file cannot be used
unseen link: the config file cannot be used
unseen prefix: the config file cannot be used
unseen arp-ignore: the config file cannot be used
unseen announcements: the config file cannot be used
unseen one-lan: the config file cannot be used
unseen ipv6: the config file cannot be used
unseen stray: the config file cannot be used
unseen vip: the config file cannot be used
unseen conflicts: the config file cannot be used
unseen rivals: the config file cannot be used
unseen held: the config file cannot be used
unseen etcd-urls: the config file cannot be used
unseen etcd-members: the config file cannot be used
unseen etcd-alarms: the config file cannot be used
unseen etcd-certificate: the config file cannot be used
unseen certificates: the config file cannot be used
unseen api-names: the config file cannot be used
unseen endpoint: the config file cannot be used
unseen node-ip: the config file cannot be used
unseen firewalld: the config file cannot be used
unseen nodeports: the config file cannot be used
unseen ipvs: the config file cannot be used
unseen calico: the config file cannot be used
unseen cilium: the config file cannot be used`, ""},
	{"config with a warning", master, func(f *Facts) { f.Config.Warnings = []string{"hold is short"} }, "warning config: hold is short", ""},
	{"nobody's node", master, func(f *Facts) { f.Config.SelfSays = "find this node in [masters]: none" }, "error self: find this node in [masters]: none", ""},

	{"no such link", master, func(f *Facts) { f.Daemon.Link = "eth7" }, `error link: there is no link eth7
unseen prefix: there is no link eth7
unseen arp-ignore: there is no link eth7
unseen announcements: there is no link eth7
unseen one-lan: there is no link eth7
unseen ipv6: there is no link eth7`, "set vip.interface to one of eth0, eth10"},
	{"port of a bridge", master, func(f *Facts) { f.Links[1].Master = "br0" }, "error link: eth0: is a port of br0: an address on it answers nobody", "set vip.interface to br0"},
	{"no Ethernet", master, func(f *Facts) { f.Links[1].MAC = nil }, "error link: eth0: has no Ethernet address: the VIP cannot be announced on it", ""},
	{"down", master, func(f *Facts) { f.Links[1].Up = false }, "error link: eth0: is down", "ip link set eth0 up"},
	{"no carrier", master, func(f *Facts) { f.Links[1].Carrier = false }, "error link: eth0: has no carrier", ""},
	{"other network", master, func(f *Facts) {
		f.Links[1].Prefixes[0], f.Links[2].Prefixes[0] = netip.MustParsePrefix("203.0.113.7/24"), netip.MustParsePrefix("198.51.100.162/24")
	}, "error prefix: eth0: 198.51.100.166 is not in its network, but in that of eth10", "set vip.interface to eth10"},
	{"no network", master, func(f *Facts) { f.Links[1].Prefixes[0] = netip.MustParsePrefix("203.0.113.7/24") },
		"warning prefix: eth0: 198.51.100.166 is outside of its prefixes (203.0.113.0/24)", ""},
	{"last address", bare, func(f *Facts) {
		f.Links[1].Prefixes[0] = netip.MustParsePrefix("198.51.100.162/29")
		f.setVIP("198.51.100.167")
	},
		"error prefix: eth0: 198.51.100.167 is the first or last address of 198.51.100.160/29, which no machine can have", ""},
	{"first address", bare, func(f *Facts) { f.setVIP("198.51.100.0") },
		"error prefix: eth0: 198.51.100.0 is the first or last address of 198.51.100.0/24, which no machine can have", ""},
	{"arp_ignore 1", master, func(f *Facts) { f.Links[1].ARPIgnore = 1 }, "", ""},
	{"arp_ignore 2", master, func(f *Facts) { f.Links[1].ARPIgnore = 2 }, "error arp-ignore: eth0: arp_ignore is 2",
		"sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.eth0.arp_ignore=1, and correct it in /etc/sysctl.d"},
	{"arp_ignore 8", master, func(f *Facts) { f.Links[1].ARPIgnore = 8 }, "error arp-ignore: eth0: arp_ignore is 8", ""},
	{"drop_gratuitous_arp", master, func(f *Facts) { f.Links[1].DropGratuitous = true }, "warning announcements: eth0: drop_gratuitous_arp is on", ""},
	{"drop_unsolicited_na", master, func(f *Facts) { f.Links[1].DropNA = true }, "warning announcements: eth0: drop_unsolicited_na is on", ""},
	{"two links in a LAN", master, func(f *Facts) { f.Links[2].Prefixes[0] = netip.MustParsePrefix("198.51.100.7/24") },
		"warning one-lan: eth10: is in the same network as eth0, and answers ARP for 198.51.100.166 too (arp_ignore is 0)", ""},
	{"two links in a LAN, one silent", master, func(f *Facts) {
		f.Links[2].Prefixes[0], f.Links[2].ARPIgnore = netip.MustParsePrefix("198.51.100.7/24"), 1
	}, "", ""},
	{"no IPv6", master, func(f *Facts) { f.Links[1].NoIPv6 = true }, "error ipv6: eth0: disable_ipv6 is on", ""},

	{"VIP elsewhere", master, func(f *Facts) {
		f.Links[2].Prefixes = append(f.Links[2].Prefixes, netip.MustParsePrefix("198.51.100.166/32"))
	},
		"error stray: eth10: 198.51.100.166 is on it, and the VIP's link is eth0", "remove it where it is configured, then: ip addr del 198.51.100.166 dev eth10"},
	{"VIP and no link for it", master, func(f *Facts) { f.here(); f.Daemon.Link = "eth7" }, `error link: there is no link eth7
error stray: eth0: 198.51.100.166 is on it, and there is no link eth7
unseen prefix: there is no link eth7
unseen arp-ignore: there is no link eth7
unseen announcements: there is no link eth7
unseen one-lan: there is no link eth7
unseen ipv6: there is no link eth7`, ""},
	{"VIP for ever", master, func(f *Facts) {
		f.here()
		f.Daemon.Role, f.Daemon.Holder = "holder", "n1"
		f.Daemon.Addresses = []Address{{Address: addr("198.51.100.166"), Present: true, Permanent: true}}
	}, "error stray: eth0: 198.51.100.166 is on it without a lifetime: something other than havip set it", ""},
	{"VIP without a daemon", bare, func(f *Facts) { f.here(); f.Daemon = Daemon{Stopped: true, Error: "no socket"} }, `error stray: eth0: 198.51.100.166 is on it, and havipd does not run
warning havipd: havipd does not run
unseen conflicts: havipd does not run`, ""},
	{"VIP just handed over", master, func(f *Facts) { f.here() }, "", ""},
	{"VIP and another holder", master, func(f *Facts) {
		f.here()
		f.Daemon.Addresses = []Address{{Address: addr("198.51.100.166"), Present: true}}
	}, "error stray: eth0: 198.51.100.166 is on it, and havip does not hold it here", ""},
	{"VIP in use", bare, func(f *Facts) {
		f.Wire[0] = Answer{Address: addr("198.51.100.166"), Refuses: true, MAC: "02:00:00:00:00:99"}
	}, "error vip: 198.51.100.166: 02:00:00:00:00:99 answers for it, and no master is known to hold it", ""},
	{"VIP in use, by the daemon's word", bare, func(f *Facts) {
		f.Daemon.Probe = []kubeadm.Finding{{Subject: "VIP", What: "somebody uses it", Fix: "free it", Blocks: true}, {Subject: "VIP", What: "answered by 02:00:00:00:00:99"}}
	}, "error vip: VIP: somebody uses it (answered by 02:00:00:00:00:99)", "free it"},
	{"a holder is known by another member of etcd", bare, func(f *Facts) {
		f.Daemon.Holder, f.Wire[0], f.Wire[1] = "n2", Answer{Address: addr("198.51.100.166"), Refuses: true}, Answer{Address: addr("2001:db8::166"), Refuses: true}
		f.Daemon.Probe = []kubeadm.Finding{{Subject: "VIP", What: "somebody uses it", Blocks: true}}
	}, "", ""},
	{"silent link", bare, func(f *Facts) {
		f.Daemon.Probe = []kubeadm.Finding{{Subject: "link", What: "nobody on the link answers", Fix: "check cable", Blocks: true}}
	}, "error vip: link: nobody on the link answers", "check cable"},
	{"probe failed", bare, func(f *Facts) { f.Daemon.ProbeError = "permission denied" }, "unseen vip: the daemon could not look at the wire: permission denied", ""},
	{"holder not heard", master, func(f *Facts) {
		f.Wire[0] = Answer{Address: addr("198.51.100.166"), Silent: true, Error: "no route to host"}
	}, "error vip: 198.51.100.166: n2 holds it, and connections to it get no answer here: no route to host", "see that n2 and this node are in one network: VLAN, switch, bond; and that no firewall is between them"},
	{"holder not heard, but of old", master, func(f *Facts) {
		f.Wire[0] = Answer{Address: addr("198.51.100.166"), Silent: true, Stale: true, MAC: "02:00:00:00:00:02", Error: "timeout"}
	}, "error vip: 198.51.100.166: n2 holds it, and connections to it get no answer here: timeout", ""},
	{"VIP had by somebody", bare, func(f *Facts) {
		f.Daemon = Daemon{Stopped: true, Error: "no socket"}
		f.Wire[0] = Answer{Address: addr("198.51.100.166"), Silent: true, Stale: true, MAC: "02:00:00:00:00:02", Error: "timeout"}
	}, `warning havipd: havipd does not run
unseen vip: 02:00:00:00:00:02 had 198.51.100.166 a while ago, and whether it still has is not known yet: ask again in a minute
unseen conflicts: havipd does not run`, ""},
	{"VIP had by somebody, and free", bare, func(f *Facts) {
		f.Wire[0] = Answer{Address: addr("198.51.100.166"), Silent: true, Stale: true, MAC: "02:00:00:00:00:02", Error: "timeout"}
	}, "", ""},
	{"VIP heard by ARP alone", bare, func(f *Facts) {
		f.Wire[0] = Answer{Address: addr("198.51.100.166"), Silent: true, MAC: "02:00:00:00:00:02", Error: "timeout"}
	}, "error vip: 198.51.100.166: 02:00:00:00:00:02 answers for it, and no master is known to hold it", ""},
	{"nobody holds it, somebody answers", master, func(f *Facts) { f.Daemon.Holder, f.Daemon.Verdict, f.Daemon.Reason = "", "NOBODY", "all drained" },
		`error vip: 198.51.100.166: 02:00:00:00:00:02 answers for it, and no master is known to hold it
error vip: 2001:db8::166: somebody answers for it, and no master is known to hold it
error held: NOBODY: all drained`, ""},
	{"no route to ask by", bare, func(f *Facts) {
		f.Wire = []Answer{{Address: addr("198.51.100.166"), Error: "network is unreachable"}}
	}, "unseen vip: the wire cannot be asked: network is unreachable", ""},
	{"VIP of a network that is not here", bare, func(f *Facts) {
		f.Wire = []Answer{{Address: addr("192.0.2.1"), Silent: true, Error: "timeout"}}
	}, "unseen vip: 192.0.2.1 is in no network of this node: that it does not answer proves nothing", ""},
	{"conflict", master, func(f *Facts) {
		f.Daemon.Conflicts = []Conflict{{Address: addr("198.51.100.166"), MAC: "02:00:00:00:00:99", Ago: 3 * time.Second, Count: 7}}
	}, "error conflicts: 198.51.100.166: 02:00:00:00:00:99 claimed it 7 times, last 3s ago", ""},
	{"old conflict", master, func(f *Facts) {
		f.Daemon.Conflicts = []Conflict{{Address: addr("198.51.100.166"), MAC: "02:00:00:00:00:99", Ago: time.Hour, Count: 1}}
	}, "warning conflicts: 198.51.100.166: 02:00:00:00:00:99 claimed it once, last 1h0m0s ago", ""},
	{"kube-vip", bare, func(f *Facts) { f.Node.Rivals = []kubeadm.Rival{{What: "kube-vip in /x", Fix: "move it"}} }, "error rivals: kube-vip in /x would set the VIP too", "move it"},
	{"kube-vip in a DaemonSet", master, func(f *Facts) { f.Cluster.KubeVIP = []string{"kube-system/kube-vip-ds"} },
		"error rivals: kube-vip in kube-system/kube-vip-ds would set the VIP too", "take cp_enable off it: kubectl -n kube-system edit daemonset kube-vip-ds"},

	{"stopped", master, func(f *Facts) { f.Daemon = Daemon{Stopped: true, Error: "no socket"} }, `error havipd: havipd does not run
unseen conflicts: havipd does not run
unseen held: havipd does not run
unseen etcd-members: havipd does not run
unseen etcd-alarms: havipd does not run`, ""},
	{"old config", master, func(f *Facts) { f.Daemon.VIP[1] = addr("2001:db8::7") },
		"warning havipd: havipd goes by the VIP [198.51.100.166 2001:db8::7], and the file has [198.51.100.166 2001:db8::166]: it has not read it since", "systemctl restart havipd, on every master"},
	{"its own warnings", master, func(f *Facts) {
		f.Config.Warnings, f.Daemon.Warnings = []string{"hold is short"}, []string{"hold is short", "n4 takes part and is not in [masters]"}
	}, "warning config: hold is short\nwarning havipd: n4 takes part and is not in [masters]", ""},
	{"may not be asked", master, func(f *Facts) { f.Daemon = Daemon{Error: "permission denied", Denied: true} }, `unseen conflicts: permission denied
unseen havipd: permission denied
unseen held: permission denied
unseen etcd-members: permission denied
unseen etcd-alarms: permission denied`, ""},
	{"hangs", bare, func(f *Facts) { f.Daemon = Daemon{Error: "no answer"} }, "warning havipd: no answer\nunseen conflicts: no answer", ""},
	{"not configured", bare, func(f *Facts) { f.Daemon.Configured = false }, `warning havipd: havipd has no configuration: it has not read this file
unseen conflicts: havipd has no configuration yet`, "systemctl restart havipd"},
	{"link of no use", master, func(f *Facts) { f.Daemon.LinkReason = "no carrier" }, "error havipd: eth0: havipd cannot use it: no carrier", ""},
	{"degraded", master, func(f *Facts) { f.Daemon.Verdict, f.Daemon.Reason = "DEGRADED", "n3 is gone" }, "warning held: DEGRADED: n3 is gone", ""},
	{"not enabled", master, func(f *Facts) { f.Units[unitHavipd] = Unit{Loaded: true} }, "error enabled: havipd.service: is not enabled", "systemctl enable havipd"},
	{"not installed", bare, func(f *Facts) { delete(f.Units, unitHavipd) }, "warning enabled: havipd.service: systemd does not know it", "install the package"},
	{"no order", master, func(f *Facts) { f.Units[unitKubelet] = Unit{Loaded: true} }, "error order: kubelet.service: is not ordered after havipd", ""},
	{"needed", master, func(f *Facts) {
		f.Units[unitKubelet] = Unit{Loaded: true, After: []string{unitHavipd}, Needs: []string{unitHavipd}}
	},
		"error order: kubelet.service: ends when havipd.service ends", ""},

	{"etcd at the VIP", master, func(f *Facts) { f.Pods.Etcd["advertise-client-urls"] = "https://198.51.100.166:2379" },
		"error etcd-urls: --advertise-client-urls: names the VIP: https://198.51.100.166:2379", ""},
	{"etcd listens at the VIP", master, func(f *Facts) {
		f.Pods.Etcd["listen-client-urls"] = "https://127.0.0.1:2379,https://[2001:db8::166]:2379"
	},
		"error etcd-urls: --listen-client-urls: names the VIP: https://[2001:db8::166]:2379", ""},
	{"another's etcd at the VIP", master, func(f *Facts) { f.Daemon.Etcd.Members[1].ClientURLs[0] = "https://198.51.100.166:2379" },
		"error etcd-urls: n2: is known to etcd by the VIP: https://198.51.100.166:2379", ""},
	{"no manifest", master, func(f *Facts) { f.Pods = Pods{EtcdError: "permission denied", APIServerError: "no such file"} },
		"unseen etcd-urls: permission denied\nunseen node-ip: no such file", ""},
	{"learner", master, func(f *Facts) {
		f.Daemon.Etcd.Members = append(f.Daemon.Etcd.Members, Member{Name: "n4", Learner: true})
	}, "warning etcd-members: n4: is a learner", ""},
	{"learner without a name", master, func(f *Facts) { f.Daemon.Etcd.Members = append(f.Daemon.Etcd.Members, Member{Learner: true}) },
		"warning etcd-members: a member that never started: is a learner", ""},
	{"two members", master, func(f *Facts) { f.Daemon.Etcd.Members = f.Daemon.Etcd.Members[:2] }, "warning etcd-members: etcd has two members: it survives the loss of neither", ""},
	{"four members", master, func(f *Facts) { f.Daemon.Etcd.Members = append(f.Daemon.Etcd.Members, Member{Name: "n4"}) },
		"warning etcd-members: etcd has 4 members: it survives no more failures than with 3", ""},
	{"one member", master, func(f *Facts) { f.Daemon.Etcd.Members = f.Daemon.Etcd.Members[:1] }, "warning etcd-members: etcd has one member, and [masters] names 3", ""},
	{"etcd silent", master, func(f *Facts) { f.Daemon.Etcd.State = "unreachable" }, "unseen etcd-members: etcd does not answer havipd: unreachable", ""},
	{"alarm", master, func(f *Facts) { f.Daemon.Etcd.Alarms = []string{"NOSPACE on n2"} }, "error etcd-alarms: NOSPACE on n2", ""},

	{"no client certificate", master, certificate(UseEtcdClient, func(c *Certificate) { c.Missing = true }), "error etcd-certificate: /pki/client.crt: is not there", ""},
	{"bad client certificate", master, certificate(UseEtcdClient, func(c *Certificate) { c.Error = "has no PEM certificate" }),
		"error etcd-certificate: /pki/client.crt: has no PEM certificate", ""},
	{"another's key", master, certificate(UseEtcdClient, func(c *Certificate) { c.KeyError = "private key does not match public key" }),
		"error etcd-certificate: /pki/client.crt: its key does not go with it: private key does not match public key", ""},
	{"another CA", master, certificate(UseEtcdClient, func(c *Certificate) { c.IssuedBy = "ECDSA verification failure" }),
		"error etcd-certificate: /pki/client.crt: is not of /pki/etcd/ca.crt: ECDSA verification failure", ""},
	{"not root", master, certificate(UseEtcdClient, func(c *Certificate) { c.Denied = true }), "unseen etcd-certificate: /pki/client.crt: only root may read it", ""},
	{"expired", master, certificate(UseEtcdClient, func(c *Certificate) { c.End = now.Add(-time.Hour) }), "error certificates: /pki/client.crt: expired on 2026-03-02", ""},
	{"expires soon", master, certificate(UseAPIServer, func(c *Certificate) { c.End = now.Add(29 * 24 * time.Hour) }),
		"warning certificates: /pki/apiserver.crt: expires on 2026-03-31, in 29 days", ""},
	{"expires later", master, certificate(UseAPIServer, func(c *Certificate) { c.End = now.Add(31 * 24 * time.Hour) }), "", ""},
	{"clock behind", master, certificate(UseAPIServer, func(c *Certificate) { c.Begin = now.Add(time.Hour) }),
		"error certificates: /pki/apiserver.crt: is not valid before 2026-03-02 04:16:00 UTC", "set this machine's clock: chronyc makestep, or timedatectl set-ntp true"},
	{"no API server certificate", master, certificate(UseAPIServer, func(c *Certificate) { c.Missing = true }),
		"error certificates: /pki/apiserver.crt: is not there\nunseen api-names: the API server's certificate cannot be read", ""},
	{"API server's key", master, certificate(UseAPIServer, func(c *Certificate) { c.KeyError = "no such file" }),
		"error certificates: /pki/apiserver.crt: its key does not go with it: no such file", ""},
	{"API server's CA", master, certificate(UseAPIServer, func(c *Certificate) { c.IssuerPath, c.IssuedBy = "/pki/ca.crt", "bad signature" }),
		"error certificates: /pki/apiserver.crt: is not of /pki/ca.crt: bad signature", ""},
	{"certificate without the VIP", master, certificate(UseAPIServer, func(c *Certificate) { c.Addresses = c.Addresses[:2] }),
		"error api-names: /pki/apiserver.crt: does not have the VIP 198.51.100.166\nerror api-names: /pki/apiserver.crt: does not have the VIP 2001:db8::166", ""},
	{"certificate without this node", master, certificate(UseAPIServer, func(c *Certificate) { c.Addresses = c.Addresses[2:] }),
		"error api-names: /pki/apiserver.crt: does not have this node's address 198.51.100.162", ""},
	{"certificate without the endpoint", master, func(f *Facts) { f.Config.File.Kubeadm.Endpoint = "k8s:6443" }, "error api-names: /pki/apiserver.crt: does not have the endpoint k8s", ""},
	{"admin.conf elsewhere", master, func(f *Facts) {
		f.Kubeconfigs[0] = leads("admin.conf", "https://198.51.100.163:6443", "198.51.100.163")
	},
		"error endpoint: /etc/kubernetes/admin.conf: https://198.51.100.163:6443 leads to 198.51.100.163, which is not the VIP", ""},
	{"admin.conf to this node", master, func(f *Facts) {
		f.Kubeconfigs[0] = leads("admin.conf", "https://198.51.100.162:6443", "198.51.100.162")
	},
		"warning endpoint: /etc/kubernetes/admin.conf: https://198.51.100.162:6443 leads to this node alone", ""},
	{"kubelet.conf elsewhere", master, func(f *Facts) {
		f.Kubeconfigs[1] = leads("kubelet.conf", "https://198.51.100.163:6443", "198.51.100.163")
	},
		"warning endpoint: /etc/kubernetes/kubelet.conf: https://198.51.100.163:6443 leads to 198.51.100.163, which is neither the VIP nor this node", ""},
	{"kubelet.conf nowhere", master, func(f *Facts) { f.Kubeconfigs[1] = leads("kubelet.conf", "https://k8s:6443") },
		"warning endpoint: /etc/kubernetes/kubelet.conf: https://k8s:6443 leads nowhere: its name cannot be resolved", ""},
	{"broken admin.conf", master, func(f *Facts) { f.Kubeconfigs[0].Error = "it names no cluster" }, "error endpoint: /etc/kubernetes/admin.conf: it names no cluster", ""},

	{"clock alone", master, func(f *Facts) { f.Clock.Synchronised = false }, "warning clock: not synchronised, and no time service runs", ""},
	{"clock not yet", master, func(f *Facts) { f.Clock = Clock{Keepers: []string{"chronyd"}} }, "warning clock: not synchronised, though chronyd runs", ""},
	{"clock unknown", master, func(f *Facts) { f.Clock = Clock{Error: "operation not permitted"} }, "unseen clock: the kernel does not tell: operation not permitted", ""},
	{"kubelet at the VIP", master, func(f *Facts) { f.Kubelet.NodeIP = []netip.Addr{addr("198.51.100.166")} },
		"error node-ip: kubelet: --node-ip is the VIP 198.51.100.166, by /var/lib/kubelet/kubeadm-flags.env", ""},
	{"kubelet without an address", master, func(f *Facts) { f.Kubelet.NodeIP = nil },
		"warning node-ip: kubelet: --node-ip is not set: while it has the VIP, kubelet may take that for the node's address", ""},
	{"API server at the VIP", master, func(f *Facts) { f.Pods.APIServer["advertise-address"] = "2001:db8::166" },
		"error node-ip: kube-apiserver: --advertise-address is the VIP 2001:db8::166", ""},

	{"kubeadm missing", bare, func(f *Facts) { f.Node.Kubeadm = kubeadm.Program{Error: "is not installed"} }, "error kubeadm: kubeadm: is not installed", ""},
	{"runtime missing", bare, func(f *Facts) { f.Node.Runtime = kubeadm.Socket{} }, "error runtime: container runtime: there is no socket of containerd or CRI-O", ""},
	{"address missing", bare, func(f *Facts) { f.Node.Addresses = nil }, "error address: address: this node is n1, but 198.51.100.162 is not on any of its links", ""},
	{"endpoint nowhere", bare, func(f *Facts) { f.Config.File.Kubeadm.Endpoint, f.Node.EndpointError = "k8s", "no such host" },
		"error endpoint-name: endpoint: k8s leads nowhere: no such host", ""},
	{"swap", bare, func(f *Facts) { f.Node.Swap = []string{"/dev/sda2"} }, "error swap: swap: in use: /dev/sda2", ""},
	{"port taken", bare, func(f *Facts) { f.Node.Listening = []int{22, 6443} }, "error ports: port 6443: something listens on it, and it is for the API server", "see what it is: ss -ltnp sport = :6443"},
	{"leftovers", bare, func(f *Facts) {
		f.Node.Leftovers, f.Node.Keys = []string{"/var/lib/etcd/member"}, []string{"/etc/kubernetes/pki/ca.key"}
	}, `error leftovers: leftovers: of another cluster, or of an earlier try: /var/lib/etcd/member
warning leftovers: certificates: kubeadm will use those that are there: /etc/kubernetes/pki/ca.key`, ""},
	{"an init under way", bare, func(f *Facts) {
		f.Begun, f.Node.Leftovers, f.Node.Listening = true, []string{"/var/lib/etcd/member"}, []int{6443}
	}, "", ""},
	{"no forwarding", bare, func(f *Facts) { f.Kernel = Kernel{} }, "error kernel: net.ipv4.ip_forward: is 0\nwarning kernel: br_netfilter: is not loaded", ""},

	{"firewalld open", master, zoned(Firewalld{Zone: "public", Services: []string{"ssh", "havip"}}), "", ""},
	{"firewalld open by ports", master, zoned(Firewalld{Zone: "public", Ports: []string{"6443/tcp", "2379-2380/tcp"}}), "", ""},
	{"firewalld trusts", master, zoned(Firewalld{Zone: "trusted", Target: "ACCEPT"}), "", ""},
	{"firewalld", master, zoned(Firewalld{Zone: "public", Services: []string{"ssh", "kube-apiserver"}, Ports: []string{"2379-2380/udp"}}),
		"error firewalld: zone public: does not let in TCP to 2379, 2380", "firewall-cmd --permanent --add-service=havip && firewall-cmd --reload"},
	{"firewalld, other port", master, func(f *Facts) {
		f.Config.File.Kubeadm.Endpoint = "198.51.100.166:8443"
		zoned(Firewalld{Zone: "public", Services: []string{"havip"}})(f)
	}, "error firewalld: zone public: does not let in TCP to 8443", "firewall-cmd --permanent --zone=public --add-port=8443/tcp && firewall-cmd --reload"},
	{"firewalld and heartbeats", master, func(f *Facts) {
		f.Config.File.Election.Detection = configs.DetectionFast
		zoned(Firewalld{Zone: "public", Ports: []string{"6443/tcp", "2379-2380/tcp", "9478/tcp"}})(f)
	}, "warning firewalld: zone public: does not let in UDP to 9478: the masters' heartbeats", "firewall-cmd --permanent --add-service=havip && firewall-cmd --reload"},
	{"firewalld and heartbeats elsewhere", master, func(f *Facts) {
		f.Config.File.Election.Detection, f.Config.File.Election.HeartbeatPort = configs.DetectionFast, 7471
		zoned(Firewalld{Zone: "public", Services: []string{"havip"}})(f)
	}, "warning firewalld: zone public: does not let in UDP to 7471: the masters' heartbeats", "firewall-cmd --permanent --zone=public --add-port=7471/udp && firewall-cmd --reload"},
	{"firewalld open to heartbeats", master, func(f *Facts) {
		f.Config.File.Election.Detection, f.Config.File.Election.HeartbeatPort = configs.DetectionStandard, 7471
		zoned(Firewalld{Zone: "public", Services: []string{"havip"}, Ports: []string{"7400-7500/udp"}})(f)
	}, "", ""},
	{"firewalld open to heartbeats by the service", master, func(f *Facts) {
		f.Config.File.Election.Detection = configs.DetectionStandard
		zoned(Firewalld{Zone: "public", Services: []string{"havip"}})(f)
	}, "", ""},
	{"firewalld mute", master, func(f *Facts) { f.Firewall.Error = "no bus" }, "unseen firewalld: firewalld runs, and does not tell: no bus", ""},
	{"input drops", master, chain("inet", "input", 9), "", ""},
	{"output drops", master, chain("ip", "output", 3), "warning output: ip filter OUTPUT: drops what none of its 3 rules accepts", ""},
	{"output drops all", master, chain("inet", "output", 0), "error output: inet filter OUTPUT: drops all that this node sends", "nft delete chain inet filter OUTPUT"},
	{"ARP drops", master, chain("arp", "input", 1), "warning output: arp filter INPUT: drops ARP that none of its 1 rules accepts (hook input)", ""},
	{"ARP drops all", master, chain("arp", "output", 0), "error output: arp filter OUTPUT: drops all ARP (hook output)", ""},
	{"no nft", master, func(f *Facts) { f.Firewall.ChainsError = "nft is not installed" }, "unseen output: nft is not installed", ""},

	{"no cluster programs", master, func(f *Facts) { f.Cluster = Cluster{} }, "", ""},
	{"NodePorts", master, func(f *Facts) { f.Cluster.KubeProxy = &configs.KubeProxy{} },
		"warning nodeports: kube-proxy: nodePortAddresses is not set: NodePorts answer on every address of the node, on the VIP too", ""},
	{"NodePorts on the network", master, func(f *Facts) {
		f.Cluster.KubeProxy = &configs.KubeProxy{NodePortAddresses: []string{"198.51.100.0/24"}}
	}, "warning nodeports: kube-proxy: nodePortAddresses has 198.51.100.0/24, and the VIP is in it", ""},
	{"NodePorts on nodes", master, func(f *Facts) { f.Cluster.KubeProxy = &configs.KubeProxy{NodePortAddresses: []string{"primary"}} }, "", ""},
	{"ipvs", master, func(f *Facts) {
		f.Cluster.KubeProxy = &configs.KubeProxy{Mode: "ipvs", NodePortAddresses: []string{"primary"}}
	},
		"warning ipvs: kube-proxy: its mode is ipvs, and strictARP is false", ""},
	{"ipvs, strict", master, func(f *Facts) {
		f.Cluster.KubeProxy = &configs.KubeProxy{Mode: "ipvs", NodePortAddresses: []string{"primary"}, StrictARP: true}
	}, "", ""},
	{"first-found", master, func(f *Facts) { f.Cluster.Calico = &Calico{DaemonSet: "kube-system/calico-node", IP: "autodetect"} },
		"warning calico: kube-system/calico-node: IP_AUTODETECTION_METHOD is first-found: it may take the VIP where that comes first on a link",
		"kubectl -n kube-system set env daemonset/calico-node IP_AUTODETECTION_METHOD=kubernetes-internal-ip; with the operator: nodeAddressAutodetectionV4.kubernetes: NodeInternalIP"},
	{"can-reach the VIP", master, func(f *Facts) { f.Cluster.Calico.Method = "can-reach=198.51.100.166" },
		"error calico: calico-system/calico-node: IP_AUTODETECTION_METHOD is can-reach=198.51.100.166: the holder takes the VIP itself", ""},
	{"can-reach another", master, func(f *Facts) { f.Cluster.Calico.Method = "can-reach=198.51.100.1" }, "", ""},
	{"Cilium by one master", master, func(f *Facts) {
		f.Cluster.Cilium.Host, f.Cluster.Cilium.Addresses = "k8s-1", []netip.Addr{addr("198.51.100.163")}
	}, "error cilium: k8sServiceHost: is k8s-1: the agents of all nodes lose the API server with that master",
		"helm upgrade cilium cilium/cilium --reuse-values --set k8sServiceHost=198.51.100.166 --set k8sServicePort=6443"},
	{"Cilium by itself", master, func(f *Facts) { f.Cluster.Cilium = &Cilium{Replacement: true} },
		"warning cilium: k8sServiceHost: is not set, and there is no kube-proxy to lead the agent to the API server", ""},
	{"Cilium beside kube-proxy", master, func(f *Facts) { f.Cluster.Cilium = &Cilium{} }, "", ""},
	{"Cilium on another link", master, func(f *Facts) { f.Cluster.Cilium.Devices = []string{"ens1", "bond+"} },
		"warning cilium: devices: are ens1, bond+, without eth0: its host firewall and NodePorts do not work on the VIP's link", ""},

	{"a part that hangs", master, func(f *Facts) { f.Missing[PartCluster] = "no answer within 5s" }, `unseen nodeports: no answer within 5s
unseen ipvs: no answer within 5s
unseen calico: no answer within 5s
unseen cilium: no answer within 5s`, ""},
}

func TestJudge(t *testing.T) {
	for _, tt := range judgeTests {
		t.Run(tt.name, func(t *testing.T) {
			f := tt.base(t)
			tt.change(&f)
			r := Judge(f)
			if diff := cmp.Diff(tt.want, told(r)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if tt.fix != "" && r.Findings[0].Fix != tt.fix {
				t.Errorf("fix %q, want %q", r.Findings[0].Fix, tt.fix)
			}
			for _, one := range r.Findings {
				if one.Level != LevelOK && one.Level != LevelUnseen && (one.Why == "" || one.Fix == "") {
					t.Errorf("%s: no why or no fix", one.What)
				}
			}
		})
	}
}

// TestGuardsAreLooks: what keeps init from starting, check tells too.
func TestGuardsAreLooks(t *testing.T) {
	f := bare(t)
	f.Config.File.Kubeadm.Endpoint = "k8s"
	f.Node = kubeadm.Facts{
		Root: true, Kubeadm: kubeadm.Program{Error: "is not installed"}, Kubelet: kubeadm.Program{Error: "is not installed"}, Listening: []int{6443, 2379},
		Swap: []string{"/dev/sda2"}, Leftovers: []string{"/x"}, Keys: []string{"/y"}, Rivals: []kubeadm.Rival{{What: "keepalived", Fix: "stop it"}}, EndpointError: "no such host",
	}
	guards := kubeadm.Guard(f.Config.File, f.Self, f.Node, kubeadm.Situation{Command: "init"})
	if len(guards) < 9 {
		t.Fatalf("only %d guards", len(guards))
	}
	r := Judge(f)
	for _, g := range guards {
		if !slices.ContainsFunc(r.Findings, func(one Finding) bool {
			return one.What == g.What && (one.Level == LevelError) == g.Blocks && one.Fix != ""
		}) {
			t.Errorf("init would say %q, and check does not", g)
		}
	}
}

// TestEachLookBites: there is a case in which each look finds something, and all
// of them were made without finding anything on the nodes that are in order.
func TestEachLookBites(t *testing.T) {
	bites, passes := map[string]bool{}, map[string]bool{}
	for _, tt := range judgeTests {
		f := tt.base(t)
		tt.change(&f)
		for _, one := range Judge(f).Findings {
			switch one.Level {
			case LevelError, LevelWarning:
				bites[one.Look] = true
			case LevelOK:
				passes[one.Look] = true
			}
		}
	}
	for _, l := range Catalogue() {
		if !bites[l.Name] {
			t.Errorf("no case in which %s finds anything", l.Name)
		}
		if !passes[l.Name] {
			t.Errorf("no case in which %s finds nothing", l.Name)
		}
	}
}
