package kubeadm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"havip/configs"
)

// System is the node as facts are gathered from it. Tests have one in a
// directory of their own.
type System struct {
	Root      string // "/"; below it are etc, proc, run and var
	UID       int
	Addresses func() ([]netip.Addr, error)
	Resolve   func(ctx context.Context, name string) ([]netip.Addr, error)
	Dial      func(ctx context.Context, network, address string) (net.Conn, error)

	// What only kubeadm/check looks at.
	Links        func() ([]Link, error)
	Ask          func(ctx context.Context, program string, args ...string) (string, error)
	Synchronised func() (bool, error) // the clock, by the kernel's word
}

// Node is the machine that this process runs on.
func Node() System {
	return System{
		Root: "/", UID: os.Geteuid(), Addresses: ownAddresses, Resolve: resolve, Dial: new(net.Dialer).DialContext,
		Links: ownLinks, Ask: Ask, Synchronised: synchronised,
	}
}

func ownAddresses() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr())
		}
	}
	return out, nil
}

func resolve(ctx context.Context, name string) ([]netip.Addr, error) {
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	for i := range list {
		list[i] = list[i].Unmap()
	}
	return list, err
}

// lookTime bounds what gathering waits for: a runtime that hangs, a name server
// that is silent.
const lookTime = 3 * time.Second

