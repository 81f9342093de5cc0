package kubeadm

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
)

const redacted = "<redacted>"

// anyToken is the form of every bootstrap token, whoever made it.
var anyToken = regexp.MustCompile(`\b[a-z0-9]{6}\.[a-z0-9]{16}\b`)

// redactor takes secrets out of what is logged and shown.
type redactor struct{ replace *strings.Replacer }

func newRedactor(s Secrets) redactor {
	var pairs []string
	for _, secret := range []string{s.Token, s.CertificateKey} {
		if secret != "" {
			pairs = append(pairs, secret, redacted)
		}
	}
	return redactor{strings.NewReplacer(pairs...)}
}

func (r redactor) line(s string) string {
	return anyToken.ReplaceAllString(r.replace.Replace(s), redacted)
}

// maxLine bounds what is kept of a line without an end; the last overlap bytes
// wait for what follows, since a secret (64 bytes at most) may begin there.
const (
	maxLine = 64 << 10
	overlap = 128
)

// lineWriter passes on whole lines, without secrets. A secret that comes in two
// pieces is taken out too, since a line is looked at when it has ended.
//
// A log that cannot be written, as on a full disk, is told by flush alone: an error of
// Write would close the pipe, and kill the program in the middle by SIGPIPE.
type lineWriter struct {
	redact redactor
	to     io.Writer
	each   func(line string) // called after the line was written
	rest   []byte
	failed error // the first line that could not be written
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 && len(w.rest) < maxLine {
			return len(p), nil
		}
		if i < 0 {
			i = len(w.rest) - 1 - overlap
		}
		w.emit(w.rest[:i+1])
		w.rest = append(w.rest[:0], w.rest[i+1:]...)
	}
}

// flush passes on what has no line end.
func (w *lineWriter) flush() error {
	if len(w.rest) > 0 {
		w.emit(w.rest)
		w.rest = nil
	}
	return w.failed
}

func (w *lineWriter) emit(raw []byte) {
	line := w.redact.line(strings.TrimRight(string(raw), "\r\n"))
	if _, err := io.WriteString(w.to, line+"\n"); err != nil && w.failed == nil {
		w.failed = fmt.Errorf("write log: %w", err)
	}
	if w.each != nil && strings.TrimSpace(line) != "" {
		w.each(line)
	}
}
