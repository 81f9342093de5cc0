package daemon

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"havip/daemon/metrics"
	"havip/daemon/status"
)

// meter counts what happens; *metrics.Metrics implements it. None of its methods
// may wait: the loop calls them.
type meter interface {
	// Transition is a change of this node's role.
	Transition(to, reason string)
	// Gap is how long nobody held the address before this node got it.
	Gap(d time.Duration, planned bool)
	// Confirmed is a write that etcd confirmed, Unconfirmed one that ended otherwise.
	Confirmed(took time.Duration)
	Unconfirmed(outcome string)
	// Conflict is another machine's claim of the address.
	Conflict()
}

var _ meter = (*metrics.Metrics)(nil)

const (
	// seeEvery bounds how often the loop and the kernel are asked and a scrape is
	// written, which takes 4 ms (measured), however many ask the daemon: what was
	// seen is shown for so long.
	seeEvery = time.Second

	// seeTimeout is how long a loop may take to answer before it counts as hung.
	seeTimeout = 2 * time.Second

	// freshLoop is how long ago the loop may have moved: it does at least once in
	// a pulse. It is well below hold, and the watchdog's 10 s.
	freshLoop = 4 * pulse
)

// vitals is what the faces keep to tell how the daemon is.
type vitals struct {
	version string
	beat    atomic.Int64 // when the loop last moved, by the clock
	listen  chan string  // what [metrics] says to listen on

	looking chan struct{} // has a token while seen is used
	seen    sight

	mu     sync.Mutex
	counts *metrics.Metrics
	deaf   string // why nobody can connect to listen; "": they can, or need not
}

func newVitals() *vitals {
	return &vitals{listen: make(chan string, 1), looking: make(chan struct{}, 1), counts: metrics.New("", "")}
}

// count begins to count for a node and a VIP.
func (v *vitals) count(node, vip string) *metrics.Metrics {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.counts = metrics.New(node, vip)
	return v.counts
}

func (v *vitals) meter() *metrics.Metrics {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.counts
}

// sight is what was seen at one moment.
type sight struct {
	at     time.Duration // 0: never
	checks []metrics.Check
	scrape []byte
	err    error // why there is no scrape
}

// see is what metrics and readiness are made of. Whoever comes while another
// look is under way waits for that one.
func (f *faces) see(ctx context.Context) (sight, error) {
	v := f.vitals
	select {
	case v.looking <- struct{}{}:
	case <-ctx.Done():
		return sight{}, ctx.Err()
	}
	defer func() { <-v.looking }()
	if now := f.clock.Boot(); v.seen.at == 0 || now-v.seen.at >= seeEvery {
		// Not the client's context: what is seen is not for it alone.
		s := f.snapshot(context.WithoutCancel(ctx))
		var b bytes.Buffer
		err := v.meter().Write(&b, s)
		v.seen = sight{at: f.clock.Boot(), checks: s.Checks, scrape: b.Bytes(), err: err}
	}
	return v.seen, nil
}

func (f *faces) snapshot(ctx context.Context) metrics.Snapshot {
	box, address, d := f.loop()
	s := metrics.Snapshot{Version: f.vitals.version, LoopAge: f.loopAge()}
	if box != nil {
		if s.LoopAge > freshLoop {
			return judged(s) // a loop that hangs must not find a heap of questions when it wakes up
		}
		q := &query{gone: ctx, answer: make(chan status.Document, 1)}
		box.put(q)
		select {
		case d = <-q.answer:
		case <-time.After(seeTimeout):
			s.LoopAge = max(f.loopAge(), seeTimeout)
			return judged(s)
		}
		f.readBack(ctx, &d, address)
	}
	f.complete(ctx, &d)
	s.Document = &d
	return judged(s)
}

func judged(s metrics.Snapshot) metrics.Snapshot {
	s.Checks = readiness(s)
	return s
}

// loopAge is since the loop last moved, below 0 while there is none.
func (f *faces) loopAge() time.Duration {
	if box, _, _ := f.loop(); box == nil {
		return -1
	}
	return f.clock.Boot() - time.Duration(f.vitals.beat.Load())
}

// aliveness is the check of /healthz. Without an election there is no loop, and
// nothing that could hang.
func aliveness(age time.Duration) metrics.Check {
	c := metrics.Check{Name: "loop"}
	switch {
	case age < 0:
		c.Note = "there is no election here yet"
	case age > freshLoop:
		c.Err = fmt.Sprintf("it has not moved for %.1f s", age.Seconds())
	}
	return c
}

