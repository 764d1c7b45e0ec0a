package httpapi_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/httpapi"
	pages "wzrdcheckout/internal/page"
)

// The document and the handlers know the same operations.
func TestOpenAPI_BothWays(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	public, private := w.api.Routes()
	served := map[string]bool{}
	for _, p := range slices.Concat(public, private) {
		served[p] = true
	}
	var doc struct {
		OpenAPI string                                `json:"openapi"`
		Paths   map[string]map[string]json.RawMessage `json:"paths"`
	}
	text, err := os.ReadFile("../../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("openapi = %q, want 3.1.0", doc.OpenAPI)
	}
	for path, ops := range doc.Paths {
		for method := range ops {
			pattern := strings.ToUpper(method) + " " + path
			if !served[pattern] {
				t.Errorf("%s is in the document and not served", pattern)
			}
			delete(served, pattern)
		}
	}
	for pattern := range served {
		t.Errorf("%s is served and not in the document", pattern)
	}
	if got := w.do(request{private: true, path: "/openapi.json"}); got.text != string(text) {
		t.Errorf("GET /openapi.json differs from docs/openapi.json")
	}
}

// The answers that the widget's tests read.
func TestGoldens(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	text := w.do(request{path: "/v1/checkout", header: auth(payToken)}).text
	var drawn struct {
		HTML string `json:"html"`
	}
	if err := json.Unmarshal([]byte(text), &drawn); err != nil || !strings.HasPrefix(drawn.HTML, `<div class="wz"`) || !strings.Contains(drawn.HTML, "card_eur_hpp") {
		t.Fatalf("html = %s, %v, want the widget", drawn.HTML, err)
	}
	front, _, _ := strings.Cut(text, `"html":`) // what it looks like is the widget's own test
	golden(t, "checkout.json", front+`"html":"<div class=\"wz\"></div>"}`)
	golden(t, "problem_422.json", w.do(request{method: "POST", path: "/v1/checkout/invoice", body: `{"service":"bank_eur","fields":{"iban":"x"}}`, header: named(auth(payToken))}).text)
	w.fake.redirect = checkout.Redirect{Method: "POST", URL: "https://provider.example/pay", Params: map[string]string{"token": "t1"}}
	invoice := w.do(request{method: "POST", path: "/v1/checkout/invoice", body: `{"service":"card_eur_hpp"}`, header: auth(payToken)})
	golden(t, "invoice_201.json", invoice.text)
	if invoice.Code != 201 {
		t.Errorf("POST invoice = %d, want 201", invoice.Code)
	}
	w.fake.payErr = &httpapi.Conflict{Err: &checkout.Error{Kind: checkout.ErrConflict, Code: "attempt_open", Detail: "another payment is under way", Retryable: true}, Session: w.fake.session, Redirect: &w.fake.redirect}
	golden(t, "problem_409.json", w.do(request{method: "POST", path: "/v1/checkout/invoice", body: `{"service":"bank_eur"}`, header: named(auth(payToken))}).text)
	shown := w.fake.session
	shown.Metadata = checkout.JSON("{}")
	session, err := json.Marshal(shown)
	if err != nil {
		t.Fatal(err)
	}
	w.fake.frame = fmt.Appendf(nil, `{"type":"session","revision":2,"session":%s}`, session)
	golden(t, "frame.json", w.do(request{path: "/v1/checkout/updates?revision=1&wait=0", header: auth(payToken)}).text)
}

// named fixes the request's ID, which goldens hold.
func named(h map[string]string) map[string]string {
	h["X-Request-Id"] = "golden-request"
	return h
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		err    error
		status int
		code   string
		retry  bool
	}{
		{"invalid with fields", checkout.Invalid(checkout.FieldError{Field: "amount", Code: "digits", Message: "too many digits"}), 422, "invalid", false},
		{"invalid as a whole", &checkout.Error{Kind: checkout.ErrInvalid, Code: "bad_cursor"}, 400, "bad_cursor", false},
		{"malformed", &checkout.Error{Kind: checkout.ErrInvalid, Code: "malformed_json"}, 400, "malformed_json", false},
		{"unauthorized", checkout.ErrUnauthorized, 401, "unauthorized", false},
		{"forbidden", checkout.ErrForbidden, 403, "forbidden", false},
		{"not found", fmt.Errorf("read session: %w", checkout.ErrNotFound), 404, "not_found", false},
		{"conflict", checkout.ErrConflict, 409, "conflict", false},
		{"too large", checkout.ErrTooLarge, 413, "too_large", false},
		{"limited", checkout.ErrLimited, 429, "limited", true},
		{"upstream", checkout.ErrUpstream, 502, "upstream", false},
		{"unavailable", checkout.ErrUnavailable, 503, "unavailable", true},
		{"timeout", checkout.ErrTimeout, 504, "timeout", true},
		{"deadline", fmt.Errorf("call: %w", context.DeadlineExceeded), 504, "timeout", true},
		{"no kind", errors.New("sk_live_secret at 10.0.0.1"), 500, "internal", true},
		{"WZRDPAY is not sure", &checkout.UpstreamError{Operation: "POST /payment-invoices", Status: 500, Directive: checkout.LookUp, Kind: checkout.ErrUpstream}, 502, "upstream", true},
		{"WZRDPAY refuses us", &checkout.UpstreamError{Operation: "POST /payment-invoices", Status: 403, Code: "x y", Detail: "sk_live_secret", Directive: checkout.NotCreated, Kind: checkout.ErrUpstream}, 502, "upstream", false},
		{"WZRDPAY is busy", &checkout.UpstreamError{Operation: "POST /payment-invoices", Status: 429, Code: "rate_limited", Directive: checkout.Later, RetryAfter: 7, Kind: checkout.ErrUnavailable}, 503, "rate_limited", true},
		{"WZRDPAY names a field", &checkout.UpstreamError{Operation: "POST /payment-invoices", Status: 422, Code: "refused", Directive: checkout.NotCreated, Kind: checkout.ErrInvalid, Fields: []checkout.FieldError{{Field: "phone", Code: "refused", Message: "is refused"}}}, 422, "refused", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := open(t, nil)
			w.fake.payErr = c.err
			a := w.do(request{method: "POST", path: "/v1/checkout/invoice", body: `{"service":"card_eur_hpp"}`, header: auth(payToken)})
			var p struct {
				Type, Code string
				Status     int
				Retryable  bool
				Errors     map[string]struct{ Code, Message string }
			}
			if err := json.Unmarshal([]byte(a.text), &p); err != nil {
				t.Fatal(err)
			}
			if a.Code != c.status || p.Status != c.status || p.Code != c.code || p.Retryable != c.retry || p.Type != "urn:wzrdcheckout:problem:"+c.code {
				t.Errorf("problem = %d %s, want %d %s retryable %v", a.Code, a.text, c.status, c.code, c.retry)
			}
			if a.Header().Get("Cache-Control") != "no-store" || a.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("headers = %v, want no-store and nosniff", a.Header())
			}
			if (c.status == 429 || c.status == 503) != (a.Header().Get("Retry-After") != "") {
				t.Errorf("Retry-After of %d = %q", c.status, a.Header().Get("Retry-After"))
			}
			if c.name == "WZRDPAY is busy" && a.Header().Get("Retry-After") != "7" {
				t.Errorf("Retry-After = %q, want 7", a.Header().Get("Retry-After"))
			}
			if c.status == 401 && !strings.HasPrefix(a.Header().Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("WWW-Authenticate = %q, want Bearer", a.Header().Get("WWW-Authenticate"))
			}
			if c.status == 422 && len(p.Errors) != 1 {
				t.Errorf("errors = %v, want one", p.Errors)
			}
			if strings.Contains(a.text, "secret") || strings.Contains(a.text, "10.0.0.1") {
				t.Errorf("answer tells a secret: %s", a.text)
			}
		})
	}
}

