package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// serve runs a handler on a unix socket and returns a client of it.
func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	c := NewClient(path)
	t.Cleanup(func() { c.Close(); srv.Close(); <-done })
	return c
}

func TestClientStatus(t *testing.T) {
	want := healthy()
	Judge(want)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != PathStatus {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		WriteAnswer(w, want)
	})
	got, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(want)
	b, _ := json.Marshal(got)
	if diff := cmp.Diff(string(a), string(b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestClientChanges(t *testing.T) {
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var h HandoverRequest
		var rel ReleaseRequest
		var err error
		switch r.URL.Path {
		case PathHandover:
			err = ReadRequest(r, &h)
		case PathRelease:
			err = ReadRequest(r, &rel)
		default:
			err = ReadRequest(r, &struct{}{})
		}
		if err != nil {
			t.Error(err)
		}
		asked = append(asked, fmt.Sprintf("%s %s %q %v", r.Method, r.URL.Path, h.To, rel.Force))
		WriteAnswer(w, Change{Schema: Schema, Changed: true, Message: "done"})
	})
	ctx := t.Context()
	for _, call := range []func() (*Change, error){
		func() (*Change, error) { return c.Handover(ctx, "n2") },
		func() (*Change, error) { return c.Handover(ctx, "") },
		func() (*Change, error) { return c.Drain(ctx) },
		func() (*Change, error) { return c.Undrain(ctx) },
		func() (*Change, error) { return c.Release(ctx, true) },
	} {
		got, err := call()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&Change{Schema: Schema, Changed: true, Message: "done"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	want := []string{`POST /v1/handover "n2" false`, `POST /v1/handover "" false`, `POST /v1/drain "" false`, `POST /v1/undrain "" false`, `POST /v1/release "" true`}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestClientRefused(t *testing.T) {
	for _, tc := range []struct {
		code int
		body string
		want *RefusedError
	}{
		{409, `{"error":"n3 is not the holder","hint":"run it on n2"}`, &RefusedError{409, Failure{"n3 is not the holder", "run it on n2"}}},
		{403, `{"error":"only root may"}`, &RefusedError{403, Failure{"only root may", ""}}},
		{404, "404 page not found\n", &RefusedError{404, Failure{"the daemon answered 404 Not Found", ""}}},
		{500, "{}", &RefusedError{500, Failure{"the daemon answered 500 Internal Server Error", ""}}},
	} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(tc.code)
			fmt.Fprint(w, tc.body)
		})
		_, err := c.Drain(t.Context())
		var got *RefusedError
		if !errors.As(err, &got) {
			t.Errorf("%d: %v", tc.code, err)
			continue
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%d (-want +got):\n%s", tc.code, diff)
		}
	}
}

func TestClientWithoutDaemon(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for path, want := range map[string]error{
		filepath.Join(dir, "none"):   ErrNoSocket,
		filepath.Join(dir, "no/dir"): ErrNoSocket,
		stale:                        ErrRefused,
	} {
		_, err := NewClient(path).Status(t.Context())
		if !errors.Is(err, want) || !NotRunning(err) {
			t.Errorf("%s: %v, want %v", filepath.Base(path), err, want)
		}
		if !strings.Contains(fmt.Sprint(err), path) {
			t.Errorf("%v does not name %s", err, path)
		}
	}
}

func TestKindOf(t *testing.T) {
	over, cancel := context.WithTimeout(context.Background(), 0)
	defer cancel()
	stopped, stop := context.WithCancel(context.Background())
	stop()
	other := errors.New("other")
	for _, tc := range []struct {
		ctx       context.Context
		err, want error
	}{
		{context.Background(), &net.OpError{Op: "dial", Err: syscall.EACCES}, ErrPermission},
		{context.Background(), fs.ErrNotExist, ErrNoSocket},
		{context.Background(), syscall.ECONNREFUSED, ErrRefused},
		{context.Background(), syscall.ECONNRESET, ErrBroken},
		{over, other, ErrNoAnswer},
		{stopped, other, context.Canceled},
		{context.Background(), other, other},
	} {
		if got := kindOf(tc.ctx, tc.err); got != tc.want {
			t.Errorf("kindOf(%v) = %v, want %v", tc.err, got, tc.want)
		}
	}
	if NotRunning(ErrPermission) {
		t.Error("permission denied counts as not running")
	}
}

func TestClientBadAnswers(t *testing.T) {
	for body, want := range map[string]string{
		"no json":      "decode the daemon's answer",
		`{"schema":2}`: "read status: the daemon speaks a different schema: 2, not 1",
	} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, body) })
		if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestClientHang(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Status(ctx); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("%v", err)
	}
}

// TestWaitHeld: an early answer, a daemon that breaks off, and then the VIP.
func TestWaitHeld(t *testing.T) {
	calls := 0
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		wait, timeout, err := ReadWait(r.URL.Query())
		if err != nil || !wait || timeout <= 0 {
			t.Errorf("wait %v, timeout %v, %v", wait, timeout, err)
		}
		d := healthy()
		switch calls++; calls {
		case 1:
			takeover(d)
		case 2:
			panic(http.ErrAbortHandler)
		}
		Judge(d)
		WriteAnswer(w, d)
	})
	d, err := c.WaitHeld(t.Context(), 20*time.Second)
	if err != nil || !d.IsHeld() || calls != 3 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

func TestWaitHeldEnds(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		d := change(takeover)
		Judge(d)
		WriteAnswer(w, d)
	})
	d, err := c.WaitHeld(t.Context(), 0)
	if err != nil || d.Verdict != Nobody {
		t.Errorf("time is up: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.WaitHeld(ctx, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := NewClient(filepath.Join(t.TempDir(), "none")).WaitHeld(t.Context(), time.Minute); !NotRunning(err) {
		t.Errorf("no daemon: %v", err)
	}
}

func TestReadWait(t *testing.T) {
	for query, want := range map[string]struct {
		wait    bool
		timeout time.Duration
		err     string
	}{
		"":                      {},
		"timeout=3s":            {},
		"wait=held":             {wait: true, timeout: MaxWait},
		"wait=held&timeout=3s":  {wait: true, timeout: 3 * time.Second},
		"wait=held&timeout=90h": {wait: true, timeout: MaxWait},
		"wait=held&timeout=3":   {err: `read query: timeout="3" is not a duration such as 30s`},
		"wait=held&timeout=-3s": {err: `read query: timeout="-3s" is not a duration such as 30s`},
		"wait=dinner":           {err: `read query: wait="dinner" is not known, only "held" is`},
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		wait, timeout, err := ReadWait(q)
		message := ""
		if err != nil {
			message = err.Error()
		}
		if wait != want.wait || timeout != want.timeout || message != want.err {
			t.Errorf("%q: %v, %v, %q", query, wait, timeout, message)
		}
	}
}

func TestReadRequest(t *testing.T) {
	for body, want := range map[string]string{
		"":              "",
		`{"to":"n2"}`:   "",
		`{"too":"n2"}`:  `read request: json: unknown field "too"`,
		`{"to":`:        "read request: unexpected EOF",
		`{"to":["n2"]}`: "read request: json: cannot unmarshal array",
	} {
		r, err := http.NewRequest(http.MethodPost, PathHandover, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		var h HandoverRequest
		err = ReadRequest(r, &h)
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestWriteAnswerUnencodable(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { WriteAnswer(w, func() {}) })
	_, err := c.Drain(t.Context())
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Status != 500 || !strings.Contains(refused.Message, "encode answer") {
		t.Errorf("%v", err)
	}
}
