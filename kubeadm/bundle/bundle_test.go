package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The canaries: one of each kind of secret that there is on a master.
const (
	canaryToken      = "abc123.0123456789abcdef"
	canaryKey        = "11112222333344445555666677778888aaaabbbbccccddddeeeeffff00009999"
	canaryUnattended = "correct horse battery staple for three masters"
	canaryPassword   = "hunter2-hunter2"
	canaryJWT        = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJl"
	canaryAES        = "q83vEjRWeJq83vEjRWeJq83vEjRWeJq83vEjRWeJAbc="
	canaryEnv        = "value-of-a-variable"
	canaryBearer     = "opaque.bearer.value"
	canaryKnown      = "no form at all, but known" // as the secrets of an unfinished run are
)

var moment = time.Date(2026, 3, 2, 3, 16, 21, 0, time.UTC)

// identity is a certificate and the canary among keys.
func identity(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "kube-apiserver"}, NotBefore: moment.AddDate(-1, 0, 0), NotAfter: moment.AddDate(0, 0, 30),
		DNSNames: []string{"n1", "vip.example"}, IPAddresses: []net.IP{net.IPv4(198, 51, 100, 166)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

// node is a master with every canary in every place that is looked at.
type node struct {
	t        *testing.T
	root     string
	canaries []string
	soup     string // all canaries in the forms in which they get into logs
	source   Source
}

func newNode(t *testing.T) *node {
	t.Helper()
	certificate, key := identity(t)
	n := &node{t: t, root: t.TempDir()}
	encoded := base64.StdEncoding.EncodeToString(key)
	n.canaries = []string{canaryToken, canaryKey, canaryUnattended, canaryPassword, canaryJWT, canaryAES, canaryEnv, canaryBearer, canaryKnown, encoded, encoded[40:120]}
	inJournal := ""
	for line := range strings.Lines(string(key)) {
		inJournal += "2026-03-02T03:16:21+0100 n1 kubelet[1]: " + line
		if !strings.HasPrefix(line, "-----") {
			n.canaries = append(n.canaries, strings.TrimSpace(line))
		}
	}
	n.soup = strings.Join([]string{
		"harmless line before", "token " + canaryToken, "id " + canaryToken + " expired", "known: " + canaryKnown, "kubeadm join --token " + canaryToken + " --certificate-key " + canaryKey,
		"havip1," + canaryToken + "," + canaryKey + ",sha256:" + strings.Repeat("ab", 32), "the secret is " + canaryUnattended,
		"password=" + canaryPassword, `{"password": "` + canaryPassword + `"}`, `"msg=\"password: \\\"` + canaryPassword + `\\\"\""`, "--etcd-password " + canaryPassword,
		"proxy http://user:" + canaryPassword + "@proxy.example:3128", "jwt " + canaryJWT, "key " + canaryAES,
		"Authorization: Bearer " + canaryBearer, "client-key-data: " + encoded, inJournal, strings.ReplaceAll(string(key), "\n", `\n`), "harmless line after", "",
	}, "\n")

	state := filepath.Join(n.root, "var/lib/havip/kubeadm")
	n.write("etc/havip/havip.toml", "[vip]\naddresses = [\"198.51.100.166\"]\nmistake\nsecret_file = \""+filepath.Join(n.root, "etc/havip/secret")+"\"\n# "+strings.ReplaceAll(n.soup, "\n", "\n# "))
	n.write("etc/havip/secret", canaryUnattended+"\n")
	for _, name := range []string{"state.json", "other.json"} {
		n.write("run/havip/"+name, n.soup)
	}
	for _, name := range []string{"drained.json", "adopt.json", "adopt/journal.json", "claim.json", "history.json"} {
		n.write("var/lib/havip/"+name, n.soup)
	}
	n.write("var/lib/havip/heartbeats.json", canaryUnattended)
	for _, name := range []string{"journal.json", "secrets.json", "init.yaml", "join.yaml", "logs/init.log", "logs/01-certs.log"} {
		n.write("var/lib/havip/kubeadm/"+name, n.soup+canaryEnv)
	}
	n.write("var/lib/havip/kubeadm/journal.json", n.soup)
	n.write("var/lib/havip/kubeadm/logs/init.log", n.soup)
	n.write("var/lib/havip/kubeadm/logs/01-certs.log", n.soup)
	for _, name := range []string{"admin.conf", "super-admin.conf", "kubelet.conf", "encryption.yaml", "pki/ca.key", "pki/etcd/server.key", "pki/sa.key"} {
		n.write("etc/kubernetes/"+name, n.soup+canaryEnv)
	}
	if err := os.Symlink(filepath.Join(n.root, "etc/kubernetes/pki/ca.key"), filepath.Join(state, "logs/link.log")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(state, "logs/pipe.log"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.write("etc/kubernetes/pki/apiserver.crt", string(certificate))
	n.write("etc/kubernetes/pki/etcd/server.crt", string(key)+string(certificate)+n.soup)
	n.write("var/lib/kubelet/pki/kubelet-client-current.pem", string(certificate)+string(key))
	n.write("etc/kubernetes/manifests/etcd.yaml", aPod(n.soup))
	n.write("etc/kubernetes/manifests/kube-apiserver.yaml", aPod(n.soup))
	n.write("proc/version", "Linux version 6.1\n")
	n.write("proc/sys/net/ipv4/conf/all/arp_ignore", "1\n")
	n.write("sys/class/net/eth0/operstate", "up\n")

	n.source = Source{Root: n.root, Config: filepath.Join(n.root, "etc/havip/havip.toml"), State: state, Secrets: []string{canaryKnown},
		Version: "1.2.0", Salt: "salt", Now: moment, Lines: 100,
		Ask: func(_ context.Context, path string) ([]byte, error) {
			if path == "/metrics" {
				return nil, errors.New("no such path: " + n.soup)
			}
			return []byte(n.soup), nil
		},
		Run: func(_ context.Context, name string, _ ...string) ([]byte, error) {
			switch name {
			case "chronyc":
				return nil, errors.New("chronyc is not installed (not in PATH)")
			case "systemctl":
				return []byte(n.soup), errors.New("exit status 3: " + n.soup)
			}
			return []byte(n.soup), nil
		},
		Check: func(context.Context) ([]byte, error) { return []byte(n.soup), nil }}
	return n
}

// aPod has the canaries where kubeadm's manifests could have them.
func aPod(soup string) string {
	return fmt.Sprintf(`# comment with %s
apiVersion: v1
kind: Pod
metadata:
  name: x # and %s
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: '{"x": "%s"}'
spec:
  containers:
  - command:
    - kube-apiserver
    - --advertise-address=198.51.100.162
    - --service-account-key-file=/etc/kubernetes/pki/sa.pub
    - --oidc-client-secret=%s
    - --password
    - %s
    - %q
    env:
    - name: PLAIN
      value: %s
    - name: BLOCK
      value: |
        %s
    httpHeaders:
    - {name: X, value: %s}
`, canaryPassword, canaryEnv, canaryEnv, canaryEnv, canaryEnv, soup, canaryEnv, canaryEnv, canaryEnv)
}

func (n *node) write(name, text string) {
	n.t.Helper()
	path := filepath.Join(n.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// bundle makes one and returns the files in it.
func (n *node) bundle(ctx context.Context) (map[string]string, *Contents) {
	n.t.Helper()
	var b bytes.Buffer
	contents, err := Write(ctx, &b, "dir", n.source)
	if err != nil {
		n.t.Fatal(err)
	}
	return unpack(n.t, &b), contents
}

func unpack(t *testing.T, r io.Reader) map[string]string {
	t.Helper()
	zip, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for in := tar.NewReader(zip); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if h.Mode != 0o600 || h.Typeflag != tar.TypeReg {
			t.Errorf("%s: mode %o, type %c", h.Name, h.Mode, h.Typeflag)
		}
		files[strings.TrimPrefix(h.Name, "dir/")] = string(data)
	}
}

// TestNoSecret: none of the canaries is in the archive, in whatever place they were.
func TestNoSecret(t *testing.T) {
	n := newNode(t)
	files, _ := n.bundle(t.Context())
	if len(files) < 40 {
		t.Errorf("only %d files", len(files))
	}
	for name, text := range files {
		for _, canary := range n.canaries {
			if i := strings.Index(text, canary); i >= 0 {
				t.Errorf("%s: %q in %q", name, canary, text[max(0, i-60):i+len(canary)])
			}
		}
	}
	// What is not secret is still there, or the rest would prove nothing.
	for name, want := range map[string][]string{
		"journal/havipd.txt":             {"harmless line before\n", "harmless line after\n", "http://<redacted>@proxy.example:3128"},
		"daemon/status.json":             {"harmless line after"},
		"check.json":                     {"harmless line after"},
		"state/adopt.json":               {"harmless line after"},
		"kubeadm/logs/init.log":          {"harmless line after"},
		"kubernetes/kube-apiserver.yaml": {"--advertise-address=198.51.100.162", "--service-account-key-file=/etc/kubernetes/pki/sa.pub", "--oidc-client-secret=<redacted>"},
		"kubernetes/certificates.txt":    {"subject  CN=kube-apiserver", "names    n1 vip.example 198.51.100.166", "2026-04-01T03:16:21Z, 30 days left", "kubelet-client-current.pem\n  subject"},
		"kubernetes/manifests.txt":       {"etcd.yaml", "kube-apiserver.yaml"},
		"config/havip.toml":              {`addresses = ["198.51.100.166"]`},
		"network/sysctls.txt":            {"/proc/sys/net/ipv4/conf/all/arp_ignore = 1"},
		"network/links.txt":              {"/sys/class/net/eth0/operstate = up"},
		"MANIFEST.txt": {"units/kubelet.txt", "exit status 3", "system/chrony.txt", "chronyc is not installed", "kubeconfigs hold private keys",
			"kubeadm/logs/link.log", "it is a link, and links are not followed", "it is no regular file", "the secret of [unattended]"},
	} {
		for _, s := range want {
			if !strings.Contains(files[name], s) {
				t.Errorf("%s: no %q in:\n%s", name, s, files[name])
			}
		}
	}
	for name := range files {
		if strings.Contains(name, "secrets") || strings.Contains(name, "init.yaml") || strings.HasSuffix(name, ".key") || strings.HasSuffix(name, ".conf") || strings.HasPrefix(name, "adopt/") {
			t.Errorf("%s is in the archive", name)
		}
	}
}

// TestCanaries: without the redactor the test above would find every one.
func TestCanaries(t *testing.T) {
	n := newNode(t)
	for _, c := range n.canaries {
		if c != canaryEnv && !strings.Contains(n.soup, c) {
			t.Errorf("%q is nowhere in what is collected", c)
		}
	}
}

// TestNothingThere: a machine with nothing of havip on it makes a bundle too.
func TestNothingThere(t *testing.T) {
	n := &node{t: t, root: t.TempDir()}
	nothing := errors.New("nobody there\n\x1b[31m")
	n.source = Source{Root: n.root, Config: n.root + "/x", State: n.root + "/y", Now: moment,
		Ask:   func(context.Context, string) ([]byte, error) { return nil, nothing },
		Run:   func(context.Context, string, ...string) ([]byte, error) { return nil, nothing },
		Check: func(context.Context) ([]byte, error) { return nil, nothing }}
	files, contents := n.bundle(t.Context())
	if len(files) != 1 || len(contents.Files) != 0 || !strings.Contains(files["MANIFEST.txt"], "daemon/status.json                                 nobody there ?[31m\n") {
		t.Errorf("%d files, %v:\n%s", len(files), contents.Files, files["MANIFEST.txt"])
	}
}

// TestBounds: no file is larger than it may be, nor all together; the end of a
// log is what is kept; and when the time is up, that is said.
func TestBounds(t *testing.T) {
	n := newNode(t)
	long := strings.Repeat("an endless complaint\n", 2*maxFile/21)
	n.write("var/lib/havip/kubeadm/logs/init.log", "the first line\n"+long+"the last line\n")
	n.write("etc/havip/havip.toml", "the first line\n"+long+"the last line\n")
	n.write("run/havip/state.json", strings.Repeat("x", maxRead+10)) // one line, and not a whole one
	files, contents := n.bundle(t.Context())
	if s := files["kubeadm/logs/init.log"]; len(s) > maxFile+100 || !strings.HasPrefix(s, "[cut: ") || !strings.HasSuffix(s, "the last line\n") {
		t.Errorf("a log of %d bytes, %.60q", len(s), s)
	}
	if s := files["config/havip.toml"]; len(s) > maxFile+100 || !strings.HasPrefix(s, "the first line") || !strings.HasSuffix(s, "is left out]\n") {
		t.Errorf("a file of %d bytes, %.60q", len(s), s)
	}
	if s := files["state/state.json"]; s != "" {
		t.Errorf("a part of a line: %d bytes", len(s))
	}
	if !slices.ContainsFunc(contents.Files, func(f File) bool { return f.Name == "kubeadm/logs/init.log" && strings.Contains(f.Note, "cut") }) {
		t.Errorf("nothing says that a log was cut: %v", contents.Files)
	}

	n.source.Run = func(context.Context, string, ...string) ([]byte, error) { return []byte(long), nil }
	for i := range 40 {
		n.write(fmt.Sprintf("var/lib/havip/kubeadm/logs/%d.log", i), long)
	}
	files, _ = n.bundle(t.Context())
	all := 0
	for _, s := range files {
		all += len(s)
	}
	if all > maxTotal+maxFile || !strings.Contains(files["MANIFEST.txt"], "large enough without it") {
		t.Errorf("%d bytes in all", all)
	}

	ctx, stop := context.WithCancel(t.Context())
	stop()
	files, _ = n.bundle(ctx)
	if len(files) != 1 || !strings.Contains(files["MANIFEST.txt"], "no time left") {
		t.Errorf("%d files without time:\n%s", len(files), files["MANIFEST.txt"])
	}
}

func TestRedact(t *testing.T) {
	r := newRedactor([]string{"s3cret-s3cret", "short", "s3cret-s3cret-longer"}, "salt")
	for in, want := range map[string]string{
		"s3cret-s3cret-longer, s3cret-s3cret, short":                           "<redacted>, <redacted>, short",
		"token: abcdef.0123456789abcdef":                                       "token: <redacted>",
		`"certificate_key": "x y"`:                                             `"certificate_key": "<redacted>"`,
		`password: "never closed, to the end`:                                  `password: "<redacted>"`,
		"secret_file = \"/etc/havip/secret\"":                                  "secret_file = \"/etc/havip/secret\"",
		"kubeadm join 198.51.100.166:6443 --token abc":                         "kubeadm join 198.51.100.166:6443 --token <redacted>",
		"--client-key /etc/kubernetes/pki/a.key":                               "--client-key /etc/kubernetes/pki/a.key",
		"image registry.k8s.io/etcd@sha256:" + canaryKey:                       "image registry.k8s.io/etcd@sha256:" + canaryKey,
		"-----END RSA PRIVATE KEY-----\nafter":                                 "<redacted>\nafter",
		"a\n-----END EC PRIVATE KEY-----\n-----BEGIN EC PRIVATE KEY-----\nMII": "<redacted>\n<redacted>",
		"-----BEGIN CERTIFICATE-----":                                          "-----BEGIN CERTIFICATE-----",
		"n1 -> n2: n1 stopped renewing; 198.51.100.166":                        "n1 -> n2: n1 stopped renewing; 198.51.100.166",
		"2001:db8::166/128 dev eth0 valid_lft 3sec":                            "2001:db8::166/128 dev eth0 valid_lft 3sec",
		"https://127.0.0.1:2379/health":                                        "https://127.0.0.1:2379/health",
		"/usr/lib/systemd/system/multi/user/target/wants/abc":                  "/usr/lib/systemd/system/multi/user/target/wants/abc",
	} {
		if diff := cmp.Diff(want, r.text(in)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", in, diff)
		}
	}
	a, b := r.text("container "+canaryKey), r.text("pod of "+canaryKey)
	if _, mark, _ := strings.Cut(a, "<"); !strings.HasSuffix(b, "<"+mark) || strings.Contains(a, "1111") {
		t.Errorf("the same value, told apart: %q, %q", a, b)
	}
	if other := newRedactor(nil, "other").text("container " + canaryKey); other == a {
		t.Error("two bundles mark alike")
	}
}

// TestPodRefused: what cannot be understood is left out, and not quoted.
func TestPodRefused(t *testing.T) {
	for name, text := range map[string]string{
		"no YAML": "a: [" + canaryEnv,
		"aliases": "a: &x " + canaryEnv + "\nb: *x\n",
	} {
		if out, err := pod([]byte(text)); err == nil || len(out) > 0 || strings.Contains(err.Error(), canaryEnv) {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}
