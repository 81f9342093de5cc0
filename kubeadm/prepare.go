package kubeadm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Look gathers the facts and the phases that this kubeadm lists.
func (r *Runner) Look(ctx context.Context, command string) (Facts, []Phase) {
	f := r.System.Gather(ctx, r.Config, command)
	f.Kubeadm, f.Kubelet = AskVersions(ctx)
	if f.Kubeadm.Error != "" {
		return f, nil
	}
	help, err := ask(ctx, f.Kubeadm.Path, command, "--help")
	if err != nil {
		f.Kubeadm.Error = err.Error()
		return f, nil
	}
	phases, err := ParsePhases(command, help)
	if err != nil {
		f.Kubeadm.Error = err.Error()
	}
	return f, phases
}

// prepared is what a run goes by.
type prepared struct {
	plan     Plan
	facts    Facts
	findings []Finding
	input    Input
	render   func(Input) ([]byte, error)
}

// Preview is what a dry run shows.
type Preview struct {
	Plan     Plan
	Config   []byte // of kubeadm, without secrets
	Findings []Finding
}

// Preview plans without touching anything: no lock, no claim, no file.
func (r *Runner) Preview(ctx context.Context, command string) (Preview, error) {
	j, err := r.Store.Load()
	if err != nil {
		return Preview{}, err
	}
	p, err := r.prepare(ctx, command, j)
	if err != nil {
		return Preview{}, err
	}
	more, err := r.wouldClaim(ctx, command, j)
	if err != nil {
		return Preview{}, err
	}
	p.input.Secrets = placeholders
	text, err := p.render(p.input)
	if err != nil {
		return Preview{}, err
	}
	for _, secret := range []string{placeholders.Token, placeholders.CertificateKey} {
		text = bytes.ReplaceAll(text, []byte(secret), []byte(redacted))
	}
	return Preview{Plan: p.plan, Config: text, Findings: append(p.findings, more...)}, nil
}

// placeholders stand for the secrets where none are wanted.
var placeholders = Secrets{Token: "abcdef.0123456789abcdef", CertificateKey: strings.Repeat("0", 64)}

// prepare looks at the node and plans. That something is in the way is no error
// here; the findings say it.
func (r *Runner) prepare(ctx context.Context, command string, j *Journal) (*prepared, error) {
	facts, phases := r.Look(ctx, command)
	s := Situation{Command: command, Begun: j != nil && j.Command == command && j.Touched()}
	p := &prepared{facts: facts, findings: Guard(r.Config, r.Self, facts, s)}
	p.findings = append(p.findings, r.daemonFindings(ctx)...)
	text, err := ReadOverlay(r.Config.Kubeadm.Overlay)
	if err != nil {
		return nil, err
	}
	p.input = Input{Config: r.Config, Self: r.Self, Version: wantedVersion(r.Config, facts.Kubeadm.Version).String(), Overlay: text}
	planFor := PlanInit
	p.render = RenderInit
	if command == joinPhases.command {
		planFor, p.render = PlanJoin, RenderJoin
	}
	if facts.Kubeadm.Error != "" {
		return p, nil // there is nothing to plan with, and a finding that says so
	}
	p.plan, err = planFor(r.Config, phases, r.Store.ConfigFile(command))
	if err != nil {
		return nil, err
	}
	return p, nil
}

// daemonFindings sees that the daemon of this node runs and has a claim to give.
func (r *Runner) daemonFindings(ctx context.Context) []Finding {
	_, err := r.Claims.Ask(ctx)
	if err == nil {
		return nil
	}
	fix := "start it: systemctl enable --now havipd"
	var told interface{ Fix() string }
	if errors.As(err, &told) {
		fix = told.Fix() // it runs, and knows better
	}
	return []Finding{{Subject: "havipd", What: err.Error(), Fix: fix, Blocks: true}}
}

// wouldClaim are what would keep the daemon from taking the VIP. The real claim
// looks again by itself, so this is only asked when there will be none: a look at
// the wire takes seconds.
func (r *Runner) wouldClaim(ctx context.Context, command string, j *Journal) ([]Finding, error) {
	if command != initPhases.command || j != nil && j.Done(stepHanded) || len(r.daemonFindings(ctx)) > 0 {
		return nil, nil
	}
	run := ""
	if j != nil {
		run = j.Run
	}
	checked, err := r.Claims.Check(ctx, run)
	if err != nil {
		return nil, fmt.Errorf("ask the daemon whether the VIP is free: %w", err)
	}
	return checked.Findings, nil
}

// hash tells whether kubeadm's configuration is another one, secrets aside.
func (p *prepared) hash() (string, error) {
	in := p.input
	in.Secrets = placeholders
	text, err := p.render(in)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}
