package kubeadm

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"havip/test/kubeadmtest"
)

func TestNewSecrets(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		s, err := NewSecrets()
		if err != nil || !tokenForm.MatchString(s.Token) || !keyForm.MatchString(s.CertificateKey) {
			t.Fatalf("%+v, %v", s, err)
		}
		if seen[s.Token] || seen[s.CertificateKey] {
			t.Fatalf("%+v again", s)
		}
		seen[s.Token], seen[s.CertificateKey] = true, true
	}
}

// TestTokenOf: numbers with few digits to base 36 have zeros before them.
func TestTokenOf(t *testing.T) {
	for number, want := range map[byte]string{0: "000000.0000000000000000", 35: "000000.000000000000000z", 36: "000000.0000000000000010"} {
		if got := tokenOf(append(make([]byte, 31), number)); got != want {
			t.Errorf("%d: %s, want %s", number, got, want)
		}
	}
	if got := tokenOf(bytes.Repeat([]byte{255}, 32)); !tokenForm.MatchString(got) {
		t.Error(got)
	}
}

// TestDerive: masters of different versions must derive the same, so these
// values may never change. They were computed by another program: HKDF by
// openssl kdf, the token from its output by python3.
func TestDerive(t *testing.T) {
	secret := []byte("0123456789abcdef0123456789abcdef")
	got, err := Derive(secret, config(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	want := Secrets{Token: "93jucm.xr9hk997dxyucw38", CertificateKey: "435a78fd51031b77a9496c61f8cf46be9b5c5e2484b938aa216c7d27a44f3d8b"}
	if got != want {
		t.Errorf("derived %+v, want %+v", got, want)
	}
	for name, more := range map[string]string{"endpoint": "[kubeadm]\nendpoint = \"k8s.example.org\"\n", "port": "[kubeadm]\nendpoint = \"198.51.100.166:8443\"\n"} {
		other, err := Derive(secret, config(t, more))
		if err != nil || other.Token == got.Token || other.CertificateKey == got.CertificateKey {
			t.Errorf("another %s: %+v, %v", name, other, err)
		}
	}
	if other, err := Derive([]byte("0123456789abcdef0123456789abcdeg"), config(t, "")); err != nil || other.Token == got.Token {
		t.Errorf("another secret: %+v, %v", other, err)
	}
}

func TestReadSecretFile(t *testing.T) {
	dir := t.TempDir()
	const secret = "0123456789abcdef0123456789abcdef"
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	got, err := ReadSecretFile(write("good", secret+"\n", 0o600))
	if err != nil || string(got) != secret {
		t.Errorf("%q, %v", got, err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "good"), link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		write("group", secret, 0o640):      "has mode 0640, others can read it: chmod 0600",
		write("all", secret, 0o604):        "has mode 0604",
		write("short", secret[:31], 0o600): "has 31 bytes, fewer than 32",
		write("spaces", " \n\t ", 0o600):   "has 0 bytes",
		write("empty", "", 0o600):          "has 0 bytes",
		filepath.Join(dir, "nothing"):      "no such file",
		dir:                                "is no regular file",
		link:                               "too many levels of symbolic links",
	} {
		if _, err := ReadSecretFile(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if os.Geteuid() == 0 {
		path := write("foreign", secret, 0o600)
		if err := os.Chown(path, 12345, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSecretFile(path); err == nil || !strings.Contains(err.Error(), "belongs to the user with id 12345") {
			t.Errorf("of another user: %v", err)
		}
	}
}

func TestTicket(t *testing.T) {
	for _, s := range []Secrets{someSecrets, {Token: someSecrets.Token, CAHash: someSecrets.CAHash}} {
		got, err := ParseTicket(s.Ticket() + "\n")
		if err != nil || got != s {
			t.Errorf("%+v, %v, want %+v", got, err, s)
		}
	}
	whole := someSecrets.Ticket()
	for _, bad := range []string{"", "havip1", "havip2" + whole[6:], whole[:len(whole)-1], strings.Replace(whole, ".", "", 1), strings.Replace(whole, "c0f", "C0F", 1), whole + ",x"} {
		got, err := ParseTicket(bad)
		if err == nil {
			t.Errorf("%q becomes %+v", bad, got)
			continue
		}
		if strings.Contains(err.Error(), "s3cr3t") || strings.Contains(err.Error(), "c0ffee") {
			t.Errorf("the error tells a secret: %v", err)
		}
	}
}

func TestHashCA(t *testing.T) {
	got, err := HashCA([]byte(kubeadmtest.CA))
	if err != nil || got != kubeadmtest.CAHash {
		t.Errorf("%s, %v, want %s", got, err, kubeadmtest.CAHash)
	}
	for _, bad := range []string{"", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if got, err := HashCA([]byte(bad)); err == nil {
			t.Errorf("%q: %s", bad, got)
		}
	}
}

// TestRedact: however a secret is cut into pieces on its way.
func TestRedact(t *testing.T) {
	text := "Using token: " + someSecrets.Token + "\nkey " + someSecrets.CertificateKey + " end\r\nanother: abc123.0123456789abcdef, not one: abc123.0123456789abcdefg\nno end " + someSecrets.Token
	const want = "Using token: <redacted>\nkey <redacted> end\nanother: <redacted>, not one: abc123.0123456789abcdefg\nno end <redacted>\n"
	for size := 1; size <= len(text); size++ {
		var b bytes.Buffer
		var lines []string
		w := &lineWriter{redact: newRedactor(someSecrets), to: &b, each: func(line string) { lines = append(lines, line) }}
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			if _, err := w.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
		if b.String() != want || len(lines) != 4 {
			t.Fatalf("in pieces of %d bytes, %d lines:\n%s", size, len(lines), b.String())
		}
	}
}

func TestLongLine(t *testing.T) {
	var b bytes.Buffer
	w := &lineWriter{to: &b}
	w.redact = newRedactor(someSecrets)
	for range 3 * maxLine / len(someSecrets.CertificateKey) {
		if _, err := w.Write([]byte(someSecrets.CertificateKey)); err != nil {
			t.Fatal(err)
		}
		if len(w.rest) > maxLine {
			t.Fatalf("%d bytes kept", len(w.rest))
		}
	}
	if strings.Contains(b.String(), "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00") || b.Len() == 0 {
		t.Errorf("%d bytes written, with the secret", b.Len())
	}
}

// TestFullLog: the program that writes goes on, and the run is told in the end.
func TestFullLog(t *testing.T) {
	var lines []string
	w := &lineWriter{redact: newRedactor(someSecrets), to: full{}, each: func(line string) { lines = append(lines, line) }}
	const text = "one\ntwo\nthree"
	if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
		t.Errorf("wrote %d, %v", n, err)
	}
	if err := w.flush(); !errors.Is(err, syscall.ENOSPC) || len(lines) != 3 {
		t.Errorf("%v after %q", err, lines)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }
