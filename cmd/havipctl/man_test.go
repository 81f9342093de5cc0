package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write the man page anew")

// The packages' man page is made from what cobra knows.
func TestManPage(t *testing.T) {
	const path = "../../packaging/man/havipctl.8.md"
	got := manPage((&cli{}).root())
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./cmd/havipctl -run TestManPage -update writes it)", err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got; go test ./cmd/havipctl -run TestManPage -update if it is meant):\n%s", path, d)
	}
}

func manPage(root *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%% HAVIPCTL 8 \"\" \"havip\" \"havip\"\n\n# NAME\n\nhavipctl - %s\n\n# SYNOPSIS\n\n**havipctl** *command* [*options*]\n\n# DESCRIPTION\n\n%s\n\n# COMMANDS\n",
		lowerFirst(root.Short), root.Long)
	manCommands(&b, root)
	b.WriteString("\n# OPTIONS OF EVERY COMMAND\n")
	manFlags(&b, root.PersistentFlags())
	b.WriteString(manTail)
	return b.String()
}

func manCommands(b *strings.Builder, parent *cobra.Command) {
	for _, c := range parent.Commands() {
		if !c.IsAvailableCommand() || c.Name() == "completion" || c.Name() == "help" {
			continue
		}
		if c.HasSubCommands() {
			manCommands(b, c)
			continue
		}
		use := strings.TrimPrefix(c.UseLine(), "havipctl ")
		fmt.Fprintf(b, "\n## %s\n\n%s\n", escape(use), escape(c.Long))
		manFlags(b, c.LocalNonPersistentFlags())
		if c.Example != "" {
			fmt.Fprintf(b, "\nExample:\n\n%s\n", indent(c.Example))
		}
	}
}

func manFlags(b *strings.Builder, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		name, usage := pflag.UnquoteUsage(f)
		text := "**--" + f.Name + "**"
		if f.Shorthand != "" {
			text = "**-" + f.Shorthand + "**, " + text
		}
		if name != "" {
			text += " *" + name + "*"
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0s" {
			usage += " (default: " + f.DefValue + ")"
		}
		fmt.Fprintf(b, "\n%s\n:   %s\n", text, escape(usage))
	})
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// escape keeps what looks like markup from being any.
func escape(s string) string {
	return strings.NewReplacer("*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]").Replace(s)
}

func indent(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = "    " + strings.TrimPrefix(l, "  ")
	}
	return strings.Join(lines, "\n")
}

const manTail = `
# FILES

**/etc/havip/havip.toml**
:   The config file, see **havip.toml**(5).

**/run/havip/havipd.sock**
:   The daemon's socket. Root and the group havip may ask, only root may change anything.

# SEE ALSO

**havipd**(8), **havip.toml**(5)
`
