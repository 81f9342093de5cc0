package fence

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// stuck are hooks with a program on every link, which stays while it is stuck.
type stuck struct {
	hooks
	program uint32
	err     error
}

func (s *stuck) at(int, direction) ([]hooked, error) { return []hooked{{id: s.program}}, nil }

func (s *stuck) detach(program, int, direction) error { return s.err }

// TestFormerStays: what could not be detached is not forgotten, and its file, by which
// the next process finds it, stays.
func TestFormerStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in-1")
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	h := &stuck{program: 3, err: errors.New("busy")}
	p := &post{hooks: h, former: []former{{program{fd, 3}, inward, path}}}
	if err := p.dropFormer(); !errors.Is(err, h.err) || !p.isFormer(3) {
		t.Errorf("while it is stuck: %v, kept: %v", err, p.isFormer(3))
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	h.err = nil
	if err := p.dropFormer(); err != nil || p.isFormer(3) {
		t.Errorf("afterwards: %v, kept: %v", err, p.isFormer(3))
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its file: %v", err)
	}
}
