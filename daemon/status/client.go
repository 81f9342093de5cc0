package status

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// What can be wrong before the daemon has answered; errors.Is tells them apart.
var (
	ErrNoSocket   = errors.New("no socket there")                      // the daemon does not run, or listens elsewhere
	ErrRefused    = errors.New("nobody listens on it")                 // a socket that a dead daemon left
	ErrPermission = errors.New("permission denied")                    // the caller may not open the socket
	ErrNoAnswer   = errors.New("the daemon does not answer in time")   // it is connected, and hangs
	ErrBroken     = errors.New("the connection broke")                 // the daemon went away in the middle
	ErrSchema     = errors.New("the daemon speaks a different schema") // after an upgrade of one of the two
)

// NotRunning reports whether err says that no daemon listens.
func NotRunning(err error) bool {
	return errors.Is(err, ErrNoSocket) || errors.Is(err, ErrRefused)
}

// RefusedError is an answer of the daemon other than 200.
type RefusedError struct {
	Status int // of HTTP
	Failure
}

func (e *RefusedError) Error() string { return e.Message }

// DefaultTimeout bounds a call that does not wait on purpose. A handover clears
// an address and makes one transaction: milliseconds, or else seconds of etcd.
const DefaultTimeout = 10 * time.Second

// maxAnswer bounds what is read of one answer, in bytes.
const maxAnswer = 8 << 20

// Client asks a daemon over its socket.
type Client struct {
	// Timeout bounds each call, on top of what it waits on purpose.
	Timeout time.Duration

	path string
	http *http.Client
}

// NewClient returns a client of the socket at path. It does no I/O.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	return &Client{Timeout: DefaultTimeout, path: path, http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status fetches the document.
func (c *Client) Status(ctx context.Context) (*Document, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return c.status(ctx, PathStatus)
}

// WaitHeld fetches the document as soon as the VIP is held, or the last one
// when d is over; [Document.IsHeld] tells which. A daemon that is not there at
// the first call is an error at once; one that restarts later is waited for.
func (c *Client) WaitHeld(ctx context.Context, d time.Duration) (*Document, error) {
	end := time.Now().Add(d)
	var last *Document
	for {
		doc, err := c.waitOnce(ctx, time.Until(end))
		switch {
		case err == nil && (doc.IsHeld() || time.Until(end) <= 0):
			return doc, nil
		case err == nil:
			last = doc
		case last == nil || !(NotRunning(err) || errors.Is(err, ErrBroken)) || time.Until(end) <= 0:
			return nil, err
		}
		if err := pause(ctx, min(200*time.Millisecond, time.Until(end))); err != nil {
			return nil, err
		}
	}
}

// waitOnce is one waiting request, no longer than MaxWait.
func (c *Client) waitOnce(ctx context.Context, left time.Duration) (*Document, error) {
	left = min(max(left, 0), MaxWait)
	ctx, cancel := context.WithTimeout(ctx, left+c.Timeout)
	defer cancel()
	q := url.Values{QueryWait: {WaitHeld}, QueryTimeout: {left.String()}}
	return c.status(ctx, PathStatus+"?"+q.Encode())
}

// pause keeps a daemon that answers a waiting request too early from being
// asked in a tight loop.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) status(ctx context.Context, target string) (*Document, error) {
	var d Document
	if err := c.call(ctx, http.MethodGet, target, nil, &d); err != nil {
		return nil, err
	}
	if d.Schema != Schema {
		return nil, fmt.Errorf("read status: %w: %d, not %d", ErrSchema, d.Schema, Schema)
	}
	return &d, nil
}

// Raw fetches what is served under a path as it is, for a report.
func (c *Client) Raw(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var body raw
	err := c.call(ctx, http.MethodGet, path, nil, &body)
	return body, err
}

// raw is an answer that is not decoded.
type raw []byte

// Handover asks the holder to give the VIP to another master, "" for the first in rank.
func (c *Client) Handover(ctx context.Context, to string) (*Change, error) {
	return c.change(ctx, PathHandover, HandoverRequest{To: to})
}

// Drain keeps this node from holding the VIP until Undrain.
func (c *Client) Drain(ctx context.Context) (*Change, error) {
	return c.change(ctx, PathDrain, struct{}{})
}

// Shutdown hands the VIP over and keeps this node from holding it until its
// daemon starts again: for a node that is about to go down. It returns when the
// VIP is another master's; a [RefusedError] says that nobody can take it.
func (c *Client) Shutdown(ctx context.Context) (*Change, error) {
	return c.change(ctx, PathShutdown, struct{}{})
}

// Undrain ends Drain, and Shutdown.
func (c *Client) Undrain(ctx context.Context) (*Change, error) {
	return c.change(ctx, PathUndrain, struct{}{})
}

// RotateKey has heartbeats signed with a new key.
func (c *Client) RotateKey(ctx context.Context) (*Change, error) {
	return c.change(ctx, PathRotate, struct{}{})
}

// Release gives the record up.
func (c *Client) Release(ctx context.Context, force bool) (*Change, error) {
	return c.change(ctx, PathRelease, ReleaseRequest{Force: force})
}

func (c *Client) change(ctx context.Context, path string, body any) (*Change, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var ch Change
	if err := c.call(ctx, http.MethodPost, path, body, &ch); err != nil {
		return nil, err
	}
	return &ch, nil
}

// call makes one request. The host name in it is never looked up.
func (c *Client) call(ctx context.Context, method, target string, body, into any) error {
	var data io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		data = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://havipd"+target, data)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask the daemon at %s: %w", c.path, kindOf(ctx, err))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.path, kindOf(ctx, err))
	}
	return decode(resp.StatusCode, answer, into)
}

func decode(code int, answer []byte, into any) error {
	if code != http.StatusOK {
		refused := &RefusedError{Status: code}
		if err := json.Unmarshal(answer, &refused.Failure); err != nil || refused.Message == "" {
			refused.Message = fmt.Sprintf("the daemon answered %d %s", code, http.StatusText(code))
		}
		return refused
	}
	if body, ok := into.(*raw); ok {
		*body = answer
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("decode the daemon's answer: %w", err)
	}
	return nil
}

// kindOf turns what the network said into one of the errors above.
func kindOf(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ErrNoSocket
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTSOCK):
		return ErrRefused
	case errors.Is(err, fs.ErrPermission):
		return ErrPermission
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return ErrNoAnswer
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		strings.Contains(err.Error(), "server closed idle connection"): // net/http has no name for it
		return ErrBroken
	}
	return err
}
