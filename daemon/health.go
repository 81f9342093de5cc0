package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"havip/configs"
	"havip/daemon/status"
	"havip/election"
)

// healthChanged is the loop's news of this node's API server.
type healthChanged struct {
	event election.Health
	state status.APIServer
}

// health asks this node's API server whether it is ready, and counts.
type health struct {
	cfg    configs.Health
	self   string // this node's address, for a manifest that does not say
	report func(healthChanged)
	way    *way          // to the API server; nil while there is none to trust
	broke  chan struct{} // holds one: the API server ended the connection by itself
}

// check is one look: nil error means that the API server may serve.
type check func(context.Context) (status.APIServer, error)

// run looks every interval until ctx ends, and reports the first result and
// every change after rise or fall of them in a row.
func (h *health) run(ctx context.Context) error {
	if h.cfg.APIServer == configs.APIServerNone {
		h.report(healthChanged{election.Health{OK: true, Reason: "not checked"}, status.APIOff})
		<-ctx.Done()
		return nil
	}
	h.broke = make(chan struct{}, 1)
	return h.watch(ctx, h.probe)
}

// watch looks every interval, and at once when the API server ends a connection
// that nobody asks through: the kernel closes those of a process that dies. That is
// one look and no verdict; the next one comes an interval later, and at once only
// after a regular one, in case the server ends every connection.
func (h *health) watch(ctx context.Context, look check) error {
	t := time.NewTicker(h.cfg.Interval)
	defer t.Stop()
	defer h.forget()
	c := counter{rise: h.cfg.Rise, fall: h.cfg.Fall}
	var said status.APIServer
	early := false
	for {
		one, cancel := context.WithTimeout(ctx, h.cfg.Timeout)
		state, err := look(one)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		select {
		case <-h.broke: // within this look, which tells of it
		default:
		}
		news := c.count(err)
		if err == nil && c.ok && state != said { // ready to alive, or back
			news = true
		}
		if news {
			said = c.state(state)
			h.report(healthChanged{election.Health{OK: c.ok, Reason: c.reason}, said})
		}
		broke := h.broke
		if early {
			broke = nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			early = false
		case <-broke:
			early = true
			t.Reset(h.cfg.Interval)
		}
	}
}

// counter turns single results into a verdict: the first one counts at once,
// later ones after rise or fall in a row.
type counter struct {
	rise, fall int
	known, ok  bool
	run        int // results in a row that contradict ok
	reason     string
}

// count takes one result and reports whether there is something new to say.
func (c *counter) count(err error) bool {
	good := err == nil
	if c.known && good == c.ok {
		c.run = 0
		changed := text(err) != c.reason && !good
		if changed {
			c.reason = text(err)
		}
		return changed
	}
	c.run++
	need := c.fall
	if good {
		need = c.rise
	}
	if c.known && c.run < need {
		return false
	}
	c.known, c.ok, c.run, c.reason = true, good, 0, text(err)
	if good {
		c.reason = "ready"
	}
	return true
}

func (c *counter) state(seen status.APIServer) status.APIServer {
	if !c.ok {
		return status.APIFailing
	}
	return seen
}

// redialEvery bounds how long one connection is asked through: a server that
// accepts no new ones may go on answering on an old one. A handshake for every
// check was the larger part of what an idle daemon used (measured).
const redialEvery = 10 * time.Second

// way is how to ask the API server: what its files said, and a connection.
type way struct {
	url    string
	tr     *http.Transport
	made   time.Time
	stamps map[string]stamp // of the files that it was made from
	left   atomic.Bool      // its connection is not asked through any more, or has ended
}

// stamp tells whether a file was changed or replaced. A change that it misses,
// of the same size within the clock's grain, is seen at the next redial.
type stamp struct {
	size     int64
	modified time.Time
	inode    uint64
}

func stampOf(path string) stamp {
	fi, err := os.Stat(path)
	if err != nil {
		return stamp{} // as good as any other change
	}
	s := stamp{size: fi.Size(), modified: fi.ModTime()}
	if sys, ok := fi.Sys().(*syscall.Stat_t); ok {
		s.inode = sys.Ino
	}
	return s
}

