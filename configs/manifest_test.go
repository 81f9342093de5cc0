package configs

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// etcdManifest has the shape that kubeadm gives it, with these flags more.
func etcdManifest(flags ...string) string { return manifest("etcd", "--name=n1", flags) }

func apiServerManifest(flags ...string) string {
	return manifest("kube-apiserver", "--authorization-mode=Node,RBAC", flags)
}

func manifest(program, first string, flags []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: v1
kind: Pod
metadata:
  annotations:
    kubeadm.kubernetes.io/%[1]s.advertise-client-urls: https://198.51.100.162:2379
  name: %[1]s
  namespace: kube-system
spec:
  containers:
  - command:
    - %[1]s
    - %[2]s
`, program, first)
	for _, f := range flags {
		fmt.Fprintf(&b, "    - %s\n", f)
	}
	fmt.Fprintf(&b, "    image: registry.example.org/%[1]s:1\n    name: %[1]s\n  hostNetwork: true\nstatus: {}\n", program)
	return b.String()
}

func TestReadEtcdManifest(t *testing.T) {
	tests := []struct {
		name, text string
		want       EtcdTimers
		wantErr    string
	}{
		{"kubeadm's own", etcdManifest(), EtcdTimers{time.Second, 100 * ms, true}, ""},
		{"both flags", etcdManifest("--election-timeout=5000", "--heartbeat-interval=500"), EtcdTimers{5 * time.Second, 500 * ms, true}, ""},
		{"one flag, quoted", etcdManifest(`"--election-timeout=2000"`), EtcdTimers{2 * time.Second, 100 * ms, true}, ""},
		{"value apart", etcdManifest("--election-timeout", `"3000"`), EtcdTimers{3 * time.Second, 100 * ms, true}, ""},
		{"number apart", etcdManifest("--election-timeout", "3000"), EtcdTimers{3 * time.Second, 100 * ms, true}, ""},
		{"one dash", etcdManifest("-election-timeout=3000"), EtcdTimers{3 * time.Second, 100 * ms, true}, ""},
		{"last wins", etcdManifest("--election-timeout=2000", "--election-timeout=4000"), EtcdTimers{4 * time.Second, 100 * ms, true}, ""},
		{"arguments", "spec: {containers: [{name: etcd, command: [etcd], args: [--election-timeout=2500]}]}", EtcdTimers{2500 * ms, 100 * ms, true}, ""},
		{"environment", "spec: {containers: [{name: etcd, command: [etcd], env: [{name: ETCD_ELECTION_TIMEOUT, value: '2500'}]}]}", EtcdTimers{2500 * ms, 100 * ms, true}, ""},
		{"flag over environment", "spec: {containers: [{name: etcd, command: [etcd, --election-timeout=1500], env: [{name: ETCD_ELECTION_TIMEOUT, value: '2500'}]}]}", EtcdTimers{1500 * ms, 100 * ms, true}, ""},
		{"JSON", `{"spec":{"containers":[{"name":"sidecar","command":["x","--election-timeout=9"]},{"name":"member","command":["/usr/local/bin/etcd","--election-timeout=1500"]}]}}`, EtcdTimers{1500 * ms, 100 * ms, true}, ""},
		{"alias", "x: &c [etcd, --election-timeout=1500]\nspec: {containers: [{name: etcd, command: *c}]}", EtcdTimers{1500 * ms, 100 * ms, true}, ""},
		{"key twice", "spec: {containers: [{name: etcd, name: etcd, command: [etcd]}]}", EtcdTimers{time.Second, 100 * ms, true}, ""},
		{"no pod", "[spec, {containers: etcd}]", EtcdTimers{}, `no container "etcd"`},
		{"alias into itself", "spec: &a {containers: *a}", EtcdTimers{}, `no container "etcd"`},
		{"nonsense in a flag", etcdManifest("--election-timeout=1s"), EtcdTimers{}, `--election-timeout="1s" is not a number of milliseconds up to 50000`},
		{"zero", etcdManifest("--heartbeat-interval=0"), EtcdTimers{}, `--heartbeat-interval="0" is not a number`},
		{"longer than etcd allows", etcdManifest("--election-timeout=50001"), EtcdTimers{}, "up to 50000"},
		{"a file of its own", etcdManifest("--config-file=/etc/etcd.yaml"), EtcdTimers{}, "--config-file=/etc/etcd.yaml"},
		{"another pod", apiServerManifest(), EtcdTimers{}, `no container "etcd"`},
		{"no YAML", "a: [", EtcdTimers{}, "yaml: "},
		{"empty", "", EtcdTimers{}, `no container "etcd"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "etcd.yaml")
			write(t, path, tt.text)
			got, err := ReadEtcdManifest(path)
			checkManifest(t, path, tt.wantErr, err)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("timers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadEtcdManifestBeforeJoin(t *testing.T) {
	got, err := ReadEtcdManifest(filepath.Join(t.TempDir(), "etcd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(EtcdTimers{time.Second, 100 * time.Millisecond, false}, got); diff != "" {
		t.Errorf("timers (-want +got):\n%s", diff)
	}
}

func TestReadAPIServerManifest(t *testing.T) {
	tests := []struct {
		name, text string
		want       APIServer
		wantErr    string
	}{
		{"kubeadm's own", apiServerManifest("--advertise-address=198.51.100.162", "--secure-port=6443"), APIServer{"198.51.100.162", 6443}, ""},
		{"another port", apiServerManifest("--advertise-address=2001:db8::162", "--secure-port=16443"), APIServer{"2001:db8::162", 16443}, ""},
		{"default port", apiServerManifest("--advertise-address=198.51.100.162"), APIServer{"198.51.100.162", 6443}, ""},
		{"bound, not advertised", apiServerManifest("--bind-address=198.51.100.162"), APIServer{"198.51.100.162", 6443}, ""},
		{"bound to all", apiServerManifest("--bind-address=0.0.0.0"), APIServer{"", 6443}, ""},
		{"nothing said", apiServerManifest(), APIServer{"", 6443}, ""},
		{"a name", apiServerManifest("--advertise-address=n1"), APIServer{}, `--advertise-address="n1" is not an IP address`},
		{"no port", apiServerManifest("--secure-port=0"), APIServer{}, `--secure-port="0" is not a port`},
		{"another pod", etcdManifest(), APIServer{}, `no container "kube-apiserver"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "kube-apiserver.yaml")
			write(t, path, tt.text)
			got, err := ReadAPIServerManifest(path)
			checkManifest(t, path, tt.wantErr, err)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("API server (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := ReadAPIServerManifest(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a manifest: %v, want fs.ErrNotExist", err)
	}
}

func TestLongManifest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etcd.yaml")
	write(t, path, strings.Repeat("#", maxManifest+1))
	if _, err := ReadEtcdManifest(path); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("long manifest: %v", err)
	}
}

// Decoded into a struct, this took the YAML library minutes.
func TestRepeatedKeys(t *testing.T) {
	_, err := findContainer([]byte(strings.Repeat("? a\n", maxManifest/4)), "etcd")
	if err == nil || !strings.Contains(err.Error(), "no container") {
		t.Errorf("repeated keys: %v", err)
	}
}

func checkManifest(t *testing.T, path, want string, err error) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Fatal(err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path)):
		t.Fatalf("error %v, want one that says %q and names the file", err, want)
	}
}

func TestReadPod(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pod.yaml")
	write(t, path, `
spec:
  containers:
  - name: a
    command: [prog, run, --one, 1, --two=2, -v, --three]
    args: ["--address", "198.51.100.166"]
    env: [{name: X, value: "y"}, {name: Z, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
  - name: b
`)
	got, err := ReadPod(path)
	want := []Container{
		{Env: map[string]string{"X": "y", "Z": ""}, Flags: map[string]string{"one": "1", "two": "2", "v": "true", "three": "true", "address": "198.51.100.166"}},
		{Env: map[string]string{}, Flags: map[string]string{}},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for content, want := range map[string]string{"a: [": "read manifest", strings.Repeat("#", maxManifest+1): "more than 262144 bytes"} {
		write(t, path, content)
		if _, err := ReadPod(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20s: %v, want %q", content, err, want)
		}
	}
	if _, err := ReadPod(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
}
