package check

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"havip/configs"
	"havip/kubeadm"
)

// dir is a node that is a directory, on which all is well until a test changes it.
type dir struct {
	Node
	t       *testing.T
	answers map[string]string // of programs, by the beginning of their command line
	links   []kubeadm.Link
	config  string
}

// newDir is a master with the VIP on another one.
func newDir(t *testing.T) *dir {
	d := &dir{t: t, answers: map[string]string{
		"systemctl show": "Id=havipd.service\nLoadState=loaded\nUnitFileState=enabled\nActiveState=active\nAfter=network.target\n\n" +
			"Id=kubelet.service\nLoadState=loaded\nUnitFileState=enabled\nActiveState=active\nAfter=containerd.service havipd.service\nRequires=basic.target\nBindsTo=\n",
		"nft --json":             `{"nftables":[{"metainfo":{"version":"1.0.6"}},{"chain":{"family":"inet","table":"f","name":"in","hook":"input","policy":"accept"}}]}`,
		"kubectl get daemonsets": `{"kind":"List","items":[]}`,
		"kubectl get configmaps": "",
	}}
	d.links = []kubeadm.Link{
		{Name: "lo", Up: true, Carrier: true, Loopback: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}},
		{Name: "eth0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Up: true, Carrier: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.162/24")}},
	}
	d.Node = Node{System: kubeadm.System{
		Root: t.TempDir(), Links: func() ([]kubeadm.Link, error) { return d.links, nil },
		Addresses: func() ([]netip.Addr, error) { return []netip.Addr{addr("198.51.100.162")}, nil },
		Resolve: func(_ context.Context, name string) ([]netip.Addr, error) {
			if name != "k8s" {
				return nil, errors.New("no such host")
			}
			return []netip.Addr{addr("198.51.100.166")}, nil
		},
		Dial: func(context.Context, string, string) (net.Conn, error) {
			a, b := net.Pipe()
			b.Close()
			return a, nil
		},
		Ask: d.ask, Synchronised: func() (bool, error) { return true, nil },
	}, Daemon: func(context.Context, bool) Daemon {
		return Daemon{Configured: true, VIP: []netip.Addr{addr("198.51.100.166")}, Verdict: "HELD", Role: "candidate", Link: "eth0", Holder: "n2",
			Etcd: Etcd{State: "ready", Members: []Member{{Name: "n1"}, {Name: "n2"}, {Name: "n3"}}}}
	}}
	d.config = d.write("etc/havip/havip.toml", "vip.address = \"198.51.100.166\"\n[masters]\nn1 = \"198.51.100.162\"\nn2 = \"198.51.100.163\"\nn3 = \"198.51.100.164\"\n")
	d.write("proc/net/route", "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\nwlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\neth0\t00000000\t016433C6\t0003\t0\t0\t0\t00000000\t0\n")
	d.write("proc/net/arp", "IP address       HW type     Flags       HW address            Mask     Device\n198.51.100.166   0x1         0x2         02:00:00:00:00:02     *        eth0\n198.51.100.7     0x1         0x0         00:00:00:00:00:00     *        eth0\n")
	d.write("proc/sys/net/ipv4/ip_forward", "1\n")
	d.manifests()
	d.pki()
	d.write("var/lib/kubelet/kubeadm-flags.env", "KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///x --node-ip=198.51.100.162\"\n")
	return d
}

func (d *dir) write(path, text string) string {
	d.t.Helper()
	full := d.path(path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return full
}

// ask answers as programs do; kubectl's kubeconfig is of no interest.
func (d *dir) ask(_ context.Context, program string, args ...string) (string, error) {
	if program == "kubectl" {
		args = args[2:]
	}
	line := program + " " + strings.Join(args, " ")
	for begin, said := range d.answers {
		if strings.HasPrefix(line, begin) {
			return said, nil
		}
	}
	return "", fmt.Errorf("%s %w", program, kubeadm.ErrNotInstalled)
}

func (d *dir) manifests() {
	pod := "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: %s\n    command:\n    - %[1]s\n    - %s\n"
	d.write("etc/kubernetes/manifests/etcd.yaml", fmt.Sprintf(pod, "etcd", "--advertise-client-urls=https://198.51.100.162:2379"))
	d.write("etc/kubernetes/manifests/kube-apiserver.yaml", fmt.Sprintf(pod, "kube-apiserver", "--advertise-address=198.51.100.162"))
}

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         string
}