// What is too large is refused before it is read whole; who counts callbacks hears of it.
func TestCallback_TooLarge(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		size      int
		status    int
		oversized int
	}{
		{"as large as it may be", 1 << 20, 200, 0},
		{"a byte more", 1<<20 + 1, 413, 1},
		{"much more", 3 << 20, 413, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := open(t, nil)
			a := w.do(request{method: "POST", path: "/v1/callbacks/wzrdpay", body: strings.Repeat(" ", tt.size), header: map[string]string{"X-Signature": "good"}})
			if a.Code != tt.status || w.fake.oversized != tt.oversized {
				t.Errorf("status = %d, %d counted as too large, want %d, %d", a.Code, w.fake.oversized, tt.status, tt.oversized)
			}
		})
	}
}

// Many a client writes its whole body before it reads an answer: it must get to read 413.
func TestTooLarge_IsHeard(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(open(t, nil).api.Public())
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	const size = 3 << 20
	if _, err := fmt.Fprintf(conn, "POST /v1/callbacks/wzrdpay HTTP/1.1\r\nHost: pay\r\nContent-Length: %d\r\n\r\n", size); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(bytes.Repeat([]byte("a"), size)); err != nil {
		t.Fatalf("write a body of %d bytes: %v, want it taken", size, err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status = %d, want 413", answer.StatusCode)
	}
}

// A redirect without hidden inputs has an empty object of them, in a conflict too.
func TestConflict_Params(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.fake.payErr = &httpapi.Conflict{Err: checkout.ErrConflict, Session: w.fake.session, Redirect: &checkout.Redirect{Method: "GET", URL: "https://provider.example/pay"}}
	a := w.do(request{method: "POST", path: "/v1/checkout/invoice", body: `{"service":"bank_eur"}`, header: auth(payToken)})
	if !strings.Contains(a.text, `"params":{}`) {
		t.Errorf("conflict = %s, want params {}", a.text)
	}
}

// On the merchant's plane a problem says what WZRDPAY's answer means.
func TestProblem_Directive(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.fake.err = &checkout.UpstreamError{Operation: "GET /payment-services", Status: 403, Detail: "account is disabled", Directive: checkout.NotCreated, Kind: checkout.ErrUpstream}
	a := w.do(request{private: true, path: "/v1/services"})
	if a.Code != 502 || !strings.Contains(a.text, `"directive":"not_created"`) || !strings.Contains(a.text, "account is disabled") {
		t.Errorf("GET /v1/services = %d %s, want 502 with directive and detail", a.Code, a.text)
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	huge := `{"description":"` + strings.Repeat("x", 300<<10) + `"}`
	for _, c := range []struct {
		name string
		request
		change func(*fake)
		status int
		want   string // in the body or a header
	}{
		{name: "checkout without a token", request: request{path: "/v1/checkout"}, status: 401, want: "token_missing"},
		{name: "checkout with a forged token", request: request{path: "/v1/checkout", header: auth("x")}, status: 401, want: "token_invalid"},
		{name: "checkout with an old token", request: request{path: "/v1/checkout", header: auth("old")}, status: 401, want: "token_expired"},
		{name: "token of another scheme", request: request{path: "/v1/checkout", header: map[string]string{"Authorization": "Basic " + payToken}}, status: 401, want: "token_missing"},
		{name: "merchant key is no token", request: request{path: "/v1/checkout", header: auth(merchantKey)}, status: 401},
		{name: "status reads", request: request{path: "/v1/checkout", header: auth(statusToken)}, status: 200},
		{name: "status does not pay", request: request{method: "POST", path: "/v1/checkout/invoice", body: `{"service":"card_eur_hpp"}`, header: auth(statusToken)}, status: 403, want: "read_only_token"},
		{name: "pay with a form", request: request{method: "POST", path: "/v1/checkout/invoice", body: `{}`, header: map[string]string{"Authorization": "Bearer " + payToken, "Content-Type": "text/plain"}}, status: 415},
		{name: "pay with charset", request: request{method: "POST", path: "/v1/checkout/invoice", body: `{"service":"card_eur_hpp"}`, header: map[string]string{"Authorization": "Bearer " + payToken, "Content-Type": "application/json; charset=utf-8"}}, status: 201},
		{name: "pay with no JSON", request: request{method: "POST", path: "/v1/checkout/invoice", body: `{"service":`, header: auth(payToken)}, status: 400, want: "malformed_json"},
		{name: "pay with an array", request: request{method: "POST", path: "/v1/checkout/invoice", body: `[]`, header: auth(payToken)}, status: 400, want: "malformed_json"},
		{name: "pay with an unknown member", request: request{method: "POST", path: "/v1/checkout/invoice", body: `{"service":"a","amount":1}`, header: auth(payToken)}, status: 422},
		{name: "pay too much text", request: request{method: "POST", path: "/v1/checkout/invoice", body: huge, header: auth(payToken)}, status: 413},
		{name: "pay with a strange key", request: request{method: "POST", path: "/v1/checkout/invoice", body: `{"service":"card_eur_hpp"}`, header: map[string]string{"Authorization": "Bearer " + payToken, "Idempotency-Key": "a b"}}, status: 400, want: "bad_idempotency_key"},
		{name: "pay again", request: request{method: "POST", path: "/v1/checkout/invoice", body: `{"service":"card_eur_hpp"}`, header: auth(payToken)}, change: func(f *fake) { f.replayed = true }, status: 200},
		{name: "pay by GET", request: request{path: "/v1/checkout/invoice", header: auth(payToken)}, status: 405, want: "POST"},
		{name: "nothing new", request: request{path: "/v1/checkout/updates?revision=3", header: auth(statusToken)}, status: 204},
		{name: "a revision that is none", request: request{path: "/v1/checkout/updates?revision=a", header: auth(payToken)}, status: 422, want: `"revision"`},
		{name: "a wait that is none", request: request{path: "/v1/checkout/updates?wait=a", header: auth(payToken)}, status: 422, want: `"wait"`},
		{name: "updates without a token", request: request{path: "/v1/checkout/updates"}, status: 401},
		{name: "a socket by plain GET", request: request{path: "/v1/checkout/ws"}, status: 426},
		{name: "a socket", request: request{path: "/v1/checkout/ws", header: map[string]string{"Upgrade": "WebSocket"}}, status: 418},
		{name: "no such address", request: request{path: "/v2/checkout"}, status: 404, want: "no_such_address"},
		{name: "the root", request: request{path: "/"}, status: 404},
		{name: "merchant's plane is not public", request: request{path: "/v1/sessions/" + sessionID, header: auth(merchantKey)}, status: 404},
		{name: "metrics are not public", request: request{path: "/metrics"}, status: 404},

		{name: "callback", request: request{method: "POST", path: "/v1/callbacks/wzrdpay", body: `{"a":1}`, header: map[string]string{"X-Signature": "good"}}, status: 200},
		{name: "callback of another type", request: request{method: "POST", path: "/v1/callbacks/wzrdpay", body: `{"a":1}`, header: map[string]string{"X-Signature": "good", "Content-Type": "application/vnd.api+json"}}, status: 200},
		{name: "callback forged", request: request{method: "POST", path: "/v1/callbacks/wzrdpay", body: `{"a":1}`, header: map[string]string{"X-Signature": "bad"}}, status: 401},
		{name: "callback unsigned", request: request{method: "POST", path: "/v1/callbacks/wzrdpay", body: `{"a":1}`}, status: 401},
		{name: "callback no JSON", request: request{method: "POST", path: "/v1/callbacks/wzrdpay", body: `a`, header: map[string]string{"X-Signature": "good"}}, change: func(f *fake) {
			f.err = checkout.Invalid(checkout.FieldError{Field: "body", Code: "json"})
		}, status: 400},
		{name: "callback, store slow", request: request{method: "POST", path: "/v1/callbacks/wzrdpay", body: `{}`, header: map[string]string{"X-Signature": "good"}}, change: func(f *fake) { f.err = checkout.ErrTimeout }, status: 503},
		{name: "callback, store full", request: request{method: "POST", path: "/v1/callbacks/wzrdpay", body: `{}`, header: map[string]string{"X-Signature": "good"}}, change: func(f *fake) { f.err = checkout.ErrUnavailable }, status: 503},
		{name: "callback too large", request: request{method: "POST", path: "/v1/callbacks/wzrdpay", body: strings.Repeat(" ", 1<<20+1), header: map[string]string{"X-Signature": "good"}}, status: 413},
		{name: "callback by GET", request: request{path: "/v1/callbacks/wzrdpay"}, status: 405, want: "POST"},

		{name: "no key", request: request{private: true, path: "/v1/sessions/" + sessionID, header: map[string]string{"Authorization": ""}}, status: 401, want: `Bearer realm="merchant"`},
		{name: "wrong key", request: request{private: true, path: "/v1/sessions/" + sessionID, header: auth(merchantKey + "x")}, status: 401},
		{name: "empty key", request: request{private: true, path: "/v1/sessions/" + sessionID, header: auth("")}, status: 401},
		{name: "second key", request: request{private: true, path: "/v1/sessions/" + sessionID, header: auth(otherKey)}, status: 200, want: notes},
		{name: "session token is no key", request: request{private: true, path: "/v1/sessions/" + sessionID, header: auth(payToken)}, status: 401},
		{name: "open a session", request: request{private: true, method: "POST", path: "/v1/sessions", body: `{"amount":10.50}`}, status: 201, want: `"url":"` + base + "/checkout/" + sessionID + `"`},
		{name: "open it again", request: request{private: true, method: "POST", path: "/v1/sessions", body: `{"amount":10.50}`}, change: func(f *fake) { f.replayed = true }, status: 200},
		{name: "open another under its reference", request: request{private: true, method: "POST", path: "/v1/sessions", body: `{"amount":11}`}, change: func(f *fake) {
			f.err = &httpapi.Conflict{Err: &checkout.Error{Kind: checkout.ErrConflict, Code: "reference_taken"}, Session: f.session}
		}, status: 409, want: notes},
		{name: "open a wrong one", request: request{private: true, method: "POST", path: "/v1/sessions", body: `{"amount":-1}`}, change: func(f *fake) { f.err = checkout.Invalid(checkout.FieldError{Field: "amount", Code: "range"}) }, status: 422, want: `"amount"`},
		{name: "open with a form", request: request{private: true, method: "POST", path: "/v1/sessions", body: `a=b`, header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}}, status: 415},
		{name: "open with nothing", request: request{private: true, method: "POST", path: "/v1/sessions", header: map[string]string{"Content-Type": "application/json"}}, status: 400},
		{name: "open too much", request: request{private: true, method: "POST", path: "/v1/sessions", body: huge}, status: 413},
		{name: "find a session", request: request{private: true, path: "/v1/sessions?reference_id=order-1"}, status: 200, want: `"next":null`},
		{name: "find none", request: request{private: true, path: "/v1/sessions?reference_id=order-2"}, status: 200, want: `{"data":[],"next":null}`},
		{name: "find by nothing", request: request{private: true, path: "/v1/sessions"}, status: 422, want: `"required"`},
		{name: "find by a strange reference", request: request{private: true, path: "/v1/sessions?reference_id=a%20b"}, status: 422, want: `"format"`},
		{name: "an unknown session", request: request{private: true, path: "/v1/sessions/cs_none"}, status: 404},
		{name: "patch", request: request{private: true, method: "PATCH", path: "/v1/sessions/" + sessionID, body: `{"amount":5}`}, status: 200},
		{name: "patch by PUT", request: request{private: true, method: "PUT", path: "/v1/sessions/" + sessionID, body: `{"amount":5}`}, status: 405, want: "GET, HEAD, PATCH"},
		{name: "expire", request: request{private: true, method: "POST", path: "/v1/sessions/" + sessionID + "/expire"}, status: 200},
		{name: "an invoice", request: request{private: true, path: "/v1/invoices/cpi_1"}, status: 200, want: `"status":"created"`},
		{name: "an invoice anew", request: request{private: true, path: "/v1/invoices/cpi_1?refresh=true"}, status: 200, want: `"status":"processed"`},
		{name: "an invoice perhaps", request: request{private: true, path: "/v1/invoices/cpi_1?refresh=maybe"}, status: 422},
		{name: "invoices", request: request{private: true, path: "/v1/invoices?after=c1&limit=5"}, status: 200, want: `"next":"c1-5"`},
		{name: "invoices by an unknown reference", request: request{private: true, path: "/v1/invoices?reference_id=none"}, status: 200, want: `"data":[]`},
		{name: "too many invoices", request: request{private: true, path: "/v1/invoices?limit=101"}, status: 422, want: `"limit"`},
		{name: "services", request: request{private: true, path: "/v1/services"}, status: 200, want: "comcps_1"},
		{name: "a service", request: request{private: true, path: "/v1/services/card_eur_hpp"}, status: 200},
		{name: "payment form", request: request{private: true, method: "POST", path: "/v1/payment-form", body: `{"service":"a"}`}, status: 200, want: `"action"`},
		{name: "events", request: request{private: true, path: "/v1/events"}, status: 200, want: "evt_1"},
		{name: "redeliver", request: request{private: true, method: "POST", path: "/v1/events/evt_1/redeliver"}, status: 202},
		{name: "health", request: request{private: true, path: "/healthz", header: map[string]string{"Authorization": ""}}, status: 200},
		{name: "ready", request: request{private: true, path: "/readyz", header: map[string]string{"Authorization": ""}}, status: 200},
		{name: "metrics", request: request{private: true, path: "/metrics", header: map[string]string{"Authorization": ""}}, status: 200, want: "up 1"},
		{name: "no ops here", request: request{private: true, path: "/ops/"}, status: 404},
		{name: "no page here", request: request{private: true, path: "/checkout/" + sessionID}, status: 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := open(t, nil)
			if c.change != nil {
				c.change(w.fake)
			}
			a := w.do(c.request)
			if a.Code != c.status {
				t.Fatalf("%s %s = %d %s, want %d", c.method, c.path, a.Code, a.text, c.status)
			}
			if c.want != "" && !strings.Contains(a.text+a.Header().Get("Allow")+a.Header().Get("WWW-Authenticate"), c.want) {
				t.Errorf("%s %s = %s %v, want %s in it", c.method, c.path, a.text, a.Header(), c.want)
			}
			if !c.private && strings.Contains(a.text, notes) {
				t.Errorf("%s %s tells the merchant's notes: %s", c.method, c.path, a.text)
			}
			if log := w.log.String(); strings.Contains(log, payToken) || strings.Contains(log, statusToken) || strings.Contains(log, merchantKey) {
				t.Errorf("log holds a secret: %s", log)
			}
			if c.status >= 400 && c.status != 418 && a.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("content type of %d = %q, want a problem", a.Code, a.Header().Get("Content-Type"))
			}
		})
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	w := open(t, func(c *httpapi.Config) { c.Ready = func(context.Context) error { return errors.New("no quorum") } })
	if a := w.do(request{private: true, path: "/readyz"}); a.Code != 503 || strings.Contains(a.text, "quorum") {
		t.Errorf("GET /readyz = %d %s, want 503 without the cause", a.Code, a.text)
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	for _, c := range []struct {
		name, origin string
		allowed      bool
	}{
		{"the shop", shop, true},
		{"the BFF itself", base, true},
		{"another", "https://evil.example", false},
		{"a prefix", shop + ".evil.example", false},
		{"another port", shop + ":8443", false},
		{"without TLS", "http://shop.example", false},
		{"null", "null", false},
	} {
		want := ""
		if c.allowed {
			want = c.origin
		}
		preflight := w.do(request{method: "OPTIONS", path: "/v1/checkout/invoice", header: map[string]string{"Origin": c.origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type,idempotency-key"}})
		if got := preflight.Header().Get("Access-Control-Allow-Origin"); got != want || preflight.Code >= 300 {
			t.Errorf("%s: preflight = %d %q, want %q", c.name, preflight.Code, got, want)
		}
		if got := strings.ToLower(preflight.Header().Get("Access-Control-Allow-Headers")); c.allowed && (!strings.Contains(got, "authorization") || !strings.Contains(got, "idempotency-key") || !strings.Contains(got, "content-type")) {
			t.Errorf("%s: preflight allows headers %q", c.name, got)
		}
		actual := w.do(request{path: "/v1/checkout", header: map[string]string{"Origin": c.origin, "Authorization": "Bearer " + payToken}})
		if got := actual.Header().Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("%s: GET allows %q, want %q", c.name, got, want)
		}
		if actual.Header().Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: credentials are allowed", c.name)
		}
		problem := w.do(request{path: "/v1/checkout", header: map[string]string{"Origin": c.origin}})
		if got := problem.Header().Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("%s: a problem allows %q, want %q", c.name, got, want)
		}
		callback := w.do(request{method: "POST", path: "/v1/callbacks/wzrdpay", body: "{}", header: map[string]string{"Origin": c.origin}})
		if got := callback.Header().Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%s: the callback plane allows %q", c.name, got)
		}
	}
}

