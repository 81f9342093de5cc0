package check

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func (n Node) links() ([]Link, error) {
	list, err := n.Links()
	if err != nil {
		return nil, fmt.Errorf("list this node's links: %w", err)
	}
	var links []Link
	for _, one := range list {
		l := Link{Link: one, Master: n.master(one.Name)}
		l.ARPIgnore = n.setting("ipv4", one.Name, "arp_ignore")
		l.DropGratuitous = n.setting("ipv4", one.Name, "drop_gratuitous_arp") > 0
		l.DropNA = n.setting("ipv6", one.Name, "drop_unsolicited_na") > 0
		// Of all there is no larger one: writing it writes each link's.
		l.NoIPv6 = n.read("proc/sys/net/ipv6/conf/"+one.Name+"/disable_ipv6") == "1"
		links = append(links, l)
	}
	return links, nil
}

// setting is what the kernel applies: the larger of all's and the link's own
// (ip-sysctl, "conf/all").
func (n Node) setting(family, link, name string) int {
	value := 0
	for _, where := range []string{"all", link} {
		number, err := strconv.Atoi(n.read("proc/sys/net/" + family + "/conf/" + where + "/" + name))
		if err == nil {
			value = max(value, number)
		}
	}
	return value
}

// master is the bridge, bond or team that a link is a port of. A VRF is a master
// too, but its links keep their addresses.
func (n Node) master(link string) string {
	target, err := os.Readlink(n.path("sys/class/net", link, "master"))
	if err != nil {
		return ""
	}
	name := filepath.Base(target)
	if strings.Contains(n.read("sys/class/net/"+name+"/uevent"), "DEVTYPE=vrf") {
		return ""
	}
	return name
}

// defaultLink is the link of the default route with the least metric
// (proc_net_route: interface, destination, gateway, flags, …, metric, mask).
func (n Node) defaultLink() string {
	best, link := math.MaxInt, ""
	for line := range strings.Lines(n.read("proc/net/route")) {
		fields := strings.Fields(line)
		if len(fields) < 8 || fields[1] != "00000000" || fields[7] != "00000000" {
			continue
		}
		if metric, err := strconv.Atoi(fields[6]); err == nil && metric < best {
			best, link = metric, fields[0]
		}
	}
	if link != "" {
		return link
	}
	for line := range strings.Lines(n.read("proc/net/ipv6_route")) {
		fields := strings.Fields(line)
		if len(fields) == 10 && strings.Trim(fields[0], "0") == "" && fields[1] == "00" && fields[9] != "lo" {
			return fields[9]
		}
	}
	return ""
}

// wireTime is how long an address has to answer. The kernel asks three times, a
// second apart, before it gives up (mcast_solicit, retrans_time_ms); one answer
// within two seconds is what a healthy network has many times over.
const wireTime = 2 * time.Second

// lookAtWire connects to the VIP as any client would. That makes the kernel ask
// the wire for it, and nothing on the node is changed but its own neighbour table.
func (n Node) lookAtWire(ctx context.Context, f *Facts) (func(*Facts), error) {
	_, port := f.Config.File.Endpoint()
	var answers []Answer
	for _, vip := range f.Config.File.VIP.Addresses {
		answers = append(answers, n.knock(ctx, vip, port))
	}
	return func(f *Facts) { f.Wire = answers }, nil
}

func (n Node) knock(ctx context.Context, vip netip.Addr, port int) Answer {
	ctx, cancel := context.WithTimeout(ctx, wireTime)
	defer cancel()
	a := Answer{Address: vip}
	before := n.neighbour(vip)
	conn, err := n.Dial(ctx, "tcp", net.JoinHostPort(vip.String(), strconv.Itoa(port)))
	switch {
	case err == nil:
		a.Accepts = true
		conn.Close()
	case errors.Is(err, syscall.ECONNREFUSED):
		a.Refuses = true
	default:
		a.Error = err.Error()
		a.Silent = errors.Is(err, syscall.EHOSTUNREACH) || timedOut(err)
	}
	// The kernel keeps what it has learned for a while, whether or not it is so
	// still, and asks anew only after it was used for some seconds (NUD_DELAY).
	a.MAC = n.neighbour(vip)
	a.Stale = a.MAC != "" && a.MAC == before && !a.Accepts && !a.Refuses
	return a
}

// timedOut: a dial that reaches its context's end says so, or that its socket's
// deadline passed, whichever is first.
func timedOut(err error) bool {
	var late net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &late) && late.Timeout()
}

// neighbour is the MAC that the kernel has learned for an address (proc_net_arp:
// address, type, flags, MAC; flag 2 says that the entry is complete, 6 that somebody
// wrote it).
func (n Node) neighbour(a netip.Addr) string {
	for line := range strings.Lines(n.read("proc/net/arp")) {
		fields := strings.Fields(line)
		if len(fields) >= 4 && fields[0] == a.String() && fields[2] == "0x2" {
			return fields[3]
		}
	}
	return ""
}
