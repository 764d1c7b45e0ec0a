package checkout

import "errors"

// The kinds of error. Every error that may cross a package boundary unwraps to
// one of them or is internal; only internal/httpapi turns a kind into a status.
var (
	// ErrInvalid: the caller's input breaks a rule; Fields of Error name it.
	ErrInvalid = errors.New("invalid")
	// ErrUnauthorized: no proof of identity, or a wrong one.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrForbidden: known, and not allowed (a status token that wants to pay).
	ErrForbidden = errors.New("forbidden")
	// ErrNotFound: nothing is stored under that name.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the state moved on, or contradicts the request.
	ErrConflict = errors.New("conflict")
	// ErrTooLarge: over a size limit.
	ErrTooLarge = errors.New("too large")
	// ErrLimited: over a rate or count limit; later it may work.
	ErrLimited = errors.New("limited")
	// ErrUpstream: WZRDPAY answered something that can not be used.
	ErrUpstream = errors.New("upstream")
	// ErrUnavailable: a part that is needed is down, full or stopping; try again.
	ErrUnavailable = errors.New("unavailable")
	// ErrTimeout: no answer in time; the outcome may be unknown; try again.
	ErrTimeout = errors.New("timeout")
)

// FieldError says what is wrong with one member of the input.
// Code is one word of a closed list ("required", "pattern", "length", …),
// Message is for a person, in English.
type FieldError struct {
	Field   string `json:"-"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error is an error with a kind, a stable code that machines read ("session_expired"),
// a sentence that says what is wrong and what to do, and, for ErrInvalid, the members
// that are wrong. Cause is never shown to a caller over HTTP.
type Error struct {
	Kind      error
	Code      string
	Detail    string
	Retryable bool
	Fields    []FieldError
	Cause     error
}

// Error gives code and detail, and the fields' names (never their values).
func (e *Error) Error() string {
	s := e.Code
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	for i, f := range e.Fields {
		if i == 0 {
			s += ": "
		} else {
			s += ", "
		}
		s += f.Field + " " + f.Code
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap gives the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// Invalid is the ErrInvalid of one or more members.
func Invalid(fields ...FieldError) *Error {
	return &Error{Kind: ErrInvalid, Code: "invalid", Fields: fields}
}

// Directive is what the vendor's page tells a client to do after a call did not
// succeed (docs/wzrdpay-codes.md).
type Directive uint8

// The directives, in the words of the attempt that has to act on them.
const (
	// NotCreated: the operation did not take place; mend the request or the credentials.
	NotCreated Directive = iota + 1
	// LookUp: the outcome is unknown; ask by reference before anything else (400, 5xx, timeout, lost answer).
	LookUp
	// AlreadyThere: an earlier operation with this reference exists (409); find and compare it.
	AlreadyThere
	// Later: the request was not sent, or refused for its rate; nothing was created; come back (429, open breaker, own limit).
	Later
)

// String gives the directive as one word for logs and metrics.
func (d Directive) String() string {
	switch d {
	case NotCreated:
		return "not_created"
	case LookUp:
		return "look_up"
	case AlreadyThere:
		return "already_there"
	case Later:
		return "later"
	}
	return "none"
}

// UpstreamError is a call to WZRDPAY that did not succeed. Operation is the vendor's
// ("POST /payment-invoices"), Status the HTTP status or 0 when none arrived, Fields
// the members that a 422 names. It holds no secret, no body and no URL.
type UpstreamError struct {
	Operation  string
	Status     int
	Code       string
	Detail     string
	Directive  Directive
	RetryAfter int64 // seconds, 0 = not said
	Fields     []FieldError
	Kind       error
	Cause      error
}

// Error gives operation, status text and directive.
func (e *UpstreamError) Error() string {
	s := e.Operation + ": " + e.Directive.String()
	if e.Code != "" {
		s += ": " + e.Code
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap gives the kind and the cause.
func (e *UpstreamError) Unwrap() []error {
	var list []error
	if e.Kind != nil {
		list = append(list, e.Kind)
	}
	if e.Cause != nil {
		list = append(list, e.Cause)
	}
	return list
}
