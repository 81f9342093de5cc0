package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"havip/daemon/status"
)

// claimCommand is break-glass. The claim before there is a cluster is init's.
func (c *cli) claimCommand() *cobra.Command {
	var force, yes bool
	why := ""
	var f *format
	cmd := command("claim", "Hold the VIP on this node without etcd: the last resort",
		`claim --force has this node take the VIP although its etcd has no quorum, to get at
the API server of the one master that is left while the cluster is repaired.

Only do it if you know that no other master can have a quorum out of this node's
sight: if the others elect a holder meanwhile, two nodes have the VIP. The daemon
refuses all the same if somebody answers for the VIP, or if nobody on the link
answers at all. The claim lasts an hour, until havipctl release, or until etcd has
a quorum again. claim asks first, and the daemon keeps the reason.`,
		cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
			if !force || why == "" {
				return usageError("havipctl claim --force --reason 'n2 and n3 are gone for good'", "claim needs --force and --reason")
			}
			return c.forceClaim(cmd.Context(), why, yes, *f)
		})
	cmd.Flags().BoolVar(&force, "force", false, "say that you mean it")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().StringVar(&why, "reason", "", "why, for the record")
	f = formatFlag(cmd)
	return cmd
}

func (c *cli) forceClaim(ctx context.Context, why string, yes bool, f format) error {
	if !yes {
		if err := c.confirm("claim", "If another master still has etcd's quorum, two nodes will have the VIP.\n"); err != nil {
			return err
		}
	}
	client := c.client()
	defer client.Close()
	claim, err := client.ForceClaim(ctx, "force-"+time.Now().UTC().Format("20060102T150405"), why)
	switch {
	case err != nil:
		return asked(err)
	case claim.State != status.ClaimHeld:
		return refusedClaim(claim)
	case f == jsonText:
		return c.printJSON(claim)
	}
	left := (time.Duration(claim.LeftMS) * time.Millisecond).Round(time.Minute)
	return c.print(fmt.Sprintf("this node has the VIP for %v, or until havipctl release\n", left))
}

func refusedClaim(c *status.Claim) error {
	var hints []string
	text := "the daemon does not take the VIP"
	for _, x := range c.Findings {
		if x.Blocks {
			text += "; " + x.What
			hints = append(hints, x.Fix)
		}
	}
	return &failure{exitFailed, errors.New(text), hints}
}
