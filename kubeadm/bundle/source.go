package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// Source is where a bundle comes from.
type Source struct {
	Root    string   // "/"; below it are etc, proc, run, sys and var
	Config  string   // path of havip.toml, as it is
	State   string   // directory of init's and join's journal, as it is
	Secrets []string // known ones, which are taken out wherever they stand
	Version string   // of havipctl
	Salt    string   // makes the marks of this bundle its own
	Now     time.Time
	Lines   int // of each journal

	// Ask gets what the daemon serves under a path.
	Ask func(ctx context.Context, path string) ([]byte, error)
	// Run returns what a program says, as far as it came, and what went wrong.
	Run func(ctx context.Context, name string, args ...string) ([]byte, error)
	// Check returns what havipctl check finds here, as JSON.
	Check func(context.Context) ([]byte, error)
}

// item is one file of the archive, and how it is had.
type item struct {
	name string
	end  bool // of what is too long the end is kept
	get  func(ctx context.Context) (data []byte, note string, err error)
}

// secretFileKey is the key of the secret that all masters have in common. It is
// looked for in the text, since the secret may be in a log also while there is a
// mistake elsewhere in the file.
var secretFileKey = regexp.MustCompile(`(?m)^[ \t]*secret_file[ \t]*=[ \t]*["']([^"'\n]+)["']`)

// secretFile is the file of that secret, "" if the config names none.
func (s Source) secretFile() string {
	data, _ := readFile(s.Config, false)
	if m := secretFileKey.FindSubmatch(data); m != nil {
		return string(m[1])
	}
	return ""
}

// secrets are the known ones, and that in the file.
func (s Source) secrets() []string {
	path := s.secretFile()
	if path == "" {
		return s.Secrets
	}
	data, _ := readFile(path, false)
	text := strings.TrimSpace(string(data))
	return append(append([]string{text}, strings.Fields(text)...), s.Secrets...)
}

// units are those whose state and journal tell what became of the address.
var units = []string{"havipd", "havip-kubeadm", "havip-shutdown", "kubelet", "containerd", "crio"}

// unitProperties leave out the environment, in which proxies have passwords.
const unitProperties = "Id,LoadState,ActiveState,SubState,Result,UnitFileState,FragmentPath,DropInPaths,MainPID,ExecMainStatus,ExecMainStartTimestamp," +
	"ActiveEnterTimestamp,InactiveEnterTimestamp,NRestarts,After,Before,Wants,Requires,WantedBy,RequiredBy,StatusText,StatusErrno,MemoryCurrent,CPUUsageNSec,NeedDaemonReload"

// items is all that is collected, what matters most first: time may run out.
func (s Source) items() []item {
	list := []item{
		s.served("daemon/status.json", "/v1/status"),
		s.served("daemon/history.json", "/v1/history"),
		s.served("daemon/claim.json", "/v1/claim"),
		s.served("daemon/metrics.txt", "/metrics"),
		read("config/havip.toml", s.Config, false),
		s.program("journal/havipd.txt", "journalctl", "--no-pager", "-o", "short-iso-precise", "-u", "havipd", "-n", fmt.Sprint(s.Lines)),
		{name: "check.json", get: s.check},
	}
	for _, u := range units {
		list = append(list, s.program("units/"+u+".txt", "systemctl", "show", "--no-pager", "-p", unitProperties, u))
	}
	for _, path := range []string{"run/havip/state.json", "var/lib/havip/drained.json", "var/lib/havip/adopt.json", "var/lib/havip/claim.json", "var/lib/havip/history.json"} {
		list = append(list, s.file("state/"+filepath.Base(path), path))
	}
	list = append(list, s.files(s.State, "kubeadm", "journal.json")...)
	list = append(list, s.files(s.State, "kubeadm", "logs/*.log")...)
	list = append(list, s.manifest("etcd"), s.manifest("kube-apiserver"), s.listing(), s.certificates(), s.sysctls(), s.links())
	for _, p := range [][]string{
		{"network/addresses.txt", "ip", "-d", "address"}, {"network/routes.txt", "ip", "-d", "route", "show", "table", "all"},
		{"network/neighbours.txt", "ip", "-d", "neighbour"}, {"network/rules.txt", "ip", "rule"}, {"network/rules6.txt", "ip", "-6", "rule"},
		{"system/clock.txt", "timedatectl"}, {"system/chrony.txt", "chronyc", "-n", "tracking"},
		{"system/kubeadm-version.txt", "kubeadm", "version", "-o", "short"}, {"system/kubelet-version.txt", "kubelet", "--version"},
		{"system/containerd-version.txt", "containerd", "--version"}, {"system/containers.txt", "crictl", "ps", "-a"},
	} {
		list = append(list, s.program(p[0], p[1], p[2:]...))
	}
	for _, path := range []string{"usr/lib/os-release", "proc/version", "proc/uptime", "proc/loadavg", "proc/meminfo", "proc/pressure/cpu"} {
		list = append(list, s.file("system/"+filepath.Base(path)+".txt", path))
	}
	for _, u := range units[1:] {
		list = append(list, s.program("journal/"+u+".txt", "journalctl", "--no-pager", "-o", "short-iso-precise", "-u", u, "-n", fmt.Sprint(s.Lines)))
	}
	return list
}

