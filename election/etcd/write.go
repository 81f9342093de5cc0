package etcd

import (
	"context"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// Result is what became of a write.
type Result struct {
	Outcome   Outcome
	Current   string // with Refused: the record's value, "" if absent
	Err       error  // with NotSent, Failed and Unknown: why
	Elsewhere bool   // it went through another member than the local one
}

// Write replaces the record's value expect by value, in one transaction: both
// "" stand for an absent key, and an empty key counts as absent. It is sent at
// most once and lasts until the deadline of ctx, Config.CallTimeout if that has
// none. Several may be in flight; etcd orders them as it likes.
//
// With elsewhere, a write that provably did not leave through the local member
// goes through another one, and through another one first while Run has trouble
// with the local member. That is for giving the record away, never for
// campaigning or renewing.
//
// After an Unknown with ErrNoSpace the write is settled: a Read tells.
func (s *Store) Write(ctx context.Context, expect, value string, elsewhere bool) Result {
	var res Result
	limit := s.limit(ctx)
	l, err := s.attempt(ctx, elsewhere, func(ctx context.Context, l *link) (sent bool, err error) {
		res, sent = s.swap(ctx, l, limit, expect, value)
		return sent, res.Err
	})
	if l == nil {
		res.Outcome = NotSent
	}
	if err != nil {
		res.Err = fmt.Errorf("write record: %w", err)
	}
	res.Elsewhere = l != nil && l.url != s.cfg.Endpoint && res.Outcome != NotSent
	return res
}

// limit is how long a write may last.
func (s *Store) limit(ctx context.Context) time.Duration {
	if d, ok := ctx.Deadline(); ok {
		return time.Until(d)
	}
	return s.cfg.CallTimeout
}

func (s *Store) swap(ctx context.Context, l *link, limit time.Duration, expect, value string) (Result, bool) {
	var resp *pb.TxnResponse
	sent, err := l.call(ctx, limit, func(ctx context.Context) (err error) {
		resp, err = l.kv().Txn(ctx, swapTxn(s.cfg.recordKey(), expect, value))
		return err
	})
	if err != nil {
		return Result{Outcome: outcomeOf(err, sent), Err: err}, sent
	}
	committed, current := readSwap(resp)
	if committed {
		return Result{Outcome: Committed}, true
	}
	return Result{Outcome: Refused, Current: current}, true
}

// swapTxn is the compare-and-swap. Where no value is expected, the key may be
// absent or empty: an operator's empty put must not strand the address.
func swapTxn(key []byte, expect, value string) *pb.TxnRequest {
	put := []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key, Value: []byte(value)}}}}
	get := []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key}}}}
	equal := &pb.TxnRequest{
		Compare: []*pb.Compare{{
			Key: key, Target: pb.Compare_VALUE, Result: pb.Compare_EQUAL,
			TargetUnion: &pb.Compare_Value{Value: []byte(expect)},
		}},
		Success: put,
		Failure: get,
	}
	if expect != "" {
		return equal
	}
	return &pb.TxnRequest{
		Compare: []*pb.Compare{{
			Key: key, Target: pb.Compare_CREATE, Result: pb.Compare_EQUAL,
			TargetUnion: &pb.Compare_CreateRevision{CreateRevision: 0},
		}},
		Success: put,
		Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestTxn{RequestTxn: equal}}},
	}
}

// readSwap reads the answer to a swapTxn.
func readSwap(resp *pb.TxnResponse) (committed bool, current string) {
	if resp.Succeeded {
		return true, ""
	}
	for _, r := range resp.Responses {
		if inner := r.GetResponseTxn(); inner != nil {
			return readSwap(inner)
		}
		for _, kv := range r.GetResponseRange().GetKvs() {
			current = string(kv.Value)
		}
	}
	return false, current
}

// Read returns the record's value by one linearizable read through the local
// member: as of a moment after the call. "" means that the key is absent or
// empty. The error may match ErrNotConfigured, ErrDenied, ErrLearner,
// ErrNoLeader or ErrClosed.
func (s *Store) Read(ctx context.Context) (string, error) {
	l, err := s.localLink()
	if err != nil {
		return "", fmt.Errorf("read record: %w", err)
	}
	var resp *pb.RangeResponse
	_, err = l.call(ctx, s.cfg.CallTimeout, func(ctx context.Context) (err error) {
		resp, err = l.kv().Range(ctx, &pb.RangeRequest{Key: s.cfg.recordKey()})
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read record: %w", err)
	}
	if len(resp.Kvs) == 0 {
		return "", nil
	}
	return string(resp.Kvs[0].Value), nil
}
