package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// removeLimit bounds the removal of a member, which is one entry of the log: a
// slow disk may take seconds for it.
const removeLimit = 3 * time.Second

// Listed is a member as the cluster lists it, and what it says itself.
type Listed struct {
	Member

	LeaderID uint64 // whom it names, 0 for nobody
	Err      error  // why it is not well; nil: it answers, and has no alarm
}

// Roll asks the members at these client URLs for the list of all, as a quorum has
// it, and then each member on it how it is. The local member is not needed: this
// is for a node that has none yet. The error may match ErrNotConfigured, ErrDenied
// or ErrNoLeader.
func (s *Store) Roll(ctx context.Context, urls []string) ([]Listed, error) {
	list, err := s.listThrough(ctx, urls)
	if err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	var wg sync.WaitGroup
	for i := range list {
		wg.Go(func() { list[i].LeaderID, list[i].Err = s.examine(ctx, list[i]) })
	}
	wg.Wait()
	for i := range list {
		list[i].Leader = list[i].LeaderID == list[i].ID
	}
	return list, nil
}

// Look asks the member at these client URLs of it what it is, and whom it names
// leader. It needs no quorum.
func (s *Store) Look(ctx context.Context, urls []string) (Listed, error) {
	resp, err := through(ctx, s, urls, s.cfg.CallTimeout, func(ctx context.Context, l *link) (*pb.StatusResponse, error) {
		return l.maintenance().Status(ctx, &pb.StatusRequest{})
	})
	if err != nil {
		return Listed{}, fmt.Errorf("ask member: %w", err)
	}
	id := resp.Header.GetMemberId()
	return Listed{Member: Member{ID: id, Learner: resp.IsLearner, Leader: id == resp.Leader}, LeaderID: resp.Leader}, nil
}

// Presence reads, through the members at these client URLs, what a node publishes;
// "" is nothing.
func (s *Store) Presence(ctx context.Context, urls []string, node string) (string, error) {
	resp, err := through(ctx, s, urls, s.cfg.CallTimeout, func(ctx context.Context, l *link) (*pb.RangeResponse, error) {
		return l.kv().Range(ctx, &pb.RangeRequest{Key: s.cfg.nodeKey(node)})
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("read presence: %w", err)
	case len(resp.Kvs) == 0:
		return "", nil
	}
	return string(resp.Kvs[0].Value), nil
}

// RemoveMember has a member that answers at one of these client URLs take the one
// with this ID off the list. That it is not there any more is no error: an ID is
// never given twice.
func (s *Store) RemoveMember(ctx context.Context, urls []string, id uint64) error {
	_, err := through(ctx, s, urls, removeLimit, func(ctx context.Context, l *link) (*pb.MemberRemoveResponse, error) {
		return l.cluster().MemberRemove(ctx, &pb.MemberRemoveRequest{ID: id})
	})
	if err == nil {
		return nil
	}
	// The answer may be lost, or come from a second try.
	list, listErr := s.listThrough(ctx, urls)
	if listErr == nil && !slices.ContainsFunc(list, func(m Listed) bool { return m.ID == id }) {
		return nil
	}
	return fmt.Errorf("remove member %x: %w", id, err)
}

func (s *Store) listThrough(ctx context.Context, urls []string) ([]Listed, error) {
	resp, err := through(ctx, s, urls, s.cfg.CallTimeout, func(ctx context.Context, l *link) (*pb.MemberListResponse, error) {
		return l.cluster().MemberList(ctx, &pb.MemberListRequest{Linearizable: true})
	})
	if err != nil {
		return nil, err
	}
	var list []Listed
	for _, m := range resp.Members {
		list = append(list, Listed{Member: Member{ID: m.ID, Name: m.Name, ClientURLs: m.ClientURLs, PeerURLs: m.PeerURLs, Learner: m.IsLearner}})
	}
	return list, nil
}

// examine asks a member how it is.
func (s *Store) examine(ctx context.Context, m Listed) (leader uint64, err error) {
	if len(m.ClientURLs) == 0 {
		return 0, errors.New("it has never started")
	}
	resp, err := through(ctx, s, m.ClientURLs, s.cfg.CallTimeout, func(ctx context.Context, l *link) (*pb.StatusResponse, error) {
		return l.maintenance().Status(ctx, &pb.StatusRequest{})
	})
	switch {
	case err != nil:
		return 0, err
	case resp.Header.GetMemberId() != m.ID:
		return 0, fmt.Errorf("another member answers in its place: %x", resp.Header.GetMemberId())
	case resp.Leader == 0:
		return 0, ErrNoLeader
	case len(resp.Errors) > 0:
		return resp.Leader, fmt.Errorf("it has an alarm: %s", resp.Errors[0])
	}
	return resp.Leader, nil
}

// through makes a call through the first of these members that carries it out, each
// over a connection of its own.
func through[T any](ctx context.Context, s *Store, urls []string, limit time.Duration, do func(context.Context, *link) (T, error)) (answer T, err error) {
	if s.files != nil {
		if _, err := s.files.config(); err != nil {
			return answer, err
		}
	}
	errs := []error{}
	for _, u := range urls {
		l, err := newLink(u, s.files, 0)
		if err != nil {
			return answer, err
		}
		answer, err = once(ctx, l, limit, s.cfg.CallTimeout, do)
		l.close()
		if err == nil {
			return answer, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return answer, errNoOther
	}
	return answer, errors.Join(errs...)
}

// once connects and makes one call.
func once[T any](ctx context.Context, l *link, limit, connect time.Duration, do func(context.Context, *link) (T, error)) (answer T, err error) {
	wait, cancel := context.WithTimeout(ctx, connect)
	defer cancel()
	l.connected(wait) // if it is not, the call says why
	_, err = l.call(ctx, limit, func(ctx context.Context) (err error) {
		answer, err = do(ctx, l)
		return err
	})
	return answer, err
}
