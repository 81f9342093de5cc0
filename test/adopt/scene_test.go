package adopt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"havip/test/cluster"
	"havip/test/lab"
)

const (
	patience = 60 * time.Second // for what takes seconds on a quiet machine
	caseTime = 8 * time.Minute
)

// latest is the lab that was built last, for Ctrl-C.
var (
	building sync.Mutex
	latest   *lab.Lab
)

func TestMain(m *testing.M) {
	lab.RunPart(Parts())
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		signal.Stop(interrupted)
		building.Lock()
		if latest != nil {
			_ = latest.Close() // nobody is left to tell
		}
		os.Exit(130)
	}()
	os.Exit(m.Run())
}

// scene is a cluster on its stage, before its migration.
type scene struct {
	*testing.T
	ctx context.Context
	l   *lab.Lab
}

// keepalivedConfig is as in kubeadm's guide to high availability, without the
// check of the API server.
const keepalivedConfig = `! written by hand
global_defs {
    router_id LVS_DEVEL   # not used
}
vrrp_instance VI_1 {
    state %s
    interface eth0
    virtual_router_id 51
    priority %d
    authentication {
        auth_type PASS
        auth_pass 42
    }
    virtual_ipaddress {
        198.51.100.166%s
    }
}
`

const adminConf = `apiVersion: v1
kind: Config
clusters:
- cluster:
    server: https://198.51.100.166:6443
  name: kubernetes
`

// kubectl lists the masters as the real one does when it is asked by adopt.
const kubectl = `#!/bin/sh
printf 'n3 198.51.100.164\nn1 198.51.100.162\nn2 198.51.100.163\n'
`

// recipe is a machine with the real keepalived, of Debian.
var recipe = lab.Systemd.With("adopt", "keepalived")

// prepare writes what is on a master's disk before it boots.
type prepare func(n *lab.Node, number int) error

