package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"havip/daemon/status"
	"havip/election"
	"havip/election/etcd"
	"havip/vip"
)

// bare is n1 before there is any etcd.
func bare(b *bench) *shell {
	n1 := b.shell("n1")
	follow := n1.lock.run
	come := make(chan struct{})
	n1.etcdComes = func() { close(come) }
	n1.lock.run = func(ctx context.Context, sink func(etcd.Event)) error {
		sink(etcd.Status{State: etcd.NotConfigured, Reason: "ca.crt is not there"})
		select {
		case <-ctx.Done():
			return nil
		case <-come:
			return follow(ctx, sink)
		}
	}
	return n1
}

// askClaim makes one request, and lets the time pass that it takes.
func (s *shell) askClaim(method, path, body string) status.Claim {
	s.t.Helper()
	code, answer := s.ask(method, path, body)
	var c status.Claim
	if err := json.Unmarshal(answer, &c); err != nil || code != http.StatusOK {
		s.t.Fatalf("%s %s: %d %s: %v", method, path, code, answer, err)
	}
	return c
}

func (s *shell) claim(run string) status.Claim {
	s.t.Helper()
	return s.askClaim(http.MethodPost, status.PathClaim, fmt.Sprintf(`{"run": %q}`, run))
}

func (s *shell) claimState() status.Claim {
	s.t.Helper()
	return s.askClaim(http.MethodGet, status.PathClaim, "")
}

func blocks(c status.Claim) string {
	var why []string
	for _, f := range c.Findings {
		if f.Blocks {
			why = append(why, f.Subject+": "+f.What)
		}
	}
	return strings.Join(why, "; ")
}

// The address is there from the claim on, until long after etcd has taken over.
func TestClaimUntilTheElection(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := bare(b).start()
		b.pass(time.Second)
		if c := n1.claimState(); c.State != status.ClaimNone {
			t.Errorf("before: %+v", c)
		}
		c := n1.claim("r1")
		if c.State != status.ClaimHeld || c.Run != "r1" || c.LeftMS != claimFor.Milliseconds() {
			t.Fatalf("claimed: %+v", c)
		}
		b.pass(setTakes)
		if !n1.kernel.has() {
			t.Fatal("the address is not there")
		}
		if d := n1.document(); d.Self.Role != status.RoleClaimant || d.Holder == nil || d.Holder.Node != "n1" {
			t.Errorf("status: %+v, %+v", d.Self, d.Holder)
		}
		for range 5 {
			b.pass(claimFor / 3)
			if c := n1.claim("r1"); c.State != status.ClaimHeld {
				t.Fatalf("renewed: %+v", c)
			}
		}
		n1.etcdComes()
		b.pass(10 * time.Second)
		if c := n1.claimState(); c.State != status.ClaimHanded {
			t.Errorf("with etcd: %+v", c)
		}
		if cleared := b.times("n1", "clear"); len(cleared) > 1 || !n1.kernel.has() {
			t.Errorf("cleared at %v, the address is there: %v", cleared, n1.kernel.has())
		}
		if c := n1.claim("r1"); c.State != status.ClaimHanded {
			t.Errorf("asked again: %+v", c)
		}
		if c := n1.claim("r2"); c.State != status.ClaimNone || !strings.Contains(blocks(c), "the election gave this node the VIP already") {
			t.Errorf("another run: %+v", c)
		}
	})
}

func TestClaimIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		before func(*shell)
		want   string
	}{
		"somebody answers": {func(s *shell) {
			s.addr.answers = func() (net.HardwareAddr, bool) { return net.HardwareAddr{2, 0, 0, 0, 0, 9}, true }
		}, "VIP: somebody uses the VIP already"},
		"nobody answers at all": {func(s *shell) { s.addr.passes = func() (bool, error) { return false, nil } }, "link: nobody on the link answers"},
		"the link is down": {func(s *shell) {
			s.addr.passes = func() (bool, error) { return false, errors.New("eth0: link is down") }
		}, "link: eth0: link is down"},
		"there is no link":         {func(s *shell) { s.addr.mute = errors.New("no such interface") }, "VIP: the link cannot be asked for it: no such interface"},
		"an etcd member elsewhere": {func(s *shell) { s.open = map[string]bool{"198.51.100.163:2380": true} }, "masters: another master runs already"},
		"an API server elsewhere":  {func(s *shell) { s.open = map[string]bool{"198.51.100.164:6443": true} }, "masters: another master runs already"},
		"its own ports count not":  {func(s *shell) { s.open = map[string]bool{"198.51.100.162:6443": true} }, ""},
		"it was a member":          {func(s *shell) { mustMkdir(s, s.d.faces.etcdData) }, "etcd: this node has been part of a cluster"},
		"a manifest":               {func(s *shell) { mustMkdir(s, s.l.cfg.Etcd.Manifest) }, "etcd: this node has been part of a cluster"},
		"drained":                  {func(s *shell) { s.ask(http.MethodPost, status.PathDrain, "") }, "VIP: this node is drained or goes down"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, b *bench) {
				n1 := bare(b).start()
				b.pass(time.Second)
				tt.before(n1)
				c := n1.claim("r1")
				b.pass(time.Second)
				if got := blocks(c); !strings.HasPrefix(got, tt.want) || (tt.want == "") != (got == "") {
					t.Errorf("blocked by %q, want %q", got, tt.want)
				}
				if granted := tt.want == ""; n1.kernel.has() != granted || (c.State == status.ClaimHeld) != granted {
					t.Errorf("the address is there: %v, %+v", n1.kernel.has(), c)
				}
			})
		})
	}
}

