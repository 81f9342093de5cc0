package configs

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxManifest bounds a static pod manifest; kubeadm's have 3 to 5 KiB.
const maxManifest = 256 << 10

// maxEtcdTimer is the longest election timeout that etcd itself accepts
// (server/embed/config.go, maxElectionMs).
const maxEtcdTimer = 50 * time.Second

// ReadEtcdManifest returns the timers of the etcd member whose static pod
// manifest this is, with etcd's defaults for what it does not set. That there is
// no manifest is no error: kubeadm writes it when this node joins.
func ReadEtcdManifest(path string) (EtcdTimers, error) {
	c, err := readManifest(path, "etcd")
	if errors.Is(err, fs.ErrNotExist) {
		return EtcdTimers{}.orDefaults(), nil
	}
	if err != nil {
		return EtcdTimers{}, err
	}
	timers, err := c.timers()
	if err != nil {
		return EtcdTimers{}, fmt.Errorf("read manifest %s: %w", path, err)
	}
	return timers, nil
}

// APIServer is where this node's own API server listens.
type APIServer struct {
	Address string // advertise address; empty if the manifest has none
	Port    int
}

// ReadAPIServerManifest returns where the API server listens whose static pod
// manifest this is. The error wraps fs.ErrNotExist if there is no manifest.
func ReadAPIServerManifest(path string) (APIServer, error) {
	c, err := readManifest(path, "kube-apiserver")
	if err != nil {
		return APIServer{}, err
	}
	server, err := c.apiServer()
	if err != nil {
		return APIServer{}, fmt.Errorf("read manifest %s: %w", path, err)
	}
	return server, nil
}

// A container is what matters here of a container in a pod manifest.
type container struct {
	command []string // with its arguments
	environ map[string]string
}

// readManifest returns the container that runs the program.
func readManifest(path, program string) (container, error) {
	data, err := readFile(path, maxManifest)
	if err != nil {
		return container{}, fmt.Errorf("read manifest: %w", err)
	}
	if len(data) > maxManifest {
		return container{}, fmt.Errorf("read manifest %s: it has more than %d bytes", path, maxManifest)
	}
	c, err := findContainer(data, program)
	if err != nil {
		return container{}, fmt.Errorf("read manifest %s: %w", path, err)
	}
	return c, nil
}

func findContainer(data []byte, program string) (container, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return container{}, err
	}
	nodes := containerNodes(&doc)
	for _, n := range nodes {
		if text(child(n, "name")) == program {
			return readContainer(n), nil
		}
	}
	for _, n := range nodes {
		if words := items(child(n, "command")); len(words) > 0 && filepath.Base(text(words[0])) == program {
			return readContainer(n), nil
		}
	}
	return container{}, fmt.Errorf("it has no container %q", program)
}

// flag returns the last value of a command line flag, which is the one that
// counts.
func (c container) flag(name string) (string, bool) {
	value, found := "", false
	for i, word := range c.command {
		bare, given := strings.CutPrefix(word, "--")
		if !given {
			bare, given = strings.CutPrefix(word, "-") // Go's own flag package takes one dash too
		}
		if !given {
			continue
		}
		key, v, joined := strings.Cut(bare, "=")
		switch {
		case key != name:
		case joined:
			value, found = v, true
		case i+1 < len(c.command):
			value, found = c.command[i+1], true
		}
	}
	return value, found
}

func (c container) timers() (EtcdTimers, error) {
	if file, ok := c.flag("config-file"); ok {
		// etcd then ignores every other flag, and the file is inside the container.
		return EtcdTimers{}, fmt.Errorf("etcd gets its timers from its own --config-file=%s: set hold in [election]", file)
	}
	electionTimeout, err1 := c.milliseconds("election-timeout", "ETCD_ELECTION_TIMEOUT")
	heartbeat, err2 := c.milliseconds("heartbeat-interval", "ETCD_HEARTBEAT_INTERVAL")
	timers := EtcdTimers{ElectionTimeout: electionTimeout, Heartbeat: heartbeat, Found: true}
	return timers.orDefaults(), errors.Join(err1, err2)
}

// milliseconds returns one of etcd's timers, zero if it is not set. A flag wins
// over the environment, as it does in etcd.
func (c container) milliseconds(flag, env string) (time.Duration, error) {
	name := "--" + flag
	text, ok := c.flag(flag)
	if !ok {
		name = env
		if text = c.environ[env]; text == "" {
			return 0, nil
		}
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 || time.Duration(n)*time.Millisecond > maxEtcdTimer {
		return 0, fmt.Errorf("%s=%q is not a number of milliseconds up to %d", name, text, maxEtcdTimer.Milliseconds())
	}
	return time.Duration(n) * time.Millisecond, nil
}

func (c container) apiServer() (APIServer, error) {
	server := APIServer{Port: 6443}
	if text, ok := c.flag("secure-port"); ok {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return APIServer{}, fmt.Errorf("--secure-port=%q is not a port", text)
		}
		server.Port = int(n)
	}
	text, _ := c.flag("advertise-address")
	text = cmp.Or(text, bindAddress(c))
	if text == "" {
		return server, nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return APIServer{}, fmt.Errorf("--advertise-address=%q is not an IP address", text)
	}
	if !a.IsUnspecified() {
		server.Address = a.String()
	}
	return server, nil
}

// bindAddress is what the API server advertises when it is not told what to.
func bindAddress(c container) string {
	text, _ := c.flag("bind-address")
	return text
}

// Container is what a container in a static pod is told to do.
type Container struct {
	Env   map[string]string
	Flags map[string]string // without dashes; a flag without a value is "true"
}

// ReadPod returns the containers of a static pod manifest.
func ReadPod(path string) ([]Container, error) {
	data, err := readFile(path, maxManifest)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	if len(data) > maxManifest {
		return nil, fmt.Errorf("read manifest %s: it has more than %d bytes", path, maxManifest)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", path, err)
	}
	var list []Container
	for _, n := range containerNodes(&doc) {
		c := readContainer(n)
		list = append(list, Container{Env: c.environ, Flags: c.flags()})
	}
	return list, nil
}

// flags returns all flags of the command line.
func (c container) flags() map[string]string {
	all := make(map[string]string)
	for i, word := range c.command {
		bare := strings.TrimLeft(word, "-")
		if bare == word || bare == "" {
			continue
		}
		name, value, joined := strings.Cut(bare, "=")
		switch {
		case joined:
			all[name] = value
		case i+1 < len(c.command) && !strings.HasPrefix(c.command[i+1], "-"):
			all[name] = c.command[i+1]
		default:
			all[name] = "true"
		}
	}
	return all
}
