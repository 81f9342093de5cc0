package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// quietAfter is how long a watch may say nothing before it is asked for a sign
// of life. While somebody renews, it never is.
const quietAfter = time.Second

var (
	errSilent     = errors.New("the watch gave no sign of life")
	errReplaced   = errors.New("the connection was replaced")
	errRestarted  = errors.New("the connection broke between the read and the watch")
	errOtherStore = errors.New("the store is another one than was read")
)

// session reads the prefix through the link and follows it until that fails.
// limit is for the read, and for the watch to begin; up says whether anything
// was delivered.
func (s *Store) session(ctx context.Context, l *link, limit time.Duration, emit func(Event)) (up bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the watch and its goroutine

	// The read and the watch must be of one connection: another one may be to a
	// member that was meanwhile restored from an older snapshot, with the same
	// IDs and revisions that mean something else.
	transport := l.transports.Load()
	v := &view{cfg: &s.cfg}
	events, err := s.readPrefix(ctx, l, limit, v)
	if made := l.transports.Load(); err == nil && made != transport {
		transport = made // the first read was what connected it
		events, err = s.readPrefix(ctx, l, limit, v)
	}
	if err != nil {
		return false, err
	}
	w, err := openWatch(ctx, l, s.cfg.Prefix, v.rev, limit)
	if err != nil {
		return false, err
	}
	if l.transports.Load() != transport {
		return false, errRestarted
	}
	if w.cluster != v.cluster || w.rev < v.rev {
		return false, errOtherStore
	}
	s.deliver(v, events, emit)
	s.setFollowing(l)
	return true, s.pump(ctx, l, w, v, emit)
}

func (s *Store) readPrefix(ctx context.Context, l *link, limit time.Duration, v *view) ([]Event, error) {
	var resp *pb.RangeResponse
	_, err := l.call(ctx, limit, func(ctx context.Context) (err error) {
		resp, err = l.kv().Range(ctx, &pb.RangeRequest{
			Key:      []byte(s.cfg.Prefix),
			RangeEnd: []byte(clientv3.GetPrefixRangeEnd(s.cfg.Prefix)),
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return v.load(resp), nil
}

func (s *Store) deliver(v *view, events []Event, emit func(Event)) {
	for _, e := range events {
		emit(e)
		if _, ok := e.(Nodes); !ok {
			continue
		}
		s.presence.seen(v.own())
		if v.others() {
			s.joined()
		}
	}
}

// pump delivers what the watch sees until it is lost.
func (s *Store) pump(ctx context.Context, l *link, w *watch, v *view, emit func(Event)) error {
	quiet := time.NewTimer(quietAfter)
	defer quiet.Stop()
	asked := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.retired:
			return errReplaced
		case err := <-w.lost:
			return explain(l.at, err)
		case resp := <-w.responses:
			if err := w.check(resp); err != nil {
				return err
			}
			s.deliver(v, v.apply(resp.Events), emit)
			asked = false
			quiet.Reset(quietAfter)
		case <-quiet.C:
			if asked {
				return errSilent
			}
			if err := w.askProgress(); err != nil {
				return explain(l.at, err)
			}
			asked = true
			quiet.Reset(s.cfg.CallTimeout)
		}
	}
}

// watch is one watch on one stream of one connection. The client library's own
// would quietly resume on a new connection; here a break must be seen.
type watch struct {
	stream    pb.Watch_WatchClient
	responses chan *pb.WatchResponse
	lost      chan error // at most one

	cluster uint64
	rev     int64 // of the store when the watch was made
}

// openWatch watches the prefix, from rev on, not from the revision after it: a
// watch that begins in the future gives no sign of life before anything was
// written (progressIfSync in server/storage/mvcc).
func openWatch(ctx context.Context, l *link, prefix string, rev int64, limit time.Duration) (*watch, error) {
	// The member ends the stream when it was without a leader for three
	// election timeouts, 3 s: a leader change as such does not interrupt it.
	stream, err := l.watch().Watch(clientv3.WithRequireLeader(ctx))
	if err != nil {
		return nil, explain(l.at, err)
	}
	w := &watch{stream: stream, responses: make(chan *pb.WatchResponse), lost: make(chan error, 1)}
	go w.receive(ctx)
	err = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		Key:           []byte(prefix),
		RangeEnd:      []byte(clientv3.GetPrefixRangeEnd(prefix)),
		StartRevision: rev,
	}}})
	if err != nil {
		return nil, explain(l.at, err)
	}
	first, err := w.first(ctx, limit)
	if err != nil {
		return nil, explain(l.at, err)
	}
	w.cluster, w.rev = first.Header.GetClusterId(), first.Header.GetRevision()
	return w, w.check(first)
}

func (w *watch) first(ctx context.Context, limit time.Duration) (*pb.WatchResponse, error) {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-t.C:
		return nil, status.Error(codes.DeadlineExceeded, "watch was not confirmed")
	case err := <-w.lost:
		return nil, err
	case resp := <-w.responses:
		return resp, nil
	}
}

func (w *watch) receive(ctx context.Context) {
	for {
		resp, err := w.stream.Recv()
		if err != nil {
			w.lost <- err
			return
		}
		select {
		case w.responses <- resp:
		case <-ctx.Done():
			return
		}
	}
}

// check returns why the watch is over, or is one of another store.
func (w *watch) check(resp *pb.WatchResponse) error {
	switch {
	case resp.CompactRevision != 0:
		return fmt.Errorf("watch: %w", rpctypes.ErrCompacted)
	case resp.Canceled && denials[trimCode(resp.CancelReason)]:
		return fmt.Errorf("watch: %w: %s", ErrDenied, trimCode(resp.CancelReason))
	case resp.Canceled:
		return fmt.Errorf("watch was cancelled by etcd: %s", resp.CancelReason)
	case resp.Header.GetClusterId() != w.cluster:
		return errOtherStore
	}
	return nil
}

// trimCode takes the text out of "rpc error: code = … desc = …", which is how a
// cancel reason comes.
func trimCode(reason string) string {
	if _, desc, ok := strings.Cut(reason, " desc = "); ok {
		return desc
	}
	return reason
}

// askProgress asks the member for a response to show that the watch lives.
func (w *watch) askProgress() error {
	return w.stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
}
