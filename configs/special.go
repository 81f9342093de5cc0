package configs

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	vipHint    = "choose an address of the masters' network that no machine has"
	masterHint = "write the address that the other masters reach this one at"
)

// exampleConfig is what the reference and the manual show where there is no
// default. The addresses are those of RFC 5737 and RFC 3849.
func exampleConfig() *Config {
	c := Default()
	c.VIP.Addresses = []netip.Addr{netip.MustParseAddr("198.51.100.166")}
	c.Election.Priority = make(map[string]int)
	c.Kubeadm.Advertise = make(map[string]netip.Addr)
	for i, address := range []string{"198.51.100.162", "198.51.100.163", "198.51.100.164"} {
		name := fmt.Sprintf("n%d", i+1)
		c.Masters = append(c.Masters, Master{Name: name, Address: netip.MustParseAddr(address)})
		c.Election.Priority[name] = DefaultPriority
		c.Kubeadm.Advertise[name] = netip.MustParseAddr(address)
	}
	return c
}

func addressKey(name, doc string) key {
	return key{
		name: name, takes: "IP address, or a list of one IPv4 and one IPv6 address", doc: doc,
		example: showAddresses(exampleConfig()),
		read:    readAddresses,
		show:    showAddresses,
	}
}

func readAddresses(c *Config, v any, report reporter) {
	values, isList := v.([]any)
	if !isList {
		if _, isString := v.(string); !isString {
			report("is "+typeName(v)+", must be an address or a list", `write text such as "198.51.100.166"`)
			return
		}
		values = []any{v}
	}
	if len(values) == 0 || v == "" {
		report("is empty", "write an address, or remove the key to hold nothing")
		return
	}
	var found []netip.Addr
	for _, value := range values {
		s, ok := value.(string)
		if !ok {
			report("has "+typeName(value)+" in its list", "write each address in quotes")
			continue
		}
		if a, ok := parseAddress(s, vipHint, report); ok {
			found = append(found, a)
		}
	}
	if len(found) == len(values) && onePerFamily(found, report) {
		slices.SortFunc(found, netip.Addr.Compare) // IPv4 sorts first
		c.VIP.Addresses = found
	}
}

func onePerFamily(addresses []netip.Addr, report reporter) bool {
	const fix = "keep at most one IPv4 and one IPv6 address"
	if len(addresses) > 2 {
		report(fmt.Sprintf("has %d addresses", len(addresses)), fix)
		return false
	}
	if len(addresses) == 2 && addresses[0].Is4() == addresses[1].Is4() {
		report(fmt.Sprintf("has two addresses of one family, %s and %s", addresses[0], addresses[1]), fix)
		return false
	}
	return true
}

