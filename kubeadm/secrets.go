package kubeadm

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"regexp"
	"strings"
	"syscall"

	"havip/configs"
)

// Secrets let a node join.
type Secrets struct {
	Token          string `json:"token"`           // bootstrap token, id.secret
	CertificateKey string `json:"certificate_key"` // hex; empty: the certificates are not uploaded

	// CAHash pins the cluster's CA ("sha256:…"). Empty: cluster-info is believed
	// because it is signed with the token.
	CAHash string `json:"ca_hash,omitempty"`
}

var (
	tokenForm  = regexp.MustCompile(`^[a-z0-9]{6}\.[a-z0-9]{16}$`)
	keyForm    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	caHashForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// NewSecrets makes secrets by chance.
func NewSecrets() (Secrets, error) {
	material := make([]byte, 64)
	if _, err := rand.Read(material); err != nil {
		return Secrets{}, fmt.Errorf("make secrets: %w", err)
	}
	return Secrets{Token: tokenOf(material[:32]), CertificateKey: hex.EncodeToString(material[32:])}, nil
}

// tokenOf makes a bootstrap token of 32 random bytes. It takes the lowest 22
// digits to base 36 of a number that is 142 bits longer, so all are equally
// likely.
func tokenOf(material []byte) string {
	digits := new(big.Int).SetBytes(material).Text(36)
	digits = strings.Repeat("0", max(0, 22-len(digits))) + digits
	digits = digits[len(digits)-22:]
	return digits[:6] + "." + digits[6:]
}

// minSecret is how many bytes a secret file must have: 32 random bytes written
// as hexadecimal or base64 have more.
const minSecret = 32

// Derive makes the secrets of an unattended cluster out of what the masters have
// in common: HKDF with SHA-256 (RFC 5869). The salt keeps two clusters with the
// same secret apart; the info names what a key is for, so that none tells
// anything of another.
func Derive(secret []byte, c *configs.Config) (Secrets, error) {
	host, port := c.Endpoint()
	salt := fmt.Appendf(nil, "havip/v1 %s %s %d", c.VIPKey(), host, port)
	key := func(info string) ([]byte, error) { return hkdf.Key(sha256.New, secret, salt, info, 32) }
	token, err1 := key("havip/v1 bootstrap token")
	certificate, err2 := key("havip/v1 certificate key")
	if err := errors.Join(err1, err2); err != nil {
		return Secrets{}, fmt.Errorf("derive secrets: %w", err)
	}
	return Secrets{Token: tokenOf(token), CertificateKey: hex.EncodeToString(certificate)}, nil
}

// ReadSecretFile returns what is in the file that all masters have in common. It
// refuses a file that others can read or could have written.
func ReadSecretFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	if err := secretFile(path, info); err != nil {
		return nil, err
	}
	data := make([]byte, 4096)
	n, _ := f.Read(data) // an empty file is refused below
	secret := bytes.TrimSpace(data[:n])
	if len(secret) < minSecret {
		return nil, fmt.Errorf("read secret: %s has %d bytes, fewer than %d: make one by: openssl rand -hex 32", path, len(secret), minSecret)
	}
	return secret, nil
}

// secretFile says what is wrong with the file of a secret.
func secretFile(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("read secret: %s is no regular file", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("read secret: %s has mode %04o, others can read it: chmod 0600 %s", path, info.Mode().Perm(), path)
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() {
		return fmt.Errorf("read secret: %s belongs to the user with id %d: chown root %s", path, s.Uid, path)
	}
	return nil
}

// ticketMark begins a ticket and names its form.
const ticketMark = "havip1"

// Ticket writes the secrets as one word, for the line that joins a master.
func (s Secrets) Ticket() string {
	return strings.Join([]string{ticketMark, s.Token, s.CertificateKey, s.CAHash}, ",")
}

// Ticketed reports whether they came by a ticket: it alone has the hash of a CA.
func (s Secrets) Ticketed() bool { return s.CAHash != "" }

// ParseTicket reads what [Secrets.Ticket] wrote. The error shows nothing of it.
func ParseTicket(text string) (Secrets, error) {
	parts := strings.Split(strings.TrimSpace(text), ",")
	if len(parts) != 4 || parts[0] != ticketMark {
		return Secrets{}, errors.New("read ticket: this is none: it begins with " + ticketMark + ", and havipctl token prints one")
	}
	s := Secrets{Token: parts[1], CertificateKey: parts[2], CAHash: parts[3]}
	switch {
	case !tokenForm.MatchString(s.Token):
		return Secrets{}, errors.New("read ticket: its second part is no bootstrap token: copy all of it")
	case s.CertificateKey != "" && !keyForm.MatchString(s.CertificateKey):
		return Secrets{}, errors.New("read ticket: its third part is no certificate key: copy all of it")
	case !caHashForm.MatchString(s.CAHash):
		return Secrets{}, errors.New("read ticket: its fourth part is no hash of a CA: copy all of it")
	}
	return s, nil
}

// HashCA returns the pin of a CA's certificate: the SHA-256 of its public key
// (RFC 7469 section 2.4), as kubeadm wants it.
func HashCA(certificate []byte) (string, error) {
	block, _ := pem.Decode(certificate)
	if block == nil {
		return "", errors.New("hash CA: no PEM block")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("hash CA: %w", err)
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}
