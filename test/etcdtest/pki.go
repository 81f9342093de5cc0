package etcdtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// PKI is a certificate authority with the files that kubeadm would make.
type PKI struct {
	CA                string // the authority's certificate
	Client, ClientKey string // of the API server's etcd client

	t      testing.TB
	dir    string
	ca     *x509.Certificate
	caKey  *ecdsa.PrivateKey
	serial int64
}

// NewPKI makes an authority and a client certificate in dir.
func NewPKI(t testing.TB, dir string) *PKI {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatalf("make PKI: %v", err)
	}
	p := &PKI{
		t: t, dir: dir,
		CA:        filepath.Join(dir, "ca.crt"),
		Client:    filepath.Join(dir, "apiserver-etcd-client.crt"),
		ClientKey: filepath.Join(dir, "apiserver-etcd-client.key"),
	}
	p.Renew()
	return p
}

// Renew replaces the authority and the client certificate, in the same files.
// Servers keep what they have until they are issued a new one.
func (p *PKI) Renew() {
	p.t.Helper()
	p.caKey = p.newKey()
	tmpl := p.template("etcd-ca")
	tmpl.IsCA, tmpl.BasicConstraintsValid = true, true
	tmpl.KeyUsage |= x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &p.caKey.PublicKey, p.caKey)
	if err != nil {
		p.t.Fatalf("make CA: %v", err)
	}
	if p.ca, err = x509.ParseCertificate(der); err != nil {
		p.t.Fatalf("make CA: %v", err)
	}
	p.writePEM(p.CA, "CERTIFICATE", der)
	p.IssueClient("kube-apiserver-etcd-client")
}

// IssueClient replaces the client certificate by one of that common name.
func (p *PKI) IssueClient(name string) {
	p.t.Helper()
	tmpl := p.template(name)
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	p.issue(tmpl, p.Client, p.ClientKey)
}

// IssueServer replaces a member's certificate, with the names that kubeadm puts
// into it: the node's name and address, localhost and its addresses.
func (p *PKI) IssueServer(node, host string) {
	p.t.Helper()
	tmpl := p.template(node)
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	tmpl.DNSNames = []string{node, "localhost"}
	tmpl.IPAddresses = []net.IP{net.ParseIP(host), net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	p.issue(tmpl, p.ServerCert(node), p.ServerKey(node))
}

// ServerCert is the file of a member's certificate.
func (p *PKI) ServerCert(node string) string { return filepath.Join(p.dir, node+".crt") }

// ServerKey is the file of a member's key.
func (p *PKI) ServerKey(node string) string { return filepath.Join(p.dir, node+".key") }

func (p *PKI) issue(tmpl *x509.Certificate, certFile, keyFile string) {
	p.t.Helper()
	key := p.newKey()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, p.ca, &key.PublicKey, p.caKey)
	if err != nil {
		p.t.Fatalf("issue certificate for %s: %v", tmpl.Subject.CommonName, err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		p.t.Fatalf("issue certificate for %s: %v", tmpl.Subject.CommonName, err)
	}
	p.writePEM(certFile, "CERTIFICATE", der)
	p.writePEM(keyFile, "EC PRIVATE KEY", keyDER)
}

func (p *PKI) template(name string) *x509.Certificate {
	p.serial++
	return &x509.Certificate{
		SerialNumber: big.NewInt(p.serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

func (p *PKI) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatalf("make key: %v", err)
	}
	return key
}

// writePEM replaces the file in one step, as a careful renewal does.
func (p *PKI) writePEM(file, kind string, der []byte) {
	p.t.Helper()
	data := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		p.t.Fatalf("write %s: %v", file, err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		p.t.Fatalf("write %s: %v", file, err)
	}
}

func (p *PKI) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.ca)
	return pool
}

func (p *PKI) clientPair() tls.Certificate {
	pair, err := tls.LoadX509KeyPair(p.Client, p.ClientKey)
	if err != nil {
		p.t.Fatalf("read client certificate: %v", err)
	}
	return pair
}
