package packages

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/test/cluster"
	"havip/test/lab"
)

// The parts of `havipctl check -o json` that are judged here.
type checked struct {
	Joined                         bool
	Errors, Warnings, Unseen, Fine int
	Findings                       []checkedFinding
	took                           time.Duration
	code                           int
}

type checkedFinding struct{ Level, Look, Subject, What, Fix string }

func (f checkedFinding) String() string {
	return strings.TrimSpace(f.Level + " " + f.Look + ": " + f.Subject + " " + f.What)
}

// of returns the findings of a level.
func (c checked) of(level string) (list []string) {
	for _, f := range c.Findings {
		if f.Level == level {
			list = append(list, f.String())
		}
	}
	return list
}

// check runs it on a node, as an operator would.
func (s *scene) check(n *lab.Node) (c checked) {
	s.Helper()
	begun := cluster.Now()
	out, errOut, code, err := n.Try(s.ctx, "havipctl", "check", "-o", "json")
	s.try(err)
	if err := json.Unmarshal([]byte(out), &c); err != nil {
		s.Fatalf("check on %s: exit status %d: %v: %s", n.Name, code, err, errOut)
	}
	c.took, c.code = cluster.Now()-begun, code
	return c
}

// fault is something wrong with a master that check claims to find.
type fault struct {
	name        string
	look, level string
	inject      string // shell, as root on the node
	undo        string
	also        []string // looks that rightly find an error too
}

const (
	keep = "/root/keep" // what the node's files were
	// toml edits the config file.
	toml = "sed -i '%s' /etc/havip/havip.toml"
	// shows answers as kubectl does; the API server is a stand-in that knows none of it.
	kubectl = `cat >/usr/local/bin/kubectl <<'END'
#!/bin/sh
case "$*" in *daemonsets*) printf %%s '{"kind":"List","items":[%s]}';; *) printf %%s '{"kind":"List","items":[%s]}';; esac
END
chmod 755 /usr/local/bin/kubectl`
	kubeProxy = `{"metadata":{"name":"kube-proxy"},"data":{"config.conf":"mode: %s\nnodePortAddresses: %s\nipvs:\n  strictARP: false\n"}}`
	daemonSet = `{"metadata":{"name":"%s","namespace":"kube-system"},"spec":{"template":{"spec":{"containers":[{"env":[{"name":"%s","value":"%s"}]}]}}}}`
)

func restore(path string) string { return "cp -a " + keep + path + " " + path }

func edit(command string) string { return fmt.Sprintf(toml, command) }

func link(name string) string { return edit(`/^address/a interface = "` + name + `"`) }

