package daemon

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"havip/daemon/status"
)

// heard makes one request over TCP.
func heard(t *testing.T, method, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// busy is a port that somebody listens on, until free. The address is one from
// which nobody connects, so that none of their ports is it.
func busy(t *testing.T) (address string, free func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.77:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String(), func() { l.Close() }
}

// A port that is taken is told, and tried again; the socket answers all the time.
func TestListenerWaitsForItsPort(t *testing.T) {
	address, free := busy(t)
	p := run(t, fmt.Sprintf("[metrics]\nlisten = %q\n", address))
	eventually(t, "a warning", func() bool {
		return strings.Contains(strings.Join(p.status(t).Warnings, "\n"), "metrics cannot be read over the network: listen for [metrics]: listen tcp "+address)
	})
	if n := strings.Count(p.logged.String(), "nobody can read metrics over the network"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	free()
	eventually(t, "metrics over TCP", func() bool {
		code, body := heard(t, http.MethodGet, "http://"+address+"/metrics")
		return code == http.StatusOK && strings.Contains(body, `havip_build_info{goversion="go`)
	})
	if w := p.status(t).Warnings; len(w) != 0 {
		t.Errorf("warnings: %q", w)
	}
	if code, body := heard(t, http.MethodGet, "http://"+address+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "[-]config failed: no [vip] in ") {
		t.Errorf("readyz: %d %s", code, body)
	}
	p.end(t)
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("it listens after its end")
	}
}

// listening serves metrics of a daemon without an election.
func listening(t *testing.T) string {
	t.Helper()
	address, free := busy(t)
	free()
	p := run(t, fmt.Sprintf("[metrics]\nlisten = %q\n", address))
	eventually(t, "it listens", func() bool {
		code, _ := heard(t, http.MethodGet, "http://"+address+"/healthz")
		return code == http.StatusOK
	})
	t.Cleanup(func() { p.end(t) })
	return address
}

// Over the network there is nothing but what is for everybody, and no change.
func TestListenerOnlyReads(t *testing.T) {
	address := listening(t)
	for _, test := range []struct {
		method, path string
		code         int
	}{
		{"GET", "/metrics", 200}, {"GET", "/healthz", 200}, {"GET", "/readyz", 503},
		{"POST", "/metrics", 405}, {"PUT", "/healthz", 405}, {"DELETE", "/readyz", 405},
		{"GET", "/", 404}, {"GET", status.PathStatus, 404}, {"GET", "/debug/pprof/", 404}, {"GET", status.PathClaim, 404},
		{"POST", status.PathHandover, 404}, {"POST", status.PathDrain, 404}, {"POST", status.PathRelease, 404}, {"POST", status.PathShutdown, 404},
	} {
		if code, body := heard(t, test.method, "http://"+address+test.path); code != test.code {
			t.Errorf("%s %s: %d %s, want %d", test.method, test.path, code, body, test.code)
		}
	}
}

func TestListenerRefusesMany(t *testing.T) {
	address := listening(t)
	var open []net.Conn
	dial := func() {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	for range publicConnections {
		dial()
	}
	// A connection of before may be counted for a moment, in the place of one of these.
	eventually(t, "one more is refused", func() bool {
		dial()
		code, _ := heard(t, http.MethodGet, "http://"+address+"/healthz")
		return code == 0
	})
	for _, c := range open {
		c.Close()
	}
	eventually(t, "there is room again", func() bool {
		code, _ := heard(t, http.MethodGet, "http://"+address+"/healthz")
		return code == http.StatusOK
	})
}

// Who connects and says nothing is hung up on.
func TestListenerHangsUpOnTheSilent(t *testing.T) {
	address := listening(t)
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("GET /metrics HTTP/1.1\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := io.Copy(io.Discard, bufio.NewReader(c)); err != nil {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
}

// Who asks as fast as they can get an answer every publicPace, and the daemon is
// not busy with it.
func TestListenerIsPaced(t *testing.T) {
	address := listening(t)
	begin, n := time.Now(), 20
	for range n {
		if code, body := heard(t, http.MethodGet, "http://"+address+"/metrics"); code != http.StatusOK {
			t.Fatalf("%d %s", code, body)
		}
	}
	if took := time.Since(begin); took < time.Duration(n-1)*publicPace {
		t.Errorf("%d answers in %v", n, took)
	}
}
