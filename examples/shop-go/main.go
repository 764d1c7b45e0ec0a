// Command shop-go is a shop's server: it opens checkout sessions, shows a page with the
// widget, hears webhooks and fulfils each order exactly once.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"log"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	s := &shop{client: http.Client{Timeout: 10 * time.Second}}
	var secret string
	for name, to := range map[string]*string{
		"BFF_API": &s.api, "BFF_PUBLIC_URL": &s.public, "MERCHANT_KEY": &s.key, "WEBHOOK_SECRET": &secret,
	} {
		if *to = os.Getenv(name); *to == "" {
			return errors.New(name + " is not set")
		}
	}
	port := or(os.Getenv("PORT"), "3000")
	s.home = or(os.Getenv("SHOP_URL"), "http://localhost:"+port)
	s.orders.dir = or(os.Getenv("ORDERS"), "orders")
	if err := os.MkdirAll(s.orders.dir, 0o700); err != nil {
		return err
	}
	var err error
	if s.webhooks, err = standardwebhooks.NewWebhook(secret); err != nil {
		return fmt.Errorf("WEBHOOK_SECRET: %w", err)
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("POST /session", s.session)
	mux.HandleFunc("GET /orders/{reference}", s.order)
	mux.HandleFunc("POST /webhook", s.webhook)
	server := &http.Server{Addr: ":" + port, Handler: mux, ReadTimeout: 30 * time.Second}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	fmt.Println("shop on", s.home)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// ---- orders: one file each, replaced as a whole; a shop has a database

type order struct {
	Reference string   `json:"reference"`
	Amount    string   `json:"amount"`
	Currency  string   `json:"currency"`
	Status    string   `json:"status"`
	Revision  int64    `json:"revision"`
	Fulfilled int      `json:"fulfilled"`
	Events    []string `json:"events"` // webhook-id of what was heard
}

// orders changes one order at a time.
type orders struct {
	dir string
	mu  sync.Mutex
}

var validReference = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

func (o *orders) path(reference string) string { return filepath.Join(o.dir, reference+".json") }

// load gives nil for an order that is not there.
func (o *orders) load(reference string) (*order, error) {
	if !validReference.MatchString(reference) {
		return nil, nil
	}
	text, err := os.ReadFile(o.path(reference))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found order
	return &found, json.Unmarshal(text, &found)
}

func (o *orders) save(changed *order) error {
	text, err := json.Marshal(changed)
	if err != nil {
		return err
	}
	path := o.path(changed.Reference)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (o *orders) create() (*order, error) {
	made := &order{Reference: "order-" + strings.ToLower(rand.Text()), Amount: "39.00", Currency: "EUR", Status: "open", Events: []string{}}
	o.mu.Lock()
	defer o.mu.Unlock()
	return made, o.save(made)
}

// event is a webhook of the BFF; data is the session.
type event struct {
	Type string `json:"type"`
	Data struct {
		ReferenceID string `json:"reference_id"`
		Status      string `json:"status"`
		Revision    int64  `json:"revision"`
	} `json:"data"`
}

// hear applies one webhook. What the event does and that it was heard are written in one
// step, so that it counts once, however often it comes and wherever the shop crashes.
func (o *orders) hear(id string, e event) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	found, err := o.load(e.Data.ReferenceID)
	if err != nil || found == nil || slices.Contains(found.Events, id) {
		return err
	}
	found.Events = append(found.Events, id)
	if e.Data.Revision > found.Revision {
		found.Revision, found.Status = e.Data.Revision, e.Data.Status
	}
	if e.Type == "session.paid" && found.Fulfilled == 0 {
		found.Fulfilled++ // whoever packs lamps reads this
		log.Print("fulfil " + found.Reference)
	}
	return o.save(found)
}

// ---- the BFF

type shop struct {
	api, public, key, home string
	client                 http.Client
	webhooks               *standardwebhooks.Webhook
	orders                 orders
}

// open gives a session's token. It is safe to repeat: the same reference and body give
// the same session.
func (s *shop) open(ctx context.Context, o *order) (token string, err error) {
	body, err := json.Marshal(map[string]any{
		"reference_id": o.Reference,
		"amount":       json.Number(o.Amount),
		"currency":     o.Currency,
		"description":  "Lamp Kobza",
		"return_url":   s.home + "/?order=" + o.Reference,
	})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.api+"/v1/sessions", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := s.client.Do(req)
	if err != nil {
		return "", fmt.Errorf("open session: %w", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return "", fmt.Errorf("open session: %w", err)
	}
	if res.StatusCode != http.StatusCreated && res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("open session: %s: %s", res.Status, answer)
	}
	var session struct {
		Token string `json:"token"`
	}
	return session.Token, json.Unmarshal(answer, &session)
}

// ---- HTTP

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Lamp shop</title>
<h1>Lamp “Kobza”, €39.00</h1>
<p>Order {{.Order.Reference}}: {{.Order.Status}}</p>
<div id="pay"></div>
<script async src="{{.Public}}/widget/v1/checkout.js" data-session="{{.Token}}" data-target="#pay"></script>
</html>`))

func (s *shop) page(w http.ResponseWriter, r *http.Request) {
	o, err := s.orders.load(r.URL.Query().Get("order"))
	if err == nil && o == nil {
		o, err = s.orders.create()
	}
	if err != nil {
		fail(w, err)
		return
	}
	token, err := s.open(r.Context(), o)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err := page.Execute(w, map[string]any{"Order": o, "Public": s.public, "Token": token}); err != nil {
		log.Print(err)
	}
}

// session is for pages built apart: examples/react, vue, svelte, html.
func (s *shop) session(w http.ResponseWriter, r *http.Request) {
	o, err := s.orders.create()
	if err != nil {
		fail(w, err)
		return
	}
	token, err := s.open(r.Context(), o)
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, map[string]any{"order": o.Reference, "base": s.public, "session": token})
}

func (s *shop) order(w http.ResponseWriter, r *http.Request) {
	o, err := s.orders.load(r.PathValue("reference"))
	switch {
	case err != nil:
		fail(w, err)
	case o == nil:
		http.NotFound(w, r)
	default:
		answer(w, map[string]any{"order": o.Reference, "status": o.Status, "fulfilled": o.Fulfilled})
	}
}

func (s *shop) webhook(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "body too large", http.StatusRequestEntityTooLarge)
		return
	}
	if err := s.webhooks.Verify(body, r.Header); err != nil {
		http.Error(w, "not signed by the BFF", http.StatusUnauthorized)
		return
	}
	var e event
	if err := json.Unmarshal(body, &e); err != nil {
		http.Error(w, "not JSON", http.StatusBadRequest)
		return
	}
	if err := s.orders.hear(r.Header.Get("webhook-id"), e); err != nil {
		fail(w, err) // the BFF sends it again
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err := json.NewEncoder(w).Encode(value); err != nil {
		log.Print(err)
	}
}

func fail(w http.ResponseWriter, err error) {
	log.Print(err)
	http.Error(w, "the shop has a problem", http.StatusInternalServerError)
}
