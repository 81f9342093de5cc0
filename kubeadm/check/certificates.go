package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// expirySoon is when a certificate's end is worth a warning. kubeadm's last a
// year and are renewed by an upgrade, or by kubeadm certs renew.
const expirySoon = 30 * 24 * time.Hour

var certificateLooks = []Look{
	{
		Name: "etcd-certificate", When: After, Parts: []Part{PartFiles},
		About: "havipd's certificate for etcd is there, readable, and of etcd's CA",
		Why:   "without it havipd cannot ask etcd, so this master neither holds the VIP nor stands by",
		Fix:   "kubeadm certs renew apiserver-etcd-client, or correct the paths under [etcd]",
		judge: judgeEtcdCertificate,
	}, {
		Name: "certificates", When: After, Parts: []Part{PartFiles},
		About: "certificates are valid for another 30 days, and go with their keys",
		Why:   "when one has expired API server and etcd refuse each other, on all masters at nearly the same time, since they were made together: no standby is left",
		Fix:   "kubeadm certs renew all on every master, then restart its static pods",
		judge: judgeCertificates,
	}, {
		Name: "api-names", When: After, Parts: []Part{PartFiles},
		About: "the API server's certificate has the VIP, the endpoint and this node's address",
		// Other masters' addresses need not be in it: who comes by one of those meets
		// that master's certificate.
		Why:   "a client that comes by a name which is not in it refuses the connection; the VIP's clients would lose the API when this master gets it",
		Fix:   "add the names to certSANs of the ClusterConfiguration (kubectl -n kube-system edit configmap kubeadm-config); then on every master move apiserver.crt and .key away and: kubeadm init phase certs apiserver --config",
		judge: judgeAPINames,
	}, {
		Name: "endpoint", When: After, Parts: []Part{PartFiles},
		About: "kubeconfig files lead to the VIP, or to this node itself",
		Why:   "a file that leads to one master stops working when that master does, whoever has the VIP",
		Fix:   "kubectl --kubeconfig FILE config set-cluster NAME --server https://VIP:6443; kubelet.conf: and restart kubelet",
		judge: judgeEndpoint,
	},
}

func judgeEtcdCertificate(f *Facts, r *reporter) {
	for _, c := range f.Certificates {
		if c.Use != UseEtcdClient {
			continue
		}
		switch {
		case c.Denied:
			r.unseen(c.Path + ": only root may read it")
		case c.Missing:
			r.error(c.Path, "is not there", "")
		case c.Error != "":
			r.error(c.Path, c.Error, "")
		case c.KeyError != "":
			r.error(c.Path, "its key does not go with it: "+c.KeyError, "")
		case c.IssuedBy != "":
			r.error(c.Path, fmt.Sprintf("is not of %s: %s", c.IssuerPath, c.IssuedBy), "")
		}
	}
}

func judgeCertificates(f *Facts, r *reporter) {
	for _, c := range f.Certificates {
		f.judgeEnd(c, r)
		if c.Use == UseEtcdClient { // the rest of it has a look of its own
			continue
		}
		switch {
		case c.Denied:
			r.unseen(c.Path + ": only root may read it")
		case c.Missing && c.Required:
			r.error(c.Path, "is not there", "")
		case c.Error != "":
			r.error(c.Path, c.Error, "")
		case c.KeyError != "":
			r.error(c.Path, "its key does not go with it: "+c.KeyError, "")
		case c.IssuedBy != "":
			r.error(c.Path, fmt.Sprintf("is not of %s: %s", c.IssuerPath, c.IssuedBy), "")
		}
	}
}

func (f *Facts) judgeEnd(c Certificate, r *reporter) {
	left := c.End.Sub(f.Now)
	switch {
	case c.Missing || c.Error != "" || c.Denied:
	case left <= 0:
		r.error(c.Path, "expired on "+c.End.UTC().Format(time.DateOnly), "")
	case f.Now.Before(c.Begin):
		r.error(c.Path, "is not valid before "+c.Begin.UTC().Format(time.DateTime)+" UTC", "set this machine's clock: chronyc makestep, or timedatectl set-ntp true")
	case left < expirySoon:
		r.warn(c.Path, fmt.Sprintf("expires on %s, in %d days", c.End.UTC().Format(time.DateOnly), left/(24*time.Hour)), "")
	}
}

func judgeAPINames(f *Facts, r *reporter) {
	i := slices.IndexFunc(f.Certificates, func(c Certificate) bool { return c.Use == UseAPIServer })
	if i < 0 || f.Certificates[i].Missing || f.Certificates[i].Error != "" || f.Certificates[i].Denied {
		r.unseen("the API server's certificate cannot be read")
		return
	}
	c, cfg := f.Certificates[i], f.Config.File
	for _, vip := range cfg.VIP.Addresses {
		if !slices.Contains(c.Addresses, vip) {
			r.error(c.Path, fmt.Sprintf("does not have the VIP %s", vip), "")
		}
	}
	if host, _ := cfg.Endpoint(); !isAddress(host) && !slices.Contains(c.Names, host) {
		r.error(c.Path, "does not have the endpoint "+host, "")
	}
	if own := cfg.Advertise(f.Self); own.IsValid() && !slices.Contains(c.Addresses, own) {
		r.error(c.Path, fmt.Sprintf("does not have this node's address %s", own), "")
	}
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

func judgeEndpoint(f *Facts, r *reporter) {
	for _, k := range f.Kubeconfigs {
		switch {
		case k.Denied:
			r.unseen(k.Path + ": only root may read it")
			continue
		case k.Error != "":
			r.error(k.Path, k.Error, "")
			continue
		}
		for _, server := range k.Servers {
			f.judgeServer(k, server, r)
		}
	}
}

// judgeServer: on a master the kubelet, the controller manager and the scheduler
// may use that master's own API server (kubeadm does it so); admin.conf is what
// operators copy, and leads to the endpoint.
func (f *Facts) judgeServer(k Kubeconfig, server string, r *reporter) {
	cfg := f.Config.File
	own := cfg.Advertise(f.Self)
	var elsewhere []string
	for _, a := range k.Addresses[server] {
		if !slices.Contains(cfg.VIP.Addresses, a) && !a.IsLoopback() && a != own && !slices.ContainsFunc(f.Links, func(l Link) bool { return l.has(a) }) {
			elsewhere = append(elsewhere, a.String())
		}
	}
	admin := strings.HasSuffix(k.Path, "/admin.conf")
	switch {
	case len(k.Addresses[server]) == 0:
		r.warn(k.Path, server+" leads nowhere: its name cannot be resolved", "make it lead to the VIP on every node, in DNS or /etc/hosts")
	case len(elsewhere) > 0 && admin:
		r.error(k.Path, fmt.Sprintf("%s leads to %s, which is not the VIP", server, strings.Join(elsewhere, ", ")), "")
	case len(elsewhere) > 0:
		r.warn(k.Path, fmt.Sprintf("%s leads to %s, which is neither the VIP nor this node", server, strings.Join(elsewhere, ", ")), "")
	case admin && !slices.ContainsFunc(k.Addresses[server], func(a netip.Addr) bool { return slices.Contains(cfg.VIP.Addresses, a) }):
		r.warn(k.Path, server+" leads to this node alone", "")
	}
}
