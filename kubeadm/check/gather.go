package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"havip/configs"
	"havip/kubeadm"
)

// Node is what is looked at, and who else is asked.
type Node struct {
	kubeadm.System

	// Daemon asks the daemon of this node. On a node without a cluster it may have
	// the daemon look at the wire.
	Daemon func(ctx context.Context, joined bool) Daemon

	Begun bool // see Facts
}

// Each part has this long, the daemon as long as its look at the wire takes: three
// questions a second apart, and the link's neighbours meanwhile. The parts run
// beside each other.
const (
	partTime   = 5 * time.Second
	daemonTime = 8 * time.Second
)

// Gather looks at the node, by the config file at path. It ends within daemonTime,
// whatever hangs.
func Gather(ctx context.Context, n Node, path string) Facts {
	f := Facts{Now: time.Now(), Missing: make(map[Part]string), Config: n.readConfig(path), Begun: n.Begun}
	f.Joined = n.there("etc/kubernetes/manifests/kube-apiserver.yaml") && n.there("etc/kubernetes/manifests/etcd.yaml")
	var err error
	if f.Links, err = n.links(); err != nil {
		f.Missing[PartLinks] = err.Error()
	}
	f.DefaultLink = n.defaultLink()
	parts := []part{
		{PartDaemon, daemonTime, n.lookAtDaemon},
		{PartClock, partTime, n.lookAtClock},
		{PartSystemd, partTime, n.lookAtUnits},
		{PartFirewall, partTime, n.lookAtFirewall},
	}
	if f.Config.File != nil {
		f.findSelf()
		parts = append(parts, part{PartNode, partTime, n.lookAtNode}, part{PartWire, partTime, n.lookAtWire},
			part{PartFiles, partTime, n.lookAtFiles}, part{PartCluster, partTime, n.lookAtCluster})
	}
	collect(ctx, &f, parts)
	return f
}

// part gathers some facts: the function returned puts them in, the error says why
// there are none. look reads f, which has config and links, and does not write it.
type part struct {
	name  Part
	limit time.Duration
	look  func(ctx context.Context, f *Facts) (func(*Facts), error)
}

type outcome struct {
	put func(*Facts)
	err error
}

// collect runs the parts side by side. One that has not come to its end in time is
// left to itself: a file system that hangs cannot be hurried.
func collect(ctx context.Context, f *Facts, parts []part) {
	results := make([]chan outcome, len(parts))
	seen := *f
	for i, p := range parts {
		results[i] = make(chan outcome, 1)
		go func() {
			ctx, cancel := context.WithTimeout(ctx, p.limit)
			defer cancel()
			put, err := p.look(ctx, &seen)
			results[i] <- outcome{put, err}
		}()
	}
	begun := time.Now()
	for i, p := range parts {
		o, err := await(results[i], begun.Add(p.limit+grace))
		switch {
		case err != nil:
			f.Missing[p.name] = fmt.Sprintf("no answer within %v", p.limit)
		case o.err != nil:
			f.Missing[p.name] = o.err.Error()
		default:
			o.put(f)
		}
	}
}

// grace is what a part that was told to end may take to do so.
const grace = 500 * time.Millisecond

// await takes what is there, however late it is asked, and waits for the rest.
func await(result <-chan outcome, until time.Time) (outcome, error) {
	late := time.NewTimer(time.Until(until))
	defer late.Stop()
	select {
	case o := <-result:
		return o, nil
	default:
	}
	select {
	case o := <-result:
		return o, nil
	case <-late.C:
		return outcome{}, context.DeadlineExceeded
	}
}