// never is what a reader may miss, and is not there on purpose.
func never(s Source) []Absent {
	list := []Absent{
		{"/etc/kubernetes/*.conf", "never read: kubeconfigs hold private keys"},
		{"/etc/kubernetes/pki/**/*.key", "never read: private keys"},
		{"/etc/kubernetes: encryption configuration", "never read: it holds keys"},
		{filepath.Join(s.State, "secrets.json"), "never collected: it holds the token and the certificate key"},
		{"/var/lib/havip/adopt/journal.json", "never read: it holds whole configurations, encoded, where no secret is found"},
		{"/var/lib/havip/heartbeats.json", "never read: it holds the key of the heartbeats"},
		{filepath.Join(s.State, "*.yaml"), "never read: kubeadm's configuration holds the token and the certificate key"},
	}
	if path := s.secretFile(); path != "" {
		list = append(list, Absent{path, "never collected: the secret of [unattended]"})
	}
	return list
}

func (s Source) path(parts ...string) string {
	return filepath.Join(append([]string{s.Root}, parts...)...)
}

// inside is the path of a file as a program on the node has it.
func (s Source) inside(path string) string {
	return "/" + strings.TrimPrefix(strings.TrimPrefix(path, s.Root), "/")
}

func (s Source) served(name, path string) item {
	return item{name: name, get: func(ctx context.Context) ([]byte, string, error) {
		data, err := s.Ask(ctx, path)
		return data, "", err
	}}
}

func (s Source) check(ctx context.Context) ([]byte, string, error) {
	data, err := s.Check(ctx)
	return data, "havipctl check -o json", err
}

func (s Source) program(name, program string, args ...string) item {
	return item{name: name, end: true, get: func(ctx context.Context) ([]byte, string, error) {
		data, err := s.Run(ctx, program, args...)
		if err == nil && len(bytes.TrimSpace(data)) == 0 {
			err = errors.New("it says nothing")
		}
		return data, program + " " + strings.Join(args, " "), err
	}}
}

func (s Source) file(name, path string) item { return read(name, s.path(path), false) }

func read(name, path string, end bool) item {
	return item{name: name, end: end, get: func(context.Context) ([]byte, string, error) {
		data, err := readFile(path, end)
		return data, "", err
	}}
}

// files are those in dir that a pattern names; logs by their end.
func (s Source) files(dir, name, pattern string) []item {
	paths, _ := filepath.Glob(filepath.Join(dir, pattern)) // the patterns are right
	var list []item
	for _, path := range paths {
		inside, _ := filepath.Rel(dir, path)
		list = append(list, read(filepath.Join(name, inside), path, filepath.Ext(path) == ".log"))
	}
	return list
}

func (s Source) manifest(name string) item {
	return item{name: "kubernetes/" + name + ".yaml", get: func(context.Context) ([]byte, string, error) {
		data, err := readFile(s.path("etc/kubernetes/manifests", name+".yaml"), false)
		if err != nil {
			return nil, "", err
		}
		data, err = pod(data)
		return data, "without values of variables and comments", err
	}}
}

