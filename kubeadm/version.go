package kubeadm

import (
	"fmt"
	"regexp"
	"strconv"
)

// Version is a version of Kubernetes, 1.Minor.Patch.
type Version struct {
	Minor, Patch int
	text         string
}

func (v Version) String() string { return v.text }

// oldest is the first minor version that reads v1beta4, tested the range whose
// phases havip's tests know.
const (
	oldestMinor = 31
	testedMinor = 35
)

// maxSkew is how many minor versions a kubelet may be older than the API server
// (the version skew policy of Kubernetes); newer it may not be.
const maxSkew = 3

var versionForm = regexp.MustCompile(`v1\.([0-9]+)\.([0-9]+)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?`)

// ParseVersion finds the version in what a program says of itself.
func ParseVersion(said string) (Version, error) {
	match := versionForm.FindStringSubmatch(said)
	if match == nil {
		return Version{}, fmt.Errorf("no version of Kubernetes in %q", said)
	}
	minor, err1 := strconv.Atoi(match[1])
	patch, err2 := strconv.Atoi(match[2])
	if err1 != nil || err2 != nil {
		return Version{}, fmt.Errorf("no version of Kubernetes in %q", said)
	}
	return Version{Minor: minor, Patch: patch, text: match[0]}, nil
}
