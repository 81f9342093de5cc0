package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// localGrace is how long the local member may be away before the keys are
	// followed through another one.
	localGrace = 300 * time.Millisecond
	// deadGrace is the same where the kernel says twice that nothing is there: it
	// closed the connection, and refuses or resets another one. No etcd is ready
	// again within localGrace of that.
	deadGrace = retryFirst

	retryFirst = 50 * time.Millisecond
	retryLast  = 500 * time.Millisecond
)

var errLocalBack = errors.New("the local member answers again")

// follow keeps the prefix followed until ctx ends: through the local member,
// and through another one while that does not serve.
func (s *Store) follow(ctx context.Context, emit func(Event)) error {
	var awaySince time.Duration // on the clock of now; 0 while it serves
	wait := retryFirst
	for ctx.Err() == nil {
		limit := s.cfg.CallTimeout
		if awaySince != 0 && s.knowsOthers() {
			limit = min(limit, localGrace)
		}
		up, err := s.followLocal(ctx, limit, emit)
		if ctx.Err() != nil {
			break
		}
		s.setTroubled(err)
		s.setFollowing(nil)
		if up {
			s.lose(ctx, err, emit)
			s.reachOut()
			awaySince, wait = 0, retryFirst
		}
		if awaySince == 0 {
			awaySince = now()
		}
		grace := localGrace
		if gone(err) {
			grace = deadGrace
		}
		if now()-awaySince >= grace && s.detour(ctx, emit) {
			awaySince, wait = 0, retryFirst
			continue
		}
		if !pause(ctx, wait) {
			break
		}
		wait = min(wait*2, retryLast)
	}
	s.setFollowing(nil)
	s.setTroubled(nil)
	return nil
}

// reachOut begins to connect to the other members, which may be needed in moments.
func (s *Store) reachOut() {
	links, err := s.otherLinks()
	if err != nil {
		return // nobody to reach
	}
	for _, l := range links {
		l.conn.Connect()
	}
}

func (s *Store) knowsOthers() bool {
	_, err := s.otherLinks()
	return err == nil
}

func (s *Store) followLocal(ctx context.Context, limit time.Duration, emit func(Event)) (up bool, err error) {
	l, err := s.localLink()
	if err != nil {
		return false, err
	}
	up, err = s.session(ctx, l, limit, emit)
	if errors.Is(err, errSilent) && l.silentFor(s.cfg.CallTimeout) {
		s.drop(l, err)
	}
	return up, err
}

// lose tells that a watch is no more.
func (s *Store) lose(ctx context.Context, err error, emit func(Event)) {
	if ctx.Err() != nil {
		return
	}
	s.log.Debug("watch lost", "reason", err)
	emit(WatchLost{Err: fmt.Errorf("watch %s: %w", s.cfg.Prefix, err)})
}

// detour follows the prefix through other members until the local one serves a
// linearizable read again. It returns false at once if there is no other one.
func (s *Store) detour(ctx context.Context, emit func(Event)) bool {
	if !s.knowsOthers() {
		return false
	}
	outer := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.awaitLocal(ctx, cancel) })
	for wait := retryFirst; ctx.Err() == nil; wait = min(wait*2, retryLast) {
		up, err := s.followOther(ctx, emit)
		switch {
		case up && ctx.Err() != nil:
			s.lose(outer, errLocalBack, emit)
		case up:
			s.lose(outer, err, emit)
			wait = retryFirst
		case ctx.Err() == nil:
			s.log.Debug("follow through another member", "error", err)
		}
		if !pause(ctx, wait) {
			break
		}
	}
	return true
}

func (s *Store) followOther(ctx context.Context, emit func(Event)) (up bool, err error) {
	l, err := s.otherLink(ctx)
	if err != nil {
		return false, err
	}
	up, err = s.session(ctx, l, s.cfg.CallTimeout, emit)
	s.setFollowing(nil)
	if ctx.Err() == nil {
		s.shun(l.url)
		s.drop(l, err)
	}
	return up, err
}

// awaitLocal calls back when the local member serves a linearizable read.
func (s *Store) awaitLocal(ctx context.Context, back func()) {
	for pause(ctx, retryLast) {
		_, err := s.Read(ctx)
		if err == nil {
			back()
			return
		}
		if ctx.Err() == nil {
			s.setTroubled(err)
		}
	}
}
