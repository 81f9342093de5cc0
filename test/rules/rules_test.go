package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "havip"

// confined are imports that only some packages may have: "x" is x itself, "x/…"
// everything below it too.
var confined = []struct {
	imported string
	only     []string
	tests    bool // also of test files
	why      string
}{
	{"go.etcd.io/…", []string{"election/etcd", "test/bench/plain"}, true, "the client retries, resumes and waits by itself: one package knows how to keep it from that; the benchmark shows what comes of not doing so"},
	{"google.golang.org/grpc/…", []string{"election/etcd"}, true, "what a failed call proves is decided in one place"},
	{"github.com/vishvananda/…", []string{"vip/…", "test/…"}, true, "the address is touched under one guard; the witnesses in test/ look for themselves"},
	{"go.uber.org/zap/…", []string{"election/etcd", "test/bench/plain"}, true, "only to silence the etcd client; the project's log is slog"},
	{"github.com/mdlayher/…", []string{"vip"}, true, "frames are made and read in one place"},
	{"github.com/BurntSushi/toml", []string{"configs"}, true, "a file is decoded strictly or not at all"},
	{"go.yaml.in/…", []string{"configs", "kubeadm", "kubeadm/bundle", "test/kubeadm", "test/e2e"}, true, "manifests are read within bounds (size, aliases), and redacted; kubeadm's configuration is written; a test plays the kubelet, another is a client with an admin.conf"},
	{"github.com/spf13/…", []string{"cmd/havipctl"}, true, "the daemon has five flags; the standard library has them too"},
	{"github.com/coreos/go-systemd/…", []string{"daemon"}, true, "systemd is told by the loop's notifier alone, and asked in two places"},
	{"github.com/godbus/…", []string{"daemon"}, true, "only to ask logind, with an end to every call"},
	{"github.com/prometheus/…", []string{"daemon/metrics"}, true, "it registers by panics and global state, and can serve by itself: one package keeps to what it is told, and the loop never meets it"},
	{"os/exec", []string{"kubeadm", "test/…"}, false, "the daemon starts no programs; havipctl starts kubeadm, by its runner alone"},
	{module + "/kubeadm/bundle", []string{"cmd/havipctl"}, true, "it reads what only root may: never in the daemon"},
	{module + "/kubeadm/adopt", []string{"cmd/havipctl"}, true, "it stops and starts services as root: never in the daemon"},
	{module + "/kubeadm", []string{"cmd/havipctl", "kubeadm/adopt", "kubeadm/check", "test/kubeadm"}, true, "it runs programs as root: never in the daemon"},
	{module + "/kubeadm/check", []string{"cmd/havipctl", "test/kubeadm"}, true, "it asks programs, and what it tells is for a person: never in the daemon"},
	{"unsafe", []string{"vip", "vip/fence", "daemon", "election/heartbeat"}, false, "only for calls that the standard library lacks, timers and bpf(2), and for those of every beat that never wait, which it makes as if they did"},
	{"net/http", []string{"daemon/…", "cmd/havipctl", "test/…"}, false, "the socket and the API server's health are the daemon's"},
	{"log", []string{"test/…"}, false, "slog; the log package writes to a stderr that may block"},
	{module + "/test/…", []string{"test/…"}, false, "what tests need is no part of what is installed"},
	{module + "/daemon/metrics", []string{"daemon"}, true, "numbers are for those who serve them"},
	{module + "/cmd/…", nil, true, "main only builds: there is nothing in it to share"},
	{module + "/daemon", []string{"cmd/havipd"}, true, "the shell is the outermost layer"},
	{module + "/daemon/history", []string{"daemon"}, true, "facts are the daemons' own; others read the document"},
	{module + "/daemon/status", []string{"daemon/…", "cmd/…", "test/…"}, true, "the document is for those who serve and show it"},
	{module + "/vip", []string{"daemon", "vip/fence"}, true, "who else may set an address? The fence has its clock from there"},
	{module + "/vip/fence", []string{"daemon"}, true, "who else may close an address?"},
	{module + "/election/etcd", []string{"daemon"}, true, "who else may write the record?"},
	{module + "/election/heartbeat", []string{"daemon"}, true, "who else may speak for a member?"},
	{module + "/daemon/member", []string{"daemon"}, true, "who else may remove a member of etcd?"},
}

