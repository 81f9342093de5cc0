package configs

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

// Minimal returns the packaged configuration file. Package managers ask about
// every change of such a file, so its bytes stay as they are; everything else
// that is worth saying is in the reference.
func Minimal() []byte {
	return []byte(`# havip: the same file on every master. Every key: /usr/share/doc/havip/config.md
# To have it written: havipctl config init --vip ADDRESS --master NAME=ADDRESS ...

#[vip]
#address = "198.51.100.166"

#[masters]
#n1 = "198.51.100.162"
#n2 = "198.51.100.163"
#n3 = "198.51.100.164"
`)
}

// Reference returns a file with every key, its explanation and its default, or
// an example where there is none. Keys are commented out with a bare #, explanations begin with "# "; without
// these marks it decodes to the defaults and the addresses of an example.
func Reference() []byte {
	var b bytes.Buffer
	b.WriteString("# Every key of havip's configuration, with its default or an example.\n")
	b.WriteString("# To set one, remove the # before it.\n")
	b.WriteString("# Durations are text with a unit: \"400ms\", \"4.5s\", \"1m\". Paths are absolute.\n")
	shown := exampleConfig()
	for _, s := range schema {
		b.WriteString("\n")
		comment(&b, s.doc)
		fmt.Fprintf(&b, "[%s]\n", s.name)
		for _, k := range s.keys {
			b.WriteString("\n")
			comment(&b, k.doc)
			comment(&b, "Takes: "+k.takes+"."+derivedNote(k))
			fmt.Fprintf(&b, "#%s = %s\n", k.name, k.literal())
		}
		if s.entries != nil {
			comment(&b, "Takes: "+s.entries.takes+defaultNote(s.entries)+".")
			writeEntries(&b, "#", s.entries.show(shown))
		}
	}
	return b.Bytes()
}

// literal returns what stands beside the key in the reference: the default, or
// an example where there is none.
func (k key) literal() string {
	if text := k.show(Default()); text != "" {
		return text
	}
	return k.example
}

func derivedNote(k key) string {
	if k.derived == "" {
		return ""
	}
	return " Default: " + k.derived + "."
}

func defaultNote(e *entries) string {
	if e.deflt == "" {
		return ""
	}
	return "; default " + e.deflt
}

// TOML returns the configuration as a file, with every default that is a
// constant written out. Decoding it gives the same configuration.
func (c *Config) TOML() []byte {
	var b bytes.Buffer
	for _, s := range schema {
		var body bytes.Buffer
		for _, k := range s.keys {
			if s.name == "vip" && !c.Configured() {
				break // an interface alone is refused
			}
			if text := k.show(c); text != "" {
				fmt.Fprintf(&body, "%s = %s\n", k.name, text)
			}
		}
		if s.entries != nil {
			writeEntries(&body, "", s.entries.show(c))
		}
		if body.Len() == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "[%s]\n%s", s.name, body.Bytes())
	}
	return b.Bytes()
}

// Example returns a file for these addresses: what `havipctl config init`
// writes. An empty interface stands for "auto". What is given is not checked;
// Decode tells what is wrong with it.
func Example(vip []netip.Addr, masters []Master, iface string) []byte {
	c := &Config{VIP: VIP{Addresses: vip}, Masters: masters}
	var b bytes.Buffer
	b.WriteString("# havip: the same file on every master.\n\n[vip]\n")
	if len(vip) > 0 {
		fmt.Fprintf(&b, "address = %s\n", showAddresses(c))
	}
	if iface != "" && iface != "auto" {
		fmt.Fprintf(&b, "interface = %s\n", literal(iface))
	}
	b.WriteString("\n[masters]\n")
	writeEntries(&b, "", showMasters(c))
	return b.Bytes()
}

func writeEntries(b *bytes.Buffer, mark string, shown []entry) {
	for _, e := range shown {
		fmt.Fprintf(b, "%s%s = %s\n", mark, keyLiteral(e.name), e.value)
	}
}

// comment writes text as comment lines of at most 80 bytes.
func comment(b *bytes.Buffer, text string) {
	line := "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > 80 {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}
