package adopt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"havip/configs"
	"havip/kubeadm"
)

// daemonUnit is the daemon's.
const daemonUnit = "havipd.service"

// Runner carries plans out on this node.
type Runner struct {
	System     kubeadm.System
	Daemon     Daemon
	Services   Services
	Kubectl    func(ctx context.Context, args ...string) (string, error)
	Store      kubeadm.Store
	Progress   kubeadm.Progress
	ConfigPath string

	Masters []configs.Master // as given; empty: the API server is asked
	Link    string           // for havip.toml; empty: by the route to the VIP
	Without []string         // masters that are not asked for their word

	sync func(path string) error // nil: kubeadm's; tests look on
}

// Preview is what would be done, and what is in the way.
type Preview struct {
	Facts    Facts
	Plan     Plan
	Undo     Plan // the way back, once the plan is done
	Findings []kubeadm.Finding
}

// Result is what a run came to.
type Result struct {
	Changed  bool
	Message  string
	Findings []kubeadm.Finding
}

// Preview looks, and changes nothing.
func (r *Runner) Preview(ctx context.Context) (Preview, error) {
	f, err := r.Gather(ctx)
	if err != nil {
		return Preview{}, err
	}
	p := Preview{Facts: f, Findings: Guard(f)}
	if f.Journal != nil && f.Journal.Finished != nil {
		p.Findings = nil
		return p, nil
	}
	if len(kubeadm.Blocking(p.Findings)) == 0 {
		p.Plan = Begin(f, r.Without)
	}
	return p, nil
}

// Begin does this node's part, or goes on with it.
func (r *Runner) Begin(ctx context.Context) (Result, error) {
	lock, err := r.lock(ctx)
	if err != nil {
		return Result{}, err
	}
	defer lock.Close()
	f, err := r.Gather(ctx)
	if err != nil {
		return Result{}, err
	}
	if j := f.Journal; j != nil && j.Finished != nil {
		return Result{Message: fmt.Sprintf("nothing to do: %s has had its part since %s", j.Node, j.Finished.Format(time.RFC3339))}, nil
	}
	findings := Guard(f)
	if b := kubeadm.Blocking(findings); len(b) > 0 {
		return Result{}, &kubeadm.BlockedError{Findings: b}
	}
	if f.Journal.done(doGone) && !f.Daemon.Runs {
		// Whether there is more to do, only the daemon knows.
		if err := r.await(ctx, readyTime, runs); err != nil {
			return Result{}, err
		}
		if f.Daemon, err = r.Daemon.Standing(ctx); err != nil {
			return Result{}, err
		}
	}
	plan := Begin(f, r.Without)
	if f.Journal == nil {
		f.Journal, err = r.open(ctx, f)
		if err != nil {
			return Result{}, err
		}
	}
	if !f.Journal.Touched {
		f.Journal.Holder = f.Here
	}
	if err := r.steps(ctx, &f, plan, func(name string) string { return name }); err != nil {
		return Result{}, err
	}
	// How far the others are, the daemon that runs now knows.
	if f.Daemon, err = r.Daemon.Standing(ctx); err != nil {
		return Result{}, err
	}
	if more := Begin(f, r.Without); len(more.Steps) > len(plan.Steps) {
		plan = more
		if err := r.steps(ctx, &f, plan, func(name string) string { return name }); err != nil {
			return Result{}, err
		}
	}
	if f.Journal.done(doWait) || f.Journal.done(doOver) {
		now := time.Now().UTC()
		f.Journal.Finished = &now
	}
	return Result{Changed: true, Message: plan.Then, Findings: findings}, r.save(f.Journal)
}

// Undo goes back.
func (r *Runner) Undo(ctx context.Context) (Result, error) {
	lock, err := r.lock(ctx)
	if err != nil {
		return Result{}, err
	}
	defer lock.Close()
	f, err := r.Gather(ctx)
	if err != nil {
		return Result{}, err
	}
	if f.Journal == nil {
		return Result{Message: "nothing to do: no migration has begun on this node"}, nil
	}
	if b := kubeadm.Blocking(GuardUndo(f, r.Without)); len(b) > 0 {
		return Result{}, &kubeadm.BlockedError{Findings: b}
	}
	plan := Undo(f, r.Without)
	if plan.Steps[0].Name != doBack { // from there forward again is no more than undrain
		f.Journal.Finished = nil
	}
	if err := r.steps(ctx, &f, plan, undo); err != nil {
		return Result{}, err
	}
	if f.Journal.done(undo(doRestore)) {
		err = r.clear()
	}
	return Result{Changed: true, Message: plan.Then}, err
}

