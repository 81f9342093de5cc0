package configs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Each case is a file and what it is told, one problem a line.
func TestProblems(t *testing.T) {
	for _, group := range [][]problemCase{syntaxCases, unknownCases, vipCases, masterCases, etcdCases, electionCases, healthCases, gatewayCases, metricsCases, kubeadmCases, unattendedCases} {
		for _, tt := range group {
			t.Run(tt.name, func(t *testing.T) {
				_, err := Decode("f", []byte(tt.text))
				got := "no problem"
				if err != nil {
					got = err.Error()
				}
				if diff := cmp.Diff(strings.TrimSpace(tt.want), got); diff != "" {
					t.Errorf("problems (-want +got):\n%s", diff)
				}
			})
		}
	}
}

type problemCase struct{ name, text, want string }

const vipLine = "vip.address = \"198.51.100.166\"\n"

var syntaxCases = []problemCase{
	{"duration without quotes", "[election]\nhold = 3s\n",
		`f:2:9: not TOML: expected a top-level item to end with a newline, comment, or EOF, but got 's' instead; put the value in quotes: hold = "3s"`},
	{"address without quotes", "[vip]\naddress = 198.51.100.1 # ours\n",
		`f:2:11: not TOML: Invalid float value: "198.51.100.1"; put the value in quotes: address = "198.51.100.1"`},
	{"key twice", "[vip]\naddress = \"a\"\naddress = \"b\"\n",
		`f:3: not TOML: Key 'vip.address' has already been defined; keep one of them`},
	{"word", "[vip]\n\nfoo\n",
		`f:3:4: not TOML: expected '.' or '=', but got '\n' instead; write key = "value", or begin a comment with #`},
	{"UTF-16", "\xff\xfe[\x00v\x00", `f:1:1: not TOML: files cannot contain NULL bytes; probably using UTF-16; TOML files must be UTF-8; save the file as UTF-8`},
	{"header without end", "[vip\naddress = \"x\"\n",
		`f:2:5: not TOML: expected '.' or ']' to end table name, but got '\n' instead; see https://toml.io/en/v1.0.0 for the syntax`},
}

var unknownCases = []problemCase{
	{"slip", "[vip]\nadress = \"198.51.100.166\"\n", `f:2:10: vip.adress: unknown key; did you mean address?`},
	{"section slip", "[master]\nn1 = \"198.51.100.162\"\n", `f:1: master: unknown section; did you mean masters?`},
	{"wrong case", "[VIP]\n", `f:1: VIP: unknown section; did you mean vip?`},
	{"key of another section", "hold = \"3s\"\n", `f:1:8: hold: unknown key; it belongs under [election]`},
	{"nothing like it", "[vip]\ngarp_repeat = 3\n", `f:2:15: vip.garp_repeat: unknown key; remove it; known here: address, interface`},
	{"quoted path is not a path", "\"vip.address\" = \"198.51.100.166\"\n",
		`f:1:17: "vip.address": unknown key; remove it; known here: vip, masters, etcd, election, health, metrics, kubeadm, unattended`},
	{"sections that are none", "vip = \"198.51.100.166\"\nelection = 3\n[[masters]]\nn1 = \"198.51.100.162\"\n", `
f:1:7: vip: is text, must be a section; write [vip] on a line of its own and its keys below
f:2:12: election: is a number, must be a section; write [election] on a line of its own and its keys below
f:3: masters: is a list of tables, must be a section; write [masters] on a line of its own and its keys below`},
}

