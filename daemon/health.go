package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strconv"
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
}

// check is one look: nil error means that the API server may serve.
type check func(context.Context) (status.APIServer, error)

// run looks every interval until ctx ends, and reports the first result and
// every change after rise or fall of them in a row.
func (h *health) run(ctx context.Context) error {
	if h.cfg.APIServer == configs.APIServerNone {
		h.report(healthChanged{election.Health{OK: true, Reason: "not checked"}, status.APIOff})
		return nil
	}
	return h.watch(ctx, h.probe)
}

func (h *health) watch(ctx context.Context, look check) error {
	t := time.NewTicker(h.cfg.Interval)
	defer t.Stop()
	c := counter{rise: h.cfg.Rise, fall: h.cfg.Fall}
	for {
		one, cancel := context.WithTimeout(ctx, h.cfg.Timeout)
		state, err := look(one)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if c.count(err) {
			h.report(healthChanged{election.Health{OK: c.ok, Reason: c.reason}, c.state(state)})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
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
	last       string
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

// probe asks /readyz at this node's own advertise address: kubeadm's
// certificate does not name 127.0.0.1. Everything is read afresh each time,
// since kubeadm may change it under a running daemon.
func (h *health) probe(ctx context.Context) (status.APIServer, error) {
	url, err := h.url()
	if err != nil {
		return status.APIUnknown, err
	}
	pool, err := readPool(h.cfg.CA)
	if err != nil {
		return status.APIUnknown, err
	}
	tr := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true, // a kept connection would not notice a server that accepts no more
		DialContext:       (&net.Dialer{}).DialContext,
	}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return status.APIUnknown, fmt.Errorf("ask %s: %w", url, err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		if ctx.Err() != nil {
			return status.APIFailing, fmt.Errorf("no answer within %v", h.cfg.Timeout)
		}
		return status.APIFailing, plainError(err)
	}
	resp.Body.Close()
	return judgeAnswer(resp.StatusCode)
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

// plainError strips what an operator at night does not need.
func plainError(err error) error {
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