func (r *Runner) lock(ctx context.Context) (*os.File, error) {
	return r.Store.Lock(ctx.Done(), func() { r.Progress.Note("another run is at work: waiting for it") })
}

// open writes down how the node was, before anything is changed.
func (r *Runner) open(ctx context.Context, f Facts) (*Journal, error) {
	j := &Journal{
		Schema: journalSchema, Node: f.Self.Name, Begun: time.Now().UTC(), Keeper: f.keeper(), Holder: f.Here,
		HavipdEnabled: r.Services.Enabled(ctx, daemonUnit), Config: f.ConfigHas,
	}
	if j.Keeper.Kind == Keepalived {
		j.KeeperEnabled = r.Services.Enabled(ctx, unit)
	} else {
		manifest, err := os.ReadFile(r.System.Path(j.Keeper.Path))
		if err != nil {
			return nil, fmt.Errorf("keep the manifest: %w", err)
		}
		j.Manifest = manifest
		if j.Keeper.Services {
			if _, err := withoutControlPlane(manifest); err != nil {
				return nil, &kubeadm.BlockedError{Findings: []kubeadm.Finding{{Subject: j.Keeper.String(), What: err.Error(), Blocks: true}}}
			}
		}
	}
	return j, r.save(j)
}

// steps does what is not done yet. named is the name in the journal.
func (r *Runner) steps(ctx context.Context, f *Facts, plan Plan, named func(string) string) error {
	for i, s := range plan.Steps {
		if f.Journal.done(named(s.Name)) && !repeated(s.Name) {
			r.Progress.Skip(s)
			continue
		}
		r.Progress.Begin(s, i+1, len(plan.Steps))
		began := time.Now()
		err := r.step(ctx, f, s.Name)
		r.Progress.End(s, time.Since(began), err)
		if err != nil {
			return &kubeadm.StepError{Step: s, Hints: hints(s.Name), Err: err}
		}
		if !f.Journal.done(named(s.Name)) {
			f.Journal.Steps = append(f.Journal.Steps, named(s.Name))
		}
		if err := r.save(f.Journal); err != nil {
			return err
		}
	}
	return nil
}

// repeated are steps that look, and those of the way back that a keeper must not be
// started without: what was so in an earlier run need not be so now.
func repeated(name string) bool {
	return slices.Contains([]string{doReady, doGone, doHolder, doKept, doBack, doGive, doStop}, name)
}

func hints(name string) []string {
	return []string{"see why: journalctl -u havipd -n 50", "go on by the same command, or go back by: havipctl adopt --undo"}
}

func (r *Runner) step(ctx context.Context, f *Facts, name string) error {
	j := f.Journal
	switch name {
	case doConfig:
		j.ConfigWritten = true
		return errors.Join(r.save(j), r.replace(f.ConfigPath, f.Config, 0o644))
	case doPrepare:
		return r.Daemon.Prepare()
	case doStart:
		return r.each(ctx, daemonUnit, "enable", "restart")
	case doReady:
		return r.await(ctx, readyTime, func(s Standing) string {
			switch {
			case !s.Runs:
				return runs(s)
			case s.Stage != stageReady && s.Stage != stageWait && s.Stage != stageTake:
				return "havipd does not know of the migration"
			case !s.Known:
				return "havipd does not see etcd"
			case s.Members > 0 && s.Members != len(f.Masters):
				return fmt.Sprintf("etcd has %d members, and [masters] names %d", s.Members, len(f.Masters))
			}
			return ""
		})
	case doOff:
		return r.keeperOff(ctx, f)
	case doGone:
		return r.gone(ctx, f)
	case doWait:
		return r.Daemon.Adopt(ctx, stageWait, nil)
	case doTake:
		return r.Daemon.Adopt(ctx, stageTake, r.Without)
	case doHolder:
		return r.await(ctx, holderTime, func(s Standing) string {
			if !s.Holder {
				return "havipd does not hold the VIP"
			}
			return ""
		})
	case doOver:
		return r.Daemon.Adopt(ctx, stageOver, nil)
	case doGive:
		return r.Daemon.Adopt(ctx, stageGive, r.Without)
	case doKept:
		return r.await(ctx, keptTime, func(s Standing) string {
			if !s.Foreign {
				return "the keeper has not set the VIP"
			}
			return ""
		})
	case doBack:
		return r.Daemon.Adopt(ctx, stageBack, nil)
	case doStop:
		j.Stopping = true
		if err := r.save(j); err != nil {
			return err
		}
		// Also where it was enabled before: a reboot must not bring it back beside the
		// keeper while the file still names the VIP.
		return r.each(ctx, daemonUnit, "stop", "disable")
	case doOn:
		return r.keeperOn(ctx, f)
	case doForget:
		return r.Daemon.Forget()
	case doRestore:
		err := r.restore(f)
		if err == nil && j.HavipdEnabled {
			err = r.Services.Do(ctx, "enable", daemonUnit)
		}
		return err
	}
	return fmt.Errorf("step %s is not known", name)
}

