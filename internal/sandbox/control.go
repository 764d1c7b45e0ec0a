package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Invoice is an invoice as control shows it. Amounts are decimal text, times
// Unix seconds; "" and 0 mean not reached.
type Invoice struct {
	ID              string            `json:"id"`
	ReferenceID     string            `json:"reference_id"`
	Status          string            `json:"status"`
	Resolution      string            `json:"resolution"`
	Service         string            `json:"service"`
	Currency        string            `json:"currency"`
	Amount          string            `json:"amount"`
	ProcessedAmount string            `json:"processed_amount"`
	RefundedAmount  string            `json:"refunded_amount"`
	TestMode        bool              `json:"test_mode"`
	Flow            string            `json:"flow"` // charge or verify
	Source          string            `json:"source"`
	Description     string            `json:"description"`
	Fields          map[string]string `json:"service_fields"`
	Metadata        map[string]any    `json:"metadata"`
	Options         map[string]any    `json:"options"`
	GatewayOptions  map[string]any    `json:"gateway_options"`
	Customer        map[string]any    `json:"customer"`
	CallbackURL     string            `json:"callback_url"`
	ReturnURL       string            `json:"return_url"`
	ReturnURLs      map[string]string `json:"return_urls"`
	HPPURL          string            `json:"hpp_url"`
	Created         int64             `json:"created"`
	Updated         int64             `json:"updated"`
	Expires         int64             `json:"expires"`
	Attempts        int               `json:"attempts"` // refused cards
	Waiting         int               `json:"waiting"`  // callbacks queued
}

func (inv *invoice) snapshot() Invoice {
	text := func(r *big.Rat) string {
		if r == nil {
			return ""
		}
		return plain(r)
	}
	out := Invoice{
		ID: inv.id, ReferenceID: inv.ref, Status: inv.status, Resolution: inv.resolution, Service: inv.service.Code,
		Currency: inv.currency, Amount: text(inv.amount), ProcessedAmount: text(inv.processed), RefundedAmount: text(inv.refunded),
		TestMode: inv.test, Flow: inv.flow, Source: inv.source, Fields: map[string]string{}, Metadata: cloneMap(inv.metadata),
		Options: cloneMap(inv.options), GatewayOptions: cloneMap(inv.gatewayOptions),
		CallbackURL: inv.callbackURL, ReturnURL: inv.returnURL, HPPURL: inv.hppURL(),
		Created: inv.created, Updated: inv.updated, Expires: inv.expires.Unix(), Attempts: inv.attempts, Waiting: len(inv.queue),
	}
	if inv.description != nil {
		out.Description = *inv.description
	}
	for k, v := range inv.fields {
		out.Fields[k] = v
	}
	if inv.returnURLs != nil {
		out.ReturnURLs = map[string]string{}
		for k, v := range inv.returnURLs {
			out.ReturnURLs[k] = v
		}
	}
	if inv.customer != nil {
		out.Customer = cloneMap(inv.customer.attributes)
	}
	return out
}

// Invoices are all invoices, oldest first.
func (s *Server) Invoices() []Invoice {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Invoice, 0, len(s.order))
	for _, inv := range s.order {
		s.expireLocked(inv)
		out = append(out, inv.snapshot())
	}
	return out
}

// Invoice is one invoice, by its ID or its reference ID.
func (s *Server) Invoice(id string) (Invoice, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	inv := s.findLocked(id)
	if inv == nil {
		return Invoice{}, false
	}
	s.expireLocked(inv)
	return inv.snapshot(), true
}

func (s *Server) findLocked(id string) *invoice {
	if inv := s.invoices[id]; inv != nil {
		return inv
	}
	return s.byRef[id]
}

// Errors of the control methods.
var (
	ErrNotFound = errors.New("sandbox: no such invoice")
	ErrState    = errors.New("sandbox: the invoice's state does not allow that")
	ErrInvalid  = errors.New("sandbox: invalid")
)

