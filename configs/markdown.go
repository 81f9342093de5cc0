package configs

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"havip/election"
)

// Markdown returns docs/config.md.
func Markdown() []byte {
	var b bytes.Buffer
	example := exampleConfig()
	fmt.Fprintf(&b, manualHead, DefaultPath, Example(example.VIP.Addresses, example.Masters, ""))
	for _, s := range schema {
		fmt.Fprintf(&b, "\n## `[%s]`\n\n%s\n\n", s.name, code(s.doc))
		if s.entries != nil {
			manualEntries(&b, s)
			continue
		}
		b.WriteString("| key | takes | default | meaning |\n|---|---|---|---|\n")
		for _, k := range s.keys {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.name, code(k.takes), manualDefault(k), code(k.doc))
		}
	}
	fmt.Fprintf(&b, manualTimes, exampleTimes(), durationText(election.KernelLateness), durationText(minHold), durationText(slowRoundTrip))
	fmt.Fprintf(&b, manualTail, manualRefusal())
	return b.Bytes()
}

func manualEntries(b *bytes.Buffer, s section) {
	fmt.Fprintf(b, "Each key is a master's name; its value is one %s%s. ", s.entries.takes, defaultNote(s.entries))
	b.WriteString("A name with dots is put in quotes. For example:\n\n```toml\n")
	fmt.Fprintf(b, "[%s]\n", s.name)
	writeEntries(b, "", s.entries.show(exampleConfig()))
	b.WriteString("```\n")
}

func manualDefault(k key) string {
	if k.derived != "" {
		return code(k.derived)
	}
	if text := k.show(Default()); text != "" {
		return "`" + text + "`"
	}
	return "none"
}

// code sets quoted values and flags in the typeface for code.
func code(text string) string {
	words := strings.Fields(text)
	for i, word := range words {
		bare := strings.TrimRight(word, ".,;:")
		if strings.HasPrefix(bare, `"`) && strings.HasSuffix(bare, `"`) || strings.HasPrefix(bare, "--") {
			words[i] = "`" + bare + "`" + word[len(bare):]
		}
	}
	return strings.Join(words, " ")
}

// exampleTimes lists what is derived from some election timeouts of etcd.
func exampleTimes() string {
	var b strings.Builder
	for _, etcd := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second} {
		timers := EtcdTimers{ElectionTimeout: etcd}
		t := Default().fill(timers)
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", durationText(timers.ElectionTimeout),
			durationText(t.Hold), durationText(t.Takeover), durationText(t.Renewal), durationText(t.Retry))
	}
	return b.String()
}

// manualRefusal is what a file with some mistakes is answered.
func manualRefusal() string {
	const file = `[vip]
adress = "198.51.100.166"

[masters]
n1 = "198.51.100.162"
n2 = "198.51.100.162"

[election]
hold = "3"
`
	_, err := Decode("havip.toml", []byte(file))
	return fmt.Sprintf("```toml\n%s```\n\n```\n%s\n```", file, err)
}

const manualHead = `# The configuration file

Generated from the decoder's own table (package ` + "`configs`" + `); a test keeps it so.

The file is ` + "`%s`" + `, TOML, and the same on every master. This is a whole one; everything else has a default:

` + "```toml\n%s```" + `

- Durations are text with a unit: ` + "`\"400ms\"`, `\"4.5s\"`, `\"1m\"`" + `. Paths are absolute.
- An unknown key is refused, not ignored. All problems are reported at once, each with its place and the fix.
- A file without ` + "`vip.address`" + ` is valid and holds nothing: the daemon runs and says so. Only if ` + "`[masters]` or `vip.interface`" + ` is there is the missing address a problem.
- The VIP is no master's address, and one that other machines can reach: not loopback, link-local, multicast or unspecified.
- ` + "`etcd.endpoint` and `health.apiserver`" + ` must not lead to the VIP: whoever holds it would answer.
`

const manualTimes = `
## How the times hang together

What is not set is derived from the election timeout in etcd's manifest:

| etcd's election timeout | hold | takeover | renewal | retry |
|---|---|---|---|---|
%s
- **takeover must outlast hold**, by what the kernel may be late in removing the address of a frozen holder (%s) and 1 %% for clocks that run at different rates. Otherwise two nodes could have the VIP, so the file is refused.
- **hold is at least %s**: the kernel counts an address's lifetime in whole seconds.
- **hold is longer than renewal and retry together**, or one lost request would lose the VIP. Refused otherwise.
- **hold should outlast a change of etcd's leader**, or each of them moves the VIP. This is a warning, given when etcd's manifest has been read: it is safe, but not calm.
- **takeover should leave room for the shortest lifetime**, one whole second, even when etcd takes %s to confirm a renewal; else the VIP leaves the link whenever etcd is that slow. A warning.
- The others wait what the holder's record says, so masters whose files differ are safe.
- **While heartbeats are in force** (detection) the record has longer times: hold 13.4s, takeover 15s, renewal 4s, retry 1s; more where hold is above 9s. What is set here counts for all others.
`

const manualTail = `
## What a refusal looks like

%s
`
