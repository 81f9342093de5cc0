package kubeadm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"havip/configs"
)

// Runner carries plans out on this node. Only one at a time does; see
// [Store.Lock].
type Runner struct {
	Config   *configs.Config
	Self     configs.Master
	System   System
	Claims   Claims
	Members  Members
	Store    Store
	Progress Progress
	Replace  bool // join may have the dead etcd member of this node's removed

	lock *os.File
	sync func(path string) error // nil: SyncPath; tests look on
}

// Progress is told what happens, in the order in which it does.
type Progress interface {
	Note(text string)
	Skip(s Step) // done by an earlier run
	Begin(s Step, number, total int)
	Line(line string) // of the log of the step that runs
	End(s Step, took time.Duration, err error)
}

// Result is what a run came to.
type Result struct {
	Changed  bool
	Message  string
	Findings []Finding // that did not keep it from running

	// Secrets let others join; only after an init that this run has finished.
	Secrets *Secrets
}

// BlockedError says what is in the way. Nothing was touched.
type BlockedError struct{ Findings []Finding }

func (e *BlockedError) Error() string {
	lines := make([]string, len(e.Findings))
	for i, f := range e.Findings {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// StepError says which step failed, and what can be done.
type StepError struct {
	Step  Step
	Log   string   // file with all that was said; empty: the step has none
	Tail  []string // its last lines
	Hints []string
	Err   error
}

func (e *StepError) Error() string { return fmt.Sprintf("step %s: %v", e.Step.Name, e.Err) }
func (e *StepError) Unwrap() error { return e.Err }

// tailLines is how much of a log a failure shows.
const tailLines = 12

// begin locks the store and reads the journal. The returned function ends both.
func (r *Runner) begin(ctx context.Context) (*Journal, func(), error) {
	end, err := r.enter(ctx)
	if err != nil {
		return nil, nil, err
	}
	j, err := r.Store.Load()
	if err != nil {
		end()
		return nil, nil, err
	}
	return j, end, nil
}

// enter locks the store. The returned function gives it free.
func (r *Runner) enter(ctx context.Context) (func(), error) {
	lock, err := r.Store.Lock(ctx.Done(), func() {
		r.Progress.Note("another run, or a kubeadm that a killed run left behind, is still at work: waiting for it")
	})
	if err != nil {
		return nil, err
	}
	r.lock = lock
	if err := r.Store.tidy(); err != nil {
		lock.Close()
		return nil, err
	}
	return func() { lock.Close() }, nil
}

// Init makes this node the first master of a cluster. Given secrets are used
// instead of new ones.
func (r *Runner) Init(ctx context.Context, given *Secrets) (Result, error) {
	return r.do(ctx, initPhases.command, given)
}

// Join makes this node another master of the cluster that answers at the
// endpoint.
func (r *Runner) Join(ctx context.Context, given *Secrets) (Result, error) {
	return r.do(ctx, joinPhases.command, given)
}

// Finished reports whether init or join has done all here.
func (r *Runner) Finished() (bool, error) {
	j, err := r.Store.Load()
	return j != nil && j.Finished != nil, err
}

func (r *Runner) do(ctx context.Context, command string, given *Secrets) (Result, error) {
	j, end, err := r.begin(ctx)
	if err != nil {
		return Result{}, err
	}
	defer end()
	switch {
	case j == nil:
	case j.Finished != nil:
		return r.finished(j)
	case j.Command != command && !j.Touched():
		if err := r.drop(ctx, j); err != nil {
			return Result{}, err
		}
		j = nil
	case j.Command != command:
		return Result{}, fmt.Errorf("havipctl %s was begun here at %s and is not finished: go on with it, or undo it by: havipctl reset", j.Command, j.Begun.Format(time.RFC3339))
	}
	p, err := r.prepare(ctx, command, j)
	if err != nil {
		return Result{}, err
	}
	if len(Blocking(p.findings)) > 0 {
		more, err := r.wouldClaim(ctx, command, j) // everything that is in the way, at once
		if err != nil {
			return Result{}, err
		}
		return Result{}, &BlockedError{Blocking(append(p.findings, more...))}
	}
	if j, err = r.open(ctx, p, j, given); err != nil {
		return Result{}, err
	}
	if err := r.steps(ctx, p, j); err != nil {
		return Result{}, err
	}
	return r.finish(p, j)
}

// drop forgets a run that came no further than claim and checks: it is in no other
// command's way. Of two nodes that begin init at once the one that was refused
// joins.
func (r *Runner) drop(ctx context.Context, j *Journal) error {
	asked, err := r.Claims.Ask(ctx)
	if err == nil && asked.State == ClaimHeld && asked.Run == j.Run {
		err = r.Claims.End(ctx, j.Run)
	}
	if err != nil {
		return fmt.Errorf("give back what havipctl %s claimed: %w", j.Command, err)
	}
	return r.Store.Clear()
}

// finished answers on a node where all is done already. A run that was killed right
// after it had written that down has left the secrets.
func (r *Runner) finished(j *Journal) (Result, error) {
	if err := r.Store.Forget(); err != nil {
		return Result{}, err
	}
	since := fmt.Sprintf("since %s, by havipctl %s", j.Finished.Format(time.RFC3339), j.Command)
	if _, err := os.Stat(r.System.path("etc/kubernetes/manifests/kube-apiserver.yaml")); err != nil {
		return Result{}, fmt.Errorf("%s was a master %s, but its API server's manifest is not there any more: clear what is left by havipctl reset (%w)", j.Node, since, err)
	}
	return Result{Message: fmt.Sprintf("nothing to do: %s is a master %s", j.Node, since)}, nil
}

// open writes what the steps need: secrets, kubeadm's configuration and the
// journal.
func (r *Runner) open(ctx context.Context, p *prepared, j *Journal, given *Secrets) (*Journal, error) {
	secrets, changed, err := r.secretsFor(p.plan.Command, given)
	if err != nil {
		return nil, err
	}
	p.input.Secrets = secrets
	if !r.Config.Kubeadm.UploadCerts && p.plan.Command == initPhases.command {
		p.input.Secrets.CertificateKey = ""
	}
	hash, err := p.hash()
	if err != nil {
		return nil, err
	}
	text, err := p.render(p.input)
	if err != nil {
		return nil, err
	}
	if j == nil {
		j = &Journal{Schema: journalSchema, Command: p.plan.Command, Run: rand.Text(), Node: r.Self.Name, Begun: time.Now()}
	}
	if j.Config != "" && (j.Config != hash || j.Kubeadm != p.facts.Kubeadm.Version.String()) {
		r.Progress.Note("the configuration or kubeadm has changed since the last try: all phases are run again")
		j.repeat()
	}
	letIn := p.plan.lettingIn()
	if (changed || j.age(letIn) > min(tokenLife(r.Config), configs.CertificateKeyLifetime)/10) && j.repeatSteps(letIn) {
		r.Progress.Note("the secrets are others than in the last try, or that was long ago: they are put into the cluster anew")
	}
	j.Config, j.Kubeadm = hash, p.facts.Kubeadm.Version.String()
	file := r.Store.ConfigFile(p.plan.Command)
	if err := r.Store.Save(j); err != nil { // before the secrets, whose change it must know of
		return nil, err
	}
	if err := errors.Join(r.Store.SaveSecrets(secrets), r.Store.Write(file, text)); err != nil {
		return nil, err
	}
	if _, err := ask(ctx, p.facts.Kubeadm.Path, "config", "validate", "--config="+file); err != nil {
		return nil, fmt.Errorf("kubeadm refuses its configuration: %s", newRedactor(secrets).line(err.Error()))
	}
	return j, nil
}

// secretsFor returns the given secrets, or those of the last try, or new ones, and
// whether they are others than in the last try.
func (r *Runner) secretsFor(command string, given *Secrets) (secrets Secrets, changed bool, err error) {
	kept, ok, err := r.Store.Secrets()
	switch {
	case err != nil:
		return kept, false, err
	case given != nil:
		return *given, !ok || kept != *given, nil
	case ok:
		return kept, false, nil
	case command == joinPhases.command:
		return kept, false, errors.New("join needs a ticket, from havipctl token on a master")
	}
	secrets, err = NewSecrets()
	return secrets, true, err
}

// steps runs what is not done yet.
func (r *Runner) steps(ctx context.Context, p *prepared, j *Journal) error {
	keep := &keeper{claims: r.Claims, run: j.Run}
	defer keep.stop()
	for i, step := range p.plan.Steps {
		if p.plan.done(step, j) {
			r.Progress.Skip(step)
			continue
		}
		r.Progress.Begin(step, i+1, len(p.plan.Steps))
		err := r.recorded(ctx, p, j, i, keep)
		var blocked *BlockedError
		if errors.As(err, &blocked) {
			return blocked // nothing but the journal was touched
		}
		if err != nil {
			r.giveBack(ctx, keep, j)
			return err
		}
	}
	return nil
}

// recorded runs one step and writes down before and after it how it stands.
func (r *Runner) recorded(ctx context.Context, p *prepared, j *Journal, number int, keep *keeper) error {
	step := p.plan.Steps[number]
	last, _ := j.Step(step.Name)
	record := Record{Name: step.Name, State: StepBegun, Begun: time.Now(), Tries: last.Tries + 1}
	if step.Kind == KindPhase {
		record.Log = filepath.Join(r.Store.logs(), fmt.Sprintf("%s-%02d-%s.log", p.plan.Command, number, step.Name))
	}
	j.put(record)
	err := r.Store.Save(j)
	var tail []string
	if err == nil {
		tail, err = r.step(ctx, p, step, record.Log, keep)
	}
	if err == nil && step.Kind == KindPhase {
		err = r.settle(record.Begun.Add(-clockSlack))
	}
	ended := time.Now()
	record.Ended, record.State = &ended, StepDone
	if err != nil {
		record.State, record.Error = StepFailed, newRedactor(p.input.Secrets).line(err.Error())
	}
	j.put(record)
	r.Progress.End(step, ended.Sub(record.Begun), err)
	if saved := r.Store.Save(j); err == nil {
		err = saved
	}
	if err != nil {
		return &StepError{Step: step, Log: record.Log, Tail: tail, Hints: hintsFor(err, p.plan.Command, step), Err: err}
	}
	return nil
}

// clockSlack: a file's time comes of a coarser clock than a phase's begin, and either may
// be set a little while it runs.
const clockSlack = 2 * time.Second

// settle returns when the files are on the disk that kubeadm has written since then. It
// syncs none of them, and a file system may keep new ones in memory for half a minute: a
// power cut would leave empty ones, of a phase that the journal calls done.
func (r *Runner) settle(since time.Time) error {
	flush := r.sync
	if flush == nil {
		flush = SyncPath
	}
	kubelet := r.System.path("var/lib/kubelet")
	for _, root := range []string{r.System.path("etc/kubernetes"), kubelet} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return gone(err)
			}
			if d.IsDir() && filepath.Dir(path) == kubelet {
				return fs.SkipDir // pods' volumes, and what the kubelet itself writes
			}
			info, err := d.Info()
			if err != nil || info.ModTime().Before(since) || !info.IsDir() && !info.Mode().IsRegular() {
				return gone(err)
			}
			return gone(flush(path))
		})
		if err != nil {
			return fmt.Errorf("have on the disk what kubeadm wrote: %w", err)
		}
	}
	return nil
}

