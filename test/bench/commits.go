package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"havip/test/cluster"
	"havip/test/measure"
)

const (
	commitEvery = 20 * time.Millisecond
	ownCommits  = 20 // for the time that a commit takes by itself
	commitLimit = 10 * time.Second
)

// commits writes to etcd through one node's member, to tell what etcd itself
// takes from what a contender adds.
type commits struct {
	client *http.Client
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex
	done []commit
}

type commit struct{ sent, confirmed time.Duration }

func newCommits(n *cluster.Node) (*commits, error) {
	client, err := n.EtcdClient()
	if err != nil {
		return nil, err
	}
	return &commits{client: client, stop: func() {}}, nil
}

func (c *commits) put(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commitLimit)
	defer cancel()
	const body = `{"key":"L2JlbmNoL2NvbW1pdA==","value":"eA=="}` // base64 of /bench/commit and x
	var answer struct{}
	return post(ctx, c.client, "put", body, &answer)
}

// own is the median of what a commit takes on a connection that is there, in
// milliseconds.
func (c *commits) own(ctx context.Context) (float64, error) {
	var took []time.Duration
	for range ownCommits + 1 {
		sent := cluster.Now()
		if err := c.put(ctx); err != nil {
			return 0, fmt.Errorf("write to etcd: %w", err)
		}
		took = append(took, cluster.Now()-sent)
	}
	return milliseconds(measure.Median(took[1:])), nil
}

// watch writes all the time from now on, without waiting for what was written
// before.
func (c *commits) watch(ctx context.Context) {
	ctx, c.stop = context.WithCancel(ctx)
	c.wg.Go(func() {
		tick := time.NewTicker(commitEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			c.wg.Go(func() {
				sent := cluster.Now()
				if c.put(ctx) != nil {
					return
				}
				c.mu.Lock()
				defer c.mu.Unlock()
				c.done = append(c.done, commit{sent, cluster.Now()})
			})
		}
	})
}

// first is how long after a moment a write was confirmed that was sent after it;
// 0 if none was.
func (c *commits) first(since time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return firstConfirmed(c.done, since)
}

func firstConfirmed(all []commit, since time.Duration) (first time.Duration) {
	for _, d := range all {
		if took := d.confirmed - since; d.sent >= since && (first == 0 || took < first) {
			first = took
		}
	}
	return first
}

func (c *commits) close() {
	c.stop()
	c.wg.Wait()
	c.client.CloseIdleConnections()
}