// faults are put into one master that stands by, one at a time. Those in the config
// file are not loaded by the daemon: the file is what is looked at.
func faults(n *lab.Node, other *lab.Node) []fault {
	const (
		manifests      = "/etc/kubernetes/manifests"
		etcdYAML       = manifests + "/etcd.yaml"
		apiYAML        = manifests + "/kube-apiserver.yaml"
		havipTOML      = "/etc/havip/havip.toml"
		keepalivedLink = "/etc/systemd/system/multi-user.target.wants/keepalived.service"
		unit           = "/etc/systemd/system/havipd.service"
		dropin         = "/etc/systemd/system/kubelet.service.d/10-test.conf"
		admin          = "/etc/kubernetes/admin.conf"
		reload         = "systemctl daemon-reload"
	)
	vip := cluster.VIP4.String()
	toTOML := restore(havipTOML)
	inAPI := func(name, look, level, sets, maps string) fault {
		return fault{name, look, level, fmt.Sprintf(kubectl, sets, maps), "rm /usr/local/bin/kubectl", nil}
	}
	return []fault{
		{"the config file has a typing error", "config", "error", edit("s/^address/adress/"), toTOML, nil},
		{"the node is not in [masters]", "self", "error", edit("s/" + n.Address.String() + "/198.51.100.199/"), toTOML, []string{"api-names", "endpoint"}},
		{"the interface does not exist", "link", "error", link("eth7"), toTOML, nil},
		{"the interface has no carrier", "link", "error", "ip link add check0 type veth peer name check1 && ip link set check0 up && " + link("check0"),
			"ip link del check0; " + toTOML, []string{"prefix"}},
		{"the interface is down", "link", "error", "ip link add check0 type veth peer name check1 && " + link("check0"),
			"ip link del check0; " + toTOML, []string{"prefix"}},
		{"the VIP is of another network", "prefix", "warning", edit("s/" + vip + "/203.0.113.66/"), toTOML, []string{"api-names", "vip"}},
		{"the interface is that of another network", "prefix", "error",
			"ip link add check0 type veth peer name check1 && ip addr add 203.0.113.7/24 dev check0 && ip link set check1 up && ip link set check0 up && " + link("check0"),
			"ip link del check0; " + toTOML, []string{"link"}}, // its carrier comes a moment later
		{"arp_ignore 2", "arp-ignore", "error", "sysctl -qw net.ipv4.conf.all.arp_ignore=2", "sysctl -qw net.ipv4.conf.all.arp_ignore=0", nil},
		{"arp_ignore 8 on the link", "arp-ignore", "error", "sysctl -qw net.ipv4.conf.eth0.arp_ignore=8", "sysctl -qw net.ipv4.conf.eth0.arp_ignore=0", nil},
		{"drop_gratuitous_arp", "announcements", "warning", "sysctl -qw net.ipv4.conf.all.drop_gratuitous_arp=1", "sysctl -qw net.ipv4.conf.all.drop_gratuitous_arp=0", nil},
		{"a second link in the network", "one-lan", "warning",
			"ip link add check0 type veth peer name check1 && ip addr add 198.51.100.99/24 dev check0 noprefixroute && ip link set check1 up && ip link set check0 up", "ip link del check0", nil},
		{"the VIP was left behind, without a daemon", "stray", "error",
			"systemctl stop havipd && ip link add check0 type veth peer name check1 && ip addr add " + vip + "/32 dev check0", "ip link del check0; systemctl start havipd", []string{"havipd"}},
		{"havipd is stopped", "havipd", "error", "systemctl stop havipd", "systemctl start havipd", nil},
		{"havipd is not enabled", "enabled", "error", "systemctl -q disable havipd", "systemctl -q enable havipd", nil},
		{"kubelet is not ordered after havipd", "order", "error", "sed /^Before=/d /lib/systemd/system/havipd.service >" + unit + " && " + reload, "rm " + unit + "; " + reload, nil},
		{"kubelet requires havipd", "order", "error", "mkdir -p $(dirname " + dropin + ") && printf '[Unit]\\nRequires=havipd.service\\n' >" + dropin + " && " + reload,
			"rm -r $(dirname " + dropin + "); " + reload, nil},
		{"kube-vip with cp_enable and this address", "rivals", "error",
			"printf 'spec:\\n  containers:\\n  - name: k\\n    env:\\n    - {name: cp_enable, value: \"true\"}\\n    - {name: address, value: " + vip + "}\\n' >" + manifests + "/kube-vip.yaml", "rm " + manifests + "/kube-vip.yaml", nil},
		{"keepalived with this address", "rivals", "error", "mkdir /etc/keepalived && echo 'virtual_ipaddress { " + vip + "/24 dev eth0 }' >/etc/keepalived/keepalived.conf && ln -s /lib/systemd/system/keepalived.service " + keepalivedLink, "rm -r /etc/keepalived " + keepalivedLink, nil},
		{"etcd advertises the VIP", "etcd-urls", "error", "sed -i 's|advertise-client-urls=https://" + n.Address.String() + "|advertise-client-urls=https://" + vip + "|' " + etcdYAML, restore(etcdYAML), nil},
		{"the API server advertises the VIP", "node-ip", "error", "sed -i 's/advertise-address=.*/advertise-address=" + vip + "/' " + apiYAML, restore(apiYAML), nil},
		{"kubelet's node IP is the VIP", "node-ip", "error", "echo KUBELET_EXTRA_ARGS=--node-ip=" + vip + " >/etc/default/kubelet", "rm /etc/default/kubelet", nil},
		{"havipd's certificate for etcd is not there", "etcd-certificate", "error", `printf '[etcd]\ncert = "/etc/kubernetes/pki/none.crt"\nkey = "/etc/kubernetes/pki/apiserver.key"\n' >>` + havipTOML, toTOML, nil},
		{"the key of another certificate", "etcd-certificate", "error", `printf '[etcd]\ncert = "/etc/kubernetes/pki/apiserver-etcd-client.crt"\nkey = "/etc/kubernetes/pki/apiserver.key"\n' >>` + havipTOML, toTOML, nil},
		{"a certificate of another CA", "etcd-certificate", "error", `printf '[etcd]\nca = "/etc/kubernetes/pki/ca.crt"\n' >>` + havipTOML, toTOML, nil},
		{"a certificate has expired", "certificates", "error", written(-24 * time.Hour), "rm /etc/kubernetes/pki/front-proxy-*", nil},
		{"a certificate expires in a week", "certificates", "warning", written(7 * 24 * time.Hour), "rm /etc/kubernetes/pki/front-proxy-*", nil},
		{"the certificate lacks the endpoint's name", "api-names", "error", `printf '[kubeadm]\nendpoint = "k8s.example.org"\n' >>` + havipTOML, toTOML, nil},
		{"admin.conf leads to another master", "endpoint", "error", "printf 'clusters:\\n- cluster:\\n    server: https://" + other.Address.String() + ":6443\\n' >" + admin, "rm " + admin, nil},
		{"nft drops all that is sent, in a table that is not used", "output", "warning",
			"nft add table inet check && nft add chain inet check out '{ type filter hook output priority 0; policy drop; }' && nft add rule inet check out accept || exit 1", "nft delete table inet check", nil},
		{"nft drops ARP", "output", "warning",
			"nft add table arp check && nft add chain arp check out '{ type filter hook output priority 0; policy accept; }' && nft add rule arp check out accept && nft add chain arp check out '{ policy drop; }'", "nft delete table arp check", nil},
		{"the holder is not heard here", "vip", "error", "ip neigh replace " + vip + " lladdr 02:00:5e:00:00:99 nud permanent dev eth0", "ip neigh del " + vip + " dev eth0", nil},
		inAPI("NodePorts on every address", "nodeports", "warning", "", fmt.Sprintf(kubeProxy, "iptables", "null")),
		inAPI("ipvs without strictARP", "ipvs", "warning", "", fmt.Sprintf(kubeProxy, "ipvs", "[primary]")),
		inAPI("Calico takes what reaches the VIP", "calico", "error", fmt.Sprintf(daemonSet, "calico-node", "IP_AUTODETECTION_METHOD", "can-reach="+vip), ""),
		inAPI("Cilium goes by one master", "cilium", "error", fmt.Sprintf(daemonSet, "cilium", "KUBERNETES_SERVICE_HOST", other.Address.String()), ""),
	}
}

