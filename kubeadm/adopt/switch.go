package adopt

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"havip/kubeadm"
)

// keeperOff switches the keeper off. That a reboot must not bring it back comes
// first.
func (r *Runner) keeperOff(ctx context.Context, f *Facts) error {
	j := f.Journal
	if j.Holder && r.running(f) {
		if err := r.awaitWord(ctx, f); err != nil {
			return err
		}
	}
	if !j.Touched {
		here, err := r.here(f)
		if err == nil && here != j.Holder {
			err = errors.New("the VIP has moved meanwhile: begin again by the same command")
		}
		if err != nil {
			return err
		}
		j.Touched = true
		if err := r.save(j); err != nil {
			return err
		}
	}
	if err := r.switchOff(ctx, j); err != nil {
		return err
	}
	return r.settle(j)
}

func (r *Runner) switchOff(ctx context.Context, j *Journal) error {
	if j.Keeper.Kind == Keepalived {
		return r.each(ctx, unit, "disable", "stop")
	}
	if !j.Keeper.Services {
		return removeFile(r.System.Path(j.Keeper.Path))
	}
	manifest, err := withoutControlPlane(j.Manifest)
	if err != nil {
		return err
	}
	return r.replace(j.Keeper.Path, manifest, 0o600)
}

// settle returns when it is on the disk that the keeper is off, or on. Another file
// system than the journal's may keep that in memory for half a minute, and btrfs does so
// by the file: after a power cut the keeper would be on again, and others have been told.
func (r *Runner) settle(j *Journal) error {
	flush := r.sync
	if flush == nil {
		flush = kubeadm.SyncPath
	}
	dirs := []string{filepath.Dir(r.System.Path(j.Keeper.Path))}
	if j.Keeper.Kind == Keepalived { // where systemctl enable makes links
		dirs, _ = filepath.Glob(r.System.Path("etc/systemd/system/*.wants")) // the pattern is right
	}
	for _, dir := range dirs {
		if err := flush(dir); err != nil {
			return fmt.Errorf("have on the disk what became of the keeper: %w", err)
		}
	}
	return nil
}

// keeperOn starts the keeper as it was. havipd is stopped, and what it set is to
// be gone: from here on the VIP is the keeper's.
func (r *Runner) keeperOn(ctx context.Context, f *Facts) error {
	j := f.Journal
	here, err := r.here(f)
	if err != nil {
		return err
	}
	given := f.Daemon.Runs && j.done(undo(doGive))
	if here && !j.Touched {
		return nil // its address never went
	}
	if here && !given && !r.running(f) {
		return errors.New("the VIP is still on this node although nothing runs that holds it: see ip address")
	}
	if err := r.switchOn(ctx, j); err != nil {
		return err
	}
	return r.settle(j)
}

func (r *Runner) switchOn(ctx context.Context, j *Journal) error {
	if j.Keeper.Kind != Keepalived {
		return r.replace(j.Keeper.Path, j.Manifest, 0o600)
	}
	verbs := []string{"restart"}
	if j.KeeperEnabled {
		verbs = []string{"enable", "restart"}
	}
	return r.each(ctx, unit, verbs...)
}
