package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"havip/configs"
	"havip/daemon/status"
	"havip/election"
)

// TestMain lets the test binary be another process: a client with another uid.
func TestMain(m *testing.M) {
	if socket := os.Getenv("HAVIP_TEST_CLIENT"); socket != "" {
		os.Exit(client(socket))
	}
	os.Exit(m.Run())
}

// client asks to drain and prints the HTTP status.
func client(socket string) int {
	c := status.NewClient(socket)
	_, err := c.Drain(context.Background())
	var refused *status.RefusedError
	switch {
	case errors.As(err, &refused):
		fmt.Println(refused.Status, refused.Message)
	case err != nil:
		fmt.Println(err)
	default:
		fmt.Println("done")
	}
	return 0
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root: run sudo make test")
	}
}

// patience bounds waiting for something real, on a busy machine too.
const patience = 30 * time.Second

// eventually asks again until ok or patience is over.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); !ok(); {
		select {
		case <-end:
			t.Fatalf("%s: not within %v", what, patience)
		case <-tick.C:
		}
	}
}

// served is a real socket without a loop behind it.
func served(t *testing.T) (*faces, string) {
	t.Helper()
	// A unix socket's path has 107 bytes at most; the test's own directory may be longer.
	dir, err := os.MkdirTemp("", "havip")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	f := newFaces(dir, SystemClock(), slog.New(slog.NewTextHandler(t.Output(), nil)))
	f.setIdle(status.Document{Version: "1.2.3"})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.serve(ctx, path) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		os.RemoveAll(dir)
	})
	// It listens before the socket has its mode, and answers after that.
	eventually(t, "the socket answers", func() bool { return askOnce(t, path) == nil })
	return f, path
}

// askOnce asks on a connection of its own.
func askOnce(t *testing.T, path string) error {
	c := status.NewClient(path)
	defer c.Close()
	_, err := c.Status(t.Context())
	return err
}

func TestSocketModeAndStaleFile(t *testing.T) {
	f, path := served(t)
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	// A dead daemon leaves its socket.
	stale := path + ".stale"
	l, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	again, err := listen(stale)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	// What is no socket is left alone, and no reason to end.
	file := path + ".file"
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := f.serve(ctx, file); err != nil {
		t.Errorf("serve ended: %v", err)
	}
	if b, _ := os.ReadFile(file); string(b) != "precious" {
		t.Errorf("the file is %q", b)
	}
}

