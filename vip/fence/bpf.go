package fence

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What bpf(2) is asked, each a part of union bpf_attr (linux/bpf.h). They are
// written down here since a library for it adds 1 MiB to a program of 14.4, and
// 0.25 MiB for its assembler alone (measured with cilium/ebpf 0.22).
type (
	mapCreate struct {
		kind, keySize, valueSize, entries, flags uint32
		_, _                                     uint32 // of maps in maps, and of NUMA nodes
		name                                     [unix.BPF_OBJ_NAME_LEN]byte
	}
	progLoad struct {
		kind, count       uint32
		code, license     unsafe.Pointer
		logLevel, logSize uint32
		log               unsafe.Pointer
		_, _              uint32 // the kernel's version, flags
		name              [unix.BPF_OBJ_NAME_LEN]byte
	}
	object struct {
		path  unsafe.Pointer
		fd, _ uint32
	}
	infoByFD struct {
		fd, size uint32
		info     unsafe.Pointer
	}
	attach struct {
		link, fd, hook, flags uint32
		_, relative           uint32 // what it replaces, and what it goes beside
	}
	query struct {
		link, hook, _, _ uint32
		ids              unsafe.Pointer
		count, _         uint32
		_, _, _          unsafe.Pointer
		_                uint64 // the kernel writes it, whatever size it was told
	}
)

// The beginnings of struct bpf_map_info and bpf_prog_info.
type (
	mapInfo struct {
		kind, id, keySize, valueSize, entries, flags uint32
		name                                         [unix.BPF_OBJ_NAME_LEN]byte
	}
	progInfo struct {
		kind, id uint32
		_        [8]byte // tag
		_, _     uint32
		_, _     unsafe.Pointer
		_        uint64 // time
		_, maps  uint32
		mapIDs   unsafe.Pointer
		name     [unix.BPF_OBJ_NAME_LEN]byte
	}
)

// bpf makes one call. x must point to what the command takes.
func bpf[T any](command uintptr, x *T) (int, error) {
	const tries = 100 // each ended by one of the signals of Go's own scheduler
	for try := 1; ; try++ {
		r, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(unsafe.Pointer(x)), unsafe.Sizeof(*x))
		runtime.KeepAlive(x)
		switch {
		case errno == 0:
			return int(r), nil
		case errno != unix.EAGAIN || try == tries: // the verifier's, when it was interrupted
			return 0, errno
		}
	}
}

const permission = "needs CAP_NET_ADMIN and CAP_BPF, which came with Linux 5.8: run it by its systemd unit, or as root"

// explain names what is missing.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: %s", err, permission)
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("%w: this kernel has no bpf(2)", err)
	}
	return err
}

func objectName(s string) (out [unix.BPF_OBJ_NAME_LEN]byte) {
	copy(out[:len(out)-1], s)
	return out
}

// newMap makes a map of one long, to be written through memory.
func newMap(name string) (int, error) {
	fd, err := bpf(unix.BPF_MAP_CREATE, &mapCreate{
		kind: unix.BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: 8, entries: 1, flags: unix.BPF_F_MMAPABLE, name: objectName(name),
	})
	if err != nil {
		return 0, fmt.Errorf("make a BPF map: %w", explain(err))
	}
	return fd, nil
}

// loadProgram hands a program to the kernel, which checks it.
func loadProgram(name string, code []byte) (int, error) {
	license := []byte("Apache-2.0\x00") // no helper that it calls asks for the GPL
	x := progLoad{
		kind: unix.BPF_PROG_TYPE_SCHED_CLS, count: uint32(len(code) / 8), code: unsafe.Pointer(&code[0]),
		license: unsafe.Pointer(&license[0]), name: objectName(name),
	}
	fd, err := bpf(unix.BPF_PROG_LOAD, &x)
	if err == nil {
		return fd, nil
	}
	// Again, for what the verifier has against it.
	log := make([]byte, 1<<16)
	x.logLevel, x.logSize, x.log = 1, uint32(len(log)), unsafe.Pointer(&log[0])
	if fd, lerr := bpf(unix.BPF_PROG_LOAD, &x); lerr == nil {
		return fd, nil
	}
	said, _, _ := bytes.Cut(log, []byte{0})
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	return 0, fmt.Errorf("load a BPF program: %w %s", explain(err), strings.Join(lines[max(0, len(lines)-3):], "; "))
}

func pin(fd int, path string) error {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	_, err = bpf(unix.BPF_OBJ_PIN, &object{path: unsafe.Pointer(name), fd: uint32(fd)})
	if err != nil {
		return fmt.Errorf("keep %s: %w", path, explain(err))
	}
	return nil
}

// pinned opens what is kept under a name; absence is os.ErrNotExist.
func pinned(path string) (int, error) {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return 0, err
	}
	fd, err := bpf(unix.BPF_OBJ_GET, &object{path: unsafe.Pointer(name)})
	if errors.Is(err, unix.ENOENT) {
		return 0, os.ErrNotExist
	}
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", path, explain(err))
	}
	return fd, nil
}

func aboutMap(fd int) (mapInfo, error) {
	var out mapInfo
	_, err := bpf(unix.BPF_OBJ_GET_INFO_BY_FD, &infoByFD{fd: uint32(fd), size: uint32(unsafe.Sizeof(out)), info: unsafe.Pointer(&out)})
	return out, err
}

// aboutProgram tells a program's ID, and that of its map.
func aboutProgram(fd int) (id, itsMap uint32, err error) {
	out := progInfo{maps: 1, mapIDs: unsafe.Pointer(&itsMap)}
	_, err = bpf(unix.BPF_OBJ_GET_INFO_BY_FD, &infoByFD{fd: uint32(fd), size: uint32(unsafe.Sizeof(out)), info: unsafe.Pointer(&out)})
	return out.id, itsMap, err
}
