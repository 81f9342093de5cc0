package daemon

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"havip/configs"
	"havip/daemon/status"
)

// trouble logs and shows why there is no election here although the operator
// wants one.
func (d *daemon) trouble(why string, err error, cfg *configs.Config) {
	d.Log.Error(why, "err", err)
	d.waiting(why, strings.Split(err.Error(), "\n"), cfg)
}

// waiting shows why there is no election here yet, and in full what is wrong. The
// document counts as configured, so that nobody is told to write the file anew.
func (d *daemon) waiting(why string, wrong []string, cfg *configs.Config) {
	doc := status.Document{
		Version: d.Version, Config: d.Config, Configured: true, Warnings: wrong,
		Self: status.Self{Role: status.RoleWaiting, Reason: why}, Etcd: status.Etcd{State: status.EtcdUnknown},
	}
	if cfg != nil {
		doc.VIP = cfg.VIP.Addresses
		for _, m := range cfg.Masters {
			doc.Masters = append(doc.Masters, status.Master{
				Name: m.Name, Address: m.Address, Priority: cfg.Priority(m.Name),
				APIServer: status.APIUnknown, Etcd: status.MemberUnknown,
			})
		}
	}
	d.faces.setIdle(doc)
}

func (d *daemon) idleUntil(ctx context.Context, why string) error {
	d.notifier.say(why)
	d.Log.Info("waiting", "reason", why)
	every := watchdogEvery()
	if every == 0 {
		every = time.Minute
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			d.notifier.feed()
		}
	}
}

// findSelf waits until one of the masters' addresses is on a link of this node:
// at boot the daemon may be earlier than the network.
func (d *daemon) findSelf(ctx context.Context, cfg *configs.Config) (configs.Master, bool) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	said := ""
	for {
		self, err := cfg.Self(ownAddresses())
		if err == nil {
			return self, true
		}
		if err.Error() != said {
			said = err.Error()
			d.trouble("this node is none of [masters] yet", err, cfg)
			d.notifier.say("waiting: " + said)
		}
		select {
		case <-ctx.Done():
			return configs.Master{}, false
		case <-t.C:
			d.notifier.feed()
		}
	}
}

func ownAddresses() []netip.Addr {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var own []netip.Addr
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, p.Addr())
		}
	}
	return own
}