// Gather looks at the node; what programs say is added by the runner. What
// cannot be read counts as not there: the guards are there to help, and kubeadm
// checks most of it again.
func (s System) Gather(ctx context.Context, c *configs.Config, command string) Facts {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	own, _ := s.Addresses()
	f := Facts{
		Root: s.UID == 0, Addresses: own, Listening: s.listening(), Swap: s.swap(), Runtime: s.runtime(ctx, c),
		Leftovers: s.leftovers(), Keys: s.keys(), Rivals: s.rivals(c),
	}
	host, port := c.Endpoint()
	if _, err := netip.ParseAddr(host); err != nil {
		list, err := s.Resolve(ctx, host)
		if err != nil {
			f.EndpointError = err.Error()
		}
		f.EndpointAddresses = list
	}
	if command == joinPhases.command {
		f.EndpointSilent = s.silent(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	}
	return f
}

func (s System) path(parts ...string) string {
	return filepath.Join(append([]string{s.Root}, parts...)...)
}

// listening reads the ports that sockets listen on (proc_net_tcp(5): the state
// 0A is LISTEN).
func (s System) listening() []int {
	var ports []int
	for _, name := range []string{"tcp", "tcp6"} {
		data, _ := os.ReadFile(s.path("proc/net", name))
		for line := range strings.Lines(string(data)) {
			fields := strings.Fields(line)
			if len(fields) < 4 || fields[3] != "0A" {
				continue
			}
			_, hexPort, _ := strings.Cut(fields[1], ":")
			if b, err := hex.DecodeString(hexPort); err == nil && len(b) == 2 {
				ports = append(ports, int(b[0])<<8|int(b[1]))
			}
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

func (s System) swap() []string {
	data, _ := os.ReadFile(s.path("proc/swaps"))
	var list []string
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[0], "/") {
			list = append(list, fields[0])
		}
	}
	return list
}

// sockets are where kubeadm looks for a runtime (its constants_unix.go).
var sockets = []string{"run/containerd/containerd.sock", "run/crio/crio.sock", "run/cri-dockerd.sock"}

func (s System) runtime(ctx context.Context, c *configs.Config) Socket {
	if path, ok := strings.CutPrefix(c.Kubeadm.CRISocket, "unix://"); ok {
		return Socket{Path: path, Error: s.dial(ctx, path)}
	}
	var found []string
	for _, path := range sockets {
		if _, err := os.Stat(s.path(path)); err == nil {
			found = append(found, "/"+path)
		}
	}
	if len(found) == 0 {
		return Socket{}
	}
	return Socket{Path: found[0], Found: found, Error: s.dial(ctx, found[0])}
}

func (s System) dial(ctx context.Context, path string) string {
	return s.silent(ctx, "unix", s.path(path))
}

// silent says why nobody answers there, nothing if somebody does.
func (s System) silent(ctx context.Context, network, address string) string {
	conn, err := s.Dial(ctx, network, address)
	if err != nil {
		return err.Error()
	}
	conn.Close()
	return ""
}

// leftovers are the kubeconfig files and manifests that kubeadm writes, and
// etcd's data. Other files beside them, such as another static pod, are nobody's
// leftovers.
func (s System) leftovers() []string {
	return s.found(
		"etc/kubernetes/admin.conf", "etc/kubernetes/super-admin.conf", "etc/kubernetes/kubelet.conf", "etc/kubernetes/bootstrap-kubelet.conf",
		"etc/kubernetes/controller-manager.conf", "etc/kubernetes/scheduler.conf",
		"etc/kubernetes/manifests/etcd.yaml", "etc/kubernetes/manifests/kube-apiserver.yaml",
		"etc/kubernetes/manifests/kube-controller-manager.yaml", "etc/kubernetes/manifests/kube-scheduler.yaml", "var/lib/etcd/member")
}

// keys are those in kubeadm's directory for certificates. kubeadm uses what is
// there, so they may have been put there on purpose.
func (s System) keys() []string {
	return s.found("etc/kubernetes/pki/*.key", "etc/kubernetes/pki/etcd/*.key")
}

func (s System) found(patterns ...string) []string {
	var list []string
	for _, pattern := range patterns {
		paths, _ := filepath.Glob(s.path(pattern)) // the patterns are right
		for _, path := range paths {
			list = append(list, s.inside(path))
		}
	}
	return list
}

// inside is the path of a file as a program on the node has it.
func (s System) inside(path string) string {
	return "/" + strings.TrimPrefix(strings.TrimPrefix(path, s.Root), "/")
}

// rivals looks for what would set the VIP as well.
func (s System) rivals(c *configs.Config) []Rival {
	var list []Rival
	manifests, _ := filepath.Glob(s.path("etc/kubernetes/manifests/*"))
	for _, path := range manifests {
		containers, err := configs.ReadPod(path)
		if err != nil {
			continue
		}
		if slices.ContainsFunc(containers, func(one configs.Container) bool { return HoldsVIP(one, c) }) {
			list = append(list, Rival{"kube-vip in " + s.inside(path), "move the manifest away, and wait until its pod has gone"})
		}
	}
	if r, ok := s.keepalived(c); ok {
		list = append(list, r)
	}
	return list
}

// keepalived looks for the VIP in its configuration, and whether it runs or will at the
// next boot: one that was switched off, as adopt leaves it, sets nothing.
func (s System) keepalived(c *configs.Config) (Rival, bool) {
	runs := s.running("keepalived")
	if !runs && len(s.found("etc/systemd/system/*.wants/keepalived.service", "usr/lib/systemd/system/*.wants/keepalived.service")) == 0 {
		return Rival{}, false
	}
	found := ""
	files, _ := filepath.Glob(s.path("etc/keepalived/*.conf"))
	more, _ := filepath.Glob(s.path("etc/keepalived/conf.d/*"))
	for _, path := range append(files, more...) {
		if s.names(path, c) {
			found = s.inside(path)
			break
		}
	}
	if found == "" {
		return Rival{}, false
	}
	what := "keepalived, by " + found + ","
	if runs {
		what = "keepalived, which runs with " + found + ","
	}
	return Rival{what, "take the address out of its configuration, or: systemctl disable --now keepalived"}, true
}

// maxConfig bounds what is read of another program's configuration.
const maxConfig = 1 << 20

// names reports whether the file has the VIP outside its comments (keepalived
// begins them with ! or #).
func (s System) names(path string, c *configs.Config) bool {
	data, err := os.ReadFile(path)
	if err != nil || len(data) > maxConfig {
		return false
	}
	scan := bufio.NewScanner(bytes.NewReader(data))
	for scan.Scan() {
		line := scan.Text()
		if i := strings.IndexAny(line, "!#"); i >= 0 {
			line = line[:i]
		}
		for word := range strings.FieldsSeq(line) {
			bare, _, _ := strings.Cut(word, "/")
			if a, err := netip.ParseAddr(bare); err == nil && slices.Contains(c.VIP.Addresses, a) {
				return true
			}
		}
	}
	return false
}

// running reports whether a process has this name.
func (s System) running(name string) bool {
	list, _ := filepath.Glob(s.path("proc/[0-9]*/comm"))
	for _, path := range list {
		if data, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(data)) == name {
			return true
		}
	}
	return false
}