// gone is no error where a file is not there any more.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// giveBack ends the claim after a failure, so that the VIP does not stay on a
// node that may never become a master. A claim that was handed over is over.
func (r *Runner) giveBack(ctx context.Context, keep *keeper, j *Journal) {
	if !keep.stop() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killAfter)
	defer cancel()
	if err := r.Claims.End(ctx, j.Run); err != nil {
		r.Progress.Note("the claim to the VIP could not be given back, it expires by itself: " + err.Error())
	}
}

func (r *Runner) step(ctx context.Context, p *prepared, s Step, log string, keep *keeper) (tail []string, err error) {
	switch s.Kind {
	case KindClaim:
		return nil, keep.begin(ctx)
	case KindHanded:
		return nil, keep.handed(ctx)
	case KindFormer:
		return nil, r.former(ctx)
	}
	return r.kubeadm(ctx, p.facts.Kubeadm.Path, s.Args, log, p.input.Secrets)
}

// kubeadm runs it with a log of its own and returns the log's last lines.
func (r *Runner) kubeadm(ctx context.Context, path string, args []string, log string, secrets Secrets) (tail []string, err error) {
	if err := os.MkdirAll(r.Store.logs(), 0o700); err != nil {
		return nil, fmt.Errorf("make log: %w", err)
	}
	f, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make log: %w", err)
	}
	defer f.Close()
	out := &lineWriter{redact: newRedactor(secrets), to: f, each: func(line string) {
		tail = append(tail, line)
		tail = tail[max(0, len(tail)-tailLines):]
		r.Progress.Line(line)
	}}
	fmt.Fprintf(f, "== %s kubeadm %s\n", time.Now().Format(time.RFC3339), strings.Join(args, " "))
	err = start(ctx, path, args, r.lock, out)
	return tail, errors.Join(err, out.flush())
}

// finish closes the journal and forgets the secrets; from then on havipctl token
// makes new ones.
func (r *Runner) finish(p *prepared, j *Journal) (Result, error) {
	result := Result{Changed: true, Findings: p.findings, Message: fmt.Sprintf("%s is a master now", r.Self.Name)}
	if p.plan.Command == initPhases.command {
		secrets, err := r.pinned(p.input.Secrets)
		if err != nil {
			return Result{}, err
		}
		result.Secrets = &secrets
		result.Message = fmt.Sprintf("the cluster is there, and %s is its first master", r.Self.Name)
	}
	now := time.Now()
	j.Finished = &now
	if err := r.Store.Save(j); err != nil {
		return Result{}, err // and the next try still has the secrets
	}
	if err := r.Store.Forget(); err != nil {
		return Result{}, err
	}
	return result, nil
}

// pinned adds the hash of this cluster's CA.
func (r *Runner) pinned(s Secrets) (Secrets, error) {
	ca, err := os.ReadFile(r.System.path("etc/kubernetes/pki/ca.crt"))
	if err != nil {
		return s, fmt.Errorf("read the cluster's CA: %w", err)
	}
	s.CAHash, err = HashCA(ca)
	return s, err
}