// Action is what Act does to an invoice.
type Action struct {
	// Name is pay (also after expiry or failure: a late success), fail, expire,
	// partial, refund, charge_back, verify or status.
	Name string `json:"-"`
	// Resolution of fail and status; "declined" and "ok" when empty.
	Resolution string `json:"resolution"`
	// Amount of partial, refund and charge_back: half, all that is left, and
	// all when empty.
	Amount json.Number `json:"amount"`
	// Status of status: any text, as staff could set it.
	Status string `json:"status"`
}

// Act resolves an invoice, found by ID or reference ID, and sends the callback.
func (s *Server) Act(id string, a Action) (Invoice, error) {
	var amount *big.Rat
	if a.Amount != "" {
		var ok bool
		if amount, ok = parseAmount(a.Amount.String()); !ok || amount.Sign() <= 0 {
			return Invoice{}, fmt.Errorf("%w: amount", ErrInvalid)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	inv := s.findLocked(id)
	if inv == nil {
		return Invoice{}, ErrNotFound
	}
	if err := s.actLocked(inv, a, amount); err != nil {
		return Invoice{}, err
	}
	return inv.snapshot(), nil
}

func (s *Server) actLocked(inv *invoice, a Action, amount *big.Rat) error {
	fallback := func(text, other string) string {
		if text == "" {
			return other
		}
		return text
	}
	unpaid := inv.pending() || inv.outcome() == "fail"
	switch a.Name {
	case "pay", "verify":
		if !unpaid && inv.status != "partially_processed" || a.Name == "verify" && inv.flow != "verify" {
			return ErrState
		}
		s.payLocked(inv, amount)
	case "partial":
		if !unpaid || inv.flow == "verify" {
			return ErrState
		}
		if amount == nil {
			amount = new(big.Rat).Mul(inv.amount, big.NewRat(1, 2))
			amount.SetString(fixed(amount, s.catalogue.currencies[inv.currency]))
		}
		if amount.Cmp(inv.amount) >= 0 {
			return fmt.Errorf("%w: amount is not less than the invoice's", ErrInvalid)
		}
		s.payLocked(inv, amount)
	case "fail":
		if !inv.pending() {
			return ErrState
		}
		s.failLocked(inv, fallback(a.Resolution, "declined"))
	case "expire":
		if !inv.pending() {
			return ErrState
		}
		s.expireNowLocked(inv)
	case "refund":
		left := inv.refundable()
		if left == nil {
			return ErrState
		}
		if amount == nil {
			amount = left
		}
		if amount.Cmp(left) > 0 {
			return fmt.Errorf("%w: amount is more than what is left", ErrInvalid)
		}
		s.refundLocked(inv, amount, "control-"+randomID(8), nil)
	case "charge_back":
		if inv.processed == nil || inv.chargedBk != nil {
			return ErrState
		}
		status := "charged_back"
		if amount == nil {
			amount = inv.processed
		} else if amount.Cmp(inv.processed) > 0 {
			return fmt.Errorf("%w: amount is more than was paid", ErrInvalid)
		} else if amount.Cmp(inv.processed) < 0 {
			status = "partially_charged_back"
		}
		inv.chargedBk = amount
		s.setStatusLocked(inv, status, "ok")
	case "status":
		if a.Status == "" {
			return fmt.Errorf("%w: status is empty", ErrInvalid)
		}
		if a.Status == "processed" && inv.processed == nil {
			inv.processed = inv.amount
		}
		s.setStatusLocked(inv, a.Status, fallback(a.Resolution, "ok"))
	default:
		return fmt.Errorf("%w: unknown action %q", ErrInvalid, a.Name)
	}
	return nil
}

// Pay pays an invoice in full, or verifies it when its flow is verify.
func (s *Server) Pay(id string) (Invoice, error) { return s.Act(id, Action{Name: "pay"}) }

// Fail ends a pending invoice with a resolution.
func (s *Server) Fail(id, resolution string) (Invoice, error) {
	return s.Act(id, Action{Name: "fail", Resolution: resolution})
}

// Expire ends a pending invoice as if its time were over.
func (s *Server) Expire(id string) (Invoice, error) { return s.Act(id, Action{Name: "expire"}) }

// Faults are the knobs as they stand.
func (s *Server) Faults() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

// SetFaults turns the knobs and starts the dice anew from the seed.
func (s *Server) SetFaults(f Faults) error {
	if err := f.validate(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.rolls = f, map[string]uint64{}
	return nil
}

// operations that FailNext knows.
var operations = []string{"prerequest", "create", "get", "find", "list", "services", "service", "refund", "callback", "expire", ""}

// FailNext gives the next times calls of op (the names in Request.Op, or
// "callback", "expire", "" for any) the fault, whatever the dice say.
func (s *Server) FailNext(op string, fault Fault, times int) error {
	known := slices.ContainsFunc(knobs, func(k struct {
		name Fault
		of   func(*Faults) *float64
	},
	) bool {
		return k.name == fault
	})
	if !known || times < 1 || !slices.Contains(operations, op) {
		return fmt.Errorf("%w: operation %q, fault %q, times %d", ErrInvalid, op, fault, times)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = append(s.script, scripted{op: op, fault: fault, times: times})
	return nil
}

// ResendCallbacks sends the present state of the invoices (all when none is
// named) once more, and returns how many were queued.
func (s *Server) ResendCallbacks(ids ...string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.order
	if len(ids) > 0 {
		list = nil
		for _, id := range ids {
			inv := s.findLocked(id)
			if inv == nil {
				return 0, ErrNotFound
			}
			list = append(list, inv)
		}
	}
	before := s.messages
	for _, inv := range list {
		s.queueCallbackLocked(inv, true)
	}
	return int(s.messages - before), nil //nolint:gosec // at most one per invoice in memory
}

// HoldCallbacks queues callbacks from now on and sends none.
func (s *Server) HoldCallbacks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gate == nil {
		s.gate = make(chan struct{})
	}
}

// ReleaseCallbacks sends what was held.
func (s *Server) ReleaseCallbacks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gate != nil {
		close(s.gate)
		s.gate = nil
	}
}

// Settle waits until every callback is delivered or given up.
func (s *Server) Settle(ctx context.Context) error {
	for {
		s.mu.Lock()
		quiet, active := s.quiet, s.active
		s.mu.Unlock()
		if active == 0 {
			return nil
		}
		select {
		case <-quiet:
		case <-ctx.Done():
			return fmt.Errorf("wait for callbacks: %w", ctx.Err())
		}
	}
}

// Reset forgets invoices, history, deliveries and scripted faults, and starts
// the dice anew. Knobs and a hold stay.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked()
}

// ControlHandler serves the routes under /_sandbox/ (see the package comment).
// Requests that a browser sends from another site are refused.
func (s *Server) ControlHandler() http.Handler {
	mux := http.NewServeMux()
	type reply func(*http.Request) (any, error)
	handle := func(pattern string, f reply) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			v, err := f(r)
			code := http.StatusOK
			switch {
			case errors.Is(err, ErrNotFound):
				code = http.StatusNotFound
			case errors.Is(err, ErrState):
				code = http.StatusConflict
			case err != nil:
				code = http.StatusBadRequest
			}
			if err != nil {
				v = map[string]string{"error": err.Error()}
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(code)
			_ = json.NewEncoder(w).Encode(v) // a caller who went away is no failure of ours
		})
	}
	handle("GET /_sandbox/{$}", func(r *http.Request) (any, error) { return s.about(r), nil })
	handle("GET /_sandbox", func(r *http.Request) (any, error) { return s.about(r), nil })
	handle("GET /_sandbox/history", s.controlHistory)
	handle("GET /_sandbox/invoices", func(*http.Request) (any, error) { return s.Invoices(), nil })
	handle("GET /_sandbox/invoices/{id}", func(r *http.Request) (any, error) {
		inv, ok := s.Invoice(r.PathValue("id"))
		if !ok {
			return nil, ErrNotFound
		}
		return inv, nil
	})
	handle("POST /_sandbox/invoices/{id}/{action}", func(r *http.Request) (any, error) {
		a := Action{Name: r.PathValue("action")}
		if err := readControl(r, &a); err != nil {
			return nil, err
		}
		return s.Act(r.PathValue("id"), a)
	})
	handle("GET /_sandbox/faults", func(*http.Request) (any, error) { return s.Faults(), nil })
	handle("PUT /_sandbox/faults", s.controlFaults)
	handle("POST /_sandbox/faults/next", func(r *http.Request) (any, error) {
		var in struct {
			Op    string `json:"op"`
			Fault Fault  `json:"fault"`
			Times int    `json:"times"`
		}
		in.Times = 1
		if err := readControl(r, &in); err != nil {
			return nil, err
		}
		return in, s.FailNext(in.Op, in.Fault, in.Times)
	})
	handle("GET /_sandbox/callbacks", func(*http.Request) (any, error) {
		return append([]Delivery{}, s.Deliveries()...), nil
	})
	handle("POST /_sandbox/callbacks/resend", func(r *http.Request) (any, error) {
		var in struct {
			Invoice string `json:"invoice"`
		}
		if err := readControl(r, &in); err != nil {
			return nil, err
		}
		var ids []string
		if in.Invoice != "" {
			ids = []string{in.Invoice}
		}
		n, err := s.ResendCallbacks(ids...)
		return map[string]int{"queued": n}, err
	})
	done := map[string]bool{"ok": true}
	handle("POST /_sandbox/callbacks/hold", func(*http.Request) (any, error) { s.HoldCallbacks(); return done, nil })
	handle("POST /_sandbox/callbacks/release", func(*http.Request) (any, error) { s.ReleaseCallbacks(); return done, nil })
	handle("POST /_sandbox/reset", func(*http.Request) (any, error) { s.Reset(); return done, nil })
	return http.NewCrossOriginProtection().Handler(mux)
}