// Bounds of what is waited for. A static pod has 30 s to end by itself, and the
// kubelet looks at its directory every 20 s where it is told nothing.
const (
	readyTime  = 60 * time.Second
	goneTime   = 120 * time.Second
	wordTime   = 5 * time.Second
	holderTime = 60 * time.Second
	keptTime   = 120 * time.Second
	lookEvery  = 200 * time.Millisecond
)

func (r *Runner) each(ctx context.Context, unit string, verbs ...string) error {
	for _, verb := range verbs {
		if err := r.Services.Do(ctx, verb, unit); err != nil {
			return err
		}
	}
	return nil
}

// await waits until the daemon is as wished; why says what is missing.
func (r *Runner) await(ctx context.Context, limit time.Duration, why func(Standing) string) error {
	return poll(ctx, limit, func() string {
		s, err := r.Daemon.Standing(ctx)
		if err != nil {
			return err.Error()
		}
		return why(s)
	})
}

func runs(s Standing) string {
	if !s.Runs {
		return "havipd does not answer"
	}
	return ""
}

func poll(ctx context.Context, limit time.Duration, why func() string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		missing := why()
		if missing == "" {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("waited %s: %s", limit, missing)
			}
			return ctx.Err()
		}
	}
}

// here reports whether the VIP is on this node now.
func (r *Runner) here(f *Facts) (bool, error) {
	own, err := r.System.Addresses()
	if err != nil {
		return false, fmt.Errorf("list this node's addresses: %w", err)
	}
	return overlap(own, f.Endpoint.Addresses), nil
}

// awaitWord waits for the others' word that they wait. It was good for the step
// before, but meanwhile one may have gone back; a daemon that has just been started
// anew with the VIP takes a moment to hear it again.
func (r *Runner) awaitWord(ctx context.Context, f *Facts) error {
	return poll(ctx, wordTime, func() string {
		var err error
		if f.Daemon, err = r.Daemon.Standing(ctx); err != nil {
			return err.Error()
		}
		if back := f.notWaiting(r.Without); len(back) > 0 {
			return fmt.Sprintf("%s waits no more: its keeper would take the VIP", strings.Join(back, ", "))
		}
		return ""
	})
}

// running reports whether the keeper does.
func (r *Runner) running(f *Facts) bool {
	keepers, _ := findKeepers(r.System, f.Endpoint.Addresses)
	return slices.ContainsFunc(keepers, func(k Keeper) bool { return k.Kind == f.Journal.Keeper.Kind && k.Running })
}

// gone waits until nothing of the keeper runs. On a standby the VIP must not be
// there either.
func (r *Runner) gone(ctx context.Context, f *Facts) error {
	j := f.Journal
	return poll(ctx, goneTime, func() string {
		if r.running(f) {
			return j.Keeper.String() + " still runs"
		}
		here, err := r.here(f)
		switch {
		case err != nil:
			return err.Error()
		case here && !j.Holder:
			return "the VIP is on this node"
		}
		return ""
	})
}

func (r *Runner) restore(f *Facts) error {
	j := f.Journal
	switch {
	case !j.ConfigWritten:
		return nil
	case j.Config == nil:
		return removeFile(r.System.Path(f.ConfigPath))
	}
	return r.replace(f.ConfigPath, j.Config, 0o644)
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// replace puts a whole file in place. The kubelet does not look at names that
// begin with a dot.
func (r *Runner) replace(path string, data []byte, mode os.FileMode) error {
	full := r.System.Path(path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(full), ".havip-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if old, err := os.Stat(full); err == nil {
		mode = old.Mode().Perm()
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), full)
	}
	return err
}
