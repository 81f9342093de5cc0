package packages

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"havip/daemon/status"
	"havip/test/cluster"
	"havip/test/lab"
)

// The two versions that `make package-test` makes.
const (
	older = "0.0.1"
	newer = "0.0.2"
)

// versions is where a machine has a repository of each version.
const versions = "/lab/versions"

func repository(version string) string { return versions + "/" + version + "/repo" }

// aptSource is what an operator writes.
func aptSource(version string) string {
	r := repository(version)
	return fmt.Sprintf("deb [signed-by=%s/havip.asc] file:%s/deb ./\n", r, r)
}

const aptSources = "/etc/apt/sources.list.d/havip.list"

// recipe is what the machines are made of: rpm and dnf are there for the other
// packages.
var recipe = lab.Systemd.With("packages", "rpm", "dnf", "nftables")

// untouched are the files of each node before the package came, by name.
var untouched map[string][]string

// folder is where the versions are out here.
func folder(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(*made)
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{older, newer} {
		if _, err := os.Stat(filepath.Join(path, version, "repo", "deb", "InRelease")); err != nil {
			t.Fatalf("no repository: run sudo make package-test: %v", err)
		}
	}
	return path
}

// fresh boots three masters without the package. The lab goes with the test,
// unless it became the shared one.
func fresh(t *testing.T) *scene {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root: run sudo make test")
	}
	standin, err := lab.NewStandIn()
	if err != nil {
		t.Fatal(err)
	}
	opts := standin.Options()
	opts.Recipe = recipe
	opts.Binds[versions] = folder(t)
	l := build(t, opts)
	t.Cleanup(func() {
		if l != shared {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	s := newScene(t, l)
	s.try(l.PowerOn(s.ctx, l.Nodes...))
	s.try(cluster.WaitEtcd(s.ctx, calmsDown, l.Seats(), l.Seats()...))
	s.try(l.StartWitness(cluster.VIP4))
	untouched = map[string][]string{}
	for _, n := range l.Nodes {
		untouched[n.Name] = s.files(n)
	}
	return s
}

func build(t *testing.T, opts lab.Options) *lab.Lab {
	t.Helper()
	// The tree may take a minute: nobody is to wait for that after Ctrl-C.
	if _, err := lab.Rootfs(t.Context(), opts.Recipe); err != nil {
		t.Fatal(err)
	}
	building.Lock()
	defer building.Unlock()
	l, err := lab.New(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	latest = l
	return l
}

// files lists what is on the node's disk. Logs, caches and what dpkg and apt
// keep for themselves change with every package; those are looked through for
// the package's name elsewhere.
func (s *scene) files(n *lab.Node) []string {
	s.Helper()
	out := s.on(n, "find", "/", "-xdev", "(", "-path", "/var/log", "-o", "-path", "/var/cache", "-o", "-path", "/var/lib/dpkg", "-o",
		"-path", "/var/lib/apt", "-o", "-path", "/var/lib/etcd", "-o", "-path", "/tmp", "-o", "-path", "/var/tmp", "-o", "-path", "/lab", ")", "-prune", "-o", "-print")
	files := strings.Split(strings.TrimSpace(out), "\n")
	slices.Sort(files)
	return files
}

// everywhere does the same on all nodes at once.
func (s *scene) everywhere(f func(*lab.Node) error) {
	s.Helper()
	var g errgroup.Group
	for _, n := range s.l.Nodes {
		g.Go(func() error { return f(n) })
	}
	s.try(g.Wait())
}

// addRepository tells apt on every node where the package is.
func (s *scene) addRepository() {
	s.Helper()
	s.everywhere(func(n *lab.Node) error {
		if err := n.WriteFile(aptSources, aptSource(older)+aptSource(newer), 0o644); err != nil {
			return err
		}
		_, err := n.Exec(s.ctx, "apt-get", "-qq", "update")
		return err
	})
}

// install brings one version onto the node, from whatever is there.
func (s *scene) install(n *lab.Node, version string) error {
	_, err := n.Exec(s.ctx, "apt-get", "-qq", "-y", "--allow-downgrades", "install", "havip="+version+"-1")
	return err
}

// configure writes the config file as an operator would.
func (s *scene) configure(n *lab.Node) error {
	args := []string{"havipctl", "config", "init", "--file", "/etc/havip/havip.toml", "--vip", cluster.VIP4.String()}
	for _, m := range s.l.Nodes {
		args = append(args, "--master", m.Name+"="+m.Address.String())
	}
	_, err := n.Exec(s.ctx, args...)
	return err
}

func (s *scene) enable(n *lab.Node) error {
	_, err := n.Exec(s.ctx, "systemctl", "enable", "--now", "havipd")
	return err
}

// installEverywhere makes three masters with the older version that are calm.
func (s *scene) installEverywhere() {
	s.Helper()
	s.addRepository()
	s.everywhere(func(n *lab.Node) error {
		for _, step := range []func(*lab.Node) error{
			func(n *lab.Node) error { return s.install(n, older) }, s.configure, s.enable,
		} {
			if err := step(n); err != nil {
				return err
			}
		}
		return nil
	})
	s.calm()
}

// document is what havipctl says on a node, and its exit status.
func (s *scene) document(n *lab.Node) (doc status.Document, code int) {
	s.Helper()
	out, errOut, code, err := n.Try(s.ctx, "havipctl", "status", "-o", "json")
	s.try(err)
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		s.Fatalf("status of %s: exit status %d: %v: %s", n.Name, code, err, errOut)
	}
	return doc, code
}

// TestInstall is the way of an operator from nothing to a VIP that is held.
func TestInstall(t *testing.T) {
	if err := discard(); err != nil {
		t.Fatal(err)
	}
	s := fresh(t)
	s.addRepository()
	s.everywhere(func(n *lab.Node) error { return s.install(n, older) })
	n1 := s.l.Nodes[0]
	t.Run("nothing is enabled or started", func(t *testing.T) {
		for _, unit := range []string{"havipd.service", "havip-shutdown.service", "havip-kubeadm.service"} {
			u := s.unit(n1, unit)
			got := []string{u["LoadState"], u["UnitFileState"], u["ActiveState"], u["FragmentPath"]}
			want := []string{"loaded", "disabled", "inactive", "/lib/systemd/system/" + unit}
			got[3] = strings.TrimPrefix(got[3], "/usr")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", unit, diff)
			}
		}
	})
	t.Run("what is where", func(t *testing.T) {
		want := "/etc/havip/havip.toml\n"
		got := s.on(n1, "sh", "-c", "dpkg-query --show --showformat='${Conffiles}\n' havip | awk 'NF { print $1 }'")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("conffiles (-want +got):\n%s", diff)
		}
		s.on(n1, "getent", "group", "havip")
		s.on(n1, "test", "-x", "/usr/sbin/havipd", "-a", "-x", "/usr/bin/havipctl")
	})
	t.Run("without a config it runs and says what is missing", func(t *testing.T) { s.startsUnconfigured(t, n1) })
	t.Run("held", func(t *testing.T) {
		s.everywhere(s.configure)
		s.everywhere(s.enable)
		s.on(n1, "systemctl", "restart", "havipd") // it ran without a config until here
		s.calm()
		for _, n := range s.l.Nodes {
			s.ready(n, byHand)
			if doc, code := s.document(n); doc.Verdict != status.Held || code != 0 {
				t.Errorf("%s: verdict %s and exit status %d, want HELD and 0", n.Name, doc.Verdict, code)
			}
			if out := s.on(n, "havipctl", "status"); !strings.Contains(out, "HELD by "+s.holder.Name) {
				t.Errorf("%s says %q, want HELD by %s", n.Name, out, s.holder.Name)
			}
			for _, unit := range []string{"havipd.service", "havip-shutdown.service"} {
				if u := s.unit(n, unit); u["UnitFileState"] != "enabled" || u["ActiveState"] != "active" {
					t.Errorf("%s on %s is %s and %s, want enabled and active", unit, n.Name, u["UnitFileState"], u["ActiveState"])
				}
			}
		}
	})
	if !t.Failed() {
		shared = s.l
	}
}

func (s *scene) startsUnconfigured(t *testing.T, n *lab.Node) {
	s.on(n, "systemctl", "start", "havipd")
	s.try(cluster.Pause(s.ctx, 3*time.Second)) // a loop would have gone round by then
	u := s.unit(n, "havipd.service")
	if u["ActiveState"] != "active" || u["NRestarts"] != "0" {
		t.Errorf("havipd is %s after %s restarts, want active after none", u["ActiveState"], u["NRestarts"])
	}
	if !strings.Contains(u["StatusText"], "havip.toml") {
		t.Errorf("systemctl status says %q, want what is missing", u["StatusText"])
	}
	if doc, code := s.document(n); doc.Verdict != status.Unconfigured || code == 0 {
		t.Errorf("verdict %s and exit status %d, want UNCONFIGURED and not 0", doc.Verdict, code)
	}
}