func TestOnlyRootChanges(t *testing.T) {
	needRoot(t)
	f, path := served(t)
	f.setLoop(newMailbox(), nil, &configs.Config{}, configs.Master{})
	// The peer may open the socket, as the group havip may, and is not root.
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(filepath.Dir(path), "client")
	if err := os.Chmod(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	copyFile(t, "/proc/self/exe", exe)
	cmd := exec.Command(exe)
	cmd.Dir = "/"
	cmd.Env = []string{"HAVIP_TEST_CLIENT=" + path}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "403 only root") {
		t.Errorf("uid 65534 got %q, %v", out, err)
	}
	// root gets past that, and hears what it asked for.
	f.setIdle(status.Document{})
	c := status.NewClient(path)
	defer c.Close()
	if _, err := c.Drain(t.Context()); err == nil || !strings.Contains(err.Error(), "takes no part") {
		t.Errorf("root got %v", err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestManyConnectionsAreBounded(t *testing.T) {
	_, path := served(t)
	var open []net.Conn
	dial := func() {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	for range connections {
		dial()
	}
	ask := func() error { return askOnce(t, path) }
	// A connection of before may be counted for a moment, in the place of one of these.
	eventually(t, "one more is refused", func() bool { dial(); return errors.Is(ask(), status.ErrBroken) })
	for _, o := range open {
		o.Close()
	}
	eventually(t, "there is room again", func() bool { return ask() == nil })
}

func TestSocketAnswers(t *testing.T) {
	f := newFaces(t.TempDir(), SystemClock(), slog.New(slog.DiscardHandler))
	f.setIdle(status.Document{Version: "1.2.3", Config: "/etc/havip/havip.toml"})
	tests := []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"GET", "/v1/status", "", 200, `"verdict": "UNCONFIGURED"`},
		{"GET", "/v1/status?wait=held&timeout=1s", "", 200, `"verdict": "UNCONFIGURED"`},
		{"GET", "/v1/status?wait=tea", "", 400, "is not known"},
		{"GET", "/v1/status?wait=held&timeout=soon", "", 400, "is not a duration"},
		{"POST", "/v1/status", "", 405, "/v1/status does not take POST"},
		{"POST", "/metrics", "", 405, "does not take POST"},
		{"GET", "/v1/handover", "", 405, "does not take GET"},
		{"DELETE", "/v1/drain", "", 405, "does not take DELETE"},
		{"GET", "/v1/nothing", "", 404, "no such path"},
		{"GET", "/", "", 404, "no such path"},
		{"POST", "/v1/handover", `{"to": 7}`, 400, "read request"},
		{"POST", "/v1/handover", `{"too": "n2"}`, 400, "unknown field"},
		{"POST", "/v1/release", `{"force": "yes"}`, 400, "read request"},
		{"POST", "/v1/handover", ``, 409, "takes no part"},
		{"POST", "/v1/drain", ``, 409, "takes no part"},
		{"POST", "/v1/undrain", ``, 409, "takes no part"},
		{"POST", "/v1/release", ``, 409, "takes no part"},
	}
	for _, test := range tests {
		r := httptest.NewRequest(test.method, test.path, strings.NewReader(test.body))
		r = r.WithContext(context.WithValue(r.Context(), uidKey{}, uint32(0)))
		w := httptest.NewRecorder()
		f.handler().ServeHTTP(w, r)
		if w.Code != test.code || !strings.Contains(w.Body.String(), test.want) {
			t.Errorf("%s %s %s: %d %s, want %d %q", test.method, test.path, test.body, w.Code, w.Body, test.code, test.want)
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s: %q is no JSON", test.method, test.path, w.Body)
		}
	}
	for _, uid := range []any{nil, uint32(1000)} {
		r := httptest.NewRequest("POST", "/v1/drain", nil)
		r = r.WithContext(context.WithValue(r.Context(), uidKey{}, uid))
		w := httptest.NewRecorder()
		f.handler().ServeHTTP(w, r)
		if w.Code != http.StatusForbidden {
			t.Errorf("uid %v got %d", uid, w.Code)
		}
	}
}

func TestIdleDocumentIsOfNow(t *testing.T) {
	wall := time.Date(2026, 3, 2, 3, 16, 21, 0, time.UTC)
	f := newFaces(t.TempDir(), Clock{Boot: SystemClock().Boot, Wall: func() time.Time { return wall }}, slog.New(slog.DiscardHandler))
	f.setIdle(status.Document{Warnings: make([]string, 1, 8), Masters: []status.Master{{Name: "n1"}}})
	wall = wall.Add(time.Hour)
	_, _, one := f.loop()
	_, _, two := f.loop()
	if !one.Time.Equal(wall) {
		t.Errorf("the document is of %v, now is %v", one.Time, wall)
	}
	one.Warnings, one.Masters[0].Name = append(one.Warnings, "changed"), "changed"
	two.Warnings = append(two.Warnings, "other")
	if one.Warnings[1] != "changed" || two.Masters[0].Name != "n1" {
		t.Error("two requests share a document")
	}
}

func TestAnswersToCommands(t *testing.T) {
	tests := []struct {
		done election.Done
		code int
		hint string
	}{
		{election.Done{Changed: true, Message: "handed over to n2"}, 200, ""},
		{election.Done{Message: "drained already"}, 200, ""},
		{election.Done{Err: "n1 does not hold the address, n2 does"}, 409, "run it on the node that does"},
		{election.Done{Err: "n1 does not hold the address, though the record names it: look again in a moment"}, 409, "havipctl status"},
		{election.Done{Err: "n2 is drained"}, 409, "havipctl status"},
		{election.Done{Err: "the record cannot be replaced: connection refused"}, 503, "havipctl status"},
		{election.Done{Err: "etcd did not confirm it (unknown); look at the status and try again"}, 504, "havipctl status"},
	}
	for _, test := range tests {
		w := httptest.NewRecorder()
		answer(w, test.done)
		var f status.Failure
		if err := json.Unmarshal(w.Body.Bytes(), &f); err != nil || w.Code != test.code || f.Hint != test.hint {
			t.Errorf("%+v: %d %s", test.done, w.Code, w.Body)
		}
	}
}

func TestCommandsOfTheLoop(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1").start()
		b.pass(time.Second)
		for path, want := range map[string]string{
			"/v1/handover": "n1 does not hold the address",
			"/v1/release":  "there is no record to release",
		} {
			if _, body := n1.ask("POST", path, ""); !strings.Contains(string(body), want) {
				t.Errorf("%s: %s", path, body)
			}
		}
		if code, body := n1.ask("POST", "/v1/handover", `{"to": "n9"}`); code != 400 || !strings.Contains(string(body), "no master is called n9") {
			t.Errorf("handover to n9: %d %s", code, body)
		}
		code, body := n1.ask("GET", "/v1/status?wait=held&timeout=1m", "")
		if at := b.now(); code != 200 || at != first {
			t.Errorf("answered at %v: %d %s", at, code, body)
		}
		b.pass(setTakes) // that is by the watch, which can be quicker than the answer to the write
		if code, body := n1.ask("POST", "/v1/release", ""); code != 200 || !strings.Contains(string(body), "released") {
			t.Errorf("release: %d %s", code, body)
		}
		if n1.kernel.has() || b.holder() != "" {
			t.Errorf("after the release the holder is %q, the address there: %v", b.holder(), n1.kernel.has())
		}
	})
}

