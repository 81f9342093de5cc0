package fence

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"havip/vip"
)

// answered is how long a test waits for an answer that should come, and silent
// how long for one that should not.
const (
	answered = 2 * time.Second
	silent   = 50 * time.Millisecond
)

// question is something that a neighbour sends, and the answer to it.
type question struct {
	name   string
	ask    func(*wire) frame
	answer func(frame) bool
}

// questions are all the ways in which the tests look whether a node has the VIP.
func questions() []question {
	ping := func(from, to netip.Addr, protocol byte) question {
		return question{"ping " + to.String(),
			func(w *wire) frame { return pingFrame(w.node, w.mac, from, to, 1) },
			func(f frame) bool { return f.from(to, protocol) }}
	}
	syn := func(from, to netip.Addr) question {
		return question{"TCP " + to.String(),
			func(w *wire) frame { return synFrame(w.node, w.mac, from, to, 9) },
			func(f frame) bool { return f.from(to, unix.IPPROTO_TCP) }} // a reset is an answer
	}
	return []question{
		{"ARP", func(w *wire) frame { return arpFrame(w.mac, 1, peer4, vip4) }, func(f frame) bool { return f.arp(2, vip4) }},
		{"ARP probe", func(w *wire) frame { return arpFrame(w.mac, 1, netip.IPv4Unspecified(), vip4) }, func(f frame) bool { return f.arp(2, vip4) }},
		{"neighbour solicitation", func(w *wire) frame {
			return neighbourFrame(w.mac, peer6, solicitedNode(vip6), vip6, neighbourSolicitation)
		}, func(f frame) bool { return f.advertises(vip6) }},
		{"duplicate address detection", func(w *wire) frame {
			f := neighbourFrame(w.mac, netip.IPv6Unspecified(), solicitedNode(vip6), vip6, neighbourSolicitation)
			return ipFrame(net.HardwareAddr(f[:6]), w.mac, netip.IPv6Unspecified(), solicitedNode(vip6), unix.IPPROTO_ICMPV6, 255,
				sealed(netip.IPv6Unspecified(), solicitedNode(vip6), unix.IPPROTO_ICMPV6, 2, slices.Concat([]byte{135, 0, 0, 0, 0, 0, 0, 0}, vip6.AsSlice())))
		}, func(f frame) bool { return f.advertises(vip6) }},
		ping(peer4, vip4, unix.IPPROTO_ICMP), ping(peer6, vip6, unix.IPPROTO_ICMPV6),
		syn(peer4, vip4), syn(peer6, vip6),
		{"ping of priority 5 without a VLAN", func(w *wire) frame { return pingFrame(w.node, w.mac, peer4, vip4, 1).tagged(5 << 13) },
			func(f frame) bool { return f.from(vip4, unix.IPPROTO_ICMP) }},
	}
}

// answers reports whether the node answers a question.
func (l *lab) answers(t *testing.T, q question, limit time.Duration) bool {
	t.Helper()
	l.wire.drain()
	l.wire.send(t, q.ask(l.wire))
	return l.wire.await(limit, q.answer) != nil
}

// expect asks everything.
func (l *lab) expect(t *testing.T, when string, want bool) {
	t.Helper()
	limit := silent
	if want {
		limit = answered
	}
	for _, q := range questions() {
		if got := l.answers(t, q, limit); got != want {
			t.Errorf("%s, %s: answered %v, want %v", when, q.name, got, want)
		}
	}
}

func TestFence(t *testing.T) {
	l := newLab(t)
	l.expect(t, "without a fence", true)
	f := l.open(t, 0)
	l.expect(t, "a fresh one that has the deadline 0", false)
	f.Set(long())
	l.expect(t, "before the deadline", true)
	f.Set(vip.Now() - time.Second)
	l.expect(t, "after the deadline", false)
	f.Set(0)
	l.expect(t, "closed", false)
	if err := f.Attach(l.link); err != nil {
		t.Errorf("attach again: %v", err)
	}
	l.expect(t, "attached again", false)
	own := question{ask: func(w *wire) frame { return pingFrame(w.node, w.mac, peer4, netip.MustParseAddr("198.51.100.162"), 1) },
		answer: func(f frame) bool { return f.from(netip.MustParseAddr("198.51.100.162"), unix.IPPROTO_ICMP) }}
	if !l.answers(t, own, answered) {
		t.Error("the node's own address is fenced too")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	l.expect(t, "taken away", true)
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was kept is left: %v", err)
	}
	for _, d := range []direction{inward, outward} {
		if ids := l.programs(t, d); len(ids) != 0 {
			t.Errorf("%sward: programs %v are left", d.name, ids)
		}
	}
}

