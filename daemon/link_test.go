package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"havip/election/etcd"
	"havip/vip"
)

func TestForeignClaimIsCountedAndAnsweredSeldom(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1").start()
		claim := vip.Conflict{Addr: testVIP, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}}
		b.until(time.Second)
		n1.kernel.happen(claim) // while another node may hold it: none of our business
		b.until(first + time.Second)
		before := len(b.times("n1", "announce"))
		for range 25 {
			n1.kernel.happen(claim)
			b.pass(time.Second)
		}
		if got := len(b.times("n1", "announce")) - before; got != 3 {
			t.Errorf("announced %d times in 25 s, want once in 10 s", got)
		}
		c := n1.document().Address.Conflicts
		if len(c) != 1 || c[0].Count != 25 || c[0].MAC != "02:00:00:00:00:09" || c[0].AgoMS != 1000 {
			t.Errorf("conflicts: %+v", c)
		}
		if n := strings.Count(n1.logged.String(), "somebody else claims"); n != 1 {
			t.Errorf("logged %d times", n)
		}
	})
}

// A node that comes back may have been on the far side of a partition, and
// clients with it.
func TestAnnouncedWhenAMasterComesBack(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.shell("n1").start()
		b.until(first + time.Second)
		before := len(b.times("n1", "announce"))
		n2 := b.shell("n2").start()
		b.pass(time.Second)
		n2.lock.Publish(`{"node": "n2", "healthy": true}`) // who is there already is no news
		b.pass(time.Second)
		if got := len(b.times("n1", "announce")) - before; got != 1 {
			t.Errorf("announced %d times, want once", got)
		}
		if got := b.times("n2", "announce"); len(got) > 0 {
			t.Errorf("the standby announced at %v", got)
		}
	})
}

// A lease that comes and goes is no reason to shout.
func TestAnnouncedOnceASecondForOthers(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.shell("n1").start()
		b.until(first + time.Second)
		before := len(b.times("n1", "announce"))
		for range 11 {
			b.setNode("n2", `{"node": "n2", "healthy": true}`)
			b.pass(100 * time.Millisecond)
			b.setNode("n2", "")
			b.pass(100 * time.Millisecond)
		}
		if got := len(b.times("n1", "announce")) - before; got != 3 {
			t.Errorf("announced %d times in 2.2 s, want 3", got)
		}
	})
}

// A holder whose etcd has its quorum back may have been on the smaller side.
func TestAnnouncedWhenEtcdAnswersAgain(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		b.shell("n1").start()
		b.shell("n2").start()
		b.until(first + 5*time.Second)
		before := len(b.times("n1", "announce"))
		for _, s := range []etcd.Status{{State: etcd.NoLeader}, {State: etcd.NoLeader}, ready(true), ready(true)} {
			b.lock.Lock()
			b.tell(s)
			b.lock.Unlock()
			b.pass(100 * time.Millisecond)
		}
		if got := len(b.times("n1", "announce")) - before; got != 1 {
			t.Errorf("announced %d times, want once", got)
		}
		if got := b.times("n2", "announce"); len(got) > 0 {
			t.Errorf("the standby announced at %v", got)
		}
	})
}

func TestClaimsFromManyMACsAreBounded(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1").start()
		b.until(first)
		for i := range 1000 {
			n1.kernel.happen(vip.Conflict{Addr: testVIP, MAC: net.HardwareAddr{2, 0, 0, 0, byte(i >> 8), byte(i)}})
			b.pass(125 * time.Millisecond) // as many as the watch lets through
		}
		c := n1.document().Address.Conflicts
		if len(c) != conflictsKept {
			t.Errorf("%d conflicts are kept", len(c))
		}
		if n := strings.Count(n1.logged.String(), "somebody else claims"); n > 13 {
			t.Errorf("%d lines in 125 s", n)
		}
	})
}

