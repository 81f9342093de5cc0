package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// API asks an API server over a new connection each time, as kubectl does: it is
// whoever has the virtual IP now that answers.
type API struct {
	server string
	client *http.Client
}

// kubeconfig is what an admin.conf has.
type kubeconfig struct {
	Clusters []struct {
		Cluster struct {
			Server string `yaml:"server"`
			CA     binary `yaml:"certificate-authority-data"`
		} `yaml:"cluster"`
	} `yaml:"clusters"`
	Users []struct {
		User struct {
			Certificate binary `yaml:"client-certificate-data"`
			Key         binary `yaml:"client-key-data"`
		} `yaml:"user"`
	} `yaml:"users"`
}

// NewAPI reads an admin.conf. dial is from where the client is.
func NewAPI(conf []byte, dial func(ctx context.Context, network, address string) (net.Conn, error)) (*API, error) {
	var k kubeconfig
	if err := yaml.Unmarshal(conf, &k); err != nil {
		return nil, fmt.Errorf("read admin.conf: %w", err)
	}
	if len(k.Clusters) != 1 || len(k.Users) != 1 {
		return nil, errors.New("read admin.conf: want one cluster and one user")
	}
	own, err := tls.X509KeyPair(k.Users[0].User.Certificate, k.Users[0].User.Key)
	if err != nil {
		return nil, fmt.Errorf("read admin.conf: %w", err)
	}
	ca := x509.NewCertPool()
	if !ca.AppendCertsFromPEM(k.Clusters[0].Cluster.CA) {
		return nil, errors.New("read admin.conf: no certificate of the CA")
	}
	transport := &http.Transport{
		DialContext: dial, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{own}, RootCAs: ca},
	}
	return &API{server: k.Clusters[0].Cluster.Server, client: &http.Client{Transport: transport}}, nil
}

// Server is what admin.conf names.
func (a *API) Server() string { return a.server }

// answerTime bounds one request: without quorum an API server hangs.
const answerTime = 5 * time.Second

// do sends a request and reads the answer into out, unless that is nil.
func (a *API) do(ctx context.Context, method, path, kind string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.server+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", kind)
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, bytes.TrimSpace(data))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(data, out)
}

// Get reads an object or a list.
func (a *API) Get(ctx context.Context, path string, out any) error {
	return a.do(ctx, http.MethodGet, path, "", nil, out)
}

// Delete deletes an object.
func (a *API) Delete(ctx context.Context, path string) error {
	return a.do(ctx, http.MethodDelete, path, "", nil, nil)
}

// Write makes an object of that name that nobody needs.
func (a *API) Write(ctx context.Context, name string) error {
	return a.do(ctx, http.MethodPost, "/api/v1/namespaces/default/configmaps", "application/json",
		map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]string{"name": name}}, nil)
}

// condition is one of a node's or a pod's.
type condition struct{ Type, Status string }

type object struct {
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Spec   struct{ RenewTime time.Time }
	Status struct {
		Conditions []condition
	}
}

func (o object) ready() bool {
	for _, c := range o.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True"
		}
	}
	return false
}

const masterLabel = "node-role.kubernetes.io/control-plane"

// ReadyNodes are the names of the nodes that are Ready, masters and others.
func (a *API) ReadyNodes(ctx context.Context) (masters, others []string, err error) {
	var list struct{ Items []object }
	if err := a.Get(ctx, "/api/v1/nodes", &list); err != nil {
		return nil, nil, err
	}
	for _, o := range list.Items {
		if !o.ready() {
			continue
		}
		if _, ok := o.Metadata.Labels[masterLabel]; ok {
			masters = append(masters, o.Metadata.Name)
		} else {
			others = append(others, o.Metadata.Name)
		}
	}
	return masters, others, nil
}

// ReadyPods counts the control plane's pods that are ready.
func (a *API) ReadyPods(ctx context.Context) (n int, err error) {
	var list struct{ Items []object }
	if err := a.Get(ctx, "/api/v1/namespaces/kube-system/pods", &list); err != nil {
		return 0, err
	}
	for _, o := range list.Items {
		if o.ready() && !strings.HasPrefix(o.Metadata.Name, "coredns") {
			n++
		}
	}
	return n, nil
}

// Renewed is when each node's kubelet last renewed its lease, by the node's name.
func (a *API) Renewed(ctx context.Context) (map[string]time.Time, error) {
	var list struct{ Items []object }
	if err := a.Get(ctx, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", &list); err != nil {
		return nil, err
	}
	at := map[string]time.Time{}
	for _, o := range list.Items {
		at[o.Metadata.Name] = o.Spec.RenewTime
	}
	return at, nil
}

// binary is base64 in YAML.
type binary []byte

func (b *binary) UnmarshalYAML(n *yaml.Node) error {
	return json.Unmarshal([]byte(`"`+n.Value+`"`), (*[]byte)(b))
}
