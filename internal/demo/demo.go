// Package demo is the shop of `bff demo`: one product, one checkout page, the call
// that opens a session and the webhook that says it is paid. It is written as a shop
// would write it: of the project it knows nothing but the documented HTTP API and the
// builder of its page, so that it can be read as an example.
package demo

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed page
var pages embed.FS

// maxOrders bounds what the demo remembers; a shop has a database.
const maxOrders = 1000

// Config is what a shop knows of its BFF.
type Config struct {
	API           string // private plane, e.g. http://127.0.0.1:8081
	Widget        string // public plane as the browser sees it, e.g. http://localhost:8080
	Home          string // the shop's own address, e.g. http://localhost:8080
	MerchantKey   string // authorises the shop at the private plane
	WebhookSecret string // whsec_…, verifies what the BFF sends
	Logger        *slog.Logger
}

// Shop serves the page, opens sessions and hears webhooks.
type Shop struct {
	cfg    Config
	client *http.Client

	mu     sync.Mutex
	orders map[string]*order
	recent []string // order references, oldest first
}

// order is what the shop knows of one purchase. Paid changes by webhook only: never
// because a browser came back to some address.
type order struct {
	Reference string
	Product   product
	Locale    string
	Paid      bool
	Status    string
	Heard     []heard
	seen      map[string]bool // webhook-id: a webhook may come twice
	changed   chan struct{}   // closed and replaced on every webhook
}

// heard is one webhook as the page shows it.
type heard struct {
	At     string `json:"at"`
	ID     string `json:"id"`
	Type   string `json:"type"`
	Status string `json:"status"`
}

type product struct {
	Currency string
	Amount   string // JSON number in major units
	Price    string
}

var products = map[string]product{
	"EUR": {"EUR", "39.00", "€39.00"},
	"USD": {"USD", "42.50", "$42.50"},
	"UAH": {"UAH", "1749.00", "₴1,749.00"},
}

func (c Config) validate() error {
	switch "" {
	case c.API:
		return errors.New("demo: API is missing")
	case c.Widget:
		return errors.New("demo: Widget is missing")
	case c.Home:
		return errors.New("demo: Home is missing")
	case c.MerchantKey:
		return errors.New("demo: MerchantKey is missing")
	case c.WebhookSecret:
		return errors.New("demo: WebhookSecret is missing")
	}
	return nil
}

// New makes a shop; its error names the member that is missing.
func New(cfg Config) (*Shop, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Shop{
		cfg: cfg, orders: map[string]*order{},
		client: &http.Client{Timeout: 10 * time.Second},
	}, nil
}

// Handler serves / and everything below /shop/.
func (s *Shop) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.checkout)
	mux.HandleFunc("POST /shop/webhook", s.webhook)
	mux.HandleFunc("GET /shop/heard", s.heard)
	mux.HandleFunc("GET /shop/page/{file}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, pages, "page/"+r.PathValue("file")) //nolint:gosec // an embedded folder; {file} holds no slash
	})
	return mux
}

// checkout shows the page. Without ?order= it takes a new order. Opening the session is
// one call, and safe to repeat: the same reference and body give the same session.
func (s *Shop) checkout(w http.ResponseWriter, r *http.Request) {
	o := s.order(r.URL.Query().Get("order"))
	if o == nil {
		p, ok := products[r.URL.Query().Get("currency")]
		if !ok {
			p = products["EUR"]
		}
		o = s.newOrder(p, locale(r))
	}
	session, err := s.open(r.Context(), o)
	if err != nil {
		s.cfg.Logger.Error("open session", "reference_id", o.Reference, "err", err)
		http.Error(w, "The shop could not open a checkout session: "+err.Error(), http.StatusBadGateway)
		return
	}
	page := checkoutPage{Order: o, Widget: s.cfg.Widget, Token: session.Token, Hosted: session.URL, Theme: theme(r)}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	_, _ = io.WriteString(w, page.document())
}

func locale(r *http.Request) string {
	switch l := r.URL.Query().Get("locale"); l {
	case "en", "uk", "ru":
		return l
	}
	return "en"
}

func theme(r *http.Request) string {
	switch t := r.URL.Query().Get("theme"); t {
	case "light", "dark":
		return t
	}
	return "auto"
}

type opened struct {
	ID    string `json:"id"`
	Token string `json:"token"`
	URL   string `json:"url"`
}