// TestClosesOutward: what the node sends by itself does not get out either.
func TestClosesOutward(t *testing.T) {
	l := newLab(t)
	f := l.open(t, long())
	node, err := openWire(nodeName)
	if err != nil {
		t.Fatal(err)
	}
	defer node.close()
	for name, sent := range map[string]frame{
		"ARP request":              arpFrame(node.mac, 1, vip4, peer4),
		"announcement, a request":  arpFrame(node.mac, 1, vip4, vip4),
		"announcement, a reply":    arpFrame(node.mac, 2, vip4, vip4),
		"neighbour advertisement":  neighbourFrame(node.mac, netip.MustParseAddr("fe80::1"), netip.MustParseAddr("ff02::1"), vip6, neighbourAdvertisement),
		"solicitation by the VIP":  neighbourFrame(node.mac, vip6, solicitedNode(peer6), peer6, neighbourSolicitation),
		"packet of the IPv4 VIP":   pingFrame(l.wire.mac, node.mac, vip4, peer4, 1),
		"packet of the IPv6 VIP":   pingFrame(l.wire.mac, node.mac, vip6, peer6, 1),
		"short packet of the VIP":  ipFrame(l.wire.mac, node.mac, vip4, peer4, unix.IPPROTO_UDP, 1, nil),
		"packet with much in it":   ipFrame(l.wire.mac, node.mac, vip4, peer4, unix.IPPROTO_UDP, 1, make([]byte, 1400)),
		"segment of the IPv6 VIP":  synFrame(l.wire.mac, node.mac, vip6, peer6, 9),
		"advertisement by the VIP": neighbourFrame(node.mac, vip6, netip.MustParseAddr("ff02::1"), vip6, neighbourAdvertisement),
	} {
		mine := func(f frame) bool { return string(f) == string(sent) }
		f.Set(long())
		l.wire.drain()
		node.send(t, sent)
		if l.wire.await(answered, mine) == nil {
			t.Errorf("%s: did not get out before the deadline", name)
		}
		f.Set(0)
		// The kernel tells the sender of what is dropped on the way out.
		if _, err := unix.Write(node.fd, sent); !errors.Is(err, unix.ENOBUFS) {
			t.Errorf("%s: sent after the deadline: %v", name, err)
		}
		if l.wire.await(silent, mine) != nil {
			t.Errorf("%s: got out after the deadline", name)
		}
	}
}

// TestTold: a node that is fenced still learns who has the address.
func TestTold(t *testing.T) {
	l := newLab(t)
	ip(t, "addr", "del", vip4.String()+"/32", "dev", nodeName)
	l.open(t, 0)
	ip(t, "neigh", "replace", vip4.String(), "lladdr", "02:00:00:00:00:01", "dev", nodeName, "nud", "stale")
	for _, operation := range []byte{1, 2} {
		mac := net.HardwareAddr{2, 0, 0, 0, 1, operation}
		f := arpFrame(mac, operation, vip4, vip4)
		copy(f[32:], mac) // a reply to itself, see vip's doc.go, fact 9
		l.wire.send(t, f)
		eventually(t, fmt.Sprintf("neighbour entry after operation %d", operation), func() bool {
			out, err := exec.Command("ip", "neigh", "show", vip4.String()).CombinedOutput()
			return err == nil && strings.Contains(string(out), mac.String())
		})
	}
}

// TestVLAN: what is of a VLAN on the link is none of the fence's business.
func TestVLAN(t *testing.T) {
	l := newLab(t)
	f := l.open(t, 0)
	count, seen := counter(t)
	l.attachOther(t, count, inward, f)
	for _, test := range []struct {
		tag  uint16
		want uint64
	}{{7, 1}, {7 | 5<<13, 1}, {0, 0}, {5 << 13, 0}} {
		before := seen()
		l.wire.send(t, arpFrame(l.wire.mac, 1, peer4, vip4).tagged(test.tag))
		l.wire.send(t, arpFrame(l.wire.mac, 1, peer4, netip.MustParseAddr("198.51.100.162")))
		if l.wire.await(answered, func(f frame) bool { return f.kind() == unix.ETH_P_ARP }) == nil {
			t.Fatal("the node answers no more")
		}
		if got := seen() - before - 1; got != test.want {
			t.Errorf("tag %#x: %d passed, want %d", test.tag, got, test.want)
		}
	}
}

