// Command havipd holds a virtual IP for a kubeadm control plane.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"havip/daemon"
	"havip/daemon/status"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

// settings are what the command line says.
type settings struct {
	daemon.Options
	verbose, show, unfence bool
}

func newFlags(s *settings, out io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet("havipd", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.StringVar(&s.Config, "config", "/etc/havip/havip.toml", "the config `file`")
	fs.StringVar(&s.RunDir, "run-dir", "/run/havip", "`directory` for what the next process of this boot needs")
	fs.StringVar(&s.StateDir, "state-dir", "/var/lib/havip", "`directory` for what survives a reboot")
	fs.StringVar(&s.FenceDir, "fence-dir", daemon.FenceDir, "`directory` on a BPF file system for the fence of the address")
	fs.StringVar(&s.Socket, "socket", status.SocketPath, "control socket `path`")
	fs.BoolVar(&s.verbose, "debug", false, "log what is no transition too")
	fs.BoolVar(&s.unfence, "unfence", false, "remove the fence that a havipd left, and exit")
	fs.BoolVar(&s.show, "version", false, "print the version and exit")
	return fs
}

func run(args []string, stderr *os.File) int {
	s := settings{Options: daemon.Options{Version: version}}
	fs := newFlags(&s, stderr)
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(stderr, "error: havipd takes no arguments, got %q\n", fs.Args())
		return 2
	}
	if s.show {
		fmt.Println(version)
		return 0
	}
	if s.unfence {
		if err := daemon.RemoveFence(s.RunDir, s.FenceDir); err != nil {
			fmt.Fprintln(stderr, "error:", err)
			return 1
		}
		return 0
	}
	beSmall()
	buffer := daemon.NewLogBuffer(stderr)
	defer buffer.Close(time.Second)
	o := s.Options
	o.Log, o.Dropped = logger(buffer, s.verbose), buffer.Dropped
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := daemon.Run(ctx, o); err != nil {
		o.Log.Error("havipd ends", "err", err)
		return 1
	}
	return 0
}

// beSmall makes the runtime use little: the daemon lives beside an API server.
//
// It computes on one processor at a time. A second one is looked at, and a thread is
// woken for it, whenever something happens: with beats every 50 ms that cost a
// third and more of all at idle. What computes keeps the loop waiting: while the
// status was asked for without a pause beside two programs that computed, the largest
// span between two beats was 53.5 ms with one and 86 ms with two, at the unit's
// Nice=-10; without it 110 ms with one (measured on two processors). A call that
// blocks does not keep it waiting: the runtime takes the processor away from it,
// within half a millisecond (measured).
//
// Setting the number also ends the runtime's own look at it, once a second.
func beSmall() {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(50) // a small heap is collected cheaply
}

// logger writes one line per event, without a time where the journal adds its own.
func logger(w io.Writer, verbose bool) *slog.Logger {
	opts := &slog.HandlerOptions{}
	if verbose {
		opts.Level = slog.LevelDebug
	}
	if os.Getenv("JOURNAL_STREAM") != "" {
		opts.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