func TestCheckout_Answers(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	get := func(token, locale, language string) string {
		t.Helper()
		a := w.do(request{path: "/v1/checkout" + locale, header: map[string]string{"Authorization": "Bearer " + token, "Accept-Language": language}})
		if a.Code != 200 {
			t.Fatalf("GET /v1/checkout = %d %s", a.Code, a.text)
		}
		return a.text
	}
	first := get(payToken, "", "")
	get(payToken, "", "")
	again := get(payToken, "", "")
	if first != again || w.fake.views != 2 {
		t.Errorf("unchanged session was read %d times, want 2 (the second learns the services' version)", w.fake.views)
	}
	if strings.Contains(get(statusToken, "", ""), `"services"`) {
		t.Errorf("scope status is told services")
	}
	if got := get(payToken, "", "uk-UA,uk;q=0.9"); !strings.Contains(got, `"locale":"uk"`) || !strings.Contains(got, "Картка") {
		t.Errorf("Accept-Language uk gave %s", got)
	}
	if got := get(payToken, "?locale=ru", "uk"); !strings.Contains(got, `"locale":"ru"`) {
		t.Errorf("locale=ru gave %s", got)
	}
	w.fake.session.Revision, w.fake.version = 2, 8
	if got := get(payToken, "", ""); !strings.Contains(got, `"revision":2`) {
		t.Errorf("a new revision gave %s", got)
	}
	get(payToken, "", "")
	w.fake.view.Services, w.fake.services = w.fake.view.Services[:1], "v2"
	if got := get(payToken, "", ""); strings.Contains(got, "bank_eur") {
		t.Errorf("new services gave %s", got)
	}
	w.fake.session.ExpiresAt = time.Now().Unix() - 1
	if got := get(payToken, "", ""); !strings.Contains(got, `4000000000`) {
		t.Errorf("an unchanged version was read again: %s", got)
	}
	for _, secret := range []string{notes, "static.example"} {
		if strings.Contains(first, secret) {
			t.Errorf("GET /v1/checkout tells %s: %s", secret, first)
		}
	}
	if !strings.Contains(first, base+"/widget/v1/logos/card") {
		t.Errorf("the logo is not proxied: %s", first)
	}
	if _, html, ok := strings.Cut(first, `"html":"`); !ok || strings.Contains(html, "<transfer>") {
		t.Errorf("a label became markup: %s", first)
	}
}

