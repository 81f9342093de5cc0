package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"havip/configs"
	"havip/daemon/status"
	"havip/election"
)

const (
	// claimFor is how long a claim lasts without being renewed: long enough for a
	// restart of kubeadm init, short enough to be waited out.
	claimFor = time.Minute

	// forcedFor is how long a claim by force lasts: an operator has something else
	// to do meanwhile than to renew it.
	forcedFor = time.Hour

	// The look at the wire before a claim: three questions, a second apart, as RFC
	// 5227 section 2.1.1 has it. election.ClaimFacts says what it must find.
	claimLooks     = 3
	claimLookPause = time.Second

	// A run of init that finds etcd up waits this long for the election, and asks
	// so often.
	electionTakes = 10 * time.Second
	electionPause = 200 * time.Millisecond

	// portTimeout bounds asking one port of another master.
	portTimeout = time.Second

	// neighbourPause is between two questions to the link's neighbours.
	neighbourPause = 500 * time.Millisecond

	// etcdData is there on a node on which kubeadm has ever started a stacked
	// member, unless its data was put elsewhere; then the manifest tells.
	etcdData = "/var/lib/etcd/member"
)

// claimFile remembers a claim across restarts and reboots. One that the election
// has taken over is never begun again.
type claimFile struct {
	Run   string            `json:"run"`
	State status.ClaimState `json:"state"` // held, handed or ended
	At    time.Time         `json:"at"`
	Why   string            `json:"why,omitempty"` // by force: what the operator said
}

func (f *faces) claimPath() string { return filepath.Join(f.stateDir, "claim.json") }

// loadClaim returns the zero value if there never was one.
func (f *faces) loadClaim() (claimFile, error) {
	var c claimFile
	b, err := os.ReadFile(f.claimPath())
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read claim: %w", err)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("read claim %s: %w: the file is damaged: move it away, init then judges by what else is on this node", f.claimPath(), err)
	}
	return c, nil
}

// saveClaim returns when it is on the disk: what is allowed after it hangs on it.
func (f *faces) saveClaim(run string, s status.ClaimState, why string) error {
	c := claimFile{Run: run, State: s, At: f.clock.Wall().UTC().Truncate(time.Second), Why: why}
	if err := os.MkdirAll(f.stateDir, 0o755); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	if err := replaceFile(f.claimPath(), c, (*os.File).Sync); err != nil {
		return err
	}
	return syncDir(f.stateDir)
}

// claimGoesOn: may a process go on with the claim that the one before it left in the
// run directory? That may say so still after init was told that it is over, and others
// have joined since: what is said there is not waited for.
func (f *faces) claimGoesOn() bool {
	file, err := f.loadClaim()
	if err != nil {
		f.log.Warn("no claim is adopted", "err", err)
	}
	return err == nil && file.State == status.ClaimHeld
}

// claimStanding is where this node stands, by the loop's word.
type claimStanding struct {
	role   election.Role
	left   time.Duration // of a claim
	record bool          // etcd answers with a quorum here
	aside  bool
	looks  time.Duration // the clock, now
}

func (l *loop) claimStanding() claimStanding {
	v, now := l.machine.View(), l.clock.Boot()
	s := claimStanding{role: v.Role, record: v.Etcd.Local, aside: v.Role == election.Drained, looks: now}
	if v.Claim > 0 {
		s.left = v.Claim - now
	}
	return s
}

func (f *faces) standing(ctx context.Context, box *mailbox) (claimStanding, error) {
	q := standing{make(chan claimStanding, 1)}
	box.put(q)
	select {
	case s := <-q.answer:
		return s, nil
	case <-ctx.Done():
		return claimStanding{}, ctx.Err()
	case <-time.After(commandTimeout):
		return claimStanding{}, errors.New("the daemon's loop does not answer")
	}
}

// claimState answers GET.
func (f *faces) claimState(w http.ResponseWriter, r *http.Request) {
	f.answerClaim(w, r, f.claimNow)
}

func (f *faces) claim(w http.ResponseWriter, r *http.Request) {
	var req status.ClaimRequest
	if !readBody(w, r, &req) {
		return
	}
	switch {
	case req.Run == "" && !req.Check:
		status.WriteFailure(w, http.StatusBadRequest, "run: is missing", "havipctl init names it")
		return
	case req.Force && req.Why == "":
		status.WriteFailure(w, http.StatusBadRequest, "why: is missing", "a claim by force is kept with its reason")
		return
	}
	f.answerClaim(w, r, func(ctx context.Context, box *mailbox) (status.Claim, error) { return f.askClaim(ctx, box, req) })
}

