package etcd

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// ErrChanged: the key had another value than was expected.
var ErrChanged = errors.New("somebody else has changed it meanwhile")

// SetKey replaces the value expect of the key by value, in one transaction through
// the local member; "" stands for an absent or empty key. What was set comes to all
// as an event. After an error other than ErrChanged it may have been set or not.
func (s *Store) SetKey(ctx context.Context, expect, value string) error {
	l, err := s.localLink()
	if err != nil {
		return fmt.Errorf("set key: %w", err)
	}
	var resp *pb.TxnResponse
	_, err = l.call(ctx, s.limit(ctx), func(ctx context.Context) (err error) {
		resp, err = l.kv().Txn(ctx, swapTxn(s.cfg.secretKey(), expect, value))
		return err
	})
	if err != nil {
		return fmt.Errorf("set key: %w", err)
	}
	if committed, _ := readSwap(resp); !committed {
		return fmt.Errorf("set key: %w", ErrChanged)
	}
	return nil
}
