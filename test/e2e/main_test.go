package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"havip/test/adopt"
	"havip/test/cluster"
	"havip/test/lab"
	"havip/test/measure"
)

var (
	repeat   = flag.Int("repeat", 1, "how often each case is played")
	report   = flag.String("report", "", "file to write the measurements to, as markdown")
	binaries = flag.String("binaries", filepath.Join(cluster.CacheDir(), "k8s", "v1.34.4"), "directory with Kubernetes, as test/kubernetes.sh makes it")
	upgrade  = flag.String("next", filepath.Join(cluster.CacheDir(), "k8s", "v1.35.4"), "the same of the next minor version")
	deb      = flag.String("package", "../../bin/test/e2e", "directory with the package")
)

// open are the labs that exist, for an interrupt.
var open = struct {
	sync.Mutex
	labs map[*Masters]bool
}{labs: map[*Masters]bool{}}

func TestMain(m *testing.M) {
	lab.RunPart(adopt.Parts())
	flag.Parse()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		signal.Stop(interrupted) // a second one ends the tidying up; the kernel and the next run do the rest
		closeAll()
		os.Exit(130)
	}()
	code := m.Run()
	closeAll()
	if err := finish(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		code = 1
	}
	os.Exit(code)
}

// rows and facts are what was measured.
var (
	rows  []*Row
	facts Facts
)

type figure = Figure

func note(name string, figures ...figure) { rows = Note(rows, name, figures...) }

var names atomic.Int64

// uniqueName is a name for an object.
func uniqueName(of string) string { return fmt.Sprintf("%s-%d-%d", of, os.Getpid(), names.Add(1)) }

func finish() error {
	if *report == "" || len(rows) == 0 {
		return nil
	}
	facts.System, facts.Load = measure.System(), measure.Load()
	before, err := os.ReadFile(*report)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.Create(*report)
	if err != nil {
		return err
	}
	return errors.Join(WriteReport(f, filepath.Base(*binaries), facts, rows, string(before)), f.Close())
}

func closeAll() {
	open.Lock()
	defer open.Unlock()
	for m := range open.labs {
		if err := m.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
		}
	}
	clear(open.labs)
}

// fresh makes machines, and does not let an interrupt come between.
func fresh(ctx context.Context, s Setup) (*Masters, error) {
	open.Lock()
	defer open.Unlock()
	s.Binaries, s.Package = *binaries, *deb
	m, err := New(ctx, s)
	if err == nil {
		open.labs[m] = true
	}
	return m, err
}

func discard(m *Masters) error {
	open.Lock()
	delete(open.labs, m)
	open.Unlock()
	return m.Close()
}