var vipCases = []problemCase{
	{"no masters", vipLine, `f: masters: no master is named, though vip.address is there; write [masters] and below it a line name = "address" for each`},
	{"no masters in the section", vipLine + "[masters]\n", `f:2: masters: no master is named, though vip.address is there; write [masters] and below it a line name = "address" for each`},
	{"no address, masters", three, `f: vip.address: is missing, though [masters] is there; write address = "…" under [vip]`},
	{"no address, interface", "[vip]\ninterface = \"eth0\"\n", `f:1: vip.address: is missing, though vip.interface is there; write address = "…" under [vip]`},
	{"everything in one file", "[vip]\naddress = 5\ninterface = \"a/b\"\n[masters]\nn1 = true\n[election]\nhold = 3\nretry = \"x\"\n[health]\nrise = \"2\"\n", `
f:2:11: vip.address: is a number, must be an address or a list; write text such as "198.51.100.166"
f:3:13: vip.interface: "a/b" is neither a link nor a MAC address: names have no slash, colon, space or control character; write "auto", a name such as "eth0", or a MAC address such as "02:00:5e:10:00:01"
f:5:6: masters.n1: is true or false, must be an address; write one address in quotes, such as "198.51.100.162"
f:7:8: election.hold: is the number 3, must be text with a unit; write "3s" for seconds
f:8:9: election.retry: "x" is not a duration; write a number with ms, s, m or h, such as "3s"
f:10:8: health.rise: is the text "2", must be a number; write a whole number from 1 to 100, without quotes`},
	{"list", "[vip]\naddress = [\"198.51.100.166\", 3, \"x\"]\n" + three, `
f:2:11: vip.address: has a number in its list; write each address in quotes
f:2:11: vip.address: "x" is not an IP address; names are not resolved: write an address, such as "198.51.100.166"`},
	{"empty", "vip.address = \"\"\n" + three, `f:1:15: vip.address: is empty; write an address, or remove the key to hold nothing`},
	{"empty list", "vip.address = []\n" + three, `f:1:15: vip.address: is empty; write an address, or remove the key to hold nothing`},
	{"one family twice", "vip.address = [\"198.51.100.166\", \"198.51.100.167\"]\n" + three,
		`f:1:15: vip.address: has two addresses of one family, 198.51.100.166 and 198.51.100.167; keep at most one IPv4 and one IPv6 address`},
	{"three", "vip.address = [\"198.51.100.166\", \"198.51.100.167\", \"2001:db8::1\"]\n" + three,
		`f:1:15: vip.address: has 3 addresses; keep at most one IPv4 and one IPv6 address`},
	{"prefix", "vip.address = \"198.51.100.166/24\"\n" + three,
		`f:1:15: vip.address: "198.51.100.166/24" is not an IP address; write "198.51.100.166": the VIP is always set as /32 (IPv6: /128)`},
	{"port", "vip.address = \"[2001:db8::1]:6443\"\n" + three,
		`f:1:15: vip.address: "[2001:db8::1]:6443" is not an IP address; write "2001:db8::1", without the port`},
	{"mapped", "vip.address = \"::ffff:198.51.100.166\"\n" + three,
		`f:1:15: vip.address: "::ffff:198.51.100.166" is an IPv4 address written as IPv6; write "198.51.100.166"`},
	{"a master's address", "vip.address = \"198.51.100.163\"\n" + three,
		`f:5:6: masters.n2: 198.51.100.163 is the VIP; the VIP must be an address of its own: choose an address of the masters' network that no machine has`},
	{"long name", "vip.interface = \"enp130s0f0np0v12\"\n" + vipLine + three,
		`f:1:17: vip.interface: "enp130s0f0np0v12" is neither a link nor a MAC address: names have at most 15 bytes, this has 16; write "auto", a name such as "eth0", or a MAC address such as "02:00:5e:10:00:01"`},
}

