package configs

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// parseEndpoint reads the URL of an etcd member: http or https, a host, a port.
func parseEndpoint(s string, report reporter) (string, bool) {
	u, ok := parseURL(s, endpointURL, report)
	if !ok {
		return "", false
	}
	if (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.ForceQuery {
		report(fmt.Sprintf("%q has a path or a query, etcd takes none", s), fmt.Sprintf("write %q", u.Scheme+"://"+u.Host))
		return "", false
	}
	return u.Scheme + "://" + u.Host, true
}

// parseAPIServer reads "auto", "none" or an https URL. A URL without a path
// gets /readyz.
func parseAPIServer(s string, report reporter) (string, bool) {
	if s == APIServerAuto || s == APIServerNone {
		return s, true
	}
	if !strings.ContainsAny(s, ":/.") {
		report(fmt.Sprintf("%q is not known", s), `write "auto", "none" or an https URL`)
		return "", false
	}
	u, ok := parseURL(s, apiServerURL, report)
	if !ok {
		return "", false
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/readyz"
	}
	return u.String(), true
}

// urlKind is what a URL must be like. The first scheme and the port are what a
// fix suggests.
type urlKind struct {
	schemes []string
	port    string
	fix     string // for another scheme
}

var (
	endpointURL  = urlKind{[]string{"https", "http"}, "2379", "write an http or https URL"}
	apiServerURL = urlKind{[]string{"https"}, "6443", "write an https URL: API servers speak nothing else"}
)

// parseURL reads a URL and checks its scheme, host and port.
func parseURL(s string, kind urlKind, report reporter) (*url.URL, bool) {
	scheme, port := kind.schemes[0], kind.port
	if !strings.Contains(s, "://") {
		fix := "write a URL such as " + strconv.Quote(scheme+"://127.0.0.1:"+port)
		if u, err := url.Parse(scheme + "://" + s); err == nil && badHost(u) == "" {
			fix = "write " + strconv.Quote(scheme+"://"+s)
		}
		report(fmt.Sprintf("%q has no scheme", s), fix)
		return nil, false
	}
	u, err := url.Parse(s)
	if err != nil {
		report(fmt.Sprintf("%q is not a URL", s), "write one such as "+strconv.Quote(scheme+"://127.0.0.1:"+port))
		return nil, false
	}
	if !slices.Contains(kind.schemes, u.Scheme) {
		report(fmt.Sprintf("%q has the scheme %q", s, u.Scheme), kind.fix)
		return nil, false
	}
	if u.Port() == "" && u.Hostname() != "" && !strings.HasSuffix(u.Host, ":") {
		whole := *u
		whole.Host += ":" + port
		report(fmt.Sprintf("%q has no port", s), "write "+strconv.Quote(whole.String()))
		return nil, false
	}
	if why := badHost(u); why != "" {
		report(fmt.Sprintf("%q %s", s, why), "write one such as "+strconv.Quote(scheme+"://127.0.0.1:"+port))
		return nil, false
	}
	return u, true
}

// badHost says what is wrong with the part of a URL between scheme and path.
func badHost(u *url.URL) string {
	if u.User != nil {
		return "has a user, which is not supported"
	}
	if u.Fragment != "" || u.RawFragment != "" {
		return "has a fragment, which means nothing here"
	}
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || n == 0 {
		return "has no port from 1 to 65535"
	}
	host := u.Hostname()
	if a, err := netip.ParseAddr(host); err == nil {
		if a.IsUnspecified() || a.IsMulticast() {
			return "has an address that nothing can connect to"
		}
		return ""
	}
	if notNodeName(strings.ToLower(host)) != "" {
		return "has no usable host"
	}
	return ""
}

// hostAddress returns the address in a URL that was checked before, if it has
// one and not a name.
func hostAddress(raw string) (netip.Addr, bool) {
	u, err := url.Parse(raw)
	if err != nil {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(u.Hostname())
	return a.Unmap().WithZone(""), err == nil
}

// local reports whether a checked URL plainly leads to this node itself.
func local(raw string) bool {
	if a, ok := hostAddress(raw); ok {
		return a.IsLoopback()
	}
	u, err := url.Parse(raw)
	return err == nil && strings.EqualFold(u.Hostname(), "localhost")
}
