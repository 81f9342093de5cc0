package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// presenceRetry is the wait after a presence call that failed.
const presenceRetry = 500 * time.Millisecond

// presence keeps this node's key, and the call, under a lease.
type presence struct {
	s    *Store
	wake chan struct{}

	mu      sync.Mutex
	value   string   // wanted in the key; "" for no key
	rewrite bool     // the key may have something else than written
	doubted []string // values whose puts had no outcome, the last ones

	// turn holds one token; who has it owns the fields below. It is a channel
	// because the wait for it must end with the caller's context.
	turn    chan struct{}
	written string        // what the key was last given
	lease   int64         // 0: none
	renewed time.Duration // when a renewal was last sent, on the clock of now
}

func newPresence(s *Store) *presence {
	p := &presence{s: s, wake: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
	p.turn <- struct{}{}
	return p
}

// Publish sets this node's presence value, at once and without waiting; the
// latest wins, "" takes it away. Run keeps it there: under a lease of
// Config.TTL that is renewed every third of it, and written anew when the lease
// or the key was lost. While the local member is away another one is used.
func (s *Store) Publish(value string) {
	s.presence.want(value)
}

// Call sets the call key, under the lease of the presence: it vanishes with
// this node. "" deletes it. The last call of any node wins. Another member is
// used while the local one is away. The error may match ErrDenied, ErrNoSpace,
// ErrLearner, ErrNoLeader, ErrNotConfigured or ErrClosed.
func (s *Store) Call(ctx context.Context, value string) error {
	p := s.presence
	if err := p.lock(ctx); err != nil {
		return fmt.Errorf("set call: %w", err)
	}
	defer p.unlock()
	if err := p.set(ctx, s.cfg.callKey(), value); err != nil {
		return fmt.Errorf("set call: %w", err)
	}
	return nil
}

// Leave ends the presence and the call at once, until the next Publish or Call.
func (s *Store) Leave(ctx context.Context) error {
	p := s.presence
	p.want("")
	if err := p.lock(ctx); err != nil {
		return fmt.Errorf("end presence: %w", err)
	}
	defer p.unlock()
	if p.lease == 0 {
		return nil
	}
	err := p.call(ctx, func(ctx context.Context, l *link) error {
		_, err := l.lease().LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: p.lease})
		return err
	})
	if err != nil && !leaseGone(err) {
		return fmt.Errorf("revoke lease %x: %w", p.lease, err)
	}
	p.forget()
	return nil
}

func (p *presence) want(value string) {
	p.mu.Lock()
	p.value = value
	p.mu.Unlock()
	p.nudge()
}

// doubtsKept is how many values are remembered whose puts had no outcome: as many
// as are written while etcd elects a leader.
const doubtsKept = 16

// seen says what the key has. Without it its lease ran out, somebody deleted it, or
// an older snapshot was restored. A put that had no outcome may commit after the
// ones that followed: a member keeps what it could not send to another, for when
// that is back. Any other value is left alone, or two nodes of one name would write
// for ever.
func (p *presence) seen(value string, there bool) {
	p.mu.Lock()
	wrong := !there && p.value != "" || there && value != p.value && slices.Contains(p.doubted, value)
	p.rewrite = p.rewrite || wrong
	p.mu.Unlock()
	if wrong {
		p.nudge()
	}
}

func (p *presence) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *presence) lock(ctx context.Context) error {
	select {
	case <-p.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *presence) unlock() { p.turn <- struct{}{} }

// keep keeps the presence until ctx ends.
func (p *presence) keep(ctx context.Context) error {
	timer := time.NewTimer(p.interval())
	defer timer.Stop()
	for {
		wait := p.interval()
		if err := p.sync(ctx); err != nil {
			p.s.log.Debug("presence not kept", "error", err)
			wait = presenceRetry
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-p.wake:
		}
	}
}

func (p *presence) interval() time.Duration { return p.s.cfg.TTL / 3 }

// sync renews the lease when it is time, and writes the value if it changed.
func (p *presence) sync(ctx context.Context) error {
	if err := p.lock(ctx); err != nil {
		return err
	}
	defer p.unlock()
	if p.lease != 0 && now()-p.renewed >= p.interval() {
		if err := p.renew(ctx); err != nil && !leaseGone(err) {
			return err
		}
	}
	p.mu.Lock()
	value, rewrite := p.value, p.rewrite
	p.rewrite = false
	p.mu.Unlock()
	if value == p.written && !rewrite {
		return nil
	}
	if err := p.set(ctx, p.s.cfg.nodeKey(p.s.cfg.Node), value); err != nil {
		p.mu.Lock()
		p.rewrite = true // it may have been written all the same
		if !slices.Contains(p.doubted, value) {
			p.doubted = append(p.doubted, value)
			p.doubted = p.doubted[max(0, len(p.doubted)-doubtsKept):]
		}
		p.mu.Unlock()
		return err
	}
	p.written = value
	return nil
}

// set writes the key under the lease, or deletes it if the value is empty.
func (p *presence) set(ctx context.Context, key []byte, value string) error {
	if value == "" {
		return p.call(ctx, func(ctx context.Context, l *link) error {
			_, err := l.kv().DeleteRange(ctx, &pb.DeleteRangeRequest{Key: key})
			return err
		})
	}
	err := p.put(ctx, key, value)
	if leaseGone(err) {
		p.forget()
		err = p.put(ctx, key, value)
	}
	return err
}

func (p *presence) put(ctx context.Context, key []byte, value string) error {
	if p.lease == 0 {
		if err := p.grant(ctx); err != nil {
			return err
		}
	}
	return p.call(ctx, func(ctx context.Context, l *link) error {
		_, err := l.kv().Put(ctx, &pb.PutRequest{Key: key, Value: []byte(value), Lease: p.lease})
		return err
	})
}

func (p *presence) grant(ctx context.Context) error {
	sent := now()
	ttl := int64((p.s.cfg.TTL + time.Second - 1) / time.Second)
	return p.call(ctx, func(ctx context.Context, l *link) error {
		resp, err := l.lease().LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: ttl})
		if err == nil {
			p.lease, p.renewed = resp.ID, sent
		}
		return err
	})
}

// renew renews the lease once. The client library's own KeepAliveOnce repeats
// without a pause while there is no connection.
func (p *presence) renew(ctx context.Context) error {
	sent := now()
	err := p.call(ctx, func(ctx context.Context, l *link) error { return renewOnce(ctx, l, p.lease) })
	switch {
	case err == nil:
		p.renewed = sent
	case leaseGone(err):
		p.forget()
	}
	return err
}

func renewOnce(ctx context.Context, l *link, id int64) error {
	stream, err := l.lease().LeaseKeepAlive(ctx)
	if err != nil {
		return err
	}
	// Send reports a broken stream as io.EOF; its error comes from Recv.
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	resp, err := stream.Recv()
	if err != nil {
		return err
	}
	if resp.TTL <= 0 {
		return rpctypes.ErrGRPCLeaseNotFound
	}
	return nil
}

// forget begins without a lease; keys that hung on the old one are gone.
func (p *presence) forget() { p.lease, p.written = 0, "" }

func leaseGone(err error) bool { return errors.Is(err, rpctypes.ErrGRPCLeaseNotFound) }

// call makes one call through the local member, or through another one while
// the local member is away.
func (p *presence) call(ctx context.Context, do func(context.Context, *link) error) error {
	_, err := p.s.attempt(ctx, true, func(ctx context.Context, l *link) (bool, error) {
		return l.call(ctx, p.s.cfg.CallTimeout, func(ctx context.Context) error { return do(ctx, l) })
	})
	return err
}
