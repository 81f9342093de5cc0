package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"havip/test/cluster"
)

// watchEvery is the pause between two requests of a watch. More would take the
// processors from the control planes that are watched.
const watchEvery = 50 * time.Millisecond

// giveUp is when a request of a watch counts as failed.
const giveUp = 2 * time.Second

// Watch asks the API server over and over, each time over a new connection, and
// does not wait for one answer before it asks again.
type Watch struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu       sync.Mutex
	attempts []cluster.Attempt
}

// WatchReads reads an object out of etcd again and again.
func (a *API) WatchReads(ctx context.Context) *Watch {
	return watch(ctx, watchEvery, func(ctx context.Context, _ int) error {
		return a.Get(ctx, "/api/v1/namespaces/default", nil)
	})
}

// WatchWrites writes objects to etcd again and again, under names of this name.
func (a *API) WatchWrites(ctx context.Context, name string) *Watch {
	return watch(ctx, 4*watchEvery, func(ctx context.Context, i int) error {
		return a.Write(ctx, fmt.Sprintf("%s-%d", name, i))
	})
}

func watch(ctx context.Context, every time.Duration, ask func(ctx context.Context, i int) error) *Watch {
	ctx, cancel := context.WithCancel(ctx)
	w := &Watch{cancel: cancel}
	w.done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for i := 0; ; i++ {
			w.done.Go(func() { w.attempt(ctx, i, ask) })
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return w
}

func (w *Watch) attempt(ctx context.Context, i int, ask func(ctx context.Context, i int) error) {
	limited, cancel := context.WithTimeout(ctx, giveUp)
	defer cancel()
	a := cluster.Attempt{Sent: cluster.Now()}
	err := ask(limited, i)
	a.Done = cluster.Now()
	if ctx.Err() != nil {
		return // the end of the watch
	}
	if err == nil {
		a.Node = "api"
	} else {
		a.Err = err.Error()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attempts = append(w.attempts, a)
}

// Stop ends the watch.
func (w *Watch) Stop() {
	w.cancel()
	w.done.Wait()
}

// Outage is the longest time without an answer, and how many requests failed.
func (w *Watch) Outage(from, to time.Duration) (longest time.Duration, failed int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.attempts {
		if a.Err != "" && a.Sent >= from && a.Sent <= to {
			failed++
		}
	}
	return cluster.FindOutage(slices.Clone(w.attempts), from, to).Length(), failed
}

// WaitAnswer waits until a request that was sent after since was answered.
func (w *Watch) WaitAnswer(ctx context.Context, limit, since time.Duration) error {
	return cluster.Poll(ctx, limit, "an answer of the API server", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.ContainsFunc(w.attempts, func(a cluster.Attempt) bool { return a.Node != "" && a.Sent >= since })
	})
}
