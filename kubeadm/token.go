package kubeadm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// adminConf is what kubeadm asks the cluster with, whatever KUBECONFIG says.
const adminConf = "etc/kubernetes/admin.conf"

// Token makes new secrets in a cluster that this node is a master of.
func (r *Runner) Token(ctx context.Context) (Secrets, error) {
	_, end, err := r.begin(ctx)
	if err != nil {
		return Secrets{}, err
	}
	defer end()
	program := askVersion(ctx, "kubeadm", "version", "-o", "short")
	if program.Error != "" {
		return Secrets{}, errors.New("kubeadm " + program.Error)
	}
	if _, err := os.Stat(r.System.path(adminConf)); err != nil {
		return Secrets{}, fmt.Errorf("this node is no master: %w", err)
	}
	secrets, err := NewSecrets()
	if err != nil {
		return Secrets{}, err
	}
	if secrets, err = r.pinned(secrets); err != nil {
		return Secrets{}, err
	}
	return secrets, r.makeToken(ctx, program, secrets)
}

// makeToken puts the secrets into the cluster by way of a file.
func (r *Runner) makeToken(ctx context.Context, program Program, secrets Secrets) error {
	overlay, err := ReadOverlay(r.Config.Kubeadm.Overlay)
	if err != nil {
		return err
	}
	text, err := RenderInit(Input{Config: r.Config, Self: r.Self, Secrets: secrets, Overlay: overlay,
		Version: wantedVersion(r.Config, program.Version).String()})
	if err != nil {
		return err
	}
	file := r.Store.ConfigFile("token")
	defer os.Remove(file)
	if err := r.Store.Write(file, text); err != nil {
		return err
	}
	log := filepath.Join(r.Store.logs(), "token.log")
	steps := []Step{{Name: "token", Kind: KindPhase, Text: phaseTexts[phaseToken], Args: []string{"token", "create", "--config=" + file, "--kubeconfig=/" + adminConf}}}
	if r.Config.Kubeadm.UploadCerts {
		steps = append(steps, Step{Name: phaseUploadCerts, Kind: KindPhase, Text: phaseTexts[phaseUploadCerts],
			Args: []string{"init", "phase", phaseUploadCerts, "--upload-certs", "--skip-certificate-key-print", "--config=" + file, "--kubeconfig=/" + adminConf}})
	}
	for _, s := range steps {
		if tail, err := r.kubeadm(ctx, program.Path, s.Args, log, secrets); err != nil {
			return &StepError{Step: s, Log: log, Tail: tail, Hints: hints("token", s), Err: err}
		}
	}
	return nil
}
