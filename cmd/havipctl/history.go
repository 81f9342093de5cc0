package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"havip/daemon/status"
)

// historyShown is how many entries are shown unless -n says otherwise.
const historyShown = 20

func (c *cli) historyCommand() *cobra.Command {
	var f *format
	since, number := "", historyShown
	cmd := command("history", "Show how the VIP moved, when and why, and how long nobody held it",
		`history shows the last moves of the VIP, the newest last: when, from where to
where, how long nobody held it, and why. Any master tells the same, also of moves
in which it had no part; what only a node that is down knows is added when it is
back. While etcd does not answer it shows what this node last knew, and says so.

Times are of this machine's zone. After a crash nobody can tell for how long the
node still served, so the gap is "up to" the time since its last renewal. A gap
that cannot be known is "unknown", never a guess; "-" stands where there is none.`,
		noArgs, func(cmd *cobra.Command, _ []string) error { return c.history(cmd, since, number, *f) })
	f = formatFlag(cmd)
	cmd.Flags().StringVar(&since, "since", "", "nothing older: 24h, or 2026-11-25T03:00")
	cmd.Flags().IntVarP(&number, "number", "n", historyShown, "the newest so many; 0, or --since alone: all that are kept")
	return cmd
}

func (c *cli) history(cmd *cobra.Command, since string, number int, f format) error {
	var from time.Time
	if since != "" {
		t, err := status.ParseSince(since, time.Now(), time.Local)
		if err != nil {
			return usageError("havipctl history --since 24h", "--since: %v", err)
		}
		from = t
	}
	if number < 0 {
		return usageError("0 shows all", "--number must not be negative")
	}
	if since != "" && !cmd.Flags().Changed("number") {
		number = 0
	}
	client := c.client()
	defer client.Close()
	h, err := client.History(cmd.Context(), from, number)
	if err != nil {
		return asked(err)
	}
	if f == jsonText {
		return c.printJSON(h)
	}
	var b strings.Builder
	width := 120
	if n := c.width(); n > 0 {
		width = n
	}
	_ = status.RenderHistory(&b, h, status.Options{Color: c.color, Width: width, Now: time.Now()})
	return c.print(b.String())
}
