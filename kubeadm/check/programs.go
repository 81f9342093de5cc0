package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"havip/configs"
	"havip/kubeadm"
)

// unitProperties are those that a Unit is made of (org.freedesktop.systemd1(5)).
const unitProperties = "Id,LoadState,UnitFileState,After,Requires,Requisite,BindsTo,PartOf"

func (n Node) lookAtUnits(ctx context.Context, _ *Facts) (func(*Facts), error) {
	said, err := n.Ask(ctx, "systemctl", "show", "--no-pager", "--property="+unitProperties, unitHavipd, unitKubelet)
	if err != nil {
		return nil, err
	}
	units := parseUnits(said)
	return func(f *Facts) { f.Units = units }, nil
}

func parseUnits(said string) map[string]Unit {
	units := make(map[string]Unit)
	for block := range strings.SplitSeq(said, "\n\n") {
		p := make(map[string]string)
		for line := range strings.Lines(block) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			p[name] = value
		}
		if p["Id"] == "" {
			continue
		}
		u := Unit{
			Loaded: p["LoadState"] == "loaded", After: strings.Fields(p["After"]),
			Enabled: slices.Contains([]string{"enabled", "enabled-runtime", "static", "generated"}, p["UnitFileState"]),
		}
		for _, name := range []string{"Requires", "Requisite", "BindsTo", "PartOf"} {
			u.Needs = append(u.Needs, strings.Fields(p[name])...)
		}
		units[p["Id"]] = u
	}
	return units
}

func (n Node) lookAtFirewall(ctx context.Context, f *Facts) (func(*Facts), error) {
	var w Firewall
	if f.Config.File != nil && len(n.processes("firewalld")) > 0 {
		link, _ := f.vipLink()
		zone, err := n.zone(ctx, link.Name)
		w.Firewalld = zone
		if err != nil {
			w.Error = err.Error()
		}
	}
	chains, err := n.chains(ctx)
	w.Chains = chains
	if err != nil {
		w.ChainsError = err.Error()
	}
	return func(f *Facts) { f.Firewall = w }, nil
}

// zone asks firewalld for the zone of a link.
func (n Node) zone(ctx context.Context, link string) (*Firewalld, error) {
	name, err := n.Ask(ctx, "firewall-cmd", "--get-default-zone")
	if err != nil {
		return nil, err
	}
	said, err := n.Ask(ctx, "firewall-cmd", "--list-all-zones")
	if err != nil {
		return nil, err
	}
	zones := parseZones(said)
	i := slices.IndexFunc(zones, func(z *zone) bool { return slices.Contains(z.links, link) })
	if i < 0 {
		i = slices.IndexFunc(zones, func(z *zone) bool { return z.Zone == strings.TrimSpace(name) })
	}
	if i < 0 {
		return nil, fmt.Errorf("there is no zone %q", name)
	}
	z := zones[i].Firewalld
	z.BySource = slices.ContainsFunc(zones, func(z *zone) bool { return z.sources })
	return &z, nil
}

type zone struct {
	Firewalld
	links   []string
	sources bool
}

// What a rich rule accepts (firewalld.richlanguage(5)), as firewall-cmd writes it.
var (
	richPort    = regexp.MustCompile(`^rule .*\bport port="([0-9-]+)" protocol="(tcp)" .*\baccept$`)
	richService = regexp.MustCompile(`^rule .*\bservice name="([^"]+)" .*\baccept$`)
)

// parseZones reads what firewall-cmd --list-all-zones prints: a line with the name
// of each zone, and its settings indented below.
func parseZones(said string) []*zone {
	var list []*zone
	for line := range strings.Lines(said) {
		if fields := strings.Fields(line); len(fields) > 0 && !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
			list = append(list, &zone{Firewalld: Firewalld{Zone: fields[0]}})
			continue
		}
		if len(list) == 0 {
			continue
		}
		z, text := list[len(list)-1], strings.TrimSpace(line)
		if m := richPort.FindStringSubmatch(text); m != nil {
			z.Ports = append(z.Ports, m[1]+"/"+m[2])
		}
		if m := richService.FindStringSubmatch(text); m != nil {
			z.Services = append(z.Services, m[1])
		}
		key, value, _ := strings.Cut(text, ":")
		switch key {
		case "target":
			z.Target = strings.TrimSpace(value)
		case "interfaces":
			z.links = strings.Fields(value)
		case "sources":
			z.sources = strings.TrimSpace(value) != ""
		case "services":
			z.Services = strings.Fields(value)
		case "ports":
			z.Ports = strings.Fields(value)
		}
	}
	return list
}

// chains lists the base chains that drop what no rule takes. nft shows those of
// iptables-nft too; the older iptables has tables of its own, and is only asked if
// one is loaded, since asking would load it.
func (n Node) chains(ctx context.Context) ([]Chain, error) {
	said, err := n.Ask(ctx, "nft", "--json", "--terse", "list", "ruleset")
	if err != nil && !errors.Is(err, kubeadm.ErrNotInstalled) {
		return nil, err
	}
	var chains []Chain
	if err == nil {
		if chains, err = parseRuleset([]byte(said)); err != nil {
			return nil, err
		}
	}
	legacy := slices.Contains(strings.Fields(n.read("proc/net/ip_tables_names")), "filter")
	if !legacy {
		return chains, err
	}
	said, err = n.Ask(ctx, "iptables-legacy", "-S", "OUTPUT")
	if err != nil {
		return chains, err
	}
	if strings.Contains(said, "-P OUTPUT DROP") {
		chains = append(chains, Chain{Family: "ip", Table: "filter", Name: "OUTPUT", Hook: "output", Rules: strings.Count(said, "-A OUTPUT")})
	}
	return chains, nil
}

