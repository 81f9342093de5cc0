package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc/credentials"
)

// pemFiles are the TLS files. They are read for each handshake: handshakes are
// rare, and a rotated file needs no watching that way.
type pemFiles struct {
	ca, cert, key string
}

// config reads the files.
func (f pemFiles) config() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	pem, err := os.ReadFile(f.ca)
	if err != nil {
		return nil, fmt.Errorf("read etcd's CA: %w: %w", err, ErrNotConfigured)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read etcd's CA %s: no certificate in it: %w", f.ca, ErrNotConfigured)
	}
	if f.cert == "" {
		return cfg, nil
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("read etcd client certificate %s with key %s: %w: %w", f.cert, f.key, err, ErrNotConfigured)
	}
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, nil
}

// freshTLS is a gRPC credential that reads its files for each handshake, the
// CA too, which a tls.Config alone cannot do without giving up its own checks.
type freshTLS struct {
	credentials.TransportCredentials // describes itself as TLS; never shakes hands
	files                            pemFiles
}

func newFreshTLS(files pemFiles) *freshTLS {
	return &freshTLS{TransportCredentials: credentials.NewTLS(nil), files: files}
}

// ClientHandshake implements credentials.TransportCredentials.
func (c *freshTLS) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	cfg, err := c.files.config()
	if err != nil {
		return nil, nil, err
	}
	return credentials.NewTLS(cfg).ClientHandshake(ctx, authority, conn)
}

// Clone implements credentials.TransportCredentials.
func (c *freshTLS) Clone() credentials.TransportCredentials { return newFreshTLS(c.files) }
