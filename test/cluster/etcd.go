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

// EtcdAlone decides for the member's next starts: with it, they make a cluster
// of this member and its data alone.
func (n *Node) EtcdAlone(on bool) { n.alone = on }

func (n *Node) spawnEtcd() (*process, error) {
	flags := n.master().EtcdFlags()
	if n.alone {
		flags = append(flags, "--force-new-cluster")
	}
	stderr, err := n.logFile("etcd.log")
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	return n.ns.spawn(program{
		name: n.Name + "'s etcd", path: n.cluster.opts.Etcd, args: flags, stderr: stderr,
	})
}

// EtcdHealthy reports whether the node's member answers and knows a leader.
func (s *Seat) EtcdHealthy(ctx context.Context) bool {
	body, err := s.get(ctx, "http://127.0.0.1:2381/health")
	return err == nil && strings.Contains(string(body), `"true"`)
}

// EtcdMetric returns the sum of one of the member's Prometheus counters.
func (s *Seat) EtcdMetric(ctx context.Context, name string) (float64, error) {
	body, err := s.get(ctx, "http://127.0.0.1:2381/metrics")
	if err != nil {
		return 0, fmt.Errorf("read metric %s of %s's etcd: %w", name, s.Name, err)
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

func (s *Seat) etcdStatus(ctx context.Context) (status etcdStatus, err error) {
	body, err := s.post(ctx, "/v3/maintenance/status", "{}")
	if err != nil {
		return status, err
	}
	if err := json.Unmarshal(body, &status); err != nil {
		return status, fmt.Errorf("read status of %s's etcd: %w", s.Name, err)
	}
	return status, nil
}

// errNoLeader is returned while no member says that it leads.
var errNoLeader = errors.New("no etcd member leads")

// EtcdLeader returns the node whose member leads. When a member that is cut
// off still believes so too, the higher term is right.
func EtcdLeader(ctx context.Context, seats ...*Seat) (*Seat, error) {
	var leader *Seat
	highest := uint64(0)
	for _, s := range seats {
		if !s.powered {
			continue
		}
		status, err := s.etcdStatus(ctx)
		if err != nil || status.Leader != status.Header.Member {
			continue
		}
		term, err := strconv.ParseUint(status.Header.Term, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read raft term of %s: %w", s.Name, err)
		}
		if term >= highest {
			leader, highest = s, term
		}
	}
	if leader == nil {
		return nil, errNoLeader
	}
	return leader, nil
}

// WaitEtcd waits until the member of every node named answers and one of all
// leads.
func WaitEtcd(ctx context.Context, limit time.Duration, all []*Seat, named ...*Seat) error {
	return Poll(ctx, limit, "etcd", func() bool {
		for _, s := range named {
			if !s.EtcdHealthy(ctx) {
				return false
			}
		}
		_, err := EtcdLeader(ctx, all...)
		return err == nil
	})
}

func (c *Cluster) seats() []*Seat { return seats(c.Nodes) }

func seats(nodes []*Node) []*Seat {
	var all []*Seat
	for _, n := range nodes {
		all = append(all, n.Seat)
	}
	return all
}

// leads is how long it takes at most until a member leads that is asked to, or any
// does: a busy machine may cost the one that led so far its place at any moment.
const leads = 30 * time.Second

// EtcdLeader returns the node whose member leads, and waits until one does.
func (c *Cluster) EtcdLeader(ctx context.Context) (*Node, error) {
	var leader *Seat
	err := Poll(ctx, leads, "a member to lead etcd", func() bool {
		var err error
		leader, err = EtcdLeader(ctx, c.seats()...)
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	return c.Node(leader.Name), nil
}

// WaitEtcd waits until the member of every node named answers and one leads.
func (c *Cluster) WaitEtcd(ctx context.Context, limit time.Duration, nodes ...*Node) error {
	return WaitEtcd(ctx, limit, c.seats(), seats(nodes)...)
}

// MoveEtcdLeader makes the node's member the leader and waits until it is.
func (c *Cluster) MoveEtcdLeader(ctx context.Context, to *Node) error {
	return Poll(ctx, leads, to.Name+" to lead etcd", func() bool {
		leader, err := c.EtcdLeader(ctx)
		if err != nil || leader == to {
			return err == nil
		}
		target, err := to.etcdStatus(ctx)
		if err != nil {
			return false
		}
		// A refusal (an election is under way) is tried again.
		_, _ = leader.post(ctx, "/v3/maintenance/transfer-leadership", fmt.Sprintf(`{"targetID":%q}`, target.Header.Member))
		return false
	})
}

func (s *Seat) post(ctx context.Context, path, body string) ([]byte, error) {
	return s.ask(ctx, http.MethodPost, "https://127.0.0.1:2379"+path, body)
}

func (s *Seat) get(ctx context.Context, url string) ([]byte, error) {
	return s.ask(ctx, http.MethodGet, url, "")
}

// ask sends one request from inside the node's namespace.
func (s *Seat) ask(ctx context.Context, method, url, body string) ([]byte, error) {
	client, err := s.EtcdClient()
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
		return nil, fmt.Errorf("%s %s on %s: %s: %s", method, url, s.Name, resp.Status, bytes.TrimSpace(data))
	}
	return data, nil
}

// EtcdClient returns a client that asks from inside the node's namespace, with
// the certificates that its member's gateway wants.
func (s *Seat) EtcdClient() (*http.Client, error) {
	cert, err := tls.LoadX509KeyPair(filepath.Join(s.PKI, "apiserver-etcd-client.crt"), filepath.Join(s.PKI, "apiserver-etcd-client.key"))
	if err != nil {
		return nil, fmt.Errorf("load etcd client certificate: %w", err)
	}
	ca, err := os.ReadFile(filepath.Join(s.PKI, "etcd/ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("load etcd CA: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return s.ns.dial(ctx, network, address)
		},
		TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, MinVersion: tls.VersionTLS12},
	}}, nil
}
