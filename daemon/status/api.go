package status

import "time"

// SocketPath is where the daemon listens unless it was told otherwise.
const SocketPath = "/run/havip/havipd.sock"

// Paths of the socket's HTTP API. The first is GET and readable by whoever
// may open the socket; the others are POST and need uid 0 (SO_PEERCRED).
const (
	PathStatus   = "/v1/status"
	PathHandover = "/v1/handover"   // body: HandoverRequest
	PathDrain    = "/v1/drain"      // no body
	PathShutdown = "/v1/shutdown"   // no body
	PathUndrain  = "/v1/undrain"    // no body
	PathRelease  = "/v1/release"    // body: ReleaseRequest
	PathRotate   = "/v1/key/rotate" // no body
)

// Paths that answer text, to whoever may open the socket and over TCP where
// [metrics] says so: Prometheus' format, and the health of the daemon ("ok" or
// what fails; ?verbose lists every check).
const (
	PathMetrics = "/metrics"
	PathHealthz = "/healthz" // the loop moves
	PathReadyz  = "/readyz"  // and etcd answers, and the VIP is where it should be
)

// Query of [PathStatus]: ?wait=held&timeout=30s answers as soon as the VIP is
// held ([Document.IsHeld]), or with the document of the moment when the time is
// up. The timeout is a Go duration, at most [MaxWait]; without one it is MaxWait.
const (
	QueryWait    = "wait"
	QueryTimeout = "timeout"
	WaitHeld     = "held"
)

// HandoverRequest asks the holder to give the VIP to another master.
type HandoverRequest struct {
	To string `json:"to,omitempty"` // "" leaves the choice to the rank
}

// ReleaseRequest asks to give the record up: the holder lets go, and an
// implausible record is cleared.
type ReleaseRequest struct {
	Force bool `json:"force,omitempty"` // also when a plausible record names another node
}

// Change is the answer of every changing call that was carried out (HTTP 200).
type Change struct {
	Schema  int    `json:"schema"`
	Changed bool   `json:"changed"` // false: it already was so
	Message string `json:"message"` // one sentence: what happened, how long it took
}

// Failure is the body of every answer that is not 200. The HTTP status says
// the kind: 400 the request is wrong, 403 the caller may not, 404 no such path,
// 405 wrong method, 409 not possible as things are (this node is not the
// holder, no candidate), 503 etcd does not answer, 504 sent but the outcome is
// not known yet.
type Failure struct {
	Message string `json:"error"`          // lower case, no full stop
	Hint    string `json:"hint,omitempty"` // what to do or run
}

// MaxWait bounds one waiting request, so that no connection stays for ever; the
// client asks again.
const MaxWait = 60 * time.Second