// A page gets a long answer compressed, and it is the same answer.
func TestCheckout_Compressed(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	plain := w.do(request{path: "/v1/checkout", header: auth(payToken)}).text
	a := w.do(request{path: "/v1/checkout", header: map[string]string{"Authorization": "Bearer " + payToken, "Origin": shop, "Accept-Encoding": "gzip, br"}})
	if a.Header().Get("Content-Encoding") != "gzip" {
		t.Fatalf("Content-Encoding = %q, want gzip", a.Header().Get("Content-Encoding"))
	}
	z, err := gzip.NewReader(bytes.NewReader(a.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(z); err != nil || string(text) != plain {
		t.Errorf("unpacked = %s, %v, want %s", text, err, plain)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	w := open(t, func(c *httpapi.Config) {
		c.Limits = httpapi.Limits{Pays: 0.1, PaysBurst: 2}
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // where httptest comes from
	})
	pay := func(from string) answer {
		return w.do(request{method: "POST", path: "/v1/checkout/invoice", body: `{"service":"card_eur_hpp"}`, header: map[string]string{"Authorization": "Bearer " + payToken, "X-Forwarded-For": from}})
	}
	for i, c := range []struct {
		from string
		want int
	}{
		{"203.0.113.1", 201},
		{"203.0.113.1", 201},
		{"203.0.113.1", 429},
		{"203.0.113.2", 201},
		{"203.0.113.9, 203.0.113.1", 429}, // what the caller wrote himself does not count
		{"10.0.0.1", 201},
		{"10.0.0.1", 201},
		{"10.0.0.1", 201}, // a proxy inside
		{"2001:db8::1", 201},
		{"2001:db8::2", 201},
		{"2001:db8::3", 429}, // one house
	} {
		a := pay(c.from)
		if a.Code != c.want {
			t.Errorf("attempt %d from %s = %d, want %d", i+1, c.from, a.Code, c.want)
		}
		if a.Code == 429 && a.Header().Get("Retry-After") == "" {
			t.Errorf("attempt %d has no Retry-After", i+1)
		}
	}
}

// The operators' page wants a merchant key: as Bearer, or as the password a browser asks for.
func TestOps_WantsTheKey(t *testing.T) {
	t.Parallel()
	w := open(t, func(c *httpapi.Config) {
		c.Ops = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("payments")) })
	})
	basic := func(password string) map[string]string {
		return map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte("anybody:"+password))}
	}
	for _, row := range []struct {
		name   string
		header map[string]string
		status int
	}{
		{"nothing", map[string]string{"Authorization": ""}, 401},
		{"a wrong password", basic(merchantKey + "x"), 401},
		{"an empty password", basic(""), 401},
		{"a wrong key", auth("x"), 401},
		{"the key as password", basic(merchantKey), 200},
		{"the second key as password", basic(otherKey), 200},
		{"the key", auth(merchantKey), 200},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, path := range []string{"/ops/", "/ops/session/x"} {
				a := w.do(request{private: true, path: path, header: row.header})
				if a.Code != row.status || strings.Contains(a.text, "payments") != (row.status == 200) {
					t.Errorf("%s = %d %s, want %d", path, a.Code, a.text, row.status)
				}
				if row.status == 401 && !strings.HasPrefix(a.Header().Get("WWW-Authenticate"), "Basic ") {
					t.Errorf("%s asks %q, want Basic: a browser shall ask", path, a.Header().Get("WWW-Authenticate"))
				}
			}
		})
	}
	if a := w.do(request{path: "/ops/", header: auth(merchantKey)}); a.Code != 404 {
		t.Errorf("/ops/ on the public plane = %d, want 404", a.Code)
	}
}

