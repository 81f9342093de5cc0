package adopt

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"

	"havip/configs"
	"havip/kubeadm"
)

// cpEnable is the variable as kube-vip's own generator writes it, and as people
// do: name and value in two lines, or in one of braces.
var cpEnable = regexp.MustCompile(`(?m)(name:[ \t]*['"]?cp_enable['"]?[ \t]*(?:,[ \t]*|\n[ \t]*)value:[ \t]*)(?:"[^"\n]*"|'[^'\n]*'|[A-Za-z0-9]+)`)

// errManual says that a manifest is beyond what is changed by a program.
var errManual = errors.New("it cannot be changed by a program: set cp_enable to false in it by hand")

// withoutControlPlane returns a kube-vip's manifest with cp_enable false, and
// nothing else changed: both are read, and compared.
func withoutControlPlane(manifest []byte) ([]byte, error) {
	changed := cpEnable.ReplaceAll(manifest, []byte(`${1}"false"`))
	before, err1 := readPod(manifest)
	after, err2 := readPod(changed)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if len(before) != len(after) || slices.ContainsFunc(after, func(c configs.Container) bool { return kubeadm.ParseKubeVIP(c).ControlPlane }) {
		return nil, errManual
	}
	for i := range before {
		if _, has := before[i].Env["cp_enable"]; has {
			before[i].Env["cp_enable"] = "false"
		}
	}
	if !reflect.DeepEqual(before, after) {
		return nil, errManual
	}
	return changed, nil
}

// readPod reads a manifest that is in no file.
func readPod(manifest []byte) ([]configs.Container, error) {
	dir, err := os.MkdirTemp("", "havip-adopt-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "pod.yaml")
	if err := os.WriteFile(path, manifest, 0o600); err != nil {
		return nil, err
	}
	return configs.ReadPod(path)
}