func (f *faces) claimEnd(w http.ResponseWriter, r *http.Request) {
	var req status.ClaimEnd
	if !readBody(w, r, &req) {
		return
	}
	f.answerClaim(w, r, func(ctx context.Context, box *mailbox) (status.Claim, error) { return f.endClaim(ctx, box, req.Run) })
}

// answerClaim lets one request at a time have its way with the claim.
func (f *faces) answerClaim(w http.ResponseWriter, r *http.Request, do func(context.Context, *mailbox) (status.Claim, error)) {
	box, _, _ := f.loop()
	if box == nil {
		status.WriteFailure(w, http.StatusConflict, notRunning, notRunningHint)
		return
	}
	f.claiming <- struct{}{}
	defer func() { <-f.claiming }()
	c, err := do(r.Context(), box)
	if err != nil {
		status.WriteFailure(w, http.StatusServiceUnavailable, err.Error(), "journalctl -u havipd")
		return
	}
	c.Schema = status.Schema
	if c.Findings == nil {
		c.Findings = []status.ClaimFinding{}
	}
	status.WriteAnswer(w, c)
}

// claimNow says how the claim stands. What the election has taken over is
// written down before anybody is told, since other nodes may join from then on.
func (f *faces) claimNow(ctx context.Context, box *mailbox) (status.Claim, error) {
	file, err := f.loadClaim()
	if err != nil {
		return status.Claim{}, err
	}
	s, err := f.standing(ctx, box)
	if err != nil {
		return status.Claim{}, err
	}
	c := status.Claim{State: file.State, Run: file.Run}
	switch {
	case file.Run == "":
		c.State = status.ClaimNone
	case file.State == status.ClaimHanded:
	case s.role == election.Holder: // also if the claim had ended before
		c.State = status.ClaimHanded
		return c, f.saveClaim(file.Run, status.ClaimHanded, file.Why)
	case file.State != status.ClaimHeld:
	case s.role == election.Claimant:
		c.LeftMS = s.left.Milliseconds()
	default:
		c.State = status.ClaimExpired
	}
	return c, nil
}

// claimOver writes down what the election has taken over, also where no init is left
// that would ask: its work can be finished by hand, and the run that was cut off has
// no right to begin anew then.
func (f *faces) claimOver(box *mailbox) {
	f.claiming <- struct{}{}
	defer func() { <-f.claiming }()
	if _, err := f.claimNow(context.Background(), box); err != nil {
		f.log.Warn("write down that the claim is over", "err", err)
	}
}

// askClaim begins or renews a claim, or says why not.
func (f *faces) askClaim(ctx context.Context, box *mailbox, req status.ClaimRequest) (status.Claim, error) {
	now, err := f.claimNow(ctx, box)
	if err != nil {
		return status.Claim{}, err
	}
	switch {
	case now.State == status.ClaimHanded && now.Run == req.Run:
		return now, nil
	case now.State == status.ClaimHeld && now.Run != req.Run:
		return refused(now, "VIP", "another run of havipctl init has the claim", "wait for it, or end it: havipctl release"), nil
	case now.State == status.ClaimHeld && !req.Check:
		return f.tellClaim(ctx, box, req, 0)
	case now.State == status.ClaimHeld:
		return now, nil
	}
	before, err := f.standing(ctx, box)
	if err != nil {
		return status.Claim{}, err
	}
	if before.role == election.Holder {
		return refused(now, "VIP", "the election gave this node the VIP already", "havipctl status"), nil
	}
	goesOn := now.Run == req.Run && now.Run != ""
	if goesOn && before.record { // its etcd has come up since
		if now, err := f.awaitElection(ctx, box); err != nil || now.State == status.ClaimHanded {
			return now, err
		}
	}
	facts, findings := f.look(ctx)
	after, err := f.standing(ctx, box)
	if err != nil {
		return status.Claim{}, err
	}
	if goesOn && after.record && !before.record { // or during the look: at boot it takes as long
		if now, err := f.awaitElection(ctx, box); err != nil || now.State == status.ClaimHanded {
			return now, err
		}
	}
	facts.Record, facts.Aside = before.record || after.record, before.aside || after.aside
	facts.Force = req.Force
	facts.Unfinished = now.Run == req.Run && now.Run != "" && now.State != status.ClaimHanded
	seen := findings
	for _, why := range facts.Refusals() {
		if !toldBy(seen, why) {
			findings = append(findings, finding(why))
		}
	}
	if len(facts.Refusals()) > 0 || req.Check {
		now.State = status.ClaimNone
		now.Findings = findings
		return now, nil
	}
	if err := f.saveClaim(req.Run, status.ClaimHeld, req.Why); err != nil {
		return status.Claim{}, err
	}
	if req.Force {
		f.log.Warn("the VIP is claimed by force", "run", req.Run, "why", req.Why)
	}
	c, err := f.tellClaim(ctx, box, req, after.looks)
	c.Findings = append(findings, c.Findings...)
	return c, err
}