// probe asks /readyz at this node's own advertise address: kubeadm's
// certificate does not name 127.0.0.1. After any trouble, and when a file has
// changed under the running daemon, as kubeadm may do, it begins afresh.
func (h *health) probe(ctx context.Context) (status.APIServer, error) {
	if h.way != nil && !h.way.good() {
		h.forget()
	}
	if h.way == nil {
		w, err := h.find()
		if err != nil {
			return status.APIUnknown, err
		}
		h.way = w
	}
	code, err := h.way.ask(ctx)
	if ctx.Err() != nil { // whatever came: a server that hangs may answer to the goodbye
		h.forget()
		return status.APIFailing, fmt.Errorf("no answer within %v", h.cfg.Timeout)
	}
	if err != nil {
		h.forget()
		return status.APIFailing, plainError(err)
	}
	state, err := judgeAnswer(code)
	if err != nil {
		h.forget()
	}
	return state, err
}

func (h *health) forget() {
	if h.way != nil {
		h.way.left.Store(true)
		h.way.tr.CloseIdleConnections()
		h.way = nil
	}
}

// find reads everything afresh.
func (h *health) find() (*way, error) {
	w := &way{made: time.Now(), stamps: map[string]stamp{h.cfg.CA: stampOf(h.cfg.CA)}}
	if h.cfg.APIServer == configs.APIServerAuto {
		w.stamps[h.cfg.Manifest] = stampOf(h.cfg.Manifest)
	}
	var err error
	if w.url, err = h.url(); err != nil {
		return nil, err
	}
	pool, err := readPool(h.cfg.CA)
	if err != nil {
		return nil, err
	}
	w.tr = &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &watched{Conn: conn, left: &w.left, ended: h.ended}, nil
		},
	}
	return w, nil
}

func (h *health) ended() {
	select {
	case h.broke <- struct{}{}:
	default:
	}
}

// watched is a connection that tells when it ends, unless this side has left it. The
// transport reads from one that is idle too: it gets an error when the server's
// process has died, and closes when the server has said goodbye by TLS.
type watched struct {
	net.Conn
	left  *atomic.Bool
	ended func()
}

func (c *watched) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.end()
	}
	return n, err
}

func (c *watched) Close() error {
	c.end()
	return c.Conn.Close()
}

func (c *watched) end() {
	if !c.left.Swap(true) {
		c.ended()
	}
}

func (w *way) good() bool {
	if time.Since(w.made) >= redialEvery {
		return false
	}
	for path, s := range w.stamps {
		if stampOf(path) != s {
			return false
		}
	}
	return true
}

// maxAnswer is how much of an answer is read so that its connection can serve
// again; /readyz says "ok".
const maxAnswer = 4 << 10

// ask returns the status code. A connection that the server closed since the
// last time is no failure: the transport dials once more then.
func (w *way) ask(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url, nil)
	if err != nil {
		return 0, fmt.Errorf("ask %s: %w", w.url, err)
	}
	resp, err := w.tr.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer) // the code says it all
	return resp.StatusCode, nil
}

// judgeAnswer: 401 and 403 mean that it is alive and does not tell us more.
func judgeAnswer(code int) (status.APIServer, error) {
	switch {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return status.APIAlive, nil
	case code >= 200 && code < 300:
		return status.APIReady, nil
	default:
		return status.APIFailing, fmt.Errorf("answers %d %s", code, http.StatusText(code))
	}
}

func (h *health) url() (string, error) {
	if h.cfg.APIServer != configs.APIServerAuto {
		return h.cfg.APIServer, nil
	}
	m, err := configs.ReadAPIServerManifest(h.cfg.Manifest)
	if errors.Is(err, fs.ErrNotExist) {
		return "", errors.New("there is none on this node yet")
	}
	if err != nil {
		return "", err
	}
	host := m.Address
	if host == "" {
		host = h.self
	}
	return "https://" + net.JoinHostPort(host, strconv.Itoa(m.Port)) + "/readyz", nil
}

func readPool(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read CA %s: no certificate in it", path)
	}
	return pool, nil
}

// plainError strips what an operator at night does not need, and what would
// make the same failure read differently each time, such as the time of day.
func plainError(err error) error {
	var cert x509.CertificateInvalidError
	if errors.As(err, &cert) && cert.Reason == x509.Expired {
		return errors.New("its certificate has expired or is not valid yet")
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		var sys *os.SyscallError
		if errors.As(op.Err, &sys) {
			return sys.Err
		}
		return op.Err
	}
	return err
}
