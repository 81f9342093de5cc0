package fence

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"havip/vip"
)

// Dir is where the programs are kept when nobody says otherwise. systemd mounts a
// BPF file system there.
const Dir = "/sys/fs/bpf/havip"

// Fence is one address's or two's. Its methods may be called from several
// goroutines; only Set never waits.
type Fence struct {
	dir   string
	hooks hooks
	posts []*post

	mu     sync.Mutex
	others []string // directories of other addresses, left by an earlier process
}

// Open gets the programs ready that fence the addresses, or takes over those that
// an earlier process left in dir, with the deadline that they have. A fresh one
// has the deadline until. It touches no link.
func Open(dir string, addrs []netip.Addr, until time.Duration) (*Fence, error) {
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("open the fence: %w", err)
	}
	f := &Fence{dir: dir, hooks: systemHooks()}
	for _, a := range addrs {
		p, err := openPost(f.hooks, filepath.Join(dir, fileName(a)), a, until)
		if err != nil {
			return nil, fmt.Errorf("open the fence of %v: %w", a, errors.Join(err, f.forget()))
		}
		f.posts = append(f.posts, p)
	}
	all, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open the fence: %w", errors.Join(err, f.forget()))
	}
	for _, e := range all {
		if !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return fileName(a) == e.Name() }) {
			f.others = append(f.others, filepath.Join(dir, e.Name()))
		}
	}
	return f, nil
}

// makeDir makes the directory, on a BPF file system.
func makeDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make its directory: %w: is a BPF file system mounted there (mount -t bpf bpf /sys/fs/bpf, then systemctl restart havipd)?", err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	if fs.Type != unix.BPF_FS_MAGIC {
		return fmt.Errorf("%s is on no BPF file system: mount -t bpf bpf /sys/fs/bpf, then systemctl restart havipd", dir)
	}
	return nil
}

// fileName is an address as the name of a file; a BPF file system allows no dots.
func fileName(a netip.Addr) string {
	return strings.NewReplacer(".", "-", ":", "-").Replace(a.String())
}

// Until is the deadline; of two addresses the earlier one.
func (f *Fence) Until() time.Duration {
	until := f.posts[0].clock.until()
	for _, p := range f.posts[1:] {
		until = min(until, p.clock.until())
	}
	return until
}

// Set moves the deadline: from this reading of vip.Now on nothing passes. One
// that is over, as 0 is, closes at once.
//
// Who wants the fence to stay closed calls Tend at the latest a minute afterwards.
//
// It is one store to memory, of an absolute time. A process that is frozen just
// before it can only store a time that is over when it runs on.
func (f *Fence) Set(until time.Duration) {
	until = max(until, vip.Now())
	for _, p := range f.posts {
		p.clock.set(until)
	}
}

// Tend keeps a fence that is closed from opening by itself, as one does that nobody
// tends for 90 s.
func (f *Fence) Tend() {
	now := vip.Now()
	for _, p := range f.posts {
		p.clock.tend(now)
	}
}

// Attach fences a link; that it is fenced already is no error. With an error the
// link may let everything pass.
func (f *Fence) Attach(link int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := isEthernet(link); err != nil {
		return fmt.Errorf("fence link %d: %w", link, err)
	}
	for _, d := range []direction{inward, outward} {
		if err := f.attach(link, d); err != nil {
			return fmt.Errorf("fence link %d, %sward: %w", link, d.name, err)
		}
	}
	// The links of this process are fenced: what others left is to go, and is
	// looked for once.
	var errs []error
	for _, p := range f.posts {
		errs = append(errs, p.dropFormer())
	}
	errs = append(errs, f.sweep())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("fence link %d: remove what an earlier process left: %w", link, err)
	}
	return nil
}

// attach puts the programs where they are not, or not before what could let packets
// pass unseen.
func (f *Fence) attach(link int, d direction) error {
	for attached := false; ; attached = true {
		there, err := f.hooks.at(link, d)
		if err != nil {
			return err
		}
		if err := f.leads(there, d); err == nil || attached {
			return err
		}
		for _, p := range f.posts {
			if err := f.hooks.attach(p.of(d), link, d); err != nil {
				return fmt.Errorf("attach: %w", err)
			}
		}
	}
}

// leads is an error if what is at a hook has not the fence before all others.
func (f *Fence) leads(there []hooked, d direction) error {
	missing := slices.Clone(f.posts)
	for _, h := range there {
		is := func(p *post) bool { return p.of(d).id == h.id }
		switch {
		case len(missing) == 0:
			return nil
		case slices.ContainsFunc(f.posts, is): // of a filter there may be two, if who moved it was killed
			missing = slices.DeleteFunc(missing, is)
		case !slices.ContainsFunc(f.posts, func(p *post) bool { return p.isFormer(h.id) }):
			return fmt.Errorf("%s runs before the fence: it must be attached after it", h.what)
		}
	}
	if len(missing) > 0 {
		return errors.New("attached, but not found when read back")
	}
	return nil
}

// sweep removes the fences of other addresses once they are open for good. One
// that is closed may still have to keep its address from answering.
func (f *Fence) sweep() error {
	var left []string
	var errs []error
	for _, dir := range f.others {
		if forgottenAt(filepath.Join(dir, untilFile)) {
			errs = append(errs, removePost(f.hooks, dir))
		} else {
			left = append(left, dir)
		}
	}
	f.others = left
	return errors.Join(errs...)
}

// Detach takes the fence from every link; it can be attached again.
func (f *Fence) Detach() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, p := range f.posts {
		errs = append(errs, p.detach())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("detach the fence: %w", err)
	}
	return nil
}

// Close takes the fence away, from every link and for good. Without it the
// programs stay and the next process takes them over.
func (f *Fence) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, p := range f.posts {
		errs = append(errs, p.remove())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove the fence: %w", err)
	}
	_ = os.Remove(f.dir) // unless another address's is there, or it is busy, as within the daemon's own unit
	return nil
}

// forget closes the descriptors. The memory stays mapped for as long as the
// process lives, one page an address: Set may be under way.
func (f *Fence) forget() error {
	var errs []error
	for _, p := range f.posts {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

// Left reports whether there may be fences that an earlier process left.
func Left(dir string) bool {
	all, err := os.ReadDir(dir)
	return len(all) > 0 || err != nil && !errors.Is(err, os.ErrNotExist)
}

// Remove takes away whatever fences any process left.
func Remove(dir string) error {
	all, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range all {
		errs = append(errs, removePost(systemHooks(), filepath.Join(dir, e.Name())))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove the fence: %w", err)
	}
	_ = os.Remove(dir) // busy within the daemon's own unit
	return nil
}

// version tells programs that differ apart. The numbers of descriptors are no
// part of it.
func version(a netip.Addr, d direction) string {
	sum := sha256.Sum256(d.program(a, 0))
	return hex.EncodeToString(sum[:6])
}
