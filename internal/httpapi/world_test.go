package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/httpapi"
)

var update = flag.Bool("update", false, "write the goldens in testdata anew")

const (
	base        = "https://pay.shop.example"
	shop        = "https://shop.example"
	merchantKey = "mk_first_key_0123456789"
	otherKey    = "mk_second_key_987654321"
	sessionID   = "cs_4fQxT0aBcDeFgHiJkLmNoP"
	payToken    = "eyJwYXkifQ.secret.pay"
	statusToken = "eyJzdGF0In0.secret.status"
	notes       = "only-for-the-merchant"
)

// fake is the work behind the edge: one session in memory, and errors on demand.
type fake struct {
	mu        sync.Mutex
	session   checkout.Session
	view      httpapi.View
	redirect  checkout.Redirect
	returns   httpapi.Returns
	err       error // of everything but Authenticate
	payErr    error
	replayed  bool
	version   uint64
	services  string
	views     int
	refreshs  int
	oversized int // callbacks of more than 1 MiB
	received  [][]byte
	body      []byte
	asked     httpapi.PayRequest
	frame     []byte
	wait      time.Duration
	logo      string
}

func newFake() *fake {
	amount := checkout.MustAmount
	position := 1
	invoiceAmount, low, high := amount("10.5"), amount("1"), amount("1000")
	f := &fake{version: 7, services: "v1", redirect: checkout.Redirect{Method: "GET", URL: "https://provider.example/pay?id=1"}}
	f.session = checkout.Session{
		ID: sessionID, Status: checkout.StatusOpen, Revision: 1, ReferenceID: "order-1", Amount: invoiceAmount, Currency: "EUR", Digits: 2,
		TestMode: true, Flow: "charge", Description: "Two <b>tickets</b>", CreatedAt: 1_795_000_000, ExpiresAt: 4_000_000_000,
		Metadata: checkout.JSON(`{"note":"` + notes + `"}`),
	}
	f.view = httpapi.View{
		Services: []checkout.Service{
			{Code: "card_eur_hpp", Method: "card", Flow: "hpp", Currency: "EUR", Fields: []checkout.Field{}, AmountMin: &low, AmountMax: &high},
			{Code: "bank_eur", Method: "bank", Flow: "hpp", Currency: "EUR", Fields: []checkout.Field{
				{Key: "iban", Type: "string", Label: checkout.Text{"en": "IBAN", "uk": "Рахунок"}, Hint: checkout.Text{"en": "Two letters first"}, Example: "DE89370400440532013000", Regexp: `^[A-Z]{2}\d{2}[A-Z0-9]{11,30}$`, Required: true, Position: 1},
			}},
		},
		Methods: map[string]checkout.Method{
			"card": {Code: "card", Category: "card", Name: checkout.Text{"en": "Card", "uk": "Картка"}, Logo: "https://static.example/card.svg", Position: &position},
			"bank": {Code: "bank", Category: "bank", Name: checkout.Text{"en": "Bank <transfer>"}},
		},
		Version: "v1",
	}
	return f
}

func (f *fake) pending() {
	f.session.Status, f.session.Revision = checkout.StatusPending, 2
	invoice := checkout.Invoice{ID: "cpi_1", ReferenceID: "order-1", Service: "card_eur_hpp", Status: "created", Resolution: "", Amount: f.session.Amount, Currency: "EUR", Created: 1_795_000_010, Updated: 1_795_000_010, ExpiresAt: 4_000_000_000}
	f.session.Invoice = &invoice
	f.session.Attempts = []checkout.Attempt{{Number: 1, ReferenceID: "order-1", Service: "card_eur_hpp", CreatedAt: 1_795_000_009, Invoice: &invoice}}
}

func (f *fake) Authenticate(token string) (httpapi.Claims, error) {
	switch token {
	case payToken:
		return httpapi.Claims{SessionID: sessionID, Scope: httpapi.ScopePay, ExpiresAt: 4_000_000_000}, nil
	case statusToken:
		return httpapi.Claims{SessionID: sessionID, Scope: httpapi.ScopeStatus, ExpiresAt: 4_000_000_000}, nil
	case "old":
		return httpapi.Claims{}, &checkout.Error{Kind: checkout.ErrUnauthorized, Code: "token_expired", Detail: "the session token has expired"}
	}
	return httpapi.Claims{}, &checkout.Error{Kind: checkout.ErrUnauthorized, Code: "token_invalid", Detail: "the session token is not valid"}
}