func TestPanic(t *testing.T) {
	t.Parallel()
	w := open(t, func(c *httpapi.Config) {
		c.Fallback = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret state") })
	})
	a := w.do(request{path: "/boom"})
	if a.Code != 500 || strings.Contains(a.text, "secret") || !strings.Contains(a.text, `"internal"`) {
		t.Errorf("panic = %d %s, want 500 without a word of it", a.Code, a.text)
	}
	if !strings.Contains(w.log.String(), "secret state") || !strings.Contains(w.log.String(), a.Header().Get("X-Request-Id")) {
		t.Errorf("log = %s, want the panic and the request's ID", w.log)
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	for _, c := range []struct {
		given string
		kept  bool
	}{{"abcdef-1234_X", true}, {"short", false}, {"with space in it", false}, {strings.Repeat("a", 65), false}, {"evil\"quote-123", false}, {"", false}} {
		got := w.do(request{path: "/v1/checkout", header: map[string]string{"X-Request-Id": c.given}}).Header().Get("X-Request-Id")
		if (got == c.given) != c.kept || len(got) < 8 {
			t.Errorf("X-Request-Id %q gave %q, kept %v", c.given, got, c.kept)
		}
	}
}

func TestHosted(t *testing.T) {
	t.Parallel()
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	page := "/checkout/" + sessionID
	open := func(t *testing.T) *world { t.Parallel(); return open(t, nil) }
	t.Run("code for a phone", func(t *testing.T) {
		w := open(t)
		a := w.do(request{path: page + "/qr.svg"})
		if a.Code != 200 || a.Header().Get("Content-Type") != "image/svg+xml" || a.Header().Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(a.text, "<svg ") ||
			!strings.Contains(a.Header().Get("Content-Security-Policy"), "sandbox") || !strings.HasPrefix(a.Header().Get("Cache-Control"), "private") || a.Header().Get("Cross-Origin-Resource-Policy") != "cross-origin" {
			t.Errorf("code = %d %v %s", a.Code, a.Header(), a.text)
		}
		if a := w.do(request{path: "/checkout/no%20session/qr.svg"}); a.Code != 404 {
			t.Errorf("code of no session = %d, want 404", a.Code)
		}
	})
	t.Run("page", func(t *testing.T) {
		w := open(t)
		a := w.do(request{path: page})
		csp := a.Header().Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "script-src 'self' 'wasm-unsafe-eval'", "base-uri 'none'", pages.StyleHash(".wz{}")} {
			if !strings.Contains(csp, want) {
				t.Errorf("CSP = %q, want %q in it", csp, want)
			}
		}
		if strings.Contains(csp, "unsafe-inline") || strings.Contains(a.text, "style=") || strings.Contains(a.text, "<script>") || strings.Contains(a.text, "onclick") {
			t.Errorf("page has something inline: %s %s", csp, a.text)
		}
		for _, want := range []string{`action="` + base + page + `/pay"`, `type="radio"`, `value="card_eur_hpp"`, base + "/widget/v1/checkout.js", "Bank &lt;transfer&gt;", "<style>.wz{}</style>"} {
			if !strings.Contains(a.text, want) {
				t.Errorf("page has no %s: %s", want, a.text)
			}
		}
		if a.Code != 200 || a.Header().Get("Cache-Control") != "no-store" || strings.Contains(a.text, notes) || a.Header().Get("Strict-Transport-Security") == "" {
			t.Errorf("page = %d %v", a.Code, a.Header())
		}
	})
	t.Run("pending", func(t *testing.T) {
		w := open(t)
		w.fake.pending()
		if a := w.do(request{path: page}); !strings.Contains(a.text, `http-equiv="refresh"`) || w.fake.refreshs != 1 {
			t.Errorf("pending page asked WZRDPAY %d times, want 1; %s", w.fake.refreshs, a.text)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		w := open(t)
		if a := w.do(request{path: "/checkout/cs_none"}); a.Code != 404 || a.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("unknown session = %d %s", a.Code, a.text)
		}
		if a := w.do(request{path: "/checkout/<b>", header: map[string]string{"Accept": "text/html"}}); a.Code != 404 || !strings.Contains(a.text, "<!doctype html>") {
			t.Errorf("unknown session for a browser = %d %s", a.Code, a.text)
		}
	})
	t.Run("pay", func(t *testing.T) {
		w := open(t)
		w.fake.redirect.Params = map[string]string{"token": "a&b"}
		a := w.do(request{method: "POST", path: page + "/pay", body: url.Values{"service": {"bank_eur"}, "field.bank_eur.iban": {"DE1"}, "field.other.iban": {"x"}}.Encode(), header: form})
		if a.Code != 303 || a.Header().Get("Location") != "https://provider.example/pay?id=1&token=a%26b" {
			t.Errorf("pay = %d %q", a.Code, a.Header().Get("Location"))
		}
		if len(w.fake.asked.Fields) != 1 || w.fake.asked.Fields["iban"] != "DE1" {
			t.Errorf("fields = %v, want those of the service alone", w.fake.asked.Fields)
		}
	})
	t.Run("provider wants POST", func(t *testing.T) {
		w := open(t)
		w.fake.redirect = checkout.Redirect{Method: "POST", URL: "https://provider.example/pay", Params: map[string]string{"x": `"><script>`}}
		a := w.do(request{method: "POST", path: page + "/pay", body: "service=card_eur_hpp", header: form})
		for _, want := range []string{`<form method="post" action="https://provider.example/pay">`, `name="x" value="&#34;&gt;&lt;script&gt;"`, "<button>"} {
			if a.Code != 200 || !strings.Contains(a.text, want) {
				t.Errorf("form = %d %s, want %s", a.Code, a.text, want)
			}
		}
	})
	t.Run("provider nobody should go to", func(t *testing.T) {
		for _, address := range []string{"javascript:alert(1)", "http://provider.example/", "data:text/html,x", "//provider.example/"} {
			w := openQuiet(t)
			w.fake.redirect.URL = address
			if a := w.do(request{method: "POST", path: page + "/pay", body: "service=card_eur_hpp", header: form}); a.Code != 502 {
				t.Errorf("redirect to %s = %d, want 502", address, a.Code)
			}
		}
		w := openQuiet(t)
		w.fake.redirect.URL = "http://127.0.0.1:9/pay"
		if a := w.do(request{method: "POST", path: page + "/pay", body: "service=card_eur_hpp", header: form}); a.Code != 303 {
			t.Errorf("redirect to the sandbox = %d, want 303", a.Code)
		}
	})
	t.Run("wrong field", func(t *testing.T) {
		w := open(t)
		a := w.do(request{method: "POST", path: page + "/pay", body: url.Values{"service": {"bank_eur"}, "field.bank_eur.iban": {`typed "this"`}}.Encode(), header: form})
		if a.Code != 422 || !strings.Contains(a.text, "typed &#34;this&#34;") && !strings.Contains(a.text, "typed &quot;this&quot;") || !strings.Contains(a.text, "aria-invalid") {
			t.Errorf("wrong field = %d %s, want what was typed and what is wrong", a.Code, a.text)
		}
	})
	t.Run("no choice", func(t *testing.T) {
		w := open(t)
		if a := w.do(request{method: "POST", path: page + "/pay", body: "", header: form}); a.Code != 422 || !strings.Contains(a.text, `role="alert"`) {
			t.Errorf("no choice = %d %s, want 422 and the page", a.Code, a.text)
		}
	})
	t.Run("conflict", func(t *testing.T) {
		w := open(t)
		w.fake.payErr = checkout.ErrConflict
		if a := w.do(request{method: "POST", path: page + "/pay", body: "service=card_eur_hpp", header: form}); a.Code != 303 || a.Header().Get("Location") != base+page {
			t.Errorf("conflict = %d %q, want 303 to the page", a.Code, a.Header().Get("Location"))
		}
	})
	t.Run("upstream down", func(t *testing.T) {
		w := open(t)
		w.fake.payErr = &checkout.UpstreamError{Operation: "POST /payment-invoices", Directive: checkout.Later, Kind: checkout.ErrUnavailable, RetryAfter: 3}
		if a := w.do(request{method: "POST", path: page + "/pay", body: "service=card_eur_hpp", header: form}); a.Code != 503 || a.Header().Get("Retry-After") != "3" || !strings.Contains(a.text, `type="radio"`) {
			t.Errorf("upstream down = %d %v, want 503 and the page", a.Code, a.Header())
		}
	})
	t.Run("JSON is no form", func(t *testing.T) {
		w := open(t)
		if a := w.do(request{method: "POST", path: page + "/pay", body: "{}"}); a.Code != 415 {
			t.Errorf("JSON form = %d, want 415", a.Code)
		}
	})
}

