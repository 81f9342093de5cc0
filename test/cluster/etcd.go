package cluster

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// askTimeout bounds one question to an etcd member.
const askTimeout = time.Second

// StartEtcd starts the node's member unless it is running. It does not wait
// until the member has joined the others.
func (n *Node) StartEtcd() error { return n.etcd.up() }

// KillEtcd ends the node's member with SIGKILL and leaves it dead.
func (n *Node) KillEtcd() error { return n.etcd.release().kill() }

func (n *Node) spawnEtcd() (*process, error) {
	stderr, err := n.logFile("etcd.log")
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	return n.ns.spawn(program{
		name: n.Name + "'s etcd", path: n.cluster.opts.Etcd, args: n.etcdFlags(), stderr: stderr,
	})
}

// EtcdHealthy reports whether the node's member answers and knows a leader.
func (n *Node) EtcdHealthy(ctx context.Context) bool {
	body, err := n.get(ctx, "http://127.0.0.1:2381/health")
	return err == nil && strings.Contains(string(body), `"true"`)
}

// EtcdMetric returns the sum of one of the member's Prometheus counters.
func (n *Node) EtcdMetric(ctx context.Context, name string) (float64, error) {
	body, err := n.get(ctx, "http://127.0.0.1:2381/metrics")
	if err != nil {
		return 0, fmt.Errorf("read metric %s of %s's etcd: %w", name, n.Name, err)
	}
	return sumMetric(body, name)
}

func sumMetric(body []byte, name string) (float64, error) {
	sum, found := 0.0, false
	lines := bufio.NewScanner(bytes.NewReader(body))
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || (rest[0] != ' ' && rest[0] != '{') {
			continue
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			return 0, fmt.Errorf("read metric %s: %w", name, err)
		}
		sum, found = sum+v, true
	}
	if !found {
		return 0, fmt.Errorf("read metric %s: no such metric", name)
	}
	return sum, nil
}

// etcdStatus is a member's view of the cluster. The gateway writes 64-bit
// numbers as strings.
type etcdStatus struct {
	Header struct {
		Member string `json:"member_id"`
		Term   string `json:"raft_term"`
	} `json:"header"`
	Leader string `json:"leader"`
}

func (n *Node) etcdStatus(ctx context.Context) (s etcdStatus, err error) {
	body, err := n.post(ctx, "/v3/maintenance/status", "{}")
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return s, fmt.Errorf("read status of %s's etcd: %w", n.Name, err)
	}
	return s, nil
}

// errNoLeader is returned while no member says that it leads.
var errNoLeader = errors.New("no etcd member leads")

// EtcdLeader returns the node whose member leads. When a member that is cut
// off still believes so too, the higher term is right.
func (c *Cluster) EtcdLeader(ctx context.Context) (*Node, error) {
	var leader *Node
	highest := uint64(0)
	for _, n := range c.Nodes {
		if !n.etcdRunning() {
			continue
		}
		s, err := n.etcdStatus(ctx)
		if err != nil || s.Leader != s.Header.Member {
			continue
		}
		term, err := strconv.ParseUint(s.Header.Term, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read raft term of %s: %w", n.Name, err)
		}
		if term >= highest {
			leader, highest = n, term
		}
	}
	if leader == nil {
		return nil, errNoLeader
	}
	return leader, nil
}

// WaitEtcd waits until the member of every node named answers and one leads.
func (c *Cluster) WaitEtcd(ctx context.Context, limit time.Duration, nodes ...*Node) error {
	return Poll(ctx, limit, "etcd", func() bool {
		for _, n := range nodes {
			if !n.EtcdHealthy(ctx) {
				return false
			}
		}
		_, err := c.EtcdLeader(ctx)
		return err == nil
	})
}

// MoveEtcdLeader makes the node's member the leader and waits until it is.
func (c *Cluster) MoveEtcdLeader(ctx context.Context, to *Node) error {
	target, err := to.etcdStatus(ctx)
	if err != nil {
		return err
	}
	return Poll(ctx, 10*time.Second, to.Name+" to lead etcd", func() bool {
		leader, err := c.EtcdLeader(ctx)
		if err != nil || leader == to {
			return err == nil
		}
		// A refusal (an election is under way) is tried again.
		_, _ = leader.post(ctx, "/v3/maintenance/transfer-leadership", fmt.Sprintf(`{"targetID":%q}`, target.Header.Member))
		return false
	})
}

func (n *Node) post(ctx context.Context, path, body string) ([]byte, error) {
	return n.ask(ctx, http.MethodPost, "https://127.0.0.1:2379"+path, body)
}

func (n *Node) get(ctx context.Context, url string) ([]byte, error) {
	return n.ask(ctx, http.MethodGet, url, "")
}

// ask sends one request from inside the node's namespace.
func (n *Node) ask(ctx context.Context, method, url, body string) ([]byte, error) {
	client, err := n.httpClient()
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s on %s: %s: %s", method, url, n.Name, resp.Status, bytes.TrimSpace(data))
	}
	return data, nil
}

func (n *Node) httpClient() (*http.Client, error) {
	pki := n.pkiDir()
	cert, err := tls.LoadX509KeyPair(filepath.Join(pki, "apiserver-etcd-client.crt"), filepath.Join(pki, "apiserver-etcd-client.key"))
	if err != nil {
		return nil, fmt.Errorf("load etcd client certificate: %w", err)
	}
	ca, err := os.ReadFile(filepath.Join(pki, "etcd/ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("load etcd CA: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return n.ns.dial(ctx, network, address)
		},
		TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, MinVersion: tls.VersionTLS12},
	}}, nil
}