func (f *fake) Token(_ context.Context, _, scope string) (string, error) {
	if scope == httpapi.ScopePay {
		return payToken, nil
	}
	return statusToken, nil
}

func (f *fake) View(_ context.Context, id string) (httpapi.View, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.views++
	if id != sessionID {
		return httpapi.View{}, &checkout.Error{Kind: checkout.ErrNotFound, Code: "session_not_found", Detail: "there is no such session"}
	}
	v := f.view
	v.Session = f.session
	return v, f.err
}

func (f *fake) ParsePay(body []byte) (httpapi.PayRequest, error) {
	var p struct {
		Service string            `json:"service"`
		Fields  map[string]string `json:"fields"`
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return httpapi.PayRequest{}, checkout.Invalid(checkout.FieldError{Field: "fields", Code: "type", Message: "must be an object of texts"})
	}
	return httpapi.PayRequest{Service: p.Service, Fields: p.Fields}, nil
}

func (f *fake) Pay(_ context.Context, _ string, r httpapi.PayRequest) (httpapi.Paid, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = r
	if f.payErr != nil {
		return httpapi.Paid{}, f.payErr
	}
	if r.Service == "bank_eur" && !strings.HasPrefix(r.Fields["iban"], "DE") {
		return httpapi.Paid{}, checkout.Invalid(checkout.FieldError{Field: "iban", Code: "pattern", Message: "does not have the right form"})
	}
	f.pending()
	return httpapi.Paid{Session: f.session, Redirect: f.redirect, Replayed: f.replayed}, nil
}

func (f *fake) Returns(context.Context, string) (httpapi.Returns, error) { return f.returns, f.err }
func (f *fake) Refresh(context.Context, string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refreshs++
	return nil
}
func (f *fake) SessionVersion(context.Context, string) (uint64, error)  { return f.version, f.err }
func (f *fake) ServicesVersion(context.Context, string) (string, error) { return f.services, f.err }
func (f *fake) Method(_ context.Context, code string) (checkout.Method, error) {
	if f.logo == "" {
		return checkout.Method{}, checkout.ErrNotFound
	}
	return checkout.Method{Code: code, Logo: f.logo}, nil
}

func (f *fake) Create(_ context.Context, body []byte) (httpapi.Created, error) {
	f.body = body
	return httpapi.Created{Session: f.session, Token: payToken, Replayed: f.replayed}, f.err
}

func (f *fake) Session(_ context.Context, id string) (checkout.Session, error) {
	if id != sessionID {
		return checkout.Session{}, &checkout.Error{Kind: checkout.ErrNotFound, Code: "session_not_found", Detail: "there is no such session"}
	}
	return f.session, f.err
}

func (f *fake) SessionByReference(_ context.Context, ref string) (checkout.Session, error) {
	if f.err == nil && ref != "order-1" {
		return checkout.Session{}, fmt.Errorf("find: %w", checkout.ErrNotFound)
	}
	return f.session, f.err
}

func (f *fake) Expire(ctx context.Context, id string) (checkout.Session, error) {
	return f.Session(ctx, id)
}

func (f *fake) Patch(ctx context.Context, id string, body []byte) (checkout.Session, error) {
	f.body = body
	return f.Session(ctx, id)
}

func (f *fake) invoice() checkout.Invoice {
	g := newFake()
	g.pending()
	return *g.session.Invoice
}

func (f *fake) Invoice(_ context.Context, _ string, refresh bool) (checkout.Invoice, error) {
	v := f.invoice()
	if refresh {
		v.Status = "processed"
	}
	return v, f.err
}

func (f *fake) Invoices(_ context.Context, reference, after string, limit int) ([]checkout.Invoice, string, error) {
	if f.err != nil || reference == "none" {
		return nil, "", fmt.Errorf("list: %w", errorsOr(f.err, checkout.ErrNotFound))
	}
	return []checkout.Invoice{f.invoice()}, fmt.Sprintf("%s-%d", after, limit), nil
}

func errorsOr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func (f *fake) Services(context.Context, string, int) ([]checkout.AccountService, string, error) {
	return []checkout.AccountService{{ID: "comcps_1", Service: "card_eur_hpp", Method: "card", Currency: "EUR", Enabled: true}}, "", f.err
}

