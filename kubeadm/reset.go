package kubeadm

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
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
	if err := r.letGo(ctx); err != nil {
		return Result{}, err
	}
	args := []string{resetCommand, "--force"}
	if socket := r.Config.Kubeadm.CRISocket; socket != "" {
		args = append(args, "--cri-socket="+socket)
	}
	step := Step{Name: resetCommand, Kind: KindPhase, Text: "remove the etcd member and kubeadm's files", Args: args}
	log := filepath.Join(r.Store.logs(), "reset.log")
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
	return Result{Changed: true, Message: fmt.Sprintf("%s is no master any more", r.Self.Name)}, nil
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
