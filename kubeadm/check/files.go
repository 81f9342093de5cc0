package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"havip/configs"
)

func (n Node) lookAtFiles(ctx context.Context, f *Facts) (func(*Facts), error) {
	cfg := f.Config.File
	var pods Pods
	pods.Etcd, pods.EtcdError = n.pod(cfg.Etcd.Manifest)
	pods.APIServer, pods.APIServerError = n.pod(cfg.Health.Manifest)
	kubeconfigs := n.kubeconfigs(ctx)
	certificates := n.certificates(cfg, pods)
	kubelet := n.kubelet()
	return func(f *Facts) {
		f.Pods, f.Kubeconfigs, f.Certificates, f.Kubelet = pods, kubeconfigs, certificates, kubelet
	}, nil
}

// pod returns the flags of a static pod's program, or why they cannot be told.
func (n Node) pod(path string) (flags map[string]string, why string) {
	list, err := configs.ReadPod(n.path(path))
	if err != nil {
		return nil, err.Error()
	}
	for _, c := range list {
		if len(c.Flags) > 0 {
			return c.Flags, ""
		}
	}
	return nil, path + " has no container with a command line"
}

const pki = "/etc/kubernetes/pki/"

// certificates are the leaves and authorities of this master, by kubeadm's names
// or by the flags of the pods.
func (n Node) certificates(cfg *configs.Config, pods Pods) []Certificate {
	flag := func(pod map[string]string, name, otherwise string) string {
		if v := pod[name]; v != "" {
			return v
		}
		return otherwise
	}
	etcdCA := flag(pods.Etcd, "trusted-ca-file", pki+"etcd/ca.crt")
	var list []Certificate
	add := func(use CertificateUse, required bool, path, key, issuer string) {
		list = append(list, n.certificate(Certificate{Path: path, Use: use, Required: required, IssuerPath: issuer}, key))
	}
	if cfg.Etcd.Cert != "" { // else the endpoint is http
		add(UseEtcdClient, true, cfg.Etcd.Cert, cfg.Etcd.Key, cfg.Etcd.CA)
	}
	add(UseAPIServer, true, flag(pods.APIServer, "tls-cert-file", pki+"apiserver.crt"), flag(pods.APIServer, "tls-private-key-file", pki+"apiserver.key"), pki+"ca.crt")
	add(UseOther, true, flag(pods.Etcd, "cert-file", pki+"etcd/server.crt"), flag(pods.Etcd, "key-file", pki+"etcd/server.key"), etcdCA)
	add(UseOther, true, flag(pods.Etcd, "peer-cert-file", pki+"etcd/peer.crt"), flag(pods.Etcd, "peer-key-file", pki+"etcd/peer.key"),
		flag(pods.Etcd, "peer-trusted-ca-file", pki+"etcd/ca.crt"))
	add(UseOther, false, pki+"apiserver-kubelet-client.crt", pki+"apiserver-kubelet-client.key", pki+"ca.crt")
	add(UseOther, false, pki+"front-proxy-client.crt", pki+"front-proxy-client.key", pki+"front-proxy-ca.crt")
	for _, ca := range []string{pki + "ca.crt", etcdCA, pki + "front-proxy-ca.crt"} {
		add(UseOther, ca != pki+"front-proxy-ca.crt", ca, "", "") // who signs may be kept elsewhere: no key is needed
	}
	for _, name := range []string{"admin.conf", "controller-manager.conf", "scheduler.conf"} {
		k, err := configs.ReadKubeconfig(n.path("etc/kubernetes", name))
		if err == nil && len(k.Certificate) > 0 {
			c := Certificate{Path: "/etc/kubernetes/" + name, Use: UseOther}
			c.parse(k.Certificate)
			list = append(list, c)
		}
	}
	return list
}

