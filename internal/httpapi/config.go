package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"wzrdcheckout/internal/checkout"
)

// The scopes of a session token.
const (
	ScopePay    = "pay"
	ScopeStatus = "status"
)

// Claims is what a session token says.
type Claims struct {
	SessionID string
	Scope     string
	ExpiresAt int64 // Unix seconds
}

// View is what a page needs to draw a session. Services fit the session and are in the
// order to show; Methods are those of the services, by code.
type View struct {
	Session  checkout.Session
	Services []checkout.Service
	Methods  map[string]checkout.Method
	Account  checkout.Account // the merchant as WZRDPAY shows it, as far as it is known
	Version  string           // of the pre-request behind Services, as Versions.ServicesVersion gives it
}

// PayRequest is what the shopper chose and typed.
type PayRequest struct {
	Service        string
	Fields         map[string]string
	IdempotencyKey string
}

// Paid is an attempt that has an invoice. Replayed means that it was there already.
type Paid struct {
	Session  checkout.Session
	Redirect checkout.Redirect
	Replayed bool
}

// Returns are the merchant's own return addresses; URLs wins over URL.
type Returns struct {
	URL  string
	URLs *checkout.ReturnURLs
}

// Checkout is what the shopper's side calls. Errors have a kind of package checkout.
type Checkout interface {
	// Authenticate returns ErrUnauthorized, with the code "token_expired" for a token
	// that was once good.
	Authenticate(token string) (Claims, error)
	// Token gives a session's token of a scope.
	Token(ctx context.Context, sessionID, scope string) (string, error)
	View(ctx context.Context, sessionID string) (View, error)
	// ParsePay reads the body of POST /v1/checkout/invoice.
	ParsePay(body []byte) (PayRequest, error)
	// Pay makes the attempt's invoice or finds it. A *Conflict carries the attempt that
	// is in the way.
	Pay(ctx context.Context, sessionID string, request PayRequest) (Paid, error)
	Returns(ctx context.Context, sessionID string) (Returns, error)
	// Refresh asks WZRDPAY about the open invoice, if there is one, as often as it may.
	Refresh(ctx context.Context, sessionID string) error
}

// Created is an opened session.
type Created struct {
	Session  checkout.Session
	Token    string
	Replayed bool
}

// Form is WZRDPAY's payment form: where it goes and its hidden fields.
type Form struct {
	Action string            `json:"action"`
	Method string            `json:"method"`
	Fields map[string]string `json:"fields"`
}

// Merchant is what the shop's server calls. Bodies are JSON objects; lists take a cursor
// that an earlier page gave ("" = from the start) and a limit of 1 to 100 or 0 for the
// default, and give the next cursor, "" after the last page. The checkout.JSON values
// are JSON objects.
type Merchant interface {
	Create(ctx context.Context, body []byte) (Created, error)
	Session(ctx context.Context, id string) (checkout.Session, error)
	SessionByReference(ctx context.Context, reference string) (checkout.Session, error)
	Expire(ctx context.Context, id string) (checkout.Session, error)
	Patch(ctx context.Context, id string, body []byte) (checkout.Session, error)
	Invoice(ctx context.Context, id string, refresh bool) (checkout.Invoice, error)
	Invoices(ctx context.Context, reference, after string, limit int) (data []checkout.Invoice, next string, err error)
	Services(ctx context.Context, after string, limit int) (data []checkout.AccountService, next string, err error)
	Service(ctx context.Context, id string) (checkout.AccountService, error) // comcps_… or the service code
	PaymentForm(ctx context.Context, body []byte) (Form, error)
	Events(ctx context.Context, after string, limit int) (data []checkout.JSON, next string, err error)
	Redeliver(ctx context.Context, id string) (checkout.JSON, error)
}

// Callbacks stores what WZRDPAY tells us: nil means that it is on disk. A body of more
// than 1 MiB is handed over as its beginning, without a signature: to be counted.
type Callbacks interface {
	Receive(ctx context.Context, body []byte, signature string) error
}

// Updates is the long poll: the frame of a revision newer than the given one, or nil.
type Updates interface {
	LongPoll(ctx context.Context, sessionID string, revision int64, wait time.Duration) ([]byte, error)
}

// Versions tells cheaply whether an encoded answer is still right.
type Versions interface {
	// SessionVersion changes with every stored change of the session.
	SessionVersion(ctx context.Context, sessionID string) (uint64, error)
	// ServicesVersion changes with the content of the currency's pre-request.
	ServicesVersion(ctx context.Context, currency string) (string, error)
}

