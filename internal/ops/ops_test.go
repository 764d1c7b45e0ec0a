package ops_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/metrics"
	"wzrdcheckout/internal/ops"
)

var update = flag.Bool("update", false, "rewrite the goldens")

const (
	sessionID = "cs_4fQxJm2Zb7hT1kVw9RnYpA"
	began     = 1_795_000_000
)

// shop is a small world behind the page.
type shop struct {
	err         error
	again       []string
	redeliver   error
	entries     []checkout.Entry
	dead        []ops.Event
	next        string
	description string
}

func (s *shop) session() checkout.Session {
	asked := checkout.MustAmount("1250.5")
	failed := checkout.Invoice{ID: "cpi_AAA", ReferenceID: "order-17", Service: "card_eur_hpp", Status: "process_failed", Resolution: "insufficient_funds", Amount: asked, Currency: "EUR", Updated: began + 40}
	paid := checkout.Invoice{ID: "cpi_BBB", ReferenceID: "order-17.2", Service: "card_eur_hpp", Status: "processed", Resolution: "ok", Amount: asked, Currency: "EUR", Updated: began + 95}
	return checkout.Session{
		ID: sessionID, Status: checkout.StatusPaid, Revision: 7, ReferenceID: "order-17", Amount: asked, Currency: "EUR", Digits: 2,
		TestMode: true, Flow: "charge", Description: s.description, CreatedAt: began, ExpiresAt: began + 3600, Invoice: &paid,
		Attempts: []checkout.Attempt{
			{Number: 1, ReferenceID: "order-17", Service: "card_eur_hpp", CreatedAt: began + 10, Invoice: &failed},
			{Number: 2, ReferenceID: "order-17.2", Service: "card_eur_hpp", CreatedAt: began + 60, Invoice: &paid},
		},
	}
}

func (s *shop) Get(_ context.Context, id string) (checkout.Session, error) {
	return s.find(id == sessionID)
}

func (s *shop) FindByReference(_ context.Context, reference string) (checkout.Session, error) {
	return s.find(reference == "order-17")
}

func (s *shop) ByInvoice(_ context.Context, id string) (checkout.Session, error) {
	return s.find(id == "cpi_AAA" || id == "cpi_BBB")
}

func (s *shop) find(ok bool) (checkout.Session, error) {
	if s.err != nil {
		return checkout.Session{}, s.err
	}
	if !ok {
		return checkout.Session{}, fmt.Errorf("get: %w", checkout.ErrNotFound)
	}
	return s.session(), nil
}

func (s *shop) History(context.Context, string) ([]ops.Observation, error) {
	return []ops.Observation{
		{At: began + 12, Source: "create", Invoice: "cpi_AAA", Status: "created", Updated: began + 11},
		{At: began + 41, Source: "callback", Invoice: "cpi_AAA", Status: "process_failed", Resolution: "insufficient_funds", Updated: began + 40},
		{At: began + 62, Source: "create", Invoice: "cpi_BBB", Status: "created", Updated: began + 61},
		{At: began + 96, Source: "callback", Invoice: "cpi_BBB", Status: "processed", Resolution: "ok", Updated: began + 95},
	}, nil
}

func (s *shop) events() []ops.Event {
	at := func(seconds int64) string { return time.Unix(began+seconds, 0).UTC().Format(time.RFC3339) }
	var refused []ops.Attempt
	for i := range int64(9) {
		refused = append(refused, ops.Attempt{At: began + 43 + i, Status: 500, MS: 31})
	}
	return []ops.Event{
		{ID: "evt_4fQxJm2Zb7hT1kVw9RnYpA_1", Type: "session.failed", Timestamp: at(41), Session: sessionID, State: "dead", Attempts: refused},
		{ID: "evt_4fQxJm2Zb7hT1kVw9RnYpA_2", Type: "session.paid", Timestamp: at(96), Session: sessionID, State: "pending", Attempts: []ops.Attempt{{At: began + 97, Error: "no answer in 10s", MS: 10_000}}, NextAt: began + 112},
	}
}