// open is the one call of the shop's server: POST /v1/sessions.
func (s *Shop) open(ctx context.Context, o *order) (opened, error) {
	back := s.cfg.Home + "/?order=" + url.QueryEscape(o.Reference)
	body, err := json.Marshal(map[string]any{
		"reference_id": o.Reference,
		"amount":       json.RawMessage(o.Product.Amount),
		"currency":     o.Product.Currency,
		"description":  "Lamp “Kobza”, oak and linen",
		"locale":       o.Locale,
		"return_url":   back,
		"customer":     map[string]any{"reference_id": "demo-customer", "name": "Olena Demo", "email": "olena@example.com"},
		"metadata":     map[string]any{"cart": "lamp-kobza"},
	})
	if err != nil {
		return opened{}, fmt.Errorf("encode session: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.API+"/v1/sessions", bytes.NewReader(body))
	if err != nil {
		return opened{}, fmt.Errorf("open session: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+s.cfg.MerchantKey)
	req.Header.Set("Content-Type", "application/json")
	res, err := s.client.Do(req)
	if err != nil {
		return opened{}, fmt.Errorf("open session: %w", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return opened{}, fmt.Errorf("open session: %w", err)
	}
	if res.StatusCode != http.StatusCreated && res.StatusCode != http.StatusOK {
		return opened{}, fmt.Errorf("open session: %s: %s", res.Status, answer)
	}
	var session opened
	if err := json.Unmarshal(answer, &session); err != nil {
		return opened{}, fmt.Errorf("open session: %w", err)
	}
	return session, nil
}

// webhook hears what became of an order. It verifies first, and counts an event once.
func (s *Shop) webhook(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "body too large", http.StatusRequestEntityTooLarge)
		return
	}
	if err := verify(s.cfg.WebhookSecret, r.Header, body, time.Now()); err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	var event struct {
		Type string `json:"type"`
		Data struct {
			Status      string `json:"status"`
			ReferenceID string `json:"reference_id"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		http.Error(w, "not JSON", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.orders[event.Data.ReferenceID]
	if o == nil || o.seen[r.Header.Get("webhook-id")] {
		return // 200: an order of an earlier demo, or heard before
	}
	o.seen[r.Header.Get("webhook-id")] = true
	o.Status = event.Data.Status
	o.Paid = o.Paid || event.Type == "session.paid"
	o.Heard = append(o.Heard, heard{
		At: time.Now().Format("15:04:05.000"), ID: r.Header.Get("webhook-id"), Type: event.Type, Status: event.Data.Status,
	})
	close(o.changed)
	o.changed = make(chan struct{})
}

// verify checks a webhook as https://www.standardwebhooks.com describes it: HMAC-SHA256
// over "id.timestamp.body", any of the listed signatures may fit, five minutes of clock
// difference. A shop would use the published library of its language.
func verify(secret string, h http.Header, body []byte, now time.Time) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return errors.New("webhook secret is not base64")
	}
	id, stamp := h.Get("webhook-id"), h.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return errors.New("webhook timestamp is missing or too old")
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for given := range strings.FieldsSeq(h.Get("webhook-signature")) {
		if hmac.Equal([]byte(given), []byte(want)) {
			return nil
		}
	}
	return errors.New("webhook signature does not fit")
}

// heard streams the webhooks of one order to the page, so that one can watch them arrive.
func (s *Shop) heard(w http.ResponseWriter, r *http.Request) {
	o := s.order(r.URL.Query().Get("order"))
	if o == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	if err := out.SetWriteDeadline(time.Time{}); err != nil { // the stream has no end
		s.cfg.Logger.Error("stream webhooks", "err", err)
		return
	}
	sent, _ := strconv.Atoi(r.Header.Get("Last-Event-ID")) // 0 for a page that is new here
	for {
		s.mu.Lock()
		list, changed := o.Heard[min(max(sent, 0), len(o.Heard)):], o.changed
		s.mu.Unlock()
		for _, h := range list {
			line, err := json.Marshal(h)
			if err != nil {
				return
			}
			sent++
			if _, err := fmt.Fprintf(w, "id: %d\ndata: %s\n\n", sent, line); err != nil {
				return
			}
		}
		if err := out.Flush(); err != nil {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func (s *Shop) order(reference string) *order {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.orders[reference]
}

func (s *Shop) newOrder(p product, locale string) *order {
	o := &order{
		Reference: "demo-" + strings.ToLower(rand.Text()[:12]), Product: p, Locale: locale,
		Status: "open", seen: map[string]bool{}, changed: make(chan struct{}),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orders[o.Reference] = o
	s.recent = append(s.recent, o.Reference)
	if len(s.recent) > maxOrders {
		delete(s.orders, s.recent[0])
		s.recent = s.recent[1:]
	}
	return o
}