// counter is a program that counts the ARP frames that reach it. Of other kinds the
// peer's kernel sends some by itself.
func counter(t *testing.T) (fd int, seen func() uint64) {
	t.Helper()
	m, err := newMap("count")
	if err != nil {
		t.Fatal(err)
	}
	memory, err := mapClock(m)
	if err != nil {
		t.Fatal(err)
	}
	c := newCode()
	c.load(loadWord, r1, r1, skbProtocol)
	c.jump(jumpNotEqual, r1, 0, wire16(unix.ETH_P_ARP), "other")
	c.mapMemory(r1, m)
	c.load(loadLong, r2, r1, 0)
	c.constant(addConstant, r2, 1)
	c.register(unix.BPF_STX|unix.BPF_MEM|unix.BPF_DW, r1, r2)
	c.label("other")
	c.exit(next)
	fd, err = loadProgram("count", c.link())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.Close(fd), unix.Close(m) })
	return fd, func() uint64 { return uint64(memory.until()) }
}

// TestPrecision: what is sent at or after the deadline is never answered; how
// long before it the last answered question was sent is noise of the sender's.
func TestPrecision(t *testing.T) {
	l := newLab(t)
	f := l.open(t, 0)
	const rounds = 40
	var last, arrived []time.Duration
	for range rounds {
		deadline := vip.Now() + 30*time.Millisecond
		f.Set(deadline)
		sent, got := l.stream(t, deadline+15*time.Millisecond)
		if sent >= deadline {
			t.Errorf("an answer to what was sent %v after the deadline", sent-deadline)
		}
		last, arrived = append(last, sent-deadline), append(arrived, got-deadline)
	}
	slices.Sort(last)
	slices.Sort(arrived)
	t.Logf("last answered question sent, from the deadline: %v", spread(last))
	t.Logf("last answer received, from the deadline: %v", spread(arrived))
}

// stream pings every millisecond until end, and returns when the last ping that
// was answered was sent, and when its answer came.
func (l *lab) stream(t *testing.T, end time.Duration) (sent, got time.Duration) {
	t.Helper()
	l.wire.drain()
	for n := uint16(1); vip.Now() < end; n++ {
		q := pingFrame(l.wire.node, l.wire.mac, peer4, vip4, n)
		at := vip.Now()
		l.wire.send(t, q)
		if l.wire.await(time.Millisecond, func(f frame) bool {
			return f.from(vip4, unix.IPPROTO_ICMP) && string(f[40:42]) == string(q[40:42])
		}) != nil {
			sent, got = at, vip.Now()
			if rest := time.Millisecond - (got - at); rest > 0 {
				l.wire.await(rest, func(frame) bool { return false })
			}
		}
	}
	return sent, got
}

func spread(d []time.Duration) string {
	return fmt.Sprintf("min %v, median %v, p90 %v, max %v, n=%d", d[0], d[len(d)/2], d[len(d)*9/10], d[len(d)-1], len(d))
}

// childMain fences a link until soon, says so, and comes to grief.
func childMain(mode string) int {
	f, err := Open(dir, both, 0)
	if err == nil {
		err = f.Attach(mustIndex(nodeName))
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	until := vip.Now() + time.Hour
	if mode != "long" {
		until = vip.Now() + time.Second
	}
	f.Set(until)
	fmt.Println(int64(until))
	how := unix.SIGKILL
	if mode == "stopped" {
		how = unix.SIGSTOP
	}
	// To this thread, which so takes it before it runs on.
	runtime.LockOSThread()
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), how)
	f.Set(until) // frozen before it: a time that is over
	fmt.Println("lives on")
	<-time.After(time.Minute)
	return 0
}

func mustIndex(name string) int {
	l, err := net.InterfaceByName(name)
	if err != nil {
		panic(err)
	}
	return l.Index
}

