package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

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
	}
	l.step(c.make(l.token))
}

// commandTimeout bounds how long a client waits for its command to be carried
// out; the command itself goes on.
const commandTimeout = 10 * time.Second

// faces serves the control socket. What it knows it asks the loop; while there
// is no loop yet (no [vip], a broken file, no address of this node) it shows the
// document it was given instead.
type faces struct {
	stateDir string
	clock    Clock

	mu      sync.Mutex
	box     *mailbox        // nil: no loop
	address Address         // beside box
	idle    status.Document // without a loop
}

func (f *faces) setIdle(d status.Document) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.box, f.idle = nil, d
}

func (f *faces) setLoop(box *mailbox, a Address) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.box, f.address = box, a
}

func (f *faces) loop() (*mailbox, Address, status.Document) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.box, f.address, f.idle
}

func (f *faces) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+status.PathStatus, f.status)
	mux.HandleFunc("POST "+status.PathHandover, f.root(f.handover))
	mux.HandleFunc("POST "+status.PathDrain, f.root(f.drainOn))
	mux.HandleFunc("POST "+status.PathUndrain, f.root(f.drainOff))
	mux.HandleFunc("POST "+status.PathRelease, f.root(f.release))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		for _, p := range []string{status.PathStatus, status.PathHandover, status.PathDrain, status.PathUndrain, status.PathRelease} {
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
		q := &query{held: wait, until: f.clock.Boot() + timeout, answer: make(chan snapshot, 1)}
		box.put(q)
		select {
		case s := <-q.answer:
			d = s.doc
			d.Address.States = f.states(d, address)
		case <-r.Context().Done():
			return
		case <-time.After(timeout + commandTimeout):
			status.WriteFailure(w, http.StatusServiceUnavailable, "the daemon's loop does not answer", "journalctl -u havipd; systemctl restart havipd")
			return
		}
	}
	f.askMembers(r.Context(), &d)
	status.Judge(&d)
	status.WriteAnswer(w, d)
}

// states reads the addresses back from the kernel, whatever anybody believes.
func (f *faces) states(d status.Document, a Address) []status.AddressState {
	found, err := a.Found()
	var list []status.AddressState
	for _, ip := range d.VIP {
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
		if err == nil {
			list = append(list, s)
		}
	}
	return list
}

// askMembers looks whether the etcd members of masters that say nothing accept
// connections, and counts who is healthy.
func (f *faces) askMembers(ctx context.Context, d *status.Document) {
	var wg sync.WaitGroup
	for i := range d.Masters {
		m := &d.Masters[i]
		if m.Self || m.Etcd != status.MemberUnknown {
			continue
		}
		wg.Go(func() { m.Etcd, m.EtcdDetail = dialMember(ctx, m.Address.String()) })
	}
	wg.Wait()
	for _, m := range d.Masters {
		if m.Etcd == status.MemberLeader || m.Etcd == status.MemberFollower {
			d.Etcd.Healthy++
		}
	}
}

// memberPort is etcd's client port in kubeadm's manifest.
const memberPort = "2379"

func dialMember(ctx context.Context, host string) (status.Member, string) {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
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

func (f *faces) handover(w http.ResponseWriter, r *http.Request) {
	var req status.HandoverRequest
	if !readBody(w, r, &req) {
		return
	}
	f.carryOut(w, r, command{make: func(t uint64) election.Event { return election.HandOver{Token: t, To: req.To} }})
}

func (f *faces) release(w http.ResponseWriter, r *http.Request) {
	var req status.ReleaseRequest
	if !readBody(w, r, &req) {
		return
	}
	f.carryOut(w, r, command{make: func(t uint64) election.Event { return election.Release{Token: t, Force: req.Force} }})
}

func (f *faces) drainOn(w http.ResponseWriter, r *http.Request) {
	f.setDrained(w, r, &drainMark{By: "root", At: f.clock.Wall().UTC().Truncate(time.Second)})
}

func (f *faces) drainOff(w http.ResponseWriter, r *http.Request) { f.setDrained(w, r, nil) }

// setDrained writes the mark first: what was promised survives a crash.
func (f *faces) setDrained(w http.ResponseWriter, r *http.Request, m *drainMark) {
	if box, _, _ := f.loop(); box == nil {
		status.WriteFailure(w, http.StatusConflict, notRunning, notRunningHint)
		return
	}
	if err := saveDrained(f.stateDir, m); err != nil {
		status.WriteFailure(w, http.StatusInternalServerError, err.Error(), "")
		return
	}
	f.carryOut(w, r, command{drain: &m, make: func(t uint64) election.Event { return election.SetDrained{Token: t, On: m != nil} }})
}

const (
	notRunning     = "this node takes no part in an election yet"
	notRunningHint = "havipctl status says what is missing"
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
	done := make(chan election.Done, 1)
	c.answer = func(d election.Done) { done <- d }
	box.put(c)
	select {
	case d := <-done:
		answer(w, d)
	case <-r.Context().Done():
	case <-time.After(commandTimeout):
		status.WriteFailure(w, http.StatusGatewayTimeout, "it is under way, its outcome is not known yet", "havipctl status")
	}
}

func answer(w http.ResponseWriter, d election.Done) {
	if d.Err != "" {
		status.WriteFailure(w, http.StatusConflict, d.Err, hintFor(d.Err))
		return
	}
	status.WriteAnswer(w, status.Change{Schema: status.Schema, Changed: d.Changed, Message: d.Message})
}

func hintFor(problem string) string {
	if strings.Contains(problem, "does not hold the address, ") {
		return "run it on the node that does"
	}
	return "havipctl status"
}

type uidKey struct{}

// root lets only uid 0 through, by the credentials the kernel gives the socket.
func (f *faces) root(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if uid, ok := r.Context().Value(uidKey{}).(uint32); !ok || uid != 0 {
			status.WriteFailure(w, http.StatusForbidden, "only root may change anything", "sudo havipctl …")
			return
		}
		next(w, r)
	}
}

func withCredentials(ctx context.Context, c net.Conn) context.Context {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	if ctlErr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); ctlErr != nil || err != nil {
		return ctx
	}
	return context.WithValue(ctx, uidKey{}, cred.Uid)
}

// serve answers on the control socket until ctx ends.
func (f *faces) serve(ctx context.Context, path string) error {
	l, err := listen(path)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler: f.handler(), ConnContext: withCredentials,
		ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10,
	}
	stopped := context.AfterFunc(ctx, func() { srv.Close() })
	defer stopped()
	if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", path, err)
	}
	return nil
}

// listen makes the socket: root and the group havip may open it.
func listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return nil, fmt.Errorf("protect socket: %w", err)
	}
	if g, err := user.LookupGroup("havip"); err == nil {
		if gid, err := strconv.Atoi(g.Gid); err == nil {
			// Without the group only root can ask, which is safe.
			_ = os.Chown(path, 0, gid)
		}
	}
	return l, nil
}

// interface checks: the real parts fit.
var _ Address = (*vip.VIP)(nil)