func (s *shop) SessionEvents(context.Context, string) ([]ops.Event, error) { return s.events(), nil }

func (s *shop) Dead(_ context.Context, after string, _ int) ([]ops.Event, string, error) {
	if after == "bad" {
		return nil, "", checkout.Invalid(checkout.FieldError{Field: "after", Code: "cursor"})
	}
	return s.dead, s.next, s.err
}

func (s *shop) Redeliver(_ context.Context, id string) error {
	s.again = append(s.again, id)
	return s.redeliver
}

func (s *shop) List(_ context.Context, prefix string, after uint64, _ int) ([]checkout.Entry, error) {
	if prefix != "unclaimed." || after != 0 {
		return nil, nil
	}
	return s.entries, s.err
}

func config(s *shop) ops.Config {
	return ops.Config{
		Sessions: s, Webhooks: s, Store: s, Keys: []string{"new-key", "old-key"}, Version: "1.2.3", Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Unix(began+120, 0) },
		Gather: func() (map[string]float64, error) {
			return map[string]float64{
				"wzrdcheckout_push_sockets":                             10_412,
				"wzrdcheckout_callback_lag_seconds":                     0.25,
				`wzrdcheckout_callback_lag_seconds{stream="0"}`:         0.25,
				"wzrdcheckout_webhook_pending":                          3,
				"wzrdcheckout_webhook_oldest_seconds":                   4000,
				"wzrdcheckout_webhook_dead_total":                       1,
				"wzrdcheckout_callback_received_total":                  7,
				`wzrdcheckout_callback_received_total{outcome="full"}`:  2,
				`wzrdcheckout_callback_received_total{outcome="store"}`: 5,
				"wzrdcheckout_wzrd_breaker_state":                       0,
			}, nil
		},
	}
}

func handler(t testing.TB, c ops.Config) http.Handler {
	t.Helper()
	h, err := ops.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func get(t testing.TB, h http.Handler, target string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil))
	return w
}

func TestNew(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*ops.Config){
		"Sessions": func(c *ops.Config) { c.Sessions = nil },
		"Webhooks": func(c *ops.Config) { c.Webhooks = nil },
		"Store":    func(c *ops.Config) { c.Store = nil },
		"Gather":   func(c *ops.Config) { c.Gather = nil },
		"Log":      func(c *ops.Config) { c.Log = nil },
	} {
		c := config(&shop{})
		change(&c)
		if _, err := ops.New(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("New(without %s) = %v, want an error that names it", name, err)
		}
	}
}

// TestPages compares whole pages with what a person has looked at. The description is the
// merchant's, the callbacks are anybody's: both try to be markup.
func TestPages(t *testing.T) {
	t.Parallel()
	world := &shop{description: `Lamp <script>alert(1)</script> & "shade"`, next: "77"}
	world.dead = world.events()[:1]
	world.entries = []checkout.Entry{
		{Key: "unclaimed.cpi_X", Version: 4, Value: []byte(`{"reason":"no_session","mode":"test","received_at":1795000100,"raw":"{\"data\":{\"id\":\"cpi_X\",\"note\":\"</pre><script>\"}}"}`)},
		{Key: "unclaimed.h_aGk", Version: 6, Value: []byte(`{"reason":"no_invoice","problem":"not a payment invoice","session":"` + sessionID + `","mode":"live","received_at":1795000200,"raw":"[1]"}`)},
		{Key: "unclaimed.odd", Version: 9, Value: []byte("<b>\xff")},
	}
	h := handler(t, config(world))
	empty := config(&shop{})
	empty.Live = true
	none := handler(t, empty)
	for _, row := range []struct {
		name, target string
		h            http.Handler
		status       int
	}{
		{"home", "/ops/", h, 200},
		{"session", "/ops/sessions/" + sessionID, h, 200},
		{"dead", "/ops/dead", h, 200},
		{"dead_none", "/ops/dead", none, 200},
		{"unclaimed", "/ops/unclaimed", h, 200},
		{"unclaimed_none", "/ops/unclaimed", none, 200},
		{"counters", "/ops/counters", h, 200},
		{"find_none", "/ops/find?q=%3Cb%3Eorder-18", h, 404},
		{"missing", "/ops/sessions/cs_none", h, 404},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := get(t, row.h, row.target)
			if w.Code != row.status {
				t.Errorf("GET %s = %d, want %d", row.target, w.Code, row.status)
			}
			for name, want := range map[string]string{
				"Content-Type":            "text/html; charset=utf-8",
				"Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
				"Cache-Control":           "no-store",
				"X-Content-Type-Options":  "nosniff",
			} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
			got := w.Body.Bytes()
			for _, bad := range []string{"<script", "<b>order", " style=", " onclick", "\xff"} {
				if bytes.Contains(got, []byte(bad)) {
					t.Errorf("GET %s has %q", row.target, bad)
				}
			}
			path := filepath.Join("testdata", row.name+".html")
			if *update {
				if err := os.WriteFile(path, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("GET %s differs from %s:\n%s", row.target, path, got)
			}
		})
	}
}

