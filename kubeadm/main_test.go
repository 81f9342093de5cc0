package kubeadm

import (
	"os"
	"testing"

	"havip/test/kubeadmtest"
)

// TestMain lets this binary be kubeadm and the kubelet.
func TestMain(m *testing.M) {
	kubeadmtest.Become()
	os.Exit(m.Run())
}