// awaitElection waits for the election as long as it takes where nobody holds the
// record: takeover, and a look at the wire.
func (f *faces) awaitElection(ctx context.Context, box *mailbox) (status.Claim, error) {
	end := time.After(electionTakes)
	for {
		now, err := f.claimNow(ctx, box)
		if err != nil || now.State == status.ClaimHanded {
			return now, err
		}
		select {
		case <-ctx.Done():
			return now, ctx.Err()
		case <-end:
			return now, nil
		case <-time.After(electionPause):
		}
	}
}

func refused(c status.Claim, subject, what, fix string) status.Claim {
	c.State, c.LeftMS = status.ClaimNone, 0
	c.Findings = []status.ClaimFinding{{Subject: subject, What: what, Fix: fix, Blocks: true}}
	return c
}

// tellClaim has the machine begin or renew.
func (f *faces) tellClaim(ctx context.Context, box *mailbox, req status.ClaimRequest, looked time.Duration) (status.Claim, error) {
	e := election.Claim{For: claimFor, Looked: looked, Founding: !req.Force, Why: "claimed the address for havipctl init; there is no etcd yet"}
	if req.Force {
		e.For, e.Why = forcedFor, status.ForcedClaim+": "+req.Why
	}
	done := send(box, command{make: func(t uint64) election.Event { e.Token = t; return e }})
	select {
	case d := <-done:
		if d.Err != "" {
			return refused(status.Claim{Run: req.Run}, "VIP", d.Err, "havipctl status"), nil
		}
	case <-ctx.Done():
		return status.Claim{}, ctx.Err()
	case <-time.After(commandTimeout):
		return status.Claim{}, errors.New("the daemon's loop does not answer")
	}
	return f.claimNow(ctx, box)
}

func (f *faces) endClaim(ctx context.Context, box *mailbox, run string) (status.Claim, error) {
	now, err := f.claimNow(ctx, box)
	if err != nil || now.Run != run || now.State == status.ClaimHanded {
		return now, err
	}
	done := send(box, command{make: func(t uint64) election.Event {
		return election.Unclaim{Token: t, Reason: "given back by havipctl"}
	}})
	select {
	case <-done:
	case <-ctx.Done():
		return status.Claim{}, ctx.Err()
	}
	now.State, now.LeftMS = status.ClaimEnded, 0
	return now, f.saveClaim(run, status.ClaimEnded, "")
}

// toldBy reports whether what was seen says by itself why it refuses: a link that
// cannot be asked is neither somebody's answer nor everybody's silence.
func toldBy(seen []status.ClaimFinding, why election.ClaimRefusal) bool {
	subject := map[election.ClaimRefusal]string{election.RefusedAnswered: "VIP", election.RefusedSilence: "link"}[why]
	return slices.ContainsFunc(seen, func(x status.ClaimFinding) bool { return x.Blocks && x.Subject == subject })
}

// finding puts a refusal into words.
func finding(why election.ClaimRefusal) status.ClaimFinding {
	words := map[election.ClaimRefusal]status.ClaimFinding{
		election.RefusedAside:    {Subject: "VIP", What: "this node is drained or goes down", Fix: "havipctl undrain"},
		election.RefusedRecord:   {Subject: "etcd", What: "etcd answers here: the election decides who has the VIP", Fix: "havipctl status"},
		election.RefusedAnswered: {Subject: "VIP", What: "somebody uses the VIP already, or asks for it at this moment", Fix: "free the address, or let the other init go on"},
		election.RefusedSilence:  {Subject: "link", What: "nobody on the link answers, so nobody's silence proves anything", Fix: "check cable, switch port and VLAN; start another master or a gateway on the link"},
		election.RefusedMember:   {Subject: "etcd", What: "this node has been part of a cluster", Fix: "join it to its cluster (havipctl join), or wipe it (havipctl reset)"},
		election.RefusedMasterUp: {Subject: "masters", What: "another master runs already: there is a cluster, or one is being made", Fix: "havipctl join"},
	}
	w := words[why]
	w.Blocks = true
	return w
}

