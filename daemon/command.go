package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"havip/configs"
	"havip/daemon/status"
	"havip/election"
	"havip/vip"
)

// command gives an operator's command to the machine under a fresh token.
func (l *loop) command(c command) {
	l.token++
	l.waiting[l.token] = c.answer
	if c.drain != nil {
		l.drain = *c.drain
		l.waiting[l.token] = func(d election.Done) {
			if d.Changed {
				l.history.drained(l.drain != nil)
			}
			c.answer(d)
		}
	}
	l.step(c.make(l.token))
}

// commandTimeout bounds how long a client waits for its command to be carried
// out; the command itself goes on. It ends before status.DefaultTimeout, so that
// the client learns what is known.
const commandTimeout = 8 * time.Second

// readBackTimeout bounds reading the addresses back for the status: a kernel
// that hangs must not hide everything else.
const readBackTimeout = time.Second

// faces serves the control socket. What it knows it asks the loop; while there
// is no loop yet (no [vip], a broken file, no address of this node) it shows the
// document it was given instead.
type faces struct {
	stateDir string
	clock    Clock
	log      *slog.Logger
	vitals   *vitals
	ask      func(ctx context.Context, host string) (status.Member, string)     // the etcd member of a master that says nothing
	knock    func(ctx context.Context, address string) (open bool, text string) // at a master's port
	etcdData string                                                             // path that is there on a node that was a member
	reading  chan struct{}                                                      // has a token while the kernel is asked for the addresses
	draining sync.Mutex                                                         // file and machine hear of drains in the same order
	claiming chan struct{}                                                      // has a token while one has its way with the claim
	removing sync.Mutex                                                         // of etcd's members: one look, one removal
	history  atomic.Pointer[historian]                                          // nil: no loop

	heartbeats atomic.Pointer[heartbeats] // nil: no loop, or they are off

	mu      sync.Mutex
	box     *mailbox        // nil: no loop
	address Address         // beside box
	cfg     *configs.Config // beside box
	self    configs.Master  // beside box
	cluster Cluster         // beside box
	process string          // beside box
	idle    status.Document // without a loop
}

func newFaces(stateDir string, c Clock, log *slog.Logger) *faces {
	return &faces{stateDir: stateDir, clock: c, log: log, vitals: newVitals(), ask: dialMember, knock: knock, etcdData: etcdData, reading: make(chan struct{}, 1), claiming: make(chan struct{}, 1)}
}

func (f *faces) setIdle(d status.Document) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.box, f.idle = nil, d
}

func (f *faces) setLoop(box *mailbox, a Address, cfg *configs.Config, self configs.Master) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.box, f.address, f.cfg, f.self = box, a, cfg, self
	f.vitals.beat.Store(int64(f.clock.Boot())) // it is about to move
}

// loop returns the loop's mailbox, or nil and the document that stands in for
// it, made now.
func (f *faces) loop() (*mailbox, Address, status.Document) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.idle
	d.Time, d.Warnings, d.Masters = f.clock.Wall(), slices.Clone(d.Warnings), slices.Clone(d.Masters)
	return f.box, f.address, d
}

func (f *faces) knows(master string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.cfg.Masters, func(m configs.Master) bool { return m.Name == master })
}