// listing names the static pods: a kube-vip among them explains a lot.
func (s Source) listing() item {
	return item{name: "kubernetes/manifests.txt", get: func(context.Context) ([]byte, string, error) {
		list, err := os.ReadDir(s.path("etc/kubernetes/manifests"))
		var b bytes.Buffer
		for _, e := range list {
			if info, err := e.Info(); err == nil {
				fmt.Fprintf(&b, "%s %8d %s %s\n", info.Mode(), info.Size(), info.ModTime().UTC().Format(time.RFC3339), e.Name())
			}
		}
		return b.Bytes(), "names only", err
	}}
}

func (s Source) certificates() item {
	return item{name: "kubernetes/certificates.txt", get: func(context.Context) ([]byte, string, error) {
		var b bytes.Buffer
		for _, pattern := range []string{"etc/kubernetes/pki/*.crt", "etc/kubernetes/pki/etcd/*.crt", "var/lib/kubelet/pki/*.crt", "var/lib/kubelet/pki/*.pem"} {
			paths, _ := filepath.Glob(s.path(pattern))
			for _, path := range paths {
				data, err := readFile(path, false)
				if err != nil {
					fmt.Fprintf(&b, "%s\n  %v\n", s.inside(path), err)
					continue
				}
				b.WriteString(certificates(s.inside(path), data, s.Now))
			}
		}
		if b.Len() == 0 {
			return nil, "", errors.New("there are none")
		}
		return b.Bytes(), "subjects, names and dates only", nil
	}}
}

// sysctls are the settings on which it hangs who answers ARP for the address, and
// what becomes of it when the first address of a link goes.
var sysctls = []string{
	"proc/sys/net/ipv4/conf/*/arp_*", "proc/sys/net/ipv4/conf/*/rp_filter", "proc/sys/net/ipv4/conf/*/promote_secondaries",
	"proc/sys/net/ipv4/conf/*/forwarding", "proc/sys/net/ipv4/ip_nonlocal_bind", "proc/sys/net/ipv6/conf/*/disable_ipv6",
	"proc/sys/net/ipv6/conf/*/accept_dad", "proc/sys/net/ipv6/conf/*/keep_addr_on_down", "proc/sys/net/ipv4/tcp_retries2",
}

func (s Source) sysctls() item { return s.settings("network/sysctls.txt", sysctls) }

func (s Source) links() item {
	return s.settings("network/links.txt", []string{"sys/class/net/*/operstate", "sys/class/net/*/carrier", "sys/class/net/*/carrier_changes",
		"sys/class/net/*/address", "sys/class/net/*/mtu", "sys/class/net/*/speed", "sys/class/net/*/bonding/mode", "sys/class/net/*/bonding/active_slave"})
}

// settings are small files of the kernel, a line each.
func (s Source) settings(name string, patterns []string) item {
	return item{name: name, get: func(context.Context) ([]byte, string, error) {
		var b bytes.Buffer
		for _, pattern := range patterns {
			paths, _ := filepath.Glob(s.path(pattern))
			for _, path := range paths {
				data, err := readFile(path, false)
				if err == nil {
					fmt.Fprintf(&b, "%s = %s\n", s.inside(path), bytes.TrimSpace(data))
				}
			}
		}
		if b.Len() == 0 {
			return nil, "", errors.New("there are none")
		}
		return b.Bytes(), "", nil
	}}
}

// readFile reads a regular file, no more than maxRead of its begin or its end, in
// whole lines: half a secret does not look like one. A link is not followed, it
// could lead to a key; a pipe is not waited for.
func readFile(path string, end bool) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("it is not there")
	case errors.Is(err, syscall.ELOOP):
		return nil, errors.New("it is a link, and links are not followed")
	case err != nil:
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	long := info.Size() > maxRead
	if long && end {
		if _, err := f.Seek(-maxRead, io.SeekEnd); err != nil {
			return nil, err
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxRead))
	switch {
	case long && end:
		data = data[bytes.IndexByte(data, '\n')+1:]
	case len(data) == maxRead:
		data = data[:bytes.LastIndexByte(data, '\n')+1]
	}
	return data, err
}