func TestLinkGoneAndRecreated(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n2 := b.shell("n2").start()
		n1 := b.shell("n1")
		var there atomic.Bool
		there.Store(true)
		n1.addr.link = func() (vip.Link, error) {
			if !there.Load() {
				return vip.Link{}, errors.New(`find link "eth0": no such interface`)
			}
			return vip.Link{Index: 7, Name: "eth0", Up: true, Warnings: []string{"odd"}}, nil
		}
		n1.start()
		b.pass(6 * time.Second)
		if b.holder() != "n1" {
			t.Fatalf("%s holds it", b.holder())
		}
		there.Store(false)
		n1.kernel.drop()
		n1.kernel.happen(vip.LinkChanged{Link: vip.Link{Index: 2, Name: "eth0"}, Why: vip.LinkGone})
		b.pass(100 * time.Millisecond)
		if b.holder() != "n2" || !n2.kernel.has() {
			t.Errorf("%s holds it after the link went", b.holder())
		}
		if d := n1.document(); d.Address.LinkReason != "link eth0 is gone" {
			t.Errorf("link reason %q", d.Address.LinkReason)
		}
		there.Store(true)
		n1.kernel.happen(vip.LinkChanged{Link: vip.Link{Index: 7, Name: "eth0", Up: true}, Why: vip.LinkRecreated})
		b.pass(linkEvery)
		d := n1.document()
		if d.Address.LinkReason != "" || !cmp.Equal(d.Address.Warnings, []string{"odd"}) {
			t.Errorf("link %q, warnings %q", d.Address.LinkReason, d.Address.Warnings)
		}
	})
}

// A look that began before a notice came shows what was before.
func TestNoticeDuringALook(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		var goes atomic.Bool
		n1.addr.link = func() (vip.Link, error) {
			link := eth0
			link.Warnings = []string{"odd"}
			if goes.Swap(false) {
				<-time.After(time.Millisecond)
				n1.kernel.happen(vip.LinkChanged{Link: vip.Link{Index: 2, Name: "eth0"}, Why: vip.LinkDown})
				<-time.After(time.Millisecond)
			}
			return link, nil
		}
		n1.start()
		b.pass(time.Second)
		goes.Store(true)
		b.pass(linkEvery)
		d := n1.document()
		if goes.Load() || d.Address.LinkReason != "no carrier on eth0" || !cmp.Equal(d.Address.Warnings, []string{"odd"}) {
			t.Errorf("link reason %q, warnings %q", d.Address.LinkReason, d.Address.Warnings)
		}
	})
}

// One that is there is not given up for one look that failed.
func TestLookThatFailsIsNoMissingLink(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1, n2 := b.shell("n1"), b.shell("n2")
		var fails atomic.Int32
		n1.addr.link = func() (vip.Link, error) {
			if fails.Load() > 0 {
				fails.Add(-1)
				return vip.Link{}, errors.New("find link with MAC 02:00:00:00:00:01: results may be incomplete")
			}
			return eth0, nil
		}
		n1.start()
		b.until(first + time.Second)
		n2.start()
		fails.Store(1)
		b.pass(2 * linkEvery)
		if fails.Load() != 0 || b.holder() != "n1" || len(b.times("n1", "clear")) != 0 {
			t.Errorf("%s holds it after a look that failed, n1 cleared at %v", b.holder(), b.times("n1", "clear"))
		}
		fails.Store(2)
		b.pass(linkEvery + time.Second)
		if fails.Load() != 0 || b.holder() != "n2" {
			t.Errorf("%s holds it after two in succession", b.holder())
		}
	})
}

// A link that goes between the first look at it and the begin of the watch makes
// no notice.
func TestLinkThatVanishesUnseen(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		first := true
		n1.addr.link = func() (vip.Link, error) {
			if first {
				first = false
				return eth0, nil
			}
			return vip.Link{}, fmt.Errorf(`find link "eth0": no such interface: %w`, os.ErrNotExist)
		}
		n1.addr.watch = func(ctx context.Context, _ func(vip.Event)) error { <-ctx.Done(); return nil }
		n1.start()
		b.pass(linkEvery)
		if d := n1.document(); d.Address.LinkReason != `find link "eth0": no such interface: file does not exist` {
			t.Errorf("link reason %q", d.Address.LinkReason)
		}
	})
}

func TestWarningsThatCannotBeToldAreNoMissingLink(t *testing.T) {
	in(t, func(t *testing.T, b *bench) {
		n1 := b.shell("n1")
		n1.addr.link = func() (vip.Link, error) { return eth0, errors.New("list addresses: interrupted") }
		n1.start()
		b.until(first + setTakes)
		if d := n1.document(); !n1.kernel.has() || d.Address.LinkReason != "" || len(d.Address.Warnings) != 1 {
			t.Errorf("the address is there: %v; %+v", n1.kernel.has(), d.Address)
		}
	})
}
