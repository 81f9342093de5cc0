package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// errNoOther: the member list is not known, or has nobody else to ask.
var errNoOther = errors.New("no other etcd member is known")

// attempt makes a call through the local member and, if elsewhere allows and
// the request provably did not leave, through another one; in the other order
// while the local member is in trouble. It returns the link that was tried
// last, nil if none could be, and the errors of all that was tried. What left
// is never tried again, whatever the answer.
func (s *Store) attempt(ctx context.Context, elsewhere bool, do func(context.Context, *link) (sent bool, err error)) (*link, error) {
	ways := []func(context.Context) (*link, error){
		func(context.Context) (*link, error) { return s.localLink() },
		s.otherLink,
	}
	switch {
	case !elsewhere:
		ways = ways[:1]
	case !s.trustsLocal():
		slices.Reverse(ways)
	}
	var tried *link
	var errs []error
	for _, way := range ways {
		l, err := way(ctx)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		tried = l
		sent, err := do(ctx, l)
		if sent || err == nil {
			return l, err
		}
		errs = append(errs, err)
	}
	return tried, errors.Join(errs...)
}

// otherLink returns a connected link to another voting member: the one that is
// followed, or the first that can be reached before ctx ends.
func (s *Store) otherLink(ctx context.Context) (*link, error) {
	links, err := s.otherLinks()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	first := make(chan *link, len(links))
	var wg sync.WaitGroup
	for _, l := range links {
		wg.Go(func() {
			if !l.connected(ctx) {
				l = nil
			}
			first <- l
		})
	}
	defer wg.Wait()
	defer cancel()
	for range links {
		if l := <-first; l != nil {
			return l, nil
		}
	}
	s.shun("")
	return nil, fmt.Errorf("connect to another etcd member: none of %d answers", len(links))
}

// otherLinks returns a link for each client URL of each other voting member; of
// the followed one alone while there is one.
func (s *Store) otherLinks() ([]*link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.following != nil && s.following != s.local {
		return []*link{s.following}, nil
	}
	urls := s.cluster.otherURLs(s.files != nil)
	if len(urls) > 1 {
		urls = slices.DeleteFunc(urls, func(u string) bool { return u == s.shunned })
	}
	var links []*link
	for _, u := range urls {
		if s.others[u] == nil {
			l, err := newLink(u, s.files, otherIdle)
			if err != nil {
				return nil, err
			}
			s.others[u] = l
		}
		links = append(links, s.others[u])
	}
	if len(links) == 0 {
		return nil, errNoOther
	}
	return links, nil
}

// shun prefers the other members over this one, which connects but does not
// serve, until another one fails too. "" prefers none.
func (s *Store) shun(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shunned = url
}
