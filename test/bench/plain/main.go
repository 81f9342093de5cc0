// Command plain is what people write first: an election by the etcd client's
// concurrency package, and the address for whoever wins it. The benchmark runs it
// beside havip to show what the rest of havip is for.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
)

// ttl of the session, in seconds.
const ttl = 5

func main() {
	node := flag.String("node", "", "name of this node")
	link := flag.String("link", "eth0", "link to put the address on")
	vip := flag.String("vip", "", "address")
	pki := flag.String("pki", "/etc/kubernetes/pki", "kubeadm's certificates")
	prefix := flag.String("prefix", "/plain/", "key prefix of the election")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, *node, *link, *vip, *pki, *prefix); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, node, link, vip, pki, prefix string) error {
	ip, err := netip.ParseAddr(vip)
	if err != nil {
		return fmt.Errorf("read address: %w", err)
	}
	a := address{link: link, ip: ip}
	if err := a.remove(); err != nil { // left over by the one before
		return err
	}
	secure, err := certificates(pki)
	if err != nil {
		return err
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"https://127.0.0.1:2379"}, TLS: secure, Logger: zap.NewNop()})
	if err != nil {
		return fmt.Errorf("make etcd client: %w", err)
	}
	defer client.Close()
	for ctx.Err() == nil {
		if err := term(ctx, client, node, prefix, a); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "term ended:", err)
		}
	}
	return nil
}

// term campaigns, holds the address while the session lives, and resigns.
func term(ctx context.Context, client *clientv3.Client, node, prefix string, a address) error {
	session, err := concurrency.NewSession(client, concurrency.WithTTL(ttl))
	if err != nil {
		return fmt.Errorf("begin session: %w", err)
	}
	defer session.Close()
	election := concurrency.NewElection(session, prefix)
	if err := campaign(ctx, session, election, node); err != nil {
		return fmt.Errorf("campaign: %w", err)
	}
	if err := a.add(); err != nil {
		return errors.Join(err, election.Resign(context.WithoutCancel(ctx)))
	}
	select {
	case <-session.Done():
		return errors.Join(errors.New("session ended"), a.remove())
	case <-ctx.Done():
		return errors.Join(a.remove(), election.Resign(context.WithoutCancel(ctx)))
	}
}

// campaign ends with its session too: Campaign alone would wait for ever without
// a key in the election (etcd issue 19597).
func campaign(ctx context.Context, session *concurrency.Session, election *concurrency.Election, node string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-session.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	return election.Campaign(ctx, node)
}

func certificates(pki string) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(filepath.Join(pki, "apiserver-etcd-client.crt"), filepath.Join(pki, "apiserver-etcd-client.key"))
	if err != nil {
		return nil, fmt.Errorf("load client certificate: %w", err)
	}
	ca, err := os.ReadFile(filepath.Join(pki, "etcd/ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("load CA: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}