// TestCapabilities: what the unit leaves the daemon is enough, also to take over
// what the process before left; what is missing is named.
func TestCapabilities(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	newLab(t)
	for _, test := range []struct{ name, keep, says string }{
		{"those of the unit", "-all,+net_admin,+net_raw,+bpf", ""},
		{"those of the unit, by the next process", "-all,+net_admin,+net_raw,+bpf", ""},
		{"none for BPF", "-all,+net_admin,+net_raw", "needs CAP_BPF and CAP_NET_ADMIN"},
		{"none for the network", "-all,+bpf", "needs CAP_BPF and CAP_NET_ADMIN"},
	} {
		if test.says != "" {
			// What is kept may be opened without CAP_BPF.
			if err := Remove(dir); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("setpriv", "--no-new-privs", "--inh-caps", "-all", "--bounding-set", test.keep, self)
		cmd.Env = append(os.Environ(), childEnv+"=long")
		out, err := cmd.Output()
		if test.says == "" {
			var until int64
			if _, err := fmt.Sscan(string(out), &until); err != nil {
				t.Errorf("%s: %s", test.name, out)
			}
			continue
		}
		if err == nil || !strings.Contains(string(out), test.says) {
			t.Errorf("%s: it says %q, %v", test.name, out, err)
		}
	}
}

// child starts one and returns its deadline once it has come to grief.
func child(t *testing.T, mode string) (*exec.Cmd, *bufio.Scanner, time.Duration) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+mode)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Scan()
	var until int64
	if _, err := fmt.Sscan(lines.Text(), &until); err != nil {
		t.Fatalf("the child says %q: %v", lines.Text(), err)
	}
	if mode != "stopped" {
		_ = cmd.Wait() // by the signal
		return cmd, lines, time.Duration(until)
	}
	eventually(t, "stopped child", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		return err == nil && strings.Contains(string(stat), ") T ")
	})
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	return cmd, lines, time.Duration(until)
}

// TestWithoutProcess: killed or frozen, the fence closes at its deadline.
func TestWithoutProcess(t *testing.T) {
	for _, mode := range []string{"killed", "stopped"} {
		t.Run(mode, func(t *testing.T) {
			l := newLab(t)
			cmd, lines, until := child(t, mode)
			sent, got := l.stream(t, until+50*time.Millisecond)
			t.Logf("last answered question sent %v from the deadline, its answer came at %v", sent-until, got-until)
			if sent == 0 || sent >= until {
				t.Errorf("last answered question: sent %v from the deadline", sent-until)
			}
			l.expect(t, "after the deadline", false)
			if mode == "killed" {
				return
			}
			// What it was about to write when it was frozen opens nothing.
			if err := cmd.Process.Signal(unix.SIGCONT); err != nil {
				t.Fatal(err)
			}
			if lines.Scan(); lines.Text() != "lives on" {
				t.Fatalf("it says %q", lines.Text())
			}
			l.expect(t, "after it ran on", false)
		})
	}
}

// TestTakeOver: the next process finds the fence as it was, and not one question
// stays without an answer.
func TestTakeOver(t *testing.T) {
	for _, was := range []string{"the same version", "another version", "a version whose map is gone"} {
		t.Run(was, func(t *testing.T) {
			l := newLab(t)
			_, _, until := child(t, "long")
			post := filepath.Join(dir, fileName(vip4))
			before := l.programs(t, inward)
			if len(before) != 2 {
				t.Fatalf("programs %v", before)
			}
			switch was {
			case "another version":
				old := filepath.Join(post, "in-"+version(vip4, inward))
				if err := os.Rename(old, filepath.Join(post, "in-0")); err != nil {
					t.Fatal(err)
				}
			case "a version whose map is gone":
				if err := os.Remove(filepath.Join(post, untilFile)); err != nil {
					t.Fatal(err)
				}
			}
			stop, lost := make(chan struct{}), make(chan int)
			go func() { lost <- l.unanswered(stop) }()
			f := l.open(t, until)
			if f.Until() != until {
				t.Errorf("the deadline became %v, it was %v", f.Until(), until)
			}
			f.Set(long())
			close(stop)
			if n := <-lost; n != 0 {
				t.Errorf("%d questions stayed without an answer", n)
			}
			after := l.programs(t, inward)
			if len(after) != 2 || slices.Equal(before, after) != (was == "the same version") {
				t.Errorf("programs %v, before %v", after, before)
			}
			f.Set(0)
			l.expect(t, "closed by the second process", false)
			f.Set(long())
			l.expect(t, "opened by the second process", true)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			l.expect(t, "taken away by the second process", true)
		})
	}
}