// Logos finds a method that this replica has not shown since it started.
type Logos interface {
	Method(ctx context.Context, code string) (checkout.Method, error)
}

// Observer counts requests. Route is the pattern ("GET /v1/checkout"), never the path.
type Observer interface {
	Request(route, method string, status int, took time.Duration)
}

// Asset is a published file of the widget, as cmd/assets lists it.
type Asset struct {
	Name        string // "widget.3fa9c1d2e4f0.wasm"
	Logical     string // "widget.wasm"
	ContentType string
	Integrity   string // "sha384-…"
	Immutable   bool   // the name holds a hash of the content
}

// Limits bound what one address may do, per second. 0 is the default; negative is no
// limit. A loopback or private address is a proxy or a test and is not counted, unless
// Private is set.
type Limits struct {
	Requests      float64 // 2,000 on the browser API and the hosted page
	RequestsBurst int     // 4,000
	Pays          float64 // 50 attempts to pay
	PaysBurst     int     // 200
	Private       bool
}

// Config says what an API works with. PublicURL, MerchantKeys, Checkout, Merchant,
// Callbacks, Sockets, Updates and Log are required.
type Config struct {
	PublicURL    string   // BFF_PUBLIC_URL
	Origins      []string // BFF_ALLOWED_ORIGINS; the BFF's own is always allowed
	MerchantKeys []string // BFF_MERCHANT_KEYS
	Live         bool     // live keys: https only, and no logo from a private address

	Checkout  Checkout
	Merchant  Merchant
	Callbacks Callbacks
	Sockets   http.Handler
	Updates   Updates
	Versions  Versions // nil: every answer is made anew
	Logos     Logos    // nil: only methods shown since the start

	Assets   fs.FS   // the published files, each with its .br and .gz
	Manifest []Asset // empty: the widget is not built
	OpenAPI  []byte  // the document of both planes, JSON

	// What /healthz says of the program, "" = nothing: release, commit, and the compiler
	// that made the widget.
	Version, Commit, Widget string

	Metrics  http.Handler                // nil: no /metrics
	Ops      http.Handler                // nil: no /ops/; behind a merchant key, as Bearer or as the password of HTTP Basic
	Fallback http.Handler                // public paths of nobody else's (the demo shop); nil: 404
	Ready    func(context.Context) error // nil: always ready

	Observer       Observer
	Log            *slog.Logger
	Limits         Limits
	TrustedProxies []netip.Prefix    // whose X-Forwarded-For counts
	Transport      http.RoundTripper // how logos are fetched; nil: a guarded one
	Now            func() time.Time
}

func (c *Config) validate() error {
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return errors.New("httpapi: PublicURL is no http or https address")
	}
	if c.Live && u.Scheme != "https" {
		return errors.New("httpapi: PublicURL must be https with live keys")
	}
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	for _, o := range c.Origins {
		if p, err := url.Parse(o); err != nil || strings.Contains(o, "*") || p.Scheme == "" || p.Host == "" || o != p.Scheme+"://"+p.Host {
			return fmt.Errorf("httpapi: Origins: %q is no origin", o)
		}
	}
	if len(c.MerchantKeys) == 0 {
		return errors.New("httpapi: MerchantKeys is missing")
	}
	for _, k := range c.MerchantKeys {
		if k == "" {
			return errors.New("httpapi: MerchantKeys has an empty key")
		}
	}
	switch {
	case c.Checkout == nil:
		return errors.New("httpapi: Checkout is missing")
	case c.Merchant == nil:
		return errors.New("httpapi: Merchant is missing")
	case c.Callbacks == nil:
		return errors.New("httpapi: Callbacks is missing")
	case c.Sockets == nil:
		return errors.New("httpapi: Sockets is missing")
	case c.Updates == nil:
		return errors.New("httpapi: Updates is missing")
	case c.Log == nil:
		return errors.New("httpapi: Log is missing")
	case len(c.Manifest) > 0 && c.Assets == nil:
		return errors.New("httpapi: Assets is missing")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Observer == nil {
		c.Observer = silent{}
	}
	return nil
}

// origin is the BFF's own: scheme and host of its public address.
func (c *Config) origin() string {
	u, err := url.Parse(c.PublicURL)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

type silent struct{}

func (silent) Request(string, string, int, time.Duration) {}
