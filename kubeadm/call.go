package kubeadm

import (
	"context"
	"time"
)

// Path is where a file of the node is for this process.
func (s System) Path(parts ...string) string { return s.path(parts...) }

// Inside is the path of a file as a program on the node has it.
func (s System) Inside(path string) string { return s.inside(path) }

// Running reports whether a process has this name.
func (s System) Running(name string) bool { return s.running(name) }

// Systemd starts and stops units by systemctl.
type Systemd struct{}

// Enabled reports whether a unit is started at boot.
func (Systemd) Enabled(ctx context.Context, unit string) bool {
	_, err := Ask(ctx, "systemctl", "is-enabled", "--quiet", unit)
	return err == nil
}

// Do does what systemctl calls by that verb: enable, disable, start, stop, restart.
func (Systemd) Do(ctx context.Context, verb, unit string) error {
	_, err := within(ctx, jobTime, "systemctl", verb, unit)
	return err
}

// jobTime is more than the 90 s after which systemd kills what does not stop.
const jobTime = 2 * time.Minute
