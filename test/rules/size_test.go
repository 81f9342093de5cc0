package rules

import (
	"os"
	"path/filepath"
	"testing"
)

// sizes bound what is installed, in MiB. A program that suddenly has two more
// has most likely lost the linker's removal of unused methods: one use of
// reflect's Method, or of MethodByName with a name that is not constant, keeps
// every exported method of every type. With Go 1.26 the constant "Methods" of
// protobuf before 1.36.12 did so too (reflect.Value has a method of that name
// now): 2.2 MiB of havipd. The linker's -dumpdep shows who it is.
//
// 0.6 MiB of havipd's 14.1 are Prometheus' library, without promhttp: that one
// brings three compressors.
var sizes = map[string]int64{"havipd": 15, "havipctl": 12}

func TestSizes(t *testing.T) {
	for name, limit := range sizes {
		path := filepath.Join("..", "..", "bin", name)
		fi, err := os.Stat(path)
		if err != nil {
			t.Errorf("%v: run make build", err)
			continue
		}
		if fi.Size() > limit<<20 {
			t.Errorf("%s has %.1f MiB, more than %d", path, float64(fi.Size())/(1<<20), limit)
		}
	}
}