func TestWaitEndsWhenItsTimeIsUp(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		b.silence("n1")
		n1.start()
		b.pass(time.Millisecond)
		begin := b.now()
		_, body := n1.ask("GET", "/v1/status?wait=held&timeout=2s", "")
		if took := b.now() - begin; took < 2*time.Second || took > 2*time.Second+pulse {
			t.Errorf("took %v: %s", took, body)
		}
		// Who hangs up is forgotten.
		ctx, hangUp := context.WithCancel(context.WithValue(context.Background(), uidKey{}, uint32(0)))
		r := httptest.NewRequest("GET", "/v1/status?wait=held", nil).WithContext(ctx)
		gone := make(chan struct{})
		go func() { n1.d.faces.handler().ServeHTTP(httptest.NewRecorder(), r); close(gone) }()
		b.pass(pulse)
		hangUp()
		<-gone
		b.pass(2 * pulse)
		n1.crash()
		<-n1.done
		if n := len(n1.l.waiters); n != 0 {
			t.Errorf("%d still wait", n)
		}
	})
}

func TestLoopThatDoesNotAnswer(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		n1.shells = nil
		n1.d.faces.setLoop(newMailbox(), n1.addr, n1.l.cfg, n1.l.self) // nobody empties it
		if code, _ := n1.ask("GET", "/v1/status", ""); code != http.StatusServiceUnavailable {
			t.Errorf("status: %d", code)
		}
		begin := b.now()
		if code, _ := n1.ask("POST", "/v1/handover", ""); code != http.StatusGatewayTimeout {
			t.Errorf("handover: %d", code)
		}
		if took := b.now() - begin; took >= status.DefaultTimeout {
			t.Errorf("the client has hung up before the answer came after %v", took)
		}
	})
}
