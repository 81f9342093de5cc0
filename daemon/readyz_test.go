package daemon

import (
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"havip/configs"
	"havip/daemon/status"
)

// standIn is an API server whose connections are counted.
type standIn struct {
	*httptest.Server
	dialled atomic.Int32
	code    atomic.Int32
	hang    atomic.Bool
}

func newStandIn(t *testing.T) *standIn {
	t.Helper()
	s := &standIn{}
	s.code.Store(http.StatusOK)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.hang.Load() {
			<-r.Context().Done()
		}
		w.WriteHeader(int(s.code.Load()))
		fmt.Fprint(w, "ok")
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.dialled.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// watched returns a health that asks the stand-in as one finds an API server:
// by its manifest and CA file.
func (s *standIn) watched(t *testing.T) *health {
	t.Helper()
	dir := t.TempDir()
	h := &health{self: "127.0.0.1", cfg: configs.Health{
		APIServer: configs.APIServerAuto, Timeout: 5 * time.Second,
		CA: filepath.Join(dir, "ca.crt"), Manifest: filepath.Join(dir, "kube-apiserver.yaml"),
	}}
	replace(t, h.cfg.CA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	s.manifest(t, h)
	return h
}

func (s *standIn) manifest(t *testing.T, h *health) {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	replace(t, h.cfg.Manifest, fmt.Appendf(nil, `apiVersion: v1
kind: Pod
spec:
  containers:
  - name: kube-apiserver
    command:
    - kube-apiserver
    - --advertise-address=127.0.0.1
    - --secure-port=%s
`, port))
}

// replace writes a file as kubeadm and editors do: a new one under the old name.
func replace(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestProbeConnections: checks share a connection, for a while and as long as
// nothing gives a reason to doubt it.
func TestProbeConnections(t *testing.T) {
	for _, tt := range []struct {
		name    string
		between func(*testing.T, *standIn, *health) // the first check and the second
		state   status.APIServer
		err     string
		dialled int32 // by both
	}{
		{"nothing happens", func(*testing.T, *standIn, *health) {}, status.APIReady, "", 1},
		{"the server hung up", func(_ *testing.T, s *standIn, _ *health) { s.CloseClientConnections() }, status.APIReady, "", 2},
		{"redial is due", func(_ *testing.T, _ *standIn, h *health) { h.way.made = time.Now().Add(-redialEvery) }, status.APIReady, "", 2},
		{"no new connections", func(_ *testing.T, s *standIn, _ *health) { s.Listener.Close() }, status.APIReady, "", 1},
		{"no new connections, and redial is due", func(_ *testing.T, s *standIn, h *health) {
			s.Listener.Close()
			h.way.made = time.Now().Add(-redialEvery)
		}, status.APIFailing, "connection refused", 1},
		{"another CA", func(t *testing.T, s *standIn, h *health) {
			replace(t, h.cfg.CA, []byte("no certificate"))
		}, status.APIUnknown, "no certificate in it", 1},
		{"the CA is written again", func(t *testing.T, s *standIn, h *health) {
			b, err := os.ReadFile(h.cfg.CA)
			if err != nil {
				t.Fatal(err)
			}
			replace(t, h.cfg.CA, b)
		}, status.APIReady, "", 2},
		{"the manifest is gone", func(t *testing.T, _ *standIn, h *health) {
			if err := os.Remove(h.cfg.Manifest); err != nil {
				t.Fatal(err)
			}
		}, status.APIUnknown, "there is none on this node yet", 1},
		{"the manifest names another port", func(t *testing.T, _ *standIn, h *health) {
			other := newStandIn(t)
			other.code.Store(http.StatusForbidden)
			other.manifest(t, h)
		}, status.APIAlive, "", 1},
		{"not ready", func(_ *testing.T, s *standIn, _ *health) { s.code.Store(500) }, status.APIFailing, "answers 500 Internal Server Error", 1},
		{"hangs", func(_ *testing.T, s *standIn, h *health) {
			s.hang.Store(true)
			h.cfg.Timeout = 50 * time.Millisecond
		}, status.APIFailing, "no answer within 50ms", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStandIn(t)
			h := s.watched(t)
			defer h.forget()
			if state, err := look(t, h); state != status.APIReady || err != nil {
				t.Fatalf("first check: %v, %v", state, err)
			}
			tt.between(t, s, h)
			state, err := look(t, h)
			if state != tt.state || (err == nil) != (tt.err == "") {
				t.Errorf("%v, %v, want %v, %q", state, err, tt.state, tt.err)
			}
			if !strings.Contains(text(err), tt.err) {
				t.Errorf("%v lacks %q", err, tt.err)
			}
			if n := s.dialled.Load(); n != tt.dialled {
				t.Errorf("%d connections, want %d", n, tt.dialled)
			}
			if err != nil && h.way != nil {
				t.Error("the connection is kept after a failure")
			}
		})
	}
}

func look(t *testing.T, h *health) (status.APIServer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), h.cfg.Timeout)
	defer cancel()
	return h.probe(ctx)
}

// TestServerDies: the kernel tells of a server that dies, between two looks, and of
// none whose connection this side has left.
func TestServerDies(t *testing.T) {
	s := newStandIn(t)
	h := s.watched(t)
	h.cfg.Interval, h.cfg.Rise, h.cfg.Fall = time.Hour, 1, 1
	said := make(chan healthChanged, 1)
	h.report = func(e healthChanged) { said <- e }
	go func() { _ = h.run(t.Context()) }() // nil when the test ends
	if first := <-said; !first.event.OK {
		t.Fatalf("it begins with %+v", first)
	}
	s.Close()
	if e := <-said; e.event.OK || e.event.Reason != "connection refused" {
		t.Errorf("said %+v", e)
	}

	s = newStandIn(t)
	h = s.watched(t)
	h.broke = make(chan struct{}, 1)
	for range 2 {
		if state, err := h.probe(t.Context()); state != status.APIReady {
			t.Fatalf("%s, %v", state, err)
		}
		h.forget()
	}
	s.Close() // waits for the connections
	select {
	case <-h.broke:
		t.Error("a connection that was left counts as ended")
	default:
	}
}