// written is shell that writes a certificate, which ends after a while, where
// nothing uses it.
func written(ends time.Duration) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "front-proxy-ca"}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(ends),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return "cat >/etc/kubernetes/pki/front-proxy-ca.crt <<'END'\n" + string(text) + "END\n"
}

// TestCheck puts faults into a master that check claims to find, one by one, and
// sees that it finds each, and none where there is none.
func TestCheck(t *testing.T) {
	s := open(t)
	s.calm()
	for _, n := range s.l.Nodes {
		s.sound(n)
	}
	n := s.l.Others(s.holder)[0]
	files := s.files(n)
	s.on(n, "sh", "-c", "mkdir "+keep+" && cp -a --parents /etc/havip /etc/kubernetes "+keep)
	s.onlyLooks(n)
	all, found := faults(n, s.l.Others(n)[0]), 0
	for _, f := range all {
		if s.finds(n, f) {
			found++
		}
	}
	found += s.learner(n)
	found += s.bareNode(n)
	found += s.inUse(n)
	s.on(n, "rm", "-r", keep)
	if diff := cmp.Diff(files, s.files(n)); diff != "" {
		t.Errorf("the test left something behind (-before +after):\n%s", diff)
	}
	claimed := len(all) + 3
	t.Logf("faults found / claimed: %d / %d, 4 of them put into a stand-in for kubectl", found, claimed)
	if found != claimed {
		t.Errorf("%d of %d faults were not found", claimed-found, claimed)
	}
	s.calm()
	for _, n := range s.l.Nodes {
		s.sound(n)
	}
}