// certificate reads one, with its key and its issuer.
func (n Node) certificate(c Certificate, key string) Certificate {
	data, err := os.ReadFile(n.path(c.Path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.Missing = true
		return c
	case errors.Is(err, fs.ErrPermission):
		c.Denied = true
		return c
	case err != nil:
		c.Error = err.Error()
		return c
	}
	leaf := c.parse(data)
	if leaf == nil {
		return c
	}
	if key != "" {
		c.checkKey(data, n.path(key))
	}
	if c.IssuerPath != "" {
		c.checkIssuer(leaf, n.path(c.IssuerPath))
	}
	return c
}

// parse takes the first certificate of a PEM file, as TLS does.
func (c *Certificate) parse(data []byte) *x509.Certificate {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		c.Error = "has no PEM certificate"
		return nil
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		c.Error = err.Error()
		return nil
	}
	c.Begin, c.End, c.Names = leaf.NotBefore, leaf.NotAfter, leaf.DNSNames
	for _, ip := range leaf.IPAddresses {
		if a, ok := netip.AddrFromSlice(ip); ok {
			c.Addresses = append(c.Addresses, a.Unmap())
		}
	}
	return leaf
}

func (c *Certificate) checkKey(certificate []byte, path string) {
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrPermission) {
		c.Denied = true
		return
	}
	if err == nil {
		_, err = tls.X509KeyPair(certificate, key)
	}
	if err != nil {
		c.KeyError = strings.TrimPrefix(err.Error(), "tls: ")
	}
}

// checkIssuer compares signatures only; times are told by themselves.
func (c *Certificate) checkIssuer(leaf *x509.Certificate, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		c.IssuedBy = err.Error()
		return
	}
	last := errors.New("it has no PEM certificate")
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		ca, err := x509.ParseCertificate(block.Bytes)
		if err == nil {
			err = leaf.CheckSignatureFrom(ca)
		}
		if err == nil {
			return
		}
		last = err
	}
	c.IssuedBy = last.Error()
}

func (n Node) kubeconfigs(ctx context.Context) []Kubeconfig {
	var list []Kubeconfig
	for _, name := range []string{"admin.conf", "kubelet.conf", "controller-manager.conf", "scheduler.conf"} {
		k := Kubeconfig{Path: "/etc/kubernetes/" + name, Addresses: make(map[string][]netip.Addr)}
		read, err := configs.ReadKubeconfig(n.path(k.Path))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, fs.ErrPermission):
			k.Denied = true
		case err != nil:
			k.Error = err.Error()
		}
		k.Servers = read.Servers
		for _, server := range read.Servers {
			if u, err := url.Parse(server); err == nil {
				k.Addresses[server] = n.lookUp(ctx, u.Hostname())
			}
		}
		list = append(list, k)
	}
	return list
}

// lookUp returns what a name or an address leads to; nothing if it leads nowhere.
func (n Node) lookUp(ctx context.Context, host string) []netip.Addr {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}
	}
	list, err := n.Resolve(ctx, host)
	if err != nil {
		return nil
	}
	return list
}

// kubelet is what the running kubelet was told, or what the files that kubeadm and
// its packages give it say (kubeadm's 10-kubeadm.conf names them).
func (n Node) kubelet() Kubelet {
	for _, dir := range n.processes("kubelet") {
		data, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err == nil && len(data) > 0 {
			return Kubelet{Source: "the running kubelet's command line", NodeIP: nodeIPs(strings.Split(string(data), "\x00"))}
		}
	}
	var k Kubelet
	for _, path := range []string{"/var/lib/kubelet/kubeadm-flags.env", "/etc/default/kubelet", "/etc/sysconfig/kubelet"} {
		text := n.read(path)
		if text == "" {
			continue
		}
		found := nodeIPs(strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\n\"'", r) }))
		if k.Source == "" || len(found) > 0 { // a later one wins, as a later flag does
			k = Kubelet{Source: path, NodeIP: found}
		}
	}
	return k
}

// nodeIPs are the addresses of the last --node-ip.
func nodeIPs(words []string) []netip.Addr {
	var list []netip.Addr
	for i, word := range words {
		value, ok := strings.CutPrefix(word, "--node-ip=")
		if word == "--node-ip" && i+1 < len(words) {
			value, ok = words[i+1], true
		}
		if i := strings.Index(word, "--node-ip="); !ok && i > 0 { // KUBELET_EXTRA_ARGS=--node-ip=…
			value, ok = word[i+len("--node-ip="):], true
		}
		if !ok {
			continue
		}
		list = nil
		for text := range strings.SplitSeq(value, ",") {
			if a, err := netip.ParseAddr(text); err == nil {
				list = append(list, a.Unmap())
			}
		}
	}
	return list
}