// TestClaimLooksWhereMastersListen: kubeadm's etcd listens at the advertise address
// alone, which may be on another link, and the API server at the endpoint's port.
func TestClaimLooksWhereMastersListen(t *testing.T) {
	for at, what := range map[string]string{
		"198.51.100.3:2380": "port 2380 of 198.51.100.3", "198.51.100.3:8443": "port 8443 of 198.51.100.3", "198.51.100.163:8443": "port 8443",
	} {
		in(t, func(t *testing.T, b *bench) {
			b.extra = "[kubeadm]\nendpoint = \"k8s.example.org:8443\"\n[kubeadm.advertise_address]\nn2 = \"198.51.100.3\"\n"
			n1 := bare(b)
			n1.open = map[string]bool{at: true}
			n1.start()
			b.pass(time.Second)
			c := n1.claim("r1")
			b.pass(time.Second)
			if got := blocks(c); !strings.HasPrefix(got, "masters: another master runs already") || n1.kernel.has() {
				t.Errorf("%s is open: blocked by %q, the address is there: %v", at, got, n1.kernel.has())
			}
			if !slices.ContainsFunc(c.Findings, func(f status.ClaimFinding) bool { return f.Subject == "n2" && strings.HasPrefix(f.What, what+" ") }) {
				t.Errorf("%s is not told of: %+v", what, c.Findings)
			}
		})
	}
}

func mustMkdir(s *shell, path string) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		s.t.Fatal(err)
	}
}

// A check tells the same and changes nothing.
func TestClaimCheck(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := bare(b).start()
		b.pass(time.Second)
		c := n1.askClaim(http.MethodPost, status.PathClaim, `{"run": "r1", "check": true}`)
		if c.State != status.ClaimNone || blocks(c) != "" || len(c.Findings) == 0 {
			t.Errorf("%+v", c)
		}
		b.pass(time.Second)
		if n1.kernel.has() || there(filepath.Join(n1.d.StateDir, "claim.json")) {
			t.Error("something changed")
		}
	})
}

// A file that a crash cannot have left so may have told of a cluster: nothing is
// claimed, and it is said what to do.
func TestClaimOfDamage(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := bare(b)
		path := n1.d.faces.claimPath()
		mustMkdir(n1, n1.d.StateDir)
		if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
			t.Fatal(err)
		}
		n1.start()
		b.pass(time.Second)
		code, body := n1.ask(http.MethodPost, status.PathClaim, `{"run": "r1"}`)
		if code != http.StatusServiceUnavailable || !strings.Contains(string(body), path) || !strings.Contains(string(body), "move it away") {
			t.Errorf("%d %s", code, body)
		}
		b.pass(time.Second)
		if n1.kernel.has() {
			t.Error("claimed")
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if c := n1.claim("r1"); c.State != status.ClaimHeld {
			t.Errorf("afterwards: %+v", c)
		}
	})
}

func TestClaimExpiresAndIsTakenUpAgain(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := bare(b).start()
		b.pass(time.Second)
		n1.claim("r1")
		b.pass(claimFor + 100*time.Millisecond)
		if c := n1.claimState(); c.State != status.ClaimExpired || n1.kernel.has() {
			t.Errorf("%+v, the address is there: %v", c, n1.kernel.has())
		}
		mustMkdir(n1, n1.d.faces.etcdData) // its etcd had begun; nobody else could join yet
		if c := n1.claim("r2"); c.State != status.ClaimNone {
			t.Errorf("another run: %+v", c)
		}
		if c := n1.claim("r1"); c.State != status.ClaimHeld {
			t.Errorf("the same run: %+v", c)
		}
	})
}

