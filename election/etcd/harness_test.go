package etcd

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"havip/test/etcdtest"
)

const testPrefix = "/havip/v1/198.51.100.166/"

// patience is how long a test waits for something, on a loaded machine too.
const patience = 30 * time.Second

// seen collects the events of one Run.
type seen struct {
	t       testing.TB
	mu      sync.Mutex
	events  []Event
	times   []time.Time
	changed chan struct{} // closed and replaced at each event
}

func (s *seen) sink(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
	s.times = append(s.times, time.Now())
	close(s.changed)
	s.changed = make(chan struct{})
}

// mark is the number of events so far, to begin await with.
func (s *seen) mark() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.events)
}

// await waits for an event from mark on that ok accepts, and returns it with
// its time and the mark after it.
func (s *seen) await(mark int, what string, ok func(Event) bool) (Event, time.Time, int) {
	s.t.Helper()
	end := time.After(patience)
	for i := mark; ; {
		s.mu.Lock()
		for ; i < len(s.events); i++ {
			if ok(s.events[i]) {
				defer s.mu.Unlock()
				return s.events[i], s.times[i], i + 1
			}
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-end:
			s.t.Fatalf("no %s within %v; seen:\n%s", what, patience, s.dump(mark))
		}
	}
}

func (s *seen) dump(mark int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for i := mark; i < len(s.events); i++ {
		fmt.Fprintf(&b, "%s %T%+v\n", s.times[i].Format("05.000"), s.events[i], s.events[i])
	}
	return b.String()
}

// since returns the events from mark on.
func (s *seen) since(mark int) []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events[mark:])
}

func (s *seen) awaitState(mark int, want State) (Status, int) {
	s.t.Helper()
	e, _, next := s.await(mark, "status "+want.String(), func(e Event) bool {
		st, ok := e.(Status)
		return ok && st.State == want
	})
	return e.(Status), next
}

func (s *seen) awaitRecord(mark int, value string) (Record, int) {
	s.t.Helper()
	e, _, next := s.await(mark, fmt.Sprintf("record %q", value), func(e Event) bool {
		r, ok := e.(Record)
		return ok && r.Value == value
	})
	return e.(Record), next
}

func (s *seen) awaitNodes(mark int, ok func(map[string]string) bool) int {
	s.t.Helper()
	_, _, next := s.await(mark, "presence as expected", func(e Event) bool {
		n, is := e.(Nodes)
		return is && ok(n.Values)
	})
	return next
}

func (s *seen) awaitLost(mark int) (time.Time, int) {
	s.t.Helper()
	_, when, next := s.await(mark, "WatchLost", func(e Event) bool {
		_, ok := e.(WatchLost)
		return ok
	})
	return when, next
}

// configFor is the configuration of a store on the member's node.
func configFor(c *etcdtest.Cluster, m *etcdtest.Member) Config {
	cfg := Config{Endpoint: m.ClientURL, Prefix: testPrefix, Node: m.Name}
	if c.PKI != nil {
		cfg.CA, cfg.Cert, cfg.Key = c.PKI.CA, c.PKI.Client, c.PKI.ClientKey
	}
	return cfg
}

// open makes a store without running it.
func open(t *testing.T, cfg Config) *Store {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// run makes a store and runs it until stop or the end of the test.
func run(t *testing.T, cfg Config) (s *Store, events *seen, stop func()) {
	t.Helper()
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	s = open(t, cfg)
	events = &seen{t: t, changed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, events.sink) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Errorf("Run did not return within %v", patience)
		}
	})
	t.Cleanup(stop)
	return s, events, stop
}

func mustCommit(t *testing.T, s *Store, expect, value string) {
	t.Helper()
	if res := within(t, patience, s, expect, value, false); res.Outcome != Committed {
		t.Fatalf("write %q over %q = %+v, want committed", value, expect, res)
	}
}

func within(t *testing.T, d time.Duration, s *Store, expect, value string, elsewhere bool) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	begin := time.Now()
	res := s.Write(ctx, expect, value, elsewhere)
	if took := time.Since(begin); took > d+time.Second {
		t.Errorf("write returned after %v, its context ended after %v", took, d)
	}
	return res
}

// eventually tries again every 20 ms.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// proxy forwards TCP to a member and can misbehave.
type proxy struct {
	t      *testing.T
	target string
	l      net.Listener

	mu      sync.Mutex
	conns   []net.Conn
	thawed  chan struct{} // open while frozen
	refuses bool
}

// newProxy returns a proxy and its endpoint in place of the given one.
func newProxy(t *testing.T, endpoint string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, target: u.Host, l: l, thawed: make(chan struct{})}
	close(p.thawed)
	go p.accept()
	t.Cleanup(func() { l.Close(); p.thaw(); p.cut() })
	return p, u.Scheme + "://" + l.Addr().String()
}

func (p *proxy) accept() {
	for {
		in, err := p.l.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuses := p.refuses
		p.mu.Unlock()
		out, err := net.Dial("tcp", p.target)
		if err != nil || refuses {
			in.Close()
			if out != nil {
				out.Close()
			}
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, in, out)
		p.mu.Unlock()
		go p.forward(in, out)
		go p.forward(out, in)
	}
}

func (p *proxy) forward(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		thawed := p.thawed
		p.mu.Unlock()
		<-thawed
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if err != io.EOF {
				from.Close()
			}
			return
		}
	}
}

// freeze lets all data vanish from sight; the connections stay up.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.thawed = make(chan struct{})
}

func (p *proxy) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.thawed:
	default:
		close(p.thawed)
	}
}

// cut closes all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

// refuse closes all connections, and new ones at once, until told otherwise.
func (p *proxy) refuse(on bool) {
	p.mu.Lock()
	p.refuses = on
	p.mu.Unlock()
	if on {
		p.cut()
	}
}