// sound sees that there is no false alarm.
func (s *scene) sound(n *lab.Node) {
	s.Helper()
	c := s.check(n)
	s.Logf("%s as it is: %d errors, %d warnings, %d fine, in %v; warnings %q, unseen %q", n.Name, c.Errors, c.Warnings, c.Fine, c.took.Round(time.Millisecond), c.of("warning"), c.of("unseen"))
	if c.code != 0 || c.Errors != 0 || !c.Joined {
		s.Errorf("false alarm on %s: exit code %d, %q", n.Name, c.code, c.of("error"))
	}
}

// onlyLooks sees that nothing on the node is changed.
func (s *scene) onlyLooks(n *lab.Node) {
	s.Helper()
	// Not the times of others' files: etcd and the journal go on writing.
	const state = "ip -o link | sed 's/ state .*//'; ip -o addr | sed 's/valid_lft.*//'; ip route; ip rule; nft list ruleset; sysctl -a 2>/dev/null | grep -E '^net.ipv[46].(conf|ip_)'; " +
		"systemctl list-units --no-legend --plain --all 'havip*' 'kube*'; cat /etc/havip/havip.toml; find /etc /root /usr /opt /var/lib/havip /var/lib/kubelet -xdev -printf '%p %m %s\\n' 2>/dev/null; true"
	before, files := s.on(n, "sh", "-c", state), s.files(n)
	s.on(n, "havipctl", "check")
	if after := s.on(n, "sh", "-c", state); after != before {
		s.Errorf("check changed something (-before +after):\n%s", cmp.Diff(before, after))
	}
	if diff := cmp.Diff(files, s.files(n)); diff != "" {
		s.Errorf("check made or removed files (-before +after):\n%s", diff)
	}
}

// finds injects a fault, checks, and undoes it.
func (s *scene) finds(n *lab.Node, f fault) bool {
	s.Helper()
	s.on(n, "sh", "-c", f.inject)
	c := s.check(n)
	s.on(n, "sh", "-c", f.undo)
	if strings.Contains(f.undo, "start havipd") {
		s.calm() // until it has read etcd, what answers for the VIP is nobody's to it
	}
	ok := c.tells(f.look, f.level)
	s.Logf("%-60s %v in %v: %q", f.name, map[bool]string{true: "found", false: "MISSED"}[ok], c.took.Round(time.Millisecond), c.about(f.look))
	for _, x := range c.Findings {
		if x.Level == "error" && x.Look != f.look && !slices.Contains(f.also, x.Look) {
			s.Errorf("%s: also %s", f.name, x)
		}
	}
	if want := map[bool]int{true: 1, false: 0}[c.Errors > 0]; c.code != want {
		s.Errorf("%s: exit code %d, want %d", f.name, c.code, want)
	}
	return ok
}

func (c checked) tells(look, level string) bool {
	return slices.ContainsFunc(c.Findings, func(f checkedFinding) bool { return f.Look == look && f.Level == level && f.Fix != "" })
}

func (c checked) about(look string) (list []string) {
	for _, f := range c.Findings {
		if f.Look == look {
			list = append(list, f.String())
		}
	}
	return list
}

