package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// serviceAddress is the kubernetes service's address with kubeadm's default
// service subnet.
var serviceAddress = netip.MustParseAddr("10.96.0.1")

// authority is one certificate authority, as kubeadm makes two of them: one
// for Kubernetes and one for etcd.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// PKI is what the masters of one cluster share.
type PKI struct {
	kubernetes authority
	etcd       authority
}

// NewPKI makes both authorities.
func NewPKI() (*PKI, error) {
	k, err := newAuthority("kubernetes")
	if err != nil {
		return nil, err
	}
	e, err := newAuthority("etcd-ca")
	if err != nil {
		return nil, err
	}
	return &PKI{kubernetes: k, etcd: e}, nil
}

func newAuthority(name string) (authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, fmt.Errorf("make key of CA %s: %w", name, err)
	}
	tmpl := template(name)
	tmpl.IsCA = true
	tmpl.BasicConstraintsValid = true
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return authority{}, fmt.Errorf("make CA %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return authority{}, fmt.Errorf("read CA %s: %w", name, err)
	}
	return authority{cert: cert, key: key, pem: pemCert(der)}, nil
}

func template(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		serial = big.NewInt(time.Now().UnixNano())
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(365 * 24 * time.Hour),
	}
}

// leaf is one certificate to be signed.
type leaf struct {
	name         string
	organization []string
	dns          []string
	ips          []netip.Addr
	server       bool
	client       bool
}

// issue writes <base>.crt and <base>.key, the key readable by its owner only,
// as kubeadm does.
func (a authority) issue(base string, l leaf) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key of %s: %w", l.name, err)
	}
	tmpl := template(l.name)
	tmpl.Subject.Organization = l.organization
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	tmpl.DNSNames = l.dns
	for _, ip := range l.ips {
		tmpl.IPAddresses = append(tmpl.IPAddresses, net.IP(ip.AsSlice()))
	}
	if l.server {
		tmpl.ExtKeyUsage = append(tmpl.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if l.client {
		tmpl.ExtKeyUsage = append(tmpl.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return fmt.Errorf("sign %s: %w", l.name, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode key of %s: %w", l.name, err)
	}
	if err := writeFile(base+".crt", pemCert(der), 0o644); err != nil {
		return err
	}
	return writeFile(base+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600)
}

// Install writes a master's files under dir (/etc/kubernetes/pki elsewhere)
// with kubeadm's names, and with the names kubeadm puts into the certificates.
func (p *PKI) Install(dir string, n *Seat) error {
	if err := writeFile(filepath.Join(dir, "ca.crt"), p.kubernetes.pem, 0o644); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, "etcd", "ca.crt"), p.etcd.pem, 0o644); err != nil {
		return err
	}
	local := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
	etcdNames := leaf{
		name: n.Name, dns: []string{"localhost", n.Name},
		ips: append(n.Addresses(), local...), server: true, client: true,
	}
	// No 127.0.0.1 among the API server's names: kubeadm v1.34 has none.
	api := leaf{
		name: "kube-apiserver", server: true,
		dns: []string{
			n.Name, "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		},
		ips: append(append([]netip.Addr{serviceAddress}, n.Addresses()...), n.stage.VIPs...),
	}
	client := leaf{name: "kube-apiserver-etcd-client", organization: []string{"kubeadm:cluster-admins"}, client: true}
	for _, f := range []struct {
		base string
		by   authority
		leaf leaf
	}{
		{"etcd/server", p.etcd, etcdNames},
		{"etcd/peer", p.etcd, etcdNames},
		{"apiserver-etcd-client", p.etcd, client},
		{"apiserver", p.kubernetes, api},
	} {
		if err := f.by.issue(filepath.Join(dir, f.base), f.leaf); err != nil {
			return err
		}
	}
	return nil
}

func pemCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// writeFile writes a file and the directories above it.
func writeFile(path string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make directory of %s: %w", path, err)
	}
	if err := os.WriteFile(path, data, mode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