func (f *fake) Service(context.Context, string) (checkout.AccountService, error) {
	return checkout.AccountService{ID: "comcps_1", Service: "card_eur_hpp"}, f.err
}

func (f *fake) PaymentForm(_ context.Context, body []byte) (httpapi.Form, error) {
	f.body = body
	return httpapi.Form{Action: "https://api.example/process", Method: "POST", Fields: map[string]string{"amount": "10.5"}}, f.err
}

func (f *fake) Events(context.Context, string, int) ([]checkout.JSON, string, error) {
	return []checkout.JSON{checkout.JSON(`{"id":"evt_1","type":"session.paid","timestamp":"2026-11-22T10:00:00Z"}`)}, "", f.err
}

func (f *fake) Redeliver(context.Context, string) (checkout.JSON, error) {
	return checkout.JSON(`{"id":"evt_1","type":"session.paid","timestamp":"2026-11-22T10:00:00Z"}`), f.err
}

func (f *fake) Receive(_ context.Context, body []byte, signature string) error {
	if len(body) > 1<<20 {
		f.oversized++
		return checkout.ErrTooLarge
	}
	if signature != "good" {
		return &checkout.Error{Kind: checkout.ErrUnauthorized, Code: "bad_signature", Detail: "the signature does not fit"}
	}
	if f.err == nil {
		f.received = append(f.received, body)
	}
	return f.err
}

func (f *fake) LongPoll(_ context.Context, _ string, _ int64, wait time.Duration) ([]byte, error) {
	f.wait = wait
	return f.frame, f.err
}

func (f *fake) ServeHTTP(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }

type world struct {
	t    testing.TB
	fake *fake
	api  *httpapi.API
	log  *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func config(t testing.TB, f *fake, log io.Writer) httpapi.Config {
	t.Helper()
	document, err := os.ReadFile("../../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	return httpapi.Config{
		PublicURL: base, Origins: []string{shop}, MerchantKeys: []string{merchantKey, otherKey},
		Checkout: f, Merchant: f, Callbacks: f, Sockets: f, Updates: f, Versions: f, Logos: f,
		Assets: fstest.MapFS{
			"checkout.js": {Data: []byte("/*loader*/")}, "checkout.js.br": {Data: []byte("BR")}, "checkout.js.gz": {Data: []byte("GZ")},
			"widget.3fa9c1d2e4f0.css": {Data: []byte(".wz{}")}, "manifest.json": {Data: []byte("{}")},
		},
		Manifest: []httpapi.Asset{
			{Name: "checkout.js", Logical: "checkout.js", ContentType: "text/javascript; charset=utf-8"},
			{Name: "widget.3fa9c1d2e4f0.css", Logical: "widget.css", ContentType: "text/css; charset=utf-8", Immutable: true},
		},
		OpenAPI: document, Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("up 1\n")) }),
		Log: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

func open(t testing.TB, change func(*httpapi.Config)) *world {
	t.Helper()
	w := &world{t: t, fake: newFake(), log: &lockedBuffer{}}
	cfg := config(t, w.fake, w.log)
	if change != nil {
		change(&cfg)
	}
	api, err := httpapi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.api = api
	return w
}

// request is one call; plane "private" or "" for the public one.
type request struct {
	private bool
	method  string
	path    string
	body    string
	header  map[string]string
}

type answer struct {
	*httptest.ResponseRecorder
	text string
}

func (w *world) do(r request) answer {
	w.t.Helper()
	if r.method == "" {
		r.method = http.MethodGet
	}
	var body io.Reader
	if r.body != "" {
		body = strings.NewReader(r.body)
	}
	hr := httptest.NewRequest(r.method, r.path, body)
	if r.body != "" {
		hr.Header.Set("Content-Type", "application/json")
	}
	if r.private {
		hr.Header.Set("Authorization", "Bearer "+merchantKey)
	}
	for k, v := range r.header {
		if v == "" {
			hr.Header.Del(k)
		} else {
			hr.Header.Set(k, v)
		}
	}
	rec := httptest.NewRecorder()
	handler := w.api.Public()
	if r.private {
		handler = w.api.Private()
	}
	handler.ServeHTTP(rec, hr)
	a := answer{rec, rec.Body.String()}
	w.documented(r, a)
	return a
}

