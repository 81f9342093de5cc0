package configs

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// validate checks what no value can tell alone, and finishes the defaults that
// hang on other values.
func (d *decoder) validate() {
	slices.SortFunc(d.config.Masters, func(a, b Master) int { return cmp.Compare(a.Name, b.Name) })
	d.validatePresence()
	d.validateMasters()
	d.validatePriorities()
	d.validateEtcd()
	d.validateURLs()
	d.validateGateway()
	d.validateListen()
	d.validateKubeadm()
	for _, p := range d.config.unsafeTimes() {
		d.report(p.Key, p.What, p.Fix)
	}
	if len(d.problems) == 0 && d.config.Configured() {
		d.warnMasterCount()
	}
}

// validatePresence sees that the VIP and the masters come together. An empty
// section names nobody, so it asks for nothing.
func (d *decoder) validatePresence() {
	masters := d.nodes["masters"].value
	table, isSection := masters.(map[string]any)
	named := masters != nil && (!isSection || len(table) > 0)
	if d.set("vip.address") && !named {
		d.report("masters", "no master is named, though vip.address is there", `write [masters] and below it a line name = "address" for each`)
	}
	if v := d.nodes["vip"].value; v != nil && !isTable(v) || d.set("vip.address") {
		return
	}
	if !named && !d.set("vip.interface") {
		return
	}
	meant := "vip.interface"
	if named {
		meant = "[masters]"
	}
	d.report("vip.address", "is missing, though "+meant+" is there", `write address = "…" under [vip]`)
}

func (d *decoder) validateMasters() {
	seen := make(map[netip.Addr]string)
	for _, m := range d.config.Masters {
		path := entryPath("masters", m.Name)
		if slices.Contains(d.config.VIP.Addresses, m.Address) {
			d.report(path, fmt.Sprintf("%s is the VIP", m.Address), "the VIP must be an address of its own: "+vipHint)
		}
		if other, ok := seen[m.Address]; ok {
			d.report(path, fmt.Sprintf("%s is the address of %s too", m.Address, other), masterHint)
			continue
		}
		seen[m.Address] = m.Name
	}
}

func (d *decoder) validatePriorities() {
	table, ok := d.nodes["masters"].value.(map[string]any)
	if !ok {
		return // nothing to compare with
	}
	names := make([]string, 0, len(table))
	for name := range table {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, e := range showPriorities(d.config) {
		if slices.Contains(names, e.name) {
			continue
		}
		fix := "name one of [masters]"
		if near := nearest(e.name, names); near != "" {
			fix = fmt.Sprintf("did you mean %s?", near)
		}
		d.report(entryPath("election.priority", e.name), "no master has this name", fix)
	}
}

// validateEtcd settles the endpoint by the family of the masters' addresses, and the
// certificates by its scheme.
func (d *decoder) validateEtcd() {
	e := &d.config.Etcd
	if !d.set("etcd.endpoint") && d.config.allIPv6() {
		e.Endpoint = "https://[::1]:2379" // getEtcdCommand of kubeadm: listen-client-urls
	}
	if d.set("etcd.cert") != d.set("etcd.key") {
		given, missing := "etcd.cert", "key"
		if d.set("etcd.key") {
			given, missing = "etcd.key", "cert"
		}
		d.report(given, "is set without "+missing, "set both, or neither")
	}
	if !strings.HasPrefix(e.Endpoint, "http://") {
		return
	}
	for _, name := range []string{"etcd.ca", "etcd.cert", "etcd.key"} {
		if d.set(name) {
			d.report(name, "is not used with an http endpoint", "remove it, or make the endpoint https")
		}
	}
	e.CA, e.Cert, e.Key = "", "", ""
}

// allIPv6 reports whether every master advertises an IPv6 address: kubeadm then has
// etcd listen on ::1 and not on 127.0.0.1.
func (c *Config) allIPv6() bool {
	return len(c.Masters) > 0 && !slices.ContainsFunc(c.Masters, func(m Master) bool { return !c.Advertise(m).Is6() })
}

// validateURLs refuses URLs that lead to the VIP: what they ask would be
// answered by whoever holds it.
func (d *decoder) validateURLs() {
	urls := []struct{ key, url string }{
		{"etcd.endpoint", d.config.Etcd.Endpoint},
		{"health.apiserver", d.config.Health.APIServer},
	}
	for _, u := range urls {
		if a, ok := hostAddress(u.url); ok && slices.Contains(d.config.VIP.Addresses, a) {
			d.report(u.key, fmt.Sprintf("%s leads to the VIP, so to any master", u.url), "name this node's own address, or remove the key")
		}
	}
	if e := d.config.Etcd.Endpoint; d.set("etcd.endpoint") && !local(e) {
		d.warn("etcd.endpoint", fmt.Sprintf("%s is not a loopback address: on every node but one this is another node's member", e),
			"use 127.0.0.1, unless this file is this node's alone")
	}
}

func (d *decoder) warnMasterCount() {
	switch n := len(d.config.Masters); {
	case n == 1:
		d.warn("masters", "there is one master, so nobody to take over the VIP", "add two more when they exist")
	case n%2 == 0:
		d.warn("masters", fmt.Sprintf("there are %d masters: etcd survives no more failures than with %d", n, n-1), "add one or remove one")
	}
}
