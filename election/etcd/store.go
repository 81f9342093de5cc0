package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config says where the record is and how to get there.
type Config struct {
	// Endpoint is the local member's client URL, such as https://127.0.0.1:2379.
	Endpoint string

	// CA, Cert and Key are PEM files, all empty with an http endpoint. They are
	// read again for each new connection, and need not exist at the start.
	CA, Cert, Key string

	Prefix string // of the keys, ends with "/": /havip/v1/198.51.100.166/
	Node   string // whose presence Publish sets

	// History is the prefix of the history's keys, beside Prefix and not below it;
	// "": none is kept.
	History string

	TTL         time.Duration // of the presence lease, whole seconds; 0: DefaultTTL
	CallTimeout time.Duration // of one read or bookkeeping call; 0: DefaultCallTimeout

	Log *slog.Logger // nil: none
}

const (
	// DefaultTTL of the presence lease. etcd raises anything below 2 s to 2 s.
	DefaultTTL = 5 * time.Second
	// DefaultCallTimeout outlasts a slow disk, and ends before takeover/2, the
	// longest that a candidate may go without a read.
	DefaultCallTimeout = time.Second
)

// Store is the record in etcd, seen from one node. Its methods may be called
// at any time from any goroutine until Close.
type Store struct {
	cfg   Config
	files *pemFiles // nil with an http endpoint
	log   *slog.Logger

	presence *presence
	kick     chan struct{} // asks for a new status
	sinkMu   sync.Mutex    // one event at a time

	mu        sync.Mutex
	closed    bool
	local     *link
	others    map[string]*link // to other members, by client URL
	shunned   string           // URL of the other member that last failed
	following *link            // whose watch is up; nil while none is
	relist    bool             // the member list may have changed
	troubled  error            // why the local member is not followed
	cluster   clusterView      // the last known
}

// New checks the configuration. It does no I/O.
func New(cfg Config) (*Store, error) {
	s := &Store{cfg: cfg, log: cfg.Log, kick: make(chan struct{}, 1), others: map[string]*link{}}
	if s.cfg.TTL == 0 {
		s.cfg.TTL = DefaultTTL
	}
	if s.cfg.CallTimeout == 0 {
		s.cfg.CallTimeout = DefaultCallTimeout
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	tls, err := s.cfg.check()
	if err != nil {
		return nil, fmt.Errorf("configure etcd: %w", err)
	}
	if tls {
		s.files = &pemFiles{ca: cfg.CA, cert: cfg.Cert, key: cfg.Key}
	}
	s.presence = newPresence(s)
	return s, nil
}

func (c Config) check() (tls bool, err error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return false, fmt.Errorf("endpoint %q: %w", c.Endpoint, err)
	}
	tls = u.Scheme == "https"
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Port() == "", u.Path != "":
		return tls, fmt.Errorf("endpoint %q is no URL like https://127.0.0.1:2379", c.Endpoint)
	case tls && c.CA == "":
		return tls, fmt.Errorf("endpoint %q needs a CA file", c.Endpoint)
	case (c.Cert == "") != (c.Key == ""):
		return tls, errors.New("a client certificate needs its key, and the other way round")
	case !strings.HasSuffix(c.Prefix, "/"):
		return tls, fmt.Errorf("prefix %q does not end with /", c.Prefix)
	case c.Node == "" || strings.Contains(c.Node, "/"):
		return tls, fmt.Errorf("node name %q is empty or contains /", c.Node)
	case c.TTL < 0 || c.CallTimeout < 0:
		return tls, errors.New("TTL and call timeout must not be negative")
	}
	return tls, c.checkHistory()
}

func (c Config) recordKey() []byte       { return []byte(c.Prefix + "record") }
func (c Config) callKey() []byte         { return []byte(c.Prefix + "call") }
func (c Config) secretKey() []byte       { return []byte(c.Prefix + "key") }
func (c Config) nodeKey(n string) []byte { return []byte(c.Prefix + "nodes/" + n) }

// Run follows the keys, keeps the presence and watches the member's state until
// ctx ends, which is its only error. sink gets the events, one at a time, and
// must not block. Calls work also before, after and without Run, but follow the
// local member only.
func (s *Store) Run(ctx context.Context, sink func(Event)) error {
	emit := func(e Event) {
		s.sinkMu.Lock()
		defer s.sinkMu.Unlock()
		sink(e)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.follow(ctx, emit) })
	g.Go(func() error { return s.watchStatus(ctx, emit) })
	g.Go(func() error { return s.presence.keep(ctx) })
	return g.Wait()
}

// Close ends all connections and the calls on them. It does not end the
// presence: that runs out with its lease unless Leave was called.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.local != nil {
		s.local.close()
	}
	for _, l := range s.others {
		l.close()
	}
}

// localLink returns the link to the local member. Files that cannot be read
// are an error right away, so that they are not taken for a silent member.
func (s *Store) localLink() (*link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.local != nil {
		return s.local, nil
	}
	if s.files != nil {
		if _, err := s.files.config(); err != nil {
			return nil, err
		}
	}
	l, err := newLink(s.cfg.Endpoint, s.files, 0)
	s.local = l
	return l, err
}

// drop replaces a link whose connection is not to be trusted any more.
func (s *Store) drop(l *link, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.local == l:
		s.local = nil
	case s.others[l.url] == l:
		delete(s.others, l.url)
	default:
		return
	}
	s.log.Debug("replace connection to etcd", "at", l.at, "reason", why)
	l.retire()
}

// setFollowing notes whose watch is up, nil for none.
func (s *Store) setFollowing(l *link) {
	s.mu.Lock()
	changed := s.following != l
	s.following = l
	if l != nil && l == s.local {
		s.troubled = nil
	}
	s.mu.Unlock()
	if changed {
		s.wakeStatus()
	}
}

// setTroubled notes why the local member is not followed.
func (s *Store) setTroubled(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.troubled = err
}

// trustsLocal says that nothing is known to be wrong with the local member.
func (s *Store) trustsLocal() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.troubled == nil
}

func (s *Store) wakeStatus() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// pause waits for d or the end of ctx, and reports whether to go on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
