package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
)

// Bounds, so that a bundle can be made and sent in a bad hour too.
const (
	maxFile  = 1 << 20  // kept of one file, after redaction
	maxRead  = 4 << 20  // read of one
	maxTotal = 32 << 20 // kept of all
)

// Contents says what came of a bundle.
type Contents struct {
	Files   []File   `json:"files"`
	LeftOut []Absent `json:"left_out"`
}

// File is one in the archive.
type File struct {
	Name string `json:"name"`
	Size int    `json:"size"` // in bytes
	Note string `json:"note,omitempty"`
}

// Absent is something that is not in the archive, and why.
type Absent struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// archive writes redacted files.
type archive struct {
	tar    *tar.Writer
	dir    string
	now    time.Time
	redact *redactor
	total  int
	Contents
}

// Write collects a bundle. dir is the directory that everything in it is below.
// What cannot be had is told in the contents; an error is one of writing.
func Write(ctx context.Context, w io.Writer, dir string, s Source) (*Contents, error) {
	zip := gzip.NewWriter(w)
	a := &archive{tar: tar.NewWriter(zip), dir: dir, now: s.Now, redact: newRedactor(s.secrets(), s.Salt)}
	for _, one := range s.items() {
		if ctx.Err() != nil {
			a.leave(one.name, "there was no time left")
			continue
		}
		data, note, err := one.get(ctx)
		if err != nil && len(data) == 0 {
			a.leave(one.name, err.Error())
			continue
		}
		if err != nil {
			note = err.Error()
		}
		if err := a.add(one, data, note); err != nil {
			return nil, err
		}
	}
	for _, n := range never(s) {
		a.leave(n.Name, n.Why)
	}
	if err := a.put("MANIFEST.txt", []byte(a.manifest(s))); err != nil {
		return nil, err
	}
	if err := a.tar.Close(); err != nil {
		return nil, fmt.Errorf("write bundle: %w", err)
	}
	if err := zip.Close(); err != nil {
		return nil, fmt.Errorf("write bundle: %w", err)
	}
	return &a.Contents, nil
}

func (a *archive) leave(name, why string) {
	a.LeftOut = append(a.LeftOut, Absent{name, a.redact.text(strings.TrimSpace(why))})
}

func (a *archive) add(one item, data []byte, note string) error {
	text := a.redact.text(string(data))
	var notes []string
	if note != "" {
		notes = append(notes, a.redact.text(strings.TrimSpace(note)))
	}
	if n := strings.Count(text, redacted[:len(redacted)-1]); n > 0 {
		notes = append(notes, fmt.Sprintf("redacted: %d", n))
	}
	if len(text) > maxFile {
		text = cut(text, one.end)
		notes = append(notes, "cut")
	}
	if a.total+len(text) > maxTotal {
		a.leave(one.name, "the bundle is large enough without it")
		return nil
	}
	a.total += len(text)
	a.Files = append(a.Files, File{one.name, len(text), strings.Join(notes, "; ")})
	return a.put(one.name, []byte(text))
}

// cut keeps the begin or the end of a text, in whole lines.
func cut(text string, end bool) string {
	if end {
		text = text[len(text)-maxFile:]
		return "[cut: what was before this is left out]\n" + text[strings.IndexByte(text, '\n')+1:]
	}
	text = text[:maxFile]
	return text[:strings.LastIndexByte(text, '\n')+1] + "[cut: what comes after this is left out]\n"
}

func (a *archive) put(name string, data []byte) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: a.dir + "/" + name, Mode: 0o600, Size: int64(len(data)), ModTime: a.now}
	if err := a.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	if _, err := io.Copy(a.tar, bytes.NewReader(data)); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	return nil
}

// manifest tells a reader what is in the archive, and what is not.
func (a *archive) manifest(s Source) string {
	var b strings.Builder
	fmt.Fprintf(&b, "A havip debug bundle, made at %s by %s.\n\nIn it:\n", a.now.UTC().Format(time.RFC3339), s.Version)
	for _, f := range a.Files {
		fmt.Fprintf(&b, "  %-50s %8d  %s\n", plain(f.Name), f.Size, plain(f.Note))
	}
	b.WriteString("\nLeft out:\n")
	for _, f := range a.LeftOut {
		fmt.Fprintf(&b, "  %-50s %s\n", plain(f.Name), plain(f.Why))
	}
	b.WriteString(`
What has the form of a secret (tokens, keys, passwords, long random values) was
replaced by <redacted>, with a mark where the same value can then be told from
another. Host names, addresses, names of pods and what programs logged are still
there: look through the journals before you send this to anybody.
`)
	return b.String()
}

// plain keeps what programs said on one line, and from steering the terminal of
// whoever reads the list.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			return '?'
		}
		return r
	}, s)
}
