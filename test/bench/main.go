package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"havip/test/cluster"
)

var (
	repeat    = flag.Int("repeat", 20, "how often each fault is put in; 0: only draw the report anew")
	which     = flag.String("faults", "", "only faults that match this regular expression")
	who       = flag.String("contenders", "", "only contenders that match this regular expression")
	scale     = flag.String("scale", "3,5,7", "numbers of masters to measure idle, and a crash, with; empty: none")
	idleFor   = flag.Duration("idle", 30*time.Second, "how long idle is measured")
	out       = flag.String("out", "docs", "directory of the report")
	plainPath = flag.String("plain", "bin/test/plain", "the program in test/bench/plain")
)

func main() {
	cluster.RunPart()
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{ctx: ctx}
	if err := errors.Join(b.run(), b.save()); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// usual is the number of masters that every fault is put into.
const usual = 3

// scaled is the fault that is put in with other numbers of masters too.
const scaled = "crash"

// settling: what is announced anew at growing intervals is out by then.
const settling = 10 * time.Second

// bench is one run.
type bench struct {
	ctx        context.Context
	contenders []contender
	faults     []fault
	masters    []int
	data       Data    // of this run
	failed     []error // trials that gave no figures
}

func (b *bench) run() error {
	if err := b.choose(); err != nil {
		return err
	}
	for round := range *repeat {
		for _, c := range b.contenders {
			if err := b.round(round, c, usual, b.faults); err != nil {
				return err
			}
		}
		if err := b.save(); err != nil {
			return err
		}
	}
	if *repeat > 0 {
		if err := b.scale(); err != nil {
			return err
		}
	}
	return errors.Join(b.failed...)
}

// choose reads what was asked for, and fails before hours have passed where
// something is missing.
func (b *bench) choose() (err error) {
	matching := func(pattern string) func(string) bool {
		re, reErr := regexp.Compile(pattern)
		if reErr != nil {
			err = errors.Join(err, reErr)
			return func(string) bool { return false }
		}
		return re.MatchString
	}
	wanted := matching(*who)
	b.contenders = slices.DeleteFunc(slices.Clone(contenders), func(c contender) bool { return !wanted(c.name) })
	wanted = matching(*which)
	b.faults = slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return !wanted(f.name) })
	for n := range strings.FieldsFuncSeq(*scale, func(r rune) bool { return r == ',' }) {
		m, convErr := strconv.Atoi(n)
		if convErr != nil || m < 3 {
			return fmt.Errorf("read numbers of masters: %q is no number from 3 on", n)
		}
		b.masters = append(b.masters, m)
	}
	if err != nil {
		return err
	}
	if len(b.contenders) == 0 || len(b.faults) == 0 && len(b.masters) == 0 {
		return fmt.Errorf("nothing to do: no contender matches %q, or no fault %q", *who, *which)
	}
	for _, c := range b.contenders {
		opts := cluster.Options{Masters: usual}
		err = errors.Join(err, c.prepare(&opts))
	}
	return err
}

// round puts every fault into one contender's cluster once.
func (b *bench) round(number int, c contender, masters int, faults []fault) error {
	var s *stage
	defer func() {
		if s != nil {
			b.fail(s.c.Close())
		}
	}()
	for _, f := range faults {
		if b.ctx.Err() != nil {
			return b.ctx.Err()
		}
		if s == nil {
			var err error
			if s, err = open(b.ctx, c, masters, true); err != nil {
				b.fail(fmt.Errorf("%s with %d masters: %w", c.title, masters, err))
				s = nil
				return nil
			}
		}
		t, err := s.play(f)
		if err != nil {
			b.fail(fmt.Errorf("%s, %s: %w", c.title, f.title, errors.Join(err, s.tell())))
			b.fail(s.c.Close()) // what is left of it is no fair beginning
			s = nil
			continue
		}
		b.data.Trials = append(b.data.Trials, t)
		b.fail(kept(c, t))
		fmt.Printf("%d/%d %-16s %-12s clients %7.1f%s, healed %7.1f, nobody %7.1f, two %7.1f, on the wire %7.1f, moves %d, noise %5.1f, load %s\n",
			number+1, masters, c.name, f.name, t.Outage, map[bool]string{true: " and more"}[t.Open], t.Heal, t.Nobody, t.Double, t.Wire, t.Moves, t.Noise, t.Load)
	}
	return nil
}

// scale measures idle, and a crash, with each number of masters.
func (b *bench) scale() error {
	crash := faults[slices.IndexFunc(faults, func(f fault) bool { return f.name == scaled })]
	for _, masters := range b.masters {
		for _, c := range append([]contender{nobody}, b.contenders...) {
			i, err := idle(b.ctx, c, masters, settling, *idleFor)
			if b.ctx.Err() != nil {
				return b.ctx.Err()
			}
			if err != nil {
				b.fail(fmt.Errorf("%s idle with %d masters: %w", c.title, masters, err))
				continue
			}
			b.data.Idles = append(b.data.Idles, i)
			fmt.Printf("%d %-16s idle: %.2f %% and %.2f %% of a core, %.1f MiB, %.1f packets/s, %.1f requests/s, %.2f writes/s, load %s\n",
				masters, c.name, i.Holder, i.Standby, i.Memory, i.Packets, i.Requests, i.Writes, i.Load)
		}
		if masters == usual {
			continue
		}
		for round := range *repeat {
			for _, c := range b.contenders {
				if err := b.round(round, c, masters, []fault{crash}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// kept is an error if a contender broke its promise.
func kept(c contender, t Trial) error {
	if !c.alone || t.Wire == 0 {
		return nil
	}
	return fmt.Errorf("%s, %s: two nodes answered for the address for %v ms", c.title, t.Fault, t.Wire)
}

// fail notes what went wrong; the run goes on.
func (b *bench) fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAILED:", err)
		b.failed = append(b.failed, err)
	}
}

// save puts what was measured in the place of what an earlier run measured of
// the same.
func (b *bench) save() error {
	file := func(ending string) string { return filepath.Join(*out, "benchmark."+ending) }
	before, err := load(file("jsonl"))
	if err != nil {
		return err
	}
	data := Merge(before, b.data)
	if len(data.Trials)+len(data.Idles) == 0 {
		return nil
	}
	lines, err := data.Encode()
	if err != nil {
		return err
	}
	picture, err := Draw(data.Trials)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(file("jsonl"), lines, 0o644),
		os.WriteFile(file("md"), []byte(Report(data)), 0o644),
		os.WriteFile(file("png"), picture, 0o644),
	)
}
