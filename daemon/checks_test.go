package daemon

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/daemon/status"
	"havip/election/etcd"
	"havip/vip"
)

// answers asks one path and returns the lines of the answer after its code.
func (s *shell) answers(path string) []string {
	code, body := s.ask(http.MethodGet, path, "")
	return append([]string{fmt.Sprint(code)}, strings.Split(strings.TrimSpace(string(body)), "\n")...)
}

// metric is the value on one line of the scrape, "" if there is none.
func (s *shell) metric(name string) string {
	_, body := s.ask(http.MethodGet, status.PathMetrics, "")
	for line := range strings.Lines(string(body)) {
		line = strings.TrimSpace(line)
		if series, value, _ := strings.Cut(line, "} "); strings.HasPrefix(series, name+"{") || series == name {
			return value
		}
	}
	return ""
}

func (s *shell) want(path string, want ...string) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.answers(path)); diff != "" {
		s.t.Errorf("%s of %s at %v (-want +got):\n%s", path, s.name, s.now(), diff)
	}
}

func TestReadinessOfHolderAndStandby(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2 := b.shell("n1").start(), b.shell("n2").start()
		b.pass(time.Second)
		n1.want("/healthz", "200", "ok")
		n1.want("/readyz", "503", "[-]holder failed: it was never held, n1 takes over", "readyz check failed")
		b.until(first + 100*time.Millisecond)
		n1.want("/readyz?verbose", "200", "[+]loop ok", "[+]config ok", "[+]etcd ok", "[+]address ok: on eth0", "[+]holder ok: n1", "readyz check passed")
		n2.want("/readyz?verbose", "200", "[+]loop ok", "[+]config ok", "[+]etcd ok", "[+]address ok", "[+]holder ok: n1", "readyz check passed")
		n2.want("/readyz", "200", "ok")
		for name, want := range map[string][2]string{
			"havip_is_holder": {"1", "0"}, "havip_ready": {"1", "1"}, "havip_terms_total": {"1", "0"}, "havip_link_up": {"1", "1"},
			"havip_address_present": {"1", "0"}, "havip_address_lifetime_seconds": {"2", "0"}, "havip_gap_seconds_count": {"0", "0"},
		} {
			if got := [2]string{n1.metric(name), n2.metric(name)}; got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		n1.stop()
		b.pass(2 * time.Second)
		if got := n2.metric(`havip_gap_seconds_count{node="n2",planned="true",vip="198.51.100.166"`); got != "1" {
			t.Errorf("gaps of planned moves on n2: %s", got)
		}
		if got := n2.metric(`havip_transitions_total{node="n2",reason="stop",to="holder",vip="198.51.100.166"`); got != "1" {
			t.Errorf("moves to n2 because a daemon stopped: %s", got)
		}
	})
}

// A loop that hangs is told by /healthz at once: nothing asks it.
func TestHungLoopIsNotAlive(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		var hangs atomic.Bool
		free := make(chan struct{})
		publish := n1.lock.publish
		n1.lock.publish = func(v string) {
			if hangs.Load() {
				<-free
			}
			publish(v)
		}
		n1.start()
		b.until(first + 100*time.Millisecond)
		hangs.Store(true)
		n1.l.box.put(healthChanged{state: status.APIAlive})
		b.pass(freshLoop - 200*time.Millisecond)
		n1.want("/healthz", "200", "ok")
		b.pass(200 * time.Millisecond)
		begin := b.now()
		n1.want("/healthz", "503", "[-]loop failed: it has not moved for 2.1 s", "healthz check failed")
		n1.want("/readyz?verbose", "503", "[-]loop failed: it has not moved for 2.1 s", "readyz check failed")
		if got := n1.metric("havip_loop_age_seconds"); got != "2.094" { // the last renewal was due 94 ms before it hung
			t.Errorf("the loop's age is %q", got)
		}
		if got := n1.metric("havip_is_holder"); got != "" {
			t.Errorf("somebody knows that it is a holder: %q", got)
		}
		for range 50 {
			b.pass(seeEvery)
			n1.answers("/metrics")
		}
		if took := b.now() - begin; took != 50*seeEvery {
			t.Errorf("the answers took %v", took-50*seeEvery)
		}
		n1.l.box.mu.Lock()
		waiting := len(n1.l.box.events)
		n1.l.box.mu.Unlock()
		if waiting > 60 { // renewals and looks at the link
			t.Errorf("%d events wait for the loop", waiting)
		}
		close(free)
		b.pass(pulse)
		n1.want("/healthz", "200", "ok")
	})
}

