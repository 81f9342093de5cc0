package daemon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/configs"
	"havip/daemon/status"
	"havip/election"
)

// answerOf is one answer of an API server.
type answerOf struct {
	state status.APIServer
	err   error
}

var (
	isReady  = answerOf{status.APIReady, nil}
	isAlive  = answerOf{status.APIAlive, nil}
	isBroken = answerOf{status.APIFailing, errors.New("answers 500 Internal Server Error")}
	isSilent = answerOf{status.APIFailing, errors.New("no answer within 1s")}
)

func TestRiseAndFall(t *testing.T) {
	healthy := func(s status.APIServer) healthChanged {
		return healthChanged{election.Health{OK: true, Reason: "ready"}, s}
	}
	sick := func(a answerOf) healthChanged {
		return healthChanged{election.Health{Reason: a.err.Error()}, status.APIFailing}
	}
	type news = map[int]healthChanged // by the number of the look that made it
	tests := map[string]struct {
		looks []answerOf
		want  news
	}{
		"the first counts at once":         {[]answerOf{isBroken}, news{0: sick(isBroken)}},
		"the first, good":                  {[]answerOf{isReady, isReady}, news{0: healthy(status.APIReady)}},
		"two failures are none":            {[]answerOf{isReady, isBroken, isBroken, isReady, isBroken, isBroken}, news{0: healthy(status.APIReady)}},
		"three in a row are one":           {[]answerOf{isReady, isBroken, isSilent, isSilent}, news{0: healthy(status.APIReady), 3: sick(isSilent)}},
		"one success is none":              {[]answerOf{isBroken, isReady, isBroken, isReady}, news{0: sick(isBroken)}},
		"two in a row are one":             {[]answerOf{isBroken, isReady, isReady}, news{0: sick(isBroken), 2: healthy(status.APIReady)}},
		"another reason is news":           {[]answerOf{isBroken, isSilent, isSilent}, news{0: sick(isBroken), 1: sick(isSilent)}},
		"401 and 403 are alive":            {[]answerOf{isAlive, isAlive}, news{0: healthy(status.APIAlive)}},
		"from ready to alive":              {[]answerOf{isReady, isAlive, isAlive, isReady}, news{0: healthy(status.APIReady), 1: healthy(status.APIAlive), 3: healthy(status.APIReady)}},
		"alive again after it was failing": {[]answerOf{isBroken, isAlive, isAlive, isAlive}, news{0: sick(isBroken), 2: healthy(status.APIAlive)}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				n, got := 0, news{}
				h := &health{
					cfg:    configs.Health{Interval: time.Second, Timeout: time.Second, Rise: 2, Fall: 3},
					report: func(e healthChanged) { got[n-1] = e },
				}
				err := h.watch(ctx, func(context.Context) (status.APIServer, error) {
					if n == len(test.looks) {
						stop()
						return status.APIUnknown, nil
					}
					a := test.looks[n]
					n++
					return a.state, a.err
				})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(healthChanged{})); diff != "" {
					t.Errorf("reports by look (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// A check that hangs ends after its timeout, and the next one begins on time.
func TestHangingServerIsAskedEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, changes := time.Now(), 0
		var at []time.Duration
		ctx, stop := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer stop()
		h := &health{
			cfg:    configs.Health{Interval: time.Second, Timeout: 400 * time.Millisecond, Rise: 2, Fall: 3},
			report: func(healthChanged) { changes++ },
		}
		err := h.watch(ctx, func(ctx context.Context) (status.APIServer, error) {
			at = append(at, time.Since(begin))
			<-ctx.Done()
			return status.APIFailing, errors.New("no answer within 400ms")
		})
		want := []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second}
		if diff := cmp.Diff(want, at); diff != "" || err != nil || changes != 1 {
			t.Errorf("%v, %d changes, looks (-want +got):\n%s", err, changes, diff)
		}
	})
}

// A connection that ends makes one look more, which counts as one: what falls within
// the look has been seen by it, and a server that ends every connection is looked at
// no more than twice an interval.
func TestBrokenConnectionIsLookedAt(t *testing.T) {
	ms := time.Millisecond
	tests := map[string]struct {
		broke []time.Duration // after each look began, again and again
		fall  int
		want  []time.Duration
		fell  time.Duration
	}{
		"once":               {[]time.Duration{300 * ms, -1, -1, -1, -1}, 3, []time.Duration{0, 300 * ms, 1300 * ms, 2300 * ms, 3300 * ms}, 2300 * ms},
		"within a look":      {[]time.Duration{5 * ms, -1, -1, -1, -1}, 3, []time.Duration{0, 1000 * ms, 2000 * ms, 3000 * ms}, 3000 * ms},
		"after every answer": {[]time.Duration{100 * ms, 100 * ms, 100 * ms, 100 * ms, 100 * ms, 100 * ms, 100 * ms}, 100, []time.Duration{0, 100 * ms, 1100 * ms, 1200 * ms, 2200 * ms, 2300 * ms, 3300 * ms, 3400 * ms}, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				var at []time.Duration
				var fell time.Duration
				ctx, stop := context.WithTimeout(t.Context(), 3500*ms)
				defer stop()
				h := &health{
					cfg:   configs.Health{Interval: time.Second, Timeout: time.Second, Rise: 2, Fall: test.fall},
					broke: make(chan struct{}, 1),
					report: func(e healthChanged) {
						if !e.event.OK {
							fell = time.Since(begin)
						}
					},
				}
				err := h.watch(ctx, func(context.Context) (status.APIServer, error) {
					n := len(at)
					if at = append(at, time.Since(begin)); n < len(test.broke) && test.broke[n] >= 0 {
						time.AfterFunc(test.broke[n], h.ended)
					}
					time.Sleep(10 * ms) // of the bubble: what a look takes, exactly
					if n == 0 {
						return status.APIReady, nil
					}
					return status.APIFailing, errors.New("connection refused")
				})
				if diff := cmp.Diff(test.want, at); diff != "" || err != nil {
					t.Errorf("%v, looks (-want +got):\n%s", err, diff)
				}
				if want := test.fell; fell != want && (want == 0 || fell != want+10*ms) {
					t.Errorf("it fell after %v, want %v and the look's own 10ms", fell, want)
				}
			})
		})
	}
}

func TestNoCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []healthChanged
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		h := &health{cfg: configs.Health{APIServer: configs.APIServerNone}, report: func(e healthChanged) { got = append(got, e) }}
		go func() { ended <- h.run(ctx) }()
		synctest.Wait()
		if len(got) != 1 || !got[0].event.OK || got[0].state != status.APIOff {
			t.Errorf("reports %+v", got)
		}
		select {
		case err := <-ended:
			t.Errorf("ended by itself: %v", err)
		default:
		}
		stop()
		synctest.Wait()
	})
}

// serving returns an API server on loopback and a health that asks it. The
// certificate is for the address given, as kubeadm's is for its node's.
func serving(t *testing.T, address string, until time.Time, handler http.HandlerFunc) *health {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kube-apiserver"}, NotBefore: until.Add(-24 * time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.ParseIP(address)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(handler)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.Config.ErrorLog = log.New(t.Output(), "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	replace(t, ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return &health{cfg: configs.Health{APIServer: s.URL + "/readyz", CA: ca, Timeout: patience}}
}

func TestProbe(t *testing.T) {
	code := func(n int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/readyz" {
				n = http.StatusTeapot
			}
			w.Header().Set("Location", "/readyz?again") // never followed
			w.WriteHeader(n)
		}
	}
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	begins := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		hang(w, r)
	}
	later := time.Now().Add(time.Hour)
	tests := map[string]struct {
		address string
		until   time.Time
		handler http.HandlerFunc
		state   status.APIServer
		err     string
	}{
		"ready":                          {"127.0.0.1", later, code(200), status.APIReady, ""},
		"401":                            {"127.0.0.1", later, code(401), status.APIAlive, ""},
		"403":                            {"127.0.0.1", later, code(403), status.APIAlive, ""},
		"500":                            {"127.0.0.1", later, code(500), status.APIFailing, "answers 500 Internal Server Error"},
		"a redirect":                     {"127.0.0.1", later, code(302), status.APIFailing, "answers 302 Found"},
		"hangs":                          {"127.0.0.1", later, hang, status.APIFailing, "no answer within 300ms"},
		"hangs within its answer":        {"127.0.0.1", later, begins, status.APIFailing, "no answer within 300ms"},
		"a certificate for another host": {"198.51.100.162", later, code(200), status.APIFailing, "certificate is valid for 198.51.100.162, not 127.0.0.1"},
		"an expired certificate":         {"127.0.0.1", time.Now().Add(-time.Hour), code(200), status.APIFailing, "its certificate has expired or is not valid yet"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := serving(t, test.address, test.until, test.handler)
			if strings.HasPrefix(name, "hangs") {
				h.cfg.Timeout = 300 * time.Millisecond
			}
			state, err := look(t, h)
			if state != test.state || !strings.Contains(text(err), test.err) || (err == nil) != (test.err == "") {
				t.Errorf("%v, %v, want %v, %q", state, err, test.state, test.err)
			}
			// The same failure must read the same, or each look would be news.
			if _, again := look(t, h); text(again) != text(err) {
				t.Errorf("first %v, then %v", err, again)
			}
		})
	}
}

func TestProbeWithoutFiles(t *testing.T) {
	h := serving(t, "127.0.0.1", time.Now().Add(time.Hour), func(http.ResponseWriter, *http.Request) {})
	url := h.cfg.APIServer
	h.cfg.APIServer, h.cfg.Manifest = configs.APIServerAuto, filepath.Join(t.TempDir(), "kube-apiserver.yaml")
	if _, err := look(t, h); text(err) != "there is none on this node yet" {
		t.Errorf("no manifest: %v", err)
	}
	replace(t, h.cfg.Manifest, []byte("{"))
	if _, err := look(t, h); err == nil || !strings.Contains(err.Error(), "read manifest") {
		t.Errorf("a broken manifest: %v", err)
	}
	h.cfg.APIServer, h.cfg.CA = url, filepath.Join(t.TempDir(), "ca.crt")
	if state, err := look(t, h); state != status.APIUnknown || err == nil || !strings.HasPrefix(err.Error(), "read CA: ") {
		t.Errorf("no CA: %v, %v", state, err)
	}
	h.cfg.APIServer = "https://127.0.0.1:1/readyz"
	h.cfg.CA = serving(t, "127.0.0.1", time.Now().Add(time.Hour), nil).cfg.CA
	if _, err := look(t, h); text(err) != "connection refused" {
		t.Errorf("nobody listens: %v", err)
	}
}