func TestClaimEnd(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := bare(b).start()
		b.pass(time.Second)
		n1.claim("r1")
		b.pass(time.Second)
		end := func(run string) status.Claim {
			return n1.askClaim(http.MethodPost, status.PathClaimEnd, fmt.Sprintf(`{"run": %q}`, run))
		}
		if c := end("r2"); c.State != status.ClaimHeld || !n1.kernel.has() {
			t.Errorf("ended by another run: %+v", c)
		}
		if c := end("r1"); c.State != status.ClaimEnded {
			t.Errorf("%+v", c)
		}
		b.pass(100 * time.Millisecond)
		if c := n1.claimState(); c.State != status.ClaimEnded || n1.kernel.has() {
			t.Errorf("%+v, the address is there: %v", c, n1.kernel.has())
		}
	})
}

// Somebody else on the wire with the address: nobody can tell who is right, and
// this node has nothing to lose yet.
func TestClaimGivesWay(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := bare(b).start()
		b.pass(time.Second)
		n1.claim("r1")
		b.pass(time.Second)
		n1.kernel.happen(vip.Conflict{Addr: testVIP, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}})
		b.pass(100 * time.Millisecond)
		if n1.kernel.has() {
			t.Error("keeps the address")
		}
		if !strings.Contains(n1.logged.String(), "02:00:00:00:00:09 claims 198.51.100.166 too") {
			t.Errorf("log:\n%s", n1.logged)
		}
	})
}

// The process after a crash goes on with the claim and with the address.
func TestClaimSurvivesTheDaemon(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := bare(b).start()
		b.pass(time.Second)
		n1.claim("r1")
		b.pass(time.Second)
		since := b.now()
		n1.crash()
		<-n1.done
		synctest.Wait()
		next := bare(b)
		next.kernel.until = n1.kernel.until
		next.start()
		b.pass(10 * time.Second)
		if c := next.claimState(); c.State != status.ClaimHeld || !next.kernel.has() {
			t.Errorf("%+v, the address is there: %v", c, next.kernel.has())
		}
		for _, at := range b.times("n1", "clear") {
			if at > since {
				t.Errorf("cleared %v after the crash", at-since)
			}
		}
	})
}

// TestClaimIsOverForTheNextProcess: init was told that the election has the VIP, so
// others may have joined; but the disk took nothing since, and says still that there
// is a claim. Whoever goes on with it, cut off from etcd, has the address beside the
// next holder.
func TestClaimIsOverForTheNextProcess(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := bare(b)
		put, full := n1.l.keeper.put, &atomic.Bool{}
		n1.l.keeper.put = func(s *election.SavedState) error {
			if s != nil && full.Load() {
				return errors.New("no space left on device")
			}
			return put(s)
		}
		n1.start()
		b.pass(time.Second)
		n1.claim("r1")
		b.pass(time.Second)
		full.Store(true)
		n1.etcdComes()
		b.pass(10 * time.Second)
		if c := n1.claimState(); c.State != status.ClaimHanded {
			t.Fatalf("with etcd: %+v", c)
		}
		n2 := b.shell("n2").start()
		b.pass(time.Second)
		n1.crash()
		<-n1.done
		synctest.Wait()
		next := bare(b)
		next.kernel.until = n1.kernel.until
		next.start()
		b.pass(20 * time.Second)
		if !n2.kernel.has() || next.kernel.has() {
			t.Errorf("n2 has the address: %v, n1 too: %v, by %+v", n2.kernel.has(), next.kernel.has(), next.claimState())
		}
	})
}

// What is written down as handed over stays so, whatever becomes of etcd.
func TestHandedIsForEver(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := bare(b)
		if err := n1.d.faces.saveClaim("r1", status.ClaimHanded, ""); err != nil {
			t.Fatal(err)
		}
		mustMkdir(n1, n1.d.faces.etcdData)
		n1.start()
		b.pass(time.Second)
		if c := n1.claim("r1"); c.State != status.ClaimHanded {
			t.Errorf("%+v", c)
		}
		b.pass(time.Second)
		if n1.kernel.has() {
			t.Error("claimed again")
		}
	})
}

// TestClaimIsOverUnasked: init was killed before it could ask, and an operator has
// finished its work by hand. Nobody begins that claim again when this node is cut
// off, while the others have an election.
func TestClaimIsOverUnasked(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := bare(b).start()
		b.pass(time.Second)
		n1.claim("r1")
		mustMkdir(n1, n1.d.faces.etcdData)
		n1.etcdComes()
		b.pass(10 * time.Second)
		n2 := b.shell("n2").start()
		b.pass(time.Second)
		n1.crash()
		<-n1.done
		b.pass(10 * time.Second)
		next := bare(b).start()
		b.pass(time.Second)
		next.claim("r1")
		b.pass(time.Second)
		if !n2.kernel.has() || next.kernel.has() {
			t.Errorf("n2 has the address: %v, n1 too: %v", n2.kernel.has(), next.kernel.has())
		}
	})
}