func (f *faces) handler() http.Handler {
	mux := http.NewServeMux()
	f.public(mux)
	mux.HandleFunc("GET "+status.PathStatus, f.status)
	mux.HandleFunc("GET "+status.PathHistory, f.tellHistory)
	mux.HandleFunc("POST "+status.PathHandover, f.root(f.handover))
	mux.HandleFunc("POST "+status.PathDrain, f.root(f.drainOn))
	mux.HandleFunc("POST "+status.PathUndrain, f.root(f.drainOff))
	mux.HandleFunc("POST "+status.PathShutdown, f.root(f.shutdown))
	mux.HandleFunc("POST "+status.PathRelease, f.root(f.release))
	mux.HandleFunc("POST "+status.PathAdopt, f.root(f.adopt))
	mux.HandleFunc("POST "+status.PathRotate, f.root(f.rotateKey))
	mux.HandleFunc("GET "+status.PathClaim, f.claimState)
	mux.HandleFunc("POST "+status.PathClaim, f.root(f.claim))
	mux.HandleFunc("POST "+status.PathClaimEnd, f.root(f.claimEnd))
	mux.HandleFunc("GET "+status.PathFormer, f.root(f.formerLook))
	mux.HandleFunc("POST "+status.PathFormer, f.root(f.formerRemove))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		for _, p := range []string{status.PathStatus, status.PathHistory, status.PathHandover, status.PathDrain, status.PathUndrain, status.PathShutdown, status.PathRelease, status.PathAdopt, status.PathRotate, status.PathClaim, status.PathClaimEnd, status.PathFormer} {
			if r.URL.Path == p {
				status.WriteFailure(w, http.StatusMethodNotAllowed, fmt.Sprintf("%s does not take %s", p, r.Method), "")
				return
			}
		}
		status.WriteFailure(w, http.StatusNotFound, "no such path: "+r.URL.Path, "havipctl and havipd may be of different versions")
	})
	return mux
}

func (f *faces) status(w http.ResponseWriter, r *http.Request) {
	wait, timeout, err := status.ReadWait(r.URL.Query())
	if err != nil {
		status.WriteFailure(w, http.StatusBadRequest, err.Error(), "")
		return
	}
	box, address, d := f.loop()
	if box != nil {
		q := &query{held: wait, until: f.clock.Boot() + timeout, gone: r.Context(), answer: make(chan status.Document, 1)}
		box.put(q)
		select {
		case d = <-q.answer:
			f.readBack(r.Context(), &d, address)
		case <-r.Context().Done():
			return
		case <-time.After(timeout + commandTimeout):
			status.WriteFailure(w, http.StatusServiceUnavailable, "the daemon's loop does not answer", "journalctl -u havipd; systemctl restart havipd")
			return
		}
	}
	f.complete(r.Context(), &d)
	status.WriteAnswer(w, d)
}

// readBack reads the addresses from the kernel, whatever anybody believes. Only
// one call is under way at a time, since it may never return.
func (f *faces) readBack(ctx context.Context, d *status.Document, a Address) {
	ctx, cancel := context.WithTimeout(ctx, readBackTimeout)
	defer cancel()
	hangs := fmt.Sprintf("the addresses of this node are not known: the kernel did not tell them within %v", readBackTimeout)
	select {
	case f.reading <- struct{}{}:
	case <-ctx.Done():
		d.Warnings = append(d.Warnings, hangs)
		return
	}
	got := make(chan func(), 1)
	go func() {
		found, err := a.Found()
		foreign := foreignOf(a, d.Self.Adopting)
		<-f.reading
		got <- func() {
			if err != nil {
				d.Warnings = append(d.Warnings, "the addresses of this node are not known: "+err.Error())
				return
			}
			d.Address.States = states(d.VIP, found)
			d.Address.Foreign = foreign
		}
	}()
	select {
	case fill := <-got:
		fill()
	case <-ctx.Done():
		d.Warnings = append(d.Warnings, hangs)
	}
}

// foreignOf lists what another program has set, in a migration.
func foreignOf(a Address, stage status.AdoptStage) []string {
	if stage == status.AdoptNone {
		return nil
	}
	found, _ := a.Foreign() // that it cannot be read is said by the other reading
	var list []string
	for _, x := range found {
		list = append(list, fmt.Sprintf("%v/%d on %s", x.Addr, x.Bits, x.Link))
	}
	return list
}

func states(vips []netip.Addr, found []vip.Found) []status.AddressState {
	var list []status.AddressState
	for _, ip := range vips {
		s := status.AddressState{Address: ip}
		for _, x := range found {
			if x.Addr != ip {
				continue
			}
			s.Present, s.Permanent = true, x.Permanent
			if !x.Permanent {
				s.LifetimeLeftMS = ms(time.Duration(x.Remaining) * time.Second)
			}
		}
		list = append(list, s)
	}
	return list
}

