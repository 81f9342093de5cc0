package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"havip/election/etcd"
)

func rss() string {
	b, _ := os.ReadFile("/proc/self/status")
	for _, l := range strings.Split(string(b), "\n") {
		if strings.HasPrefix(l, "VmRSS") || strings.HasPrefix(l, "RssAnon") {
			fmt.Println(l)
		}
	}
	return ""
}
func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(0, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
func main() {
	s, err := etcd.New(etcd.Config{Endpoint: os.Args[1], CA: os.Args[2], Cert: os.Args[3], Key: os.Args[4], Prefix: "/havip/v1/x/", Node: "n1"})
	if err != nil {
		panic(err)
	}
	n := 0
	go s.Run(context.Background(), func(e etcd.Event) { n++ })
	s.Publish("hello")
	v := ""
	var c0 time.Duration
	var max time.Duration
	for i := 0; i < 75; i++ {
		if i == 25 {
			c0 = cpu()
		}
		nv := fmt.Sprint("value ", strings.Repeat("x", 200), i, time.Now())
		b := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		var r etcd.Result
		if os.Getenv("NOWRITE") == "" { r = s.Write(ctx, v, nv, false) }
		cancel()
		if d := time.Since(b); i > 2 && d > max {
			max = d
		}
		if r.Outcome == etcd.Committed {
			v = nv
		} else {
			v = r.Current
		}
		time.Sleep(400 * time.Millisecond)
	}
	fmt.Println("cpu over 20 s:", cpu()-c0, "events", n, "goroutines", runtime.NumGoroutine(), "slowest write", max)
	rss()
}
