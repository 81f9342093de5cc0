package lab

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// containerImage is one layer with programs of the same directory.
type containerImage struct {
	name     string
	programs []string
}

// archive writes the images as `docker save` does (the image specification of
// Docker, version 1.2) beside the programs, once.
func archive(ctx context.Context, dir string, images []containerImage) (string, error) {
	path := filepath.Join(dir, "images.tar")
	unlock, err := lock(filepath.Join(dir, ".images.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := buildPause(ctx, dir); err != nil {
		return "", err
	}
	if fresh(path, dir, images) {
		return path, nil
	}
	f, err := os.Create(path + ".new")
	if err != nil {
		return "", err
	}
	if err := errors.Join(writeArchive(f, dir, images), f.Close()); err != nil {
		return "", err
	}
	return path, os.Rename(path+".new", path)
}

// buildPause builds the lab's own program, and leaves one alone that is the same.
func buildPause(ctx context.Context, dir string) error {
	path := filepath.Join(dir, "pause")
	made := path + ".new"
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", made, "havip/test/lab/pause")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // there is no libc in an image
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build pause: %w\n%s", err, bytes.TrimSpace(out))
	}
	is, err := os.ReadFile(made)
	if err != nil {
		return err
	}
	if was, err := os.ReadFile(path); err == nil && bytes.Equal(was, is) {
		return os.Remove(made)
	}
	return os.Rename(made, path)
}

// fresh reports whether the archive is younger than what is in it.
func fresh(path, dir string, images []containerImage) bool {
	have, err := os.Stat(path)
	if err != nil {
		return false
	}
	for _, i := range images {
		for _, p := range i.programs {
			if is, err := os.Stat(filepath.Join(dir, p)); err != nil || is.ModTime().After(have.ModTime()) {
				return false
			}
		}
	}
	return true
}

// saved is an entry of manifest.json.
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func writeArchive(w io.Writer, dir string, images []containerImage) error {
	out := tar.NewWriter(w)
	var all []saved
	for _, i := range images {
		one, err := i.write(out, dir)
		if err != nil {
			return fmt.Errorf("image %s: %w", i.name, err)
		}
		if i.programs[0] == "pause" {
			one.RepoTags = append(one.RepoTags, pauseImage)
		}
		all = append(all, one)
	}
	manifest, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return errors.Join(add(out, "manifest.json", manifest), out.Close())
}

func (i containerImage) write(out *tar.Writer, dir string) (saved, error) {
	layer, err := i.layer(dir)
	if err != nil {
		return saved{}, err
	}
	digest := sum(layer)
	settings := map[string]any{"Env": []string{"PATH=" + searchPath}}
	if i.programs[0] == "pause" { // the control plane's pods name theirs
		settings["Entrypoint"] = []string{"/usr/local/bin/pause"}
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": settings,
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest}},
	})
	if err != nil {
		return saved{}, err
	}
	one := saved{Config: sum(config) + ".json", RepoTags: []string{i.name}, Layers: []string{digest + "/layer.tar"}}
	return one, errors.Join(add(out, one.Config, config), add(out, one.Layers[0], layer))
}

// layer is not compressed: it leaves this computer never.
func (i containerImage) layer(dir string) ([]byte, error) {
	var b bytes.Buffer
	out := tar.NewWriter(&b)
	for _, d := range []string{"usr/", "usr/local/", "usr/local/bin/"} {
		if err := out.WriteHeader(&tar.Header{Name: d, Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
			return nil, err
		}
	}
	for _, p := range i.programs {
		data, err := os.ReadFile(filepath.Join(dir, p))
		if err != nil {
			return nil, err
		}
		if err := add(out, "usr/local/bin/"+p, data); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), out.Close()
}

func add(out *tar.Writer, name string, data []byte) error {
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := out.Write(data)
	return err
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}