// bounded are packages that may import the standard library and nothing but
// what is named.
var bounded = []struct {
	who    string
	may    []string
	why    string
	forbid []string // of the standard library
}{
	{"election", nil, "a pure machine: it has no clock, no I/O and no goroutine, or the simulation would prove nothing",
		[]string{"os", "io", "io/fs", "net", "syscall", "context", "sync", "sync/atomic", "log/slog", "math/rand", "math/rand/v2", "crypto/rand", "runtime"}},
	{"daemon/metrics", []string{module + "/daemon/status", "github.com/prometheus/…"}, "it is told what to count and what to show; who asks is not its business", []string{"net", "net/http", "os"}},
	{"election/sim", []string{module + "/election"}, "a seed must give the same schedule for ever: no clock, no I/O, no goroutine",
		[]string{"os", "net", "syscall", "context", "sync", "sync/atomic", "math/rand", "crypto/rand", "runtime"}},
	{"election/etcd", []string{"go.etcd.io/…", "google.golang.org/grpc/…", "go.uber.org/zap/…", "golang.org/x/sync/errgroup"},
		"values are opaque strings to it: it decides nothing, so it needs nothing of the election", []string{"net/http"}},
	{"election/heartbeat", []string{"golang.org/x/sys/unix"}, "it carries what others decide: etcd, the election and the disk are not its business", []string{"os", "io", "net/http"}},
	{"daemon/member", nil, "a pure decision over facts that others gather", []string{"os", "io", "io/fs", "net", "net/http", "syscall", "context", "time"}},
	{"vip", []string{"github.com/vishvananda/…", "github.com/mdlayher/…", "golang.org/x/…"}, "it does what it is told and knows nothing of elections", []string{"net/http"}},
	{"vip/fence", []string{module + "/vip", "golang.org/x/sys/unix", "github.com/vishvananda/netlink/nl"}, "it is told a link and a deadline, and knows nothing of addresses being set", []string{"net/http"}},
	{"configs", []string{module + "/election", "github.com/BurntSushi/toml", "go.yaml.in/yaml/v3"}, "a file can be checked where nothing runs; it asks the election which times are safe", []string{"net/http"}},
	{"daemon/history", []string{module + "/daemon/status", module + "/election"}, "what is told of the past is put together without a clock and without I/O",
		[]string{"os", "io", "net", "net/http", "context", "sync", "log/slog"}},
	{"daemon/status", nil, "havipctl and whatever else reads the socket must not drag the daemon in", []string{"os"}},
	{"daemon", []string{module + "/configs", module + "/daemon/history", module + "/daemon/metrics", module + "/daemon/status", module + "/election", module + "/election/etcd", module + "/election/heartbeat", module + "/daemon/member", module + "/vip", module + "/vip/fence",
		"golang.org/x/…", "github.com/coreos/go-systemd/v22/…", "github.com/godbus/dbus/v5"}, "it joins the parts and adds none", nil},
	{"cmd/havipd", []string{module + "/daemon", module + "/daemon/status"}, "main only builds", nil},
	{"kubeadm", []string{module + "/configs", "go.yaml.in/yaml/v3", "golang.org/x/sys/unix"}, "it asks the daemon through an interface of its own, and the address and etcd are not its business", []string{"net/http"}},
	{"kubeadm/bundle", []string{"go.yaml.in/yaml/v3"}, "it is told whom to ask, so that a test sees all that it reads", []string{"net", "net/http"}},
	{"kubeadm/check", []string{module + "/configs", module + "/kubeadm"}, "it only looks: programs are asked by kubeadm's Ask, and what the daemon sees it is told as facts of its own", []string{"net/http"}},
	{"kubeadm/adopt", []string{module + "/configs", module + "/kubeadm"}, "it asks the daemon through an interface of its own, and starts programs by kubeadm's", []string{"net/http", "os/exec"}},
	{"cmd/havipctl", []string{module + "/configs", module + "/daemon/status", module + "/kubeadm", module + "/kubeadm/adopt", module + "/kubeadm/bundle", module + "/kubeadm/check", "github.com/spf13/cobra", "golang.org/x/sys/unix"}, "it asks the daemon; the address and etcd are not its business", nil},
}

// clockless must not read a clock though they use durations.
var clockless = []string{"election", "election/sim", "daemon/history"}

var clockReaders = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"}

// file is one source file of the module.
type file struct {
	path    string // below the root
	dir     string
	test    bool
	imports []string
	clocks  []string // clock readers of package time that it uses
}