var masterCases = []problemCase{
	{"dots without quotes", vipLine + "[masters]\nn1.example.org = \"198.51.100.162\"\n",
		`f:3:18: masters.n1: is a table, must be an address; a name with dots needs quotes: "n1.example.org" = …`},
	{"upper case", vipLine + "[masters]\nN1 = \"198.51.100.162\"\n",
		`f:3:6: masters.N1: "N1" is not a node name: it has characters other than a-z, 0-9, hyphen and dot; write n1: Kubernetes has node names in lower case`},
	{"underscore", vipLine + "[masters]\nn_1 = \"198.51.100.162\"\n",
		`f:3:7: masters.n_1: "n_1" is not a node name: it has characters other than a-z, 0-9, hyphen and dot; write the name that kubectl get nodes shows`},
	{"same address", vipLine + "[masters]\nn1 = \"2001:db8::1\"\nn2 = \"2001:0db8::1\"\n",
		`f:4:6: masters.n2: 2001:db8::1 is the address of n1 too; write the address that the other masters reach this one at`},
	{"list", vipLine + "[masters]\nn1 = [\"198.51.100.162\"]\n",
		`f:3:6: masters.n1: is a list, must be an address; write one address in quotes, such as "198.51.100.162"`},
	{"link-local", vipLine + "[masters]\nn1 = \"fe80::1\"\nn2 = \"fe80::1%eth0\"\n", `
f:3:6: masters.n1: fe80::1 is a link-local address; write the address that the other masters reach this one at
f:4:6: masters.n2: "fe80::1%eth0" has a zone, which only this node knows; write the address that the other masters reach this one at`},
}

var etcdCases = []problemCase{
	{"no scheme", "etcd.endpoint = \"127.0.0.1:2379\"\n", `f:1:17: etcd.endpoint: "127.0.0.1:2379" has no scheme; write "https://127.0.0.1:2379"`},
	{"another scheme, no port", "etcd.endpoint = \"ftp://127.0.0.1\"\n", `f:1:17: etcd.endpoint: "ftp://127.0.0.1" has the scheme "ftp"; write an http or https URL`},
	{"no port", "etcd.endpoint = \"https://[::1]\"\n", `f:1:17: etcd.endpoint: "https://[::1]" has no port; write "https://[::1]:2379"`},
	{"path", "etcd.endpoint = \"https://127.0.0.1:2379/v3\"\n",
		`f:1:17: etcd.endpoint: "https://127.0.0.1:2379/v3" has a path or a query, etcd takes none; write "https://127.0.0.1:2379"`},
	{"the VIP", vipLine + "etcd.endpoint = \"https://198.51.100.166:2379\"\n" + three,
		`f:2:17: etcd.endpoint: https://198.51.100.166:2379 leads to the VIP, so to any master; name this node's own address, or remove the key`},
	{"certificates without TLS", "[etcd]\nendpoint = \"http://127.0.0.1:2379\"\nca = \"/ca.crt\"\n",
		`f:3:6: etcd.ca: is not used with an http endpoint; remove it, or make the endpoint https`},
	{"certificate alone", "[etcd]\ncert = \"/c.crt\"\n", `f:2:8: etcd.cert: is set without key; set both, or neither`},
	{"relative paths", "[etcd]\nca = \"pki/ca.crt\"\nmanifest = \"~/etcd.yaml\"\n", `
f:2:6: etcd.ca: "pki/ca.crt" is not absolute; write the whole path, beginning with /
f:3:12: etcd.manifest: "~/etcd.yaml" is not absolute: ~ is not expanded; write the whole path, beginning with /`},
	{"a number for a path", "etcd.ca = 3\n", `f:1:11: etcd.ca: is a number, must be text; put it in quotes: "3"`},
	{"no text", "etcd.ca = \"\"\n", `f:1:11: etcd.ca: is empty; remove the key to get the default`},
}

