package status

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// The daemon's side of the wire: how answers are written and requests read, so
// that both ends agree.

// maxRequest bounds the body of a request, in bytes.
const maxRequest = 64 << 10

// WriteAnswer answers 200 with v as JSON.
func WriteAnswer(w http.ResponseWriter, v any) { write(w, http.StatusOK, v) }

// WriteFailure answers code with an error and what to do about it ("" for none).
func WriteFailure(w http.ResponseWriter, code int, message, hint string) {
	write(w, code, Failure{Message: message, Hint: hint})
}

// write ignores that the other side may have gone: nobody is left to tell.
func write(w http.ResponseWriter, code int, v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // "n1 -> n2" stays readable for whoever looks with curl
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		code = http.StatusInternalServerError
		b.Reset()
		fmt.Fprintf(&b, "{\"error\": %q}\n", "encode answer: "+err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(b.Bytes())
}

// ReadRequest reads the body of a changing call into v. An empty body leaves v
// as it is; an unknown field is refused, since what it asks for would not be done.
func ReadRequest(r *http.Request, v any) error {
	dec := json.NewDecoder(io.LimitReader(r.Body, maxRequest))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read request: %w", err)
	}
	return nil
}

// ReadWait reads the query of [PathStatus]: whether the caller waits until the
// VIP is held, and how long at most.
func ReadWait(q url.Values) (wait bool, timeout time.Duration, err error) {
	switch what := q.Get(QueryWait); what {
	case "":
		return false, 0, nil
	case WaitHeld:
	default:
		return false, 0, fmt.Errorf("read query: %s=%q is not known, only %q is", QueryWait, what, WaitHeld)
	}
	s := q.Get(QueryTimeout)
	if s == "" {
		return true, MaxWait, nil
	}
	timeout, err = time.ParseDuration(s)
	if err != nil || timeout < 0 {
		return false, 0, fmt.Errorf("read query: %s=%q is not a duration such as 30s", QueryTimeout, s)
	}
	return true, min(timeout, MaxWait), nil
}
