package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/rs/cors"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/page"
)

// The sizes that bodies may have.
const (
	merchantBody = 256 << 10
	browserBody  = 64 << 10
	callbackBody = 1 << 20 // docs/openapi.json

	// drained is how much more than its limit is read before a body is refused.
	drained = 4 << 20
)

// API is both planes.
type API struct {
	cfg      Config
	secure   bool // the public plane is https
	keys     [][sha256.Size]byte
	site     page.Site
	files    map[string]*file
	answers  *answers
	tokens   *tokens
	logos    *logos
	requests *limiter
	pays     *limiter

	publicRoutes, privateRoutes []route
	public, private             http.Handler
}

// route is one operation of a plane. The pattern is http.ServeMux's: "GET /v1/checkout".
type route struct {
	pattern string
	handle  http.HandlerFunc
}

// New makes an API; it returns an error that names the field of cfg that is wrong.
func New(cfg Config) (*API, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	a := &API{
		cfg: cfg, secure: strings.HasPrefix(cfg.PublicURL, "https:"),
		answers: newAnswers(), tokens: newTokens(), logos: newLogos(cfg),
		requests: newLimiter(cfg.Limits.Requests, cfg.Limits.RequestsBurst, 2000, 4000, cfg.Now),
		pays:     newLimiter(cfg.Limits.Pays, cfg.Limits.PaysBurst, 50, 200, cfg.Now),
	}
	for _, k := range cfg.MerchantKeys {
		a.keys = append(a.keys, sha256.Sum256([]byte(k)))
	}
	files, err := loadFiles(cfg.Assets, cfg.Manifest)
	if err != nil {
		return nil, err
	}
	a.files = files
	a.site = page.Site{Base: cfg.PublicURL, Live: cfg.Live, Script: cfg.PublicURL + "/widget/v1/checkout.js", Close: cfg.PublicURL + "/widget/v1/" + page.Close.Name}
	for _, m := range cfg.Manifest {
		switch at := cfg.PublicURL + "/widget/v1/" + m.Name; m.Logical {
		case "widget.css":
			a.site.CSS = at
			if text := string(files[m.Name].plain); !strings.Contains(text, "</") { // it would end the element
				a.site.Style = text
			}
		case "widget.wasm":
			a.site.Module = page.Module{URL: at, Integrity: m.Integrity}
		}
	}

	a.publicRoutes = []route{
		{"GET /v1/checkout", a.guard(a.requests, a.getCheckout)},
		{"POST /v1/checkout/invoice", a.guard(a.pays, a.postInvoice)},
		{"GET /v1/checkout/ws", a.getSocket},
		{"GET /v1/checkout/updates", a.guard(a.requests, a.getUpdates)},
		{routeCallback, a.postCallback},
		{"GET /checkout/{id}", a.guard(a.requests, a.getHosted)},
		{"POST /checkout/{id}/pay", a.guard(a.pays, a.postHosted)},
		{"GET /checkout/{id}/qr.svg", a.guard(a.requests, a.getQR)},
		{"GET /return/{outcome}", a.guard(a.requests, a.getReturn)},
		{"GET /widget/v1/{name}", a.getFile},
		{"GET /widget/v1/logos/{code}", a.getLogo},
	}
	a.privateRoutes = []route{
		{"POST /v1/sessions", a.merchant(a.postSession)},
		{"GET /v1/sessions", a.merchant(a.listSessions)},
		{"GET /v1/sessions/{id}", a.merchant(a.getSession)},
		{"PATCH /v1/sessions/{id}", a.merchant(a.patchSession)},
		{"POST /v1/sessions/{id}/expire", a.merchant(a.expireSession)},
		{"GET /v1/invoices", a.merchant(a.listInvoices)},
		{"GET /v1/invoices/{id}", a.merchant(a.getInvoice)},
		{"GET /v1/services", a.merchant(a.listServices)},
		{"GET /v1/services/{id}", a.merchant(a.getService)},
		{"POST /v1/payment-form", a.merchant(a.postPaymentForm)},
		{"GET /v1/events", a.merchant(a.listEvents)},
		{"POST /v1/events/{id}/redeliver", a.merchant(a.redeliver)},
		{"GET /healthz", a.getHealth},
		{"GET /readyz", a.getReady},
		{"GET /openapi.json", a.getOpenAPI},
	}
	if cfg.Metrics != nil {
		a.privateRoutes = append(a.privateRoutes, route{"GET /metrics", cfg.Metrics.ServeHTTP})
	}

	allowed := map[string]bool{cfg.origin(): true}
	for _, o := range cfg.Origins {
		allowed[o] = true
	}
	share := cors.New(cors.Options{
		AllowOriginFunc: func(origin string) bool { return allowed[origin] },
		AllowedMethods:  []string{http.MethodGet, http.MethodPost},
		AllowedHeaders:  []string{"Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id"},
		ExposedHeaders:  []string{"Date", "X-Request-Id", "Retry-After"},
		MaxAge:          86_400,
	})
	public := a.mux(a.publicRoutes, cfg.Fallback, nil)
	browser := share.Handler(public)
	a.public = a.plane(false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/checkout") {
			if r.Method == http.MethodOptions {
				exchangeOf(w).route = "OPTIONS /v1/checkout"
			}
			browser.ServeHTTP(w, r)
			return
		}
		public.ServeHTTP(w, r)
	}))
	a.private = a.plane(true, a.mux(a.privateRoutes, nil, cfg.Ops))
	return a, nil
}