var electionCases = []problemCase{
	{"no unit", "election.hold = \"3\"\n", `f:1:17: election.hold: "3" has no unit; write "3s" for seconds`},
	{"fraction", "election.renewal = 0.4\n", `f:1:20: election.renewal: is the number 0.4, must be text with a unit; write "0.4s" for seconds`},
	{"space", "election.hold = \"3 S\"\n", `f:1:17: election.hold: "3 S" is not a duration; write "3s"`},
	{"negative", "election.hold = \"-3s\"\n", `f:1:17: election.hold: "-3s" is not above 0; write a duration such as "3s" or "400ms"`},
	{"out of bounds", "[election]\nhold = \"2m\"\ntakeover = \"1s\"\nrenewal = \"1ms\"\nretry = \"11s\"\n", `
f:2:8: election.hold: 2m is out of bounds; write a duration from "1s" to "57.9s"
f:3:12: election.takeover: 1s is out of bounds; write a duration from "2.5s" to "1m"
f:4:11: election.renewal: 1ms is out of bounds; write a duration from "100ms" to "30s"
f:5:9: election.retry: 11s is out of bounds; write a duration from "50ms" to "10s"`},
	{"takeover too short", "[election]\ntakeover = \"4s\"\nhold = \"3s\"\n",
		`f:2:12: election.takeover: takeover 4s is too short for hold 3s: two nodes could have the VIP, since the kernel may remove it 1.3s late and clocks may differ by 1 %; set takeover to at least "4.5s", or hold to at most "2.5s"`},
	{"renewal too long", "[election]\nhold = \"3s\"\nrenewal = \"3s\"\n",
		`f:2:8: election.hold: hold 3s leaves no time to try a second time after renewal 3s and retry 200ms: one lost request would lose the VIP; set hold above "3.2s", or the other two lower`},
	{"detection unknown", "election.detection = \"faster\"\n", `f:1:22: election.detection: "faster" is none of the ways there are; write "off", "standard" or "fast"`},
	{"detection true", "election.detection = true\n", `f:1:22: election.detection: is true or false, must be text; write "off", "standard" or "fast"`},
	{"heartbeats at a low port", "election.heartbeat_port = 500\n", `f:1:27: election.heartbeat_port: 500 is out of bounds; write a whole number from 1024 to 65535`},
	{"heartbeats by lo", "election.heartbeat_interface = \"lo\"\n", `f:1:32: election.heartbeat_interface: "lo" is no link that leads to the other masters: nothing is announced on the loopback link; write "any", or a name such as "eth0"`},
	{"preempt at once", "election.preempt = \"0s\"\n", `f:1:20: election.preempt: 0s is no delay; write "off" for never, or a delay such as "30s"`},
	{"preempt false", "election.preempt = false\n", `f:1:20: election.preempt: false is no delay; write "off" for never, or a delay such as "30s"`},
	{"preempt for days", "election.preempt = \"48h\"\n", `f:1:20: election.preempt: 48h is out of bounds; write "off" or a duration up to 24h`},
	{"priority of a stranger", vipLine + "[election.priority]\nn4 = 5\nmars = 7\n" + three, `
f:3:6: election.priority.n4: no master has this name; did you mean n1?
f:4:8: election.priority.mars: no master has this name; name one of [masters]`},
	{"priority out of bounds", vipLine + "[election.priority]\nn1 = 1001\nn2 = -1\nn3 = 1.5\n" + three, `
f:3:6: election.priority.n1: 1001 is out of bounds; write a whole number from 0 to 1000
f:4:6: election.priority.n2: -1 is out of bounds; write a whole number from 0 to 1000
f:5:6: election.priority.n3: 1.5 is no whole number; write a whole number from 0 to 1000`},
	{"priority with dots", vipLine + "[election.priority]\nn1.example.org = 5\n" + three,
		`f:3:18: election.priority.n1: is a table, must be a number; a name with dots needs quotes: "n1.example.org" = …`},
}

var healthCases = []problemCase{
	{"unknown word", "health.apiserver = \"off\"\n", `f:1:20: health.apiserver: "off" is not known; write "auto", "none" or an https URL`},
	{"http", "health.apiserver = \"http://127.0.0.1:8080\"\n",
		`f:1:20: health.apiserver: "http://127.0.0.1:8080" has the scheme "http"; write an https URL: API servers speak nothing else`},
	{"no port", "health.apiserver = \"https://n1/livez\"\n", `f:1:20: health.apiserver: "https://n1/livez" has no port; write "https://n1:6443/livez"`},
	{"the VIP", vipLine + "health.apiserver = \"https://198.51.100.166:6443/readyz\"\n" + three,
		`f:2:20: health.apiserver: https://198.51.100.166:6443/readyz leads to the VIP, so to any master; name this node's own address, or remove the key`},
	{"counts", "[health]\nrise = 0\nfall = true\n", `
f:2:8: health.rise: 0 is out of bounds; write a whole number from 1 to 100
f:3:8: health.fall: is true or false, must be a number; write a whole number from 1 to 100`},
	{"no check of never", "health.interval = \"10ms\"\n", `f:1:19: health.interval: 10ms is out of bounds; write a duration from "100ms" to "1m"`},
}

