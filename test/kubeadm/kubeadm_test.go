package kubeadm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/kubeadm"
)

// TestCluster makes a cluster by the real kubeadm, with an interruption in the
// middle, new secrets, and a second node that fetches what it needs to join.
func TestCluster(t *testing.T) {
	address(t, vip+"/32")
	address(t, n2+"/24")
	first := newNode(t, "n1", &claims{}, true)
	first.use(t)
	first.kubelet(t)
	t.Cleanup(func() {
		if t.Failed() {
			showLogs(t, first)
		}
	})

	ctx, cancel := context.WithCancel(t.Context())
	first.watch.stop, first.watch.end = "upload-certs", cancel
	_, err := first.runner.Init(ctx, nil)
	var failed *kubeadm.StepError
	if !errors.As(err, &failed) || failed.Step.Name != "upload-certs" || !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted in upload-certs: %v", told(err))
	}
	first.watch.stop = ""
	result, err := first.runner.Init(t.Context(), nil)
	if err != nil {
		t.Fatal(told(err))
	}
	want := []string{"claim", "certs", "kubeconfig", "etcd", "control-plane", "kubelet-start", "wait-control-plane", "handed-to-election",
		"upload-config", "upload-certs", "upload-certs", "mark-control-plane", "bootstrap-token", "kubelet-finalize", "addon"}
	if diff := cmp.Diff(want, first.watch.ran()); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if again, err := first.runner.Init(t.Context(), nil); err != nil || again.Changed {
		t.Errorf("a finished node: %+v, %v", again, told(err))
	}
	checkCluster(t, first, *result.Secrets)
	checkNode(t, first)

	fresh, err := first.runner.Token(t.Context())
	if err != nil {
		t.Fatal(told(err))
	}
	for name, secrets := range map[string]kubeadm.Secrets{"fresh": fresh, "unpinned": {Token: fresh.Token, CertificateKey: fresh.CertificateKey}} {
		t.Run(name, func(t *testing.T) { prepareJoin(t, first, secrets) })
	}
	stale := *result.Secrets
	stale.Token = fresh.Token // a key that the certificates are no longer under
	t.Run("stale", func(t *testing.T) {
		second := newNode(t, "n2", &claims{}, false)
		second.use(t)
		_, err := second.runner.Join(t.Context(), &stale)
		if !errors.As(err, &failed) || failed.Step.Name != "control-plane-prepare" || !slices.ContainsFunc(failed.Hints, func(h string) bool { return strings.Contains(h, "havipctl token") }) {
			t.Errorf("join: %v", told(err))
		}
	})
}

// told is an error with what kubeadm said last.
func told(err error) string {
	var failed *kubeadm.StepError
	if errors.As(err, &failed) {
		return err.Error() + "\n" + strings.Join(failed.Tail, "\n")
	}
	if err == nil {
		return "no error"
	}
	return err.Error()
}

// checkCluster looks at what init has left in the cluster.
func checkCluster(t *testing.T, n *nodeDir, s kubeadm.Secrets) {
	t.Helper()
	for _, look := range []struct {
		want string
		args []string
	}{
		{"controlPlaneEndpoint: 198.51.100.166:6443", []string{"-n", "kube-system", "get", "configmap", "kubeadm-config", "-o", "yaml"}},
		{"secret/bootstrap-token-" + s.Token[:6], []string{"-n", "kube-system", "get", "secrets", "-o", "name"}},
		{"secret/kubeadm-certs", []string{"-n", "kube-system", "get", "secrets", "-o", "name"}},
		{"node-role.kubernetes.io/control-plane", []string{"get", "nodes", "--show-labels"}},
		{"deployment.apps/coredns", []string{"-n", "kube-system", "get", "deployments", "-o", "name"}},
		{"jws-kubeconfig-" + s.Token[:6], []string{"-n", "kube-public", "get", "configmap", "cluster-info", "-o", "yaml"}},
	} {
		if out, ok := eventually(t, n, look.want, look.args); !ok {
			t.Errorf("kubectl %s: no %q in:\n%s", strings.Join(look.args, " "), look.want, out)
		}
	}
}

// eventually asks until the answer has what is wanted: controllers do some of it
// in their own time.
func eventually(t *testing.T, n *nodeDir, want string, args []string) (out string, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		out, _ = n.kubectl(ctx, "", args...) // what went wrong is in the output
		if strings.Contains(out, want) {
			return out, true
		}
		select {
		case <-time.After(5 * look):
		case <-ctx.Done():
		}
	}
	return out, false
}

// prepareJoin joins a second node up to where it would need a kubelet of its own.
func prepareJoin(t *testing.T, first *nodeDir, s kubeadm.Secrets) {
	second := newNode(t, "n2", &claims{}, false)
	second.use(t)
	ctx, cancel := context.WithCancel(t.Context())
	second.watch.stop, second.watch.end = "kubelet-start", cancel
	_, err := second.runner.Join(ctx, &s)
	var failed *kubeadm.StepError
	if !errors.As(err, &failed) || failed.Step.Name != "kubelet-start" || !errors.Is(err, context.Canceled) {
		t.Fatalf("join: %v", told(err))
	}
	for _, file := range []string{"etc/kubernetes/pki/ca.key", "etc/kubernetes/pki/etcd/ca.key", "etc/kubernetes/pki/sa.key"} {
		a, err1 := os.ReadFile(filepath.Join(first.root, file))
		b, err2 := os.ReadFile(filepath.Join(second.root, file))
		if err := errors.Join(err1, err2); err != nil || string(a) != string(b) {
			t.Errorf("%s is not that of the first node: %v", file, err)
		}
	}
}

// showLogs shows the end of what each component said.
func showLogs(t *testing.T, n *nodeDir) {
	logs, _ := filepath.Glob(filepath.Join(n.root, "tmp/*.log"))
	for _, path := range logs {
		data, err := os.ReadFile(path)
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		t.Logf("%s %v:\n%s", filepath.Base(path), err, strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
}
