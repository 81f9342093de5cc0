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
	j, end, err := r.begin(ctx)
	if err != nil {
		return Secrets{}, err
	}
	defer end()
	if err := r.mayLetIn(ctx, j); err != nil {
		return Secrets{}, err
	}
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
	if !r.Config.Kubeadm.UploadCerts {
		secrets.CertificateKey = ""
	}
	if secrets, err = r.pinned(secrets); err != nil {
		return Secrets{}, err
	}
	return secrets, r.makeToken(ctx, program, secrets)
}

// mayLetIn sees that no init is under way here whose VIP the election does not have
// yet. admin.conf is no sign that others may join: from kubeadm 1.37 on it has its
// rights by the end of wait-control-plane.
func (r *Runner) mayLetIn(ctx context.Context, j *Journal) error {
	if j == nil || j.Command != initPhases.command || !j.Touched() || j.Done(stepHanded) {
		return nil
	}
	c, err := r.Claims.Ask(ctx)
	if err == nil && c.State == ClaimHanded && c.Run == j.Run {
		return nil
	}
	return errors.Join(errors.New("nobody may join before the election has the VIP: go on with havipctl init first"), err)
}

// makeToken puts the secrets into the cluster by way of a file.
func (r *Runner) makeToken(ctx context.Context, program Program, secrets Secrets) error {
	overlay, err := ReadOverlay(r.Config.Kubeadm.Overlay)
	if err != nil {
		return err
	}
	// Not kubeadm.version: after upgrades it is that of long ago, which kubeadm refuses
	// to read (NormalizeKubernetesVersion), though neither step makes use of it.
	text, err := RenderInit(Input{Config: r.Config, Self: r.Self, Secrets: secrets, Overlay: overlay, Version: program.Version.String()})
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
