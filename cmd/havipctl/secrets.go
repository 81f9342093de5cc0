package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"havip/configs"
	"havip/kubeadm"
)

// secrets are those that the operator gives: a ticket, or the file that all
// masters share. Without any the run has its own, or those of its last try; and
// where all is done none are needed.
func (c *cli) secrets(o *clusterOptions, r *kubeadm.Runner, command string) (*kubeadm.Secrets, error) {
	if done, err := r.Finished(); err != nil || done {
		return nil, err
	}
	if command == "join" {
		text, err := c.readTicket(o)
		if err != nil {
			return nil, err
		}
		if text != "" {
			s, err := kubeadm.ParseTicket(text)
			return &s, err
		}
	}
	if !r.Config.Unattended.On() {
		return nil, nil
	}
	return shared(r, command)
}

// shared are the secrets that all masters have in common. A ticket that join was
// given and could not finish with goes before them: it was made because they let
// nobody in any more, and their file may be deleted.
func shared(r *kubeadm.Runner, command string) (*kubeadm.Secrets, error) {
	kept, ok, err := r.Store.Secrets()
	if err != nil || ok && command == "join" && kept.Ticketed() {
		return nil, err
	}
	return derived(r.Config)
}

func derived(cfg *configs.Config) (*kubeadm.Secrets, error) {
	secret, err := kubeadm.ReadSecretFile(cfg.Unattended.SecretFile)
	if err != nil {
		return nil, err
	}
	s, err := kubeadm.Derive(secret, cfg)
	if !cfg.Kubeadm.UploadCerts {
		s.CertificateKey = "" // kubeadm join would look for what nobody has uploaded
	}
	return &s, err
}

// maxTicket bounds what is read of a ticket; one has 164 bytes.
const maxTicket = 4096

// readTicket reads the first line. A person at a terminal is asked for it, and
// may leave it empty.
func (c *cli) readTicket(o *clusterOptions) (string, error) {
	in := c.in
	if o.ticket != "-" {
		f, err := os.Open(o.ticket)
		if err != nil {
			return "", fmt.Errorf("read ticket: %w", err)
		}
		defer f.Close()
		in = f
	} else if c.asking {
		fmt.Fprint(c.err, "ticket, as printed by havipctl init or token (empty: go on with the last one): ")
	}
	line, err := bufio.NewReader(io.LimitReader(in, maxTicket)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read ticket: %w", err)
	}
	return strings.TrimSpace(line), nil
}