// readiness are the checks of /readyz: the daemon lives, etcd answers it with a
// quorum, the address is where it should be and nowhere else.
func readiness(s metrics.Snapshot) []metrics.Check {
	loop := aliveness(s.LoopAge)
	d := s.Document
	switch {
	case d == nil:
		if loop.Err == "" {
			loop.Err = "it does not answer"
		}
		return []metrics.Check{loop}
	case s.LoopAge < 0 && !d.Configured:
		return []metrics.Check{loop, {Name: "config", Err: d.Reason}}
	case s.LoopAge < 0:
		return []metrics.Check{loop, {Name: "config", Err: d.Self.Reason}}
	}
	checks := []metrics.Check{loop, {Name: "config"}, etcdCheck(d), addressCheck(d), holderCheck(d)}
	if d.Self.Role == status.RoleDrained {
		checks = append(checks, metrics.Check{Name: "drained", Note: d.Self.Reason})
	}
	return checks
}

func etcdCheck(d *status.Document) metrics.Check {
	c := metrics.Check{Name: "etcd"}
	if d.Etcd.State != status.EtcdReady {
		c.Err = "the local member is " + string(d.Etcd.State)
		if d.Etcd.Reason != "" {
			c.Err += ": " + d.Etcd.Reason
		}
	}
	return c
}

func addressCheck(d *status.Document) metrics.Check {
	c := metrics.Check{Name: "address"}
	if len(d.Address.States) == 0 {
		c.Err = "the kernel did not tell where it is"
		return c
	}
	holds := d.HoldsHere()
	for _, a := range d.Address.States {
		switch {
		case a.Permanent:
			c.Err = fmt.Sprintf("%s is on %s for ever: something other than havip set it", a.Address, d.Address.Link)
		case holds && !a.Present:
			c.Err = fmt.Sprintf("%s is on no link, and this node holds it", a.Address)
		case holds && d.Address.LinkReason != "":
			c.Err = d.Address.LinkReason
		case !holds && a.Present:
			c.Err = fmt.Sprintf("%s is on %s, and this node does not hold it", a.Address, d.Address.Link)
		}
	}
	if c.Err == "" && holds {
		c.Note = "on " + d.Address.Link
	}
	return c
}

func holderCheck(d *status.Document) metrics.Check {
	if d.IsHeld() {
		return metrics.Check{Name: "holder", Note: d.Holder.Node}
	}
	return metrics.Check{Name: "holder", Err: d.Reason}
}

// public adds what everybody may ask who reaches the daemon: read, and no more.
func (f *faces) public(mux *http.ServeMux) {
	for path, serve := range map[string]http.HandlerFunc{status.PathMetrics: f.metrics, status.PathHealthz: f.healthz, status.PathReadyz: f.readyz} {
		mux.HandleFunc("GET "+path, serve)
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", http.MethodGet)
			status.WriteFailure(w, http.StatusMethodNotAllowed, fmt.Sprintf("%s does not take %s", path, r.Method), "")
		})
	}
}

func (f *faces) metrics(w http.ResponseWriter, r *http.Request) {
	s, err := f.see(r.Context())
	if err != nil {
		return // nobody is there any more
	}
	if s.err != nil {
		http.Error(w, s.err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", metrics.ContentType)
	_, _ = w.Write(s.scrape)
}

// healthz asks nobody: what it must tell is whether the loop hangs.
func (f *faces) healthz(w http.ResponseWriter, r *http.Request) {
	writeChecks(w, r, "healthz", []metrics.Check{aliveness(f.loopAge())})
}

func (f *faces) readyz(w http.ResponseWriter, r *http.Request) {
	s, err := f.see(r.Context())
	if err != nil {
		return
	}
	writeChecks(w, r, "readyz", s.checks)
}

// writeChecks answers as Kubernetes' own components do: 200 "ok", or 503 and what
// fails; every check with ?verbose.
func writeChecks(w http.ResponseWriter, r *http.Request, name string, checks []metrics.Check) {
	var b strings.Builder
	verbose, failed := r.URL.Query().Has("verbose"), false
	for _, c := range checks {
		switch {
		case c.Err != "":
			failed = true
			fmt.Fprintf(&b, "[-]%s failed: %s\n", c.Name, c.Err)
		case !verbose:
		case c.Note != "":
			fmt.Fprintf(&b, "[+]%s ok: %s\n", c.Name, c.Note)
		default:
			fmt.Fprintf(&b, "[+]%s ok\n", c.Name)
		}
	}
	code, last := http.StatusOK, "ok\n"
	switch {
	case failed:
		code, last = http.StatusServiceUnavailable, name+" check failed\n"
	case verbose:
		last = name + " check passed\n"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(b.String() + last))
}
