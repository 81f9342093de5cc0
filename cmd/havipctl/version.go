package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build says what this program was built from.
type build struct {
	Schema   int    `json:"schema"`
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified"` // the tree had changes that are not in the commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func thisBuild() build {
	b := build{Schema: 1, Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (b build) String() string {
	commit := ""
	if b.Commit != "" {
		commit = "commit " + b.Commit[:min(len(b.Commit), 12)]
		if b.Modified {
			commit += " with changes"
		}
		commit += ", "
	}
	return fmt.Sprintf("havipctl %s (%s%s, %s)\n", b.Version, commit, b.Go, b.Platform)
}

func (c *cli) versionCommand() *cobra.Command {
	var f *format
	cmd := command("version", "Show the version of havipctl",
		"version shows the version of havipctl and what it was built from. The daemons' versions are in the status.",
		noArgs, func(*cobra.Command, []string) error {
			if *f == jsonText {
				return c.printJSON(thisBuild())
			}
			return c.print(thisBuild().String())
		})
	f = formatFlag(cmd)
	return cmd
}
