// Package kubeadmtest is a kubeadm that changes nothing but a directory, for
// tests of what drives it. It lists the phases of the real ones, understands the
// flags that havip uses, says its secrets aloud as the real one does, and fails
// or waits where a test tells it to. A test binary becomes it when it is started
// under the name kubeadm or kubelet.
package kubeadmtest
