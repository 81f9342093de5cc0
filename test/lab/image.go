package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"havip/test/cluster"
)

// Image is a Debian tree that is not booted: what whoever builds images of
// machines installs packages into. No systemd runs in it.
type Image struct {
	Rootfs string
	Dir    string            // with upper, work and merged
	Binds  map[string]string // path in the image to path here
}

// NewImage makes an image of the recipe's tree. What is written to it is in
// memory, until Close.
func NewImage(ctx context.Context, r Recipe) (*Image, error) {
	rootfs, err := Rootfs(ctx, r)
	if err != nil {
		return nil, err
	}
	dir, err := makeDir()
	if err != nil {
		return nil, err
	}
	for _, d := range []string{"upper", "work", "merged"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, errors.Join(fmt.Errorf("make image: %w", err), os.RemoveAll(dir))
		}
	}
	return &Image{Rootfs: rootfs, Dir: dir}, nil
}

// Close removes the image.
func (i *Image) Close() error { return os.RemoveAll(i.Dir) }

// Root is where a program started with Outside finds the image.
func (i *Image) Root() string { return filepath.Join(i.Dir, "merged") }

// Inside runs a command in the image (chroot) and returns what it wrote.
func (i *Image) Inside(ctx context.Context, args ...string) (string, error) {
	return i.run(ctx, step{Image: *i, Chroot: true, Args: args})
}

// Outside runs a program of this machine that sees the image at Root.
func (i *Image) Outside(ctx context.Context, args ...string) (string, error) {
	return i.run(ctx, step{Image: *i, Args: args})
}

// step is one command on an image.
type step struct {
	Image  Image
	Chroot bool
	Args   []string
}

func (i *Image) run(ctx context.Context, s step) (string, error) {
	spec, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", string(spec))
	cmd.Env = []string{cluster.PartVariable + "=image", "PATH=" + searchPath, "HOME=/root", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	// A process namespace of its own: what the command leaves running ends with
	// it, and so do the mounts.
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID, Unshareflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL, Setpgid: true,
	}
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s on an image: %w: %s", strings.Join(s.Args, " "), err, strings.TrimSpace(out.String()))
	}
	return out.String(), nil
}

// imageMain mounts the image where nobody else sees it and runs the command.
func imageMain() error {
	var s step
	if len(os.Args) != 2 {
		return errors.New("want one argument: the step, as JSON")
	}
	if err := json.Unmarshal([]byte(os.Args[1]), &s); err != nil {
		return fmt.Errorf("read step: %w", err)
	}
	root := s.Image.Root()
	if err := mountOverlay(s.Image.Rootfs, s.Image.Dir); err != nil {
		return err
	}
	if err := unix.Mount("proc", filepath.Join(root, "proc"), "proc", 0, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	for _, inside := range slices.Sorted(maps.Keys(s.Image.Binds)) {
		to := filepath.Join(root, inside)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(s.Image.Binds[inside], to, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s: %w", inside, err)
		}
	}
	if s.Chroot {
		if err := errors.Join(unix.Chroot(root), os.Chdir("/")); err != nil {
			return fmt.Errorf("enter image: %w", err)
		}
	}
	if err := os.Unsetenv(cluster.PartVariable); err != nil {
		return err
	}
	program, err := exec.LookPath(s.Args[0])
	if err != nil {
		return err
	}
	return become(program, s.Args, os.Environ())
}

// mountOverlay mounts dir/merged: the tree, and over it what was written.
func mountOverlay(rootfs, dir string) error {
	at := func(name string) string { return filepath.Join(dir, name) }
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", rootfs, at("upper"), at("work"))
	if err := unix.Mount("overlay", at("merged"), "overlay", 0, options); err != nil {
		return fmt.Errorf("mount %s: %w", at("merged"), err)
	}
	return nil
}
