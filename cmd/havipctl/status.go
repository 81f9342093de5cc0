package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

Exit codes: 0 held, and a healthy standby is ready; 1 held but degraded; 4 nobody
holds it, or this node cannot know of anybody.`,
		noArgs, func(cmd *cobra.Command, _ []string) error { return c.status(cmd, &o) })
	o.format = formatFlag(cmd)
	f := cmd.Flags()
	f.BoolVarP(&o.watch, "watch", "w", false, "go on; on a pipe print again only what changed")
	f.DurationVar(&o.interval, "interval", time.Second, "with --watch: between two looks")
	f.DurationVar(&o.wait, "wait", 0, "wait until somebody holds it, at most this long (120s)")
	f.BoolVar(&o.events, "events", false, "show this node's recent transitions too")
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

// watch shows the status again and again until it is interrupted, which is how
// it ends well. A daemon that goes away is waited for, unless it was never there.
func (c *cli) watch(ctx context.Context, client *status.Client, o *statusOptions) error {
	tick := time.NewTicker(o.interval)
	defer tick.Stop()
	w := watcher{cli: c, options: o}
	for first := true; ; first = false {
		d, err := client.Status(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && (first || errors.Is(err, status.ErrPermission)):
			return asked(err)
		case err != nil:
			err = w.lost(err)
		default:
			err = w.next(d)
		}
		if err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// watcher remembers what was shown last.
type watcher struct {
	*cli
	options *statusOptions
	shown   string // digest or error
}

func (w *watcher) next(d *status.Document) error {
	if w.terminal && *w.options.format == text {
		return w.redraw(w.text(d, w.options))
	}
	digest := d.Digest()
	if digest == w.shown {
		return nil
	}
	again := w.shown != ""
	w.shown = digest
	if *w.options.format == jsonText { // one document a line
		b, err := json.Marshal(d)
		if err != nil {
			return fmt.Errorf("encode status: %w", err)
		}
		return w.print(string(b) + "\n")
	}
	block := w.text(d, w.options)
	if again {
		block = "\n" + block
	}
	return w.print(block)
}

// lost says once that the daemon has gone.
func (w *watcher) lost(err error) error {
	if w.terminal && *w.options.format == text {
		return w.redraw("error: " + err.Error() + "\n")
	}
	if w.shown != err.Error() {
		w.shown = err.Error()
		fmt.Fprintln(w.err, "error: "+err.Error())
	}
	return nil
}

// redraw writes over what is on the screen, line by line, so that nothing flickers.
func (w *watcher) redraw(page string) error {
	start := "\x1b[H"
	if w.shown == "" {
		start = "\x1b[2J\x1b[H"
		w.shown = "drawn"
	}
	return w.print(start + strings.ReplaceAll(page, "\n", "\x1b[K\n") + "\x1b[J")
}