func openQuiet(t *testing.T) *world { t.Helper(); return open(t, nil) }

func TestReturn(t *testing.T) {
	t.Parallel()
	urls := &checkout.ReturnURLs{Success: "https://shop.example/thanks?order=1#top", Pending: "https://shop.example/wait"}
	for _, c := range []struct {
		name, path string
		returns    httpapi.Returns
		header     map[string]string
		status     int
		location   string
	}{
		{"success", "/return/success?t=" + statusToken, httpapi.Returns{URLs: urls, URL: "https://shop.example/other"}, nil, 303, "https://shop.example/thanks?order=1&checkout_session=" + sessionID + "&t=" + statusToken + "#top"},
		{"fail falls back to pending", "/return/fail?t=" + statusToken, httpapi.Returns{URLs: urls}, nil, 303, "https://shop.example/wait?checkout_session=" + sessionID + "&t=" + statusToken},
		{"one address for all", "/return/pending?t=" + statusToken, httpapi.Returns{URL: "https://shop.example/r"}, nil, 303, "https://shop.example/r?checkout_session=" + sessionID + "&t=" + statusToken},
		{"no address", "/return/success?t=" + statusToken, httpapi.Returns{}, nil, 303, base + "/checkout/" + sessionID},
		{"a browser gets the page", "/return/success?t=" + statusToken, httpapi.Returns{URL: "https://shop.example/r"}, map[string]string{"Sec-Fetch-Mode": "navigate"}, 200, ""},
		{"no token", "/return/success", httpapi.Returns{}, nil, 401, ""},
		{"forged token", "/return/success?t=x", httpapi.Returns{}, nil, 401, ""},
		{"old token", "/return/success?t=old", httpapi.Returns{}, nil, 401, ""},
		{"pay token", "/return/success?t=" + payToken, httpapi.Returns{}, nil, 401, ""},
		{"another outcome", "/return/maybe?t=" + statusToken, httpapi.Returns{}, nil, 404, ""},
		{"an address that is none", "/return/success?t=" + statusToken, httpapi.Returns{URL: "javascript:alert(1)"}, nil, 500, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := open(t, nil)
			w.fake.returns = c.returns
			a := w.do(request{path: c.path, header: c.header})
			if a.Code != c.status || a.Header().Get("Location") != c.location {
				t.Errorf("GET %s = %d %q %s, want %d %q", c.path, a.Code, a.Header().Get("Location"), a.text, c.status, c.location)
			}
			if c.status == 200 && (!strings.Contains(a.text, `data-next="https://shop.example/r?checkout_session=`) || !strings.Contains(a.text, "/widget/v1/return.") || strings.Contains(a.text, "<script>")) {
				t.Errorf("return page = %s", a.text)
			}
			if strings.Contains(w.log.String(), statusToken) {
				t.Errorf("log holds the token: %s", w.log)
			}
		})
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	get := func(path string, header map[string]string) answer {
		return w.do(request{path: "/widget/v1/" + path, header: header})
	}
	plain := get("checkout.js", nil)
	if plain.text != "/*loader*/" || plain.Header().Get("Cache-Control") != "public, max-age=300, stale-while-revalidate=86400" || plain.Header().Get("Access-Control-Allow-Origin") != "*" || plain.Header().Get("Cross-Origin-Resource-Policy") != "cross-origin" || plain.Header().Get("Set-Cookie") != "" {
		t.Errorf("checkout.js = %q %v", plain.text, plain.Header())
	}
	for _, c := range []struct{ accepts, want, coding string }{
		{"gzip, deflate, br", "BR", "br"}, {"gzip", "GZ", "gzip"}, {"br;q=0, gzip;q=0.5", "GZ", "gzip"}, {"identity", "/*loader*/", ""}, {"xbr", "/*loader*/", ""}, {"br;q=1.0", "BR", "br"},
	} {
		a := get("checkout.js", map[string]string{"Accept-Encoding": c.accepts})
		if a.text != c.want || a.Header().Get("Content-Encoding") != c.coding || a.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("Accept-Encoding %q = %q %v, want %q", c.accepts, a.text, a.Header(), c.want)
		}
	}
	css := get("widget.3fa9c1d2e4f0.css", nil)
	if !strings.Contains(css.Header().Get("Cache-Control"), "immutable") {
		t.Errorf("hashed file = %v, want immutable", css.Header())
	}
	if a := get("widget.3fa9c1d2e4f0.css", map[string]string{"If-None-Match": "W/" + css.Header().Get("ETag")}); a.Code != 304 || a.text != "" {
		t.Errorf("unchanged file = %d %q, want 304", a.Code, a.text)
	}
	for _, path := range []string{"manifest.json", "checkout.js.br", "..%2fapi.go", "none.js"} {
		if a := get(path, nil); a.Code != 404 {
			t.Errorf("GET %s = %d, want 404", path, a.Code)
		}
	}
	if a := w.do(request{path: "/widget/v1/checkout.js", method: "HEAD"}); a.Code != 200 || a.Header().Get("Content-Length") != "10" {
		t.Errorf("HEAD = %d %v", a.Code, a.Header())
	}
}

