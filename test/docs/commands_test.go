package docs

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// run says which test runs a command: its file has the fragment.
type run struct{ file, fragment string }

// ran are the commands of the documentation that a test runs as they stand, or
// with other names, addresses and versions. Of havipctl's own the others are
// parsed by TestDocumentedCommands of cmd/havipctl.
var ran = map[string]run{
	"apt install havip":                     {"test/packages/apt_test.go", `"apt-get", "-qq", "-y", "--allow-downgrades", "install", "havip="`},
	"apt install havip=1.2.0-1":             {"test/packages/apt_test.go", `"--allow-downgrades", "install", "havip="`},
	"apt purge havip":                       {"test/packages/removal_test.go", `"apt-get", "-qq", "-y", "purge", "havip"`},
	"apt update":                            {"test/packages/apt_test.go", `"apt-get", "-qq", "update"`},
	"cp -a /var/lib/etcd /root/etcd-before": {"test/e2e/runbook_test.go", "cp -a /var/lib/etcd /root/etcd-before"},
	"cp /root/etcd-alone.yaml /etc/kubernetes/manifests/etcd.yaml":         {"test/e2e/runbook_test.go", "cp /root/etcd-alone.yaml /etc/kubernetes/manifests/etcd.yaml"},
	"cp /root/etcd.yaml /etc/kubernetes/manifests/etcd.yaml":               {"test/e2e/runbook_test.go", "cp /root/etcd.yaml /etc/kubernetes/manifests/etcd.yaml"},
	"curl -s --unix-socket /run/havip/havipd.sock http://havipd/v1/status": {"test/e2e/runbook_test.go", "curl -s --unix-socket /run/havip/havipd.sock http://havipd/v1/status"},
	"diff /root/etcd.yaml /root/etcd-alone.yaml":                           {"test/e2e/runbook_test.go", "diff /root/etcd.yaml /root/etcd-alone.yaml"},
	"dnf downgrade havip":                       {"test/packages/rpm_test.go", `"downgrade", "havip"`},
	"dnf install havip":                         {"test/packages/rpm_test.go", `"install", "havip-"+older`},
	"dnf upgrade havip":                         {"test/packages/rpm_test.go", `"upgrade", "havip"`},
	"echo havip1,…":                             {"test/e2e/runbook_test.go", `"echo "+o.Join.Ticket+" | havipctl join"`},
	"etcdctl alarm disarm":                      {"test/faults/runbook_test.go", `"alarm", "disarm"`},
	"etcdctl compact 1234567":                   {"test/faults/runbook_test.go", `"compact", m[1]`},
	"etcdctl defrag --cluster":                  {"test/faults/runbook_test.go", `"defrag", "--cluster"`},
	"etcdctl del --prefix /havip/":              {"test/faults/runbook_test.go", `"del", "--prefix", "/havip/"`},
	"etcdctl endpoint status --cluster -w json": {"test/faults/runbook_test.go", `"endpoint", "status", "--cluster", "-w", "json"`},
	"etcdctl member list":                       {"test/faults/runbook_test.go", `"member", "list"`},
	"etcdctl member remove 8e9e05c52164694d":    {"test/e2e/runbook_test.go", `"etcdctl member remove "+s.members(holder)[lost.Name]`},
	"etcdutl snapshot restore /root/snapshot.db --data-dir /var/lib/etcd-restored --bump-revision 1000000000 --mark-compacted --name n1 --initial-advertise-peer-urls https://198.51.100.162:2380 --initial-cluster n1=https://198.51.100.162:2380,n2=https://198.51.100.163:2380,n3=https://198.51.100.164:2380": {"test/e2e/runbook_test.go", "etcdutl snapshot restore /root/snapshot.db --data-dir /var/lib/etcd-restored --bump-revision 1000000000 --mark-compacted "},
	"export ETCDCTL_CERT=/etc/kubernetes/pki/etcd/healthcheck-client.crt":                            {"test/e2e/runbook_test.go", "export ETCDCTL_CERT=/etc/kubernetes/pki/etcd/healthcheck-client.crt"},
	"export ETCDCTL_ENDPOINTS=https://127.0.0.1:2379 ETCDCTL_CACERT=/etc/kubernetes/pki/etcd/ca.crt": {"test/e2e/runbook_test.go", "export ETCDCTL_ENDPOINTS=https://127.0.0.1:2379 ETCDCTL_CACERT=/etc/kubernetes/pki/etcd/ca.crt"},
	"export ETCDCTL_KEY=/etc/kubernetes/pki/etcd/healthcheck-client.key":                             {"test/e2e/runbook_test.go", "export ETCDCTL_KEY=/etc/kubernetes/pki/etcd/healthcheck-client.key"},
	"export KUBECONFIG=/etc/kubernetes/admin.conf":                                                   {"test/e2e/runbook_test.go", "export KUBECONFIG=/etc/kubernetes/admin.conf"},
	"havipctl adopt --begin": {"test/adopt/keepalived_test.go", `"havipctl", "adopt", "--begin"`},
	"havipctl adopt":         {"test/adopt/keepalived_test.go", `"havipctl", "adopt")`},
	"havipctl check":         {"test/packages/check_test.go", `"havipctl", "check"`},
	"havipctl claim --force --reason 'n1 and n2 are gone for good'": {"test/faults/runbook_test.go", `"claim", "--force", "--yes", "--reason"`},
	"havipctl config check": {"cmd/havipctl/testdata/config.txtar", "exec havipctl config check havip.toml"},
	"havipctl config init --file /etc/havip/havip.toml --vip 198.51.100.166 --master n1=198.51.100.162 --master n2=198.51.100.163 --master n3=198.51.100.164": {"test/packages/apt_test.go", `"havipctl", "config", "init", "--file", "/etc/havip/havip.toml"`},
	"havipctl debug bundle":                     {"cmd/havipctl/testdata/debug.txtar", "debug bundle"},
	"havipctl drain":                            {"test/e2e/maintained_test.go", `"havipctl", "drain"`},
	"havipctl handover":                         {"test/e2e/joined_test.go", `"havipctl", "handover"`},
	"havipctl history --since 24h -n 20":        {"test/faults/history_test.go", `"history", "--since"`},
	"havipctl history":                          {"test/faults/history_test.go", `"history", "-n", "1"`},
	"havipctl init":                             {"test/e2e/masters.go", `Havipctl(ctx, n, "", "init")`},
	"havipctl join --replace":                   {"test/e2e/replace_test.go", `"join", "--replace"`},
	"havipctl join":                             {"test/e2e/masters.go", `Havipctl(ctx, n, ticket+"\n", "join")`},
	"havipctl release --yes":                    {"test/faults/runbook_test.go", `"release", "--yes"`},
	"havipctl status --wait 120s":               {"test/e2e/runbook_test.go", "havipctl status --wait 120s"},
	"havipctl status --wait 30s":                {"test/faults/runbook_test.go", `"status", "--wait", "30s"`},
	"havipctl status":                           {"test/faults/runbook_test.go", `"status"`},
	"havipctl token":                            {"test/e2e/joined_test.go", `"token"`},
	"havipctl undrain":                          {"test/e2e/maintained_test.go", `"havipctl", "undrain"`},
	"havipd -unfence":                           {"cmd/havipd/main_test.go", `"-unfence"`},
	"ip -brief address":                         {"test/e2e/runbook_test.go", "ip -brief address"},
	"ip -brief link":                            {"test/e2e/runbook_test.go", "ip -brief link"},
	"ip address del 198.51.100.166/32 dev eth0": {"test/e2e/runbook_test.go", "ip address del 198.51.100.166/32 dev eth0"},
	"ip neighbour":                              {"test/e2e/runbook_test.go", "ip neighbour"},
	"journalctl -u havipd --since '1 hour ago' --no-pager":                                             {"test/e2e/runbook_test.go", "journalctl -u havipd --since '1 hour ago' --no-pager"},
	"journalctl -u havipd -n 50 --no-pager":                                                            {"test/e2e/runbook_test.go", "journalctl -u havipd -n 50 --no-pager"},
	"journalctl -u kubelet -n 50 --no-pager":                                                           {"test/e2e/runbook_test.go", "journalctl -u kubelet -n 50 --no-pager"},
	"kubeadm certs check-expiration":                                                                   {"test/kubeadm/runbook_test.go", `"certs", "check-expiration"`},
	"kubeadm certs renew all":                                                                          {"test/e2e/maintained_test.go", `"kubeadm", "certs", "renew", "all"`},
	"kubeadm config validate --config kubeadm.yaml":                                                    {"test/kubeadm/config_test.go", `"config", "validate", "--config="+file`},
	"kubeadm init phase certs apiserver --config kubeadm.yaml":                                         {"test/kubeadm/runbook_test.go", `"init", "phase", "certs", "apiserver", "--config", "kubeadm.yaml"`},
	"kubeadm init phase upload-config kubeadm --config kubeadm.yaml":                                   {"test/kubeadm/runbook_test.go", `"init", "phase", "upload-config", "kubeadm", "--config", "kubeadm.yaml"`},
	"kubeadm upgrade apply v1.35.4":                                                                    {"test/e2e/maintained_test.go", `"apply --yes "`},
	"kubectl --kubeconfig /etc/kubernetes/admin.conf get nodes":                                        {"test/e2e/runbook_test.go", "kubectl --kubeconfig /etc/kubernetes/admin.conf get nodes"},
	"kubectl --server https://198.51.100.164:6443 get nodes":                                           {"test/kubeadm/runbook_test.go", `"--server", "https://198.51.100.162:6443", "get", "nodes"`},
	"kubectl -n kube-public edit configmap cluster-info":                                               {"test/e2e/runbook_test.go", "kubectl -n kube-public edit configmap cluster-info"},
	"kubectl -n kube-system edit configmap kube-proxy":                                                 {"test/e2e/runbook_test.go", "kubectl -n kube-system edit configmap kube-proxy"},
	"kubectl -n kube-system get configmap kubeadm-config -o 'jsonpath={.data.ClusterConfiguration}'":   {"test/kubeadm/runbook_test.go", `"get", "configmap", "kubeadm-config", "-o", "jsonpath={.data.ClusterConfiguration}"`},
	"kubectl -n kube-system rollout restart daemonset kube-proxy":                                      {"test/kubeadm/runbook_test.go", `"rollout", "restart", "daemonset", "kube-proxy"`},
	"kubectl delete node n1":                                                                           {"test/kubeadm/runbook_test.go", `"delete", "node", "n1"`},
	"make demo":                                                                                        {"Makefile", "demo:"},
	"make test":                                                                                        {"Makefile", "test:"},
	"mv /etc/kubernetes/manifests /etc/kubernetes/manifests.away":                                      {"test/e2e/maintained_test.go", `"mv", "/etc/kubernetes/manifests", "/etc/kubernetes/manifests.away"`},
	"mv /etc/kubernetes/manifests.away /etc/kubernetes/manifests":                                      {"test/e2e/maintained_test.go", `"mv", "/etc/kubernetes/manifests.away", "/etc/kubernetes/manifests"`},
	"mv /etc/kubernetes/manifests/etcd.yaml /root/etcd.yaml":                                           {"test/e2e/runbook_test.go", "mv /etc/kubernetes/manifests/etcd.yaml /root/etcd.yaml"},
	"mv /etc/kubernetes/manifests/kube-apiserver.yaml /root/":                                          {"test/e2e/runbook_test.go", "mv /etc/kubernetes/manifests/kube-apiserver.yaml /root/"},
	"mv /etc/kubernetes/manifests/kube-vip.yaml /root/":                                                {"test/e2e/adopt_test.go", `"mv", "/etc/kubernetes/manifests/kube-vip.yaml", "/root/"`},
	"mv /etc/kubernetes/pki/apiserver.crt /etc/kubernetes/pki/apiserver.key /root/":                    {"test/e2e/runbook_test.go", "mv /etc/kubernetes/pki/apiserver.crt /etc/kubernetes/pki/apiserver.key /root/"},
	"mv /root/kube-apiserver.yaml /etc/kubernetes/manifests/":                                          {"test/e2e/runbook_test.go", "mv /root/kube-apiserver.yaml /etc/kubernetes/manifests/"},
	"mv /var/lib/etcd-restored/member /var/lib/etcd/member":                                            {"test/e2e/runbook_test.go", "mv /var/lib/etcd-restored/member /var/lib/etcd/member"},
	"mv /var/lib/etcd/member /root/member-before":                                                      {"test/e2e/runbook_test.go", "mv /var/lib/etcd/member /root/member-before"},
	"openssl rand -hex 32":                                                                             {"test/e2e/runbook_test.go", "openssl rand -hex 32"},
	"sed 's/^    - etcd$/    - etcd\\n    - --force-new-cluster/' /root/etcd.yaml":                     {"test/e2e/runbook_test.go", "sed 's/^    - etcd$/    - etcd\\n    - --force-new-cluster/' /root/etcd.yaml > /root/etcd-alone.yaml"},
	"sed -i 's#https://198.51.100.166:6443#https://198.51.100.167:6443#' /etc/kubernetes/kubelet.conf": {"test/docs/edits_test.go", "TestEdits"},
	"sed -i 's/198\\.51\\.100\\.166/198.51.100.167/' /etc/havip/havip.toml":                            {"test/e2e/runbook_test.go", "sed -i 's/198\\.51\\.100\\.166/198.51.100.167/' /etc/havip/havip.toml"},
	"sleep 20":                                    {"test/e2e/runbook_test.go", "sleep 20"},
	"systemctl disable --now keepalived":          {"test/adopt/keepalived_test.go", `"systemctl", "disable", "--now", "keepalived"`},
	"systemctl enable --now havipd havip-kubeadm": {"test/e2e/unattended_test.go", `"systemctl", "enable", "--now", "--no-block", "havipd", "havip-kubeadm"`},
	"systemctl enable --now havipd":               {"test/packages/apt_test.go", `"systemctl", "enable", "--now", "havipd"`},
	"systemctl reboot":                            {"test/packages/reboot_test.go", `s.goDown("reboot")`},
	"systemctl restart havipd":                    {"test/packages/daemon_test.go", `"systemctl", "restart", "havipd"`},
	"systemctl restart kubelet":                   {"test/e2e/maintained_test.go", `"systemctl", "restart", "kubelet"`},
	"systemctl start containerd kubelet":          {"test/e2e/runbook_test.go", "systemctl start containerd kubelet"},
	"systemctl start havipd":                      {"test/packages/daemon_test.go", `"systemctl", "start", "havipd"`},
	"systemctl status havipd kubelet":             {"test/e2e/runbook_test.go", "systemctl status havipd kubelet"},
	"systemctl status kubelet containerd":         {"test/e2e/runbook_test.go", "systemctl status kubelet containerd"},
	"systemctl stop havipd":                       {"test/packages/daemon_test.go", `"systemctl", "stop", "havipd"`},
	"systemd-analyze security havipd":             {"test/packages/unit_test.go", `"systemd-analyze", "--no-pager", "security", "havipd.service"`},
	"usermod -aG havip alice":                     {"test/e2e/runbook_test.go", "usermod -aG havip alice"},
}

