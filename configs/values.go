package configs

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// reporter takes one problem of the value being read: what is wrong, and what to
// do about it.
type reporter func(what, fix string)

// typeName says what a decoded TOML value is, for people.
func typeName(v any) string {
	switch v.(type) {
	case string:
		return "text"
	case int64, float64:
		return "a number"
	case bool:
		return "true or false"
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "a list of tables"
	case time.Time:
		return "a date or time"
	}
	return fmt.Sprintf("a %T", v)
}

func isTable(v any) bool {
	_, one := v.(map[string]any)
	_, many := v.([]map[string]any)
	return one || many
}

// asText returns v if it is text that is not empty.
func asText(v any, report reporter) (string, bool) {
	s, ok := v.(string)
	switch {
	case !ok && (isTable(v) || typeName(v) == "a list"):
		report("is "+typeName(v)+", must be text", "write one value in quotes")
	case !ok:
		report("is "+typeName(v)+", must be text", fmt.Sprintf("put it in quotes: %q", fmt.Sprint(v)))
	case s == "":
		report("is empty", "remove the key to get the default")
	default:
		return s, true
	}
	return "", false
}

// asDuration returns v as a duration above zero.
func asDuration(v any, report reporter) (time.Duration, bool) {
	switch v := v.(type) {
	case int64, float64:
		report(fmt.Sprintf("is the number %v, must be text with a unit", v), fmt.Sprintf(`write "%vs" for seconds`, v))
		return 0, false
	case string:
		return parseDuration(v, report)
	}
	report("is "+typeName(v)+", must be a duration", `write text such as "3s" or "400ms"`)
	return 0, false
}

func parseDuration(s string, report reporter) (time.Duration, bool) {
	d, err := time.ParseDuration(s)
	if err == nil && d > 0 {
		return d, true
	}
	if err == nil {
		report(fmt.Sprintf("%q is not above 0", s), `write a duration such as "3s" or "400ms"`)
		return 0, false
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		report(fmt.Sprintf("%q has no unit", s), fmt.Sprintf("write %q for seconds", s+"s"))
		return 0, false
	}
	fix := `write a number with ms, s, m or h, such as "3s"`
	if dense := strings.ToLower(strings.Join(strings.Fields(s), "")); dense != s {
		if _, err := time.ParseDuration(dense); err == nil {
			fix = fmt.Sprintf("write %q", dense)
		}
	}
	report(fmt.Sprintf("%q is not a duration", s), fix)
	return 0, false
}

// durationText writes a duration as one would in the file: 1m, not 1m0s.
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// asCount returns v if it is a whole number from low to high.
func asCount(v any, low, high int, report reporter) (int, bool) {
	bounds := fmt.Sprintf("write a whole number from %d to %d", low, high)
	switch v := v.(type) {
	case int64:
		if v >= int64(low) && v <= int64(high) {
			return int(v), true
		}
		report(fmt.Sprintf("%d is out of bounds", v), bounds)
	case string:
		if _, err := strconv.Atoi(v); err == nil {
			bounds += ", without quotes"
		}
		report(fmt.Sprintf("is the text %q, must be a number", v), bounds)
	case float64:
		report(fmt.Sprintf("%v is no whole number", v), bounds)
	default:
		report("is "+typeName(v)+", must be a number", bounds)
	}
	return 0, false
}

// parseAddress reads an address that a node or the VIP can have. hint says where
// to find a better one.
func parseAddress(s, hint string, report reporter) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		report(fmt.Sprintf("%q is not an IP address", s), addressFix(s))
	case a.Is4In6():
		report(fmt.Sprintf("%q is an IPv4 address written as IPv6", s), fmt.Sprintf("write %q", a.Unmap()))
	case a.Zone() != "":
		report(fmt.Sprintf("%q has a zone, which only this node knows", s), hint)
	case unusable(a) != "":
		report(fmt.Sprintf("%s is %s", a, unusable(a)), hint)
	default:
		return a, true
	}
	return netip.Addr{}, false
}

