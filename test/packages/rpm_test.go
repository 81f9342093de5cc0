package packages

import (
	"fmt"
	"testing"

	"havip/test/lab"
)

// standIn is the spec of a package that says to rpm what Debian's packages do
// not: that there is a systemd and a shell.
const standIn = `Name: debian
Version: 12
Release: 1
Summary: what the machine has from other packages
License: none
BuildArch: noarch
Provides: systemd = 252, /bin/sh, /usr/bin/sh
%description
Nothing.
%files
`

// dnfSource is what an operator writes.
func dnfSource(version string) string {
	r := repository(version)
	return fmt.Sprintf("[havip-%s]\nname=havip\nbaseurl=file://%s/rpm\ngpgcheck=0\nrepo_gpgcheck=1\ngpgkey=file://%s/havip.asc\n", version, r, r)
}

// prepareDnf makes a machine on which dnf can install.
func (s *scene) prepareDnf(n *lab.Node) error {
	for path, text := range map[string]string{"/root/debian.spec": standIn, "/etc/yum.repos.d/havip.repo": dnfSource(older) + dnfSource(newer)} {
		if err := n.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	_, err := n.Exec(s.ctx, "sh", "-c", "rpmbuild --quiet -bb --define '_topdir /root/rpmbuild' /root/debian.spec && "+
		"rpm --force-debian --install /root/rpmbuild/RPMS/noarch/debian-12-1.noarch.rpm")
	return err
}

func (s *scene) dnf(n *lab.Node, args ...string) error {
	_, err := n.Exec(s.ctx, append([]string{"dnf", "--quiet", "--assumeyes"}, args...)...)
	return err
}

// fromDnf installs the older version and makes it serve.
func (s *scene) fromDnf(n *lab.Node) error {
	for _, step := range []func(*lab.Node) error{
		func(n *lab.Node) error { return s.dnf(n, "install", "havip-"+older) }, s.configure, s.enable,
	} {
		if err := step(n); err != nil {
			return err
		}
	}
	return nil
}

// TestRpm installs, upgrades, downgrades and removes the rpm by dnf on masters that run.
// They are Debian's, with rpm and dnf beside dpkg: systemd and the scriptlets
// do not know. What it does not show is a whole distribution of rpms.
func TestRpm(t *testing.T) {
	if err := discard(); err != nil {
		t.Fatal(err)
	}
	l := fresh(t).l
	s := newScene(t, l)
	s.everywhere(s.prepareDnf)
	s.everywhere(s.fromDnf)
	upgrade := Row{Case: "upgrade by dnf", Promise: "stays"}
	downgrade := Row{Case: "downgrade by dnf", Promise: "stays"}
	removal := Row{Case: "removal by dnf", Promise: "handed over"}
	for i := range *repeat {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			s := newScene(t, l)
			s.play((*scene).upgradedByDnf)
			upgrade.Runs = append(upgrade.Runs, s.run)
			s.play((*scene).downgradedByDnf)
			downgrade.Runs = append(downgrade.Runs, s.run)
			s.play((*scene).removedByDnf)
			removal.Runs = append(removal.Runs, s.run)
		})
	}
	rows = append(rows, upgrade, downgrade, removal)
}

func (s *scene) upgradedByDnf() {
	s.try(s.dnf(s.holder, "upgrade", "havip"))
	s.stays(settles)
	s.runs(s.holder, newer)
}

func (s *scene) downgradedByDnf() {
	s.try(s.dnf(s.holder, "downgrade", "havip"))
	s.stays(settles)
	s.runs(s.holder, older)
}

func (s *scene) removedByDnf() {
	was := s.holder
	s.try(s.dnf(was, "remove", "havip"))
	s.moves()
	s.handedOver()
	s.gone(was)
	for _, unit := range []string{"havipd.service", "havip-shutdown.service", "havip-kubeadm.service"} {
		if u := s.unit(was, unit); u["LoadState"] != "not-found" {
			s.Errorf("%s is %s after the package was removed, want not-found", unit, u["LoadState"])
		}
	}
	s.on(was, "rm", "/etc/havip/havip.toml.rpmsave")
	s.try(s.fromDnf(was))
	s.calm()
	s.handedOver()
}