// written are commands that nothing runs here, and why: bash reads them, and that is
// all.
var written = map[string]string{
	"apt-get install make git":                                "nothing of this runs before make is there",
	"bpftool map dump name havip_until":                       noBpftool,
	"bpftool net show dev eth0":                               noBpftool,
	"bpftool prog show name havip_in":                         noBpftool,
	"crictl ps --name etcd":                                   noCrictl,
	"crictl ps -a --name etcd":                                noCrictl,
	"crictl ps":                                               noCrictl,
	"firewall-cmd --permanent --add-service=havip":            noFirewall,
	"firewall-cmd --reload":                                   noFirewall,
	"nft insert rule inet filter input udp dport 9478 accept": noFirewall,
}

const noBpftool = "Debian 12 has one that is older than what it is to show"

const noFirewall = "the masters of the tests have no firewall; there the port is closed by a route"

const noCrictl = "of the package cri-tools, which comes with kubeadm's and which Debian does not have"

// TestCommands: every line of shell is one that bash can read, and of every
// command it is known whether a test runs it. Those of havipctl are parsed too, by
// cmd/havipctl.
func TestCommands(t *testing.T) {
	seen := map[string]bool{}
	for _, l := range lines(t) {
		if out, err := exec.Command("bash", "-n", "-c", l.Text).CombinedOutput(); err != nil {
			t.Errorf("%v: %v: %s", l, err, out)
		}
		commands, err := l.Simple()
		if err != nil {
			t.Error(err)
		}
		for _, words := range commands {
			seen[quote(words)] = true
		}
	}
	for c := range seen {
		if _, ok := ran[c]; !ok && written[c] == "" && !strings.HasPrefix(c, "havipctl ") {
			t.Errorf("no test is named for %q, nor that it is only written", c)
		}
	}
	for c := range maps.Keys(ran) {
		if !seen[c] || written[c] != "" {
			t.Errorf("%q is in no page, or listed twice", c)
		}
	}
	for c := range written {
		if !seen[c] {
			t.Errorf("%q is in no page", c)
		}
	}
	sheet(t, slices.Sorted(maps.Keys(seen)))
}

