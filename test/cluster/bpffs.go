package cluster

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// bpffs is a file system for BPF objects that is mounted nowhere: it can be reached
// by the path alone, and goes with this process.
type bpffs struct{ root *os.File }

func newBPFFS() (*bpffs, error) {
	fs, err := unix.Fsopen("bpf", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make BPF file system: %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("make BPF file system: %w", err)
	}
	root, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make BPF file system: %w", err)
	}
	return &bpffs{os.NewFile(uintptr(root), "bpf")}, nil
}

// path names a file in it to other processes of the same user.
func (b *bpffs) path(name string) string {
	return filepath.Join(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), b.root.Fd()), name)
}