// issue makes a certificate and its key, by itself where by is nil.
func issue(t *testing.T, name string, by *authority, change func(c *x509.Certificate)) (a authority, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(name))), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
		BasicConstraintsValid: true, IsCA: by == nil, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	change(c)
	parent, signer := c, private
	if by != nil {
		parent, signer = by.certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &private.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return authority{parsed, private, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))},
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bytes}))
}

func asIs(*x509.Certificate) {}

// pki writes what kubeadm does.
func (d *dir) pki() {
	ca, _ := issue(d.t, "kubernetes", nil, asIs)
	etcd, _ := issue(d.t, "etcd-ca", nil, asIs)
	d.write("etc/kubernetes/pki/ca.crt", ca.pem)
	d.write("etc/kubernetes/pki/etcd/ca.crt", etcd.pem)
	for _, one := range []struct {
		name string
		by   *authority
	}{{"apiserver", &ca}, {"apiserver-etcd-client", &etcd}, {"etcd/server", &etcd}, {"etcd/peer", &etcd}} {
		leaf, key := issue(d.t, one.name, one.by, func(c *x509.Certificate) {
			c.DNSNames, c.IPAddresses = []string{"n1"}, []net.IP{net.ParseIP("198.51.100.162"), net.ParseIP("198.51.100.166")}
		})
		d.write("etc/kubernetes/pki/"+one.name+".crt", leaf.pem)
		d.write("etc/kubernetes/pki/"+one.name+".key", key)
	}
	client, _ := issue(d.t, "admin", &ca, asIs)
	kubeconfig := "clusters:\n- cluster:\n    server: https://%s:6443\n  name: k\nusers:\n- name: a\n  user:\n    client-certificate-data: %s\n"
	encoded := base64.StdEncoding.EncodeToString([]byte(client.pem))
	d.write("etc/kubernetes/admin.conf", fmt.Sprintf(kubeconfig, "k8s", encoded))
	d.write("etc/kubernetes/kubelet.conf", fmt.Sprintf(kubeconfig, "198.51.100.162", ""))
}