// open boots three masters with etcd and stand-ins for the API server.
func open(t *testing.T, more prepare) *scene {
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
	if opts.Binds["/usr/local/bin/etcdctl"], err = cluster.Tool("etcdctl"); err != nil {
		t.Fatal(err)
	}
	for inside, name := range map[string]string{"/usr/sbin/havipd": "havipd", "/usr/bin/havipctl": "havipctl"} {
		path, err := filepath.Abs(filepath.Join("../../bin", name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("%v: run make build", err)
		}
		opts.Binds[inside] = path
	}
	number, base := 0, opts.Prepare
	opts.Prepare = func(n *lab.Node) error {
		number++
		return errors.Join(base(n), install(n), more(n, number))
	}
	l := build(t, opts)
	ctx, cancel := context.WithTimeout(t.Context(), caseTime)
	t.Cleanup(cancel)
	s := &scene{T: t, ctx: ctx, l: l}
	t.Cleanup(func() {
		if t.Failed() {
			s.tell()
		}
	})
	s.try(l.PowerOn(ctx, l.Nodes...))
	s.try(cluster.WaitEtcd(ctx, patience, l.Seats(), l.Seats()...))
	s.try(l.StartWitness(cluster.VIP4))
	return s
}

func build(t *testing.T, opts lab.Options) *lab.Lab {
	t.Helper()
	if _, err := lab.Rootfs(t.Context(), opts.Recipe); err != nil {
		t.Fatal(err)
	}
	building.Lock()
	defer building.Unlock()
	l, err := lab.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	latest = l
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// install puts on the disk what the package would, but its programs.
func install(n *lab.Node) error {
	var errs []error
	for _, name := range []string{"havipd.service", "havip-shutdown.service"} {
		text, err := os.ReadFile(filepath.Join("../../packaging/systemd", name))
		errs = append(errs, err, n.WriteFile("/usr/lib/systemd/system/"+name, string(text), 0o644))
	}
	return errors.Join(append(errs,
		n.WriteFile("/etc/sysusers.d/havip.conf", "g havip -\n", 0o644),
		n.WriteFile("/etc/kubernetes/admin.conf", adminConf, 0o600),
		n.WriteFile("/usr/local/bin/kubectl", kubectl, 0o755),
		os.MkdirAll(n.Path("/etc/havip"), 0o755),
	)...)
}

func (s *scene) try(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// on runs a command on a node, where it has to succeed.
func (s *scene) on(n *lab.Node, args ...string) string {
	s.Helper()
	out, err := n.Exec(s.ctx, args...)
	s.try(err)
	return out
}

// refused runs a command that has to be refused, and says so in these words.
func (s *scene) refused(n *lab.Node, words string, args ...string) {
	s.Helper()
	out, errOut, code, err := n.Try(s.ctx, args...)
	s.try(err)
	if code != 1 || !strings.Contains(errOut, words) {
		s.Errorf("%v on %s: exit status %d, want 1 and %q: %s%s", args, n.Name, code, words, out, errOut)
	}
}

// says runs a command that has to succeed and say these words.
func (s *scene) says(n *lab.Node, words string, args ...string) {
	s.Helper()
	if out := s.on(n, args...); !strings.Contains(out, words) {
		s.Errorf("%v on %s says %q, want %q in it", args, n.Name, out, words)
	}
}

// measured is one step of a migration, by its two observers.
type measured struct {
	name                         string
	nobody, double, outage, late time.Duration
	lost                         int
}

// step runs one step, gives it time to show what it does, and judges it.
func (s *scene) step(name string, do func()) measured {
	s.Helper()
	began := cluster.Now()
	do()
	s.try(cluster.Pause(s.ctx, 2*time.Second)) // an address that goes wrong goes within a takeover or an advertisement
	now := cluster.Now()
	j := s.l.Sampler.Judge(began, now)
	m := measured{
		name: name, nobody: j.LongestNone, double: j.Double, late: s.l.Sampler.Late(began, now),
		outage: s.l.Witness.Outage(began, now).Length(),
	}
	for _, a := range s.l.Witness.Attempts() {
		if a.Node == "" && a.Sent >= began && a.Sent <= now {
			m.lost++
		}
	}
	s.Logf("%-28s without a holder %v, two holders %v (observed within %v), between two answers %v at worst, %d connections lost; %v",
		m.name, m.nobody, m.double, m.late, m.outage, m.lost, j.Spans)
	if m.double != 0 {
		s.Errorf("%s: two nodes had the address for %v: %v", name, m.double, j.Doubles)
	}
	if doubts := s.l.Sampler.Doubts(); len(doubts) > 0 {
		s.Errorf("the observer has doubts about itself: %v", doubts)
	}
	return m
}

// gap is how long nobody may hold the address in a step of the way forward.
const gap = 20 * time.Millisecond

// back is the same for the way back of the holder from havip to keepalived: 0.6 s
// on a quiet machine.
const back = 3 * time.Second

func (s *scene) quick(m measured) {
	s.Helper()
	if m.nobody > gap {
		s.Errorf("%s: nobody had the address for %v, want %v at most", m.name, m.nobody, gap)
	}
}

// holder waits until exactly that node holds the address and answers.
func (s *scene) holder(name string) {
	s.Helper()
	_, err := s.l.Sampler.WaitHolder(s.ctx, patience, name)
	s.try(err)
	s.try(s.l.Witness.WaitAnswer(s.ctx, patience, cluster.Now(), name))
}

// tell shows what there is to see after a failure.
func (s *scene) tell() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, n := range s.l.Nodes {
		for _, look := range [][]string{
			{"journalctl", "--no-pager", "--output=short-precise", "--lines=40", "--unit=havipd.service", "--unit=keepalived.service", "--unit=kubelet.service"},
			{"ps", "axfww", "-o", "pid,args"}, {"havipctl", "status"}, {"ip", "address", "show", "dev", "eth0"},
			{"sh", "-c", "cat /var/lib/havip/adopt/journal.json /var/lib/havip/adopt.json; ls -l /etc/kubernetes/manifests"},
		} {
			out, err := n.Exec(ctx, look...)
			s.Logf("%s: %s: %v\n%s", n.Name, strings.Join(look, " "), err, out)
		}
	}
}

// stable: after a migration everybody takes part, and a handover works.
func (s *scene) stable(holder *lab.Node) {
	s.Helper()
	want := fmt.Sprintf("HELD by %s", holder.Name)
	err := cluster.Poll(s.ctx, patience, want, func() bool {
		out, _, code, err := holder.Try(s.ctx, "havipctl", "status")
		return err == nil && code == 0 && strings.Contains(out, want)
	})
	s.try(err)
}
