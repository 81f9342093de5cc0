package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// class is DSCP CS6, network control (RFC 4594 section 3.1), in the place of the
// type of service; priority is the highest that needs no capability.
const (
	class    = 48 << 2
	priority = 6
)

// Config says how a Wire is to be.
type Config struct {
	Port      int          // over UDP, the same on every master
	Interface string       // "": any
	Never     []netip.Addr // addresses that are nobody's own: the virtual IP
	Life      string       // random for each start of the process
	Clock     func() time.Duration

	// Heard gets what is to be believed, from any goroutine. It must not block.
	Heard func(Message)
}

// Peer is a member that may speak.
type Peer struct {
	ID        uint64
	Addresses []netip.Addr // at which it hears; the first of each family counts
}

// Members is who speaks to whom. The zero value means that it is not known.
type Members struct {
	Self  Peer
	Peers []Peer // without Self
}

// Wire sends and receives. Its methods may be called from any goroutine; none of
// them waits for the network.
type Wire struct {
	cfg     Config
	changed chan struct{} // one token: the sockets may be the wrong ones

	mu      sync.Mutex
	ring    ring
	self    Peer
	peers   map[uint64]*peer
	sockets []*socket
	stamped time.Duration // the newest time that was sent
	buf     [Size]byte    // of what is sent
	dropped [Reasons]uint64
	trouble string // why there is no socket
}

// peer is a member and what passed between it and this node.
type peer struct {
	Peer
	past   history
	last   Message       // the newest, whatever its kind
	beat   time.Duration // sent of its newest beat
	asked  time.Duration // when a beat went to it that nothing has answered yet; 0: none
	spoken time.Duration // when the last beat went to it
	counts PeerStats
}

// socket is bound to one own address.
type socket struct {
	own  netip.Addr
	conn *net.UDPConn
	raw  syscall.RawConn
}

// New makes a wire that is silent until it knows the members and a key.
func New(cfg Config) *Wire {
	return &Wire{cfg: cfg, changed: make(chan struct{}, 1), peers: map[uint64]*peer{}}
}

// SetKeys replaces the keys.
func (w *Wire) SetKeys(k Keys) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ring.set(k, w.cfg.Clock())
}

// SetMembers replaces who speaks. What is known of those that stay is kept.
func (w *Wire) SetMembers(m Members) {
	w.mu.Lock()
	defer w.mu.Unlock()
	moved := !slices.Equal(w.ownAddresses(w.self), w.ownAddresses(m.Self))
	w.self = m.Self
	before := w.peers
	w.peers = map[uint64]*peer{}
	for _, p := range m.Peers {
		known := before[p.ID]
		if known == nil {
			known = &peer{}
		}
		known.Peer = p
		w.peers[p.ID] = known
	}
	if moved {
		w.wake()
	}
}

func (w *Wire) wake() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// ownAddresses are what sockets are bound to: one of each family.
func (w *Wire) ownAddresses(self Peer) []netip.Addr {
	var own []netip.Addr
	for _, a := range self.Addresses {
		taken := slices.ContainsFunc(own, func(o netip.Addr) bool { return o.Is4() == a.Is4() })
		if !taken && !slices.Contains(w.cfg.Never, a) {
			own = append(own, a)
		}
	}
	return own
}

// reopen is how long after a failure sockets are opened again.
const reopen = time.Second

var errNoAddress = errors.New("the address of this node's etcd member is not known: its etcd must answer once, and a name in its peer URL lead to an address (etcdctl member list)")

// Run receives until ctx ends, which is its only error. Sockets that cannot be
// opened, as long as the address is not there, are tried again.
func (w *Wire) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := w.session(ctx)
		w.setTrouble(err)
		wait := reopen
		if err == nil {
			wait = 0
		}
		select {
		case <-ctx.Done():
		case <-w.changed:
		case <-time.After(wait):
		}
	}
	return nil
}

// session has the sockets open until ctx ends or others are needed, which is no
// error.
func (w *Wire) session(ctx context.Context) error {
	w.mu.Lock()
	own := w.ownAddresses(w.self)
	w.mu.Unlock()
	if len(own) == 0 {
		return errNoAddress
	}
	link := w.link()
	var open []*socket
	defer func() {
		w.setSockets(nil)
		for _, s := range open {
			s.conn.Close()
		}
	}()
	for _, a := range own {
		s, err := w.bind(ctx, a)
		if err != nil {
			return err
		}
		open = append(open, s)
	}
	w.setSockets(open)
	ended := make(chan error, len(open))
	for _, s := range open {
		go func() { ended <- w.receive(s) }()
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.changed:
			return nil
		case err := <-ended:
			return err
		case <-look.C:
			if w.link() != link {
				return nil
			}
		}
	}
}

// lookEvery is how often the link is looked at: a socket stays bound to one that is
// gone, and nothing tells it so when another one has got its name.
const lookEvery = 2 * time.Second

// link is the index of the link to be bound to; 0: any, or it is not there.
func (w *Wire) link() int {
	if w.cfg.Interface == "" {
		return 0
	}
	l, err := net.InterfaceByName(w.cfg.Interface)
	if err != nil {
		return 0
	}
	return l.Index
}

// setSockets ends the trouble in the same moment as what is sent has a way.
func (w *Wire) setSockets(s []*socket) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sockets = s
	if len(s) > 0 {
		w.trouble = ""
	}
}

func (w *Wire) setTrouble(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trouble = ""
	if err != nil {
		w.trouble = err.Error()
	}
}