var gatewayCases = []problemCase{
	{"no address", "health.gateway = \"auto\"\n",
		`f:1:18: health.gateway: "auto" is not an IP address; names are not resolved: write an address, such as "198.51.100.166"`},
	{"twice", "health.gateway = [\"198.51.100.1\", \"198.51.100.1\"]\n", `f:1:18: health.gateway: has "198.51.100.1" twice; keep one of them`},
	{"many", "health.gateway = [\"198.51.100.1\", \"198.51.100.2\", \"198.51.100.3\", \"198.51.100.4\", \"198.51.100.5\", \"198.51.100.6\", \"198.51.100.7\", \"198.51.100.8\", \"198.51.100.9\"]\n",
		`f:1:18: health.gateway: has 9 addresses; keep at most 8`},
	{"the VIP", vipLine + "health.gateway = [\"198.51.100.1\", \"198.51.100.166\"]\n" + three,
		`f:2:18: health.gateway: 198.51.100.166 is the VIP; name the gateway of the VIP's network, or another host that is always there`},
	{"a master alone", vipLine + "health.gateway = \"198.51.100.162\"\n" + three,
		`f:2:18: health.gateway: 198.51.100.162 is a master: on itself there would be nobody to ask; name the gateway of the VIP's network, or another host that is always there`},
	{"link-local", "health.gateway = [\"fe80::1\", \"198.51.100.1\"]\n", `no problem`},
	{"a zone", "health.gateway = \"fe80::1%eth0\"\n",
		`f:1:18: health.gateway: "fe80::1%eth0" has a zone, which only this node knows; name the gateway of the VIP's network, or another host that is always there`},
	{"all masters", vipLine + "health.gateway = [\"198.51.100.162\", \"198.51.100.163\"]\n" + three, `no problem`},
	{"off", "health.gateway = \"off\"\n", `no problem`},
}

const listenHint = `write "off", "self:9478" for the node's own address, or an address with a port such as "127.0.0.1:9478"`

var metricsCases = []problemCase{
	{"no port", "metrics.listen = \"127.0.0.1\"\n", `f:1:18: metrics.listen: "127.0.0.1" is not an address with a port; ` + listenHint},
	{"a name", "metrics.listen = \"localhost:9478\"\n",
		`f:1:18: metrics.listen: "localhost:9478" has the host "localhost", which is not an IP address to listen on; ` + listenHint},
	{"a low port", "metrics.listen = \":80\"\n",
		`f:1:18: metrics.listen: ":80" has the port "80"; write a port from 1024 to 65535: the daemon may not open a lower one`},
	{"no such port", "metrics.listen = \":70000\"\n",
		`f:1:18: metrics.listen: ":70000" has the port "70000"; write a port from 1024 to 65535: the daemon may not open a lower one`},
	{"a number", "metrics.listen = 9478\n", `f:1:18: metrics.listen: is a number, must be text; put it in quotes: "9478"`},
	{"the VIP", vipLine + "metrics.listen = \"198.51.100.166:9478\"\n" + three,
		`f:2:18: metrics.listen: 198.51.100.166 is the VIP: only the holder could listen there; write "self:PORT" for the node's own address`},
	{"etcd's port", "metrics.listen = \"self:2379\"\n",
		`f:1:18: metrics.listen: port 2379 is for etcd's clients, which could not start then; write another one, such as "self:9478"`},
	{"the API server's port", vipLine + "metrics.listen = \":8443\"\nkubeadm.endpoint = \"198.51.100.166:8443\"\n" + three,
		`f:2:18: metrics.listen: port 8443 is for the API server, which could not start then; write another one, such as "self:9478"`},
	{"IPv6", "metrics.listen = \"[2001:db8::1]:9478\"\n", `no problem`},
	{"self", "metrics.listen = \"self:9478\"\n", `no problem`},
}
