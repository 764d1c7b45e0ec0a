package wzrd

import (
	"net/http"

	"wzrdcheckout/internal/checkout"
)

// code is one row of the vendor's table "HTTP status codes used in responses", read as
// what a client has to do. docs/wzrdpay-codes.md is the same table for people.
type code struct {
	status    int // 0 = any other 4xx or 3xx
	directive checkout.Directive
	kind      error
	name      string // Code of the UpstreamError
	retry     bool   // a read is tried again
}

var codes = []code{
	{http.StatusBadRequest, checkout.LookUp, checkout.ErrUpstream, "bad_request", false},
	{http.StatusUnauthorized, checkout.NotCreated, checkout.ErrUpstream, "credentials_refused", false},
	{http.StatusForbidden, checkout.NotCreated, checkout.ErrUpstream, "access_refused", false},
	{http.StatusNotFound, checkout.NotCreated, checkout.ErrUpstream, "wrong_path", false},
	{http.StatusMethodNotAllowed, checkout.NotCreated, checkout.ErrUpstream, "switched_off", false},
	{http.StatusConflict, checkout.AlreadyThere, checkout.ErrConflict, "already_there", false},
	{http.StatusUnprocessableEntity, checkout.NotCreated, checkout.ErrInvalid, "refused", false},
	{http.StatusTooManyRequests, checkout.Later, checkout.ErrUnavailable, "too_many_requests", true},
	{http.StatusInternalServerError, checkout.LookUp, checkout.ErrUpstream, "server_error", true},
	{http.StatusBadGateway, checkout.LookUp, checkout.ErrUpstream, "bad_gateway", true},
	{http.StatusServiceUnavailable, checkout.LookUp, checkout.ErrUnavailable, "service_unavailable", true},
	{http.StatusGatewayTimeout, checkout.LookUp, checkout.ErrTimeout, "gateway_timeout", true},
}

// codeOf gives the row of a status that is no success. A status that the vendor does not
// document leaves the outcome unknown.
func codeOf(status int) code {
	for _, c := range codes {
		if c.status == status {
			return c
		}
	}
	switch {
	case status >= 500:
		return code{status, checkout.LookUp, checkout.ErrUpstream, "server_error", true}
	case status >= 300 && status < 400:
		return code{status, checkout.LookUp, checkout.ErrUpstream, "redirected", false}
	}
	return code{status, checkout.LookUp, checkout.ErrUpstream, "unknown_status", false}
}

// What ends a call without a usable answer, besides the codes above.
const (
	codeTimeout     = "timeout"         // no whole answer in time
	codeNoAnswer    = "no_answer"       // the connection broke after the request may have been sent
	codeCut         = "answer_cut"      // the body ended early
	codeUnreachable = "unreachable"     // no connection: nothing was sent
	codeCanceled    = "canceled"        // the caller went away
	codeBreaker     = "breaker_open"    // not sent: WZRDPAY failed too often just now
	codeLimited     = "rate_limited"    // not sent: our own limit, or a Retry-After that still runs
	codeNotJSON     = "not_json"        // HTML, cut JSON, …
	codeUnusable    = "unusable_answer" // JSON without what is needed
	codeTooLarge    = "answer_too_large"
	codeLoop        = "paging_loop"
	codeMode        = "wrong_mode"  // a test answer to a live key, or the reverse
	codeNoRedirect  = "no_redirect" // an invoice without any way to pay
	codeRefused     = "redirect_refused"
	codeRefDiffers  = "reference_differs"
)