// askMembers asks the etcd members of masters that say nothing themselves, and
// counts who is healthy.
func (f *faces) askMembers(ctx context.Context, d *status.Document) {
	var wg sync.WaitGroup
	for i := range d.Masters {
		m := &d.Masters[i]
		if m.Self || m.Etcd != status.MemberUnknown {
			continue
		}
		wg.Go(func() { m.Etcd, m.EtcdDetail = f.askMember(ctx, m) })
	}
	wg.Wait()
	for _, m := range d.Masters {
		if m.Etcd == status.MemberLeader || m.Etcd == status.MemberFollower {
			d.Etcd.Healthy++
		}
	}
}

const (
	// memberPort is etcd's client port in kubeadm's manifest.
	memberPort = "2379"
	// lookTimeout bounds each of two questions: a status is not kept waiting for who
	// does not answer.
	lookTimeout = 500 * time.Millisecond
)

// askMember asks the member of another master, where etcd is reached there: whether
// it accepts connections, and then what it is.
func (f *faces) askMember(ctx context.Context, m *status.Master) (status.Member, string) {
	f.mu.Lock()
	cfg, cluster := f.cfg, f.cluster
	f.mu.Unlock()
	if cfg == nil || cluster == nil {
		return f.ask(ctx, m.Address.String())
	}
	c, _ := cfg.Master(m.Name)
	state, why := f.ask(ctx, cfg.Advertise(c).String())
	if state != status.MemberUnknown {
		return state, why
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	says, err := cluster.Look(ctx, []string{memberURL(cfg, c)})
	switch {
	case err != nil:
		return state, why
	case says.LeaderID == 0:
		return status.MemberNoQuorum, ""
	case says.Learner:
		return status.MemberLearner, ""
	case says.Leader:
		return status.MemberLeader, ""
	}
	return status.MemberFollower, ""
}

func dialMember(ctx context.Context, host string) (status.Member, string) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(host, memberPort))
	if err != nil {
		if ctx.Err() != nil {
			return status.MemberUnreachable, "no answer"
		}
		return status.MemberUnreachable, plainError(err).Error()
	}
	c.Close()
	return status.MemberUnknown, "accepts connections, its havipd says nothing"
}

func (f *faces) tellHistory(w http.ResponseWriter, r *http.Request) {
	since, limit, err := status.ReadHistory(r.URL.Query(), f.clock.Wall())
	if err != nil {
		status.WriteFailure(w, http.StatusBadRequest, err.Error(), "")
		return
	}
	h := f.history.Load()
	if h == nil {
		status.WriteFailure(w, http.StatusConflict, notRunning, notRunningHint)
		return
	}
	f.mu.Lock()
	cfg := f.cfg
	f.mu.Unlock()
	d := h.tell(r.Context())
	d.VIP = cfg.VIP.Addresses
	d.Cut(since, limit)
	status.WriteAnswer(w, d)
}

func (f *faces) handover(w http.ResponseWriter, r *http.Request) {
	var req status.HandoverRequest
	if !readBody(w, r, &req) {
		return
	}
	if box, _, _ := f.loop(); box != nil && req.To != "" && !f.knows(req.To) {
		status.WriteFailure(w, http.StatusBadRequest, "no master is called "+req.To, "havipctl status lists them")
		return
	}
	f.carryOut(w, r, command{make: func(t uint64) election.Event { return election.HandOver{Token: t, To: req.To} }})
}

// shutdown is for a node without logind; nothing of it is kept.
func (f *faces) shutdown(w http.ResponseWriter, r *http.Request) {
	f.carryOut(w, r, command{make: func(t uint64) election.Event { return election.Shutdown{Token: t, On: true} }})
}

func (f *faces) release(w http.ResponseWriter, r *http.Request) {
	var req status.ReleaseRequest
	if !readBody(w, r, &req) {
		return
	}
	f.carryOut(w, r, command{make: func(t uint64) election.Event { return election.Release{Token: t, Force: req.Force} }})
}

