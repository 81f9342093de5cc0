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

// pod is the part of a pod manifest that matters here.
type pod struct {
	Spec struct {
		Containers []container `yaml:"containers"`
	} `yaml:"spec"`
}

type container struct {
	Name    string   `yaml:"name"`
	Command []string `yaml:"command"`
	Args    []string `yaml:"args"`
	Env     []struct {
		Name  string `yaml:"name"`
		Value string `yaml:"value"`
	} `yaml:"env"`
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
	var p pod
	if err := yaml.Unmarshal(data, &p); err != nil {
		return container{}, err
	}
	for _, c := range p.Spec.Containers {
		if c.Name == program {
			return c, nil
		}
	}
	for _, c := range p.Spec.Containers {
		if len(c.Command) > 0 && filepath.Base(c.Command[0]) == program {
			return c, nil
		}
	}
	return container{}, fmt.Errorf("it has no container %q", program)
}

// flag returns the last value of a command line flag, which is the one that
// counts.
func (c container) flag(name string) (string, bool) {
	value, found := "", false
	words := append(append([]string(nil), c.Command...), c.Args...)
	for i, word := range words {
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
		case i+1 < len(words):
			value, found = words[i+1], true
		}
	}
	return value, found
}

// env returns a variable of the container's environment.
func (c container) env(name string) (string, bool) {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value, true
		}
	}
	return "", false
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
		if text, ok = c.env(env); !ok || text == "" {
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
