package httpapi

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"
)

// exchange is one request and its answer: the ResponseWriter that every handler gets.
type exchange struct {
	http.ResponseWriter
	id      string
	route   string // pattern, for logs and counts
	private bool   // the merchant's plane
	status  int
	bytes   int
}

func exchangeOf(w http.ResponseWriter) *exchange {
	for {
		switch x := w.(type) {
		case *exchange:
			return x
		case interface{ Unwrap() http.ResponseWriter }:
			w = x.Unwrap()
		default: // a handler of ours under somebody else's writer
			return &exchange{ResponseWriter: w, id: newRequestID()}
		}
	}
}

// WriteHeader notes the status.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 && status >= 200 || status == http.StatusSwitchingProtocols {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

// Write notes the length.
func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	n, err := x.ResponseWriter.Write(b)
	x.bytes += n
	return n, err
}

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// Hijack hands the connection to the socket hub.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	h, ok := x.ResponseWriter.(http.Hijacker)
	if !ok {
		return nil, nil, errors.New("hijack: the connection can not be taken over")
	}
	x.status = http.StatusSwitchingProtocols
	return h.Hijack()
}

// Flush is for handlers that stream.
func (x *exchange) Flush() {
	if f, ok := x.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

func newRequestID() string {
	const digits = 13                           // of 64 bits in base 36
	id := strconv.FormatUint(rand.Uint64(), 36) //nolint:gosec // it tells requests apart and keeps no secret
	return "r" + "000000000000"[:max(0, digits-len(id))] + id
}

// requestID takes the caller's ID when it is a plain word, else makes one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if len(id) < 8 || len(id) > 64 {
		return newRequestID()
	}
	for i := range len(id) {
		c := id[i]
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return newRequestID()
		}
	}
	return id
}

// plane wraps a plane's routes: request ID, the headers that every answer has, panics,
// the log and the count.
func (a *API) plane(private bool, next http.Handler) http.Handler {
	secure := a.secure && !private
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := a.cfg.Now()
		x := &exchange{ResponseWriter: w, id: requestID(r), route: "none", private: private}
		h := w.Header()
		h["X-Request-Id"] = []string{x.id}
		h["X-Content-Type-Options"] = nosniff
		h["Referrer-Policy"] = noReferrer
		if secure {
			h["Strict-Transport-Security"] = hsts
		}
		defer func() {
			if v := recover(); v != nil {
				if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(v) // net/http's own way to cut a connection
				}
				a.cfg.Log.Error("handler panicked", "request_id", x.id, "route", x.route, "err", v, "stack", string(debug.Stack()))
				if x.status == 0 {
					a.problem(x, describe(errInternal, private))
				}
			}
			took := a.cfg.Now().Sub(start)
			a.cfg.Observer.Request(x.route, r.Method, x.status, took)
			a.access(r, x, took)
		}()
		next.ServeHTTP(x, r)
	})
}

var (
	nosniff    = []string{"nosniff"}
	noReferrer = []string{"no-referrer"}
	hsts       = []string{"max-age=31536000"}
	noStore    = []string{"no-store"}
	jsonType   = []string{"application/json"}
)

// routeCallback is where WZRDPAY calls back.
const routeCallback = "POST /v1/callbacks/wzrdpay"

// access logs a request by its route: paths hold session IDs and queries hold tokens.
// What was only read and went well is for debugging, and so is a stored callback: what
// it changes is logged where it is applied, and thousands may come in a second.
func (a *API) access(r *http.Request, x *exchange, took time.Duration) {
	level := slog.LevelInfo
	read := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
	if x.status < 400 && (read || x.route == routeCallback) {
		level = slog.LevelDebug
	}
	if !a.cfg.Log.Enabled(context.Background(), level) {
		return
	}
	a.cfg.Log.LogAttrs(context.Background(), level, "request",
		slog.String("request_id", x.id), slog.String("route", x.route), slog.String("method", r.Method),
		slog.Int("status", x.status), slog.Int("bytes", x.bytes), slog.String("took", strconv.FormatFloat(took.Seconds()*1000, 'f', 2, 64)+"ms"))
}