func (f *faces) drainOn(w http.ResponseWriter, r *http.Request) {
	m := &drainMark{By: "root", At: f.clock.Wall().UTC().Truncate(time.Second)}
	if was, err := loadDrained(f.stateDir); err == nil && was != nil {
		m = was // who asks again changes nothing
	}
	f.setDrained(w, r, m)
}

func (f *faces) drainOff(w http.ResponseWriter, r *http.Request) { f.setDrained(w, r, nil) }

// setDrained writes the mark first: what was promised survives a crash.
func (f *faces) setDrained(w http.ResponseWriter, r *http.Request, m *drainMark) {
	box, address, _ := f.loop()
	if box == nil {
		status.WriteFailure(w, http.StatusConflict, notRunning, notRunningHint)
		return
	}
	done, err := f.drain(r.Context(), box, address, m)
	switch {
	case errors.Is(err, errKeeperOn), errors.Is(err, errAnswered):
		status.WriteFailure(w, http.StatusConflict, err.Error(), "havipctl adopt --undo")
	case err != nil:
		status.WriteFailure(w, http.StatusInternalServerError, err.Error(), "")
	default:
		awaitDone(w, r, done)
	}
}

func (f *faces) drain(ctx context.Context, box *mailbox, a Address, m *drainMark) (<-chan election.Done, error) {
	f.draining.Lock()
	defer f.draining.Unlock()
	var over *adoptIs
	if m == nil {
		var err error
		if over, err = f.leaveAdopt(ctx, box, a); err != nil {
			return nil, err
		}
	}
	if err := saveDrained(f.stateDir, m); err != nil {
		return nil, err
	}
	done := send(box, command{drain: &m, make: func(t uint64) election.Event { return election.SetDrained{Token: t, On: m != nil} }})
	if over != nil {
		box.put(*over)
	}
	return done, nil
}

const (
	notRunning     = "this node takes no part in an election yet"
	notRunningHint = "havipctl status says what is missing; a file that was changed is read by: systemctl restart havipd"
)

func readBody(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := status.ReadRequest(r, v); err != nil {
		status.WriteFailure(w, http.StatusBadRequest, err.Error(), "")
		return false
	}
	return true
}

func (f *faces) carryOut(w http.ResponseWriter, r *http.Request, c command) {
	box, _, _ := f.loop()
	if box == nil {
		status.WriteFailure(w, http.StatusConflict, notRunning, notRunningHint)
		return
	}
	awaitDone(w, r, send(box, c))
}

// send gives the loop a command; the answer comes once it is carried out.
func send(box *mailbox, c command) <-chan election.Done {
	done := make(chan election.Done, 1)
	c.answer = func(d election.Done) { done <- d }
	box.put(c)
	return done
}

func awaitDone(w http.ResponseWriter, r *http.Request, done <-chan election.Done) {
	select {
	case d := <-done:
		answer(w, d)
	case <-r.Context().Done():
	case <-time.After(commandTimeout):
		status.WriteFailure(w, http.StatusGatewayTimeout, "it is under way, its outcome is not known yet", "havipctl status")
	}
}

func answer(w http.ResponseWriter, d election.Done) {
	switch {
	case d.Err == "":
		status.WriteAnswer(w, status.Change{Schema: status.Schema, Changed: d.Changed, Message: d.Message})
	case strings.HasPrefix(d.Err, "the record cannot be replaced"):
		status.WriteFailure(w, http.StatusServiceUnavailable, d.Err, "havipctl status")
	case strings.HasPrefix(d.Err, "etcd did not confirm it"):
		status.WriteFailure(w, http.StatusGatewayTimeout, d.Err, "havipctl status")
	default:
		status.WriteFailure(w, http.StatusConflict, d.Err, hintFor(d.Err))
	}
}

func hintFor(problem string) string {
	if strings.Contains(problem, "does not hold the address, ") && !strings.Contains(problem, "the record names it") {
		return "run it on the node that does"
	}
	return "havipctl status"
}
