package kubeadmtest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// Environment of the fake programs.
const (
	envDir  = "FAKE_KUBEADM"      // directory of the test
	envHelp = "FAKE_KUBEADM_HELP" // directory with help-init-1.34.txt and the like
)

// Become runs the fake program and ends, if this process was started under its
// name. TestMain calls it first.
func Become() {
	dir := os.Getenv(envDir)
	if dir == "" {
		return
	}
	p := program{dir: dir, args: os.Args[1:]}
	switch filepath.Base(os.Args[0]) {
	case "kubelet":
		fmt.Println("Kubernetes " + p.setting("kubelet-version", "v1.34.4"))
		os.Exit(0)
	case "kubeadm":
		os.Exit(p.run())
	}
}

type program struct {
	dir  string
	args []string
}

// setting is the content of a file of the test, or the default.
func (p program) setting(name, otherwise string) string {
	data, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		return otherwise
	}
	return strings.TrimSpace(string(data))
}

func (p program) exists(name string) bool {
	_, err := os.Stat(filepath.Join(p.dir, name))
	return err == nil
}

// note adds a line to a file of the test.
func (p program) note(file, line string) {
	f, err := os.OpenFile(filepath.Join(p.dir, file), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	fmt.Fprintln(f, line)
}

func (p program) flag(name string) string {
	for _, a := range p.args {
		if v, ok := strings.CutPrefix(a, "--"+name+"="); ok {
			return v
		}
	}
	return ""
}

func (p program) run() int {
	line := strings.Join(p.args, " ")
	p.note("argv", line)
	version := p.setting("version", "v1.34.4")
	switch {
	case line == "version -o short":
		fmt.Println(version)
		return 0
	case line == "init --help" || line == "join --help":
		data, err := os.ReadFile(p.helpFile(p.args[0], version))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		os.Stdout.Write(data)
		return 0
	case strings.HasPrefix(line, "config validate "):
		return p.validate()
	case strings.HasPrefix(line, "init phase upload-certs "):
		return p.phase("upload-certs")
	case p.args[0] == "init" || p.args[0] == "join":
		return p.phases(p.args[0], version)
	case strings.HasPrefix(line, "token create "):
		return p.phase("token")
	case p.args[0] == "reset":
		return p.reset()
	}
	fmt.Fprintln(os.Stderr, "unknown command "+line)
	return 2
}

func (p program) helpFile(command, version string) string {
	minor := strings.Join(strings.Split(strings.TrimPrefix(version, "v"), ".")[:2], ".")
	return filepath.Join(os.Getenv(envHelp), "help-"+command+"-"+minor+".txt")
}

func (p program) validate() int {
	if p.exists("invalid") {
		fmt.Fprintln(os.Stderr, "error: the token is "+p.token()+", and that is wrong")
		return 1
	}
	info, err := os.Stat(p.flag("config"))
	if err != nil || info.Mode().Perm() != 0o600 {
		fmt.Fprintln(os.Stderr, "config file:", info.Mode(), err)
		return 1
	}
	return 0
}

// order is what a run without --skip-phases goes through.
var order = map[string][]string{
	"init": {"preflight", "certs", "kubeconfig", "etcd", "control-plane", "kubelet-start", "wait-control-plane", "upload-config",
		"upload-certs", "mark-control-plane", "bootstrap-token", "kubelet-finalize", "addon", "show-join-command"},
	"join": {"preflight", "control-plane-prepare", "check-etcd", "kubelet-start", "etcd-join", "kubelet-wait-bootstrap", "control-plane-join", "wait-control-plane"},
}

func (p program) phases(command, version string) int {
	skipped := strings.Split(p.flag("skip-phases"), ",")
	for _, name := range skipped {
		top, _, _ := strings.Cut(name, "/")
		if !slices.Contains(order[command], top) {
			fmt.Fprintln(os.Stderr, "invalid phase name: "+name)
			return 1
		}
	}
	fmt.Printf("[%s] Using Kubernetes version: %s\n", command, version)
	run := slices.DeleteFunc(slices.Clone(order[command]), func(name string) bool { return slices.Contains(skipped, name) })
	for _, name := range run {
		if code := p.phase(name); code != 0 {
			return code
		}
	}
	if command == "join" && slices.Equal(run, []string{"wait-control-plane"}) {
		fmt.Fprintln(os.Stderr, "panic: nil pointer dereference") // as the real one does from 1.34 on
		return 2
	}
	return 0
}

// phase does what later steps, or the test, look for.
func (p program) phase(name string) int {
	p.note("phases", name)
	p.secrets()
	if p.exists("block-" + name) {
		p.block(name)
	}
	if p.exists("fail-" + name) {
		fmt.Fprintf(os.Stderr, "error execution phase %s: told to fail\n", name)
		return 1
	}
	for file, content := range made[name] {
		path := filepath.Join(p.dir, "root", file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			panic(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			panic(err)
		}
	}
	fmt.Printf("[%s] done\n", name)
	return 0
}

// made are the files that phases make. The certificate is one of a CA that
// exists nowhere else.
var made = map[string]map[string]string{
	"certs":                 {"etc/kubernetes/pki/ca.crt": CA, "etc/kubernetes/pki/ca.key": "", "etc/kubernetes/pki/apiserver.key": ""},
	"kubeconfig":            {"etc/kubernetes/admin.conf": ""},
	"etcd":                  {"etc/kubernetes/manifests/etcd.yaml": ""},
	"control-plane":         {"etc/kubernetes/manifests/kube-apiserver.yaml": ""},
	"control-plane-prepare": {"etc/kubernetes/pki/ca.crt": CA, "etc/kubernetes/admin.conf": "", "etc/kubernetes/manifests/kube-apiserver.yaml": ""},
	"etcd-join":             {"etc/kubernetes/manifests/etcd.yaml": ""},
}

var (
	tokenLine = regexp.MustCompile(`token: (\S+)`)
	keyLine   = regexp.MustCompile(`certificateKey: (\S+)`)
)

func (p program) config() string {
	data, err := os.ReadFile(p.flag("config"))
	if err != nil {
		return ""
	}
	return string(data)
}

func (p program) token() string {
	if m := tokenLine.FindStringSubmatch(p.config()); m != nil {
		return m[1]
	}
	return ""
}

// secrets says all that should not be in a log, in pieces too.
func (p program) secrets() {
	key := ""
	if m := keyLine.FindStringSubmatch(p.config()); m != nil {
		key = m[1]
	}
	fmt.Printf("[fake] token %s key %s, another token abc123.0123456789abcdef\n", p.token(), key)
	if token := p.token(); len(token) > 10 {
		os.Stdout.WriteString("[fake] in pieces " + token[:10])
		os.Stdout.WriteString(token[10:] + "\n")
	}
}

// block says that it is there, and waits for a word on a named pipe. It says
// nothing more after it was noted: whoever reads may be killed from then on.
func (p program) block(name string) {
	pipe := filepath.Join(p.dir, "block-"+name)
	fmt.Printf("[%s] waiting\n", name)
	p.note("blocked", name)
	f, err := os.Open(pipe) // returns when the test opens the other end
	if err != nil {
		panic(err)
	}
	f.Close()
}

func (p program) reset() int {
	p.note("phases", "reset")
	if p.exists("fail-reset") {
		fmt.Fprintln(os.Stderr, "told to fail")
		return 1
	}
	if err := os.RemoveAll(filepath.Join(p.dir, "root/etc/kubernetes")); err != nil {
		panic(err)
	}
	if p.exists("reset-alone") {
		fmt.Fprintln(os.Stderr, "W1126 12:00:00.000000     123 removeetcdmember.go:106] [reset] No kubeadm config, using etcd pod spec to get data directory")
	}
	fmt.Println("[reset] done")
	return 0
}

// Fake is a directory that the fake programs work in.
type Fake struct{ Dir string }

// Install makes the programs in dir/bin out of this test binary, and returns the
// environment they need. help is a directory with what kubeadm says of itself.
func Install(dir, help string) (*Fake, []string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	bin := filepath.Join(dir, "bin")
	for _, d := range []string{bin, filepath.Join(dir, "root")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, nil, err
		}
	}
	for _, name := range []string{"kubeadm", "kubelet"} {
		if err := os.Symlink(self, filepath.Join(bin, name)); err != nil {
			return nil, nil, err
		}
	}
	// The race detector keeps a program that ends for a second, by itself.
	return &Fake{dir}, []string{"PATH=" + bin, envDir + "=" + dir, envHelp + "=" + help, "GORACE=atexit_sleep_ms=0"}, nil
}

// Root is the directory that stands for /.
func (f *Fake) Root() string { return filepath.Join(f.Dir, "root") }

// Set writes a setting: version, kubelet-version, invalid, fail-PHASE, reset-alone.
func (f *Fake) Set(name, value string) error {
	return os.WriteFile(filepath.Join(f.Dir, name), []byte(value), 0o600)
}

// Unset takes it back.
func (f *Fake) Unset(name string) error { return os.Remove(filepath.Join(f.Dir, name)) }

// Block makes a phase wait until Unblock.
func (f *Fake) Block(phase string) error {
	return syscall.Mkfifo(filepath.Join(f.Dir, "block-"+phase), 0o600)
}

// Unblock lets a phase that waits go on, and those after it not wait.
func (f *Fake) Unblock(phase string) error {
	pipe := filepath.Join(f.Dir, "block-"+phase)
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return firstError(os.Remove(pipe), w.Close())
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Phases are those that were run, in order.
func (f *Fake) Phases() []string { return f.lines("phases") }

// Blocked are those that waited, or wait, for Unblock.
func (f *Fake) Blocked() []string { return f.lines("blocked") }

// Commands are the command lines so far.
func (f *Fake) Commands() []string { return f.lines("argv") }

func (f *Fake) lines(name string) []string {
	data, err := os.ReadFile(filepath.Join(f.Dir, name))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// Forget empties Phases and Commands.
func (f *Fake) Forget() error {
	for _, name := range []string{"phases", "argv"} {
		if err := os.Remove(filepath.Join(f.Dir, name)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}