// unanswered pings all the time and counts.
func (l *lab) unanswered(stop chan struct{}) (lost int) {
	for n := uint16(1); ; n++ {
		select {
		case <-stop:
			return lost
		default:
		}
		q := pingFrame(l.wire.node, l.wire.mac, peer4, vip4, n)
		if _, err := unix.Write(l.wire.fd, q); err != nil {
			return -1
		}
		if l.wire.await(answered, func(f frame) bool { return f.from(vip4, unix.IPPROTO_ICMP) && string(f[40:42]) == string(q[40:42]) }) == nil {
			lost++
		}
	}
}

// TestOthers: programs of others at the same hooks run as before, behind the
// fence; one that runs before it could let everything pass.
func TestOthers(t *testing.T) {
	l := newLab(t)
	ends := func(verdict int32) program {
		c := newCode()
		c.exit(verdict)
		fd, err := loadProgram("other", c.link())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		id, _, err := aboutProgram(fd)
		if err != nil {
			t.Fatal(err)
		}
		return program{fd, id}
	}
	const ok = 0 // TC_ACT_OK: nobody after it is asked
	first := ends(ok)
	l.attachOther(t, first.fd, inward, nil)
	f := l.open(t, 0)
	l.expect(t, "another program was there, which lets all pass", false)
	f.Set(long())
	l.expect(t, "open", true)

	blocks := ends(drop)
	l.attachOther(t, blocks.fd, inward, f)
	l.expect(t, "another program after it that drops all", false)
	if err := systemHooks().detach(blocks, l.link, inward); err != nil {
		t.Fatal(err)
	}
	if err := f.Attach(l.link); err != nil {
		t.Errorf("others after it: %v", err)
	}

	before := ends(ok)
	l.attachOther(t, before.fd, outward, nil)
	err := f.Attach(l.link)
	if _, moves := systemHooks().(clsact); moves {
		if err != nil || l.programs(t, outward)[2] != before.id {
			t.Errorf("another program before it: %v, now there are %v, want %d last", err, l.programs(t, outward), before.id)
		}
	} else if err == nil || !strings.Contains(err.Error(), "runs before the fence") {
		t.Errorf("another program before it: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for d, p := range map[direction]program{inward: first, outward: before} {
		if ids := l.programs(t, d); !slices.Equal(ids, []uint32{p.id}) {
			t.Errorf("programs %v are there after the fence went, want %d alone", ids, p.id)
		}
	}
}

// programs lists what is at a hook of the lab's link.
func (l *lab) programs(t *testing.T, d direction) (ids []uint32) {
	t.Helper()
	there, err := systemHooks().at(l.link, d)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range there {
		ids = append(ids, h.id)
	}
	return ids
}

// attachOther puts a program of somebody else behind a fence, or without one before
// all that is there.
func (l *lab) attachOther(t *testing.T, fd int, d direction, behind *Fence) {
	t.Helper()
	var err error
	switch systemHooks().(type) {
	case clsact:
		if err = filterOther(fd, d, "all"); err == nil && behind != nil {
			err = behind.Attach(l.link)
		}
	default:
		x := attach{link: uint32(l.link), fd: uint32(fd), hook: d.tcx, flags: unix.BPF_F_BEFORE}
		if behind != nil {
			x.flags, x.relative = unix.BPF_F_AFTER, uint32(behind.posts[0].of(d).fd)
		}
		_, err = bpf(unix.BPF_PROG_ATTACH, &x)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// filterOther is how somebody else's program comes to the lab's link without tcx.
func filterOther(fd int, d direction, protocol string) error {
	file := filepath.Join(bpffs, fmt.Sprintf("other%d", fd))
	if err := pin(fd, file); err != nil {
		return err
	}
	_ = exec.Command("tc", "qdisc", "add", "dev", nodeName, "clsact").Run() // it may be there
	out, err := exec.Command("tc", "filter", "add", "dev", nodeName, d.tc, "pref", "1", "protocol", protocol,
		"bpf", "direct-action", "object-pinned", file).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("tc filter add: %w: %s", err, out)
	}
	return errors.Join(err, os.Remove(file))
}

// TestLinkMadeAgain: the same programs fence the new link.
func TestLinkMadeAgain(t *testing.T) {
	l := newLab(t)
	f := l.open(t, 0)
	was := l.link
	ip(t, "link", "del", nodeName)
	if err := f.Attach(was); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the link is gone: %v", err)
	}
	l.connect(t)
	if l.link == was {
		t.Fatal("the link has the index it had: this test shows nothing")
	}
	l.expect(t, "a new link", true)
	if err := f.Attach(l.link); err != nil {
		t.Fatal(err)
	}
	l.expect(t, "a new link that is fenced", false)
	f.Set(long())
	l.expect(t, "open", true)
}

// TestRefused: a link whose frames the programs could not read, and places where
// nothing can be kept.
func TestRefused(t *testing.T) {
	l := newLab(t)
	f := l.open(t, 0)
	if err := f.Attach(mustIndex("lo")); err == nil || !strings.Contains(err.Error(), "lo is no Ethernet link") {
		t.Errorf("lo: %v", err)
	}
	if _, err := Open("/run/havip", both, 0); err == nil || !strings.Contains(err.Error(), "no BPF file system") {
		t.Errorf("a directory elsewhere: %v", err)
	}
	if _, err := Open("/run/none/havip", both, 0); err == nil || !strings.Contains(err.Error(), "is a BPF file system mounted") {
		t.Errorf("no directory: %v", err)
	}
}

// TestForgotten: a fence that nobody tends opens, and is removed by who fences
// another address; one that may still matter stays.
func TestForgotten(t *testing.T) {
	l := newLab(t)
	other := netip.MustParseAddr("198.51.100.167")
	next := func() *Fence {
		t.Helper()
		f, err := Open(dir, []netip.Addr{other}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Attach(l.link); err != nil {
			t.Fatal(err)
		}
		return f
	}
	left := l.open(t, 0)
	age := func(by time.Duration) {
		for _, p := range left.posts {
			p.clock.set(vip.Now() - by)
		}
	}
	age(forgotten - 10*time.Second)
	l.expect(t, "not forgotten yet", false)
	f := next()
	l.expect(t, "with another address's beside it", false)
	open := long()
	left.Set(open)
	if left.Tend(); left.Until() != open {
		t.Errorf("tended while it was open, it is open for %v", left.Until()-vip.Now())
	}
	age(time.Minute)
	left.Tend()
	if since := vip.Now() - left.Until(); since > time.Second {
		t.Errorf("tended, its deadline is %v ago", since)
	}
	age(forgotten)
	l.expect(t, "forgotten", true)
	again, err := Open(dir, both, long())
	if err != nil {
		t.Fatal(err)
	}
	l.expect(t, "forgotten, and taken over", false)
	if err := again.forget(); err != nil {
		t.Error(err)
	}
	age(forgotten)
	if err := f.Attach(l.link); err != nil {
		t.Fatal(err)
	}
	if ids := l.programs(t, inward); !slices.Equal(ids, []uint32{f.posts[0].in.id}) {
		t.Errorf("programs %v are there, want that of %v alone", ids, other)
	}
	if !Left(dir) {
		t.Error("nothing seems to be left")
	}
	if err := Remove(dir); err != nil || Left(dir) {
		t.Fatalf("left: %v, %v", Left(dir), err)
	}
	if ids := l.programs(t, outward); len(ids) != 0 {
		t.Errorf("programs %v are left", ids)
	}
	if err := Remove(dir); err != nil {
		t.Errorf("remove what is not there: %v", err)
	}
	if err := f.forget(); err != nil {
		t.Error(err)
	}
}

// TestRetransmission: an established connection of the VIP's that sends again and
// again, and must look for its peer, shows nobody that the address is here.
func TestRetransmission(t *testing.T) {
	for _, a := range both {
		t.Run(a.String(), func(t *testing.T) {
			l := newLab(t)
			f := l.open(t, long())
			ln, err := net.Listen("tcp", net.JoinHostPort(a.String(), "0"))
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			var client net.Conn
			inPeer(t, func() (err error) {
				client, err = net.Dial("tcp", ln.Addr().String())
				return err
			})
			defer client.Close()
			server, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			f.Set(0)
			ip(t, "neigh", "flush", "dev", nodeName)
			l.wire.drain()
			if _, err := server.Write([]byte("are you there?")); err != nil {
				t.Fatal(err)
			}
			// The first retransmission comes after 200 ms, the second 400 ms later.
			if f := l.wire.await(time.Second, func(f frame) bool { return f.mentions(a) }); f != nil {
				t.Errorf("%v", f)
			}
			f.Set(long())
			if l.wire.await(3*time.Second, func(f frame) bool { return f.from(a, unix.IPPROTO_TCP) }) == nil {
				t.Error("nothing was sent again after the fence was open: this test shows nothing")
			}
		})
	}
}

// eventually polls the kernel, which tells nobody when it is done.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(5 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no %s within 5 s", what)
		}
	}
}
