package configs

import (
	"bytes"
	"fmt"
)

// manPage is havip.toml(5) in the Markdown that the packages' man pages are
// made of. It says what docs/config.md says, as lists that fit a terminal.
func manPage() []byte {
	var b bytes.Buffer
	b.WriteString(manHead)
	for _, s := range schema {
		fmt.Fprintf(&b, "\n## [%s]\n\n%s\n", s.name, s.doc)
		if s.entries != nil {
			fmt.Fprintf(&b, "\nEach key is a master's name; its value is one %s%s.\n", s.entries.takes, defaultNote(s.entries))
			continue
		}
		for _, k := range s.keys {
			fmt.Fprintf(&b, "\n**%s** (%s; default: %s)\n:   %s\n", k.name, k.takes, manDefault(k), k.doc)
		}
	}
	b.WriteString(manTail)
	return b.Bytes()
}

func manDefault(k key) string {
	if k.derived != "" {
		return k.derived
	}
	if text := k.show(Default()); text != "" {
		return text
	}
	return "none"
}

const manHead = `% HAVIP.TOML 5 "" "havip" "havip"

# NAME

havip.toml - configuration of havipd

# SYNOPSIS

**/etc/havip/havip.toml**

# DESCRIPTION

The file is TOML and the same on every master. An unknown key is refused, not
ignored, and all problems are reported at once, each with its place and the fix:
**havipctl config check**. **havipctl config init** writes a file, **havipctl
config show** shows the values in effect. A file without an address is valid and
holds nothing.

Durations are text with a unit: "400ms", "4.5s", "1m". Paths are absolute.

# KEYS
`

const manTail = `
# EXAMPLE

    [vip]
    address = "198.51.100.166"

    [masters]
    n1 = "198.51.100.162"
    n2 = "198.51.100.163"
    n3 = "198.51.100.164"

# SEE ALSO

**havipd**(8), **havipctl**(8); /usr/share/doc/havip/config.md says how the
times of [election] hang together.
`
