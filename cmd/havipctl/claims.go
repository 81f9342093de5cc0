package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"havip/daemon/status"
	"havip/kubeadm"
)

// claims asks the daemon of this node for what kubeadm's runner needs of it.
type claims struct{ client *status.Client }

func (c claims) Check(ctx context.Context, run string) (kubeadm.Claim, error) {
	return claimOf(c.client.Claim(ctx, run, true))
}

func (c claims) Claim(ctx context.Context, run string) (kubeadm.Claim, error) {
	return claimOf(c.client.Claim(ctx, run, false))
}

func (c claims) Ask(ctx context.Context) (kubeadm.Claim, error) {
	return claimOf(c.client.AskClaim(ctx))
}

func (c claims) End(ctx context.Context, run string) error {
	_, err := c.client.EndClaim(ctx, run)
	return err
}

// LetGo asks for a handover, and for a release where nobody can take the VIP.
func (c claims) LetGo(ctx context.Context) error {
	d, err := c.client.Status(ctx)
	if err != nil || d.Self.Role != status.RoleHolder {
		return err
	}
	_, err = c.client.Handover(ctx, "")
	var refused *status.RefusedError
	if errors.As(err, &refused) && refused.Status == http.StatusConflict {
		_, err = c.client.Release(ctx, false)
	}
	return err
}

func (c claims) Former(ctx context.Context) (kubeadm.Former, error) {
	return formerOf(c.client.Former(ctx))
}

func (c claims) RemoveFormer(ctx context.Context) (kubeadm.Former, error) {
	return formerOf(c.client.RemoveFormer(ctx))
}

func formerOf(answer *status.Former, err error) (kubeadm.Former, error) {
	if err != nil {
		return kubeadm.Former{}, err
	}
	former := kubeadm.Former{Removable: answer.Removable, Removed: answer.Removed, Needed: answer.Needed}
	for _, m := range answer.Members {
		former.Members = append(former.Members, fmt.Sprintf("%s (ID %s, %s)", cmp.Or(m.Name, "one that never started"), m.ID, strings.Join(m.PeerURLs, ", ")))
	}
	for _, f := range answer.Findings {
		former.Findings = append(former.Findings, kubeadm.Finding(f))
	}
	return former, nil
}

func claimOf(answer *status.Claim, err error) (kubeadm.Claim, error) {
	var refused *status.RefusedError
	if errors.As(err, &refused) {
		return kubeadm.Claim{}, refusedAsk{refused}
	}
	if err != nil {
		return kubeadm.Claim{}, err
	}
	claim := kubeadm.Claim{State: kubeadm.ClaimState(answer.State), Run: answer.Run, Left: time.Duration(answer.LeftMS) * time.Millisecond}
	for _, f := range answer.Findings {
		claim.Findings = append(claim.Findings, kubeadm.Finding(f))
	}
	return claim, nil
}

// refusedAsk is a refusal that tells what mends it.
type refusedAsk struct{ *status.RefusedError }

func (r refusedAsk) Fix() string   { return r.Hint }
func (r refusedAsk) Unwrap() error { return r.RefusedError }

// ofDaemon reports whether an error is of a call to the daemon.
func ofDaemon(err error) bool {
	var refused *status.RefusedError
	return status.NotRunning(err) || errors.As(err, &refused) ||
		slices.ContainsFunc([]error{status.ErrNoAnswer, status.ErrBroken, status.ErrPermission, status.ErrSchema}, func(kind error) bool { return errors.Is(err, kind) })
}