func TestGather(t *testing.T) {
	const cilium = `{"kind":"List","items":[
 {"metadata":{"name":"calico-node","namespace":"calico-system"},"spec":{"template":{"spec":{"containers":[{"env":[{"name":"IP_AUTODETECTION_METHOD","value":"can-reach=198.51.100.166"}]}]}}}},
 {"metadata":{"name":"cilium","namespace":"kube-system"},"spec":{"template":{"spec":{"containers":[{"env":[{"name":"KUBERNETES_SERVICE_HOST","value":"198.51.100.163"}]}]}}}},
 {"metadata":{"name":"kube-vip-ds","namespace":"kube-system"},"spec":{"template":{"spec":{"containers":[{"args":["manager"],"env":[{"name":"cp_enable","value":"true"},{"name":"address","value":"198.51.100.166"}]}]}}}},
 {"metadata":{"name":"kube-vip-services","namespace":"kube-system"},"spec":{"template":{"spec":{"containers":[{"args":["manager","--services"],"env":[{"name":"address","value":"198.51.100.166"}]}]}}}},
 {"metadata":{"name":"speaker","namespace":"metallb-system"},"spec":{"template":{"spec":{"containers":[{"args":["--port=7472"]}]}}}}]}`
	const maps = `{"kind":"List","items":[
 {"metadata":{"name":"kube-proxy"},"data":{"config.conf":"mode: ipvs\nnodePortAddresses: [\"198.51.100.0/24\"]\nipvs:\n  strictARP: false\n"}},
 {"metadata":{"name":"cilium-config"},"data":{"kube-proxy-replacement":"true","devices":"ens1 ens2"}}]}`
	tests := []struct {
		name   string
		change func(d *dir)
		want   string
	}{
		{"all is well", func(*dir) {}, ""},
		{"services-only kube-vip, MetalLB", func(d *dir) {
			d.write("etc/kubernetes/manifests/kube-vip.yaml", "spec:\n  containers:\n  - name: k\n    env:\n    - {name: svc_enable, value: \"true\"}\n    - {name: address, value: 198.51.100.166}\n")
		}, ""},
		{"kube-vip", func(d *dir) {
			d.write("etc/kubernetes/manifests/kube-vip.yaml", "spec:\n  containers:\n  - name: k\n    env:\n    - {name: cp_enable, value: \"true\"}\n    - {name: address, value: 198.51.100.166}\n")
		}, "error rivals: kube-vip in /etc/kubernetes/manifests/kube-vip.yaml would set the VIP too"},
		{"keepalived", func(d *dir) {
			d.write("etc/keepalived/keepalived.conf", "vrrp_instance x {\n virtual_ipaddress {\n 198.51.100.166/24\n }\n}\n")
			d.write("proc/812/comm", "keepalived\n")
		}, "error rivals: keepalived, which runs with /etc/keepalived/keepalived.conf, would set the VIP too"},
		{"config", func(d *dir) {
			d.write("etc/havip/havip.toml", "vip.address = \"198.51.100.166\"\nvip.adress = 1\n[masters]\nn1 = \"198.51.100.162\"\n[nonsense]\nx = 1\n")
		}, `error config: /etc/havip/havip.toml:2:14: vip.adress: unknown key; did you mean address?
error config: /etc/havip/havip.toml:5: nonsense: unknown section; remove it; known here: vip, masters, etcd, election, health, metrics, kubeadm, unattended`},
		{"another node", func(d *dir) { d.links[1].Prefixes[0] = netip.MustParsePrefix("198.51.100.9/24") },
			`error self: find this node in [masters]: none of its addresses (198.51.100.9) is there (n1 = 198.51.100.162, n2 = 198.51.100.163, n3 = 198.51.100.164)
warning endpoint: /etc/kubernetes/kubelet.conf: https://198.51.100.162:6443 leads to 198.51.100.162, which is neither the VIP nor this node`},
		{"sysctls", func(d *dir) {
			d.write("proc/sys/net/ipv4/conf/all/arp_ignore", "2\n")
			d.write("proc/sys/net/ipv4/conf/eth0/arp_ignore", "1\n")
			d.write("proc/sys/net/ipv4/conf/eth0/drop_gratuitous_arp", "1\n")
		}, "error arp-ignore: eth0: arp_ignore is 2\nwarning announcements: eth0: drop_gratuitous_arp is on"},
		{"port of a bridge", func(d *dir) { d.enslave("eth0", "br0", "DEVTYPE=bridge\n") }, "error link: eth0: is a port of br0: an address on it answers nobody"},
		{"link in a VRF", func(d *dir) { d.enslave("eth0", "red", "DEVTYPE=vrf\n") }, ""},
		{"clock", func(d *dir) {
			d.Synchronised = func() (bool, error) { return false, nil }
			d.write("proc/44/comm", "chronyd\n")
		},
			"warning clock: not synchronised, though chronyd runs"},
		{"clock denied", func(d *dir) { d.Synchronised = func() (bool, error) { return false, syscall.EPERM } }, "unseen clock: the kernel does not tell: operation not permitted"},
		{"units", func(d *dir) {
			d.answers["systemctl show"] = "Id=havipd.service\nLoadState=loaded\nUnitFileState=disabled\n\nId=kubelet.service\nLoadState=loaded\nAfter=a.service\nPartOf=havipd.service\n"
		}, `error enabled: havipd.service: is not enabled
error order: kubelet.service: is not ordered after havipd
error order: kubelet.service: ends when havipd.service ends`},
		{"no systemd", func(d *dir) { delete(d.answers, "systemctl show") }, `unseen enabled: systemctl is not installed (not in PATH)
unseen order: systemctl is not installed (not in PATH)`},
		{"certificate expired", func(d *dir) {
			d.reissue("apiserver", func(c *x509.Certificate) {
				c.NotAfter = time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
				c.NotBefore = c.NotAfter.Add(-time.Hour)
			})
		}, "error certificates: /etc/kubernetes/pki/apiserver.crt: expired on 2026-01-02"},
		{"certificate without the VIP", func(d *dir) {
			d.reissue("apiserver", func(c *x509.Certificate) { c.IPAddresses = c.IPAddresses[:1] })
		}, "error api-names: /etc/kubernetes/pki/apiserver.crt: does not have the VIP 198.51.100.166"},
		{"another's key", func(d *dir) {
			_, key := issue(d.t, "x", nil, asIs)
			d.write("etc/kubernetes/pki/apiserver-etcd-client.key", key)
		}, "error etcd-certificate: /etc/kubernetes/pki/apiserver-etcd-client.crt: its key does not go with it: private key does not match public key"},
		{"another CA", func(d *dir) {
			ca, _ := issue(d.t, "etcd-ca", nil, asIs)
			d.write("etc/kubernetes/pki/etcd/ca.crt", ca.pem)
		}, `error etcd-certificate: /etc/kubernetes/pki/apiserver-etcd-client.crt: is not of /etc/kubernetes/pki/etcd/ca.crt: x509: ECDSA verification failure
error certificates: /etc/kubernetes/pki/etcd/server.crt: is not of /etc/kubernetes/pki/etcd/ca.crt: x509: ECDSA verification failure
error certificates: /etc/kubernetes/pki/etcd/peer.crt: is not of /etc/kubernetes/pki/etcd/ca.crt: x509: ECDSA verification failure`},
		{"garbage for a certificate", func(d *dir) { d.write("etc/kubernetes/pki/apiserver.crt", "garbage") }, `error certificates: /etc/kubernetes/pki/apiserver.crt: has no PEM certificate
unseen api-names: the API server's certificate cannot be read`},
		{"etcd at the VIP", func(d *dir) {
			d.write("etc/kubernetes/manifests/etcd.yaml", "spec:\n  containers:\n  - name: etcd\n    command: [etcd, --listen-client-urls=https://198.51.100.166:2379]\n")
		}, "error etcd-urls: --listen-client-urls: names the VIP: https://198.51.100.166:2379"},
		{"running kubelet at the VIP", func(d *dir) {
			d.write("proc/99/comm", "kubelet\n")
			d.write("proc/99/cmdline", "/usr/bin/kubelet\x00--node-ip\x00198.51.100.166\x00")
		}, "error node-ip: kubelet: --node-ip is the VIP 198.51.100.166, by the running kubelet's command line"},
		{"kubelet's defaults file", func(d *dir) { d.write("etc/default/kubelet", "KUBELET_EXTRA_ARGS=--node-ip=198.51.100.166\n") },
			"error node-ip: kubelet: --node-ip is the VIP 198.51.100.166, by /etc/default/kubelet"},
		{"name of the endpoint", func(d *dir) {
			d.Resolve = func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{addr("198.51.100.7")}, nil }
		}, "error endpoint: /etc/kubernetes/admin.conf: https://k8s:6443 leads to 198.51.100.7, which is not the VIP"},
		{"firewalld", func(d *dir) {
			d.write("proc/71/comm", "firewalld\n")
			d.answers["firewall-cmd --get-default-zone"] = "public\n"
			d.answers["firewall-cmd --list-all-zones"] = "public (active)\n  target: default\n  interfaces: eth1\n  services: ssh havip\n  ports: \n\nwork (active)\n  target: default\n  interfaces: eth0\n  services: ssh\n  ports: 6443/tcp\n"
		}, "error firewalld: zone work: does not let in TCP to 2379, 2380"},
		{"firewalld, default zone", func(d *dir) {
			d.write("proc/71/comm", "firewalld\n")
			d.answers["firewall-cmd --get-default-zone"] = "public\n"
			d.answers["firewall-cmd --list-all-zones"] = "drop\n  target: DROP\n  services: \n\npublic\n  target: default\n  services: ssh\n  ports: 6443/tcp 2300-2400/tcp\n"
		}, ""},
		{"firewalld, rich rules", func(d *dir) {
			d.write("proc/71/comm", "firewalld\n")
			d.answers["firewall-cmd --get-default-zone"] = "public\n"
			d.answers["firewall-cmd --list-all-zones"] = "public\n  target: default\n  services: ssh\n  ports: \n  rich rules: \n\trule family=\"ipv4\" source address=\"198.51.100.0/24\" port port=\"6443\" protocol=\"tcp\" accept\n" +
				"\trule family=\"ipv4\" source address=\"198.51.100.0/24\" service name=\"etcd-server\" accept\n\trule family=\"ipv4\" source address=\"198.51.100.0/24\" port port=\"2379\" protocol=\"tcp\" drop\n"
		}, "error firewalld: zone public: does not let in TCP to 2379"},
		{"firewalld, by source", func(d *dir) {
			d.write("proc/71/comm", "firewalld\n")
			d.answers["firewall-cmd --get-default-zone"] = "public\n"
			d.answers["firewall-cmd --list-all-zones"] = "masters (active)\n  target: ACCEPT\n  sources: 198.51.100.0/24\n\npublic\n  target: default\n  services: kube-apiserver\n"
		}, "warning firewalld: zone public: does not let in TCP to 2379, 2380; whether a zone that goes by addresses lets the others in is not looked at"},
		{"firewalld mute", func(d *dir) { d.write("proc/71/comm", "firewalld\n") }, "unseen firewalld: firewalld runs, and does not tell: firewall-cmd is not installed (not in PATH)"},
		{"nft", func(d *dir) {
			d.answers["nft --json"] = `{"nftables":[{"chain":{"family":"ip","table":"filter","name":"OUTPUT","type":"filter","hook":"output","prio":0,"policy":"drop"}},
 {"rule":{"family":"ip","table":"filter","chain":"OUTPUT","handle":3,"expr":[]}},{"chain":{"family":"arp","table":"f","name":"o","hook":"output","policy":"drop"}}]}`
		}, "error output: arp f o: drops all ARP (hook output)\nwarning output: ip filter OUTPUT: drops what none of its 1 rules accepts"},
		{"no nft", func(d *dir) { delete(d.answers, "nft --json") }, "unseen output: nft is not installed (not in PATH)"},
		{"the older iptables", func(d *dir) {
			delete(d.answers, "nft --json")
			d.write("proc/net/ip_tables_names", "nat\nfilter\n")
			d.answers["iptables-legacy -S OUTPUT"] = "-P OUTPUT DROP\n-A OUTPUT -o lo -j ACCEPT\n"
		}, "warning output: ip filter OUTPUT: drops what none of its 1 rules accepts"},
		{"the cluster's programs", func(d *dir) {
			d.answers["kubectl get daemonsets"], d.answers["kubectl get configmaps"] = cilium, maps
		}, `error rivals: kube-vip in kube-system/kube-vip-ds would set the VIP too
error calico: calico-system/calico-node: IP_AUTODETECTION_METHOD is can-reach=198.51.100.166: the holder takes the VIP itself
error cilium: k8sServiceHost: is 198.51.100.163: the agents of all nodes lose the API server with that master
warning nodeports: kube-proxy: nodePortAddresses has 198.51.100.0/24, and the VIP is in it
warning ipvs: kube-proxy: its mode is ipvs, and strictARP is false
warning cilium: devices: are ens1, ens2, without eth0: its host firewall and NodePorts do not work on the VIP's link`},
		{"kube-proxy alone", func(d *dir) {
			d.answers["kubectl get configmaps"] = `{"kind":"ConfigMap","metadata":{"name":"kube-proxy"},"data":{"config.conf":"mode: nftables\n"}}`
		}, ""},
		{"no kubectl", func(d *dir) { delete(d.answers, "kubectl get daemonsets") }, unseenCluster("kubectl is not installed (not in PATH)")},
		{"not root", func(d *dir) { d.UID = 1000 }, unseenCluster("only root may use admin.conf")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDir(t)
			tt.change(d)
			r := Judge(Gather(t.Context(), d.Node, d.config))
			text := strings.ReplaceAll(told(r), d.Root, "")
			text = strings.Join(slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool { return strings.HasSuffix(line, ": the config file cannot be used") }), "\n")
			if diff := cmp.Diff(tt.want, text); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func unseenCluster(why string) string {
	return "unseen nodeports: " + why + "\nunseen ipvs: " + why + "\nunseen calico: " + why + "\nunseen cilium: " + why
}

func (d *dir) enslave(link, master, uevent string) {
	d.write("sys/class/net/"+master+"/uevent", uevent)
	d.write("sys/class/net/"+link+"/uevent", "")
	if err := os.Symlink("../"+master, d.path("sys/class/net", link, "master")); err != nil {
		d.t.Fatal(err)
	}
}

// reissue replaces a certificate of the Kubernetes CA, and that CA with it.
func (d *dir) reissue(name string, change func(c *x509.Certificate)) {
	ca, _ := issue(d.t, "kubernetes", nil, asIs)
	leaf, key := issue(d.t, name, &ca, func(c *x509.Certificate) {
		c.IPAddresses = []net.IP{net.ParseIP("198.51.100.162"), net.ParseIP("198.51.100.166")}
		change(c)
	})
	d.write("etc/kubernetes/pki/ca.crt", ca.pem)
	d.write("etc/kubernetes/pki/"+name+".crt", leaf.pem)
	d.write("etc/kubernetes/pki/"+name+".key", key)
}

// TestGatherEnds: a part that never ends is left out, and says so.
func TestGatherEnds(t *testing.T) {
	d := newDir(t)
	synctest.Test(t, func(t *testing.T) {
		never := make(chan struct{})
		defer close(never)
		d.Ask = func(context.Context, string, ...string) (string, error) { <-never; return "", nil } // heeds no context
		d.Daemon = func(ctx context.Context, _ bool) Daemon { <-ctx.Done(); return Daemon{Error: "no answer"} }
		begun := time.Now()
		f := Gather(t.Context(), d.Node, d.config)
		if took := time.Since(begun); took > 9*time.Second {
			t.Errorf("took %v", took)
		}
		want := map[Part]string{PartSystemd: "no answer within 5s", PartFirewall: "no answer within 5s", PartCluster: "no answer within 5s"}
		if diff := cmp.Diff(want, f.Missing, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("missing (-want +got):\n%s", diff)
		}
		if f.Daemon.Error != "no answer" || len(f.Certificates) == 0 {
			t.Errorf("what did answer is not there: %+v", f.Daemon)
		}
	})
}

// TestGatherBare: on a node without a cluster the programs are asked for their
// versions, and the daemon may look at the wire.
func TestGatherBare(t *testing.T) {
	d := newDir(t)
	for _, path := range []string{"etc/kubernetes", "var/lib/kubelet"} {
		if err := os.RemoveAll(d.path(path)); err != nil {
			t.Fatal(err)
		}
	}
	d.answers["kubeadm version -o short"], d.answers["kubelet --version"] = "v1.34.4\n", "Kubernetes v1.34.4\n"
	d.Daemon = func(_ context.Context, joined bool) Daemon {
		if joined {
			t.Error("the daemon was told that there is a cluster")
		}
		return Daemon{Configured: true, VIP: []netip.Addr{addr("198.51.100.166")}, Role: "waiting", Link: "eth0", Verdict: "UNKNOWN", Probed: true}
	}
	d.Dial = func(_ context.Context, network, _ string) (net.Conn, error) {
		if network == "tcp" {
			return nil, &net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}
		}
		a, b := net.Pipe()
		b.Close()
		return a, nil
	}
	d.write("run/containerd/containerd.sock", "")
	d.write("proc/sys/net/bridge/bridge-nf-call-iptables", "1")
	d.write("proc/net/arp", "")
	if diff := cmp.Diff("", told(Judge(Gather(t.Context(), d.Node, d.config)))); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	d.write("proc/sys/net/ipv4/ip_forward", "0")
	d.Dial = func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	want := `error vip: 198.51.100.166: somebody answers for it, and no master is known to hold it
error runtime: container runtime: /run/containerd/containerd.sock does not answer: dial: connection refused
error kernel: net.ipv4.ip_forward: is 0`
	if diff := cmp.Diff(want, told(Judge(Gather(t.Context(), d.Node, d.config)))); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// TestKnock: what came of connecting, and what it proves.
func TestKnock(t *testing.T) {
	const table = "IP address       HW type     Flags       HW address            Mask     Device\n"
	const complete, written = "198.51.100.166   0x1         0x2         02:00:00:00:00:02     *        eth0\n", "198.51.100.166   0x1         0x6         02:00:00:00:00:09     *        eth0\n"
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	tests := []struct {
		name          string
		before, after string // the neighbour table
		err           error
		want          Answer
	}{
		{"accepts", complete, complete, nil, Answer{Accepts: true, MAC: "02:00:00:00:00:02"}},
		{"refuses", "", complete, refused, Answer{Refuses: true, MAC: "02:00:00:00:00:02"}},
		{"nobody", "", "", &net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}, Answer{Silent: true, Error: "dial: no route to host"}},
		{"nobody in time", "", "", context.DeadlineExceeded, Answer{Silent: true, Error: "context deadline exceeded"}},
		{"the socket's deadline", "", "", &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, Answer{Silent: true, Error: "dial: i/o timeout"}},
		{"heard by ARP alone", "", complete, context.DeadlineExceeded, Answer{Silent: true, MAC: "02:00:00:00:00:02", Error: "context deadline exceeded"}},
		{"known from before", complete, complete, context.DeadlineExceeded, Answer{Silent: true, Stale: true, MAC: "02:00:00:00:00:02", Error: "context deadline exceeded"}},
		{"written by somebody", written, written, context.DeadlineExceeded, Answer{Silent: true, Error: "context deadline exceeded"}},
		{"no network", "", "", &net.OpError{Op: "dial", Err: syscall.ENETUNREACH}, Answer{Error: "dial: network is unreachable"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDir(t)
			d.write("proc/net/arp", table+tt.before)
			d.Dial = func(context.Context, string, string) (net.Conn, error) {
				d.write("proc/net/arp", table+tt.after)
				a, b := net.Pipe()
				b.Close()
				return a, tt.err
			}
			tt.want.Address = addr("198.51.100.166")
			if diff := cmp.Diff(tt.want, d.knock(t.Context(), tt.want.Address, 6443), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDefaultLink(t *testing.T) {
	d := newDir(t)
	if got := d.defaultLink(); got != "eth0" {
		t.Errorf("default link %q", got)
	}
	d.write("proc/net/route", "Iface\tDestination\n")
	const zero = "00000000000000000000000000000000"
	d.write("proc/net/ipv6_route", zero+" 00 "+zero+" 00 "+zero+" ffffffff 00000001 00000000 00200200       lo\n"+
		zero+" 00 "+zero+" 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth6\n")
	if got := d.defaultLink(); got != "eth6" {
		t.Errorf("default link %q", got)
	}
}

// TestVIPLink: the link is found without a daemon too.
func TestVIPLink(t *testing.T) {
	f := master(t)
	for _, tt := range []struct {
		name   string
		change func(f *Facts)
		want   string
	}{
		{"by network", func(f *Facts) { f.Daemon = Daemon{Stopped: true} }, "eth0"},
		{"by default route", func(f *Facts) {
			f.Daemon, f.Links[1].Prefixes, f.DefaultLink = Daemon{Stopped: true}, nil, "eth10"
		}, "eth10"},
		{"none", func(f *Facts) { f.Daemon, f.Links[1].Prefixes, f.DefaultLink = Daemon{}, nil, "" }, ""},
		{"by name", func(f *Facts) { f.Config.File.VIP.Interface = configs.Interface{Name: "eth10"} }, "eth10"},
		{"by MAC", func(f *Facts) { f.Config.File.VIP.Interface = configs.Interface{MAC: f.Links[2].MAC} }, "eth10"},
		{"by MAC of a port", func(f *Facts) {
			f.Config.File.VIP.Interface, f.Links[2].Master = configs.Interface{MAC: f.Links[2].MAC}, "br0"
		}, ""},
	} {
		f = master(t)
		tt.change(&f)
		if l, why := f.vipLink(); l.Name != tt.want || (why == "") != (tt.want != "") {
			t.Errorf("%s: %q, %q, want %q", tt.name, l.Name, why, tt.want)
		}
	}
}
