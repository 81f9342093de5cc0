package etcd

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestOutcomeOf(t *testing.T) {
	tests := []struct {
		name string
		err  error
		sent bool
		want Outcome
	}{
		{"no connection", status.Error(codes.Unavailable, `connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:2379: connect: connection refused"`), false, NotSent},
		{"deadline while connecting", status.Error(codes.DeadlineExceeded, "context deadline exceeded"), false, NotSent},
		{"deadline", status.Error(codes.DeadlineExceeded, "context deadline exceeded"), true, Unknown},
		{"cancelled", status.Error(codes.Canceled, "context canceled"), true, Unknown},
		{"closed here", status.Error(codes.Canceled, "grpc: the client connection is closing"), true, Unknown},
		{"broken connection", status.Error(codes.Unavailable, "error reading from server: EOF"), true, Unknown},
		{"reset connection", status.Error(codes.Unavailable, "error reading from server: read tcp: connection reset by peer"), true, Unknown},
		{"refused, yet sent", status.Error(codes.Unavailable, `connection error: desc = "connection refused"`), true, Unknown},
		{"timed out", rpctypes.ErrGRPCTimeout, true, Unknown},
		{"timed out, leader failed", rpctypes.ErrGRPCTimeoutDueToLeaderFail, true, Unknown},
		{"timed out, connection lost", rpctypes.ErrGRPCTimeoutDueToConnectionLost, true, Unknown},
		{"leader changed", rpctypes.ErrGRPCLeaderChanged, true, Unknown},
		{"no leader", rpctypes.ErrGRPCNoLeader, true, Unknown},
		{"stopped", rpctypes.ErrGRPCStopped, true, Unknown},
		{"no space, applied or not", rpctypes.ErrGRPCNoSpace, true, Unknown},
		{"a text nobody knows", status.Error(codes.Unknown, "etcdserver: something new"), true, Unknown},
		{"the code alone proves nothing", status.Error(codes.PermissionDenied, "blocked by a proxy"), true, Unknown},
		{"no gRPC error", errors.New("boom"), true, Unknown},
		{"permission denied", rpctypes.ErrGRPCPermissionDenied, true, Failed},
		{"no user", rpctypes.ErrGRPCUserEmpty, true, Failed},
		{"invalid token", rpctypes.ErrGRPCInvalidAuthToken, true, Failed},
		{"old auth revision", rpctypes.ErrGRPCAuthOldRevision, true, Failed},
		{"learner", rpctypes.ErrGRPCNotSupportedForLearner, true, Failed},
		{"too large", rpctypes.ErrGRPCRequestTooLarge, true, Failed},
		{"too many requests", rpctypes.ErrGRPCRequestTooManyRequests, true, Failed},
		{"too many requests, as etcd sends it", status.Error(codes.Unknown, "etcdserver: too many requests"), true, Failed},
		{"corrupt", rpctypes.ErrGRPCCorrupt, true, Failed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := outcomeOf(tt.err, tt.sent); got != tt.want {
				t.Errorf("outcomeOf(%v, sent %v) = %v, want %v", tt.err, tt.sent, got, tt.want)
			}
			if got := outcomeOf(explain("127.0.0.1:2379", tt.err), tt.sent); got != tt.want {
				t.Errorf("outcomeOf(explained %v, sent %v) = %v, want %v", tt.err, tt.sent, got, tt.want)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	const at = "127.0.0.1:2379"
	dial := func(text string) error {
		return status.Error(codes.Unavailable, `connection error: desc = "transport: `+text+`"`)
	}
	tests := []struct {
		err  error
		want string
		is   error
	}{
		{dial("Error while dialing: dial tcp 127.0.0.1:2379: connect: connection refused"), "connection refused at 127.0.0.1:2379", nil},
		{dial("Error while dialing: dial tcp 198.51.100.1:2379: connect: no route to host"), "connect to 127.0.0.1:2379: dial tcp 198.51.100.1:2379: connect: no route to host", nil},
		{dial("authentication handshake failed: tls: failed to verify certificate: x509: certificate signed by unknown authority"), "TLS with 127.0.0.1:2379: certificate signed by unknown authority", nil},
		{dial("authentication handshake failed: context deadline exceeded"), "connect to 127.0.0.1:2379: context deadline exceeded", nil},
		{status.Error(codes.Unavailable, `connection error: desc = "error reading server preface: remote error: tls: certificate required"`), "127.0.0.1:2379 refuses our client certificate: certificate required", nil},
		{status.Error(codes.DeadlineExceeded, "context deadline exceeded"), "no answer from 127.0.0.1:2379 in time", nil},
		{status.Error(codes.DeadlineExceeded, `received context error while waiting for new LB policy update: context deadline exceeded: latest balancer error: connection error: desc = "transport: Error while dialing: connection refused"`), "connection refused at 127.0.0.1:2379", nil},
		{status.Error(codes.Unavailable, "error reading from server: EOF"), "connection to 127.0.0.1:2379 was closed", nil},
		{status.Error(codes.Unavailable, "error reading from server: read tcp 127.0.0.1:1->127.0.0.1:2379: read: connection reset by peer"), "connection to 127.0.0.1:2379 was closed", nil},
		{rpctypes.ErrGRPCPermissionDenied, `permission denied (etcd auth is on): 127.0.0.1:2379 says "permission denied"`, ErrDenied},
		{rpctypes.ErrGRPCUserEmpty, `permission denied (etcd auth is on): 127.0.0.1:2379 says "user name is empty"`, ErrDenied},
		{rpctypes.ErrGRPCNoSpace, `etcd database is full (NOSPACE): 127.0.0.1:2379 says "mvcc: database space exceeded"`, ErrNoSpace},
		{rpctypes.ErrGRPCNotSupportedForLearner, "the etcd member at 127.0.0.1:2379 is a learner: it has no vote yet", ErrLearner},
		{rpctypes.ErrGRPCTimeout, `etcd has no leader: 127.0.0.1:2379 says "request timed out"`, ErrNoLeader},
		{rpctypes.ErrGRPCStopped, "127.0.0.1:2379: server stopped", nil},
	}
	for _, tt := range tests {
		err := explain(at, tt.err)
		if err.Error() != tt.want {
			t.Errorf("explain(%v)\n got %q\nwant %q", tt.err, err, tt.want)
		}
		for _, kind := range []error{ErrDenied, ErrNoSpace, ErrLearner, ErrNoLeader} {
			if got, want := errors.Is(err, kind), kind == tt.is; got != want {
				t.Errorf("explain(%v) is %q = %v, want %v", tt.err, kind, got, want)
			}
		}
		if !errors.Is(err, tt.err) {
			t.Errorf("explain(%v) does not wrap it", tt.err)
		}
	}
	if explain(at, nil) != nil {
		t.Error("explain(nil) is an error")
	}
}

func TestNames(t *testing.T) {
	for o, want := range map[Outcome]string{Unknown: "unknown", Failed: "failed", Failed + 1: "invalid", -1: "invalid"} {
		if o.String() != want {
			t.Errorf("outcome %d = %q, want %q", int(o), o, want)
		}
	}
	for s, want := range map[State]string{NotConfigured: "not configured", Ready: "ready", Ready + 1: "unknown", -1: "unknown"} {
		if s.String() != want {
			t.Errorf("state %d = %q, want %q", int(s), s, want)
		}
	}
}

func TestNew(t *testing.T) {
	ok := Config{Endpoint: "https://127.0.0.1:2379", CA: "ca", Cert: "c", Key: "k", Prefix: "/p/", Node: "n1"}
	tests := []struct {
		name   string
		change func(*Config)
		want   string // in the error; "" for none
	}{
		{"complete", func(*Config) {}, ""},
		{"plain", func(c *Config) { *c = Config{Endpoint: "http://127.0.0.1:2379", Prefix: "/p/", Node: "n1"} }, ""},
		{"server certificate only", func(c *Config) { c.Cert, c.Key = "", "" }, ""},
		{"no scheme", func(c *Config) { c.Endpoint = "127.0.0.1:2379" }, "endpoint"},
		{"no port", func(c *Config) { c.Endpoint = "https://127.0.0.1" }, "is no URL like"},
		{"a path", func(c *Config) { c.Endpoint += "/v3" }, "is no URL like"},
		{"no CA", func(c *Config) { c.CA = "" }, "needs a CA"},
		{"no key", func(c *Config) { c.Key = "" }, "needs its key"},
		{"prefix", func(c *Config) { c.Prefix = "/p" }, "does not end with /"},
		{"no node", func(c *Config) { c.Node = "" }, "node name"},
		{"node with a slash", func(c *Config) { c.Node = "a/b" }, "node name"},
		{"negative", func(c *Config) { c.TTL = -time.Second }, "negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := ok
			tt.change(&cfg)
			s, err := New(cfg)
			switch {
			case tt.want == "" && err != nil:
				t.Fatalf("New: %v", err)
			case tt.want == "":
				if s.cfg.TTL != DefaultTTL || s.cfg.CallTimeout != DefaultCallTimeout {
					t.Errorf("defaults = %v, %v", s.cfg.TTL, s.cfg.CallTimeout)
				}
				s.Close()
			case err == nil || !strings.Contains(err.Error(), tt.want):
				t.Errorf("New: error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestClosed(t *testing.T) {
	s, err := New(Config{Endpoint: "http://127.0.0.1:1", Prefix: "/p/", Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	for _, elsewhere := range []bool{false, true} {
		if res := s.Write(context.Background(), "", "v", elsewhere); res.Outcome != NotSent || !errors.Is(res.Err, ErrClosed) {
			t.Errorf("write (elsewhere %v) after Close = %+v, want not sent, %v", elsewhere, res, ErrClosed)
		}
	}
	if _, err := s.Read(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("read after Close: %v, want %v", err, ErrClosed)
	}
	if err := s.Call(context.Background(), "c"); !errors.Is(err, ErrClosed) {
		t.Errorf("call after Close: %v, want %v", err, ErrClosed)
	}
}

func TestGone(t *testing.T) {
	unavailable := func(text string) error {
		return explain("127.0.0.1:2379", status.Error(codes.Unavailable, text))
	}
	tests := []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errSilent, false},
		{unavailable(`connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:2379: connect: connection refused"`), true},
		{unavailable(`connection error: desc = "transport: authentication handshake failed: read tcp 127.0.0.1:5->127.0.0.1:2379: read: connection reset by peer"`), true},
		{unavailable("error reading from server: EOF"), false},
		{unavailable("etcdserver: no leader"), false},
		{unavailable("connection error: desc = \"transport: Error while dialing: dial tcp 198.51.100.1:2379: i/o timeout\""), false},
	}
	for _, test := range tests {
		if got := gone(test.err); got != test.want {
			t.Errorf("gone(%v) = %v", test.err, got)
		}
	}
}