// TestRunByTests: the tests that are said to run a command have it in them.
func TestRunByTests(t *testing.T) {
	for c, r := range ran {
		if !strings.Contains(read(t, r.file), r.fragment) {
			t.Errorf("%s is said to run %q, and has no %s", r.file, c, r.fragment)
		}
	}
}

// sheet writes docs/commands.md, or compares it.
func sheet(t *testing.T, commands []string) {
	t.Helper()
	const path = "docs/commands.md"
	var b strings.Builder
	b.WriteString(`# The commands in these pages

Written by ` + "`go test ./test/docs -update`" + `. Every command of the README and of docs/, once each, and which test runs it. The
tests run them with other names, addresses and versions, apt as apt-get; bash reads every line.

| command | run by |
|---|---|
`)
	for _, c := range commands {
		if r, ok := ran[c]; ok {
			fmt.Fprintf(&b, "| %s | [%s](../%s) |\n", code(c), r.file, r.file)
		}
	}
	parsed := slices.DeleteFunc(slices.Clone(commands), func(c string) bool {
		_, ok := ran[c]
		return ok || !strings.HasPrefix(c, "havipctl ")
	})
	if len(parsed) > 0 {
		b.WriteString("\nNot run, but parsed by havipctl's own command line:\n\n")
	}
	for _, c := range parsed {
		b.WriteString("- " + code(c) + "\n")
	}
	b.WriteString("\n**Run nowhere here**, only written down:\n\n")
	for _, c := range commands {
		if why := written[c]; why != "" {
			b.WriteString("- " + code(c) + ": " + why + "\n")
		}
	}
	if *update {
		if err := os.WriteFile(filepath.Join(root, path), []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(b.String(), read(t, path)); diff != "" {
		t.Errorf("%s (-want +got; go test ./test/docs -update writes it):\n%s", path, diff)
	}
}

func code(c string) string { return "`" + strings.ReplaceAll(c, "|", `\|`) + "`" }

// quote puts words back together as shell would take them.
func quote(words []string) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		if strings.ContainsAny(w, ` ^{}#\\`) {
			w = "'" + w + "'"
		}
		b.WriteString(w)
	}
	return b.String()
}
