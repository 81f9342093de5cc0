package etcdtest

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Member is one etcd process, which can be ended and started again.
type Member struct {
	Name      string
	ClientURL string
	PeerURL   string
	Dir       string   // its data directory
	Args      []string // read at each Start

	c       *Cluster
	wrap    []string
	initial string
	joining bool
	cmd     *exec.Cmd // nil while it does not run
	ended   chan struct{}
}

// Start starts the member, with its data if it has some.
func (m *Member) Start() {
	m.c.t.Helper()
	if m.cmd != nil {
		m.c.t.Fatalf("start %s: it runs", m.Name)
	}
	argv := append(append(append([]string{}, m.wrap...), Binary(m.c.t, "etcd")), m.args()...)
	cmd := exec.Command(argv[0], argv[1:]...)
	log, err := os.OpenFile(m.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.c.t.Fatalf("start %s: %v", m.Name, err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := startChild(cmd); err != nil {
		m.c.t.Fatalf("start %s: %v", m.Name, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // its end is what Kill and Stop wait for, however it ended
		close(ended)
	}()
	m.cmd, m.ended = cmd, ended
}

// Wipe removes the data of a member that does not run, as the loss of its disk
// would.
func (m *Member) Wipe() {
	m.c.t.Helper()
	if m.cmd != nil {
		m.c.t.Fatalf("wipe %s: it runs", m.Name)
	}
	if err := os.RemoveAll(m.Dir); err != nil {
		m.c.t.Fatalf("wipe %s: %v", m.Name, err)
	}
}

// Join announces the member through the first one as a learner, and starts it.
// Nothing waits for it. One that was removed may so come back.
func (m *Member) Join() {
	m.c.t.Helper()
	m.initial, m.joining = m.c.initial(), true
	// A cluster whose members have only just met refuses as unhealthy.
	poll(m.c.t, startLimit, "add learner "+m.Name, func() error {
		_, err := m.c.Members[0].TryCtl("member", "add", m.Name, "--learner", "--peer-urls="+m.PeerURL)
		return err
	})
	m.Start()
}

func (m *Member) args() []string {
	state := "new"
	if m.joining {
		state = "existing"
	}
	args := []string{
		"--name=" + m.Name,
		"--data-dir=" + m.Dir,
		"--listen-client-urls=" + m.ClientURL,
		"--advertise-client-urls=" + m.ClientURL,
		"--listen-peer-urls=" + m.PeerURL,
		"--initial-advertise-peer-urls=" + m.PeerURL,
		"--initial-cluster=" + m.initial,
		"--initial-cluster-state=" + state,
		"--unsafe-no-fsync",
		"--log-level=warn",
	}
	if pki := m.c.PKI; pki != nil {
		args = append(args,
			"--client-cert-auth",
			"--trusted-ca-file="+pki.CA,
			"--cert-file="+pki.ServerCert(m.Name),
			"--key-file="+pki.ServerKey(m.Name))
	}
	return append(args, m.Args...)
}

// PID of the member's process.
func (m *Member) PID() int {
	if m.cmd == nil {
		m.c.t.Fatalf("find the process of %s: it does not run", m.Name)
	}
	return m.cmd.Process.Pid
}

// Kill ends the member with SIGKILL and waits for its end.
func (m *Member) Kill() { m.end(syscall.SIGKILL) }

// Stop ends the member with SIGTERM and waits for its end.
func (m *Member) Stop() { m.end(syscall.SIGTERM) }

// Pause stops the process, without its connections noticing, until Resume. It
// returns when all threads of it stand still.
func (m *Member) Pause() {
	m.c.t.Helper()
	m.signal(syscall.SIGSTOP)
	poll(m.c.t, startLimit, "pause "+m.Name, m.stopped)
}

// stopped returns an error while a thread of the process is not in state T.
func (m *Member) stopped() error {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", m.PID()))
	if err != nil {
		return err
	}
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		// The name in parentheses may itself contain spaces and parentheses.
		if rest := stat[bytes.LastIndexByte(stat, ')')+1:]; !bytes.HasPrefix(rest, []byte(" T")) {
			return fmt.Errorf("%s is not stopped:%s", file, bytes.Fields(rest)[0])
		}
	}
	return nil
}

// Resume lets a paused process go on.
func (m *Member) Resume() { m.signal(syscall.SIGCONT) }

func (m *Member) end(sig syscall.Signal) {
	m.signal(sig)
	select {
	case <-m.ended:
	case <-time.After(startLimit):
		m.c.t.Fatalf("end %s: still there after %v", m.Name, startLimit)
	}
	m.cmd = nil
}

func (m *Member) signal(sig syscall.Signal) {
	m.c.t.Helper()
	if err := syscall.Kill(m.PID(), sig); err != nil {
		m.c.t.Errorf("signal %v to %s: %v", sig, m.Name, err)
	}
}

// finish ends the member after the test and shows its log if that failed.
func (m *Member) finish() {
	if m.cmd != nil {
		m.Kill()
	}
	if m.c.t.Failed() {
		m.c.t.Logf("last lines of %s:\n%s", m.Name, m.tail(15))
	}
}

func (m *Member) log() string { return filepath.Join(m.c.dir, m.Name+".log") }

func (m *Member) tail(lines int) string {
	data, err := os.ReadFile(m.log())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// WaitServing waits until the member answers a linearizable read.
func (m *Member) WaitServing() {
	m.c.t.Helper()
	poll(m.c.t, startLimit, "wait for "+m.Name, func() error {
		select {
		case <-m.ended:
			m.c.t.Fatalf("wait for %s: it ended:\n%s", m.Name, m.tail(15))
		default:
		}
		return m.post("/v3/kv/range", `{"key":"AA=="}`, nil)
	})
}

// Status is what a member says of itself.
type Status struct {
	Cluster, Member, Leader uint64
	Learner                 bool
	Revision                int64
}

// Status asks the member alone, which needs no quorum.
func (m *Member) Status() (Status, error) {
	var body struct {
		Header struct {
			ClusterID string `json:"cluster_id"`
			MemberID  string `json:"member_id"`
			Revision  string `json:"revision"`
		}
		Leader    string
		IsLearner bool
	}
	if err := m.post("/v3/maintenance/status", "{}", &body); err != nil {
		return Status{}, err
	}
	return Status{
		Cluster:  number(body.Header.ClusterID),
		Member:   number(body.Header.MemberID),
		Leader:   number(body.Leader),
		Learner:  body.IsLearner,
		Revision: int64(number(body.Header.Revision)),
	}, nil
}

// number reads a 64-bit number, which JSON has as a string; "" is 0.
func number(s string) uint64 {
	var n uint64
	_, _ = fmt.Sscan(s, &n)
	return n
}

// post calls etcd's JSON gateway, with 2 s at most.
func (m *Member) post(path, body string, into any) error {
	transport := &http.Transport{DisableKeepAlives: true}
	if m.c.PKI != nil {
		transport.TLSClientConfig = &tls.Config{RootCAs: m.c.PKI.pool(), Certificates: []tls.Certificate{m.c.PKI.clientPair()}}
	}
	client := &http.Client{Transport: transport, Timeout: 2 * time.Second}
	resp, err := client.Post(m.ClientURL+path, "application/json", bytes.NewBufferString(body))
	if err != nil {
		return fmt.Errorf("ask %s: %w", m.Name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask %s: %s", m.Name, resp.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// startChild starts a process that dies with this one. The kernel ties that to
// the thread that started it, so all are started by one thread that never ends.
func startChild(cmd *exec.Cmd) error {
	starterOnce.Do(func() { go starter() })
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	done := make(chan error)
	starts <- func() { done <- cmd.Start() }
	return <-done
}

var (
	starterOnce sync.Once
	starts      = make(chan func())
)

func starter() {
	runtime.LockOSThread()
	for start := range starts {
		start()
	}
}
