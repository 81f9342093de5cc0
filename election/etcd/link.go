package etcd

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/stats"
)

const (
	// gRPC raises a shorter keepalive time to 10 s, and etcd hangs up on clients
	// that ping more often than every 5 s. Its timeout also becomes the socket's
	// TCP_USER_TIMEOUT, which is what ends a connection with unacknowledged data
	// after 2 s. A peer that acknowledges and says nothing is found by asking.
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 2 * time.Second

	// Reconnecting: at once, then every 0.1 to 0.5 s. A refused connection to
	// the own node costs next to nothing, and kubelet restarts etcd at any time.
	connectBase = 100 * time.Millisecond
	connectMax  = 500 * time.Millisecond
	// connectLimit ends a handshake with a member that accepts and then hangs.
	connectLimit = 2 * time.Second

	// otherIdle disconnects from another member that is no longer needed.
	otherIdle = 30 * time.Second

	// ioBuffer replaces gRPC's 32 KiB per direction: the messages are small.
	ioBuffer = 4 << 10

	// Fixed flow control windows keep gRPC from measuring the bandwidth, with a
	// ping and its answer for every message that arrives. One stream that is not
	// read leaves room for the others.
	streamWindow = 64 << 10
	connWindow   = 1 << 20

	// retireGrace is how long a replaced connection stays open for the answers
	// to calls that are still in flight on it.
	retireGrace = 5 * time.Second
)

// gRPC logs errors to stderr by itself. A blocked stderr must not block an
// election, and what gRPC has to say comes back as the error of a call.
// Its documentation wants this done before anything else uses it.
func init() {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
}

// A link is a connection to one member, which reconnects by itself. Calls on
// it fail at once while there is no connection.
type link struct {
	url    string
	at     string // host:port, for messages
	client *clientv3.Client
	conn   *grpc.ClientConn

	retireOnce sync.Once
	retired    chan struct{} // closed when the link is to be used no more

	transports atomic.Uint64 // connections made so far
	heard      atomic.Int64  // when something last arrived, on the clock of now
}

// started is the origin of now.
var started = time.Now()

func now() time.Duration { return time.Since(started) }

// newLink prepares a link; it connects when it is first used. idle is how long
// it stays connected without calls, 0 for ever. nil files mean plain HTTP.
func newLink(endpoint string, files *pemFiles, idle time.Duration) (*link, error) {
	l := &link{url: endpoint, at: hostPort(endpoint), retired: make(chan struct{})}
	creds := insecure.NewCredentials()
	if files != nil {
		creds = newFreshTLS(*files)
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            []string{endpoint},
		DialKeepAliveTime:    keepaliveTime,
		DialKeepAliveTimeout: keepaliveTimeout,
		MaxUnaryRetries:      1, // attempts, in spite of its name; 0 would mean 100
		Logger:               zap.NewNop(),
		DialOptions: []grpc.DialOption{
			grpc.WithTransportCredentials(creds),
			grpc.WithStatsHandler(l),
			grpc.WithDisableRetry(),
			grpc.WithIdleTimeout(idle),
			// HTTPS_PROXY in the environment is not meant for etcd.
			grpc.WithNoProxy(),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: connectBase, Multiplier: 1.6, Jitter: 0.2, MaxDelay: connectMax},
				MinConnectTimeout: connectLimit,
			}),
			grpc.WithReadBufferSize(ioBuffer),
			grpc.WithWriteBufferSize(ioBuffer),
			grpc.WithStaticStreamWindowSize(streamWindow),
			grpc.WithStaticConnWindowSize(connWindow),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("prepare connection to %s: %w", endpoint, err)
	}
	l.client, l.conn = client, client.ActiveConnection()
	return l, nil
}

func hostPort(endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
		return u.Host
	}
	return endpoint
}

// retire ends the use of the link. Calls in flight may still be answered.
func (l *link) retire() {
	l.retireOnce.Do(func() {
		close(l.retired)
		time.AfterFunc(retireGrace, func() { _ = l.client.Close() })
	})
}

// close ends the link and the calls on it.
func (l *link) close() {
	l.retireOnce.Do(func() { close(l.retired) })
	_ = l.client.Close() // only tells that it was closed
}

// silentFor says whether nothing at all arrived on the link for d.
func (l *link) silentFor(d time.Duration) bool {
	return now()-time.Duration(l.heard.Load()) >= d
}

// connected waits until the link is connected or ctx ends.
func (l *link) connected(ctx context.Context) bool {
	l.conn.Connect()
	for {
		state := l.conn.GetState()
		if state == connectivity.Ready {
			return true
		}
		if state == connectivity.Shutdown || !l.conn.WaitForStateChange(ctx, state) {
			return false
		}
		if l.conn.GetState() == connectivity.Idle {
			l.conn.Connect()
		}
	}
}

// call makes one call that lasts at most limit, and tells whether its request
// may have left this process. The error names the member.
func (l *link) call(ctx context.Context, limit time.Duration, do func(context.Context) error) (sent bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ctx, departed := withDeparture(ctx)
	err = do(ctx)
	return departed.Load(), explain(l.at, err)
}

func (l *link) kv() pb.KVClient                   { return pb.NewKVClient(l.conn) }
func (l *link) lease() pb.LeaseClient             { return pb.NewLeaseClient(l.conn) }
func (l *link) watch() pb.WatchClient             { return pb.NewWatchClient(l.conn) }
func (l *link) cluster() pb.ClusterClient         { return pb.NewClusterClient(l.conn) }
func (l *link) maintenance() pb.MaintenanceClient { return pb.NewMaintenanceClient(l.conn) }

type departureKey struct{}

// withDeparture returns a context whose call sets the flag when its request is
// queued for the wire.
func withDeparture(ctx context.Context) (context.Context, *atomic.Bool) {
	departed := new(atomic.Bool)
	return context.WithValue(ctx, departureKey{}, departed), departed
}

// TagRPC implements stats.Handler.
func (l *link) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler. OutHeader comes right after the headers
// were queued, in the caller's goroutine; without headers there is no request.
func (l *link) HandleRPC(ctx context.Context, s stats.RPCStats) {
	switch s.(type) {
	case *stats.OutHeader:
		if departed, ok := ctx.Value(departureKey{}).(*atomic.Bool); ok {
			departed.Store(true)
		}
	case *stats.InHeader, *stats.InPayload, *stats.InTrailer:
		l.heard.Store(int64(now()))
	}
}

// TagConn implements stats.Handler.
func (l *link) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (l *link) HandleConn(_ context.Context, s stats.ConnStats) {
	if _, ok := s.(*stats.ConnBegin); ok {
		l.transports.Add(1)
	}
}