// checkout.js?session= carries the list in front of the script.
func TestFiles_Session(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.fake.session.Description = "</script><b>\u2028"
	a := w.do(request{path: "/widget/v1/checkout.js?session=" + sessionID})
	front, back, ok := strings.Cut(a.text, ";\n")
	if !ok || back != "/*loader*/" || a.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("script = %s %v", a.text, a.Header())
	}
	text, ok := strings.CutPrefix(front, `(self.WzrdCheckoutData=self.WzrdCheckoutData||{})["`+sessionID+`"]=`)
	var data struct {
		Token   string           `json:"token"`
		Session checkout.Session `json:"session"`
		HTML    string           `json:"html"`
	}
	if !ok || json.Unmarshal([]byte(text), &data) != nil || data.Token != payToken || data.Session.ID != sessionID || data.HTML == "" || data.Session.Description != w.fake.session.Description {
		t.Errorf("data = %s", text)
	}
	if strings.ContainsAny(text, "<\u2028") || strings.Contains(text, notes) {
		t.Errorf("data can end the script, or tells too much: %s", text)
	}
	for _, id := range []string{"cs_none", "x", "cs_%22%5D", ""} {
		if a := w.do(request{path: "/widget/v1/checkout.js?session=" + id}); a.Code != 200 || a.text != "/*loader*/" {
			t.Errorf("session=%s = %d %q, want the plain script", id, a.Code, a.text)
		}
	}
}

// A page that wants a picture gets one, whatever became of the logo; others get the problem.
func TestLogos_Missing(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	a := w.do(request{path: "/widget/v1/logos/never_heard_of", header: map[string]string{"Sec-Fetch-Dest": "image"}})
	if a.Code != 404 || a.Header().Get("Content-Type") != "image/svg+xml" || !strings.HasPrefix(a.text, "<svg ") || !strings.Contains(a.Header().Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("missing logo for a page = %d %v %s", a.Code, a.Header(), a.text)
	}
	a = w.do(request{path: "/widget/v1/logos/never_heard_of"})
	if a.Code != 404 || !strings.HasPrefix(a.Header().Get("Content-Type"), "application/problem+json") {
		t.Errorf("missing logo = %d %v, want a problem", a.Code, a.Header())
	}
}

func TestLogos(t *testing.T) {
	t.Parallel()
	svg := `<svg xmlns="http://www.w3.org/2000/svg"/>`
	calls := map[string]int{}
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls[r.URL.Path]++
		switch r.URL.Path {
		case "/good.svg":
			w.Header().Set("Content-Type", "image/svg+xml; charset=utf-8")
			_, _ = io.WriteString(w, svg)
		case "/page.svg":
			w.Header().Set("Content-Type", "image/svg+xml")
			_, _ = io.WriteString(w, "<!doctype html><script>alert(1)</script>")
		case "/html":
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, svg)
		case "/liar.png":
			w.Header().Set("Content-Type", "image/png")
			_, _ = io.WriteString(w, "GIF89a")
		case "/huge.svg":
			w.Header().Set("Content-Type", "image/svg+xml")
			_, _ = io.WriteString(w, svg+strings.Repeat(" ", 300<<10))
		case "/away":
			http.Redirect(w, r, "http://127.0.0.1:1/x", http.StatusFound)
		case "/near":
			http.Redirect(w, r, "/good.svg", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(host.Close)
	for _, c := range []struct {
		name, address string
		live          bool
		status        int
	}{
		{"a picture", host.URL + "/good.svg", false, 200},
		{"moved on its host", host.URL + "/near", false, 200},
		{"moved elsewhere", host.URL + "/away", false, 502},
		{"a page that says it is a picture", host.URL + "/page.svg", false, 502},
		{"no picture", host.URL + "/html", false, 502},
		{"another picture than said", host.URL + "/liar.png", false, 502},
		{"too large", host.URL + "/huge.svg", false, 502},
		{"gone", host.URL + "/gone", false, 502},
		{"http with live keys", host.URL + "/good.svg", true, 404},
		{"private address with live keys", strings.Replace(host.URL, "http:", "https:", 1) + "/good.svg", true, 502},
		{"http on another machine", "http://logos.example/good.svg", false, 404},
		{"a file", "file:///etc/passwd", false, 404},
		{"a user in it", "https://a:b@logos.example/x", false, 404},
		{"none", "", false, 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := open(t, func(cfg *httpapi.Config) { cfg.Live = c.live })
			w.fake.logo = c.address
			a := w.do(request{path: "/widget/v1/logos/card"})
			if a.Code != c.status {
				t.Fatalf("logo = %d %s, want %d", a.Code, a.text, c.status)
			}
			if c.status != 200 {
				return
			}
			if a.text != svg || a.Header().Get("Content-Type") != "image/svg+xml" || !strings.Contains(a.Header().Get("Content-Security-Policy"), "sandbox") || a.Header().Get("Cross-Origin-Resource-Policy") != "cross-origin" {
				t.Errorf("logo = %q %v", a.text, a.Header())
			}
			before := calls["/good.svg"]
			if a := w.do(request{path: "/widget/v1/logos/card", header: map[string]string{"If-None-Match": a.Header().Get("ETag")}}); a.Code != 304 || calls["/good.svg"] != before {
				t.Errorf("again = %d with %d more calls, want 304 and none", a.Code, calls["/good.svg"]-before)
			}
		})
	}
	w := open(t, nil)
	if a := w.do(request{path: "/widget/v1/logos/other"}); a.Code != 404 {
		t.Errorf("unknown method = %d, want 404", a.Code)
	}
}

func TestEmbed(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	var out struct {
		EmbedHTML string `json:"embed_html"`
		Token     string `json:"token"`
		ExpiresAt int64  `json:"expires_at"`
	}
	a := w.do(request{private: true, method: "POST", path: "/v1/sessions", body: "{}"})
	if err := json.Unmarshal([]byte(a.text), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<wzrd-checkout", payToken, `<script async src="` + base + `/widget/v1/checkout.js"></script>`, `type="radio"`, "Bank &lt;transfer&gt;"} {
		if !strings.Contains(out.EmbedHTML, want) {
			t.Errorf("embed_html = %s, want %s in it", out.EmbedHTML, want)
		}
	}
	if strings.Contains(out.EmbedHTML, "<script>") || strings.Contains(out.EmbedHTML, "<style") || strings.Contains(out.EmbedHTML, "style=") || strings.Contains(out.EmbedHTML, notes) || out.ExpiresAt != w.fake.session.ExpiresAt {
		t.Errorf("embed_html has something inline or private: %s", out.EmbedHTML)
	}
}

func TestEmbed_Style(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	for _, c := range []struct {
		query  string
		status int
		inline bool
	}{{"", 201, false}, {"?embed_style=link", 201, false}, {"?embed_style=inline", 201, true}, {"?embed_style=both", 422, false}} {
		a := w.do(request{private: true, method: "POST", path: "/v1/sessions" + c.query, body: "{}"})
		var out struct {
			EmbedHTML string `json:"embed_html"`
		}
		if err := json.Unmarshal([]byte(a.text), &out); err != nil {
			t.Fatal(err)
		}
		if a.Code != c.status {
			t.Errorf("POST /v1/sessions%s = %d %s, want %d", c.query, a.Code, a.text, c.status)
		}
		if strings.Contains(out.EmbedHTML, "<style>.wz{}</style>") != c.inline || strings.Contains(out.EmbedHTML, "stylesheet") != (c.status == 201 && !c.inline) {
			t.Errorf("embed_html of %q = %s, want its style inside: %v", c.query, out.EmbedHTML, c.inline)
		}
	}
}

