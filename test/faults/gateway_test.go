package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"havip/daemon/status"
	"havip/test/cluster"
)

const (
	gatewayPort = "gw"
	metricsPort = "9478"

	// fails is when every master has noticed that the gateway is gone, the holder
	// last: the look under way, five that fail, and the status.
	fails = 9 * time.Second
)

// TestGateway: etcd has a network of its own, so nothing but the gateway tells
// that the VIP's is dead.
func TestGateway(t *testing.T) {
	c := newCluster(t, cluster.Options{EtcdApart: true, ExtraConfig: "gateway = \"198.51.100.1\"\n\n[metrics]\nlisten = \"self:" + metricsPort + "\""})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close cluster: %v", err)
		}
	})
	if err := c.AddHost(gatewayPort, netip.MustParsePrefix("198.51.100.1/24")); err != nil {
		t.Fatal(err)
	}
	apart := func(name, promise string, body func(*scene)) {
		row := Row{Fault: name, Promise: promise}
		ok := t.Run(name, func(t *testing.T) {
			for range *repeat {
				s := newScene(t, c)
				s.play(body)
				row.Runs = append(row.Runs, s.run)
			}
		})
		rows = append(rows, row)
		if !ok {
			t.FailNow()
		}
	}
	apart("holder's switch port dies silently, etcd elsewhere, gateway checked", "moves, another one hears the gateway", func(s *scene) {
		was := s.holder
		s.try(was.Mute())
		to := s.moves()
		s.wantGateway(to, was.Name, status.GatewaySilent)
		s.try(was.Unmute())
		s.calm()
		s.wantMoves(1)
	})
	apart("holder's cable pulled, etcd elsewhere", "moves as soon as the kernel tells", func(s *scene) {
		was := s.holder
		s.try(was.PullCable())
		s.moves()
		s.try(was.PlugCable())
		s.calm()
		s.wantMoves(1)
	})
	apart("gateway dies and comes back", "stays, nobody is better off", func(s *scene) {
		s.try(s.c.MuteHost(gatewayPort))
		s.stays(fails)
		for _, n := range s.c.Nodes {
			s.wantGateway(s.holder, n.Name, status.GatewaySilent)
		}
		s.try(s.c.UnmuteHost(gatewayPort))
		s.stays(fails)
	})
	apart("gateway away for less than fall", "stays, nobody notices", func(s *scene) {
		s.try(s.c.MuteHost(gatewayPort))
		s.passes(1700 * time.Millisecond)
		s.try(s.c.UnmuteHost(gatewayPort))
		s.stays(fails)
		for _, n := range s.c.Nodes {
			s.wantGateway(s.holder, n.Name, status.GatewayAnswers)
		}
	})
	apart("gateway away, then the holder crashes", "moves, though nobody is healthy", func(s *scene) {
		was := s.holder
		s.try(s.c.MuteHost(gatewayPort))
		s.stays(fails)
		s.try(was.PowerOff())
		s.moves()
		s.try(s.c.UnmuteHost(gatewayPort))
		s.passes(fails)
		s.try(was.PowerOn())
		s.calm()
	})
	apart("a standby's etcd member dies, seen by readiness and metrics", "stays", func(s *scene) {
		for _, n := range s.c.Nodes {
			want := map[bool]string{true: "1", false: "0"}[n == s.holder]
			s.eventually(n, "/readyz", http.StatusOK, "ok")
			s.eventually(n, "/metrics", http.StatusOK, fmt.Sprintf("havip_is_holder{node=%q,vip=\"198.51.100.166\"} %s\n", n.Name, want))
			s.eventually(n, "/metrics", http.StatusOK, fmt.Sprintf("havip_address_present{address=\"198.51.100.166\",node=%q,vip=\"198.51.100.166\"} %s\n", n.Name, want))
		}
		standby := s.c.Others(s.holder)[0]
		s.try(standby.KillEtcd())
		s.eventually(standby, "/readyz", http.StatusServiceUnavailable, "[-]etcd failed: ")
		s.eventually(standby, "/healthz", http.StatusOK, "ok")
		s.eventually(s.holder, "/readyz", http.StatusOK, "ok")
		s.try(standby.StartEtcd())
		s.eventually(standby, "/readyz", http.StatusOK, "ok")
		s.stays(time.Second)
	})
	apart("flood of connections to the holder's metrics", "stays", func(s *scene) {
		before := cpuTime(s.T, s.holder.HavipdPID())
		var crowd sync.WaitGroup
		ctx, stop := context.WithCancel(s.ctx)
		defer stop()
		var answers atomic.Int64
		for range 50 {
			crowd.Go(func() {
				for ctx.Err() == nil {
					if code, _ := s.get(s.holder, "/metrics"); code == http.StatusOK {
						answers.Add(1)
					}
				}
			})
		}
		s.stays(5 * time.Second)
		stop()
		crowd.Wait()
		s.Logf("%d answers; %.1f %% of a core", answers.Load(), 20*(cpuTime(s.T, s.holder.HavipdPID())-before).Seconds())
		if answers.Load() == 0 {
			s.Error("nobody got an answer: nothing is tested")
		}
	})
}

// wantGateway checks what a node's status says of a master.
func (s *scene) wantGateway(by *cluster.Node, master string, want status.Gateway) {
	s.Helper()
	var got status.Gateway
	err := cluster.Poll(s.ctx, fails, by.Name+" to see the gateway of "+master+" "+string(want), func() bool {
		out, _, _, err := by.Ctl(s.ctx, "status", "-o", "json")
		var d status.Document
		if err != nil || json.Unmarshal([]byte(out), &d) != nil {
			return false
		}
		for _, m := range d.Masters {
			if m.Name == master {
				got = m.Gateway
			}
		}
		return got == want
	})
	if err != nil {
		s.Errorf("%v; it is %q", err, got)
	}
}

// eventually asks a node over the network until it answers so.
func (s *scene) eventually(n *cluster.Node, path string, code int, has string) {
	s.Helper()
	var last string
	err := cluster.Poll(s.ctx, takesOver, n.Name+path, func() bool {
		got, body := s.get(n, path)
		last = fmt.Sprint(got, " ", body)
		return got == code && strings.Contains(body, has)
	})
	if err != nil {
		s.Fatalf("%v to answer %d %q; it answers %s", err, code, has, last)
	}
}

// get is one request from where the client is.
func (s *scene) get(n *cluster.Node, path string) (int, string) {
	tr := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		return s.c.Dial(ctx, network, address)
	}}
	defer tr.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(n.Address.String(), metricsPort)+path, nil)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}
