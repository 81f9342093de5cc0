package kubeadm

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"havip/configs"
	"havip/test/kubeadmtest"
)

// initOrder is what a whole init runs: all but what only prints.
var initOrder = slices.DeleteFunc(slices.Clone(initPhases.known), func(name string) bool { return name == phaseShow })

func TestInit(t *testing.T) {
	b := newBench(t, "")
	r := b.mustInit(t)
	if diff := cmp.Diff(initOrder, b.fake.Phases()); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"claim", "handed after wait-control-plane"}, b.daemon.calls()); diff != "" {
		t.Errorf("daemon (-want +got):\n%s", diff)
	}
	if !r.Changed || r.Secrets == nil || r.Secrets.CAHash != kubeadmtest.CAHash || r.Message != "the cluster is there, and n1 is its first master" {
		t.Errorf("result %+v", r)
	}
	b.noSecrets(t, *r.Secrets)

	b.watch.told()
	b.again()
	commands := len(b.fake.Commands())
	r, err := b.Init(t.Context(), nil)
	if err != nil || r.Changed || !strings.HasPrefix(r.Message, "nothing to do: n1 is a master since ") {
		t.Errorf("again: %+v, %v", r, err)
	}
	if len(b.fake.Commands()) != commands || len(b.watch.told()) > 0 {
		t.Error("a finished node was touched again")
	}
}