// look gathers what can be seen from this node: on the wire, at the other
// masters' ports, and on the disk.
func (f *faces) look(ctx context.Context) (election.ClaimFacts, []status.ClaimFinding) {
	f.mu.Lock()
	address, cfg, self := f.address, f.cfg, f.self
	f.mu.Unlock()
	var (
		facts election.ClaimFacts
		wire  []status.ClaimFinding
		links []status.ClaimFinding
		ports []status.ClaimFinding
		wg    sync.WaitGroup
	)
	wg.Go(func() { facts.Answered, wire = lookAtWire(ctx, address, cfg.VIP.Addresses) })
	wg.Go(func() { facts.Passing, links = lookAtNeighbours(ctx, address, cfg, self) })
	wg.Go(func() { facts.MasterUp, ports = f.lookAtMasters(ctx, cfg, self) })
	wg.Wait()
	facts.Member = there(f.etcdData) || there(cfg.Etcd.Manifest)
	return facts, append(append(wire, links...), ports...)
}

// lookAtWire: what cannot be asked counts as answered.
func lookAtWire(ctx context.Context, a Address, vips []netip.Addr) (bool, []status.ClaimFinding) {
	mac, answered, err := a.Probe(ctx, claimLooks, claimLookPause)
	switch {
	case err != nil:
		return true, []status.ClaimFinding{{Subject: "VIP", What: "the link cannot be asked for it: " + err.Error(), Fix: "havipctl status", Blocks: true}}
	case answered:
		return true, []status.ClaimFinding{{Subject: "VIP", What: fmt.Sprintf("%v is answered, or asked for, by %v", vips, mac)}}
	}
	return false, nil
}

func lookAtNeighbours(ctx context.Context, a Address, cfg *configs.Config, self configs.Master) (bool, []status.ClaimFinding) {
	var others []netip.Addr
	for _, m := range cfg.Masters {
		if m.Name != self.Name {
			others = append(others, m.Address)
		}
	}
	ok, err := a.Passes(ctx, others, claimLooks, neighbourPause)
	if err != nil {
		return false, []status.ClaimFinding{{Subject: "link", What: err.Error(), Fix: "havipctl status", Blocks: true}}
	}
	return ok, nil
}

// peerPort is etcd's for its peers in kubeadm's manifest.
const peerPort = "2380"

// lookAtMasters asks at the ports by which a master shows that it runs: etcd's for its
// peers, which is open at its advertise address alone, and the API server's.
func (f *faces) lookAtMasters(ctx context.Context, cfg *configs.Config, self configs.Master) (up bool, findings []status.ClaimFinding) {
	_, port := cfg.Endpoint()
	var mu sync.Mutex
	var wg sync.WaitGroup
	ask := func(m configs.Master, a netip.Addr, port string) {
		open, text := f.knock(ctx, net.JoinHostPort(a.String(), port))
		if a != m.Address {
			port += " of " + a.String()
		}
		mu.Lock()
		defer mu.Unlock()
		up = up || open
		findings = append(findings, status.ClaimFinding{Subject: m.Name, What: "port " + port + " " + text})
	}
	for _, m := range cfg.Masters {
		if m.Name == self.Name {
			continue
		}
		for _, a := range slices.Compact([]netip.Addr{m.Address, cfg.Advertise(m)}) {
			wg.Go(func() { ask(m, a, peerPort) })
			wg.Go(func() { ask(m, a, strconv.Itoa(port)) })
		}
	}
	wg.Wait()
	return up, findings
}

// knock reports whether somebody accepts connections there.
func knock(ctx context.Context, address string) (bool, string) {
	ctx, cancel := context.WithTimeout(ctx, portTimeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	switch {
	case err == nil:
		c.Close()
		return true, "accepts connections"
	case errors.Is(err, unix.ECONNREFUSED):
		return false, "is closed"
	default:
		return false, "is silent"
	}
}

// there: what cannot be looked at counts as there.
func there(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
