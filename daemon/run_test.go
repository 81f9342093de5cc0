package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"havip/daemon/status"
)

// process is one Run in this process.
type process struct {
	Options
	sent   *messages // what systemd got
	logged *lines
	stop   func()
	done   chan error
}

// run starts a daemon on a config file, with a real socket for systemd.
func run(t *testing.T, config string) *process {
	t.Helper()
	dir, err := os.MkdirTemp("", "havip") // short: see served
	if err != nil {
		t.Fatal(err)
	}
	p := &process{sent: listenAsSystemd(t, filepath.Join(dir, "notify")), logged: &lines{}, done: make(chan error, 1)}
	p.Options = Options{
		Config: filepath.Join(dir, "havip.toml"), RunDir: filepath.Join(dir, "run"), StateDir: filepath.Join(dir, "state"),
		Socket: filepath.Join(dir, "run", "s"), Version: "1.2.3", Log: slog.New(slog.NewTextHandler(p.logged, nil)),
		Dropped: func() int64 { return 0 },
	}
	if config != "" {
		if err := os.WriteFile(p.Config, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	go func() { p.done <- Run(ctx, p.Options) }()
	t.Cleanup(func() {
		stop()
		os.RemoveAll(dir)
	})
	return p
}

// listenAsSystemd receives what is told to NOTIFY_SOCKET.
func listenAsSystemd(t *testing.T, path string) *messages {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	t.Cleanup(func() { c.Close() })
	m := &messages{}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			m.add(string(b[:n]))
		}
	}()
	return m
}

func (p *process) status(t *testing.T) *status.Document {
	t.Helper()
	c := status.NewClient(p.Socket)
	defer c.Close()
	var d *status.Document
	eventually(t, "the daemon answers", func() bool {
		var err error
		d, err = c.Status(t.Context())
		return err == nil
	})
	return d
}

// end stops the daemon as SIGTERM does.
func (p *process) end(t *testing.T) {
	t.Helper()
	p.stop()
	select {
	case err := <-p.done:
		if err != nil {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(patience):
		t.Error("does not end")
	}
	if _, err := os.Stat(p.Socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

const electionOf = `
[vip]
address = "198.51.100.166"
interface = "havip-none"
[masters]
n1 = "%s"
n2 = "198.51.100.163"
[etcd]
endpoint = "http://127.0.0.1:1"
[health]
apiserver = "https://127.0.0.1:1/readyz"
`

// ownAddress is one of this machine's, so that the daemon finds itself.
func ownAddress(t *testing.T) netip.Addr {
	t.Helper()
	for _, a := range ownAddresses() {
		if a.Is4() && a.IsGlobalUnicast() {
			return a
		}
	}
	t.Fatal("this machine has no IPv4 address but loopback")
	return netip.Addr{}
}

// Whatever is wrong, systemd hears READY at once, since kubelet starts after
// it, and the status says what it is.
func TestReadyWhateverIsWrong(t *testing.T) {
	tests := map[string]struct {
		config   string
		verdict  status.Verdict
		sentence string // of systemctl status
		warning  string
	}{
		"no file":     {"", status.Unknown, "the config file has problems", "no such file"},
		"broken file": {"[vip]\naddres = 1\n", status.Unknown, "the config file has problems", "vip.addres"},
		"no [vip]":    {"# nothing yet\n", status.Unconfigured, "not configured: no [vip] in ", ""},
		"none of us":  {fmt.Sprintf(electionOf, "198.51.100.162"), status.Unknown, "waiting: find this node in [masters]", "none of its addresses"},
		"all is dead": {fmt.Sprintf(electionOf, ownAddress(t)), status.Unknown, "waiting: ", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := run(t, test.config)
			eventually(t, "READY", func() bool { return p.sent.count("READY=1") == 1 })
			eventually(t, test.sentence, func() bool { return strings.HasPrefix(p.sent.last("STATUS="), "STATUS="+test.sentence) })
			d := p.status(t)
			begins, _, _ := strings.Cut(test.sentence, ":")
			if test.warning != "" && begins != "waiting" && !strings.HasPrefix(d.Reason, begins) {
				t.Errorf("the status begins with %q", d.Reason)
			}
			if len(d.Next) == 0 {
				t.Error("the status says nothing of what to do next")
			}
			if d.Verdict != test.verdict || !strings.Contains(strings.Join(d.Warnings, "\n"), test.warning) {
				t.Errorf("%s: %s; warnings %q", d.Verdict, d.Reason, d.Warnings)
			}
			if strings.Contains(p.logged.String(), "READY") {
				t.Errorf("log: %s", p.logged)
			}
			p.end(t)
		})
	}
}

func TestLinkThatIsNotThere(t *testing.T) {
	p := run(t, fmt.Sprintf(electionOf, ownAddress(t)))
	eventually(t, "link and API server are looked at", func() bool {
		d := p.status(t)
		return strings.Contains(d.Address.LinkReason, "no such interface") && len(d.Masters) > 0 && d.Masters[0].APIServer == status.APIFailing
	})
	p.end(t)
}

func TestOneDaemonPerNode(t *testing.T) {
	p := run(t, "")
	eventually(t, "READY", func() bool { return p.sent.count("READY=1") == 1 })
	told, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(told, p.Options); !errors.Is(err, ErrRunning) {
		t.Errorf("a second daemon: %v", err)
	}
	if d := p.status(t); d.Version != "1.2.3" {
		t.Errorf("the first one answers %+v", d)
	}
	p.end(t)
	// The lock ends with it.
	f, err := lockDir(p.RunDir)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestWatchdogWhileIdle(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "20000")
	p := run(t, "")
	eventually(t, "three signs of life", func() bool { return p.sent.count("WATCHDOG=1") >= 3 })
	p.end(t)
}
