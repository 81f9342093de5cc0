// Command demo shows havip's main job on real parts: three masters, one
// address, a power cut, and how long clients noticed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"havip/test/cluster"
)

func main() {
	cluster.RunPart()
	os.Exit(run())
}

// run plays the demo and returns the exit code: 0 when everything was as
// promised, 1 when not, 130 when interrupted.
func run() int {
	stay := flag.Bool("stay", false, "leave the cluster running at the end, until Ctrl-C")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	s := &story{ctx: ctx, out: os.Stdout, began: cluster.Now(), stay: *stay}
	err := s.play()
	interrupted := err != nil && ctx.Err() != nil
	stop() // a second Ctrl-C ends the tidying up at once; the kernel does the rest
	closeErr := s.close()
	switch {
	case interrupted && closeErr == nil:
		s.say("interrupted; everything is tidied up")
		return 130
	case err != nil || closeErr != nil:
		fmt.Fprintln(os.Stderr, "error:", errors.Join(err, closeErr))
		return 1
	}
	s.say("tidied up: no process, namespace or file of the demo is left")
	return s.verdict()
}
