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
	"runtime/debug"
	"syscall"
	"time"

	"havip/daemon"
	"havip/daemon/status"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

func run(args []string, stderr *os.File) int {
	fs := flag.NewFlagSet("havipd", flag.ContinueOnError)
	fs.SetOutput(stderr)
	o := daemon.Options{Version: version}
	fs.StringVar(&o.Config, "config", "/etc/havip/havip.toml", "the config `file`")
	fs.StringVar(&o.RunDir, "run-dir", "/run/havip", "`directory` for what the next process of this boot needs")
	fs.StringVar(&o.StateDir, "state-dir", "/var/lib/havip", "`directory` for what survives a reboot")
	fs.StringVar(&o.Socket, "socket", status.SocketPath, "control socket `path`")
	verbose := fs.Bool("debug", false, "log what is no transition too")
	show := fs.Bool("version", false, "print the version and exit")
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(stderr, "error: havipd takes no arguments, got %q\n", fs.Args())
		return 2
	}
	if *show {
		fmt.Println(version)
		return 0
	}
	// Small heaps are collected cheaply; the daemon lives beside an API server.
	debug.SetGCPercent(50)
	buffer := daemon.NewLogBuffer(stderr)
	defer buffer.Close(time.Second)
	o.Log, o.Dropped = logger(buffer, *verbose), buffer.Dropped
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := daemon.Run(ctx, o); err != nil {
		o.Log.Error("havipd ends", "err", err)
		return 1
	}
	return 0
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
