// Package ops is the operators' page below /ops/ on the private plane: find a payment,
// see everything that was heard of it, its webhooks, send one again, dead letters,
// callbacks that nobody claimed, live counters. It renders on the server, needs no
// JavaScript, and asks the other parts through the interfaces below. Who may see it is
// decided before it (httpapi asks for a merchant key); it protects its one form itself.
package ops

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	_ "embed" // the style sheet
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/markup"
)

// Sessions finds payments. Each returns checkout.ErrNotFound for what is unknown.
type Sessions interface {
	Get(ctx context.Context, id string) (checkout.Session, error)
	FindByReference(ctx context.Context, reference string) (checkout.Session, error)
	ByInvoice(ctx context.Context, invoiceID string) (checkout.Session, error)
	// History is what was heard of the session's invoices, oldest first.
	History(ctx context.Context, id string) ([]Observation, error)
}

// Observation is one thing that was heard of an invoice. Times are Unix seconds: At when
// it was applied here, Updated by WZRDPAY's clock.
type Observation struct {
	At         int64
	Source     string // create, lookup, callback, refresh, reread, walk
	Invoice    string
	Status     string
	Resolution string
	Updated    int64
}

// Webhooks are the events for the shop's server.
type Webhooks interface {
	SessionEvents(ctx context.Context, sessionID string) ([]Event, error)
	// Dead lists the events given up; next is "" on the last page.
	Dead(ctx context.Context, after string, limit int) (data []Event, next string, err error)
	Redeliver(ctx context.Context, eventID string) error
}

// Event is a webhook and what became of it. Timestamp is RFC 3339, NextAt Unix seconds, 0
// = none planned. State is pending, delivered, dead, gone or not_configured.
type Event struct {
	ID        string
	Type      string
	Timestamp string
	Session   string
	State     string
	Attempts  []Attempt
	NextAt    int64
}

// Attempt is one request to the shop: At in Unix seconds, Status 0 when Error says why
// there was none, MS in milliseconds.
type Attempt struct {
	At     int64
	Status int
	Error  string
	MS     int64
}

// Store lists what is stored under a prefix; here "unclaimed.", the callbacks that belong
// to no session.
type Store interface {
	List(ctx context.Context, prefix string, after uint64, limit int) ([]checkout.Entry, error)
}

// Config is what New needs; all of it but Now, Live, Version and OpenAPI.
type Config struct {
	Sessions Sessions
	Webhooks Webhooks
	Store    Store
	// Gather gives the counters by name, and by name{label="value",…}.
	Gather func() (map[string]float64, error)
	// Keys are the merchant keys: the form's tokens are made with the first and checked
	// with all, so that every replica takes what another has made.
	Keys    []string
	Live    bool // live keys; said on every page
	Version string
	OpenAPI []byte // shown at /ops/api; nil = not
	Log     *slog.Logger
	Now     func() time.Time
}

func (c Config) validate() error {
	switch {
	case c.Sessions == nil:
		return errors.New("ops: Sessions is missing")
	case c.Webhooks == nil:
		return errors.New("ops: Webhooks is missing")
	case c.Store == nil:
		return errors.New("ops: Store is missing")
	case c.Gather == nil:
		return errors.New("ops: Gather is missing")
	case c.Log == nil:
		return errors.New("ops: Log is missing")
	}
	return nil
}

const (
	// callTimeout bounds what one page asks of the other parts.
	callTimeout = 10 * time.Second
	// pageSize is how many rows a list shows.
	pageSize = 50
	// maxRaw bounds how much of an unclaimed callback is shown, bytes.
	maxRaw = 8 << 10
	// maxQuery bounds what is looked for; the longest name there is has 64 bytes.
	maxQuery = 128
	// countersRefresh is how often the counters' page loads itself again, seconds.
	countersRefresh = 5
)

//go:embed page/ops.css
var styleSheet []byte

type panel struct {
	Config
	secrets [][]byte
	origins *http.CrossOriginProtection
	apiPage markup.Node
}

