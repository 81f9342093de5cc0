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
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	drawable := isTerminal(os.Stdout) && os.Getenv("TERM") != "dumb"
	c := &cli{
		in:     os.Stdin,
		out:    os.Stdout,
		err:    os.Stderr,
		asking: isTerminal(os.Stdin),
		color:  drawable && os.Getenv("NO_COLOR") == "",
		width:  func() int { columns, _ := size(os.Stdout); return columns },
		face: face{
			drawable: drawable,
			height:   func() int { _, rows := size(os.Stdout); return rows },
			resized:  resized,
			still:    func() func() { return stillKeys(os.Stdout) },
			gone:     func() bool { return readerGone(os.Stdout) },
		},

		errTerminal: isTerminal(os.Stderr),
		node:        node,
		state:       state,
	}
	return c.run(ctx, os.Args[1:])
}
