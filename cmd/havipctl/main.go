package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"havip/kubeadm"
)

// version is set by -ldflags "-X main.version=…".
var version = "dev"

func main() { os.Exit(run(kubeadm.Node(), kubeadm.StateDir)) }

// run builds the command line from the process it runs in and carries it out.
func run(node kubeadm.System, state string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := &cli{
		in:       os.Stdin,
		out:      os.Stdout,
		err:      os.Stderr,
		asking:   isTerminal(os.Stdin),
		terminal: isTerminal(os.Stdout),
		color:    isTerminal(os.Stdout) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		width:    func() int { return columns(os.Stdout) },

		errTerminal: isTerminal(os.Stderr),
		node:        node,
		state:       state,
	}
	return c.run(ctx, os.Args[1:])
}
