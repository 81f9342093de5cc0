package packages

import (
	"path"
	"testing"

	"havip/test/lab"
)

// rpmName is the file of a version.
func rpmName(version string) string { return "havip-" + version + "-1.x86_64.rpm" }

// TestRpm installs, upgrades and erases the rpm on masters that run. They are
// Debian's, with rpm beside dpkg: systemd and the scriptlets do not know.
func TestRpm(t *testing.T) {
	if err := discard(); err != nil {
		t.Fatal(err)
	}
	s := fresh(t)
	s.everywhere(func(n *lab.Node) error {
		if _, err := n.Exec(s.ctx, "rpm", "--initdb"); err != nil {
			return err
		}
		for _, step := range []func(*lab.Node) error{
			func(n *lab.Node) error { return s.rpm(n, "--install", rpmName(older)) }, s.configure, s.enable,
		} {
			if err := step(n); err != nil {
				return err
			}
		}
		return nil
	})
	s.calm()
	t.Log("not run: dnf, and a distribution whose own packages are rpms")

	t.Run("upgrade", func(t *testing.T) {
		s.T = t
		s.begin()
		s.try(s.rpm(s.holder, "--upgrade", rpmName(newer)))
		s.stays(settles)
		s.runs(s.holder, newer)
		s.judge()
		rows = append(rows, Row{Case: "upgrade by rpm", Promise: "stays", Runs: []Run{s.run}})
	})
	t.Run("erase", func(t *testing.T) {
		s.T = t
		was := s.holder
		s.begin()
		s.on(was, "rpm", "--force-debian", "--nodeps", "--erase", "havip")
		s.moves()
		s.handedOver()
		s.gone(was)
		s.judge()
		rows = append(rows, Row{Case: "erasure by rpm", Promise: "handed over", Runs: []Run{s.run}})
		for _, unit := range []string{"havipd.service", "havip-shutdown.service"} {
			if u := s.unit(was, unit); u["LoadState"] != "not-found" {
				t.Errorf("%s is %s after the package was erased, want not-found", unit, u["LoadState"])
			}
		}
	})
}

func (s *scene) rpm(n *lab.Node, action, name string) error {
	_, err := n.Exec(s.ctx, "rpm", "--force-debian", "--nodeps", action, path.Join(repository, "rpm", name))
	return err
}
