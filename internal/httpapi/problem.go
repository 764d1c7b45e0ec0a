package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"wzrdcheckout/internal/checkout"
)

// problem is an RFC 9457 document. Type is "urn:wzrdcheckout:problem:" + Code, Instance
// the request's ID. Session and Redirect are those that a conflict is about.
type problem struct {
	Type      string                         `json:"type"`
	Title     string                         `json:"title"`
	Status    int                            `json:"status"`
	Detail    string                         `json:"detail,omitempty"`
	Instance  string                         `json:"instance"`
	Code      string                         `json:"code"`
	Retryable bool                           `json:"retryable"`
	Errors    map[string]checkout.FieldError `json:"errors,omitempty"`
	Directive string                         `json:"directive,omitempty"`
	Session   *checkout.Session              `json:"session,omitempty"`
	Redirect  *checkout.Redirect             `json:"redirect,omitempty"`

	retryAfter time.Duration
	allow      string // 405
}

// Conflict is a 409 with the session that is in the way, and where its open attempt can
// be paid, nil for nowhere. Err says the rest.
type Conflict struct {
	Err      error
	Session  checkout.Session
	Redirect *checkout.Redirect
}

// Error gives Err's text.
func (c *Conflict) Error() string { return c.Err.Error() }

// Unwrap gives Err.
func (c *Conflict) Unwrap() error { return c.Err }

// Existing gives the session that is in the way and its redirect; any error that has it
// puts them into its problem.
func (c *Conflict) Existing() (checkout.Session, *checkout.Redirect) { return c.Session, c.Redirect }

// kinds is the one table from an error's kind to a status.
var kinds = []struct {
	kind      error
	status    int
	code      string
	title     string
	retryable bool
}{
	{checkout.ErrInvalid, http.StatusUnprocessableEntity, "invalid", "The request breaks a rule", false},
	{checkout.ErrUnauthorized, http.StatusUnauthorized, "unauthorized", "Not authorised", false},
	{checkout.ErrForbidden, http.StatusForbidden, "forbidden", "Not allowed", false},
	{checkout.ErrNotFound, http.StatusNotFound, "not_found", "Not found", false},
	{checkout.ErrConflict, http.StatusConflict, "conflict", "In conflict with what is there", false},
	{checkout.ErrTooLarge, http.StatusRequestEntityTooLarge, "too_large", "Too large", false},
	{checkout.ErrLimited, http.StatusTooManyRequests, "limited", "Too many requests", true},
	{checkout.ErrTimeout, http.StatusGatewayTimeout, "timeout", "No answer in time", true},
	{context.DeadlineExceeded, http.StatusGatewayTimeout, "timeout", "No answer in time", true},
	{checkout.ErrUnavailable, http.StatusServiceUnavailable, "unavailable", "Not available right now", true},
	{checkout.ErrUpstream, http.StatusBadGateway, "upstream", "WZRDPAY did not answer as it should", false},
}

// Errors of the edge itself. A status of its own stands in edge, below.
var (
	errNoRoute     = &edge{status: http.StatusNotFound, code: "no_such_address", title: "Not found", detail: "nothing is at this address"}
	errMediaType   = &edge{status: http.StatusUnsupportedMediaType, code: "unsupported_media_type", title: "Unsupported media type", detail: "send the body as application/json"}
	errFormType    = &edge{status: http.StatusUnsupportedMediaType, code: "unsupported_media_type", title: "Unsupported media type", detail: "send the body as application/x-www-form-urlencoded"}
	errBadJSON     = &edge{status: http.StatusBadRequest, code: "malformed_json", title: "Malformed body", detail: "the body is not a JSON object"}
	errBadForm     = &edge{status: http.StatusBadRequest, code: "malformed_form", title: "Malformed body", detail: "the body is not a form"}
	errCutBody     = &edge{status: http.StatusBadRequest, code: "incomplete_body", title: "Malformed body", detail: "the body ended early"}
	errUpgrade     = &edge{status: http.StatusUpgradeRequired, code: "upgrade_required", title: "Upgrade required", detail: "this address speaks WebSocket, subprotocol checkout.v1"}
	errInternal    = &edge{status: http.StatusInternalServerError, code: "internal", title: "Internal error", detail: "something went wrong here; it was logged under this request ID", retryable: true}
	errNoToken     = &checkout.Error{Kind: checkout.ErrUnauthorized, Code: "token_missing", Detail: "send Authorization: Bearer <session token>"}
	errOperator    = &checkout.Error{Kind: checkout.ErrUnauthorized, Code: "bad_operator_key", Detail: "log in with any name and a merchant key as the password"}
	errMerchantKey = &checkout.Error{Kind: checkout.ErrUnauthorized, Code: "bad_merchant_key", Detail: "send Authorization: Bearer <merchant key>"}
	errReadOnly    = &checkout.Error{Kind: checkout.ErrForbidden, Code: "read_only_token", Detail: "a token of scope status reads and does not pay"}
	errTooLarge    = &checkout.Error{Kind: checkout.ErrTooLarge, Code: "too_large", Detail: "the body is larger than this address takes"}
)

// edge is an error that only the edge makes, with its status.
type edge struct {
	status              int
	code, title, detail string
	allow               string
	retryable           bool
}

func (e *edge) Error() string { return e.code }