// Break-glass: a node of a cluster that has lost its quorum, by an operator's
// word. What the wire says counts all the same.
func TestClaimByForce(t *testing.T) {
	const body = `{"run": "force-1", "force": true, "why": "n2 and n3 burnt down"}`
	in(t, func(t *testing.T, b *bench) {
		n1 := bare(b).start()
		b.pass(time.Second)
		mustMkdir(n1, n1.d.faces.etcdData)
		n1.open = map[string]bool{"198.51.100.163:6443": true}
		if code, answer := n1.ask(http.MethodPost, status.PathClaim, `{"run": "force-1", "force": true}`); code != http.StatusBadRequest {
			t.Errorf("without a reason: %d %s", code, answer)
		}
		n1.addr.answers = func() (net.HardwareAddr, bool) { return net.HardwareAddr{2, 0, 0, 0, 0, 9}, true }
		if c := n1.askClaim(http.MethodPost, status.PathClaim, body); c.State != status.ClaimNone {
			t.Errorf("while somebody answers: %+v", c)
		}
		n1.addr.answers = func() (net.HardwareAddr, bool) { return nil, false }
		c := n1.askClaim(http.MethodPost, status.PathClaim, body)
		b.pass(claimFor + time.Second)
		if c.State != status.ClaimHeld || !n1.kernel.has() {
			t.Errorf("%+v, the address is there: %v", c, n1.kernel.has())
		}
		if file, err := n1.d.faces.loadClaim(); err != nil || file.Why != "n2 and n3 burnt down" {
			t.Errorf("on record: %+v, %v", file, err)
		}
		if got := n1.document().Self.Reason; got != "claimed the address by force: n2 and n3 burnt down" {
			t.Errorf("reason: %q", got)
		}
		n1.ask(http.MethodPost, status.PathRelease, "")
		b.pass(100 * time.Millisecond)
		if n1.kernel.has() {
			t.Error("still there after the release")
		}
	})
}

// The etcd that comes after an init is the claimant's own beginning: the record is
// won at once. After a claim by force it may be other nodes' too, and what is
// missing there is waited out.
func TestOnlyForceWaitsForTheRecord(t *testing.T) {
	for body, want := range map[string]status.ClaimState{
		`{"run": "r1"}`: status.ClaimHanded,
		`{"run": "force-1", "force": true, "why": "n2 and n3 burnt down"}`: status.ClaimHeld,
	} {
		in(t, func(t *testing.T, b *bench) {
			n1 := bare(b).start()
			b.pass(time.Second)
			if c := n1.askClaim(http.MethodPost, status.PathClaim, body); c.State != status.ClaimHeld {
				t.Fatalf("claimed by %s: %+v", body, c)
			}
			n1.etcdComes()
			b.pass(n1.l.timing.Takeover / 2)
			if c := n1.claimState(); c.State != want {
				t.Errorf("claimed by %s, half a takeover after etcd came: %+v, want %s", body, c, want)
			}
			b.pass(2 * n1.l.timing.Takeover)
			if c := n1.claimState(); c.State != status.ClaimHanded {
				t.Errorf("claimed by %s, in the end: %+v", body, c)
			}
		})
	}
}

// An init that failed after its etcd came up gave the claim back, and is run
// again: at once, before the election has decided.
func TestClaimOfARunWhoseEtcdIsUp(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := bare(b).start()
		b.pass(time.Second)
		n1.claim("r1")
		n1.askClaim(http.MethodPost, status.PathClaimEnd, `{"run": "r1"}`)
		mustMkdir(n1, n1.d.faces.etcdData)
		n1.etcdComes()
		b.pass(100 * time.Millisecond)
		c := n1.claim("r1")
		b.pass(setTakes)
		if c.State != status.ClaimHanded || !n1.kernel.has() {
			t.Errorf("%+v, the address is there: %v", c, n1.kernel.has())
		}
	})
}

// The same where etcd comes up while the daemon looks at the wire, as it does on a
// node that was rebooted in the middle of init.
func TestClaimOfARunWhoseEtcdComesUp(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := bare(b).start()
		b.pass(time.Second)
		n1.claim("r1")
		n1.askClaim(http.MethodPost, status.PathClaimEnd, `{"run": "r1"}`)
		mustMkdir(n1, n1.d.faces.etcdData)
		time.AfterFunc(claimLookPause, n1.etcdComes)
		c := n1.claim("r1")
		b.pass(setTakes)
		if c.State != status.ClaimHanded || !n1.kernel.has() {
			t.Errorf("%+v, the address is there: %v", c, n1.kernel.has())
		}
	})
}
