package kubeadm

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const resetCommand = "reset"

// Reset undoes init or join: the VIP goes to another master, kubeadm removes the
// etcd member and its files, and the journal is cleared, one that is damaged too.
func (r *Runner) Reset(ctx context.Context) (Result, error) {
	end, err := r.enter(ctx)
	if err != nil {
		return Result{}, err
	}
	defer end()
	j, err := r.Store.Load()
	if errors.Is(err, errDamaged) {
		r.Progress.Note(err.Error())
		j, err = &Journal{}, nil // something was begun
	}
	if err != nil {
		return Result{}, err
	}
	facts := r.System.Gather(ctx, r.Config, resetCommand)
	if j == nil && len(facts.Leftovers) == 0 && len(facts.Keys) == 0 {
		return Result{Message: "nothing to do: this node is no master, and nothing is left of one"}, nil
	}
	program := askVersion(ctx, "kubeadm", "version", "-o", "short")
	if program.Error != "" {
		return Result{}, errors.New("kubeadm " + program.Error)
	}
	if err := r.spared(ctx, facts); err != nil {
		return Result{}, err
	}
	if err := r.letGo(ctx); err != nil {
		return Result{}, err
	}
	args := []string{resetCommand, "--force"}
	if socket := r.Config.Kubeadm.CRISocket; socket != "" {
		args = append(args, "--cri-socket="+socket)
	}
	step := Step{Name: resetCommand, Kind: KindPhase, Text: "remove the etcd member and kubeadm's files", Args: args}
	log := filepath.Join(r.Store.logs(), "reset.log")
	watch := &resetWatch{Progress: r.Progress}
	defer func() { r.Progress = watch.Progress }()
	r.Progress = watch
	r.Progress.Begin(step, 1, 1)
	began := time.Now()
	tail, err := r.kubeadm(ctx, program.Path, args, log, Secrets{})
	r.Progress.End(step, time.Since(began), err)
	if err != nil {
		return Result{}, &StepError{Step: step, Log: log, Tail: tail, Hints: hints(resetCommand, step), Err: err}
	}
	if err := r.Store.Clear(); err != nil {
		return Result{}, err
	}
	result := Result{Changed: true, Message: fmt.Sprintf("%s is no master any more", r.Self.Name)}
	if watch.kept && mayBeListed(j, facts) {
		result.Findings = []Finding{{
			Subject: "etcd", What: "kubeadm could not take this node's member off etcd's list; if the cluster goes on, it counts for the quorum there",
			Fix: "on another master: etcdctl member list, and etcdctl member remove ID; or have it replaced from here: havipctl join --replace",
		}}
	}
	return result, nil
}

// resetWatch sees what kubeadm reset says and ends well nevertheless: that etcd did
// not remove the member, or that there was nobody to ask (v1.31 to v1.37).
type resetWatch struct {
	Progress
	kept bool
}

func (w *resetWatch) Line(line string) {
	w.kept = w.kept || strings.Contains(line, "Failed to remove etcd member") || strings.Contains(line, "No kubeadm config, using etcd pod spec")
	w.Progress.Line(line)
}

// mayBeListed reports whether a cluster may go on that has this node's member on its
// list. In an init before the election has the VIP this node is all there is of it.
func mayBeListed(j *Journal, f Facts) bool {
	if j != nil && j.Command == initPhases.command && !j.Done(stepHanded) {
		return false
	}
	return slices.Contains(f.Leftovers, etcdManifest)
}

// etcdManifest is there where kubeadm has given this node an etcd member.
const etcdManifest = "/etc/kubernetes/manifests/etcd.yaml"

// spared sees that the others can do without this node's etcd member. etcd removes
// none that they need, of which kubeadm only tells, and deletes the member's data all
// the same (v1.31 to v1.37, phases/reset/removeetcdmember.go): the quorum would be lost
// for good. Where nobody can say it, etcd has no quorum now, or has lost this node.
func (r *Runner) spared(ctx context.Context, f Facts) error {
	if !slices.Contains(f.Leftovers, etcdManifest) {
		return nil
	}
	found, err := r.Members.Former(ctx)
	if err != nil || !found.Needed {
		return ctx.Err()
	}
	return &BlockedError{[]Finding{{
		Subject: "etcd", What: "without the member of this node those that answer would be no quorum, and the cluster would stand still for good", Blocks: true,
		Fix: "bring the other masters up first: havipctl status; if the cluster is to be given up: kubeadm reset, and then havipctl reset",
	}}}
}

// letGo takes the VIP from this node before its etcd member goes, while there is
// an election that can give it to another. A claim is ended whoever asked for it: one
// by force would keep the VIP here for an hour, with no API server behind it.
func (r *Runner) letGo(ctx context.Context) error {
	asked, err := r.Claims.Ask(ctx)
	if err != nil {
		return fmt.Errorf("the VIP may be on this node, and its daemon cannot be asked: %w", err)
	}
	if asked.State == ClaimHeld {
		return r.Claims.End(ctx, asked.Run)
	}
	return r.Claims.LetGo(ctx)
}
