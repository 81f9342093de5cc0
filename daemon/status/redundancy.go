package status

import (
	"fmt"
	"strings"
)

// judgeRedundancy writes what one more failure would cost.
func judgeRedundancy(d *Document) {
	e := &d.Etcd
	e.QuorumNeeded, e.OneMoreLoses = 0, []string{}
	if e.Members <= 0 {
		d.Redundancy = "not known before etcd answers"
		return
	}
	e.QuorumNeeded = e.Members/2 + 1
	switch {
	case d.noQuorumAnywhere():
		d.Redundancy = "no quorum: " + membersWithoutLeader(d)
		return
	case !d.etcdAnswers():
		d.Redundancy = fmt.Sprintf("not known while etcd does not answer (%s, %d needed)", count(e.Members, "member"), e.QuorumNeeded)
		return
	}
	e.OneMoreLoses = oneMoreLoses(d)
	d.Redundancy = fmt.Sprintf("%d of %s: %s", e.Healthy, count(e.Members, "member"), consequence(d))
}

func oneMoreLoses(d *Document) []string {
	switch {
	case d.Etcd.Healthy <= d.Etcd.QuorumNeeded:
		return []string{"quorum", "the API", "the VIP"}
	case d.held() && d.firstInRank() == nil:
		return []string{"the VIP"}
	case d.held() && d.healthyStandbys() == 0:
		return []string{"the API behind the VIP"}
	}
	return []string{}
}

// othersUntold: etcd answers with a quorum, so members run that no havipd here tells
// of, as on masters that have another VIP already.
func (d *Document) othersUntold() bool {
	return d.etcdAnswers() && d.Etcd.Healthy < d.Etcd.QuorumNeeded
}

func consequence(d *Document) string {
	e := d.Etcd
	switch {
	case d.othersUntold():
		return fmt.Sprintf("seen by havip, and etcd has its quorum of %d: others run whose havipd is not heard", e.QuorumNeeded)
	case e.Members == 1:
		return "its failure loses " + and(e.OneMoreLoses)
	case e.Healthy == e.QuorumNeeded && e.Healthy == e.Members:
		return "any failure loses " + and(e.OneMoreLoses)
	case e.Healthy == e.QuorumNeeded:
		return "one more failure loses " + and(e.OneMoreLoses)
	case len(e.OneMoreLoses) > 0:
		return "quorum survives one more failure, but without the holder " + and(e.OneMoreLoses) + " is lost"
	case e.Healthy-e.QuorumNeeded == 1:
		return "any one of them may fail"
	}
	return fmt.Sprintf("any %d of them may fail", e.Healthy-e.QuorumNeeded)
}

func and(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " and " + list[len(list)-1]
}

func isAre(names []string) string {
	if len(names) == 1 {
		return names[0] + " is"
	}
	return and(names) + " are"
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
