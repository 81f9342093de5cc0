package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"havip/test/cluster"
)

// guideConfig is the one of kubeadm's guide to high availability. Its arguments
// are the check's path, state and priority.
func guideConfig(check string, number, _ int) string {
	state, priority := "BACKUP", 100
	if number == 0 {
		state, priority = "MASTER", 101
	}
	return fmt.Sprintf(`global_defs {
    router_id LVS_DEVEL
}
vrrp_script check_apiserver {
  script "%s"
  interval 3
  weight -2
  fall 10
  rise 2
}
vrrp_instance VI_1 {
    state %s
    interface eth0
    virtual_router_id 51
    priority %d
    authentication {
        auth_type PASS
        auth_pass 42
    }
    virtual_ipaddress {
        %s
    }
    track_script {
        check_apiserver
    }
}
`, check, state, priority, cluster.VIP4)
}

// tunedConfig is as quick as it can be made: VRRP 3, an advertisement every 0.1 s,
// priorities apart (200, 150, 100 of three) so that two never take it at once, an
// announcement every second, and a check that takes as long as havip's.
func tunedConfig(check string, number, of int) string {
	priority := 200
	if of > 1 {
		priority -= 100 * number / (of - 1)
	}
	return fmt.Sprintf(`global_defs {
    router_id tuned
    vrrp_version 3
}
vrrp_script check_apiserver {
  script "%s"
  interval 1
  timeout 1
  weight -120
  fall 3
  rise 2
}
vrrp_instance VI_1 {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority %d
    advert_int 0.1
    garp_master_refresh 1
    virtual_ipaddress {
        %s
    }
    track_script {
        check_apiserver
    }
}
`, check, priority, cluster.VIP4)
}

// checkScript is what the guide has the API server checked by.
const checkScript = `#!/bin/sh
errorExit() {
    echo "*** $*" 1>&2
    exit 1
}
curl -sfk --max-time 2 https://localhost:6443/healthz -o /dev/null || errorExit "Error GET https://localhost:6443/healthz"
`

// keepalived is Debian's, as its unit starts it: in the foreground, not restarted.
func keepalived(config func(check string, number, of int) string) func(*cluster.Options) error {
	return func(o *cluster.Options) error {
		for _, program := range []string{"/usr/sbin/keepalived", "/usr/bin/curl"} {
			if _, err := exec.LookPath(program); err != nil {
				return fmt.Errorf("find what keepalived needs: run apt-get install keepalived curl: %w", err)
			}
		}
		masters := o.Masters
		o.Instead = func(n *cluster.Node) (cluster.Program, error) {
			in := func(name string) string { return filepath.Join(n.Dir(), name) }
			if err := os.WriteFile(in("check_apiserver.sh"), []byte(checkScript), 0o755); err != nil {
				return cluster.Program{}, fmt.Errorf("write check: %w", err)
			}
			text := config(in("check_apiserver.sh"), n.Number(), masters)
			if err := os.WriteFile(in("keepalived.conf"), []byte(text), 0o644); err != nil {
				return cluster.Program{}, fmt.Errorf("write configuration: %w", err)
			}
			return cluster.Program{Name: "keepalived", Path: "/usr/sbin/keepalived", Args: []string{
				"--dont-fork", "--log-console", "--use-file", in("keepalived.conf"),
				"--pid", in("keepalived.pid"), "--vrrp_pid", in("vrrp.pid"), "--checkers_pid", in("checkers.pid"),
			}}, nil
		}
		return nil
	}
}

// keepalivedUnrest: the one with the highest priority takes the address back.
func keepalivedUnrest(_ context.Context, c *cluster.Cluster, holder *cluster.Node) string {
	if i := slices.Index(c.Nodes, holder); i != 0 {
		return holder.Name + " has not given it back yet"
	}
	return ""
}
