package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"havip/daemon/status"
)

// changing makes a command that asks the daemon for a change.
func (c *cli) changing(use, short, long string, do func(ctx context.Context, client *status.Client) (*status.Change, error)) *cobra.Command {
	var f *format
	cmd := command(use, short, long, noArgs, func(cmd *cobra.Command, _ []string) error {
		client := c.client()
		defer client.Close()
		change, err := do(cmd.Context(), client)
		if err != nil {
			return asked(err)
		}
		if *f == jsonText {
			return c.printJSON(change)
		}
		return c.print(change.Message + "\n")
	})
	f = formatFlag(cmd)
	return cmd
}

func (c *cli) handoverCommand() *cobra.Command {
	to := ""
	cmd := c.changing("handover", "Give the VIP to another master",
		"handover makes the holder give the VIP to another master, without the wait of a failover.",
		func(ctx context.Context, client *status.Client) (*status.Change, error) {
			return client.Handover(ctx, to)
		})
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return usageError("havipctl handover --to "+args[0], "the master to hand over to is named with --to")
		}
		return noArgs(cmd, args)
	}
	cmd.Flags().StringVar(&to, "to", "", "name of the master (default: the one that ranks first)")
	_ = cmd.RegisterFlagCompletionFunc("to", c.completeMaster)
	return cmd
}

// completeMaster offers the names of the other masters to the shell.
func (c *cli) completeMaster(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	client := c.client()
	defer client.Close()
	d, err := client.Status(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, m := range d.Masters {
		if m.Role != status.RoleHolder {
			names = append(names, m.Name+"\t"+string(m.Role))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (c *cli) drainCommand() *cobra.Command {
	shutdown := false
	cmd := c.changing("drain", "Keep the VIP away from this node until undrain",
		`drain gives the VIP away if this node holds it, and keeps the node from taking it
again until undrain, also after a reboot: for maintenance.

With --shutdown it lasts only until havipd starts again, and the command returns
when another master has the VIP. havip-shutdown.service uses it on nodes that go
down without logind.`,
		func(ctx context.Context, client *status.Client) (*status.Change, error) {
			if shutdown {
				return client.Shutdown(ctx)
			}
			return client.Drain(ctx)
		})
	cmd.Flags().BoolVar(&shutdown, "shutdown", false, "only until havipd starts again")
	return cmd
}

func (c *cli) undrainCommand() *cobra.Command {
	return c.changing("undrain", "Let this node hold the VIP again",
		"undrain ends drain, and drain --shutdown.",
		func(ctx context.Context, client *status.Client) (*status.Change, error) { return client.Undrain(ctx) })
}

func (c *cli) keyCommand() *cobra.Command {
	return group("key", "Renew the secret that the masters' daemons sign heartbeats with", c.changing("rotate", "Have heartbeats signed with a new key",
		`rotate makes a new key in etcd, which every master takes up within milliseconds; once
for the whole cluster is enough. What is signed with the key before it is accepted
until the next rotation, so nothing is lost. When somebody may know the key, rotate
twice, a quarter of a minute apart.`,
		func(ctx context.Context, client *status.Client) (*status.Change, error) { return client.RotateKey(ctx) }))
}

func (c *cli) releaseCommand() *cobra.Command {
	var yes, force bool
	cmd := c.changing("release", "Give the record up: the holder lets go, a broken record is cleared",
		`release makes this node let the VIP go if it holds it, and clears a record in etcd
that no node obeys. The masters then elect anew. It asks first.`,
		func(ctx context.Context, client *status.Client) (*status.Change, error) {
			if !yes {
				if err := c.confirmRelease(ctx, client); err != nil {
					return nil, err
				}
			}
			return client.Release(ctx, force)
		})
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&force, "force", false, "also when a sound record names another node")
	return cmd
}

// confirmRelease shows what would be released and asks.
func (c *cli) confirmRelease(ctx context.Context, client *status.Client) error {
	if !c.asking {
		return c.confirm("release", "")
	}
	d, err := client.Status(ctx)
	if err != nil {
		return err
	}
	return c.confirm("release", firstLine(d)+"\n")
}

// confirm asks before what cannot be undone. Only y or yes counts.
func (c *cli) confirm(what, about string) error {
	if !c.asking {
		return usageError("say it beforehand: havipctl "+what+" --yes", "%s asks first, and there is no terminal to ask on", what)
	}
	fmt.Fprintf(c.err, "%s%s it? [y/N] ", about, what)
	line, err := bufio.NewReader(c.in).ReadString('\n')
	if err == nil || line != "" {
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return nil
		}
	}
	return &failure{code: exitFailed, err: fmt.Errorf("%s: not confirmed, nothing was done", what)}
}

func firstLine(d *status.Document) string {
	var b strings.Builder
	_ = status.Render(&b, d, status.Options{})
	line, _, _ := strings.Cut(b.String(), "\n")
	return line
}