func (s *Server) about(r *http.Request) any {
	base := s.baseOf(r)
	return map[string]any{
		"about":      "WZRDPAY sandbox: an emulator, no money moves, nothing is kept",
		"public_api": base + "/public-api", "private_api": base + "/api", "hpp_url": base + "/redirect/hpp/",
		"invoices": len(s.Invoices()), "requests": s.Counts(),
	}
}

func (s *Server) controlHistory(r *http.Request) (any, error) {
	list := s.Requests()
	q := r.URL.Query()
	if q.Has("op") {
		list = slices.DeleteFunc(list, func(e Request) bool { return e.Op != q.Get("op") })
	}
	if q.Has("limit") {
		n, err := strconv.Atoi(q.Get("limit"))
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%w: limit", ErrInvalid)
		}
		list = list[max(0, len(list)-n):]
	}
	return append([]Request{}, list...), nil
}

func (s *Server) controlFaults(r *http.Request) (any, error) {
	f := s.Faults()
	q := r.URL.Query()
	if q.Has("preset") {
		seed := f.Seed
		if q.Has("seed") {
			var err error
			if seed, err = strconv.ParseUint(q.Get("seed"), 10, 64); err != nil {
				return nil, fmt.Errorf("%w: seed", ErrInvalid)
			}
		}
		switch q.Get("preset") {
		case "none":
			f = NoFaults()
			f.Seed = seed
		case "misbehaving":
			f = Misbehaving(seed)
		default:
			return nil, fmt.Errorf("%w: preset", ErrInvalid)
		}
	}
	if err := readControl(r, &f); err != nil {
		return nil, err
	}
	return f, s.SetFaults(f)
}

// readControl reads an optional JSON body; unknown members are refused.
func readControl(r *http.Request, into any) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if strings.TrimSpace(string(body)) == "" {
		return nil
	}
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}