func TestUpdates_Refresh(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	for _, c := range []struct {
		query    string
		wait     time.Duration
		refreshs int
	}{{"?revision=1", 25 * time.Second, 0}, {"?wait=99", 25 * time.Second, 0}, {"?wait=-5", 0, 1}, {"?wait=1", time.Second, 2}, {"?wait=6", 6 * time.Second, 2}} {
		w.do(request{path: "/v1/checkout/updates" + c.query, header: auth(payToken)})
		if w.fake.wait != c.wait || w.fake.refreshs != c.refreshs {
			t.Errorf("updates%s waits %v and asked WZRDPAY %d times, want %v and %d", c.query, w.fake.wait, w.fake.refreshs, c.wait, c.refreshs)
		}
	}
}

func TestNew_Config(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*httpapi.Config)
		want   string
	}{
		{"address", func(c *httpapi.Config) { c.PublicURL = "pay.example" }, "PublicURL"},
		{"address with live keys", func(c *httpapi.Config) { c.PublicURL, c.Live = "http://pay.example", true }, "PublicURL"},
		{"wildcard origin", func(c *httpapi.Config) { c.Origins = []string{"https://*.example"} }, "Origins"},
		{"origin with a path", func(c *httpapi.Config) { c.Origins = []string{"https://a.example/"} }, "Origins"},
		{"no key", func(c *httpapi.Config) { c.MerchantKeys = nil }, "MerchantKeys"},
		{"empty key", func(c *httpapi.Config) { c.MerchantKeys = []string{"a", ""} }, "MerchantKeys"},
		{"checkout", func(c *httpapi.Config) { c.Checkout = nil }, "Checkout"},
		{"merchant", func(c *httpapi.Config) { c.Merchant = nil }, "Merchant"},
		{"callbacks", func(c *httpapi.Config) { c.Callbacks = nil }, "Callbacks"},
		{"sockets", func(c *httpapi.Config) { c.Sockets = nil }, "Sockets"},
		{"updates", func(c *httpapi.Config) { c.Updates = nil }, "Updates"},
		{"log", func(c *httpapi.Config) { c.Log = nil }, "Log"},
		{"a file that is not there", func(c *httpapi.Config) { c.Manifest = append(c.Manifest, httpapi.Asset{Name: "x.js"}) }, "Assets"},
		{"a file outside", func(c *httpapi.Config) { c.Manifest = append(c.Manifest, httpapi.Asset{Name: "../x.js"}) }, "Manifest"},
	} {
		cfg := config(t, newFake(), io.Discard)
		c.change(&cfg)
		if _, err := httpapi.New(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("New(%s) = %v, want an error that names %s", c.name, err, c.want)
		}
	}
}

// The hub takes the connection over through everything that is in front of it.
func TestSocket_Hijack(t *testing.T) {
	t.Parallel()
	w := open(t, func(c *httpapi.Config) {
		c.Sockets = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			conn, _, err := rw.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello")
			_ = conn.Close()
		})
	})
	server := httptest.NewServer(w.api.Public())
	defer server.Close()
	conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "GET /v1/checkout/ws HTTP/1.1\r\nHost: a\r\nOrigin: "+shop+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	text, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 101") || !strings.HasSuffix(string(text), "hello") {
		t.Errorf("socket = %q, %v, want 101 and what the hub wrote", text, err)
	}
}

func TestServer_Bounds(t *testing.T) {
	t.Parallel()
	s := httpapi.Server(http.NotFoundHandler(), discard())
	if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.WriteTimeout <= 45*time.Second || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 {
		t.Errorf("Server() = %+v, want every bound, and room for the longest attempt", s)
	}
}

// Compare with BenchmarkBare: the goal is ≥ 0.7 x over real connections.
func BenchmarkCheckout(b *testing.B) {
	f := newFake()
	cfg := config(b, f, io.Discard)
	cfg.Log = discard()
	api, err := httpapi.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	bench(b, api.Public())
}

func BenchmarkBare(b *testing.B) {
	f := newFake()
	cfg := config(b, f, io.Discard)
	cfg.Log = discard()
	api, err := httpapi.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/v1/checkout", nil)
	r.Header.Set("Authorization", "Bearer "+payToken)
	rec := httptest.NewRecorder()
	api.Public().ServeHTTP(rec, r)
	text := rec.Body.Bytes()
	bench(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text)
	}))
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func bench(b *testing.B, handler http.Handler) {
	b.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			r, err := http.NewRequest(http.MethodGet, server.URL+"/v1/checkout", nil)
			if err != nil {
				b.Error(err)
				return
			}
			r.Header.Set("Authorization", "Bearer "+payToken)
			a, err := client.Do(r)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, a.Body)
			_ = a.Body.Close()
			if a.StatusCode != http.StatusOK {
				b.Errorf("status = %d", a.StatusCode)
				return
			}
		}
	})
}

// BenchmarkHandler is the handler alone, without a connection.
func BenchmarkHandler(b *testing.B) {
	cfg := config(b, newFake(), io.Discard)
	cfg.Log = discard()
	api, err := httpapi.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	handler := api.Public()
	r := httptest.NewRequest(http.MethodGet, "/v1/checkout", nil)
	r.Header.Set("Authorization", "Bearer "+payToken)
	r.RemoteAddr = "127.0.0.1:1" // limits count only what comes from outside
	b.ReportAllocs()
	for b.Loop() {
		handler.ServeHTTP(&sink{header: http.Header{}}, r)
	}
}

type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(int)             {}

// Whatever is asked for, the edge answers by itself: no panic, and every error is a
// problem document.
func FuzzPublic(f *testing.F) {
	for _, path := range []string{"/v1/checkout?locale=uk", "/v1/checkout/updates?revision=9&wait=1", "/checkout/" + sessionID + "/pay", "/return/success?t=" + statusToken, "/widget/v1/checkout.js?session=" + sessionID, "/widget/v1/logos/card", "/%2e%2e/", "//a/b", "*"} {
		f.Add("GET", path, "", "gzip;q=x, br")
		f.Add("POST", path, `{"service":"card_eur_hpp"}`, "en;q=2,uk;q=0.x")
		f.Add("OPTIONS", path, "service=a&field.a.b=%zz", "*")
	}
	w := open(f, nil)
	handler := w.api.Public()
	f.Fuzz(func(t *testing.T, method, path, body, header string) {
		r, err := http.NewRequest(method, "http://pay.example/", strings.NewReader(body))
		if err != nil {
			return
		}
		if r.URL, err = url.ParseRequestURI(path); err != nil {
			return
		}
		r.RemoteAddr = "127.0.0.1:1"
		for _, name := range []string{"Accept-Encoding", "Accept-Language", "X-Request-Id", "X-Forwarded-For", "If-None-Match", "Idempotency-Key"} {
			r.Header.Set(name, header)
		}
		r.Header.Set("Authorization", "Bearer "+payToken)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if strings.HasPrefix(body, "{") {
			r.Header.Set("Content-Type", "application/json")
		}
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, r)
		kind := rec.Header().Get("Content-Type")
		if rec.Code == http.StatusInternalServerError || rec.Code >= 400 && kind != "application/problem+json" && !strings.HasPrefix(kind, "text/html") {
			t.Errorf("%s %q = %d %s %s", method, path, rec.Code, kind, rec.Body)
		}
	})
}