func TestStyle(t *testing.T) {
	t.Parallel()
	w := get(t, handler(t, config(&shop{})), "/ops/ops.css")
	if w.Code != 200 || w.Header().Get("Content-Type") != "text/css; charset=utf-8" || !strings.Contains(w.Body.String(), ".timeline") {
		t.Errorf("GET ops.css = %d %s", w.Code, w.Header().Get("Content-Type"))
	}
	if strings.Contains(w.Body.String(), "url(") {
		t.Error("ops.css loads something, want nothing")
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, query string
		err         error
		status      int
		to          string
	}{
		{"session", sessionID, nil, 303, "/ops/sessions/" + sessionID},
		{"reference", "order-17", nil, 303, "/ops/sessions/" + sessionID},
		{"reference in spaces", "  order-17 ", nil, 303, "/ops/sessions/" + sessionID},
		{"invoice", "cpi_AAA", nil, 303, "/ops/sessions/" + sessionID},
		{"nothing", " ", nil, 303, "/ops/"},
		{"unknown", "order-1", nil, 404, ""},
		{"long", strings.Repeat("x", 5000), nil, 404, ""},
		{"invalid name", "a b", checkout.ErrInvalid, 404, ""},
		{"store down", "order-17", checkout.ErrUnavailable, 503, ""},
		{"bug", "order-17", errors.New("secret detail"), 500, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := get(t, handler(t, config(&shop{err: row.err})), "/ops/find?q="+url.QueryEscape(row.query))
			if w.Code != row.status || w.Header().Get("Location") != row.to {
				t.Errorf("find %.20q = %d to %q, want %d to %q", row.query, w.Code, w.Header().Get("Location"), row.status, row.to)
			}
			if strings.Contains(w.Body.String(), "secret detail") {
				t.Error("the page shows an internal error")
			}
		})
	}
	if w := get(t, handler(t, config(&shop{})), "/ops/dead?after=bad"); w.Code != 400 {
		t.Errorf("bad cursor of dead = %d, want 400", w.Code)
	}
	if w := get(t, handler(t, config(&shop{})), "/ops/unclaimed?after=bad"); w.Code != 400 {
		t.Errorf("bad cursor of unclaimed = %d, want 400", w.Code)
	}
}

var form = regexp.MustCompile(`<form method="post" action="([^"]+)"><input type="hidden" name="token" value="([^"]+)">`)

// tokenFor opens the session's page and takes the first form on it.
func tokenFor(t *testing.T, c ops.Config) (action, token string) {
	t.Helper()
	m := form.FindStringSubmatch(get(t, handler(t, c), "/ops/sessions/"+sessionID).Body.String())
	if m == nil {
		t.Fatal("the session's page has no form")
	}
	return m[1], m[2]
}

