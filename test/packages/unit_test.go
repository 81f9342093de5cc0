package packages

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// TestSecurity reads what systemd says about the unit as it was installed.
func TestSecurity(t *testing.T) {
	const most = 2.5
	s := open(t)
	out := s.on(s.l.Nodes[0], "systemd-analyze", "--no-pager", "security", "havipd.service")
	found := regexp.MustCompile(`(?m)^→ Overall exposure level for havipd.service: ([0-9.]+)`).FindStringSubmatch(out)
	if found == nil {
		t.Fatalf("systemd-analyze security says no score:\n%s", out)
	}
	score, err := strconv.ParseFloat(found[1], 64)
	s.try(err)
	if score > most {
		t.Errorf("systemd-analyze security = %v, want at most %v:\n%s", score, most, out)
	}
	t.Logf("systemd-analyze security: %v", score)
	facts.Security = score
}

// TestSizes notes how much is downloaded and installed. havipd's size is that
// of the etcd client with gRPC; the bound is there to notice what comes beside.
func TestSizes(t *testing.T) {
	const most = 16 << 20
	s := open(t)
	for _, path := range []string{"/usr/sbin/havipd", "/usr/bin/havipctl"} {
		info, err := os.Stat(s.l.Nodes[0].Path(path))
		s.try(err)
		facts.Sizes[path] = info.Size()
	}
	for _, pattern := range []string{"*.deb", "*.rpm"} {
		files, err := filepath.Glob(filepath.Join(folder(t), older, pattern))
		s.try(err)
		for _, file := range files {
			info, err := os.Stat(file)
			s.try(err)
			facts.Sizes[filepath.Base(file)] = info.Size()
		}
	}
	for name, size := range facts.Sizes {
		if size == 0 || size > most {
			t.Errorf("%s has %d bytes, want at most %d", name, size, most)
		}
	}
}