// Public is the plane of browsers and WZRDPAY.
func (a *API) Public() http.Handler { return a.public }

// Private is the plane of the shop's server and of operation.
func (a *API) Private() http.Handler { return a.private }

// mux serves the routes; whatever is none of them goes to fallback, else gets a 404, or
// a 405 when another method would have found something.
func (a *API) mux(routes []route, fallback, ops http.Handler) http.Handler {
	mux := http.NewServeMux()
	methods := []string{}
	for _, rt := range routes {
		method, _, _ := strings.Cut(rt.pattern, " ")
		if !slices.Contains(methods, method) {
			methods = append(methods, method)
		}
		mux.HandleFunc(rt.pattern, func(w http.ResponseWriter, r *http.Request) {
			exchangeOf(w).route = rt.pattern
			rt.handle(w, r)
		})
	}
	if ops != nil {
		mux.HandleFunc("/ops/", func(w http.ResponseWriter, r *http.Request) {
			exchangeOf(w).route = "/ops/"
			if !a.isMerchant(bearer(r)) && !a.isMerchant(password(r)) {
				a.fail(w, r, errOperator)
				return
			}
			ops.ServeHTTP(w, r)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		var allow []string
		for _, m := range methods {
			probe := &http.Request{Method: m, URL: r.URL, Host: r.Host}
			if _, pattern := mux.Handler(probe); pattern != "/" && pattern != "" && strings.HasPrefix(pattern, m+" ") {
				allow = append(allow, m)
				if m == http.MethodGet {
					allow = append(allow, http.MethodHead)
				}
			}
		}
		switch {
		case len(allow) > 0:
			list := strings.Join(allow, ", ")
			a.fail(w, r, &edge{status: http.StatusMethodNotAllowed, code: "method_not_allowed", title: "Method not allowed", detail: "this address takes " + list, allow: list})
		case fallback != nil:
			exchangeOf(w).route = "fallback"
			fallback.ServeHTTP(w, r)
		default:
			a.fail(w, r, errNoRoute)
		}
	})
	return mux
}

// isMerchant tells whether key is one of the merchant's. All keys are compared, each in
// constant time, so that nothing is learnt from how long it took.
func (a *API) isMerchant(key string) bool {
	given := sha256.Sum256([]byte(key))
	match := 0
	for i := range a.keys {
		match |= subtle.ConstantTimeCompare(given[:], a.keys[i][:])
	}
	return match == 1
}

// merchant lets only requests with a merchant key in.
func (a *API) merchant(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !a.isMerchant(bearer(r)) {
			a.fail(w, r, errMerchantKey)
			return
		}
		next(w, r)
	}
}

// bearer is the token of the Authorization header, "" for none.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// password is that of HTTP Basic, "" for none: a browser on the operators' page can send
// no bearer.
func password(r *http.Request) string {
	_, given, _ := r.BasicAuth()
	return given
}

// body reads a JSON object of at most limit bytes.
func body(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, errMediaType
	}
	text, err := raw(w, r, limit)
	if err != nil {
		return nil, err
	}
	if trimmed := strings.TrimLeft(string(text[:min(len(text), 64)]), " \t\r\n"); !json.Valid(text) || trimmed != "" && trimmed[0] != '{' {
		return nil, errBadJSON
	}
	return text, nil
}

// announced is the length up to which memory is given on the sender's word alone.
const announced = 16 << 10

// raw reads a body of at most limit bytes. Of a larger one it gives the beginning, with
// errTooLarge.
func raw(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	var text []byte
	var err error
	if n := r.ContentLength; n >= 0 && n <= min(announced, limit) {
		// As a rule: room once, and not as it grows. net/http gives no more than was announced.
		text = make([]byte, n)
		_, err = io.ReadFull(r.Body, text)
	} else {
		text, err = io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		// Who is cut off while sending may never read why.
		_, _ = io.CopyN(io.Discard, r.Body, drained)
		return text, errTooLarge
	case err != nil:
		return nil, fmt.Errorf("read body: %w", errCutBody)
	}
	return text, nil
}

// answer writes v as JSON.
func (a *API) answer(w http.ResponseWriter, r *http.Request, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		a.fail(w, r, fmt.Errorf("encode answer: %w", err))
		return
	}
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = jsonType, noStore
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

// shown is a session as a page may see it: what the merchant noted on it is not for the
// shopper.
func shown(s checkout.Session) checkout.Session {
	s.Metadata = checkout.JSON("{}")
	if s.Attempts == nil {
		s.Attempts = []checkout.Attempt{}
	}
	return s
}