// TestEachPhaseFails: the failure is explained, the VIP given back while it was
// only claimed, and the same command goes on with this phase.
func TestEachPhaseFails(t *testing.T) {
	for i, phase := range initOrder {
		t.Run(phase, func(t *testing.T) {
			b := newBench(t, "")
			b.set(t, "fail-"+phase, "")
			_, err := b.Init(t.Context(), nil)
			var failed *StepError
			if !errors.As(err, &failed) || failed.Step.Name != phase || len(failed.Hints) < 2 {
				t.Fatalf("init: %v", err)
			}
			if last := failed.Tail[len(failed.Tail)-1]; last != "error execution phase "+phase+": told to fail" {
				t.Errorf("last line %q", last)
			}
			if log, err := os.ReadFile(failed.Log); err != nil || !strings.Contains(string(log), "told to fail") {
				t.Errorf("log: %v\n%s", err, log)
			}
			handed := slices.Index(initOrder, phaseWait) < i
			if last := b.daemon.calls()[1]; (last == "end") == handed {
				t.Errorf("daemon: %v", b.daemon.calls())
			}
			b.unset(t, "fail-"+phase)
			if err := b.fake.Forget(); err != nil {
				t.Fatal(err)
			}
			b.again()
			if handed { // the fake control plane has been forgotten, the election has not
				b.daemon.claim.State = ClaimHanded
			}
			b.mustInit(t)
			if diff := cmp.Diff(initOrder[i:], b.fake.Phases()); diff != "" {
				t.Errorf("phases of the second run (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSecretsStay: what was uploaded before a failure is what is printed after.
func TestSecretsStay(t *testing.T) {
	b := newBench(t, "")
	b.set(t, "fail-addon", "")
	if _, err := b.Init(t.Context(), nil); err == nil {
		t.Fatal("no failure")
	}
	kept, ok, err := b.Store.Secrets()
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	b.unset(t, "fail-addon")
	r := b.mustInit(t)
	if r.Secrets.Token != kept.Token || r.Secrets.CertificateKey != kept.CertificateKey {
		t.Errorf("%+v, kept %+v", r.Secrets, kept)
	}
}

// TestKilledWhileItWrote: half a file has secrets too.
func TestKilledWhileItWrote(t *testing.T) {
	b := newBench(t, "")
	b.mustInit(t)
	left := []string{filepath.Join(b.Store.Dir, ".new-123"), b.Store.ConfigFile("token")}
	for _, path := range left {
		if err := os.WriteFile(path, []byte("token: "), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.mustInit(t) // nothing to do
	for _, path := range left {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestKilledWhenFinished: between the journal's last word and the end of the secrets.
func TestKilledWhenFinished(t *testing.T) {
	b := newBench(t, "")
	b.mustInit(t)
	if err := errors.Join(b.Store.SaveSecrets(someSecrets), b.Store.Write(b.Store.ConfigFile("init"), []byte("token: "+someSecrets.Token))); err != nil {
		t.Fatal(err)
	}
	b.mustInit(t) // nothing to do
	b.noSecrets(t, someSecrets)
}

// TestChangedSecrets: what is printed in the end must be what the cluster has, also
// when the file that all masters share was replaced since the last try.
func TestChangedSecrets(t *testing.T) {
	b := newBench(t, "")
	b.set(t, "fail-addon", "")
	if _, err := b.Init(t.Context(), &someSecrets); err == nil {
		t.Fatal("no failure")
	}
	b.unset(t, "fail-addon")
	if err := b.fake.Forget(); err != nil {
		t.Fatal(err)
	}
	other, err := NewSecrets()
	if err != nil {
		t.Fatal(err)
	}
	b.daemon.claim.State = ClaimHanded
	r, err := b.Init(t.Context(), &other)
	if err != nil || r.Secrets.Token != other.Token {
		t.Fatalf("%+v, %v", r, err)
	}
	if diff := cmp.Diff([]string{phaseUploadCerts, phaseToken, "addon"}, b.fake.Phases()); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
}

// TestOldSecrets: what was put into the cluster in a try of long ago has expired by
// the time that the lines are printed.
func TestOldSecrets(t *testing.T) {
	b := newBench(t, "")
	b.set(t, "fail-addon", "")
	if _, err := b.Init(t.Context(), nil); err == nil {
		t.Fatal("no failure")
	}
	j, err := b.Store.Load()
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range j.Steps {
		ended := s.Ended.Add(-configs.CertificateKeyLifetime)
		j.Steps[i].Ended = &ended
	}
	b.unset(t, "fail-addon")
	if err := errors.Join(b.Store.Save(j), b.fake.Forget()); err != nil {
		t.Fatal(err)
	}
	b.daemon.claim.State = ClaimHanded
	b.mustInit(t)
	if diff := cmp.Diff([]string{phaseUploadCerts, phaseToken, "addon"}, b.fake.Phases()); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
}

// TestFinishOnAFullDisk: what is not finished needs its secrets.
func TestFinishOnAFullDisk(t *testing.T) {
	b := newBench(t, "")
	ca := filepath.Join(b.fake.Root(), "etc/kubernetes/pki/ca.crt")
	if err := errors.Join(os.MkdirAll(filepath.Dir(ca), 0o755), os.WriteFile(ca, []byte(kubeadmtest.CA), 0o600),
		b.Store.SaveSecrets(someSecrets), os.MkdirAll(filepath.Join(b.Store.journal(), "in the way"), 0o700)); err != nil {
		t.Fatal(err)
	}
	p := &prepared{plan: Plan{Command: "init"}, input: Input{Secrets: someSecrets}}
	if _, err := b.finish(p, &Journal{}); err == nil {
		t.Fatal("the journal was written")
	}
	if kept, ok, err := b.Store.Secrets(); !ok || kept != someSecrets || err != nil {
		t.Errorf("%+v, %v, %v", kept, ok, err)
	}
}

// TestPowerCut: when the journal calls a phase done, what it wrote is on the disk.
func TestPowerCut(t *testing.T) {
	b := newBench(t, "")
	early := map[string][]string{} // what was done by the journal when a file was synced
	b.Runner.sync = func(path string) error {
		j, err := b.Store.Load()
		if err != nil {
			return err
		}
		var done []string
		for _, s := range j.Steps {
			if s.State == StepDone {
				done = append(done, s.Name)
			}
		}
		if _, again := early[path]; !again {
			early[path] = done
		}
		return nil
	}
	b.mustInit(t)
	for file, phase := range map[string]string{
		"etc/kubernetes/pki/ca.key": "certs", "etc/kubernetes/pki": "certs", "etc/kubernetes/admin.conf": "kubeconfig", "etc/kubernetes/manifests/etcd.yaml": "etcd",
	} {
		if done, ok := early[b.System.path(file)]; !ok || slices.Contains(done, phase) {
			t.Errorf("%s was synced: %v, after %v", file, ok, done)
		}
	}
	b = newBench(t, "")
	b.Runner.sync = func(string) error { return syscall.EIO }
	var failed *StepError
	if _, err := b.Init(t.Context(), nil); !errors.Is(err, syscall.EIO) || !errors.As(err, &failed) || failed.Step.Name != "certs" {
		t.Errorf("with a broken disk: %v", err)
	}
}

func TestChangedConfig(t *testing.T) {
	b := newBench(t, "")
	b.set(t, "fail-addon", "")
	if _, err := b.Init(t.Context(), nil); err == nil {
		t.Fatal("no failure")
	}
	b.unset(t, "fail-addon")
	if err := b.fake.Forget(); err != nil {
		t.Fatal(err)
	}
	b.Config.Kubeadm.ClusterName = "other"
	b.daemon.claim = Claim{}
	b.daemon.refuse = []Finding{{What: "this node is an etcd member", Blocks: true}}
	b.mustInit(t) // nothing is claimed a second time
	if diff := cmp.Diff(initOrder[1:], b.fake.Phases()); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"claim", "handed after wait-control-plane"}, b.daemon.calls()); diff != "" {
		t.Errorf("daemon (-want +got):\n%s", diff)
	}
}

func TestBlocked(t *testing.T) {
	b := newBench(t, "")
	b.set(t, "kubelet-version", "v1.35.0")
	b.daemon.refuse = []Finding{{Subject: "VIP", What: "198.51.100.166 is answered by 02:00:5e:10:00:01", Fix: "find it", Blocks: true}, {Subject: "n2", What: "is silent"}}
	_, err := b.Init(t.Context(), nil)
	var blocked *BlockedError
	if !errors.As(err, &blocked) {
		t.Fatalf("init: %v", err)
	}
	const both = `kubelet: v1.35.0 does not go with Kubernetes v1.34.4; install a kubelet 1.34
VIP: 198.51.100.166 is answered by 02:00:5e:10:00:01; find it`
	if diff := cmp.Diff(both, findingsText(blocked.Findings)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	b.unset(t, "kubelet-version")
	if _, err = b.Init(t.Context(), nil); !errors.As(err, &blocked) || len(blocked.Findings) != 1 {
		t.Errorf("the claim alone is refused: %v", err)
	}
	if len(b.fake.Phases()) > 0 {
		t.Errorf("ran %v", b.fake.Phases())
	}
	b.daemon.refuse = nil
	b.mustInit(t)
}

func TestDaemonIsNotThere(t *testing.T) {
	b := newBench(t, "")
	b.daemon.gone = errors.New("havipd is not running")
	for _, do := range []func(context.Context, *Secrets) (Result, error){b.Init, b.Join} {
		_, err := do(t.Context(), &someSecrets)
		var blocked *BlockedError
		if !errors.As(err, &blocked) || findingsText(blocked.Findings) != "havipd: havipd is not running; start it: systemctl enable --now havipd" {
			t.Errorf("%v", err)
		}
	}
}

// TestInterrupted: Ctrl-C in the middle of a phase ends kubeadm, and the next run
// does this phase again.
func TestInterrupted(t *testing.T) {
	b := newBench(t, "")
	if err := b.fake.Block("etcd"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-b.watch.seen; cancel() }()
	_, err := b.Init(ctx, nil)
	var failed *StepError
	if !errors.As(err, &failed) || failed.Step.Name != "etcd" || !errors.Is(err, context.Canceled) {
		t.Fatalf("init: %v", err)
	}
	if err := os.Remove(filepath.Join(b.fake.Dir, "block-etcd")); err != nil {
		t.Fatal(err)
	}
	b.mustInit(t)
	want := slices.Insert(slices.Clone(initOrder), 3, "etcd")
	if diff := cmp.Diff(want, b.fake.Phases()); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
}

func TestRefusedConfig(t *testing.T) {
	b := newBench(t, "")
	b.set(t, "invalid", "")
	_, err := b.Init(t.Context(), &someSecrets)
	if err == nil || !strings.Contains(err.Error(), "kubeadm refuses its configuration") || !strings.Contains(err.Error(), "the token is <redacted>") {
		t.Errorf("init: %v", err)
	}
	if len(b.fake.Phases()) > 0 || len(b.daemon.calls()) > 0 {
		t.Errorf("ran %v, %v", b.fake.Phases(), b.daemon.calls())
	}
}

func TestToken(t *testing.T) {
	b := newBench(t, "")
	if _, err := b.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "this node is no master") {
		t.Errorf("before init: %v", err)
	}
	first := b.mustInit(t)
	if err := b.fake.Forget(); err != nil {
		t.Fatal(err)
	}
	s, err := b.Token(t.Context())
	if err != nil || s.CAHash != kubeadmtest.CAHash || s.Token == first.Secrets.Token || s.CertificateKey == first.Secrets.CertificateKey {
		t.Fatalf("%+v, %v", s, err)
	}
	if diff := cmp.Diff([]string{"token", "upload-certs"}, b.fake.Phases()); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	b.noSecrets(t, s)
	b.set(t, "fail-token", "")
	var failed *StepError
	if _, err := b.Token(t.Context()); !errors.As(err, &failed) || failed.Step.Name != "token" {
		t.Errorf("a failure: %v", err)
	}
}

// TestTokenAfterUpgrades: kubeadm reads no file for a version two minors behind its
// own, and kubeadm.version is still that of init.
func TestTokenAfterUpgrades(t *testing.T) {
	b := newBench(t, "[kubeadm]\nversion = \"v1.34.4\"\n")
	b.mustInit(t)
	b.set(t, "version", "v1.36.1")
	written := make(chan string, 10)
	b.Runner.Progress = onLine{b.watch, func() {
		text, _ := os.ReadFile(b.Store.ConfigFile("token"))
		written <- string(text)
	}}
	if _, err := b.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text := <-written; !strings.Contains(text, "kubernetesVersion: v1.36.1\n") {
		t.Errorf("kubeadm is given\n%s", text)
	}
}

// onLine does something with each line of a log.
type onLine struct {
	*watcher
	do func()
}

func (o onLine) Line(line string) {
	o.watcher.Line(line)
	o.do()
}

// TestTokenBeforeTheElection: what makes a token lets others join, whoever asks for it.
func TestTokenBeforeTheElection(t *testing.T) {
	b := newBench(t, "")
	b.daemon.never = true
	ctx, cancel := context.WithCancel(t.Context())
	b.Runner.Progress = &onBegin{b.watch, stepHanded, cancel}
	if _, err := b.Init(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("init: %v", err)
	}
	if err := b.fake.Forget(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "go on with havipctl init first") {
		t.Errorf("token: %v", err)
	}
	if ran := b.fake.Phases(); len(ran) > 0 {
		t.Errorf("ran %v", ran)
	}
}

// TestVanished: a finished node that was reset by kubeadm alone.
func TestVanished(t *testing.T) {
	b := newBench(t, "")
	b.mustInit(t)
	if err := os.RemoveAll(filepath.Join(b.fake.Root(), "etc/kubernetes")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Init(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "havipctl reset") {
		t.Errorf("init: %v", err)
	}
}

func TestPreview(t *testing.T) {
	b := newBench(t, "")
	b.daemon.refuse = []Finding{{Subject: "VIP", What: "is taken", Blocks: true}}
	for _, command := range []string{"init", "join"} {
		p, err := b.Preview(t.Context(), command)
		if err != nil || len(p.Plan.Steps) < 7 || !strings.Contains(string(p.Config), "<redacted>") || strings.Contains(string(p.Config), placeholders.Token) {
			t.Errorf("%s: %+v, %v", command, p, err)
		}
		if (len(p.Findings) == 1) != (command == "init") {
			t.Errorf("%s: %s", command, findingsText(p.Findings))
		}
	}
	if _, err := os.Stat(b.Store.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a preview wrote into %s: %v", b.Store.Dir, err)
	}
	if len(b.fake.Phases()) > 0 || len(b.daemon.calls()) > 0 {
		t.Errorf("a preview ran %v, %v", b.fake.Phases(), b.daemon.calls())
	}
}

func TestWithoutUploads(t *testing.T) {
	b := newBench(t, "[kubeadm]\nupload_certs = false\n")
	r := b.mustInit(t)
	if r.Secrets.CertificateKey != "" {
		t.Errorf("a ticket with a key for certificates that are not there: %+v", r.Secrets)
	}
	if s, err := b.Token(t.Context()); err != nil || s.CertificateKey != "" {
		t.Errorf("a new ticket with a key for certificates that are not there: %+v, %v", s, err)
	}
	for _, c := range b.fake.Commands() {
		if strings.Contains(c, "--upload-certs") {
			t.Error(c)
		}
	}
}
