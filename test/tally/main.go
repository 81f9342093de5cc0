// Command tally reads what `go test -json` writes, shows a line per package and
// everything about what failed, and counts tests over several such runs.
//
//	go test -json ./... | tally -into FILE -label unit
//	tally -close FILE
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	into := flag.String("into", "", "add the counts of this run to the file")
	label := flag.String("label", "tests", "what this run is called in the closing line")
	closing := flag.String("close", "", "print the closing line of the runs counted in the file")
	flag.Parse()
	err := run(os.Stdin, os.Stdout, *into, *label, *closing)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer, into, label, closing string) error {
	if closing != "" {
		return closeRuns(out, closing)
	}
	t := newTally(out)
	if err := t.read(in); err != nil {
		return err
	}
	if into != "" {
		if err := t.save(into, label); err != nil {
			return err
		}
	}
	if t.failed() {
		return fmt.Errorf("%s: %s", label, t.summary())
	}
	return nil
}

// event is one line of `go test -json` (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build-output
	Test       string
	Elapsed    float64 // seconds
	Output     string
}

// tally counts what a run of `go test -json` did.
type tally struct {
	out     io.Writer
	passed  int
	fails   int
	skipped int
	broken  int // packages that failed without a failing test: build errors, panics, time-outs
	output  map[string]*strings.Builder
	failing map[string]int // failed tests of a package
}

func newTally(out io.Writer) *tally {
	return &tally{out: out, output: map[string]*strings.Builder{}, failing: map[string]int{}}
}

func (t *tally) read(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			// Not JSON: go itself said something.
			fmt.Fprintln(t.out, lines.Text())
			continue
		}
		t.add(e)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read test output: %w", err)
	}
	return nil
}

func (t *tally) add(e event) {
	switch e.Action {
	case "output":
		t.keep(e)
	case "build-output":
		fmt.Fprint(t.out, e.Output)
	case "pass", "skip", "fail":
		if e.Test == "" {
			t.endPackage(e)
			return
		}
		t.endTest(e)
	}
}

func (t *tally) keep(e event) {
	key := e.Package + " " + e.Test
	if t.output[key] == nil {
		t.output[key] = &strings.Builder{}
	}
	t.output[key].WriteString(e.Output)
}

// endTest drops the output of what passed and shows that of what did not.
func (t *tally) endTest(e event) {
	switch e.Action {
	case "pass":
		t.passed++
	case "skip":
		t.skipped++
		t.show(e)
	case "fail":
		t.fails++
		t.failing[e.Package]++
		t.show(e)
	}
	delete(t.output, e.Package+" "+e.Test)
}

func (t *tally) endPackage(e event) {
	word := "ok  "
	switch {
	case e.Action == "fail":
		word = "FAIL"
		if t.failing[e.Package] == 0 {
			t.broken++
		}
		t.show(e) // a panic's trace is output of the package or of the running test
		t.showUnfinished(e.Package)
	case e.Action == "skip":
		word = "?   " // no test files
	}
	delete(t.output, e.Package+" ")
	fmt.Fprintf(t.out, "%s  %s  %.1f s\n", word, e.Package, e.Elapsed)
}

func (t *tally) show(e event) {
	if b := t.output[e.Package+" "+e.Test]; b != nil {
		fmt.Fprint(t.out, b.String())
	}
}

// showUnfinished shows what tests said that never ended.
func (t *tally) showUnfinished(pkg string) {
	for key, b := range t.output {
		if p, test, _ := strings.Cut(key, " "); p == pkg && test != "" {
			fmt.Fprint(t.out, b.String())
			delete(t.output, key)
		}
	}
}

func (t *tally) failed() bool { return t.fails+t.broken > 0 || t.passed == 0 }

func (t *tally) summary() string {
	switch {
	case t.broken > 0:
		return fmt.Sprintf("%d tests and %d packages failed", t.fails, t.broken)
	case t.fails > 0:
		return fmt.Sprintf("%d of %d tests failed", t.fails, t.passed+t.fails)
	}
	return "no test ran"
}

// save adds this run to the file.
func (t *tally) save(path, label string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open tally: %w", err)
	}
	_, err = fmt.Fprintf(f, "%s %d %d %d\n", label, t.passed, t.fails+t.broken, t.skipped)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("write tally %s: %w", path, err)
	}
	return nil
}

// closeRuns prints what each run counted, and the sum alone on the last line.
func closeRuns(out io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open tally: %w", err)
	}
	defer f.Close()
	var passed, failed, skipped int
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var label string
		var p, n, s int
		if _, err := fmt.Sscanf(lines.Text(), "%s %d %d %d", &label, &p, &n, &s); err != nil {
			return fmt.Errorf("read tally %s: %q: %w", path, lines.Text(), err)
		}
		fmt.Fprintf(out, "%-12s %5d passed  %d failed  %d skipped\n", label, p, n, s)
		passed, failed, skipped = passed+p, failed+n, skipped+s
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read tally %s: %w", path, err)
	}
	fmt.Fprintf(out, "%d passed, %d failed", passed, failed)
	if skipped > 0 {
		fmt.Fprintf(out, ", %d skipped", skipped)
	}
	fmt.Fprintln(out)
	if failed > 0 || passed == 0 {
		return fmt.Errorf("%d failed", failed)
	}
	return nil
}
