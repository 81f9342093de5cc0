package main

import (
	"errors"
	"time"

	"havip/test/cluster"
)

// fault is something that breaks and is healed again.
type fault struct {
	name  string // as it is asked for
	title string // as it is reported
	// leading: the etcd leader is on the holder's node; otherwise it is elsewhere.
	leading bool
	strike  func(*stage) error
	heal    func(*stage) error
	// span is how long it stays broken at least: long enough that what a fault
	// sets off, and two holders for as long as it lasts, can be seen.
	span time.Duration
	// limit is how much longer clients may wait for an answer.
	limit time.Duration
}

const (
	stopLimit = 10 * time.Second
	// patience is enough for whatever heals by itself at all.
	patience = 20 * time.Second
	// checkPatience: by the guide's own figures an API server that is dead is
	// noticed after 10 checks, one every 3 s.
	checkPatience = 45 * time.Second
)

var faults = []fault{
	{name: "stop", title: "daemon stopped", strike: stop, heal: startDaemon, span: 3 * time.Second, limit: patience},
	{name: "kill", title: "daemon killed (SIGKILL)", strike: kill, heal: startDaemon, span: 8 * time.Second, limit: patience},
	{name: "freeze", title: "daemon frozen (SIGSTOP)", strike: freeze, heal: wake, span: 8 * time.Second, limit: patience},
	{name: "crash", title: "node crash, etcd leader elsewhere", strike: powerOff, heal: powerOn, span: 2 * time.Second, limit: patience},
	{name: "crash-leader", title: "node crash with the etcd leader on it", leading: true, strike: powerOff, heal: powerOn, span: 2 * time.Second, limit: patience},
	{name: "partition", title: "silent partition", strike: mute, heal: unmute, span: 8 * time.Second, limit: patience},
	{name: "cable", title: "cable pulled", strike: pull, heal: plug, span: 8 * time.Second, limit: patience},
	{name: "etcd-leader", title: "etcd leader killed elsewhere", strike: killLeader, heal: startEtcd, span: 5 * time.Second, limit: patience},
	{name: "own-etcd", title: "own etcd killed", strike: killOwnEtcd, heal: startEtcd, span: 5 * time.Second, limit: patience},
	{name: "api", title: "API server dead", strike: killAPIServer, heal: startAPIServer, span: 2 * time.Second, limit: checkPatience},
	{name: "standbys", title: "each standby's daemon restarted", strike: restartStandbys, heal: nothing, span: 2 * time.Second, limit: patience},
}

func stop(s *stage) error     { return s.holder.StopHavipd(stopLimit) }
func kill(s *stage) error     { return s.holder.KillHavipd() }
func freeze(s *stage) error   { return s.holder.PauseHavipd() }
func powerOff(s *stage) error { return s.holder.PowerOff() }
func powerOn(s *stage) error  { return s.holder.PowerOn() }
func mute(s *stage) error     { return s.holder.Mute() }
func unmute(s *stage) error   { return s.holder.Unmute() }
func pull(s *stage) error     { return s.holder.PullCable() }
func plug(s *stage) error     { return s.holder.PlugCable() }
func nothing(*stage) error    { return nil }

func startDaemon(s *stage) error    { return s.holder.StartHavipd() }
func killAPIServer(s *stage) error  { return s.holder.KillAPIServer() }
func startAPIServer(s *stage) error { return s.holder.StartAPIServer() }
func killLeader(s *stage) error     { return s.leader.KillEtcd() }
func killOwnEtcd(s *stage) error    { return s.holder.KillEtcd() }

// wake lets a frozen daemon run on, and starts one that was killed meanwhile.
func wake(s *stage) error {
	return errors.Join(s.holder.ResumeHavipd(), s.holder.StartHavipd())
}

// startEtcd starts every member that does not run.
func startEtcd(s *stage) error {
	var errs []error
	for _, n := range s.c.Nodes {
		errs = append(errs, n.StartEtcd())
	}
	return errors.Join(errs...)
}

// restartStandbys is what an upgrade does, one after the other.
func restartStandbys(s *stage) error {
	for _, n := range s.c.Others(s.holder) {
		if err := errors.Join(n.StopHavipd(stopLimit), n.StartHavipd(), cluster.Pause(s.ctx, time.Second)); err != nil {
			return err
		}
	}
	return nil
}