func TestRedeliver(t *testing.T) {
	t.Parallel()
	action, token := tokenFor(t, config(&shop{}))
	old := config(&shop{})
	old.Keys = []string{"old-key"}
	_, rotated := tokenFor(t, old)
	strange := config(&shop{})
	strange.Keys = []string{"stolen-key"}
	_, foreign := tokenFor(t, strange)
	if want := "/ops/events/evt_4fQxJm2Zb7hT1kVw9RnYpA_1/redeliver"; action != want {
		t.Errorf("action = %q, want %q", action, want)
	}
	for _, row := range []struct {
		name, action, token, session string
		later                        time.Duration
		header                       map[string]string
		redeliver                    error
		status                       int
		to                           string
		calls                        int
	}{
		{name: "good", action: action, token: token, session: sessionID, status: 303, to: "/ops/sessions/" + sessionID + "#webhooks", calls: 1},
		{name: "from the list", action: action, token: token, status: 303, to: "/ops/dead", calls: 1},
		{name: "same site said by the browser", action: action, token: token, header: map[string]string{"Sec-Fetch-Site": "same-origin"}, status: 303, to: "/ops/dead", calls: 1},
		{name: "a day later", action: action, token: token, later: 24 * time.Hour, status: 303, to: "/ops/dead", calls: 1},
		{name: "made with an older key", action: action, token: rotated, status: 303, to: "/ops/dead", calls: 1},
		{name: "three days later", action: action, token: token, later: 72 * time.Hour, status: 403},
		{name: "no token", action: action, status: 403},
		{name: "token of another key", action: action, token: foreign, status: 403},
		{name: "token of another event", action: strings.Replace(action, "_1/", "_2/", 1), token: token, status: 403},
		{name: "from another site", action: action, token: token, header: map[string]string{"Sec-Fetch-Site": "cross-site"}, status: 403},
		{name: "from another origin", action: action, token: token, header: map[string]string{"Origin": "https://evil.example"}, status: 403},
		{name: "session that leads away", action: action, token: token, session: "//evil.example/", status: 303, to: "/ops/sessions/%2F%2Fevil.example%2F#webhooks", calls: 1},
		{name: "unknown event", action: action, token: token, redeliver: checkout.ErrNotFound, status: 404, calls: 1},
		{name: "no URL", action: action, token: token, redeliver: &checkout.Error{Kind: checkout.ErrConflict, Detail: "set BFF_WEBHOOK_URL"}, status: 409, calls: 1},
		{name: "large form", action: action, token: token, session: strings.Repeat("x", 5000), status: 400},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			world := &shop{redeliver: row.redeliver}
			c := config(world)
			c.Now = func() time.Time { return time.Unix(began+120, 0).Add(row.later) }
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, row.action, strings.NewReader(url.Values{"token": {row.token}, "session": {row.session}}.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			for name, value := range row.header {
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			handler(t, c).ServeHTTP(w, r)
			if w.Code != row.status || w.Header().Get("Location") != row.to || len(world.again) != row.calls {
				t.Errorf("POST = %d to %q with %d calls, want %d to %q with %d", w.Code, w.Header().Get("Location"), len(world.again), row.status, row.to, row.calls)
			}
			if row.calls > 0 && world.again[0] != "evt_4fQxJm2Zb7hT1kVw9RnYpA_1" {
				t.Errorf("redelivered %v", world.again)
			}
		})
	}
	if w := get(t, handler(t, config(&shop{})), action); w.Code == 303 {
		t.Errorf("GET %s = %d, want no redelivery", action, w.Code)
	}
}

// TestTiles: what the first page shows is measured.
func TestTiles(t *testing.T) {
	t.Parallel()
	registry := metrics.New("")
	registry.Store(func() metrics.StoreStats { return metrics.StoreStats{} })
	registry.Callback.Lag(0, 0)
	registry.Wzrd.Breaker("public", "closed")
	values, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range ops.Tiles() {
		if _, ok := values[name]; !ok {
			t.Errorf("the first page shows %s, which is not measured", name)
		}
	}
}