// A loop that hangs between the look at its age and the question.
func TestLoopThatTakesNoQuestion(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		n1.shells = nil
		n1.d.faces.setLoop(newMailbox(), n1.addr, n1.l.cfg, n1.l.self) // nobody empties it
		n1.want("/readyz", "503", "[-]loop failed: it does not answer", "readyz check failed")
	})
}

func TestReadinessTellsWhatIsWrong(t *testing.T) {
	tests := map[string]struct {
		harm func(b *bench, n1 *shell)
		want []string
	}{
		"etcd is gone": {
			func(b *bench, n1 *shell) {
				b.silence("n1", etcd.Status{State: etcd.Unreachable, Reason: "connection refused"})
			},
			[]string{"503", "[-]etcd failed: the local member is unreachable: connection refused", "readyz check failed"},
		},
		"the address is taken away and cannot be set": {
			func(b *bench, n1 *shell) {
				n1.addr.set = func(int, time.Duration) (time.Duration, error) { return 0, vip.ErrUntouched }
				n1.kernel.drop()
			},
			[]string{"503", "[-]address failed: 198.51.100.166 is on no link, and this node holds it", "readyz check failed"},
		},
		"something else set it for ever": {
			func(b *bench, n1 *shell) {
				n1.addr.found = func() ([]vip.Found, error) {
					return []vip.Found{{Link: "eth0", LinkIndex: 2, Addr: testVIP, Bits: 32, Permanent: true}}, nil
				}
			},
			[]string{"503", "[-]address failed: 198.51.100.166 is on eth0 for ever: something other than havip set it", "readyz check failed"},
		},
		"the kernel says nothing": {
			func(b *bench, n1 *shell) {
				n1.addr.found = func() ([]vip.Found, error) { return nil, errors.New("no buffer space") }
			},
			[]string{"503", "[-]address failed: the kernel did not tell where it is", "readyz check failed"},
		},
		"the node does not hold it": {
			func(b *bench, n1 *shell) {
				b.shell("n2").start()
				b.pass(time.Second)
				n1.ask(http.MethodPost, status.PathDrain, "")
				b.pass(time.Second)
				n1.kernel.mu.Lock()
				n1.kernel.until = b.clock().Boot() + time.Hour
				n1.kernel.mu.Unlock()
			},
			[]string{"503", "[-]address failed: 198.51.100.166 is on eth0, and this node does not hold it", "readyz check failed"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, b *bench) {
				n1 := b.shell("n1").start()
				b.until(first + 100*time.Millisecond)
				n1.want("/readyz", "200", "ok")
				test.harm(b, n1)
				b.pass(seeEvery)
				n1.want("/readyz", test.want...)
				n1.want("/healthz", "200", "ok")
			})
		})
	}
}

func TestDrainedNodeIsReadyAndSaysSo(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1").start()
		b.shell("n2").start()
		b.until(first + time.Second)
		n1.ask(http.MethodPost, status.PathDrain, "")
		b.pass(seeEvery)
		n1.want("/readyz", "200", "ok")
		got := n1.answers("/readyz?verbose")
		if line := got[len(got)-2]; !strings.HasPrefix(line, "[+]drained ok: ") {
			t.Errorf("%q", got)
		}
	})
}

func TestReadinessWithoutElection(t *testing.T) {
	for name, test := range map[string]struct {
		idle status.Document
		want []string
	}{
		"not configured": {status.Document{Config: "/etc/havip/havip.toml"},
			[]string{"503", "[-]config failed: no [vip] in /etc/havip/havip.toml", "readyz check failed"}},
		"a broken file": {status.Document{Configured: true, Self: status.Self{Reason: "the config file has problems"}},
			[]string{"503", "[-]config failed: the config file has problems", "readyz check failed"}},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, b *bench) {
				n1 := b.shell("n1")
				n1.shells = nil
				n1.d.faces.setIdle(test.idle)
				n1.want("/readyz", test.want...)
				n1.want("/healthz?verbose", "200", "[+]loop ok: there is no election here yet", "healthz check passed")
				if got := n1.metric("havip_configured"); got == "" {
					t.Error("no metrics")
				}
			})
		})
	}
}

// However many ask, the loop and the kernel are asked once a second.
func TestManyScrapesAreOneLook(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		var asked atomic.Int64
		found := n1.addr.found
		n1.addr.found = func() ([]vip.Found, error) { asked.Add(1); return found() }
		n1.start()
		b.until(first)
		before := asked.Load()
		done := make(chan struct{})
		for range 100 {
			go func() { n1.answers("/metrics"); done <- struct{}{} }()
		}
		for range 100 {
			<-done
		}
		synctest.Wait()
		if got := asked.Load() - before; got != 1 {
			t.Errorf("the kernel was asked %d times", got)
		}
	})
}