// parseRuleset reads libnftables-json(5).
func parseRuleset(data []byte) ([]Chain, error) {
	var all struct {
		Objects []struct {
			Chain *struct {
				Family, Table, Name, Hook, Policy string
			}
			Rule *struct {
				Family, Table, Chain string
			}
		} `json:"nftables"`
	}
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("read the ruleset of nft: %w", err)
	}
	rules := make(map[[3]string]int)
	for _, o := range all.Objects {
		if o.Rule != nil {
			rules[[3]string{o.Rule.Family, o.Rule.Table, o.Rule.Chain}]++
		}
	}
	var chains []Chain
	for _, o := range all.Objects {
		if c := o.Chain; c != nil && c.Policy == "drop" {
			chains = append(chains, Chain{Family: c.Family, Table: c.Table, Name: c.Name, Hook: c.Hook, Rules: rules[[3]string{c.Family, c.Table, c.Name}]})
		}
	}
	return chains, nil
}

// kubectlTime bounds the API server's answer, below the time of the part.
const kubectlTime = "--request-timeout=3s"

func (n Node) lookAtCluster(ctx context.Context, f *Facts) (func(*Facts), error) {
	if !f.Joined {
		return func(*Facts) {}, nil
	}
	if n.UID != 0 {
		return nil, errors.New("only root may use admin.conf")
	}
	ask := func(args ...string) ([]object, error) {
		said, err := n.Ask(ctx, "kubectl", append([]string{"--kubeconfig=" + n.path("etc/kubernetes/admin.conf"), kubectlTime}, args...)...)
		if err != nil {
			return nil, err
		}
		return parseObjects([]byte(said))
	}
	sets, err := ask("get", "daemonsets", "--all-namespaces", "--output=json")
	if err != nil {
		return nil, err
	}
	maps, err := ask("get", "configmaps", "kube-proxy", "cilium-config", "--namespace=kube-system", "--ignore-not-found", "--output=json")
	if err != nil {
		return nil, err
	}
	c, err := cluster(f.Config.File, sets, maps)
	if err != nil {
		return nil, err
	}
	if c.Cilium != nil && c.Cilium.Host != "" {
		c.Cilium.Addresses = n.lookUp(ctx, c.Cilium.Host)
	}
	return func(f *Facts) { f.Cluster = c }, nil
}

// object is what matters of a DaemonSet or a ConfigMap.
type object struct {
	Metadata struct{ Name, Namespace string }
	Data     map[string]string
	Spec     struct {
		Template struct {
			Spec struct{ Containers []podContainer }
		}
	}
}

type podContainer struct {
	Command, Args []string
	Env           []struct{ Name, Value string }
}

// parseObjects reads a list, a single object, or nothing.
func parseObjects(data []byte) ([]object, error) {
	if len(strings.TrimSpace(string(data))) == 0 {
		return nil, nil
	}
	var list struct {
		Kind  string
		Items []object
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("read what kubectl says: %w", err)
	}
	if list.Kind == "List" || strings.HasSuffix(list.Kind, "List") {
		return list.Items, nil
	}
	var one object
	if err := json.Unmarshal(data, &one); err != nil {
		return nil, fmt.Errorf("read what kubectl says: %w", err)
	}
	return []object{one}, nil
}

func cluster(cfg *configs.Config, sets, maps []object) (Cluster, error) {
	var c Cluster
	for _, set := range sets {
		for _, one := range set.Spec.Template.Spec.Containers {
			c.daemonSet(cfg, set.Metadata.Namespace+"/"+set.Metadata.Name, one.container())
		}
	}
	for _, m := range maps {
		switch m.Metadata.Name {
		case "kube-proxy":
			p, err := configs.ParseKubeProxy([]byte(m.Data["config.conf"]))
			if err != nil {
				return c, err
			}
			c.KubeProxy = &p
		case "cilium-config":
			if c.Cilium == nil {
				c.Cilium = &Cilium{}
			}
			// "strict" was its name for true until 1.14.
			c.Cilium.Replacement = m.Data["kube-proxy-replacement"] == "true" || m.Data["kube-proxy-replacement"] == "strict"
			c.Cilium.Devices = strings.FieldsFunc(m.Data["devices"], func(r rune) bool { return r == ' ' || r == ',' })
		}
	}
	return c, nil
}

func (c *Cluster) daemonSet(cfg *configs.Config, name string, one configs.Container) {
	_, bare, _ := strings.Cut(name, "/")
	switch {
	case kubeadm.HoldsVIP(one, cfg):
		c.KubeVIP = append(c.KubeVIP, name)
	case bare == "calico-node" && c.Calico == nil:
		c.Calico = &Calico{DaemonSet: name, Method: one.Env["IP_AUTODETECTION_METHOD"], Method6: one.Env["IP6_AUTODETECTION_METHOD"], IP: one.Env["IP"]}
	case bare == "cilium" && c.Cilium == nil:
		c.Cilium = &Cilium{Host: one.Env["KUBERNETES_SERVICE_HOST"]}
	}
}

func (p podContainer) container() configs.Container {
	c := configs.Container{Env: make(map[string]string), Flags: make(map[string]string)}
	for _, e := range p.Env {
		c.Env[e.Name] = e.Value
	}
	for _, word := range append(slices.Clone(p.Command), p.Args...) {
		if bare := strings.TrimLeft(word, "-"); bare != word {
			name, value, joined := strings.Cut(bare, "=")
			if !joined {
				value = "true"
			}
			c.Flags[name] = value
		}
	}
	return c
}
