package packages

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"havip/test/cluster"
	"havip/test/lab"
)

func TestRemove(t *testing.T) {
	play(t, "removal by apt", "handed over; comes back enabled when it is installed again", func(s *scene) {
		was := s.holder
		s.on(was, "apt-get", "-qq", "-y", "remove", "havip")
		s.moves()
		s.handedOver()
		s.gone(was)
		s.on(was, "test", "-e", "/etc/havip/havip.toml")
		s.try(s.install(was, older))
		s.on(was, "systemctl", "start", "havipd")
		s.calm()
		s.handedOver()
		if u := s.unit(was, "havipd.service"); u["UnitFileState"] != "enabled" {
			s.Errorf("havipd is %s after it was installed again, want enabled", u["UnitFileState"])
		}
	})
}

func TestPurge(t *testing.T) {
	play(t, "purge by apt", "handed over; nothing is left", func(s *scene) {
		was := s.holder
		kubernetes := s.checksums(was)
		s.begin()
		s.on(was, "apt-get", "-qq", "-y", "purge", "havip")
		s.moves()
		s.handedOver()
		s.gone(was)
		want := append(untouched[was.Name], aptSources) // this test's own
		if diff := cmp.Diff(sorted(want), sorted(s.files(was))); diff != "" {
			s.Errorf("files of %s (-before the package came +after it was purged):\n%s", was.Name, diff)
		}
		if out := s.on(was, "find", "/var/lib/dpkg", "/run", "/tmp", "-name", "*havip*"); out != "" {
			s.Errorf("left over: %s", out)
		}
		if diff := cmp.Diff(kubernetes, s.checksums(was)); diff != "" {
			s.Errorf("/etc/kubernetes (-before +after the purge):\n%s", diff)
		}
		for _, step := range []error{s.install(was, older), s.configure(was), s.enable(was)} {
			s.try(step)
		}
		s.calm()
		s.handedOver()
	})
}

// gone checks that no daemon and no address are left on a node.
func (s *scene) gone(n *lab.Node) {
	s.Helper()
	if out := s.on(n, "ip", "-oneline", "address", "show"); strings.Contains(out, cluster.VIP4.String()+"/") {
		s.Errorf("the address is left on %s: %s", n.Name, out)
	}
	if u := s.unit(n, "havipd.service"); u["ActiveState"] != "inactive" || u["MainPID"] != "0" {
		s.Errorf("havipd is left on %s: %s, process %s", n.Name, u["ActiveState"], u["MainPID"])
	}
}

// checksums are of everything below /etc/kubernetes, with modes and owners.
func (s *scene) checksums(n *lab.Node) string {
	s.Helper()
	return s.on(n, "sh", "-c", "cd /etc/kubernetes && find . -type f -exec sha256sum {} + | sort -k 2 && find . -printf '%p %m %u %g\\n' | sort")
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }
