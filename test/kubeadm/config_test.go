package kubeadm

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"havip/kubeadm"
)

// fixtures are the golden files of package kubeadm.
const fixtures = "../../kubeadm/testdata"

func ask(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(*binaries, "kubeadm"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("kubeadm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestGoldenFilesAreValid: this kubeadm takes every file that havip renders.
func TestGoldenFilesAreValid(t *testing.T) {
	version := strings.TrimSpace(ask(t, "version", "-o", "short"))
	files, err := filepath.Glob(filepath.Join(fixtures, "*.yaml"))
	if err != nil || len(files) < 9 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(string(data), "kubernetesVersion: v1.34.4", "kubernetesVersion: "+version)
			if strings.HasPrefix(version, "v1.31.") {
				text = strings.ReplaceAll(text, "  NodeLocalCRISocket: true\n", "") // since 1.32
			}
			file := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			ask(t, "config", "validate", "--config="+file)
		})
	}
}

// TestPhaseLists: the fixtures list what this kubeadm lists.
func TestPhaseLists(t *testing.T) {
	minor := strings.Join(strings.Split(strings.TrimPrefix(ask(t, "version", "-o", "short"), "v"), ".")[:2], ".")
	for _, command := range []string{"init", "join"} {
		got, err := kubeadm.ParsePhases(command, ask(t, command, "--help"))
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(fixtures, "help-"+command+"-"+minor+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		want, err := kubeadm.ParsePhases(command, string(data))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s of %s (-fixture +real):\n%s", command, minor, diff)
		}
	}
}