func showAddresses(c *Config) string {
	switch len(c.VIP.Addresses) {
	case 0:
		return ""
	case 1:
		return literal(c.VIP.Addresses[0].String())
	}
	texts := make([]string, len(c.VIP.Addresses))
	for i, a := range c.VIP.Addresses {
		texts[i] = literal(a.String())
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

func interfaceKey(name, doc string) key {
	return key{
		name: name, takes: `"auto", link name or MAC address`, doc: doc,
		read: func(c *Config, v any, report reporter) {
			s, ok := asText(v, report)
			if !ok {
				return
			}
			if i, ok := parseInterface(s, report); ok {
				c.VIP.Interface = i
			}
		},
		show: func(c *Config) string { return literal(c.VIP.Interface.String()) },
	}
}

func detectionKey(name, doc string) key {
	ways := []Detection{DetectionOff, DetectionStandard, DetectionFast}
	return key{
		name: name, takes: `"off", "standard" or "fast"`, doc: doc,
		read: func(c *Config, v any, report reporter) {
			s, isText := v.(string)
			switch {
			case isText && slices.Contains(ways, Detection(s)):
				c.Election.Detection = Detection(s)
			case isText:
				report(fmt.Sprintf("%q is none of the ways there are", s), `write "off", "standard" or "fast"`)
			default:
				report("is "+typeName(v)+", must be text", `write "off", "standard" or "fast"`)
			}
		},
		show: func(c *Config) string { return literal(string(c.Election.Detection)) },
	}
}

// anyLink is how the file says that a link does not matter.
const anyLink = "any"

func heartbeatInterfaceKey(name, doc string) key {
	return key{
		name: name, takes: `"any" or link name`, doc: doc,
		read: func(c *Config, v any, report reporter) {
			s, ok := asText(v, report)
			if !ok {
				return
			}
			if s == anyLink {
				c.Election.HeartbeatInterface = ""
				return
			}
			if why := notLinkName(s); why != "" {
				report(fmt.Sprintf("%q is no link that leads to the other masters: %s", s, why), `write "any", or a name such as "eth0"`)
				return
			}
			c.Election.HeartbeatInterface = s
		},
		show: func(c *Config) string { return literal(cmp.Or(c.Election.HeartbeatInterface, anyLink)) },
	}
}

func preemptKey(name, doc string) key {
	const takes = `"off" or a duration up to 24h`
	return key{
		name: name, takes: takes, doc: doc,
		read: func(c *Config, v any, report reporter) {
			if v == "off" {
				c.Election.Preempt = 0
				return
			}
			if zero(v) || v == false {
				report(fmt.Sprintf("%v is no delay", v), `write "off" for never, or a delay such as "30s"`)
				return
			}
			d, ok := asDuration(v, report)
			if ok && d > maxPreempt {
				report(durationText(d)+" is out of bounds", "write "+takes)
			} else if ok {
				c.Election.Preempt = d
			}
		},
		show: func(c *Config) string {
			if c.Election.Preempt > 0 {
				return literal(durationText(c.Election.Preempt))
			}
			return literal("off")
		},
	}
}

// zero reports whether v is a duration of nothing.
func zero(v any) bool {
	s, ok := v.(string)
	if !ok {
		return v == int64(0)
	}
	d, err := time.ParseDuration(s)
	return err == nil && d == 0
}

func readMaster(c *Config, name string, v any, report reporter) {
	if dotted, ok := unquotedName(name, v); ok {
		report("is a table, must be an address", fmt.Sprintf("a name with dots needs quotes: %s = …", literal(dotted)))
		return
	}
	if why := notNodeName(name); why != "" {
		report(fmt.Sprintf("%q is not a node name: %s", name, why), nodeNameFix(name))
	}
	s, ok := v.(string)
	if !ok {
		report("is "+typeName(v)+", must be an address", `write one address in quotes, such as "198.51.100.162"`)
		return
	}
	if a, ok := parseAddress(s, masterHint, report); ok {
		c.Masters = append(c.Masters, Master{Name: name, Address: a})
	}
}

// unquotedName recognises what TOML makes of n1.example.org = "…": tables
// inside tables. It returns the name that was meant.
func unquotedName(name string, v any) (string, bool) {
	table, ok := v.(map[string]any)
	if !ok || len(table) == 0 {
		return "", false
	}
	part := slices.Min(slices.Collect(maps.Keys(table)))
	name += "." + part
	if notNodeName(name) != "" {
		return "", false
	}
	if !isTable(table[part]) {
		return name, true
	}
	return unquotedName(name, table[part])
}

func nodeNameFix(name string) string {
	if lower := strings.ToLower(name); lower != name && notNodeName(lower) == "" {
		return fmt.Sprintf("write %s: Kubernetes has node names in lower case", keyLiteral(lower))
	}
	return "write the name that kubectl get nodes shows"
}

func showMasters(c *Config) []entry {
	shown := make([]entry, len(c.Masters))
	for i, m := range c.Masters {
		shown[i] = entry{m.Name, literal(m.Address.String())}
	}
	return shown
}

func readPriority(c *Config, name string, v any, report reporter) {
	if dotted, ok := unquotedName(name, v); ok {
		report("is a table, must be a number", fmt.Sprintf("a name with dots needs quotes: %s = …", literal(dotted)))
		return
	}
	n, ok := asCount(v, 0, maxPriority, report)
	if !ok {
		return
	}
	if c.Election.Priority == nil {
		c.Election.Priority = make(map[string]int)
	}
	c.Election.Priority[name] = n
}

func showPriorities(c *Config) []entry {
	var shown []entry
	for _, name := range slices.Sorted(maps.Keys(c.Election.Priority)) {
		shown = append(shown, entry{name, strconv.Itoa(c.Election.Priority[name])})
	}
	return shown
}
