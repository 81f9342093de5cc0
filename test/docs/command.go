package docs

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// programs are those that an operator is told to run. What is not here is not
// taken for a command, but see Commands.
var programs = []string{
	"apt", "apt-get", "bpftool", "cat", "chmod", "cp", "crictl", "curl", "diff", "dnf", "echo", "etcdctl", "etcdutl", "export", "firewall-cmd", "go", "grep", "havipctl", "havipd", "install", "ip",
	"journalctl", "kubeadm", "kubectl", "ls", "make", "mkdir", "mv", "nft", "openssl", "rm", "scp", "sed", "sleep", "systemctl", "systemd-analyze", "usermod",
}

// others begin lines that could be taken for commands and are none: what
// programs print.
var others = []string{"error", "holder", "inet", "inet6", "last", "n1", "why"}

// Line is a line of shell, continuations joined, as an operator types it on one
// machine.
type Line struct {
	Page   string
	Number int
	Host   string // where, if the page says so: "n1: …"
	Text   string
}

func (l Line) String() string { return fmt.Sprintf("%s:%d: %s", l.Page, l.Number, l.Text) }

var (
	host = regexp.MustCompile(`^(n[0-9]): +`)
	word = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)
)

// Commands returns the lines of shell of a page. A piece of code is either all
// commands (and comments), or has none: whatever is neither is an error, so that
// no command goes unseen.
func (p Page) Commands() ([]Line, error) {
	var all []Line
	var errs []error
	for _, c := range p.Chunks() {
		lines := join(c)
		shell := isCommand(lines[0].Text) || isComment(lines[0].Text) && len(lines) > 1 && isCommand(lines[1].Text)
		for _, l := range lines {
			switch {
			case shell && isCommand(l.Text):
				if m := host.FindStringSubmatch(l.Text); m != nil {
					l.Host, l.Text = m[1], l.Text[len(m[0]):]
				}
				all = append(all, l)
			case shell && isComment(l.Text):
			case shell:
				errs = append(errs, fmt.Errorf("%v: neither a comment nor a program that test/docs knows, among commands", l))
			case isCommand(l.Text):
				errs = append(errs, fmt.Errorf("%v: a command among what is none: put an empty line between them", l))
			}
		}
		if !shell && couldBe(lines[0].Text) {
			errs = append(errs, fmt.Errorf("%s: %q looks like a command: name its program in test/docs, or say there that it is none", c.place(), lines[0].Text))
		}
	}
	return all, errors.Join(errs...)
}

// join puts lines that end with a backslash together with the next.
func join(c Chunk) []Line {
	var all []Line
	goesOn := false
	deeper := c.Lines[0][:len(c.Lines[0])-len(strings.TrimLeft(c.Lines[0], " "))] // in a list
	for i, text := range c.Lines {
		text = strings.TrimPrefix(text, deeper)
		more, again := strings.CutSuffix(text, "\\")
		if goesOn {
			all[len(all)-1].Text += strings.TrimLeft(more, " ")
		} else {
			all = append(all, Line{Page: c.Page, Number: c.Line + i, Text: more})
		}
		goesOn = again
	}
	return all
}

func isComment(text string) bool { return strings.HasPrefix(text, "#") }

func isCommand(text string) bool { return slices.Contains(programs, firstWord(text)) }

// couldBe errs on the side of commands.
func couldBe(text string) bool {
	first, rest, _ := strings.Cut(host.ReplaceAllString(text, ""), " ")
	rest = strings.TrimLeft(rest, " ")
	return first == "sudo" || word.MatchString(first) && rest != "" && !strings.HasPrefix(rest, "=") && !slices.Contains(others, first)
}

func firstWord(text string) string {
	text = strings.TrimPrefix(host.ReplaceAllString(text, ""), "sudo ")
	first, _, _ := strings.Cut(text, " ")
	return first
}

// Simple returns the simple commands of a line, without sudo, redirections and
// comments: "echo x | sudo havipctl join" is two.
func (l Line) Simple() ([][]string, error) {
	tokens, err := tokenize(l.Text)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", l, err)
	}
	var all [][]string
	var now []string
	skip := false
	for _, t := range append(tokens, token{";", true}) {
		switch {
		case skip:
			skip = false
		case t.operator && (t.text == ">" || t.text == ">>" || t.text == "<"):
			skip = true
		case t.operator:
			if len(now) > 0 {
				all = append(all, now)
			}
			now = nil
		case len(now) == 0 && (t.text == "sudo" || t.text == "do" || t.text == "done"):
		default:
			now = append(now, t.text)
		}
	}
	return all, nil
}

type token struct {
	text     string
	operator bool
}

// tokenize knows as much of the shell as the pages use. What it does not know is
// an error.
func tokenize(s string) ([]token, error) {
	var all []token
	var b strings.Builder
	begun := false
	end := func() {
		if begun {
			all = append(all, token{b.String(), false})
		}
		b.Reset()
		begun = false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case ' ':
			end()
		case '#':
			if !begun {
				return all, nil
			}
			b.WriteByte(c)
		case '\'', '"':
			n := strings.IndexByte(s[i+1:], c)
			if n < 0 {
				return nil, errors.New("a quote is not closed")
			}
			b.WriteString(s[i+1 : i+1+n])
			begun = true
			i += n + 1
		case '|', '&', ';', '<', '>':
			end()
			op := string(c)
			if i+1 < len(s) && s[i+1] == c {
				op += op
				i++
			}
			all = append(all, token{op, true})
		case '`', '\\':
			return nil, fmt.Errorf("test/docs does not know what %c means", c)
		default:
			b.WriteByte(c)
			begun = true
		}
	}
	end()
	return all, nil
}
