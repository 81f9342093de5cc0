package packages

import (
	"path/filepath"
	"strings"
	"testing"

	"havip/test/lab"
)

// newImage is a Debian tree in which nothing runs, that knows the repository.
func newImage(t *testing.T) *lab.Image {
	t.Helper()
	image, err := lab.NewImage(t.Context(), recipe)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := image.Close(); err != nil {
			t.Error(err)
		}
	})
	image.Binds = map[string]string{versions: folder(t)}
	return image
}

// inside runs a command in the image, where it has to succeed.
func inside(t *testing.T, image *lab.Image, args ...string) string {
	t.Helper()
	out, err := image.Inside(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// leftIn lists what bears the package's name in an image.
func leftIn(t *testing.T, image *lab.Image) string {
	t.Helper()
	return inside(t, image, "find", "/", "-xdev", "(", "-path", "/lab", "-o", "-path", "/var/log", "-o", "-path", "/var/cache", "-o",
		"-path", "/var/lib/apt", ")", "-prune", "-o", "-name", "*havip*", "-print")
}

// TestImage: where images are built there is no systemd to talk to.
func TestImage(t *testing.T) {
	image := newImage(t)
	inside(t, image, "sh", "-c", "cat > /etc/apt/sources.list.d/local.list <<'END'\n"+aptSource(older)+aptSource(newer)+"END\napt-get -qq update")
	apt := []string{"apt-get", "-qq", "-y"}
	inside(t, image, append(apt, "install", "havip="+older+"-1")...)
	inside(t, image, "getent", "group", "havip")
	if got := strings.TrimSpace(inside(t, image, "sh", "-c", "systemctl is-enabled havipd havip-shutdown havip-kubeadm || true")); got != "disabled\ndisabled\ndisabled" {
		t.Errorf("after the installation the units are %q, want all disabled", got)
	}
	// What whoever builds the image enables stays so.
	inside(t, image, "systemctl", "enable", "havipd")
	inside(t, image, append(apt, "install", "havip="+newer+"-1")...)
	if got := strings.TrimSpace(inside(t, image, "systemctl", "is-enabled", "havipd", "havip-shutdown")); got != "enabled\nenabled" {
		t.Errorf("after the upgrade the units are %q, want both enabled", got)
	}
	inside(t, image, append(apt, "remove", "havip")...)
	inside(t, image, append(apt, "purge", "havip")...)
	if left := leftIn(t, image); left != "" {
		t.Errorf("left over in the image: %s", left)
	}
}

// TestPolicy: a policy-rc.d forbids packages to start and restart anything, as
// where an image is built on a running system.
func TestPolicy(t *testing.T) {
	const policy = "/usr/sbin/policy-rc.d"
	s := open(t)
	s.calm()
	n := s.l.Others(s.holder)[0]
	s.has(n, older)
	runs := s.unit(n, "havipd.service")["MainPID"]
	s.try(n.WriteFile(policy, "#!/bin/sh\nexit 101\n", 0o755))
	s.try(s.install(n, newer))
	if u := s.unit(n, "havipd.service"); u["ActiveState"] != "active" || u["MainPID"] != runs {
		t.Errorf("havipd is %s as process %s after an upgrade that may start nothing, want %s to run on", u["ActiveState"], u["MainPID"], runs)
	}
	s.on(n, "systemctl", "stop", "havipd")
	s.try(s.install(n, older))
	if u := s.unit(n, "havipd.service"); u["ActiveState"] != "inactive" {
		t.Errorf("a daemon that was stopped is %s after an upgrade", u["ActiveState"])
	}
	s.on(n, "rm", policy)
	s.on(n, "systemctl", "start", "havipd")
	s.calm()
}

// TestRpmImage installs the rpm where no systemd runs, as when an image of an
// rpm distribution is built. The scriptlets run in a chroot.
func TestRpmImage(t *testing.T) {
	image := newImage(t)
	rpm := func(args ...string) string {
		t.Helper()
		out, err := image.Outside(t.Context(), append([]string{"rpm", "--root", image.Root()}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	at := func(version string) string {
		return filepath.Join(image.Root(), repository(version), "rpm", "havip-"+version+"-1.x86_64.rpm")
	}
	rpm("--initdb")
	// The tree is Debian's: what the package depends on is there, and rpm does
	// not know. Debian's rpm wants to hear that alien would not do.
	rpm("--force-debian", "--nodeps", "--install", at(older))
	inside(t, image, "getent", "group", "havip")
	inside(t, image, "test", "-x", "/usr/sbin/havipd", "-a", "-f", "/usr/lib/systemd/system/havipd.service", "-a", "-f", "/etc/havip/havip.toml")
	if out := rpm("--verify", "--nodeps", "havip"); out != "" {
		t.Errorf("rpm --verify: %s", out)
	}
	inside(t, image, "sh", "-c", "echo '# mine' >> /etc/havip/havip.toml")
	rpm("--force-debian", "--nodeps", "--upgrade", at(newer))
	if got := strings.TrimSpace(rpm("--query", "havip")); !strings.Contains(got, newer) || strings.Contains(got, older) {
		t.Errorf("after the upgrade rpm has %q, want %s alone", got, newer)
	}
	if got := inside(t, image, "sh", "-c", "ls /etc/havip && tail -n 1 /etc/havip/havip.toml"); got != "havip.toml\n# mine\n" {
		t.Errorf("config after the upgrade: %q, want the file that was changed, alone", got)
	}
	rpm("--force-debian", "--nodeps", "--erase", "havip")
	if kept := inside(t, image, "ls", "/etc/havip"); kept != "havip.toml.rpmsave\n" {
		t.Errorf("in /etc/havip after rpm --erase: %q, want the file that was changed, set aside", kept)
	}
	inside(t, image, "rm", "-r", "/etc/havip")
	rpm("--force-debian", "--nodeps", "--install", at(newer))
	rpm("--force-debian", "--nodeps", "--erase", "havip")
	if left := leftIn(t, image); left != "" {
		t.Errorf("left over after rpm --erase: %s", left)
	}
}