func (n Node) readConfig(path string) Config {
	c := Config{Path: path}
	cfg, err := configs.Load(path)
	var problems configs.Problems
	switch {
	case errors.As(err, &problems):
		for _, p := range problems {
			c.Problems = append(c.Problems, p.String())
		}
		return c
	case err != nil:
		c.Problems = []string{err.Error()}
		return c
	}
	for _, w := range cfg.Warnings {
		c.Warnings = append(c.Warnings, w.String())
	}
	if !cfg.Configured() {
		c.Problems = []string{path + " names no VIP; write one: havipctl config init --help"}
		return c
	}
	timers, err := configs.ReadEtcdManifest(n.path(cfg.Etcd.Manifest))
	if err == nil {
		var more []configs.Warning
		if _, more, err = cfg.Timing(timers); err == nil {
			for _, w := range more {
				c.Warnings = append(c.Warnings, w.String())
			}
		}
	}
	if err != nil && !errors.Is(err, fs.ErrPermission) { // the manifest is root's
		c.Problems = append(c.Problems, err.Error())
	}
	c.File = cfg
	return c
}

// findSelf finds this node in [masters]. The VIP, while it is here, names nobody.
func (f *Facts) findSelf() {
	var own []netip.Addr
	for _, l := range f.Links {
		for _, p := range l.Prefixes {
			if !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
				own = append(own, p.Addr())
			}
		}
	}
	self, err := f.Config.File.Self(own)
	if err != nil {
		f.Config.SelfSays = err.Error()
	}
	f.Self = self
}

// path is where a file of the node is from here.
func (n Node) path(parts ...string) string {
	return filepath.Join(append([]string{n.Root}, parts...)...)
}

// there: what cannot be looked at counts as there.
func (n Node) there(path string) bool {
	_, err := os.Lstat(n.path(path))
	return !errors.Is(err, fs.ErrNotExist)
}

// maxFile bounds what is read of another program's file.
const maxFile = 1 << 20

func (n Node) read(path string) string {
	info, err := os.Stat(n.path(path))
	if err != nil || info.Size() > maxFile {
		return ""
	}
	data, _ := os.ReadFile(n.path(path))
	return strings.TrimSpace(string(data))
}

// processes returns the process directories whose program has this name.
func (n Node) processes(name string) []string {
	list, _ := filepath.Glob(n.path("proc/[0-9]*/comm"))
	var dirs []string
	for _, path := range list {
		if data, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(data)) == name {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	return dirs
}

func (n Node) lookAtDaemon(ctx context.Context, f *Facts) (func(*Facts), error) {
	d := n.Daemon(ctx, f.Joined)
	return func(f *Facts) { f.Daemon = d }, nil
}

func (n Node) lookAtClock(context.Context, *Facts) (func(*Facts), error) {
	var c Clock
	ok, err := n.Synchronised()
	c.Synchronised = ok
	if err != nil {
		c.Error = err.Error()
	}
	for _, name := range []string{"chronyd", "ntpd", "systemd-timesyn", "ptp4l", "phc2sys", "openntpd"} { // comm has 15 characters
		if len(n.processes(name)) > 0 {
			c.Keepers = append(c.Keepers, name)
		}
	}
	return func(f *Facts) { f.Clock = c }, nil
}

func (n Node) lookAtNode(ctx context.Context, f *Facts) (func(*Facts), error) {
	facts := n.Gather(ctx, f.Config.File, "init")
	var kernel Kernel
	if !f.Joined {
		facts.Kubeadm, facts.Kubelet = n.version(ctx, "kubeadm", "version", "-o", "short"), n.version(ctx, "kubelet", "--version")
		kernel = Kernel{Forwards: n.read("proc/sys/net/ipv4/ip_forward") == "1", Bridges: n.there("proc/sys/net/bridge")}
	}
	return func(f *Facts) { f.Node, f.Kernel = facts, kernel }, nil
}

func (n Node) version(ctx context.Context, name string, args ...string) kubeadm.Program {
	said, err := n.Ask(ctx, name, args...)
	if err != nil {
		return kubeadm.Program{Error: strings.TrimPrefix(err.Error(), name+" ")}
	}
	v, err := kubeadm.ParseVersion(said)
	if err != nil {
		return kubeadm.Program{Error: err.Error()}
	}
	return kubeadm.Program{Path: name, Version: v}
}