// describe turns an error into its problem. private is the merchant's plane, which is
// told what WZRDPAY said.
func describe(err error, private bool) problem {
	var own *edge
	if errors.As(err, &own) {
		return problem{Status: own.status, Code: own.code, Title: own.title, Detail: own.detail, Retryable: own.retryable, allow: own.allow}
	}
	p := problem{Status: errInternal.status, Code: errInternal.code, Title: errInternal.title, Detail: errInternal.detail, Retryable: true}
	known := false
	for _, k := range kinds {
		if errors.Is(err, k.kind) {
			p = problem{Status: k.status, Code: k.code, Title: k.title, Retryable: k.retryable}
			known = true
			break
		}
	}
	if !known {
		return p
	}
	fields := []checkout.FieldError(nil)
	var e *checkout.Error
	var up *checkout.UpstreamError
	switch {
	case errors.As(err, &e):
		if e.Code != "" {
			p.Code = e.Code
		}
		p.Detail, fields = e.Detail, e.Fields
		p.Retryable = p.Retryable || e.Retryable
		if p.Code == errBadJSON.code {
			p.Status, p.Title = errBadJSON.status, errBadJSON.title
		}
		if errors.Is(e.Kind, checkout.ErrInvalid) && len(fields) == 0 && p.Status == http.StatusUnprocessableEntity {
			p.Status = http.StatusBadRequest // no member is wrong, the request is
		}
	case errors.As(err, &up):
		p.Code, fields = word(up.Code, p.Code), up.Fields
		p.Retryable = up.Directive == checkout.Later || up.Directive == checkout.LookUp
		p.retryAfter = time.Duration(up.RetryAfter) * time.Second
		if private {
			p.Directive, p.Detail = up.Directive.String(), up.Operation+": "+up.Detail
			if up.Detail == "" {
				p.Detail = up.Operation + ": " + advice(up.Directive)
			}
		} else {
			p.Detail = advice(up.Directive)
		}
	}
	var there interface {
		Existing() (checkout.Session, *checkout.Redirect)
	}
	if errors.As(err, &there) {
		session, redirect := there.Existing()
		p.Session, p.Redirect = &session, redirect
		if redirect != nil {
			whole := withParams(*redirect)
			p.Redirect = &whole
		}
	}
	var later interface{ RetryAfter() time.Duration }
	if errors.As(err, &later) {
		p.retryAfter = later.RetryAfter()
	}
	for _, f := range fields {
		if p.Errors == nil {
			p.Errors = make(map[string]checkout.FieldError, len(fields))
		}
		if _, twice := p.Errors[f.Field]; !twice {
			p.Errors[f.Field] = f
		}
	}
	return p
}

// advice says what a directive means to whoever asked for the payment.
func advice(d checkout.Directive) string {
	switch d {
	case checkout.NotCreated:
		return "the payment was not created"
	case checkout.LookUp:
		return "the outcome is not known yet; ask again, nothing is made twice"
	case checkout.AlreadyThere:
		return "a payment with this reference exists"
	}
	return "nothing was created; come back later"
}

// word keeps a code only when it looks like one of ours.
func word(code, otherwise string) string {
	if code == "" || len(code) > 64 {
		return otherwise
	}
	for i := range len(code) {
		if c := code[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return otherwise
		}
	}
	return code
}

// Refuse answers with the problem of err; a socket that is not upgraded is refused so.
func (a *API) Refuse(w http.ResponseWriter, r *http.Request, err error) { a.fail(w, r, err) }

// fail answers with the problem of err and logs what is ours to mend.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	x := exchangeOf(w)
	p := describe(err, x.private)
	if p.Status >= 500 {
		level := a.cfg.Log.Warn
		if p.Status == http.StatusInternalServerError {
			level = a.cfg.Log.Error
		}
		if !errors.Is(r.Context().Err(), context.Canceled) { // else the caller has left; it is no fault
			level("request failed", "request_id", x.id, "route", x.route, "status", p.Status, "err", err)
		}
	}
	a.problem(w, p)
}

// problem writes a problem document.
func (a *API) problem(w http.ResponseWriter, p problem) {
	x := exchangeOf(w)
	p.Type, p.Instance = "urn:wzrdcheckout:problem:"+p.Code, x.id
	if p.Session != nil {
		s := whole(*p.Session)
		if !x.private {
			s = shown(s)
		}
		p.Session = &s
	}
	h := w.Header()
	p.headers(h, x.private)
	h.Del("Content-Encoding")
	h.Del("ETag")
	h.Set("Cache-Control", "no-store")
	text, err := json.Marshal(p)
	if err != nil { // a merchant's stored JSON that is none; the rest of the document is sound
		p.Session = nil
		text, _ = json.Marshal(p)
	}
	h.Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_, _ = w.Write(text)
}

// headers sets what a status asks for beside the body.
func (p problem) headers(h http.Header, private bool) {
	switch p.Status {
	case http.StatusUnauthorized:
		challenge := `Bearer realm="checkout"`
		if private {
			challenge = `Bearer realm="merchant"`
		}
		if p.Code != errNoToken.Code {
			challenge += `, error="invalid_token"`
		}
		if p.Code == errOperator.Code {
			challenge = `Basic realm="checkout operations", charset="UTF-8"`
		}
		h.Set("WWW-Authenticate", challenge)
	case http.StatusMethodNotAllowed:
		h.Set("Allow", p.allow)
	case http.StatusUpgradeRequired:
		h.Set("Upgrade", "websocket")
		h.Set("Connection", "Upgrade")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(max(1, int((p.retryAfter+time.Second-1)/time.Second))))
	}
}
