package check

import (
	"cmp"
	"slices"
)

// Schema is the number of the JSON's layout.
const Schema = 1

// Level says how bad a finding is.
type Level string

// The levels, worst first.
const (
	LevelError   Level = "error"   // havip or the cluster does not work so, or will not after the next failure
	LevelWarning Level = "warning" // it works, and a look is worth it
	LevelUnseen  Level = "unseen"  // could not be looked at
	LevelOK      Level = "ok"
)

var levels = []Level{LevelError, LevelWarning, LevelUnseen, LevelOK}

// Finding is what came of a look.
type Finding struct {
	Level   Level  `json:"level"`
	Look    string `json:"look"`              // its name in the catalogue
	Subject string `json:"subject,omitempty"` // what it is about: "eth0"
	What    string `json:"what"`
	Why     string `json:"why,omitempty"` // why it matters
	Fix     string `json:"fix,omitempty"` // command or edit that mends it
}

// Report is what a check came to.
type Report struct {
	Schema   int       `json:"schema"`
	Node     string    `json:"node,omitempty"` // as in [masters]
	Config   string    `json:"config"`
	Joined   bool      `json:"joined"` // the node is part of a cluster
	Errors   int       `json:"errors"`
	Warnings int       `json:"warnings"`
	Unseen   int       `json:"unseen"`
	Fine     int       `json:"fine"`
	Findings []Finding `json:"findings"` // worst first
}

// When says on which nodes a look is made.
type When string

// The two sides of kubeadm init and join.
const (
	Always When = "always"
	Before When = "before" // there is a cluster on the node
	After  When = "after"
)

// Look is one thing that is looked at.
type Look struct {
	Name  string
	About string // what must be so
	Why   string
	Fix   string // how it is mended; findings may have a nearer one
	When  When
	Parts []Part // of the facts that it is judged by
	Free  bool   // it needs no config file

	judge func(f *Facts, r *reporter)
}

// Catalogue returns every look, in the order in which they are made.
func Catalogue() []Look {
	return slices.Concat(configLooks, linkLooks, vipLooks, daemonLooks, etcdLooks, certificateLooks, nodeLooks, beforeLooks, firewallLooks, clusterLooks)
}

// Judge makes every look that applies.
func Judge(f Facts) Report {
	out := Report{Schema: Schema, Node: f.Self.Name, Config: f.Config.Path, Joined: f.Joined, Findings: []Finding{}}
	for _, l := range Catalogue() {
		out.Findings = append(out.Findings, l.make(&f)...)
	}
	for _, one := range out.Findings {
		switch one.Level {
		case LevelError:
			out.Errors++
		case LevelWarning:
			out.Warnings++
		case LevelUnseen:
			out.Unseen++
		case LevelOK:
			out.Fine++
		}
	}
	slices.SortStableFunc(out.Findings, func(a, b Finding) int {
		return cmp.Compare(slices.Index(levels, a.Level), slices.Index(levels, b.Level))
	})
	return out
}

func (l Look) make(f *Facts) []Finding {
	if l.When == Before && f.Joined || l.When == After && !f.Joined {
		return nil
	}
	r := &reporter{look: l}
	for _, p := range l.Parts {
		if why, missing := f.Missing[p]; missing {
			r.unseen(why)
			return r.findings
		}
	}
	if f.Config.File == nil && !l.Free {
		r.unseen("the config file cannot be used")
		return r.findings
	}
	l.judge(f, r)
	if len(r.findings) == 0 && !r.absent {
		r.findings = append(r.findings, Finding{Level: LevelOK, Look: l.Name, What: l.About})
	}
	return r.findings
}

// reporter takes down what a look finds. Nothing means that all is well.
type reporter struct {
	look     Look
	findings []Finding
	absent   bool
}

func (r *reporter) add(level Level, subject, what, fix string) {
	r.findings = append(r.findings, Finding{
		Level: level, Look: r.look.Name, Subject: subject, What: what, Why: r.look.Why, Fix: cmp.Or(fix, r.look.Fix),
	})
}

func (r *reporter) error(subject, what, fix string) { r.add(LevelError, subject, what, fix) }
func (r *reporter) warn(subject, what, fix string)  { r.add(LevelWarning, subject, what, fix) }

// unseen says that it could not be looked at, and why.
func (r *reporter) unseen(why string) {
	r.findings = append(r.findings, Finding{Level: LevelUnseen, Look: r.look.Name, What: why})
}

// none says that there is nothing of the kind on this node.
func (r *reporter) none() { r.absent = true }
