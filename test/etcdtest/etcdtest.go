package etcdtest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startLimit is for a cluster to elect and serve, on a loaded machine.
const startLimit = 60 * time.Second

// Options change what Start starts.
type Options struct {
	// TLS serves https and demands client certificates, as kubeadm's members do.
	TLS bool
	// Hosts are the members' addresses, 127.0.0.1 for those not given.
	Hosts []string
	// Wrap returns what to put before the command line of member i, such as
	// "ip netns exec m1". The wrapper must become etcd by exec, or signals miss it.
	Wrap func(i int) []string
	// Args are further arguments of each member.
	Args []string
	// NoWait returns without waiting for the cluster to serve.
	NoWait bool
}

// Cluster is a cluster of etcd members that ends with the test.
type Cluster struct {
	Members []*Member
	PKI     *PKI // nil without TLS

	t     testing.TB
	opts  Options
	dir   string
	ports map[string]bool // given to a member
}

// Start starts n members named n1, n2, … on free loopback ports and waits until
// they serve.
func Start(t testing.TB, n int) *Cluster {
	t.Helper()
	return StartWith(t, n, Options{})
}

// StartWith starts n members with options.
func StartWith(t testing.TB, n int, opts Options) *Cluster {
	t.Helper()
	c := &Cluster{t: t, opts: opts, dir: t.TempDir(), ports: map[string]bool{}}
	if opts.TLS {
		c.PKI = NewPKI(t, filepath.Join(c.dir, "pki"))
	}
	for i := range n {
		c.add(i)
	}
	for _, m := range c.Members {
		m.initial = c.initial()
		m.Start()
	}
	if !opts.NoWait {
		c.WaitServing()
	}
	return c
}

// Binary returns the path of a built tool, such as "etcd" or "etcdctl".
func Binary(t testing.TB, name string) string {
	t.Helper()
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	path := filepath.Join(cache, "havip", "bin", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s binary missing: run make tools (%v)", name, err)
	}
	return path
}

// Endpoints are the client URLs of all members.
func (c *Cluster) Endpoints() []string {
	var urls []string
	for _, m := range c.Members {
		urls = append(urls, m.ClientURL)
	}
	return urls
}

// AddLearner adds a member as a learner and starts it. Nothing waits for it.
func (c *Cluster) AddLearner() *Member {
	c.t.Helper()
	m := c.add(len(c.Members))
	m.Join()
	return m
}

// WaitServing waits until every running member answers a linearizable read.
func (c *Cluster) WaitServing() {
	c.t.Helper()
	for _, m := range c.Members {
		m.WaitServing()
	}
}

// Leader returns the member that leads, waiting for one.
func (c *Cluster) Leader() *Member {
	c.t.Helper()
	var leader *Member
	poll(c.t, startLimit, "wait for a leader", func() error {
		for _, m := range c.Members {
			st, err := m.Status()
			if err == nil && st.Leader == st.Member {
				leader = m
				return nil
			}
		}
		return fmt.Errorf("no member leads")
	})
	return leader
}

// Follower returns a member that does not lead.
func (c *Cluster) Follower() *Member {
	c.t.Helper()
	leader := c.Leader()
	for _, m := range c.Members {
		if m != leader {
			return m
		}
	}
	c.t.Fatal("find a follower: the cluster has one member")
	return nil
}

func (c *Cluster) add(i int) *Member {
	host := "127.0.0.1"
	if i < len(c.opts.Hosts) {
		host = c.opts.Hosts[i]
	}
	name := fmt.Sprintf("n%d", i+1)
	scheme := "http"
	if c.opts.TLS {
		scheme = "https"
		c.PKI.IssueServer(name, host)
	}
	m := &Member{
		Name:      name,
		ClientURL: scheme + "://" + net.JoinHostPort(host, c.port(2379)),
		PeerURL:   "http://" + net.JoinHostPort(host, c.port(2380)),
		Dir:       filepath.Join(c.dir, name),
		Args:      c.opts.Args,
		c:         c,
	}
	if c.opts.Wrap != nil {
		m.wrap = c.opts.Wrap(i)
	}
	c.Members = append(c.Members, m)
	c.t.Cleanup(m.finish)
	return m
}

// port returns a free loopback port; with hosts of their own the members have
// the usual ones. The kernel gives one that nobody listens on yet a second time,
// to one cluster of three in 600 (Linux 6.18).
func (c *Cluster) port(usual int) string {
	if len(c.opts.Hosts) > 0 {
		return fmt.Sprint(usual)
	}
	for {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			c.t.Fatalf("find a free port: %v", err)
		}
		port := fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
		l.Close()
		if !c.ports[port] {
			c.ports[port] = true
			return port
		}
	}
}

func (c *Cluster) initial() string {
	var parts []string
	for _, m := range c.Members {
		parts = append(parts, m.Name+"="+m.PeerURL)
	}
	return strings.Join(parts, ",")
}

// Ctl runs etcdctl against the member and returns its output.
func (m *Member) Ctl(args ...string) string {
	m.c.t.Helper()
	out, err := m.TryCtl(args...)
	if err != nil {
		m.c.t.Fatal(err)
	}
	return out
}

// TryCtl runs etcdctl against the member, with 10 s at most.
func (m *Member) TryCtl(args ...string) (string, error) {
	all := []string{"--endpoints=" + m.ClientURL, "--command-timeout=10s"}
	if pki := m.c.PKI; pki != nil {
		all = append(all, "--cacert="+pki.CA, "--cert="+pki.Client, "--key="+pki.ClientKey)
	}
	cmd := exec.Command(Binary(m.c.t, "etcdctl"), append(all, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run etcdctl %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// poll calls f every 20 ms until it returns nil.
func poll(t testing.TB, limit time.Duration, what string, f func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(limit)
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s: %v after %v", what, err, limit)
		}
	}
}
