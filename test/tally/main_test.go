package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const good = `{"Action":"start","Package":"havip/a"}
{"Action":"output","Package":"havip/a","Test":"TestX","Output":"chatter\n"}
{"Action":"pass","Package":"havip/a","Test":"TestX","Elapsed":0.1}
{"Action":"output","Package":"havip/a","Test":"TestY","Output":"--- SKIP: TestY\n"}
{"Action":"skip","Package":"havip/a","Test":"TestY","Elapsed":0}
{"Action":"output","Package":"havip/a","Output":"ok\n"}
{"Action":"pass","Package":"havip/a","Elapsed":1.25}
{"Action":"skip","Package":"havip/none","Elapsed":0}
`

const bad = `go: downloading something
{"Action":"pass","Package":"havip/a","Test":"TestX"}
{"Action":"output","Package":"havip/a","Test":"TestZ","Output":"    z_test.go:9: wrong\n"}
{"Action":"fail","Package":"havip/a","Test":"TestZ"}
{"Action":"fail","Package":"havip/a","Elapsed":2}
{"ImportPath":"havip/b","Action":"build-output","Output":"b.go:1: syntax error\n"}
{"ImportPath":"havip/b","Action":"build-fail"}
{"Action":"output","Package":"havip/b","Output":"FAIL havip/b [build failed]\n"}
{"Action":"fail","Package":"havip/b","Elapsed":0}
{"Action":"output","Package":"havip/c","Test":"TestHang","Output":"panic: test timed out\n"}
{"Action":"fail","Package":"havip/c","Elapsed":9}
`

func TestRun(t *testing.T) {
	tests := []struct {
		name, in, out, err string
	}{
		{"good", good, "--- SKIP: TestY\nok    havip/a  1.2 s\n?     havip/none  0.0 s\n", ""},
		{
			"bad", bad, `go: downloading something
    z_test.go:9: wrong
FAIL  havip/a  2.0 s
b.go:1: syntax error
FAIL havip/b [build failed]
FAIL  havip/b  0.0 s
panic: test timed out
FAIL  havip/c  9.0 s
`, "unit: 1 tests and 2 packages failed",
		},
		{"nothing", "", "", "unit: no test ran"},
		{"one", `{"Action":"fail","Package":"p","Test":"T"}` + "\n", "", "unit: 1 of 1 tests failed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			err := run(strings.NewReader(tt.in), &out, "", "unit", "")
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.err {
				t.Errorf("run = %q, want %q", got, tt.err)
			}
			if diff := cmp.Diff(tt.out, out.String()); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClosingLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tally")
	var out bytes.Buffer
	if err := run(strings.NewReader(good), &out, file, "unit", ""); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := run(nil, &out, "", "", file); err != nil {
		t.Errorf("close of what passed = %v", err)
	}
	want := "unit             1 passed  0 failed  1 skipped\n1 passed, 0 failed, 1 skipped\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("closing (-want +got):\n%s", diff)
	}
	_ = run(strings.NewReader(bad), &out, file, "faults", "")
	out.Reset()
	if err := run(nil, &out, "", "", file); err == nil {
		t.Error("close of what failed = nil, want an error")
	}
	if !strings.HasSuffix(out.String(), "\n2 passed, 3 failed, 1 skipped\n") {
		t.Errorf("closing = %q", out.String())
	}
	if err := run(nil, &out, "", "", file+".absent"); err == nil {
		t.Error("close of an absent file = nil, want an error")
	}
}
