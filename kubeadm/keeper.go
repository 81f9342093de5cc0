package kubeadm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A claim is renewed three times before it would expire.
const (
	renewals  = 3
	minRenew  = 200 * time.Millisecond
	askEvery  = 300 * time.Millisecond
	handLimit = 90 * time.Second // the election waits takeover (4.5 s) at least; etcd has just started
)

// keeper renews the claim of a run beside the steps. The zero value with claims
// and run keeps nothing yet.
type keeper struct {
	claims Claims
	run    string

	asked  bool // the claim may be this run's
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu   sync.Mutex
	lost error // why the claim is no more
}

// begin takes the claim and keeps it. One that the election has taken over since
// the last try is as good.
func (k *keeper) begin(ctx context.Context) error {
	k.asked = true
	c, err := k.claims.Claim(ctx, k.run)
	if err != nil {
		return fmt.Errorf("ask the daemon for the VIP: %w", err)
	}
	if c.State == ClaimHanded && c.Run == k.run {
		k.asked = false
		return nil
	}
	if c.State != ClaimHeld {
		findings := Blocking(c.Findings)
		if len(findings) == 0 {
			findings = []Finding{{Subject: "VIP", What: refusedClaim(c).Error(), Fix: "see why: havipctl status", Blocks: true}}
		}
		return &BlockedError{findings}
	}
	ctx, k.cancel = context.WithCancel(ctx)
	k.done.Go(func() { k.keep(ctx, c.Left) })
	return nil
}

func refusedClaim(c Claim) error {
	errs := []error{fmt.Errorf("the daemon does not take the VIP: its claim is %q", c.State)}
	for _, f := range Blocking(c.Findings) {
		errs = append(errs, errors.New(f.String()))
	}
	return errors.Join(errs...)
}

// keep renews until the claim is over. A daemon that does not answer may be
// restarting: it has the claim on disk, and the next try finds it.
func (k *keeper) keep(ctx context.Context, left time.Duration) {
	for {
		pause := time.NewTimer(max(left/renewals, minRenew))
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
		c, err := k.claims.Claim(ctx, k.run)
		switch {
		case err != nil:
			left = min(left, time.Second)
		case c.State == ClaimHeld:
			left = c.Left
		case c.State == ClaimHanded:
			return
		default:
			k.mu.Lock()
			k.lost = refusedClaim(c)
			k.mu.Unlock()
			return
		}
	}
}

// handed waits until the election has the VIP. Until then no step may run that
// lets another node join.
func (k *keeper) handed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, handLimit)
	defer cancel()
	last := "the daemon did not answer"
	for {
		c, err := k.claims.Ask(ctx)
		switch {
		case err != nil:
			last = err.Error()
		case c.Run != k.run:
			return errors.New("the daemon has no claim of this run")
		case c.State == ClaimHanded:
			k.stop()
			k.asked = false
			return nil
		case c.State != ClaimHeld:
			return errors.Join(refusedClaim(c), k.why())
		default:
			last = "the election has no record yet"
		}
		pause := time.NewTimer(askEvery)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("the VIP was not handed to the election within %s: %s", handLimit, last)
			}
			return ctx.Err()
		}
	}
}

func (k *keeper) why() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lost
}

// stop ends the renewals. It reports whether the claim may still be this run's.
func (k *keeper) stop() bool {
	if k.cancel != nil {
		k.cancel()
		k.done.Wait()
		k.cancel = nil
	}
	return k.asked
}
