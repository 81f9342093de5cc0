package cluster

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestAttemptLine(t *testing.T) {
	for _, a := range []Attempt{
		{Sent: 5, Done: 9, Node: "n1"},
		{Sent: 5, Done: 9, Err: "no route to host"},
	} {
		got, err := parseAttempt(formatAttempt(a))
		if err != nil {
			t.Errorf("parseAttempt(%q): %v", formatAttempt(a), err)
		}
		if diff := cmp.Diff(a, got); diff != "" {
			t.Errorf("attempt (-want +got):\n%s", diff)
		}
	}
	for _, bad := range []string{"", "1 2 n1", "x 2 n1 -", "1 x n1 -"} {
		if _, err := parseAttempt(bad); err == nil {
			t.Errorf("parseAttempt(%q) = nil error", bad)
		}
	}
}

func TestReason(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{os.ErrDeadlineExceeded, "timeout"},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}, "no route to host"},
		{errors.New("odd"), "odd"},
	} {
		if got := reason(tt.err); got != tt.want {
			t.Errorf("reason(%v) = %q, want %q", tt.err, got, tt.want)
		}
	}
}

func TestParseSample(t *testing.T) {
	got, err := parseSample([]string{"12", "n1/1", "added", "2", "198.51.100.166/32", "3"})
	want := Event{At: 12, Node: "n1/1", What: Added, Link: 2, Addr: v4, Bits: 32, Valid: 3}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" || err != nil {
		t.Errorf("parseSample = %v (-want +got):\n%s", err, diff)
	}
	for _, bad := range [][]string{
		nil,
		{"x", "n1/1", "added", "2", "198.51.100.166/32", "3"},
		{"12", "n1/1", "added", "x", "198.51.100.166/32", "3"},
		{"12", "n1/1", "added", "2", "198.51.100.166", "3"},
		{"12", "n1/1", "added", "2", "198.51.100.166/32", "-1"},
	} {
		if _, err := parseSample(bad); err == nil {
			t.Errorf("parseSample(%v) = nil error", bad)
		}
	}
}

// What the kernel's list shows before a notification counts at once, and is in doubt
// only when the notification does not follow.
func TestSamplerCompares(t *testing.T) {
	const came, went = "missed that 198.51.100.166 was added", "missed that 198.51.100.166 was removed"
	e := Event{What: Added, Link: 2, Addr: v4, Bits: 32, Valid: 3}
	gone := e
	gone.What = Removed
	there, empty := map[place]Event{e.place(): e}, map[place]Event{}
	for _, tt := range []struct {
		name  string
		play  func(s *sampler, w *watched)
		holds bool
		doubt string
	}{
		{"told, then in the list", func(s *sampler, w *watched) { s.told(w, 1, e); s.compare(w, 2, there) }, true, ""},
		{"in the list, then told", func(s *sampler, w *watched) {
			s.compare(w, 1, there)
			s.told(w, 2, e)
			s.compare(w, 1+toldWithin, there)
		}, true, ""},
		{"in the list, not told yet", func(s *sampler, w *watched) { s.compare(w, 1, there); s.compare(w, toldWithin, there) }, true, ""},
		{"in the list, never told", func(s *sampler, w *watched) { s.compare(w, 1, there); s.compare(w, 1+toldWithin, there) }, true, came},
		{"in the list, then told that it went", func(s *sampler, w *watched) { s.compare(w, 1, there); s.told(w, 2, gone) }, false, ""},
		{"out of the list, then told", func(s *sampler, w *watched) {
			s.told(w, 1, e)
			s.compare(w, 2, empty)
			s.told(w, 3, gone)
			s.compare(w, 2+toldWithin, empty)
		}, false, ""},
		{"out of the list, never told", func(s *sampler, w *watched) {
			s.told(w, 1, e)
			s.compare(w, 2, empty)
			s.compare(w, 2+toldWithin, empty)
		}, false, went},
		{"out of the list, then told that it came", func(s *sampler, w *watched) {
			s.told(w, 1, e)
			s.compare(w, 2, empty)
			s.told(w, 3, e)
		}, true, went},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var said strings.Builder
			s, w := &sampler{out: bufio.NewWriter(&said)}, newWatched("n1/1")
			tt.play(s, w)
			if err := s.out.Flush(); err != nil {
				t.Fatal(err)
			}
			var doubts []string
			nodes := holders{}
			for line := range strings.Lines(said.String()) {
				words := strings.Fields(line)
				if words[0] == "doubt" {
					doubts = append(doubts, strings.Join(words[3:], " "))
					continue
				}
				got, err := parseSample(words[1:])
				if err != nil {
					t.Fatal(err)
				}
				nodes.apply(got)
			}
			if got := strings.Join(doubts, "; "); got != tt.doubt {
				t.Errorf("doubts: %q, want %q", got, tt.doubt)
			}
			if got := len(nodes.names()) == 1; got != tt.holds {
				t.Errorf("holds in the timeline: %v, want %v:\n%s", got, tt.holds, said.String())
			}
		})
	}
}

