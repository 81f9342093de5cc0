package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"havipctl": main})
}

// TestScripts runs the real main against a daemon that serves the documents of
// daemon/status/testdata. The commands added to testscript's own:
//
//	daemon NAME…         serve these documents on $SOCK, one for each status call,
//	                     the last one again and again; also !hang, !drop, !schema, !garbage
//	answer PATH CODE TEXT  what a changing call answers
//	asked TEXT           the last changing call was this
//	served N             wait until N status calls were answered
//	stopdaemon           end it; the socket goes with it
//	exit CODE CMD ARG…   run a command that ends with this exit code
//	nocaps CODE CMD ARG… the same without any capability
func TestScripts(t *testing.T) {
	docs, err := filepath.Abs("../../daemon/status/testdata")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			// The work directory's path may be too long for a unix socket (108 bytes).
			dir, err := os.MkdirTemp("", "havip")
			if err != nil {
				return err
			}
			env.Defer(func() { os.RemoveAll(dir) })
			sock := filepath.Join(dir, "sock")
			f := newFake(docs, sock)
			env.Defer(f.stop)
			env.Values[fakeKey{}] = f
			env.Setenv("SOCK", sock)
			env.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"daemon":     func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(fakeOf(ts).start(args)) },
			"stopdaemon": func(ts *testscript.TestScript, _ bool, _ []string) { fakeOf(ts).stop() },
			"answer":     answerCommand,
			"asked":      askedCommand,
			"served":     servedCommand,
			"exit":       func(ts *testscript.TestScript, _ bool, args []string) { exitCommand(ts, args[0], args[1:]) },
			"nocaps":     nocapsCommand,
		},
	})
}

func answerCommand(ts *testscript.TestScript, _ bool, args []string) {
	code, err := strconv.Atoi(args[1])
	ts.Check(err)
	fakeOf(ts).answer("/v1/"+args[0], code, args[2])
}

func askedCommand(ts *testscript.TestScript, _ bool, args []string) {
	if got := fakeOf(ts).lastChange(); got != args[0] {
		ts.Fatalf("asked %q, not %q", got, args[0])
	}
}

func servedCommand(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	if !fakeOf(ts).waitServed(n, 20*time.Second) {
		ts.Fatalf("less than %d status calls in 20 s", n)
	}
}

func exitCommand(ts *testscript.TestScript, code string, args []string) {
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[0], args[1:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != code {
		ts.Fatalf("exit code %d, not %s", got, code)
	}
}

// nocapsCommand makes root obey file modes as everybody does.
func nocapsCommand(ts *testscript.TestScript, _ bool, args []string) {
	cmd := args[1:]
	if os.Geteuid() == 0 {
		cmd = append([]string{"setpriv", "--bounding-set=-all", "--inh-caps=-all"}, cmd...)
	}
	exitCommand(ts, args[0], cmd)
}
