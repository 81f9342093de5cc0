package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// MaxKept bounds one value of the history, in bytes.
	MaxKept = 4 << 10

	// maxHistory bounds the answer to a read of the whole history. What havip
	// writes stays far below; others may have written there.
	maxHistory = 1 << 20

	// maxTrim bounds how many keys one transaction removes; etcd takes 128.
	maxTrim = 100
)

// errNoHistory: Config.History is empty.
var errNoHistory = errors.New("no prefix for the history is configured")

// Kept is one value of the history.
type Kept struct {
	Key     string // below Config.History
	Value   string // "" with Unread
	Unread  bool   // it has more than MaxKept bytes, which havip never writes
	Created int64  // revision
}

// Keep adds a value to the history, unless its key is there already: after an
// unknown outcome the same call may be repeated. Of all keys the newest most
// stay. Another member is used while the local one is away. The error may match
// ErrDenied, ErrNoSpace, ErrLearner, ErrNoLeader, ErrNotConfigured or ErrClosed.
func (s *Store) Keep(ctx context.Context, key, value string, most int) error {
	switch {
	case s.cfg.History == "":
		return fmt.Errorf("keep history: %w", errNoHistory)
	case len(value) > MaxKept:
		return fmt.Errorf("keep history: %s has %d bytes, more than %d", key, len(value), MaxKept)
	}
	var resp *pb.TxnResponse
	err := s.historyCall(ctx, func(ctx context.Context, l *link) (err error) {
		resp, err = l.kv().Txn(ctx, s.keepTxn(key, value, most))
		return err
	})
	if err != nil {
		return fmt.Errorf("keep history: %w", err)
	}
	if err := s.trim(ctx, resp, most); err != nil {
		return fmt.Errorf("trim history: %w", err)
	}
	return nil
}

// keepTxn puts the key if it is absent, and in either case lists the keys, the
// newest first.
func (s *Store) keepTxn(key, value string, most int) *pb.TxnRequest {
	k := []byte(s.cfg.History + key)
	put := &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: k, Value: []byte(value)}}}
	list := &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: s.historyRange(most+maxTrim, true)}}
	return &pb.TxnRequest{
		Compare: []*pb.Compare{{
			Key: k, Target: pb.Compare_CREATE, Result: pb.Compare_EQUAL,
			TargetUnion: &pb.Compare_CreateRevision{CreateRevision: 0},
		}},
		Success: []*pb.RequestOp{put, list},
		Failure: []*pb.RequestOp{list},
	}
}

func (s *Store) historyRange(limit int, keysOnly bool) *pb.RangeRequest {
	return &pb.RangeRequest{
		Key: []byte(s.cfg.History), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(s.cfg.History)),
		SortTarget: pb.RangeRequest_CREATE, SortOrder: pb.RangeRequest_DESCEND,
		Limit: int64(limit), KeysOnly: keysOnly,
	}
}

// trim removes the listed keys after the first most. They are named one by one,
// so that two that trim at once remove no more than one of them.
func (s *Store) trim(ctx context.Context, resp *pb.TxnResponse, most int) error {
	var old []*pb.RequestOp
	for _, r := range resp.Responses {
		kvs := r.GetResponseRange().GetKvs()
		for _, kv := range kvs[min(most, len(kvs)):] {
			old = append(old, &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: kv.Key}}})
		}
	}
	if len(old) == 0 {
		return nil
	}
	return s.historyCall(ctx, func(ctx context.Context, l *link) error {
		_, err := l.kv().Txn(ctx, &pb.TxnRequest{Success: old})
		return err
	})
}

// History reads the newest values of the history, at most most, the newest
// first: with a quorum all that was kept before the call, and else what the member
// has, which may lag behind.
func (s *Store) History(ctx context.Context, most int, quorum bool) ([]Kept, error) {
	if s.cfg.History == "" {
		return nil, fmt.Errorf("read history: %w", errNoHistory)
	}
	all := s.historyRange(most, false)
	all.Serializable = !quorum
	resp, err := s.readHistory(ctx, all)
	if status.Code(causeOf(err)) == codes.ResourceExhausted {
		return s.readOneByOne(ctx, most, quorum)
	}
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	list := make([]Kept, 0, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		list = append(list, s.kept(kv.Key, kv.Value, kv.CreateRevision))
	}
	return list, nil
}

// readOneByOne is for a history in which somebody has put what does not fit
// into one answer.
func (s *Store) readOneByOne(ctx context.Context, most int, quorum bool) ([]Kept, error) {
	all := s.historyRange(most, true)
	all.Serializable = !quorum
	keys, err := s.readHistory(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	var list []Kept
	for _, kv := range keys.Kvs {
		one, err := s.readHistory(ctx, &pb.RangeRequest{Key: kv.Key, Serializable: true})
		switch {
		case status.Code(causeOf(err)) == codes.ResourceExhausted:
			list = append(list, s.kept(kv.Key, make([]byte, MaxKept+1), kv.CreateRevision))
		case err != nil:
			return nil, fmt.Errorf("read history: %w", err)
		case len(one.Kvs) == 1: // else it is gone by now
			list = append(list, s.kept(kv.Key, one.Kvs[0].Value, kv.CreateRevision))
		}
	}
	return list, nil
}

func (s *Store) readHistory(ctx context.Context, req *pb.RangeRequest) (resp *pb.RangeResponse, err error) {
	err = s.historyCall(ctx, func(ctx context.Context, l *link) (err error) {
		resp, err = l.kv().Range(ctx, req, grpc.MaxCallRecvMsgSize(maxHistory))
		return err
	})
	return resp, err
}

func (s *Store) kept(key, value []byte, created int64) Kept {
	k := Kept{Key: string(bytes.TrimPrefix(key, []byte(s.cfg.History))), Created: created}
	if k.Unread = len(value) > MaxKept; !k.Unread {
		k.Value = string(value)
	}
	return k
}

func (s *Store) historyCall(ctx context.Context, do func(context.Context, *link) error) error {
	_, err := s.attempt(ctx, true, func(ctx context.Context, l *link) (bool, error) {
		return l.call(ctx, s.limit(ctx), func(ctx context.Context) error { return do(ctx, l) })
	})
	return err
}

// causeOf is what gRPC returned, without what this package adds.
func causeOf(err error) error {
	var ce *callError
	if errors.As(err, &ce) {
		return ce.err
	}
	return err
}

// checkHistory: whoever follows the election's keys reads all of them, again and
// again, so the history must not be among them.
func (c Config) checkHistory() error {
	switch {
	case c.History == "":
		return nil
	case !strings.HasSuffix(c.History, "/"):
		return fmt.Errorf("history prefix %q does not end with /", c.History)
	case strings.HasPrefix(c.History, c.Prefix) || strings.HasPrefix(c.Prefix, c.History):
		return fmt.Errorf("history prefix %q and prefix %q lie in each other", c.History, c.Prefix)
	}
	return nil
}