// documented holds every answer of every test against the OpenAPI document.
func (w *world) documented(r request, a answer) {
	w.t.Helper()
	if strings.HasPrefix(r.path, "/ops/") && a.Code != http.StatusNotFound {
		return // pages for people are no part of the document
	}
	d := load(w.t)
	method := r.method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	path, _, _ := strings.Cut(r.path, "?")
	if a.Header().Get("Content-Encoding") == "gzip" && strings.HasPrefix(a.text, "\x1f\x8b") {
		z, err := gzip.NewReader(strings.NewReader(a.text))
		if err != nil {
			w.t.Fatal(err)
		}
		text, err := io.ReadAll(z)
		if err != nil {
			w.t.Fatal(err)
		}
		a.text = string(text)
	}
	kind, _, _ := strings.Cut(a.Header().Get("Content-Type"), ";")
	if kind == "application/problem+json" {
		d.check(w.t, "Problem", a.text)
		if a.Header().Get("X-Request-Id") == "" || !strings.Contains(a.text, `"instance":"`+a.Header().Get("X-Request-Id")+`"`) {
			w.t.Errorf("%s %s: instance is not the request's ID: %s", r.method, r.path, a.text)
		}
	}
	op := d.operation(method, path)
	if strings.Contains(a.text, `"no_such_address"`) { // said by the other plane, or for a path of nobody's
		return
	}
	if op == nil {
		if a.Code != http.StatusNotFound && a.Code != http.StatusMethodNotAllowed && a.Code != http.StatusInternalServerError && method != http.MethodOptions {
			w.t.Errorf("%s %s = %d is not in the document", r.method, path, a.Code)
		}
		return
	}
	response, ok := op.Responses[fmt.Sprint(a.Code)]
	switch {
	case !ok && a.Code == http.StatusTeapot: // the fake hub
	case !ok:
		w.t.Errorf("%s %s = %d is not in the document", r.method, path, a.Code)
	case kind == "application/json":
		media, ok := response.Content["application/json"]
		if !ok {
			w.t.Errorf("%s %s = %d gives JSON, which the document does not say", r.method, path, a.Code)
			return
		}
		if name := strings.TrimPrefix(media.Schema.Ref, "#/components/schemas/"); name != "" {
			d.check(w.t, name, a.text)
		}
	}
}

type document struct {
	Paths map[string]map[string]operation `json:"paths"`

	compiler *jsonschema.Compiler
	mu       sync.Mutex
}

type operation struct {
	Responses map[string]struct {
		Content map[string]struct {
			Schema struct {
				Ref string `json:"$ref"`
			} `json:"schema"`
		} `json:"content"`
	} `json:"responses"`
}

var load = func() func(testing.TB) *document {
	read := sync.OnceValues(func() (*document, error) {
		text, err := os.ReadFile("../../docs/openapi.json")
		if err != nil {
			return nil, err
		}
		d := &document{compiler: jsonschema.NewCompiler()}
		if err := json.Unmarshal(text, d); err != nil {
			return nil, err
		}
		whole, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return nil, err
		}
		return d, d.compiler.AddResource("openapi.json", whole)
	})
	return func(t testing.TB) *document {
		t.Helper()
		d, err := read()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
}()

func (d *document) check(t testing.TB, name, text string) {
	t.Helper()
	d.mu.Lock()
	schema, err := d.compiler.Compile("openapi.json#/components/schemas/" + name)
	d.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err == nil {
		err = schema.Validate(v)
	}
	if err != nil {
		t.Errorf("answer is no %s: %v\n%s", name, err, text)
	}
}

// operation finds what the document says of a path.
func (d *document) operation(method, path string) *operation {
	parts := strings.Split(path, "/")
	for template, ops := range d.Paths {
		want := strings.Split(template, "/")
		if len(want) != len(parts) {
			continue
		}
		same := true
		for i := range want {
			same = same && (want[i] == parts[i] || strings.HasPrefix(want[i], "{") && parts[i] != "")
		}
		if op, ok := ops[strings.ToLower(method)]; ok && same {
			return &op
		}
	}
	return nil
}

func golden(t *testing.T, name, text string) {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, []byte(text), "", "  "); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	out.WriteByte('\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("%s = %s\nwant %s", name, out.String(), want)
	}
}

func auth(token string) map[string]string {
	return map[string]string{"Authorization": "Bearer " + token}
}
