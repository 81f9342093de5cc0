package fence

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"havip/vip"
)

// untilFile keeps the map with the deadline. A map of another form would have
// another name.
const untilFile = "until"

// post is the fence of one address: a directory with its map and its two programs.
type post struct {
	dir    string
	clock  *clock
	in     program
	out    program
	former []former // programs of another version, which are to go
	hooks  hooks
}

type program struct {
	fd int
	id uint32
}

// former is a program that another version left.
type former struct {
	program
	direction direction
	path      string // "" when another is kept under its name
}

func (p *post) of(d direction) program {
	if d == inward {
		return p.in
	}
	return p.out
}

func (p *post) isFormer(id uint32) bool {
	return slices.ContainsFunc(p.former, func(f former) bool { return f.id == id })
}

func openPost(h hooks, dir string, a netip.Addr, until time.Duration) (*post, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("make its directory: %w", err)
	}
	c, err := openClock(filepath.Join(dir, untilFile), until)
	if err != nil {
		return nil, err
	}
	p := &post{dir: dir, clock: c, hooks: h}
	p.in, err = p.program(inward, a)
	if err == nil {
		p.out, err = p.program(outward, a)
	}
	if err == nil {
		err = p.findFormer()
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// program opens the program that is kept, or loads it and keeps it. Without the
// file nobody could ever get at it again: what asks for a program by its ID needs
// CAP_SYS_ADMIN.
func (p *post) program(d direction, a netip.Addr) (program, error) {
	path := filepath.Join(p.dir, d.name+"-"+version(a, d))
	prog, itsMap, err := openProgram(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return prog, err
	case itsMap == p.clock.id:
		return prog, nil
	default: // its map was deleted under it
		p.former = append(p.former, former{prog, d, ""})
		if err := os.Remove(path); err != nil {
			return program{}, err
		}
	}
	fd, err := loadProgram("havip_"+d.name, d.program(a, p.clock.fd))
	if err != nil {
		return program{}, err
	}
	if err := pin(fd, path); err != nil {
		return program{}, errors.Join(err, unix.Close(fd))
	}
	id, _, err := aboutProgram(fd)
	return program{fd, id}, err
}

func openProgram(path string) (program, uint32, error) {
	fd, err := pinned(path)
	if err != nil {
		return program{}, 0, err
	}
	id, itsMap, err := aboutProgram(fd)
	if err != nil {
		return program{}, 0, errors.Join(fmt.Errorf("look at %s: %w", path, err), unix.Close(fd))
	}
	return program{fd, id}, itsMap, nil
}

// findFormer finds programs that are kept and are not this version's.
func (p *post) findFormer() error {
	all, err := os.ReadDir(p.dir)
	if err != nil {
		return err
	}
	for _, e := range all {
		path := filepath.Join(p.dir, e.Name())
		d, ok := directionOf(e.Name())
		if !ok {
			continue
		}
		prog, _, err := openProgram(path)
		if err != nil {
			return err
		}
		if prog.id == p.in.id || prog.id == p.out.id {
			if err := unix.Close(prog.fd); err != nil {
				return err
			}
			continue
		}
		p.former = append(p.former, former{prog, d, path})
	}
	return nil
}

// directionOf is where a program belongs, by the name of its file.
func directionOf(name string) (direction, bool) {
	for _, d := range []direction{inward, outward} {
		if strings.HasPrefix(name, d.name+"-") {
			return d, true
		}
	}
	return direction{}, false
}

// dropFormer removes the programs of other versions. One that stays attached somewhere
// is kept, for the next try and the next process.
func (p *post) dropFormer() error {
	var errs []error
	p.former = slices.DeleteFunc(p.former, func(f former) bool {
		err := detachEverywhere(p.hooks, f.program, f.direction)
		if err == nil && f.path != "" {
			if err = os.Remove(f.path); errors.Is(err, os.ErrNotExist) {
				err = nil
			}
		}
		if err != nil {
			errs = append(errs, err)
			return false
		}
		errs = append(errs, unix.Close(f.fd))
		return true
	})
	return errors.Join(errs...)
}

func (p *post) close() error {
	var errs []error
	for _, fd := range []int{p.in.fd, p.out.fd, p.clock.fd} {
		if fd != 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	p.in, p.out, p.clock.fd = program{}, program{}, 0
	return errors.Join(errs...)
}

// remove detaches the programs and deletes what is kept. What stays attached would
// close the address for a minute and a half, whatever the fence of the next process
// lets pass: its file stays too, by which that one finds it.
func (p *post) remove() error {
	if err := p.detach(); err != nil {
		return errors.Join(err, p.close())
	}
	return errors.Join(p.close(), os.RemoveAll(p.dir))
}

func (p *post) detach() error {
	return errors.Join(p.dropFormer(), detachEverywhere(p.hooks, p.in, inward), detachEverywhere(p.hooks, p.out, outward))
}

// removePost detaches the programs that are kept in a directory and deletes it, as
// remove does.
func removePost(h hooks, dir string) error {
	all, err := os.ReadDir(dir)
	errs := []error{err}
	for _, e := range all {
		if d, ok := directionOf(e.Name()); ok {
			errs = append(errs, removeProgram(h, filepath.Join(dir, e.Name()), d))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

func removeProgram(h hooks, path string, d direction) error {
	prog, _, err := openProgram(path)
	if err != nil {
		return err
	}
	return errors.Join(detachEverywhere(h, prog, d), unix.Close(prog.fd))
}

// clock is a map with a deadline, in memory that the programs read.
type clock struct {
	fd     int
	id     uint32
	memory *atomic.Int64
}

func (c *clock) set(until time.Duration) { c.memory.Store(int64(until)) }

// tend moves a deadline that is over to now, unless somebody moves it meanwhile.
func (c *clock) tend(now time.Duration) {
	if was := c.memory.Load(); was < int64(now) {
		c.memory.CompareAndSwap(was, int64(now))
	}
}

func (c *clock) until() time.Duration { return time.Duration(c.memory.Load()) }

// isForgotten: the deadline is so long over that the fence is open again.
func (c *clock) isForgotten() bool { return vip.Now()-c.until() >= forgotten }

// openClock opens the map that is kept, or makes it with a deadline and keeps it.
func openClock(path string, until time.Duration) (*clock, error) {
	fd, err := pinned(path)
	if err == nil {
		c, err := mapClock(fd)
		if err == nil && c.isForgotten() {
			c.tend(vip.Now()) // closed, as it was
		}
		return c, err
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if fd, err = newMap("havip_until"); err != nil {
		return nil, err
	}
	c, err := mapClock(fd)
	if err != nil {
		return nil, err
	}
	c.set(max(until, vip.Now()))
	if err := pin(fd, path); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return c, nil
}

// mapClock takes the descriptor over.
func mapClock(fd int) (*clock, error) {
	info, err := aboutMap(fd)
	if err == nil && (info.kind != unix.BPF_MAP_TYPE_ARRAY || info.valueSize != 8 || info.flags&unix.BPF_F_MMAPABLE == 0) {
		err = errors.New("the map that is kept is no deadline")
	}
	var memory []byte
	if err == nil {
		memory, err = unix.Mmap(fd, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map the deadline: %w", err), unix.Close(fd))
	}
	return &clock{fd: fd, id: info.id, memory: (*atomic.Int64)(unsafe.Pointer(&memory[0]))}, nil
}

// forgottenAt looks at the deadline that is kept in a file. What cannot be read
// fences nothing.
func forgottenAt(path string) bool {
	fd, err := pinned(path)
	if err != nil {
		return true
	}
	c, err := mapClock(fd)
	if err != nil {
		return true
	}
	over := c.isForgotten()
	_ = unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(c.memory)), os.Getpagesize()))
	_ = unix.Close(fd)
	return over
}

// isEthernet: the programs know where things are behind an Ethernet header.
func isEthernet(link int) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return err
	}
	ifr.SetUint32(uint32(link))
	if err := unix.IoctlIfreq(s, unix.SIOCGIFNAME, ifr); errors.Is(err, unix.ENODEV) {
		return os.ErrNotExist
	} else if err != nil {
		return fmt.Errorf("ask for its name: %w", err)
	}
	if err := unix.IoctlIfreq(s, unix.SIOCGIFHWADDR, ifr); err != nil {
		return fmt.Errorf("ask for its kind: %w", err)
	}
	// The answer is a struct sockaddr, which begins with the kind.
	if kind := ifr.Uint16(); kind != unix.ARPHRD_ETHER {
		return fmt.Errorf("%s is no Ethernet link (it has kind %d)", ifr.Name(), kind)
	}
	return nil
}