func TestImports(t *testing.T) {
	for _, f := range load(t) {
		for _, imported := range f.imports {
			for _, why := range broken(f, imported) {
				t.Errorf("%s imports %s: %s", f.path, imported, why)
			}
		}
		if slices.Contains(clockless, f.dir) && !f.test {
			for _, c := range f.clocks {
				t.Errorf("%s uses time.%s: time enters %s as an argument", f.path, c, f.dir)
			}
		}
	}
}

// broken returns the reasons of the rules that an import breaks.
func broken(f file, imported string) []string {
	var reasons []string
	for _, r := range confined {
		if (!f.test || r.tests) && matches(r.imported, imported) && !matchesAny(r.only, f.dir) {
			reasons = append(reasons, r.why)
		}
	}
	for _, r := range bounded {
		if f.test || f.dir != r.who {
			continue
		}
		standard := !strings.Contains(first(imported), ".") && first(imported) != module
		if slices.Contains(r.forbid, imported) || !standard && !matchesAny(r.may, imported) {
			reasons = append(reasons, r.why)
		}
	}
	return reasons
}

// TestRulesAreAboutSomething: a rule for a package that has another name by now
// would hold for ever.
func TestRulesAreAboutSomething(t *testing.T) {
	files := load(t)
	has := func(dir string) bool {
		return slices.ContainsFunc(files, func(f file) bool { return matches(dir, f.dir) })
	}
	imported := func(what string) bool {
		return slices.ContainsFunc(files, func(f file) bool {
			return slices.ContainsFunc(f.imports, func(i string) bool { return matches(what, i) })
		})
	}
	for _, r := range confined {
		for _, dir := range r.only {
			if !has(dir) {
				t.Errorf("the rule about %s names %s, which is not there", r.imported, dir)
			}
		}
	}
	for _, r := range bounded {
		if !has(r.who) {
			t.Errorf("there is a rule for %s, which is not there", r.who)
		}
		for _, may := range r.may {
			if !imported(may) {
				t.Errorf("%s may import %s, which nobody does", r.who, may)
			}
		}
	}
}

// TestRulesBite: each kind of rule, broken.
func TestRulesBite(t *testing.T) {
	for _, c := range []struct{ dir, imports string }{
		{"election", "os"}, {"election", "github.com/google/go-cmp/cmp"}, {"daemon", "go.etcd.io/etcd/client/v3"},
		{"cmd/havipctl", module + "/vip"}, {"configs", module + "/vip"}, {"daemon/status", module + "/election"},
		{"vip", module + "/test/cluster"}, {"daemon", "os/exec"}, {"cmd/havipctl", "os/exec"}, {"daemon", module + "/kubeadm"}, {"kubeadm", module + "/daemon/member"}, {"kubeadm", module + "/daemon/status"}, {"test/faults", module + "/daemon"},
		{"kubeadm/check", "os/exec"}, {"kubeadm/check", module + "/daemon/status"}, {"kubeadm/adopt", module + "/daemon/status"},
	} {
		if broken(file{dir: c.dir}, c.imports) == nil {
			t.Errorf("%s may import %s", c.dir, c.imports)
		}
	}
}

func matches(pattern, path string) bool {
	below, ok := strings.CutSuffix(pattern, "/…")
	return path == below || ok && strings.HasPrefix(path, below+"/")
}

func matchesAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, path) })
}

func first(path string) string {
	head, _, _ := strings.Cut(path, "/")
	return head
}

// load reads every file of the module, but not of modules inside it.
func load(t *testing.T) []file {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var files []file
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root {
			_, inner := os.Stat(filepath.Join(path, "go.mod"))
			if inner == nil || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir
			}
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f, err := parse(path, filepath.ToSlash(rel))
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("only %d files below %s", len(files), root)
	}
	return files
}

func parse(path, rel string) (file, error) {
	f := file{path: rel, dir: filepath.ToSlash(filepath.Dir(rel)), test: strings.HasSuffix(rel, "_test.go")}
	tree, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return f, err
	}
	for _, s := range tree.Imports {
		imported, err := strconv.Unquote(s.Path.Value)
		if err != nil {
			return f, err
		}
		f.imports = append(f.imports, imported)
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clockReaders, sel.Sel.Name) {
			f.clocks = append(f.clocks, sel.Sel.Name)
		}
		return true
	})
	return f, nil
}
