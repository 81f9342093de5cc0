package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"havip/kubeadm"
)

// TestBundleInterrupted: half a bundle is none.
func TestBundleInterrupted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b.tar.gz")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	c := &cli{node: kubeadm.System{Root: t.TempDir()}, state: t.TempDir()}
	err := c.bundle(ctx, &bundleOptions{output: path, config: path, lines: 1})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

func TestFileRune(t *testing.T) {
	if got := strings.Map(fileRune, "n1.example/../\x1bé_A-9"); got != "n1.example_..____A-9" {
		t.Errorf("%q", got)
	}
}
