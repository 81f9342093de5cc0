package kubeadm

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStore(t *testing.T) {
	s := Store{filepath.Join(t.TempDir(), "a", "b")}
	if j, err := s.Load(); j != nil || err != nil {
		t.Fatalf("nothing: %+v, %v", j, err)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := &Journal{Schema: 1, Command: "init", Run: "r", Node: "n1", Kubeadm: "v1.34.4", Config: "c", Begun: now,
		Steps: []Record{{Name: "claim", State: StepDone, Begun: now, Ended: &now, Tries: 1}}}
	want.put(Record{Name: "certs", State: StepBegun, Begun: now, Tries: 1})
	want.put(Record{Name: "certs", State: StepFailed, Begun: now, Tries: 2, Error: "no"})
	if err := s.Save(want); err != nil {
		t.Fatal(err)
	}
	got, err := s.Load()
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if err := errors.Join(s.SaveSecrets(someSecrets), s.Write(s.ConfigFile("init"), []byte("x"))); err != nil {
		t.Fatal(err)
	}
	if kept, ok, err := s.Secrets(); kept != someSecrets || !ok || err != nil {
		t.Errorf("%+v, %v, %v", kept, ok, err)
	}
	if err := s.Clear(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(s.Dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if info, err := os.Stat(s.Dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestTouched(t *testing.T) {
	for _, tt := range []struct {
		steps []string
		want  bool
	}{{nil, false}, {[]string{"claim", "preflight"}, false}, {[]string{"claim", "preflight", "certs"}, true}} {
		var j Journal
		for _, name := range tt.steps {
			j.put(Record{Name: name, State: StepFailed})
		}
		if j.Touched() != tt.want {
			t.Errorf("%v: touched %v", tt.steps, j.Touched())
		}
	}
}

func TestUnreadableJournals(t *testing.T) {
	s := Store{t.TempDir()}
	for content, want := range map[string]string{"{": "/journal.json: unexpected end of JSON input: the file is damaged", `{"schema": 2}`: "it is of schema 2, this havipctl knows 1"} {
		if err := s.Write(s.journal(), []byte(content)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Load(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", content, err, want)
		}
	}
	if err := os.Remove(s.journal()); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.journal(), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory: %v", err)
	}
}

// TestLockOutlives: a program that inherited the lock has it until it ends, also
// when the one that took it is gone.
func TestLockOutlives(t *testing.T) {
	s := Store{t.TempDir()}
	lock, err := s.Lock(nil, func() { t.Error("waits for nobody") })
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("/bin/cat") // until its stdin ends
	child.ExtraFiles = []*os.File{lock}
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lock.Close()

	ctx, cancel := context.WithCancel(t.Context())
	if f, err := s.Lock(ctx.Done(), cancel); err == nil {
		f.Close()
		t.Fatal("the lock is free")
	}
	waited := false
	lock, err = s.Lock(t.Context().Done(), func() {
		waited = true
		stdin.Close()
	})
	if err != nil || !waited {
		t.Fatalf("after its end: %v, waited %v", err, waited)
	}
	lock.Close()
	if err := child.Wait(); err != nil {
		t.Error(err)
	}
}