// New gives the handler of every path below /ops/; its error names the missing member.
func New(c Config) (http.Handler, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	p := &panel{Config: c, origins: http.NewCrossOriginProtection()}
	for _, key := range c.Keys {
		sum := sha256.Sum256([]byte("wzrdcheckout ops form\n" + key))
		p.secrets = append(p.secrets, sum[:])
	}
	if len(p.secrets) == 0 {
		secret := make([]byte, sha256.Size)
		_, _ = rand.Read(secret) // never fails: crypto/rand
		p.secrets = [][]byte{secret}
	}
	if len(c.OpenAPI) > 0 {
		var err error
		if p.apiPage, err = apiPage(c.OpenAPI); err != nil {
			return nil, fmt.Errorf("ops: %w", err)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ops/{$}", p.page(p.home))
	mux.HandleFunc("GET /ops/find", p.page(p.find))
	mux.HandleFunc("GET /ops/sessions/{id}", p.page(p.session))
	mux.HandleFunc("GET /ops/dead", p.page(p.dead))
	mux.HandleFunc("GET /ops/unclaimed", p.page(p.unclaimed))
	mux.HandleFunc("GET /ops/counters", p.page(p.counters))
	mux.HandleFunc("GET /ops/api", p.page(p.api))
	mux.HandleFunc("POST /ops/events/{id}/redeliver", p.page(p.redeliver))
	mux.HandleFunc("GET /ops/ops.css", p.style)
	mux.HandleFunc("/", p.page(func(context.Context, *http.Request) (view, error) {
		return view{}, fmt.Errorf("open page: %w", checkout.ErrNotFound)
	}))
	return mux, nil
}

// view is a page, or where to go instead.
type view struct {
	title    string
	content  markup.Node
	refresh  int    // seconds, 0 = stays
	query    string // what was looked for
	redirect string
	status   int // 0 = 200
}

// page answers with what make says. The page is whole or an error page, never half.
func (p *panel) page(make func(context.Context, *http.Request) (view, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
		defer cancel()
		v, err := make(ctx, r)
		if err != nil {
			v = p.problem(err)
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if v.redirect != "" {
			http.Redirect(w, r, v.redirect, http.StatusSeeOther)
			return
		}
		h.Set("Content-Type", "text/html; charset=utf-8")
		if v.status == 0 {
			v.status = http.StatusOK
		}
		w.WriteHeader(v.status)
		_, _ = io.WriteString(w, p.document(v))
	}
}

func (p *panel) problem(err error) view {
	switch {
	case errors.Is(err, checkout.ErrNotFound):
		return view{title: "Not found", status: http.StatusNotFound, content: sentence("Nothing is stored under that name.")}
	case errors.Is(err, checkout.ErrForbidden):
		return view{title: "The form is too old", status: http.StatusForbidden, content: sentence("Go back, load the page again, and repeat.")}
	case errors.Is(err, checkout.ErrInvalid):
		return view{title: "That address is wrong", status: http.StatusBadRequest, content: sentence("Start again from the first page.")}
	case errors.Is(err, checkout.ErrConflict), errors.Is(err, checkout.ErrLimited):
		reason := "It can not be done at the moment."
		var known *checkout.Error
		if errors.As(err, &known) && known.Detail != "" {
			reason = "It can not be done at the moment: " + known.Detail + "."
		}
		return view{title: "Not now", status: http.StatusConflict, content: sentence(reason)}
	}
	p.Log.Error("operators' page failed", "err", err)
	if errors.Is(err, checkout.ErrUnavailable) || errors.Is(err, checkout.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) {
		return view{title: "The store does not answer", status: http.StatusServiceUnavailable, content: sentence("Try again in a moment.")}
	}
	return view{title: "Something went wrong", status: http.StatusInternalServerError, content: sentence("See the log for the reason.")}
}

func (p *panel) style(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(styleSheet)
}

// find goes to the session that has the given id, reference or invoice.
func (p *panel) find(ctx context.Context, r *http.Request) (view, error) {
	query := strings.TrimSpace(r.URL.Query().Get("q"))
	if query == "" {
		return view{redirect: "/ops/"}, nil
	}
	if len(query) > maxQuery {
		return notFound(""), nil
	}
	for _, look := range []func(context.Context, string) (checkout.Session, error){p.Sessions.Get, p.Sessions.FindByReference, p.Sessions.ByInvoice} {
		found, err := look(ctx, query)
		switch {
		case err == nil:
			return view{redirect: "/ops/sessions/" + url.PathEscape(found.ID)}, nil
		case errors.Is(err, checkout.ErrNotFound), errors.Is(err, checkout.ErrInvalid):
			// perhaps it is another kind of name
		default:
			return view{}, fmt.Errorf("find payment: %w", err)
		}
	}
	return notFound(query), nil
}

// tile is one number of the first page.
type tile struct {
	Label, Metric string
	Unit          string
	bad           func(float64) bool
	Value         string
	Bad           bool
}

func above(limit float64) func(float64) bool { return func(v float64) bool { return v > limit } }

// tiles are the numbers that tell at a glance whether payments work.
var tiles = []tile{
	{Label: "Open widgets", Metric: "wzrdcheckout_push_sockets"},
	{Label: "Callback lag", Metric: "wzrdcheckout_callback_lag_seconds", Unit: "s", bad: above(30)},
	{Label: "Webhooks waiting", Metric: "wzrdcheckout_webhook_pending"},
	{Label: "Oldest webhook", Metric: "wzrdcheckout_webhook_oldest_seconds", Unit: "s", bad: above(900)},
	{Label: "Webhooks given up", Metric: "wzrdcheckout_webhook_dead_total", bad: above(0)},
	{Label: "Commits waiting", Metric: "wzrdcheckout_store_queue", bad: above(1000)},
	{Label: "WZRDPAY breaker", Metric: "wzrdcheckout_wzrd_breaker_state", bad: above(0)},
}

func (p *panel) home(context.Context, *http.Request) (view, error) {
	values, err := p.Gather()
	if err != nil {
		return view{}, fmt.Errorf("gather counters: %w", err)
	}
	shown := slices.Clone(tiles)
	for i := range shown {
		t := &shown[i]
		v, ok := values[t.Metric]
		t.Value = "–"
		if !ok {
			continue
		}
		t.Value = strings.TrimSpace(number(v) + " " + t.Unit)
		if strings.HasSuffix(t.Metric, "_breaker_state") {
			t.Value = map[bool]string{false: "closed", true: "open"}[v > 0]
		}
		t.Bad = t.bad != nil && t.bad(v)
	}
	return view{title: "Payments", content: homePage(shown, len(p.OpenAPI) > 0)}, nil
}

// counter is one row of the counters' page.
type counter struct {
	Name, Labels, Value string
}

type counters struct {
	Name     string
	Counters []counter
}

func (p *panel) counters(context.Context, *http.Request) (view, error) {
	values, err := p.Gather()
	if err != nil {
		return view{}, fmt.Errorf("gather counters: %w", err)
	}
	labelled := map[string]bool{}
	for name := range values {
		if base, _, ok := strings.Cut(name, "{"); ok {
			labelled[base] = true
		}
	}
	names := make([]string, 0, len(values))
	for name := range values {
		if !labelled[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var groups []counters
	for _, full := range names {
		base, labels, _ := strings.Cut(full, "{")
		_, rest, _ := strings.Cut(base, "_")
		part, name, _ := strings.Cut(rest, "_")
		if len(groups) == 0 || groups[len(groups)-1].Name != part {
			groups = append(groups, counters{Name: part})
		}
		g := &groups[len(groups)-1]
		g.Counters = append(g.Counters, counter{strings.ReplaceAll(name, "_", " "), strings.TrimSuffix(labels, "}"), number(values[full])})
	}
	return view{title: "Counters", refresh: countersRefresh, content: countersPage(groups)}, nil
}

// moment is one line of a timeline.
type moment struct {
	At     int64
	What   string
	Detail string
	Tone   string
}

// event is a webhook with the token of its form.
type event struct {
	Event
	Token string
}

func (p *panel) session(ctx context.Context, r *http.Request) (view, error) {
	s, err := p.Sessions.Get(ctx, r.PathValue("id"))
	if err != nil {
		return view{}, fmt.Errorf("get session: %w", err)
	}
	history, err := p.Sessions.History(ctx, s.ID)
	if err != nil {
		return view{}, fmt.Errorf("get history: %w", err)
	}
	events, err := p.Webhooks.SessionEvents(ctx, s.ID)
	if err != nil {
		return view{}, fmt.Errorf("get webhooks: %w", err)
	}
	return view{title: "Payment " + s.ReferenceID, content: sessionPage(s, timeline(s, history, events), p.forms(events))}, nil
}

// timeline puts everything that is known of a payment in the order in which it happened.
func timeline(s checkout.Session, history []Observation, events []Event) []moment {
	list := []moment{{At: s.CreatedAt, What: "Session opened", Detail: s.Amount.Format(s.Digits) + " " + s.Currency}}
	for _, a := range s.Attempts {
		list = append(list, moment{At: a.CreatedAt, What: "Attempt " + strconv.Itoa(a.Number), Detail: a.Service + ", reference " + a.ReferenceID})
	}
	for _, o := range history {
		detail := o.Invoice
		if o.Resolution != "" && o.Resolution != "ok" {
			detail += ", " + o.Resolution
		}
		if o.Updated != 0 {
			detail += ", WZRDPAY's clock " + utc(o.Updated)
		}
		list = append(list, moment{At: o.At, What: "Invoice " + o.Status + " (" + o.Source + ")", Detail: detail, Tone: tone(o.Status)})
	}
	for _, e := range events {
		if at, err := time.Parse(time.RFC3339, e.Timestamp); err == nil {
			list = append(list, moment{At: at.Unix(), What: "Webhook " + e.Type, Detail: e.ID})
		}
		for i, a := range e.Attempts {
			if n := len(e.Attempts); n > 6 && i == 3 {
				list = append(list, moment{At: a.At, What: fmt.Sprintf("… %d more attempts …", n-6), Detail: e.ID})
			}
			if n := len(e.Attempts); n > 6 && i >= 3 && i < n-3 {
				continue
			}
			list = append(list, moment{At: a.At, What: "Webhook sent: " + answer(a), Detail: fmt.Sprintf("%s, %d ms", e.ID, a.MS), Tone: attemptTone(a)})
		}
	}
	slices.SortStableFunc(list, func(a, b moment) int {
		switch {
		case a.At < b.At:
			return -1
		case a.At > b.At:
			return 1
		}
		return 0
	})
	return list
}

func answer(a Attempt) string {
	if a.Status != 0 {
		return "HTTP " + strconv.Itoa(a.Status)
	}
	return a.Error
}

func attemptTone(a Attempt) string {
	if a.Status >= 200 && a.Status <= 299 {
		return "good"
	}
	return "bad"
}

func (p *panel) dead(ctx context.Context, r *http.Request) (view, error) {
	events, next, err := p.Webhooks.Dead(ctx, r.URL.Query().Get("after"), pageSize)
	if err != nil {
		return view{}, fmt.Errorf("list dead letters: %w", err)
	}
	return view{title: "Webhooks given up", content: deadPage(p.forms(events), next)}, nil
}

// claim is a callback that nobody claimed.
type claim struct {
	Name       string // the invoice's id, or a hash when there is none
	Reason     string `json:"reason"`
	Problem    string `json:"problem"`
	Session    string `json:"session"`
	Mode       string `json:"mode"`
	ReceivedAt int64  `json:"received_at"`
	Raw        string `json:"raw"`
	RawBase64  string `json:"raw_base64"`
	Cut        bool   `json:"-"`
}

func (p *panel) unclaimed(ctx context.Context, r *http.Request) (view, error) {
	var after uint64
	if text := r.URL.Query().Get("after"); text != "" {
		var err error
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return view{}, fmt.Errorf("read cursor: %w", checkout.ErrInvalid)
		}
	}
	entries, err := p.Store.List(ctx, "unclaimed.", after, pageSize)
	if err != nil {
		return view{}, fmt.Errorf("list unclaimed callbacks: %w", err)
	}
	claims, next := make([]claim, len(entries)), ""
	for i, e := range entries {
		claims[i] = readClaim(e)
	}
	if len(entries) == pageSize {
		next = strconv.FormatUint(entries[len(entries)-1].Version, 10)
	}
	return view{title: "Unclaimed callbacks", content: unclaimedPage(claims, next)}, nil
}

// readClaim reads what session keeps of a callback that changes no session; what is not
// of that shape is shown as it is.
func readClaim(e checkout.Entry) claim {
	var c claim
	if json.Unmarshal(e.Value, &c) != nil {
		c = claim{Raw: string(e.Value)}
	}
	c.Name = strings.TrimPrefix(e.Key, "unclaimed.")
	if c.Raw == "" {
		c.Raw = c.RawBase64
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, []byte(c.Raw), "", "  ") == nil {
		c.Raw = pretty.String()
	}
	if len(c.Raw) > maxRaw {
		c.Raw, c.Cut = c.Raw[:maxRaw], true
	}
	c.Raw = strings.ToValidUTF8(c.Raw, "�")
	return c
}

// redeliver is the one thing that a visitor can change. Browsers send a Basic key along
// by themselves, so the form carries a token that only this page can have given.
func (p *panel) redeliver(ctx context.Context, r *http.Request) (view, error) {
	id := r.PathValue("id")
	if err := p.origins.Check(r); err != nil {
		return view{}, fmt.Errorf("check origin: %w", checkout.ErrForbidden)
	}
	r.Body = http.MaxBytesReader(nil, r.Body, 4<<10)
	if err := r.ParseForm(); err != nil {
		return view{}, fmt.Errorf("read form: %w", checkout.ErrInvalid)
	}
	if !p.valid(r.PostForm.Get("token"), id) {
		return view{}, fmt.Errorf("check token: %w", checkout.ErrForbidden)
	}
	if err := p.Webhooks.Redeliver(ctx, id); err != nil {
		return view{}, fmt.Errorf("redeliver event: %w", err)
	}
	p.Log.Info("webhook asked for again", "event", id)
	if session := r.PostForm.Get("session"); session != "" {
		return view{redirect: "/ops/sessions/" + url.PathEscape(session) + "#webhooks"}, nil
	}
	return view{redirect: "/ops/dead"}, nil
}

func (p *panel) forms(events []Event) []event {
	out := make([]event, len(events))
	for i, e := range events {
		out[i] = event{e, p.token(p.secrets[0], e.ID, p.day())}
	}
	return out
}

func (p *panel) day() int64 { return p.Now().Unix() / 86400 }

func (p *panel) token(secret []byte, id string, day int64) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("redeliver\n" + id + "\n" + strconv.FormatInt(day, 10)))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// valid tells whether a token is of today or yesterday, by any of the keys.
func (p *panel) valid(token, id string) bool {
	ok := false
	for _, secret := range p.secrets {
		for back := range int64(2) {
			ok = hmac.Equal([]byte(token), []byte(p.token(secret, id, p.day()-back))) || ok
		}
	}
	return ok
}

func utc(seconds int64) string {
	if seconds == 0 {
		return "–"
	}
	return time.Unix(seconds, 0).UTC().Format("2006-01-02 15:04:05")
}

func title(word any) string {
	text := strings.ReplaceAll(fmt.Sprint(word), "_", " ")
	if text == "" {
		return "–"
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// tone is how a status or a state is coloured.
func tone(word any) string {
	switch fmt.Sprint(word) {
	case "paid", "verified", "delivered", "processed":
		return "good"
	case "failed", "dead", "gone", "charged_back", "process_failed", "terminated", "rejected", "verify_failed", "partially_charged_back":
		return "bad"
	case "partially_paid", "refunding", "refunded", "partially_refunded", "partially_processed", "expired", "not_configured":
		return "mind"
	}
	return "plain"
}

// number shows a value without needless digits.
func number(v float64) string {
	if v == float64(int64(v)) {
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}