func addressFix(s string) string {
	if p, err := netip.ParsePrefix(s); err == nil {
		return fmt.Sprintf("write %q: the VIP is always set as /32 (IPv6: /128)", p.Addr())
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return fmt.Sprintf("write %q, without the port", ap.Addr())
	}
	if a, err := netip.ParseAddr(strings.Trim(s, "[] \t")); err == nil {
		return fmt.Sprintf("write %q", a)
	}
	return `names are not resolved: write an address, such as "198.51.100.166"`
}

// unusable says why other machines cannot reach an address, or nothing.
func unusable(a netip.Addr) string {
	switch {
	case a.IsUnspecified():
		return "the unspecified address"
	case a.IsLoopback():
		return "a loopback address"
	case a.IsMulticast():
		return "a multicast address"
	case a.IsLinkLocalUnicast():
		return "a link-local address"
	case a.Is4() && a.As4() == [4]byte{255, 255, 255, 255}:
		return "the broadcast address"
	case a.Is4() && a.As4()[0] == 0:
		return `in 0.0.0.0/8, which means "this network" (RFC 1122 section 3.2.1.3)`
	}
	return ""
}

// parseInterface reads "auto", a MAC address or the name of a link.
func parseInterface(s string, report reporter) (Interface, bool) {
	const fix = `write "auto", a name such as "eth0", or a MAC address such as "02:00:5e:10:00:01"`
	if s == "auto" {
		return Interface{}, true
	}
	if mac, err := net.ParseMAC(s); err == nil {
		if len(mac) != 6 || mac[0]&1 == 1 || mac.String() == "00:00:00:00:00:00" {
			report(fmt.Sprintf("%q is not the MAC address of an Ethernet link", s), fix)
			return Interface{}, false
		}
		return Interface{MAC: mac}, true
	}
	if why := notLinkName(s); why != "" {
		report(fmt.Sprintf("%q is neither a link nor a MAC address: %s", s, why), fix)
		return Interface{}, false
	}
	return Interface{Name: s}, true
}

// notLinkName says why the kernel would refuse the name for a link
// (dev_valid_name in net/core/dev.c), or why it cannot carry a VIP.
func notLinkName(s string) string {
	bad := func(r rune) bool {
		return r == '/' || r == ':' || r == unicode.ReplacementChar || unicode.IsSpace(r) || unicode.IsControl(r)
	}
	switch {
	case s == "lo":
		return "nothing is announced on the loopback link"
	case s == "." || s == "..":
		return "the kernel has no such names"
	case len(s) > 15:
		return fmt.Sprintf("names have at most 15 bytes, this has %d", len(s))
	case strings.ContainsFunc(s, bad):
		return "names have no slash, colon, space or control character"
	}
	return ""
}

// notNodeName says why Kubernetes would refuse the name for a node: they are
// DNS subdomains (RFC 1123 section 2.1, lower case only).
func notNodeName(s string) string {
	if s == "" {
		return "it is empty"
	}
	if len(s) > 253 {
		return fmt.Sprintf("it has %d characters, more than 253", len(s))
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return "each part between dots begins and ends with a letter or digit"
		}
		for i := range len(label) {
			if c := label[i]; c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
				return "it has characters other than a-z, 0-9, hyphen and dot"
			}
		}
	}
	return ""
}

// parsePath reads an absolute path.
func parsePath(s string, report reporter) (string, bool) {
	switch {
	case strings.ContainsFunc(s, unicode.IsControl):
		report(fmt.Sprintf("%q has control characters", s), "write a plain path")
	case strings.HasPrefix(s, "~"):
		report(fmt.Sprintf("%q is not absolute: ~ is not expanded", s), "write the whole path, beginning with /")
	case !filepath.IsAbs(s):
		report(fmt.Sprintf("%q is not absolute", s), "write the whole path, beginning with /")
	default:
		return filepath.Clean(s), true
	}
	return "", false
}