// learner adds a member to etcd that never starts, as a join that was given up
// leaves it, and sees that it is found: the daemon reads the list every 10 s.
func (s *scene) learner(n *lab.Node) int {
	s.Helper()
	var added struct{ Member struct{ ID uint64 } }
	s.try(json.Unmarshal([]byte(s.etcdctl(n, "member", "add", "n9", "--learner", "--peer-urls=https://198.51.100.199:2380", "--write-out=json")), &added))
	defer func() { s.etcdctl(n, "member", "remove", fmt.Sprintf("%x", added.Member.ID)) }()
	var c checked
	err := cluster.Poll(s.ctx, takesOver+10*time.Second, "the learner is found", func() bool {
		c = s.check(n)
		return c.tells("etcd-members", "warning")
	})
	s.Logf("%-60s %v: %q", "a learner was left over", map[bool]string{true: "found", false: "MISSED"}[err == nil], c.about("etcd-members"))
	if err != nil {
		return 0
	}
	return 1
}

// etcdctl runs out here, in the node's network.
func (s *scene) etcdctl(n *lab.Node, args ...string) string {
	s.Helper()
	path, err := cluster.Tool("etcdctl")
	s.try(err)
	pki := func(name string) string { return filepath.Join(n.PKI, name) }
	cmd := exec.Command(path, append([]string{
		"--endpoints=https://127.0.0.1:2379", "--cacert=" + pki("etcd/ca.crt"), "--cert=" + pki("apiserver-etcd-client.crt"), "--key=" + pki("apiserver-etcd-client.key"),
	}, args...)...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	s.try(n.Start(cmd))
	if err := cmd.Wait(); err != nil {
		s.Fatalf("etcdctl %s: %v: %s", strings.Join(args, " "), err, out.String())
	}
	return out.String()
}

// bareNode takes the manifests away: what is left is a node on which a cluster
// cannot be made, for reasons that init would tell as well.
func (s *scene) bareNode(n *lab.Node) int {
	s.Helper()
	s.on(n, "mv", "/etc/kubernetes/manifests", keep+"/manifests")
	c := s.check(n)
	s.on(n, "mv", keep+"/manifests", "/etc/kubernetes/manifests")
	want := []string{"kubeadm", "runtime", "ports", "leftovers"}
	for _, look := range want {
		if !c.tells(look, "error") {
			s.Errorf("a node without a cluster: %s is not found: %q", look, c.of("error"))
			return 0
		}
	}
	s.Logf("%-60s found in %v: %q", "no kubeadm, no runtime, ports and data of an old cluster", c.took.Round(time.Millisecond), c.of("error"))
	return 1
}

// inUse makes a node that reaches no etcd, and to which whoever has the VIP is a
// machine that answers ARP and no more: the daemon looks at the wire for check.
func (s *scene) inUse(n *lab.Node) int {
	s.Helper()
	s.on(n, "sh", "-c", "mv /etc/kubernetes/manifests "+keep+"/manifests && systemctl stop etcd kube-apiserver && "+
		"nft add table ip check && nft add chain ip check out '{ type filter hook output priority 0; policy accept; }' && "+
		"nft add rule ip check out ip daddr 198.51.100.0/24 tcp dport '{ 2379, 6443 }' drop")
	var c checked
	// Until the record is older than its holder may serve, the daemon still tells who has it.
	err := cluster.Poll(s.ctx, takesOver, "the VIP is found in use", func() bool {
		c = s.check(n)
		return slices.ContainsFunc(c.Findings, func(f checkedFinding) bool {
			return f.Look == "vip" && f.Level == "error" && strings.Contains(f.What, s.holder.MAC.String())
		})
	})
	s.on(n, "sh", "-c", "nft delete table ip check; mv "+keep+"/manifests /etc/kubernetes/manifests; systemctl start etcd kube-apiserver")
	s.Logf("%-60s %v in %v: %q", "the VIP is in use, and no cluster is known here", map[bool]string{true: "found", false: "MISSED"}[err == nil], c.took.Round(time.Millisecond), c.about("vip"))
	if c.took > 10*time.Second {
		s.Errorf("a check took %v", c.took)
	}
	if err != nil {
		return 0
	}
	return 1
}