// bind opens a socket on one own address: what leaves it has that source and no
// other, whatever addresses the link has.
func (w *Wire) bind(ctx context.Context, own netip.Addr) (*socket, error) {
	network := "udp6"
	if own.Is4() {
		network = "udp4"
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return w.prepare(own, c) }}
	pc, err := lc.ListenPacket(ctx, network, netip.AddrPortFrom(own, uint16(w.cfg.Port)).String())
	if err != nil {
		return nil, explain(err)
	}
	conn := pc.(*net.UDPConn) // of a udp network always
	raw, err := conn.SyscallConn()
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("take the socket: %w", err)
	}
	return &socket{own: own, conn: conn, raw: raw}, nil
}

// receive hears until the socket is closed. The whole session is one read that is
// never satisfied: what came while nobody waited is not waited for.
func (w *Wire) receive(s *socket) error {
	b := make([]byte, Size+1) // one more shows what is too long
	var failed error
	err := s.raw.Read(func(fd uintptr) bool {
		for {
			n, err := hear(fd, b)
			switch {
			case err == 0:
				w.take(b[:n])
			case err == unix.EAGAIN:
				return false
			case err != unix.EINTR:
				failed = err
				return true
			}
		}
	})
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("receive at %v: %w", s.own, err)
	}
	return nil
}

// explain says what mends it; the error has the address, the port and the link.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("%w: something else has the port (ss -lunp)", err)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%w: etcd has this address for this node (etcdctl member list), and it is on no link here", err)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w: is election.heartbeat_interface right?", err)
	}
	return err
}

// take passes a datagram on, or counts why not.
func (w *Wire) take(b []byte) {
	m, reason := w.accept(b)
	if reason != 0 {
		w.mu.Lock()
		w.dropped[reason]++
		w.mu.Unlock()
		return
	}
	w.cfg.Heard(m)
}

// accept decides what to believe. What is cheap to see is looked at before the
// tag, which costs most.
func (w *Wire) accept(b []byte) (Message, Reason) {
	e, reason := open(b)
	if reason != 0 {
		return Message{}, reason
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p, k := w.peers[e.from()], w.ring.named(e.key())
	switch {
	case w.self.ID == 0 || e.to() != w.self.ID:
		return Message{}, Misdirected
	case e.from() == w.self.ID:
		return Message{}, Own
	case p == nil:
		return Message{}, UnknownSender
	case k == nil:
		return Message{}, UnknownKey
	case !e.signed(k):
		return Message{}, Forged
	}
	m, ok := e.read(&p.last)
	switch {
	case !ok:
		return Message{}, Malformed
	case !p.past.fresh(&m):
		return Message{}, Stale
	}
	p.heard(&m, w.cfg.Clock())
	return m, 0
}

// heard notes what a peer said.
func (p *peer) heard(m *Message, now time.Duration) {
	p.last = *m
	p.counts.Received[m.Kind]++
	p.counts.Heard = now
	switch {
	case m.Kind == Beat:
		p.beat = m.Sent
	case m.Kind == Ack && m.Echo > 0 && m.Echo <= now:
		p.counts.RoundTrip, p.counts.Acknowledged, p.asked = now-m.Echo, now, 0
	}
}

var errNoSocket = errors.New("no address that etcd has for it (etcdctl member list) can be reached from one that is open here")

// Send sends once, now or not at all: m.From, m.Life, m.Sent and m.Echo are filled in.
// What could not be sent is counted like what was lost on the way.
func (w *Wire) Send(m Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.peers[m.To]
	if p == nil {
		return // removed from etcd since the election last heard of the members
	}
	if now := w.cfg.Clock(); m.Kind == Beat {
		p.spoken = now
		if p.asked == 0 {
			p.asked = now
		}
	}
	if err := w.send(&m, p); err != nil {
		p.counts.Unsent++
		p.counts.Error = err.Error()
		return
	}
	p.counts.Sent[m.Kind]++
	p.counts.Error = ""
}

func (w *Wire) send(m *Message, p *peer) error {
	now := w.cfg.Clock()
	k := w.ring.signer(now)
	if k == nil {
		return ErrNoKey
	}
	s, to := w.way(p)
	if s == nil {
		return errNoSocket
	}
	w.stamped = max(w.stamped+1, now)
	m.From, m.Life, m.Sent, m.Echo = w.self.ID, w.cfg.Life, w.stamped, 0
	if m.Kind == Ack {
		m.Echo = p.beat
	}
	if err := m.encode(&w.buf, k); err != nil {
		return err
	}
	return s.send(w.buf[:], netip.AddrPortFrom(to, uint16(w.cfg.Port)))
}

// way returns from where and to where to send to the peer.
func (w *Wire) way(p *peer) (*socket, netip.Addr) {
	for _, a := range p.Addresses {
		for _, s := range w.sockets {
			if s.own.Is4() == a.Is4() && !slices.Contains(w.cfg.Never, a) {
				return s, a
			}
		}
	}
	return nil, netip.Addr{}
}

// send makes one attempt and never waits for room: what is late is worth less
// than what comes next.
func (s *socket) send(b []byte, to netip.AddrPort) error {
	var failed error
	err := s.raw.Write(func(fd uintptr) bool {
		failed = speak(fd, b, to)
		return true
	})
	err = errors.Join(err, failed)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("send to %v: %w: this node's own firewall or routes refuse it (nft list ruleset; ip route)", to, err)
	case err != nil:
		return fmt.Errorf("send to %v: %w", to, err)
	}
	return nil
}
