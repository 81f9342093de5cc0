package check

import (
	"fmt"
	"slices"
)

// Names of the units that the looks are about.
const (
	unitHavipd  = "havipd.service"
	unitKubelet = "kubelet.service"
)

var daemonLooks = []Look{
	{
		Name: "havipd", When: Always, Parts: []Part{PartDaemon}, Free: true,
		About: "havipd runs and answers",
		Why:   "nothing else takes part in the election for this node, and havipctl init asks it for the VIP",
		Fix:   "systemctl enable --now havipd; its log: journalctl -u havipd -n 50",
		judge: judgeDaemon,
	}, {
		Name: "held", When: After, Parts: []Part{PartDaemon},
		About: "the VIP is held, and a healthy standby is ready",
		Why:   "the next failure takes the control plane's address away",
		Fix:   "havipctl status says what to do next",
		judge: judgeHeld,
	}, {
		Name: "enabled", When: Always, Parts: []Part{PartSystemd}, Free: true,
		About: "havipd starts at boot",
		Why:   "after a reboot this master would not stand by, and after a power cut of all nobody would hold the VIP",
		Fix:   "systemctl enable havipd",
		judge: judgeEnabled,
	}, {
		Name: "order", When: Always, Parts: []Part{PartSystemd}, Free: true,
		About: "kubelet starts after havipd, and does not depend on it",
		Why:   "kubelet starts etcd and the API server: at a stop havipd hands the VIP over while they still run; were it required, each restart of havipd would restart kubelet",
		Fix:   "remove what says otherwise from kubelet's drop-ins: systemctl cat kubelet; havipd.service orders itself by Before=kubelet.service",
		judge: judgeOrder,
	},
}

func judgeDaemon(f *Facts, r *reporter) {
	d := f.Daemon
	tell := r.warn
	if f.Joined {
		tell = r.error
	}
	switch {
	case d.Stopped:
		tell("", "havipd does not run", "")
	case d.Denied:
		r.unseen(d.Error)
	case d.Error != "":
		tell("", d.Error, "")
	case !d.Configured:
		tell("", "havipd has no configuration: it has not read this file", "systemctl restart havipd")
	case d.LinkReason != "":
		tell(d.Link, "havipd cannot use it: "+d.LinkReason, "mend the link; havipctl status")
	}
	if cfg := f.Config.File; cfg != nil && d.Configured && !slices.Equal(d.VIP, cfg.VIP.Addresses) {
		r.warn("", fmt.Sprintf("havipd goes by the VIP %v, and the file has %v: it has not read it since", d.VIP, cfg.VIP.Addresses), "systemctl restart havipd, on every master")
	}
	for _, w := range d.Warnings {
		// What is wrong with the file has a look of its own.
		if !slices.Contains(f.Config.Warnings, w) && !slices.Contains(f.Config.Problems, w) {
			r.warn("", w, "havipctl status")
		}
	}
}

func judgeHeld(f *Facts, r *reporter) {
	if !f.asked(r) {
		return
	}
	switch f.Daemon.Verdict {
	case "HELD":
	case "DEGRADED":
		r.warn("", "DEGRADED: "+f.Daemon.Reason, "")
	default:
		r.error("", f.Daemon.Verdict+": "+f.Daemon.Reason, "")
	}
}

func judgeEnabled(f *Facts, r *reporter) {
	u := f.Units[unitHavipd]
	switch {
	case !u.Loaded:
		r.warn(unitHavipd, "systemd does not know it", "install the package")
	case !u.Enabled:
		r.error(unitHavipd, "is not enabled", "")
	}
}

func judgeOrder(f *Facts, r *reporter) {
	kubelet, havipd := f.Units[unitKubelet], f.Units[unitHavipd]
	if !kubelet.Loaded || !havipd.Loaded {
		r.none()
		return
	}
	if !slices.Contains(kubelet.After, unitHavipd) {
		r.error(unitKubelet, "is not ordered after havipd", "see what became of Before=kubelet.service: systemctl cat havipd; then: systemctl daemon-reload")
	}
	if slices.Contains(kubelet.Needs, unitHavipd) {
		r.error(unitKubelet, fmt.Sprintf("ends when %s ends", unitHavipd), "")
	}
}
