package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"

	"havip/configs"
)

// managerTimeout bounds asking systemd and reading the files, which lie on a disk
// that may hang. The address is still on the link; a stop waits for the answer.
// With a load of 16 on two processors one of some hundred restarts got none
// within 100 ms, and so moved the VIP (test/packages).
const managerTimeout = 500 * time.Millisecond

// followed reports whether the process may leave the address to the next one:
// systemd restarts the service, and the next one will serve the same address.
// Whatever is not a clear yes is a no, and the address is handed over.
func (d *daemon) followed(cfg *configs.Config, self configs.Master) bool {
	ctx, cancel := context.WithTimeout(context.Background(), managerTimeout)
	defer cancel()
	type answer struct {
		yes        bool
		err, unfit error
	}
	got := make(chan answer, 1)
	go func() {
		var a answer
		a.yes, a.err = d.restarting(ctx)
		if a.yes {
			a.unfit = d.servesStill(cfg, self)
		}
		got <- a
	}()
	var a answer
	select {
	case a = <-got:
	case <-ctx.Done():
		a.err = fmt.Errorf("ask systemd and read the config file: no answer within %v", managerTimeout)
	}
	if a.err != nil {
		d.Log.Info("told to end; taken for a stop", "why", a.err)
		return false
	}
	if !a.yes {
		d.Log.Info("told to stop")
		return false
	}
	if a.unfit != nil {
		d.Log.Warn("told to restart; taken for a stop, since the next process would not serve the address as this one does", "why", a.unfit)
		return false
	}
	d.Log.Info("told to restart; the address stays")
	return true
}

// servesStill reads the config file as the next process will.
func (d *daemon) servesStill(cfg *configs.Config, self configs.Master) error {
	next, err := configs.Load(d.Config)
	if err != nil {
		return err
	}
	if !next.Configured() || next.VIPKey() != cfg.VIPKey() {
		return fmt.Errorf("%s: the VIP is %s now, was %s", d.Config, cmp.Or(next.VIPKey(), "missing"), cfg.VIPKey())
	}
	if !next.VIP.Interface.Equal(cfg.VIP.Interface) {
		return fmt.Errorf("%s: the interface is %s now, was %s", d.Config, next.VIP.Interface, cfg.VIP.Interface)
	}
	if timers, err := configs.ReadEtcdManifest(next.Etcd.Manifest); err == nil {
		if _, _, err := next.Timing(timers); err != nil {
			return err
		}
	}
	for _, m := range next.Masters {
		if m == self {
			return nil
		}
	}
	return fmt.Errorf("%s: %s = %q is not among [masters] any more", d.Config, self.Name, self.Address)
}

// askSystemd asks over systemd's own socket, which is there without a D-Bus
// daemon too, whether this service is being restarted.
func askSystemd(ctx context.Context) (bool, error) {
	c, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return false, fmt.Errorf("ask systemd: %w", err)
	}
	defer c.Close()
	state, err := c.SystemStateContext(ctx)
	if err != nil {
		return false, fmt.Errorf("ask systemd for its state: %w", err)
	}
	unit, err := c.GetUnitNameByPID(ctx, uint32(os.Getpid()))
	if err != nil {
		return false, fmt.Errorf("ask systemd for the unit of this process: %w", err)
	}
	jobs, err := c.ListJobsContext(ctx)
	if err != nil {
		return false, fmt.Errorf("ask systemd for its jobs: %w", err)
	}
	s, ok := state.Value.Value().(string)
	if !ok {
		return false, errors.New("ask systemd for its state: the answer is not text")
	}
	return restartJob(s, unit, jobs), nil
}

// restartJob decides. While a unit is stopped for a restart its job is of the
// type restart, or try-restart (org.freedesktop.systemd1(5), JobType); a node
// that goes down stops it for good.
func restartJob(state, unit string, jobs []dbus.JobStatus) bool {
	if state == "stopping" {
		return false
	}
	for _, j := range jobs {
		if j.Unit == unit {
			return j.JobType == "restart" || j.JobType == "try-restart"
		}
	}
	return false
}
