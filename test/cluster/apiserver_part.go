package cluster

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync/atomic"
)

// APIServerMode is how a stand-in API server behaves.
type APIServerMode string

// The modes of an API server.
const (
	Ready     APIServerMode = "ready"     // /readyz and /livez answer ok
	Failing   APIServerMode = "failing"   // /readyz answers 500
	Hanging   APIServerMode = "hanging"   // accepts connections and never answers, as without etcd's quorum
	Forbidden APIServerMode = "forbidden" // /readyz answers 403, as with anonymous authentication off
)

// apiserver stands in for kube-apiserver: just what a health check and a
// client that asks "who are you" can see of it.
type apiserver struct {
	node string
	mode atomic.Value // APIServerMode
}

// apiserverMain runs one; its arguments are the node's name, the certificate,
// the key and the first mode. Each line on stdin is a new mode, answered by
// the same line on stdout. Without a mode it is ready for ever.
func apiserverMain() error {
	if len(os.Args) != 4 && len(os.Args) != 5 {
		return errors.New("want three or four arguments: node, certificate, key, mode")
	}
	a := &apiserver{node: os.Args[1]}
	a.mode.Store(Ready)
	cert, err := tls.LoadX509KeyPair(os.Args[2], os.Args[3])
	if err != nil {
		return fmt.Errorf("load certificate: %w", err)
	}
	secure, err := net.Listen("tcp", ":6443")
	if err != nil {
		return err
	}
	who, err := net.Listen("tcp", fmt.Sprintf(":%d", whoPort))
	if err != nil {
		return err
	}
	failed := make(chan error, 3)
	go func() { failed <- a.serveHTTPS(secure, cert) }()
	go func() { failed <- a.serveWho(who) }()
	if len(os.Args) == 5 {
		a.mode.Store(APIServerMode(os.Args[4]))
		go func() { failed <- a.readModes(os.Stdin) }()
	}
	return <-failed
}

func (a *apiserver) is(m APIServerMode) bool { return a.mode.Load() == m }

func (a *apiserver) readModes(in io.Reader) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		a.mode.Store(APIServerMode(lines.Text()))
		fmt.Println(lines.Text())
	}
	return lines.Err() // nil: the cluster is gone
}

func (a *apiserver) serveHTTPS(l net.Listener, cert tls.Certificate) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", a.readyz)
	mux.HandleFunc("/livez", a.readyz)
	mux.HandleFunc("/healthz", a.readyz) // the check in kubeadm's guide for keepalived
	mux.HandleFunc("/whoami", func(w http.ResponseWriter, r *http.Request) {
		a.hang(r)
		fmt.Fprintln(w, a.node)
	})
	server := &http.Server{
		Handler:   mux,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
		ErrorLog:  log.New(io.Discard, "", 0), // a client that goes away is no news
	}
	return server.ServeTLS(l, "", "")
}

func (a *apiserver) readyz(w http.ResponseWriter, r *http.Request) {
	a.hang(r)
	switch {
	case a.is(Failing):
		http.Error(w, "[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed", http.StatusInternalServerError)
	case a.is(Forbidden):
		http.Error(w, `{"kind":"Status","status":"Failure","reason":"Forbidden","code":403}`, http.StatusForbidden)
	default:
		fmt.Fprint(w, "ok")
	}
}

// hang returns at once unless the mode is Hanging; then when the client goes.
func (a *apiserver) hang(r *http.Request) {
	if a.is(Hanging) {
		<-r.Context().Done()
	}
}

func (a *apiserver) serveWho(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go a.sayWho(conn)
	}
}

func (a *apiserver) sayWho(conn net.Conn) {
	defer conn.Close()
	if !a.is(Hanging) {
		fmt.Fprintln(conn, a.node)
	}
	// The client closes first, so that this side keeps no TIME_WAIT.
	_, _ = conn.Read(make([]byte, 1))
}
