package fence

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

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
