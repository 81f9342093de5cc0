package check

import "testing"

// FuzzParse: what other programs print may be anything.
func FuzzParse(f *testing.F) {
	f.Add("Id=havipd.service\nLoadState=loaded\n\nId=kubelet.service\n")
	f.Add("public (default, active)\n  target: default\n  interfaces: eth0\n  ports: 6443/tcp 1-2-3/tcp\n\trule x port port=\"1\" protocol=\"tcp\" accept\n")
	f.Add(`{"nftables":[{"chain":{"family":"ip","table":"f","name":"o","hook":"output","policy":"drop"}},{"rule":{}}]}`)
	f.Add(`{"kind":"List","items":[{"metadata":{"name":"cilium-config"},"data":{"devices":"a b"}},{"spec":{"template":{"spec":{"containers":[{"args":["--a=b","-","--"]}]}}}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		parseUnits(text)
		for _, z := range parseZones(text) {
			z.open("tcp", 6443)
		}
		if chains, err := parseRuleset([]byte(text)); err != nil && chains != nil {
			t.Error("chains with an error")
		}
		if list, err := parseObjects([]byte(text)); err == nil {
			for _, o := range list {
				for _, c := range o.Spec.Template.Spec.Containers {
					c.container()
				}
			}
		}
	})
}
