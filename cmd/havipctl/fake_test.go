package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"havip/daemon/status"
)

// fake is a daemon that serves prepared documents.
type fake struct {
	docs, sock string

	mu      sync.Mutex
	cond    *sync.Cond
	server  *http.Server
	names   []string // documents still to serve; the last one stays
	served  int
	answers map[string]func(w http.ResponseWriter)
	change  string // last changing call: path and body

	claim   status.Claim
	granted string // what becomes of claims: granted, refused or absent
}

type fakeKey struct{}

func fakeOf(ts *testscript.TestScript) *fake { return ts.Value(fakeKey{}).(*fake) }

func newFake(docs, sock string) *fake {
	f := &fake{docs: docs, sock: sock, answers: map[string]func(http.ResponseWriter){}}
	f.grant("granted")
	f.cond = sync.NewCond(&f.mu)
	return f
}

func (f *fake) start(names []string) error {
	f.stop()
	l, err := net.Listen("unix", f.sock)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names, f.served = names, 0
	f.server = &http.Server{Handler: f}
	go func(s *http.Server) { _ = s.Serve(l) }(f.server)
	return nil
}

func (f *fake) stop() {
	f.mu.Lock()
	s := f.server
	f.server = nil
	f.mu.Unlock()
	if s != nil {
		s.Close()
	}
}

func (f *fake) answer(path string, code int, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[path] = func(w http.ResponseWriter) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
	}
}

func (f *fake) lastChange() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.change
}

func (f *fake) waitServed(n int, limit time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	late := false
	defer time.AfterFunc(limit, func() { f.mu.Lock(); late = true; f.mu.Unlock(); f.cond.Broadcast() }).Stop()
	for f.served < n && !late {
		f.cond.Wait()
	}
	return f.served >= n
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == status.PathStatus {
		f.serveStatus(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	if r.URL.Path == status.PathHistory && f.answers[r.URL.Path] == nil {
		defer f.mu.Unlock()
		f.change = r.URL.RequestURI()
		f.serveHistory(w, r)
		return
	}
	if strings.HasPrefix(r.URL.Path, status.PathClaim) && f.granted != "absent" {
		defer f.mu.Unlock()
		f.serveClaim(w, r, body)
		return
	}
	f.change = r.URL.Path + " " + string(body)
	answer := f.answers[r.URL.Path]
	f.mu.Unlock()
	if answer == nil {
		status.WriteAnswer(w, status.Change{Schema: status.Schema, Changed: true, Message: "done"})
		return
	}
	answer(w)
}

// serveHistory serves the first document that was named.
func (f *fake) serveHistory(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(f.names[0], "!") {
		misbehave(w, r, f.names[0])
		return
	}
	b, err := os.ReadFile(filepath.Join(f.docs, f.names[0]+".json"))
	if err != nil {
		status.WriteFailure(w, http.StatusInternalServerError, err.Error(), "")
		return
	}
	_, _ = w.Write(b)
}

// grant says what becomes of the next claims.
func (f *fake) grant(how string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.granted = how
	f.claim = status.Claim{Schema: status.Schema, State: status.ClaimNone, Findings: []status.ClaimFinding{}}
}

// serveClaim grants a claim, and says that it is handed over when next asked; or
// refuses it.
func (f *fake) serveClaim(w http.ResponseWriter, r *http.Request, body []byte) {
	if r.Method == http.MethodGet {
		if f.claim.State == status.ClaimHeld {
			f.claim.State = status.ClaimHanded
		}
		status.WriteAnswer(w, f.claim)
		return
	}
	f.change = r.URL.Path + " " + string(body)
	var req status.ClaimRequest
	if err := json.Unmarshal(body, &req); err != nil {
		status.WriteFailure(w, http.StatusBadRequest, err.Error(), "")
		return
	}
	answer := f.claim
	switch {
	case r.URL.Path == status.PathClaimEnd:
		f.claim.State = status.ClaimEnded
		answer = f.claim
	case f.granted == "refused":
		answer.Findings = []status.ClaimFinding{{Subject: "VIP", What: "198.51.100.166 is answered by 02:00:5e:10:00:01", Fix: "find that machine", Blocks: true}}
	case !req.Check:
		f.claim.State, f.claim.Run, f.claim.LeftMS = status.ClaimHeld, req.Run, 60_000
		answer = f.claim
	}
	status.WriteAnswer(w, answer)
}

// serveStatus serves the next document; a call that waits skips those in which
// nobody holds the VIP.
func (f *fake) serveStatus(w http.ResponseWriter, r *http.Request) {
	wait, _, err := status.ReadWait(r.URL.Query())
	if err != nil {
		status.WriteFailure(w, http.StatusBadRequest, err.Error(), "")
		return
	}
	defer func() {
		f.mu.Lock()
		f.served++
		f.mu.Unlock()
		f.cond.Broadcast()
	}()
	for {
		name, last := f.next()
		if strings.HasPrefix(name, "!") {
			misbehave(w, r, name)
			return
		}
		d, err := f.load(name)
		if err != nil {
			status.WriteFailure(w, http.StatusInternalServerError, err.Error(), "")
			return
		}
		if !wait || last || d.IsHeld() {
			status.WriteAnswer(w, d)
			return
		}
	}
}

func misbehave(w http.ResponseWriter, r *http.Request, how string) {
	switch how {
	case "!hang":
		<-r.Context().Done()
	case "!drop":
		panic(http.ErrAbortHandler)
	case "!schema":
		fmt.Fprint(w, `{"schema": 2}`)
	case "!garbage":
		fmt.Fprint(w, "garbage")
	}
}

func (f *fake) next() (name string, last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = f.names[0]
	if len(f.names) == 1 {
		return name, true
	}
	f.names = f.names[1:]
	return name, false
}

func (f *fake) load(name string) (*status.Document, error) {
	b, err := os.ReadFile(filepath.Join(f.docs, name+".json"))
	if err != nil {
		return nil, err
	}
	var d status.Document
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, err
	}
	d.Time = time.Now()
	return &d, nil
}
