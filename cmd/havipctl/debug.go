package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"havip/configs"
	"havip/kubeadm"
	"havip/kubeadm/bundle"
)

// bundleTime bounds a bundle as a whole; each program in it has 10 s.
const bundleTime = 2 * time.Minute

type bundleOptions struct {
	output string
	config string
	lines  int
}

func (c *cli) debugCommand() *cobra.Command {
	var o bundleOptions
	cmd := command("bundle", "Collect what a bug report needs, without secrets",
		`bundle writes one archive with what is needed to see why something went wrong on
this node: what the daemon says, its history and metrics, what havipctl check
finds, the config file, the state and the journals of havipd, kubelet and
containerd, addresses, routes and kernel settings, the manifests of etcd and the
API server, and dates and names of certificates. It works without the daemon too,
and says in MANIFEST.txt what it could not get.

Private keys, kubeconfigs, tokens, certificate keys and the unattended secret are
not in it: files that hold them are not collected, and whatever looks like one
elsewhere is replaced. Look through it nevertheless before you send it.`,
		noArgs, func(cmd *cobra.Command, _ []string) error { return c.bundle(cmd.Context(), &o) })
	cmd.Flags().StringVar(&o.output, "output", "", "the file to write (default: havip-debug-HOST-TIME.tar.gz here)")
	cmd.Flags().StringVar(&o.config, "config", configs.DefaultPath, "the config file")
	cmd.Flags().IntVar(&o.lines, "lines", 2000, "so many of the last lines of each journal")
	return group("debug", "Find out why something went wrong", cmd)
}

func (c *cli) bundle(ctx context.Context, o *bundleOptions) error {
	if o.lines <= 0 {
		return usageError("havipctl debug bundle --lines 2000", "--lines must be above 0")
	}
	now := time.Now()
	host, err := os.Hostname()
	if err != nil {
		host = "node"
	}
	dir := "havip-debug-" + strings.Map(fileRune, host) + "-" + now.UTC().Format("20060102T150405Z")
	path := o.output
	if path == "" {
		path = dir + ".tar.gz"
	}
	ctx, cancel := context.WithTimeout(ctx, bundleTime)
	defer cancel()
	contents, err := writeBundle(ctx, path, dir, c.source(o, now))
	if err != nil {
		return err
	}
	return c.print(said(path, dir, contents))
}

// fileRune keeps a host's name from being a path.
func fileRune(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '.':
		return r
	}
	return '_'
}

func said(path, dir string, contents *bundle.Contents) string {
	return fmt.Sprintf(`wrote %s: %d files
before you send it, see what is in it: what was left out and why, and the journals
  tar -xOzf %s %s/MANIFEST.txt
  tar -xzf %s
`, path, len(contents.Files), path, dir, path)
}

// source is this node, with the secrets on it that must not get into the bundle.
func (c *cli) source(o *bundleOptions, now time.Time) bundle.Source {
	config := o.config
	if abs, err := filepath.Abs(config); err == nil {
		config = abs
	}
	client := c.client()
	store := kubeadm.Store{Dir: c.state}
	s := bundle.Source{Root: c.node.Root, Config: config, State: c.state, Version: strings.TrimSpace(thisBuild().String()), Salt: rand.Text(), Now: now, Lines: o.lines,
		Ask: client.Raw, Run: kubeadm.Tell,
		Check: func(ctx context.Context) ([]byte, error) { return json.MarshalIndent(c.looks(ctx, config), "", "  ") }}
	if known, ok, err := store.Secrets(); err == nil && ok {
		s.Secrets = append(s.Secrets, known.Token, known.CertificateKey)
	}
	cfg, err := configs.Load(config)
	if err != nil || cfg.Unattended.SecretFile == "" {
		return s
	}
	if derived, err := derived(cfg); err == nil {
		s.Secrets = append(s.Secrets, derived.Token, derived.CertificateKey)
	}
	return s
}

// writeBundle writes a file that only its owner reads, and never over another.
func writeBundle(ctx context.Context, path, dir string, s bundle.Source) (*bundle.Contents, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, &failure{exitFailed, fmt.Errorf("write bundle: %s is there already", path), []string{"give another name with --output"}}
	}
	if err != nil {
		return nil, fmt.Errorf("write bundle: %w", err)
	}
	contents, err := bundle.Write(ctx, f, dir, s)
	if err = errors.Join(err, f.Close()); err == nil && ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = ctx.Err()
	}
	if err != nil {
		os.Remove(path)
		return nil, err
	}
	return contents, nil
}
