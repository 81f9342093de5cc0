package configs

import (
	"encoding/base64"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Kubeconfig is what matters here of one: where it leads, and by which
// certificate.
type Kubeconfig struct {
	Servers     []string // URLs, one for each cluster
	Certificate []byte   // the first user's, PEM; empty if it is in another file
}

// ReadKubeconfig reads a kubeconfig file, such as admin.conf.
func ReadKubeconfig(path string) (Kubeconfig, error) {
	data, err := readFile(path, maxManifest)
	if err != nil {
		return Kubeconfig{}, fmt.Errorf("read kubeconfig: %w", err)
	}
	if len(data) > maxManifest {
		return Kubeconfig{}, fmt.Errorf("read kubeconfig %s: it has more than %d bytes", path, maxManifest)
	}
	k, err := parseKubeconfig(data)
	if err != nil {
		return Kubeconfig{}, fmt.Errorf("read kubeconfig %s: %w", path, err)
	}
	return k, nil
}

func parseKubeconfig(data []byte) (Kubeconfig, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return Kubeconfig{}, err
	}
	if len(doc.Content) == 0 {
		return Kubeconfig{}, errors.New("it is empty")
	}
	var k Kubeconfig
	for _, n := range items(child(doc.Content[0], "clusters")) {
		k.Servers = append(k.Servers, text(child(child(n, "cluster"), "server")))
	}
	if len(k.Servers) == 0 {
		return Kubeconfig{}, errors.New("it names no cluster")
	}
	for _, n := range items(child(doc.Content[0], "users")) {
		encoded := text(child(child(n, "user"), "client-certificate-data"))
		pem, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return Kubeconfig{}, fmt.Errorf("client-certificate-data: %w", err)
		}
		if len(pem) > 0 {
			k.Certificate = pem
			break
		}
	}
	return k, nil
}

// KubeProxy is what matters here of a KubeProxyConfiguration.
type KubeProxy struct {
	Mode              string   // "" is iptables
	NodePortAddresses []string // prefixes, or the word primary; none is every address (nftables: primary)
	StrictARP         bool     // of mode ipvs
}

// ParseKubeProxy reads a KubeProxyConfiguration, as kubeadm's ConfigMap has it.
func ParseKubeProxy(data []byte) (KubeProxy, error) {
	if len(data) > maxManifest {
		return KubeProxy{}, fmt.Errorf("read kube-proxy's configuration: it has more than %d bytes", maxManifest)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return KubeProxy{}, fmt.Errorf("read kube-proxy's configuration: %w", err)
	}
	if len(doc.Content) == 0 {
		return KubeProxy{}, errors.New("read kube-proxy's configuration: it is empty")
	}
	root := doc.Content[0]
	return KubeProxy{
		Mode: text(child(root, "mode")), NodePortAddresses: texts(child(root, "nodePortAddresses")),
		StrictARP: text(child(child(root, "ipvs"), "strictARP")) == "true",
	}, nil
}
