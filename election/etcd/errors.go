package etcd

import (
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Outcome is what is known about a write.
type Outcome int

const (
	// Unknown: it may have been applied, and may still be. The zero value, so
	// that a forgotten case is the careful one.
	Unknown Outcome = iota
	// Committed: it was applied, by a quorum.
	Committed
	// Refused: the record had another value. Result.Current is that value, as
	// of a moment after the write was sent.
	Refused
	// NotSent: it never left this process, so it was not and will not be applied.
	NotSent
	// Failed: a member refused it before it was applied, and it will not be:
	// permission, a learner, too large, overloaded.
	Failed
)

var outcomeNames = [...]string{"unknown", "committed", "refused", "not sent", "failed"}

func (o Outcome) String() string {
	if o < 0 || int(o) >= len(outcomeNames) {
		return "invalid"
	}
	return outcomeNames[o]
}

// Errors that a returned error may match with errors.Is.
var (
	// ErrNoSpace: the database reached its quota, which raised an alarm.
	ErrNoSpace = errors.New("etcd database is full (NOSPACE)")
	// ErrDenied: etcd's authentication is on and refuses this client.
	ErrDenied = errors.New("permission denied (etcd auth is on)")
	// ErrLearner: the member is a learner.
	ErrLearner = errors.New("the member is a learner")
	// ErrNoLeader: the cluster has no leader, or lost it meanwhile.
	ErrNoLeader = errors.New("etcd has no leader")
	// ErrNotConfigured: a PEM file is missing or unreadable.
	ErrNotConfigured = errors.New("etcd is not configured")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("the store is closed")
)

// denials are etcd's answers when its authentication is on and this client is
// not entitled. With a transaction they come before it is proposed or instead
// of applying it (authApplierV3.Txn in server/etcdserver/apply).
var denials = descriptions(
	rpctypes.ErrGRPCPermissionDenied,
	rpctypes.ErrGRPCUserEmpty,
	rpctypes.ErrGRPCUserNotFound,
	rpctypes.ErrGRPCInvalidAuthToken,
	rpctypes.ErrGRPCAuthFailed,
	rpctypes.ErrGRPCAuthOldRevision,
)

// rejections are etcd's other answers to a transaction that it did not apply:
// they come before the proposal, or from the outermost applier instead of
// applying. Not among them, though they look so: "server stopped", "leader
// changed" and all timeouts (the proposal may still commit), and "database space
// exceeded": quotaApplierV3.Txn applies first and says so then. While 40 clients
// filled an etcd 3.6.16, 3 of 40 writes that got this answer had been applied.
var rejections = descriptions(
	rpctypes.ErrGRPCNotSupportedForLearner,
	rpctypes.ErrGRPCRequestTooLarge,
	rpctypes.ErrGRPCRequestTooManyRequests,
	rpctypes.ErrGRPCNotCapable,
	rpctypes.ErrGRPCInvalidClientAPIVersion,
	rpctypes.ErrGRPCCorrupt,
)

// leaderless are the answers of a member whose cluster commits nothing.
var leaderless = descriptions(
	rpctypes.ErrGRPCNoLeader,
	rpctypes.ErrGRPCLeaderChanged,
	rpctypes.ErrGRPCTimeout,
	rpctypes.ErrGRPCTimeoutDueToLeaderFail,
	rpctypes.ErrGRPCTimeoutDueToConnectionLost,
	rpctypes.ErrGRPCTimeoutWaitAppliedIndex,
)

func descriptions(errs ...error) map[string]bool {
	set := make(map[string]bool, len(errs))
	for _, err := range errs {
		set[rpctypes.ErrorDesc(err)] = true
	}
	return set
}

// outcomeOf classifies the error of a write; sent says whether its request may
// have left this process. The text decides, not the code: etcd sends some of
// these with code Unknown.
func outcomeOf(err error, sent bool) Outcome {
	if !sent {
		return NotSent
	}
	var ce *callError
	if errors.As(err, &ce) {
		err = ce.err
	}
	desc := rpctypes.ErrorDesc(err)
	if denials[desc] || rejections[desc] {
		return Failed
	}
	return Unknown
}

// callError names the member of a failed call and wraps what it means.
type callError struct {
	at   string // host:port
	kind error  // one of the exported errors, or nil
	err  error  // as gRPC returned it
}

func (e *callError) Error() string   { return reason(e.at, e.err) }
func (e *callError) Unwrap() []error { return nonNil(e.kind, e.err) }

func nonNil(errs ...error) []error {
	var out []error
	for _, err := range errs {
		if err != nil {
			out = append(out, err)
		}
	}
	return out
}

func explain(at string, err error) error {
	if err == nil {
		return nil
	}
	return &callError{at: at, kind: kindOf(err), err: err}
}

func kindOf(err error) error {
	desc := rpctypes.ErrorDesc(err)
	switch {
	case denials[desc]:
		return ErrDenied
	case leaderless[desc]:
		return ErrNoLeader
	case desc == rpctypes.ErrorDesc(rpctypes.ErrGRPCNotSupportedForLearner):
		return ErrLearner
	case desc == rpctypes.ErrorDesc(rpctypes.ErrGRPCNoSpace):
		return ErrNoSpace
	}
	return nil
}

// gone says whether the kernel, where a call was to go, says that nothing is there:
// it refuses the connection, or resets one that it took for a process in the midst
// of its end.
func gone(err error) bool {
	return err != nil && (refused(err) || strings.Contains(rpctypes.ErrorDesc(err), "connection reset by peer"))
}

func refused(err error) bool { return strings.Contains(rpctypes.ErrorDesc(err), "connection refused") }

// reason says in an operator's words why a call to the member at host:port
// failed. gRPC wraps a connection's error in text only, so text is looked for.
func reason(at string, err error) string {
	desc := rpctypes.ErrorDesc(err)
	switch kind := kindOf(err); kind {
	case nil:
	case ErrLearner:
		return "the etcd member at " + at + " is a learner: it has no vote yet"
	default:
		return fmt.Sprintf("%v: %s says %q", kind, at, strings.TrimPrefix(desc, "etcdserver: "))
	}
	switch {
	case refused(err):
		return "connection refused at " + at
	case strings.Contains(desc, "remote error: tls: "):
		return at + " refuses our client certificate: " + innermost(desc)
	case strings.Contains(desc, "x509: ") || strings.Contains(desc, "tls: "):
		return "TLS with " + at + ": " + innermost(desc)
	case strings.Contains(desc, "connection error: "):
		return "connect to " + at + ": " + innermost(desc)
	case status.Code(err) == codes.DeadlineExceeded:
		return "no answer from " + at + " in time"
	case status.Code(err) == codes.Unavailable && broken(desc):
		return "connection to " + at + " was closed"
	}
	return at + ": " + strings.TrimPrefix(desc, "etcdserver: ")
}

func broken(desc string) bool {
	return strings.Contains(desc, "EOF") || strings.Contains(desc, "connection reset by peer") || strings.Contains(desc, "broken pipe")
}

// wrappings are what gRPC and crypto/tls put before the text that matters.
var wrappings = []string{
	`connection error: desc = "`, "transport: ", "Error while dialing: ",
	"authentication handshake failed: ", "error reading server preface: ",
	"remote error: tls: ", "tls: failed to verify certificate: ", "x509: ",
}

func innermost(desc string) string {
	for _, w := range wrappings {
		if i := strings.LastIndex(desc, w); i >= 0 {
			desc = desc[i+len(w):]
		}
	}
	return strings.TrimSuffix(desc, `"`)
}
