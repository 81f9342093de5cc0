package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"havip/daemon/status"
)

type statusOptions struct {
	format   *format
	watch    bool
	events   bool
	wait     time.Duration
	interval time.Duration
}

func (c *cli) statusCommand() *cobra.Command {
	var o statusOptions
	cmd := command("status", "Show who holds the VIP, and what to do if something is wrong",
		`status shows who holds the VIP, since when and why; every master; what one more
failure would cost; and what to do next.

With --watch it goes on until Ctrl-C. A terminal shows one page that fits it and
counts down what runs out; lines that changed in the last seconds begin with >, and
while the daemon does not answer the last page stays, with its age. Elsewhere there
is a line with its time for everything that changes, and none while nothing does.

Exit codes: 0 held, and a healthy standby is ready; 1 held but degraded; 4 nobody
holds it, or this node cannot know of anybody.`,
		noArgs, func(cmd *cobra.Command, _ []string) error { return c.status(cmd, &o) })
	o.format = formatFlag(cmd)
	f := cmd.Flags()
	f.BoolVarP(&o.watch, "watch", "w", false, "go on, until Ctrl-C; on a pipe print only what changed")
	f.DurationVar(&o.interval, "interval", time.Second, "with --watch: between two looks")
	f.DurationVar(&o.wait, "wait", 0, "wait until somebody holds it, at most this long (120s)")
	f.BoolVar(&o.events, "events", false, "show this node's recent transitions too; the page of --watch always does")
	return cmd
}

func (c *cli) status(cmd *cobra.Command, o *statusOptions) error {
	if o.wait < 0 || o.interval <= 0 {
		return usageError("give a time such as 120s", "--wait and --interval must be above 0")
	}
	if o.watch && o.wait > 0 {
		return usageError("--wait ends once somebody holds the VIP, --watch goes on", "--watch and --wait exclude each other")
	}
	client := c.client()
	defer client.Close()
	if o.watch {
		return c.watch(cmd.Context(), client, o)
	}
	d, err := fetch(cmd.Context(), client, o.wait)
	if err != nil {
		return asked(err)
	}
	if err := c.show(d, o); err != nil {
		return err
	}
	if code := status.ExitCode(d); code != 0 {
		return exitCode(code)
	}
	return nil
}

func fetch(ctx context.Context, client *status.Client, wait time.Duration) (*status.Document, error) {
	if wait > 0 {
		return client.WaitHeld(ctx, wait)
	}
	return client.Status(ctx)
}

func (c *cli) show(d *status.Document, o *statusOptions) error {
	if *o.format == jsonText {
		return c.printJSON(d)
	}
	return c.print(c.text(d, o))
}

func (c *cli) text(d *status.Document, o *statusOptions) string {
	var b strings.Builder
	width := 100
	if n := c.width(); n > 0 {
		width = min(n, width)
	}
	_ = status.Render(&b, d, status.Options{Color: c.color, Width: width, Now: time.Now(), Events: o.events})
	return b.String()
}
