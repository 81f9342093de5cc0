package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
)

const redacted = "<redacted>"

// leastSecret is the shortest text that is taken out wherever it stands: shorter
// ones would take words out of every file, and guard nothing.
const leastSecret = 8

// redactor takes secrets out of text: those it was told, and what looks like one.
// It rather takes out too much. Where one value in two places may tell something,
// it leaves a mark that is the same for both, and of no use without the salt.
type redactor struct {
	known *strings.Replacer
	salt  string
}

func newRedactor(known []string, salt string) *redactor {
	known = slices.Clone(known)
	slices.SortFunc(known, func(a, b string) int { return len(b) - len(a) }) // the longest first: one may be a part of another
	var pairs []string
	for _, s := range known {
		if len(s) >= leastSecret {
			pairs = append(pairs, s, redacted)
		}
	}
	return &redactor{strings.NewReplacer(pairs...), salt}
}

const secretWord = `(?:password|passwd|passphrase|secret|token|credentials?|api[-_]?key|(?:private|certificate|encryption|signing|access)[-_]?key)`

var (
	keyBegin = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----`)
	keyEnd   = regexp.MustCompile(`-----END [A-Z0-9 ]*PRIVATE KEY-----`)

	encodedPEM = regexp.MustCompile(`LS0tLS1CRUdJTi[A-Za-z0-9+/=_-]*`)                           // base64 of -----BEGIN
	webToken   = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?`) // RFC 7519
	ticket     = regexp.MustCompile(`havip1,[^\s"']+`)                                           // of havipctl token
	bootstrap  = regexp.MustCompile(`\b[a-z0-9]{6}\.[a-z0-9]{16}\b`)                             // kubeadm's tokens
	longHex    = regexp.MustCompile(`(?:sha256:)?[0-9a-fA-F]{64,}`)                              // certificate keys; digests are public
	longBase64 = regexp.MustCompile(`[A-Za-z0-9+/]{40,}={0,2}`)                                  // 30 bytes and more
	authHeader = regexp.MustCompile(`(?i)\b(bearer|basic)[ :]+[A-Za-z0-9+/._~=-]{8,}`)           // RFC 9110 section 11
	userInfo   = regexp.MustCompile(`(://)[^/\s@"']*:[^/\s@"']*@`)                               // RFC 3986 section 3.2.1
	setting    = regexp.MustCompile(`(?i)(` + secretWord + `s?\\*["']?[ \t]*[:=][ \t]*)(\\*"[^"\n]*"|\\*'[^'\n]*'|\\*["'][^\n]*|[^\s,;"'{}\[\]\\]+)`)
	quotes     = regexp.MustCompile(`^\\*["']`) // with the backslashes of a text in a text
	flagPair   = regexp.MustCompile(`(?i)(--?[\w-]*` + secretWord + `["']?,?[ \t]+["']?)([^\s/"'-][^\s"']*)`)
	mixedCase  = regexp.MustCompile(`[a-z].*[A-Z]|[A-Z].*[a-z]`)
)

// beginsWith are forms that are told by their begin.
var beginsWith = []struct {
	begin string
	form  *regexp.Regexp
}{{"LS0tLS1CRUdJTi", encodedPEM}, {"eyJ", webToken}, {"havip1,", ticket}}

// text returns s without secrets.
func (r *redactor) text(s string) string {
	var b strings.Builder
	for line := range strings.Lines(withoutKeys(r.known.Replace(s))) {
		b.WriteString(r.line(line))
	}
	return b.String()
}

// line asks the expressions only where they could match: they take seconds for
// some megabytes of a journal.
func (r *redactor) line(s string) string {
	run := longestRun(s)
	for _, one := range beginsWith {
		if strings.Contains(s, one.begin) {
			s = one.form.ReplaceAllString(s, redacted)
		}
	}
	if run >= 16 {
		s = bootstrap.ReplaceAllString(s, redacted)
	}
	lower := strings.ToLower(s)
	if strings.Contains(lower, "bearer") || strings.Contains(lower, "basic") {
		s = authHeader.ReplaceAllString(s, "$1 "+redacted)
	}
	if strings.Contains(s, "://") {
		s = userInfo.ReplaceAllString(s, "${1}"+redacted+"@")
	}
	if anySecretWord(lower) {
		s = setting.ReplaceAllStringFunc(s, quietly)
		s = flagPair.ReplaceAllString(s, "${1}"+redacted)
	}
	if run < 40 {
		return s
	}
	s = longHex.ReplaceAllStringFunc(s, func(found string) string {
		if len(found) == len("sha256:")+64 && strings.HasPrefix(found, "sha256:") {
			return found
		}
		return r.mark(found)
	})
	return longBase64.ReplaceAllStringFunc(s, func(found string) string {
		if !mixedCase.MatchString(found) { // a path, or a word
			return found
		}
		return r.mark(found)
	})
}

// anySecretWord tells whether secretWord may match: each of its words has one of
// these in it.
func anySecretWord(lower string) bool {
	for _, part := range []string{"pass", "secret", "token", "credential", "key"} {
		if strings.Contains(lower, part) {
			return true
		}
	}
	return false
}

// longestRun is the length of the longest run of base64 in a line.
func longestRun(s string) int {
	longest, n := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '+', c == '/':
			n++
			longest = max(longest, n)
		default:
			n = 0
		}
	}
	return longest
}

// mark stands for a value: the same for the same value in this bundle alone.
func (r *redactor) mark(found string) string {
	sum := sha256.Sum256([]byte(r.salt + found))
	return "<redacted " + hex.EncodeToString(sum[:3]) + ">"
}

// quietly replaces what a setting is set to, and keeps its quotes.
func quietly(found string) string {
	m := setting.FindStringSubmatch(found)
	quote := quotes.FindString(m[2])
	return m[1] + quote + redacted + quote
}

// withoutKeys takes out private keys in PEM (RFC 7468), also with something else
// before each line as in a log, and what is left of one that was cut.
func withoutKeys(s string) string {
	var b strings.Builder
	for {
		begin, end := keyBegin.FindStringIndex(s), keyEnd.FindStringIndex(s)
		switch {
		case begin == nil && end == nil:
			b.WriteString(s)
			return b.String()
		case end == nil: // its end was cut off
			b.WriteString(s[:begin[0]] + redacted)
			return b.String()
		case begin == nil || begin[0] > end[0]: // its begin was
			b.WriteString(redacted)
		default:
			b.WriteString(s[:begin[0]] + redacted)
		}
		s = s[end[1]:]
	}
}