// attr encodes one route attribute, padded.
func attr(kind uint16, value []byte) []byte {
	b := make([]byte, 4, 4+len(value)+3)
	binary.NativeEndian.PutUint16(b[0:], uint16(4+len(value)))
	binary.NativeEndian.PutUint16(b[2:], kind)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func addrMessage(kind uint16, attrs ...[]byte) syscall.NetlinkMessage {
	data := make([]byte, syscall.SizeofIfAddrmsg)
	binary.NativeEndian.PutUint32(data[4:], 7) // the link's index
	for _, a := range attrs {
		data = append(data, a...)
	}
	return syscall.NetlinkMessage{
		Header: syscall.NlMsghdr{Len: uint32(syscall.NLMSG_HDRLEN + len(data)), Type: kind},
		Data:   data,
	}
}

func TestParseAddr(t *testing.T) {
	lifetime := make([]byte, 16)
	binary.NativeEndian.PutUint32(lifetime[4:], 3)
	tests := []struct {
		name string
		msg  syscall.NetlinkMessage
		want Event
		ok   bool
	}{
		{"IPv4 with a lifetime", addrMessage(syscall.RTM_NEWADDR,
			attr(syscall.IFA_ADDRESS, v4.AsSlice()), attr(syscall.IFA_LOCAL, v4.AsSlice()), attr(syscall.IFA_CACHEINFO, lifetime)),
			Event{What: Added, Addr: v4, Link: 7, Valid: 3}, true},
		{"IPv4 with a peer", addrMessage(syscall.RTM_NEWADDR,
			attr(syscall.IFA_LOCAL, v4.AsSlice()), attr(syscall.IFA_ADDRESS, []byte{10, 0, 0, 1})),
			Event{What: Added, Addr: v4, Link: 7, Valid: Forever}, true},
		{"IPv6 deleted", addrMessage(syscall.RTM_DELADDR, attr(syscall.IFA_ADDRESS, v6.AsSlice())),
			Event{What: Removed, Addr: v6, Link: 7, Valid: Forever}, true},
		{"no address", addrMessage(syscall.RTM_NEWADDR), Event{What: Added, Link: 7, Valid: Forever}, false},
		{"a link", addrMessage(syscall.RTM_NEWLINK), Event{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok, err := parseAddr(tt.msg)
			if err != nil || ok != tt.ok {
				t.Errorf("parseAddr = %v, %v, want %v", ok, err, tt.ok)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		})
	}
	short := syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: syscall.RTM_NEWADDR}, Data: []byte{2}}
	if _, _, err := parseAddr(short); err == nil {
		t.Error("parseAddr of a short message = nil error")
	}
}

func TestSumMetric(t *testing.T) {
	body := []byte("# HELP puts_total x\nputs_total{a=\"1\"} 3\nputs_total{a=\"2\"} 4.5\nputs_total_more 9\nlone 2\n")
	for name, want := range map[string]float64{"puts_total": 7.5, "lone": 2} {
		if got, err := sumMetric(body, name); err != nil || got != want {
			t.Errorf("sumMetric(%s) = %v, %v, want %v", name, got, err, want)
		}
	}
	if _, err := sumMetric(body, "absent"); err == nil {
		t.Error("sumMetric of an absent metric = nil error")
	}
}

func TestAPIServerModes(t *testing.T) {
	c := start(t, Options{Masters: 1})
	n := c.Nodes[0]
	for _, tt := range []struct {
		mode APIServerMode
		want int // 0: no answer
	}{
		{Ready, 200}, {Failing, 500}, {Forbidden, 403}, {Hanging, 0}, {Ready, 200},
	} {
		must(t, n.SetAPIServer(tt.mode))
		limit := patience
		if tt.want == 0 {
			limit = ms(500)
		}
		if got := n.readyz(t, n.Address.String(), limit); got != tt.want {
			t.Errorf("readyz of a %s API server = %d, want %d", tt.mode, got, tt.want)
		}
	}
	if got := n.readyz(t, "127.0.0.1", patience); got != 0 {
		t.Errorf("readyz at 127.0.0.1 = %d, want a certificate error: kubeadm's has no such name", got)
	}
	must(t, n.KillAPIServer())
	if got := n.readyz(t, n.Address.String(), patience); got != 0 {
		t.Errorf("readyz of a dead API server = %d, want no answer", got)
	}
	if err := n.SetAPIServer(Ready); err == nil {
		t.Error("SetAPIServer of a dead API server = nil, want an error")
	}
	must(t, n.StartAPIServer())
	must(t, Poll(t.Context(), patience, "the API server", func() bool { return n.readyz(t, n.Address.String(), patience) == 200 }))
}

// readyz asks as a health check does; 0 stands for no answer.
func (n *Node) readyz(t *testing.T, host string, limit time.Duration) int {
	t.Helper()
	ca, err := os.ReadFile(filepath.Join(n.PKI, "ca.crt"))
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return n.ns.dial(ctx, network, address)
		},
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+net.JoinHostPort(host, "6443")+"/readyz", nil)
	must(t, err)
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func TestSlowEtcd(t *testing.T) {
	c := start(t, Options{Masters: 1})
	n := c.Nodes[0]
	must(t, n.SlowEtcd(ms(200)))
	begin := Now()
	conn, err := n.ns.dialLocal(slowPort)
	must(t, err)
	defer conn.Close()
	if _, err := conn.Write([]byte("this is not TLS\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("read etcd's answer: %v", err)
	}
	if took := Now() - begin; took < ms(200) {
		t.Errorf("etcd answered after %v, want at least 200ms", took)
	}
}

func TestMissingBinaries(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if _, err := Tool("etcd"); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Tool(etcd) in an empty cache = %v, want that it is missing", err)
	}
	if _, err := built("no-such-program"); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("built(no-such-program) = %v, want that it is missing", err)
	}
	t.Chdir("/")
	if _, err := built("havipd"); err == nil {
		t.Error("built outside a module = nil error")
	}
}
