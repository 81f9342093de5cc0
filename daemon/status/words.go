package status

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// age puts a duration into the one unit a person would choose.
func age(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// short is for what is expected to be well below a second.
func short(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", max(d, 0)/time.Millisecond)
	}
	return age(d)
}

func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

// clock shows a time of today without its date.
func clock(t, now time.Time) string {
	y, m, day := t.Date()
	if ny, nm, nd := now.Date(); y == ny && m == nm && day == nd {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04:05")
}

// clean makes text from elsewhere (other nodes, etcd, the wire) safe for a
// terminal: no control character, and so no escape sequence, gets through.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Cf, r):
			return '?'
		}
		return r
	}, strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "; ")) // of errors that were joined
}

// wrap breaks text at spaces into lines of at most width runes; a word longer
// than that stays whole.
func wrap(text string, width int) []string {
	var lines []string
	line, n := "", 0
	for _, word := range strings.Fields(text) {
		w := len([]rune(word))
		switch {
		case n == 0:
			line, n = word, w
		case n+1+w <= width:
			line, n = line+" "+word, n+1+w
		default:
			lines = append(lines, line)
			line, n = word, w
		}
	}
	return append(lines, line)
}
