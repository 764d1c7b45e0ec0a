package session_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/session"
)

func TestPay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		n := order("order-1")
		n.Metadata = checkout.JSON(`{"cart":7,"session_id":"mine"}`)
		n.Customer = &session.Customer{ReferenceID: "c1", Email: "a@b.example"}
		n.GatewayOptions = checkout.JSON(`{"cardgate":{"tokenize":true}}`)
		n.Description = "Socks"
		v := create(t, s, n)
		paid, err := s.Pay(t.Context(), v.ID, session.PayRequest{Service: "bank_eur_hpp", Fields: map[string]string{"iban": " DE12345 "}})
		if err != nil || paid.Replayed || paid.Redirect.URL != "https://psp.example/hpp/order-1" || paid.Session.Status != checkout.StatusPending {
			t.Fatalf("Pay() = %+v, %v", paid, err)
		}
		r := w.psp.lastRequest()
		if r.ReferenceID != "order-1" || r.Amount != n.Amount || r.Currency != "EUR" || !r.TestMode || r.Flow != "charge" ||
			r.ServiceFields["iban"] != "DE12345" || r.Description != "Socks" || r.CallbackURL == "" ||
			string(r.Metadata) != `{"cart":7,"session_id":"`+v.ID+`"}` ||
			string(r.Customer) != `{"reference_id":"c1","email":"a@b.example"}` || string(r.GatewayOptions) != `{"cardgate":{"tokenize":true}}` {
			t.Errorf("CreateInvoice(%+v)", r)
		}
		if r.Expires != v.ExpiresAt {
			t.Errorf("expires = %d, want the session's end %d", r.Expires, v.ExpiresAt)
		}
		token := r.ReturnURLs.Success[strings.Index(r.ReturnURLs.Success, "=")+1:]
		if c, err := s.Authenticate(token); err != nil || c.SessionID != v.ID || c.Scope != session.ScopeStatus {
			t.Errorf("Authenticate(return token) = %+v, %v", c, err)
		}
		if got := paid.Session.Invoice.ExpiresAt; got != r.Expires {
			t.Errorf("invoice expires_at = %d, want %d said in the answer", got, r.Expires)
		}
		again, err := s.Pay(t.Context(), v.ID, session.PayRequest{Service: "bank_eur_hpp"})
		if err != nil || !again.Replayed || again.Redirect.URL != paid.Redirect.URL {
			t.Errorf("Pay(again) = %+v, %v, want the same redirect", again, err)
		}
		_, err = s.Pay(t.Context(), v.ID, card)
		var c *session.Conflict
		if !errors.As(err, &c) || c.Problem.Code != "another_service" || c.Redirect == nil || c.Session.ID != v.ID || !errors.Is(err, checkout.ErrConflict) {
			t.Errorf("Pay(another service) = %v", err)
		}
		if got := w.psp.count(); got != 1 {
			t.Errorf("invoices = %d, want 1", got)
		}
		if e, err := w.store.Get(t.Context(), "session."+v.ID); err != nil || strings.Contains(string(e.Value), "DE12345") {
			t.Errorf("the fields are still stored after the invoice was made: %s", e.Value)
		}
	})
}

func TestPay_Refuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		pay   session.PayRequest
		code  string
		field string
	}{
		{"no service", session.PayRequest{}, "invalid", "service"},
		{"unknown service", session.PayRequest{Service: "nope"}, "invalid", "service"},
		{"hidden service", session.PayRequest{Service: "hidden_eur_hpp"}, "invalid", "service"},
		{"wrong field", session.PayRequest{Service: "bank_eur_hpp", Fields: map[string]string{"iban": "x"}}, "invalid", "iban"},
		{"missing field", session.PayRequest{Service: "bank_eur_hpp"}, "invalid", "iban"},
		{"unknown field", session.PayRequest{Service: "card_eur_hpp", Fields: map[string]string{"x": "y"}}, "invalid", "x"},
		{"long key", session.PayRequest{Service: "card_eur_hpp", IdempotencyKey: strings.Repeat("k", 256)}, "invalid", "Idempotency-Key"},
	}
	w := newWorld()
	s := w.service(t)
	v := create(t, s, order("order-1"))
	before := w.store.commits
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := s.Pay(t.Context(), v.ID, test.pay)
			var e *checkout.Error
			if !errors.As(err, &e) || e.Code != test.code || len(e.Fields) == 0 || e.Fields[0].Field != test.field {
				t.Errorf("Pay(%+v) = %v, want %s of %s", test.pay, err, test.code, test.field)
			}
		})
	}
	if len(w.psp.requests) != 0 || w.store.commits != before {
		t.Errorf("a refused Pay called WZRDPAY %d times and wrote %d times", len(w.psp.requests), w.store.commits-before)
	}
	if _, err := s.Pay(t.Context(), "cs_0000000000000000000000", card); !errors.Is(err, checkout.ErrNotFound) {
		t.Errorf("Pay(unknown session) = %v, want ErrNotFound", err)
	}
}

// TestPay_Outcomes has a row for every HTTP code of the vendor's table, with what the
// attempt makes of it.
func TestPay_Outcomes(t *testing.T) {
	t.Parallel()
	lookUp := func(status int) error { return upstreamError(status, checkout.LookUp, checkout.ErrUpstream) }
	no := func(status int) error { return upstreamError(status, checkout.NotCreated, checkout.ErrUpstream) }
	invalid := upstreamError(422, checkout.NotCreated, checkout.ErrInvalid)
	invalid.Fields = []checkout.FieldError{{Field: "amount", Code: "invalid", Message: "too small"}}
	later := upstreamError(429, checkout.Later, checkout.ErrLimited)
	later.RetryAfter = 7
	tests := []struct {
		name     string
		fates    []fate // of the creates in turn; after the last all is well
		code     string
		status   checkout.Status
		invoices int
		creates  int
		attempts int
	}{
		{"201", nil, "", "pending", 1, 1, 1},
		{"400, not made", []fate{{err: lookUp(400)}}, "", "pending", 1, 2, 1},
		{"400, made", []fate{{err: lookUp(400), made: true}}, "", "pending", 1, 1, 1},
		{"400 for ever", []fate{{err: lookUp(400)}, {err: lookUp(400)}, {err: lookUp(400)}}, "upstream_refused", "open", 0, 3, 0},
		{"401", []fate{{err: no(401)}}, "upstream_refused", "open", 0, 1, 0},
		{"403", []fate{{err: no(403)}}, "upstream_refused", "open", 0, 1, 0},
		{"404", []fate{{err: no(404)}}, "upstream_refused", "open", 0, 1, 0},
		{"405", []fate{{err: no(405)}}, "upstream_refused", "open", 0, 1, 0},
		{"409, ours", []fate{{err: upstreamError(409, checkout.AlreadyThere, checkout.ErrConflict), made: true}}, "", "pending", 1, 1, 1},
		{"422", []fate{{err: invalid}}, "refused", "open", 0, 1, 0},
		{"429", []fate{{err: later}}, "upstream_busy", "open", 0, 1, 0},
		{"500, made", []fate{{err: lookUp(500), made: true}}, "", "pending", 1, 1, 1},
		{"500, not made", []fate{{err: lookUp(500)}}, "", "pending", 1, 2, 1},
		{"502, not made, twice", []fate{{err: lookUp(502)}, {err: lookUp(502)}}, "", "pending", 1, 3, 1},
		{"503 for ever", []fate{{err: lookUp(503)}, {err: lookUp(503)}, {err: lookUp(503)}}, "outcome_unknown", "creating", 0, 3, 1},
		{"timeout, made", []fate{{made: true, wait: time.Hour}}, "outcome_unknown", "creating", 1, 1, 1},
		{"lost answer, made", []fate{{made: true, err: errors.New("connection reset")}}, "", "pending", 1, 1, 1},
		{"lost answer, arrives late", []fate{{late: 350 * time.Millisecond, err: errors.New("connection reset")}}, "", "pending", 1, 1, 1},
		{"unknown, then 422", []fate{{err: lookUp(500)}, {err: invalid}}, "refused", "open", 0, 2, 0},
		{"unknown, then 401", []fate{{err: lookUp(500)}, {err: no(401)}}, "upstream_refused", "creating", 0, 2, 1},
		{"unknown, then 429", []fate{{err: lookUp(500)}, {err: later}}, "upstream_busy", "creating", 0, 2, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				s := w.service(t)
				w.psp.fault = func(n int, _ checkout.InvoiceRequest) fate {
					if n <= len(test.fates) {
						return test.fates[n-1]
					}
					return fate{made: true}
				}
				v := create(t, s, order("order-1"))
				_, err := s.Pay(t.Context(), v.ID, card)
				if code(err) != test.code {
					t.Errorf("Pay() = %v, want %q", err, test.code)
				}
				now := get(t, s, v.ID)
				if now.Status != test.status || len(now.Attempts) != test.attempts {
					t.Errorf("session is %s with %d attempts, want %s with %d", now.Status, len(now.Attempts), test.status, test.attempts)
				}
				if got := w.psp.count(); got != test.invoices {
					t.Errorf("invoices = %d, want %d", got, test.invoices)
				}
				if test.name != "lost answer, arrives late" && len(w.psp.requests) != test.creates {
					t.Errorf("creates = %d, want %d", len(w.psp.requests), test.creates)
				}
				if test.code == "refused" {
					var e *checkout.Error
					if !errors.As(err, &e) || len(e.Fields) != 1 || e.Fields[0].Field != "amount" || !errors.Is(err, checkout.ErrInvalid) {
						t.Errorf("Pay() = %+v, want WZRDPAY's field", err)
					}
				}
				if test.code == "upstream_busy" {
					var up *checkout.UpstreamError
					if !errors.As(err, &up) || up.RetryAfter != 7 {
						t.Errorf("Pay() = %v, want Retry-After 7 in it", err)
					}
				}
				// Whatever it was: when all is well again the shopper pays, and there is one invoice.
				paid, err := s.Pay(t.Context(), v.ID, card)
				if err != nil || w.psp.count() != 1 || len(paid.Session.Attempts) != 1 {
					t.Errorf("Pay(again) = %+v, %v with %d invoices, want one", paid.Session.Attempts, err, w.psp.count())
				}
				if taken := test.name == "unknown, then 422" || test.name == "400 for ever"; taken != (paid.Session.Attempts[0].Number == 2) {
					t.Errorf("attempt number = %d; a number is reused only after a known outcome", paid.Session.Attempts[0].Number)
				}
			})
		})
	}
}

// TestPay_LateCreate: the create times out, the look-up finds nothing, and then the
// first create arrives. Creating again under the same reference meets it.
func TestPay_LateCreate(t *testing.T) {
	t.Parallel()
	for delay := time.Duration(0); delay < 3*time.Second; delay += 50 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			s := w.service(t)
			w.psp.fault = func(n int, _ checkout.InvoiceRequest) fate {
				if n == 1 {
					return fate{late: delay + 1, err: upstreamError(0, checkout.LookUp, checkout.ErrTimeout)}
				}
				return fate{made: true}
			}
			v := create(t, s, order("order-1"))
			paid, err := s.Pay(t.Context(), v.ID, card)
			time.Sleep(time.Minute)
			if err != nil || w.psp.count() != 1 || paid.Session.Attempts[0].Invoice == nil {
				t.Errorf("late by %v: Pay() = %v with %d invoices, want one", delay, err, w.psp.count())
			}
		})
	}
}

// TestPay_LateCreateAfterEnd: the invoice of an attempt that was given up at the
// session's end shows up after all, and is the session's.
func TestPay_LateCreateAfterEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		w.psp.fault = func(int, checkout.InvoiceRequest) fate {
			return fate{err: upstreamError(500, checkout.LookUp, checkout.ErrUpstream)}
		}
		v := create(t, s, order("order-1"))
		if _, err := s.Pay(t.Context(), v.ID, card); code(err) != "outcome_unknown" {
			t.Fatalf("Pay() = %v", err)
		}
		w.run(t, s, time.Now().Add(2*time.Hour))
		if now := get(t, s, v.ID); now.Status != checkout.StatusExpired || len(now.Attempts) != 0 {
			t.Fatalf("session is %s with %d attempts, want expired with none", now.Status, len(now.Attempts))
		}
		if _, err := s.Pay(t.Context(), v.ID, card); code(err) != "session_expired" {
			t.Errorf("Pay(after end) = %v", err)
		}
		if _, err := w.psp.make(w.psp.lastRequest()); err != nil {
			t.Fatal(err)
		}
		apply(t, s, callback(w.psp.set("order-1", "processed")))
		if now := get(t, s, v.ID); now.Status != checkout.StatusPaid || len(now.Attempts) != 1 {
			t.Errorf("session is %s with %d attempts, want paid with one", now.Status, len(now.Attempts))
		}
		if got, want := fmt.Sprint(w.types(t, v.ID)), "[expired paid]"; got != want {
			t.Errorf("events = %v, want %v", got, want)
		}
	})
}

func TestPay_DoubleClick(t *testing.T) {
	t.Parallel()
	for _, replicas := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d replicas", replicas), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				services := make([]*session.Service, replicas)
				for i := range services {
					services[i] = w.service(t)
				}
				w.psp.fault = func(int, checkout.InvoiceRequest) fate { return fate{made: true, wait: 2 * time.Second} }
				v := create(t, services[0], order("order-1"))
				var wg sync.WaitGroup
				var mu sync.Mutex
				fresh := 0
				for i := range 5 {
					wg.Go(func() {
						paid, err := services[i%replicas].Pay(t.Context(), v.ID, card)
						if err != nil || paid.Redirect.URL != "https://psp.example/hpp/order-1" {
							t.Errorf("Pay() = %+v, %v", paid, err)
						}
						mu.Lock()
						defer mu.Unlock()
						if !paid.Replayed {
							fresh++
						}
					})
				}
				wg.Wait()
				if w.psp.count() != 1 || len(w.psp.requests) != 1 || fresh != 1 {
					t.Errorf("invoices = %d, creates = %d, first answers = %d, want 1 of each", w.psp.count(), len(w.psp.requests), fresh)
				}
			})
		})
	}
}

func TestPay_WaitsTenSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		w.psp.fault = func(int, checkout.InvoiceRequest) fate { return fate{made: true, wait: 20 * time.Second} }
		v := create(t, s, order("order-1"))
		done := make(chan error)
		go func() {
			_, err := s.Pay(t.Context(), v.ID, card)
			done <- err
		}()
		synctest.Wait()
		begun := time.Now()
		_, err := s.Pay(t.Context(), v.ID, card)
		var c *session.Conflict
		if !errors.As(err, &c) || c.Problem.Code != "in_progress" || !c.Problem.Retryable || c.Session.Status != checkout.StatusCreating {
			t.Errorf("Pay(second) = %v, want in_progress", err)
		}
		if took := time.Since(begun); took != 10*time.Second {
			t.Errorf("waited %v, want 10s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Pay(ctx, v.ID, card); !errors.Is(err, checkout.ErrTimeout) {
			t.Errorf("Pay(impatient) = %v, want ErrTimeout", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Pay(first) = %v", err)
		}
	})
}

// TestPay_CallerLeaves: the shopper closes the tab; the attempt is finished all the same.
func TestPay_CallerLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		w.psp.fault = func(int, checkout.InvoiceRequest) fate { return fate{made: true, wait: 3 * time.Second} }
		v := create(t, s, order("order-1"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Pay(ctx, v.ID, card); err != nil {
			t.Errorf("Pay() = %v", err)
		}
		if now := get(t, s, v.ID); now.Status != checkout.StatusPending {
			t.Errorf("status = %s, want pending", now.Status)
		}
	})
}

// TestPay_Crash kills the process at every point of Pay, before and after each effect,
// with WZRDPAY well and with WZRDPAY losing its first answer, and lets a second process
// and the timers go on. There is always one invoice, and it is the session's.
func TestPay_Crash(t *testing.T) {
	t.Parallel()
	faults := map[string]func(int, checkout.InvoiceRequest) fate{
		"well": nil,
		"lost": func(n int, _ checkout.InvoiceRequest) fate {
			if n == 1 {
				return fate{made: true, err: upstreamError(502, checkout.LookUp, checkout.ErrUpstream)}
			}
			return fate{made: true}
		},
		"not made": func(n int, _ checkout.InvoiceRequest) fate {
			if n == 1 {
				return fate{err: upstreamError(500, checkout.LookUp, checkout.ErrUpstream)}
			}
			return fate{made: true}
		},
		"late": func(n int, _ checkout.InvoiceRequest) fate {
			if n == 1 {
				return fate{late: 700 * time.Millisecond, err: upstreamError(0, checkout.LookUp, checkout.ErrTimeout)}
			}
			return fate{made: true}
		},
	}
	finishers := map[string]func(t *testing.T, w *world, s *session.Service, id string){
		"the next click": func(t *testing.T, w *world, s *session.Service, id string) {
			time.Sleep(11 * time.Second)
			if _, err := s.Pay(t.Context(), id, card); err != nil {
				t.Errorf("Pay(next) = %v", err)
			}
		},
		"a click at once, same replica": func(t *testing.T, w *world, _ *session.Service, id string) {
			s := w.service(t, func(c *session.Config) { c.Replica = "a" })
			if _, err := s.Pay(t.Context(), id, card); err != nil {
				t.Errorf("Pay(next) = %v", err)
			}
		},
		"the sweep": func(t *testing.T, w *world, s *session.Service, id string) {
			time.Sleep(11 * time.Second)
			if err := s.Sweep(t.Context()); err != nil {
				t.Errorf("Sweep() = %v", err)
			}
		},
		"the timer": func(t *testing.T, w *world, s *session.Service, id string) {
			w.run(t, s, time.Now().Add(50*time.Second))
		},
	}
	for name, fault := range faults {
		for how, finish := range finishers {
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel()
				survived := false
				for k := 0; !survived; k++ {
					if k > 50 {
						t.Fatal("Pay never survives")
					}
					synctest.Test(t, func(t *testing.T) {
						w := newWorld()
						w.psp.fault = fault
						other := w.service(t, func(c *session.Config) { c.Replica = "b" })
						v := create(t, other, order("order-1"))
						p := &process{memory: w.store, upstream: w.psp, points: k}
						dying := w.service(t, func(c *session.Config) { c.Store, c.PSP, c.Replica = p, p, "a" })
						survived = pay(t, dying, v.ID)
						claimed := get(t, other, v.ID).Status != checkout.StatusOpen
						finish(t, w, other, v.ID)
						now := get(t, other, v.ID)
						if want := 1; claimed && (w.psp.count() != want || len(now.Attempts) != want || now.Attempts[0].Invoice == nil) {
							t.Errorf("died at %d: %d invoices, attempts %+v, want one of each", k, w.psp.count(), now.Attempts)
						}
						if w.psp.count() > 1 {
							t.Errorf("died at %d: %d invoices", k, w.psp.count())
						}
						paid, err := other.Pay(t.Context(), v.ID, card)
						if err != nil || w.psp.count() != 1 || paid.Redirect.URL == "" {
							t.Errorf("died at %d: Pay(at last) = %v with %d invoices", k, err, w.psp.count())
						}
						if got := w.types(t, v.ID); !slices.Equal(got, []string{"pending"}) {
							t.Errorf("died at %d: events = %v, want one pending", k, got)
						}
					})
				}
			})
		}
	}
}

// pay tells whether the process lived through Pay.
func pay(t *testing.T, s *session.Service, id string) (lived bool) {
	return live(func() {
		if _, err := s.Pay(t.Context(), id, card); err != nil {
			t.Errorf("Pay() = %v", err)
		}
	})
}

// TestPay_CheapInvoice: the public key is public. Somebody makes an invoice of one cent
// under our reference: before the attempt, and while its answer is lost.
func TestPay_CheapInvoice(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(r *checkout.InvoiceRequest)
	}{
		{"amount", func(r *checkout.InvoiceRequest) { r.Amount = checkout.MustAmount("0.01") }},
		{"currency", func(r *checkout.InvoiceRequest) { r.Currency = "UAH" }},
		{"service", func(r *checkout.InvoiceRequest) { r.Service = "bank_eur_hpp" }},
		{"mode", func(r *checkout.InvoiceRequest) { r.TestMode = false }},
		{"session", func(r *checkout.InvoiceRequest) {
			r.Metadata = checkout.JSON(`{"session_id":"cs_0000000000000000000000"}`)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				s := w.service(t)
				v := create(t, s, order("order-1"))
				cheap := checkout.InvoiceRequest{ReferenceID: "order-1", Amount: v.Amount, Currency: "EUR", Service: "card_eur_hpp", TestMode: true}
				test.change(&cheap)
				if _, err := w.psp.make(cheap); err != nil {
					t.Fatal(err)
				}
				_, err := s.Pay(t.Context(), v.ID, card)
				var c *session.Conflict
				if !errors.As(err, &c) || c.Problem.Code != "reference_taken" || !c.Problem.Retryable {
					t.Fatalf("Pay() = %v, want reference_taken", err)
				}
				apply(t, s, callback(w.psp.set("order-1", "processed")))
				if now := get(t, s, v.ID); now.Status != checkout.StatusOpen || len(now.Attempts) != 0 {
					t.Errorf("session is %s with %+v after the cheap invoice was paid, want open", now.Status, now.Attempts)
				}
				if got := w.store.keys("unclaimed."); len(got) != 1 {
					t.Errorf("unclaimed = %v, want the cheap invoice", got)
				}
				paid, err := s.Pay(t.Context(), v.ID, card)
				if err != nil || paid.Session.Attempts[0].ReferenceID != "order-1.2" {
					t.Errorf("Pay(again) = %+v, %v, want order-1.2", paid.Session.Attempts, err)
				}
				time.Sleep(time.Second)
				apply(t, s, callback(w.psp.set("order-1", "refunded")), callback(w.psp.set("order-1.2", "processed")))
				if now := get(t, s, v.ID); now.Status != checkout.StatusPaid || len(now.Attempts) != 1 {
					t.Errorf("session is %s with %d attempts, want paid by the one of ours", now.Status, len(now.Attempts))
				}
			})
		})
	}
}

func TestPay_NextAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		v := create(t, s, order("order"))
		create(t, s, order("order.2")) // takes the reference of attempt 2
		if _, err := s.Pay(t.Context(), v.ID, card); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		apply(t, s, callback(w.psp.set("order", "process_failed")))
		paid, err := s.Pay(t.Context(), v.ID, card)
		if err != nil || len(paid.Session.Attempts) != 2 || paid.Session.Attempts[1].ReferenceID != "order.3" || paid.Replayed {
			t.Fatalf("Pay(second attempt) = %+v, %v, want order.3", paid.Session.Attempts, err)
		}
		if found, err := s.FindByReference(t.Context(), "order.3"); err != nil || found.ID != v.ID {
			t.Errorf("FindByReference(order.3) = %v, %v", found.ID, err)
		}
		n := order("order.3")
		if _, err := s.Create(t.Context(), n); code(err) != "reference_taken" {
			t.Errorf("Create(order.3) = %v, want reference_taken", err)
		}
		time.Sleep(time.Second)
		apply(t, s, callback(w.psp.set("order.3", "processed")))
		if _, err := s.Pay(t.Context(), v.ID, card); code(err) != "already_paid" {
			t.Errorf("Pay(paid) = %v", err)
		}
		if got, want := fmt.Sprint(w.types(t, v.ID)), "[pending failed pending paid]"; got != want {
			t.Errorf("events = %v, want %v", got, want)
		}
	})
}

// TestPay_Withdrawn: what was announced before a refused attempt is not announced again.
func TestPay_Withdrawn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		v := create(t, s, order("order"))
		if _, err := s.Pay(t.Context(), v.ID, card); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		apply(t, s, callback(w.psp.set("order", "process_failed")))
		w.psp.fault = func(n int, _ checkout.InvoiceRequest) fate {
			if n == 2 {
				return fate{err: upstreamError(422, checkout.NotCreated, checkout.ErrInvalid)}
			}
			return fate{made: true}
		}
		if _, err := s.Pay(t.Context(), v.ID, card); code(err) != "refused" {
			t.Fatalf("Pay() = %v, want refused", err)
		}
		paid, err := s.Pay(t.Context(), v.ID, card)
		if err != nil || paid.Session.Attempts[1].ReferenceID != "order.2" {
			t.Errorf("Pay() = %+v, %v, want order.2, its number is free again", paid.Session.Attempts, err)
		}
		if got, want := fmt.Sprint(w.types(t, v.ID)), "[pending failed pending]"; got != want {
			t.Errorf("events = %v, want %v", got, want)
		}
	})
}

func TestPay_IdempotencyKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		v := create(t, s, order("order"))
		p := session.PayRequest{Service: "bank_eur_hpp", Fields: map[string]string{"iban": "DE1234"}, IdempotencyKey: "k"}
		first, err := s.Pay(t.Context(), v.ID, p)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := s.Pay(t.Context(), v.ID, p); err != nil || again.Redirect.URL != first.Redirect.URL || !again.Replayed {
			t.Errorf("Pay(same key) = %+v, %v", again, err)
		}
		other := p
		other.Fields = map[string]string{"iban": "DE9999"}
		if _, err := s.Pay(t.Context(), v.ID, other); code(err) != "idempotency_key_reused" {
			t.Errorf("Pay(same key, other fields) = %v", err)
		}
		time.Sleep(time.Second)
		apply(t, s, callback(w.psp.set("order", "process_failed")))
		if again, err := s.Pay(t.Context(), v.ID, p); err != nil || again.Redirect.URL != first.Redirect.URL || w.psp.count() != 1 {
			t.Errorf("Pay(same key after failure) = %+v, %v with %d invoices, want the same answer", again, err, w.psp.count())
		}
		p.IdempotencyKey = "k2"
		if next, err := s.Pay(t.Context(), v.ID, p); err != nil || next.Replayed || w.psp.count() != 2 {
			t.Errorf("Pay(new key) = %+v, %v with %d invoices, want a new attempt", next, err, w.psp.count())
		}
	})
}

// Answers to look-ups name another page than the creation did; a second click goes where
// the first one went.
func TestPay_SameRedirectAfterRefresh(t *testing.T) {
	t.Parallel()
	for _, other := range []string{"https://a.example/earlier-in-the-alphabet", "https://zz.example/later"} {
		w := newWorld()
		s := w.service(t)
		v := create(t, s, order("order"))
		first, err := s.Pay(t.Context(), v.ID, card)
		if err != nil {
			t.Fatal(err)
		}
		w.psp.byRef["order"].Redirect = &checkout.Redirect{Method: "GET", URL: other}
		if _, err := s.Refresh(t.Context(), first.Session.Invoice.ID); err != nil {
			t.Fatal(err)
		}
		again, err := s.Pay(t.Context(), v.ID, card)
		if err != nil || again.Redirect.URL != first.Redirect.URL {
			t.Errorf("Pay() after a look-up that named %s = %+v, %v, want %s", other, again.Redirect, err, first.Redirect.URL)
		}
	}
}

func TestPay_Redirect(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		to    *checkout.Redirect
		live  bool
		hosts []string
		code  string
	}{
		{"https", &checkout.Redirect{Method: "GET", URL: "https://psp.example/x"}, true, nil, ""},
		{"post", &checkout.Redirect{Method: "POST", URL: "https://psp.example/x", Params: map[string]string{"a": "b"}}, true, nil, ""},
		{"http live", &checkout.Redirect{Method: "GET", URL: "http://127.0.0.1/x"}, true, nil, "redirect_refused"},
		{"http loopback test", &checkout.Redirect{Method: "GET", URL: "http://127.0.0.1:9/x"}, false, nil, ""},
		{"http localhost test", &checkout.Redirect{Method: "GET", URL: "http://localhost:9/x"}, false, nil, ""},
		{"http elsewhere test", &checkout.Redirect{Method: "GET", URL: "http://psp.example/x"}, false, nil, "redirect_refused"},
		{"script", &checkout.Redirect{Method: "GET", URL: "javascript:alert(1)"}, false, nil, "redirect_refused"},
		{"method", &checkout.Redirect{Method: "PUT", URL: "https://psp.example/x"}, false, nil, "redirect_refused"},
		{"user", &checkout.Redirect{Method: "GET", URL: "https://shop.example@evil.example/x"}, false, nil, "redirect_refused"},
		{"host listed", &checkout.Redirect{Method: "GET", URL: "https://psp.example/x"}, true, []string{"psp.example"}, ""},
		{"host listed, with a port, in capitals", &checkout.Redirect{Method: "GET", URL: "https://PSP.example:8443/x"}, true, []string{"psp.example"}, ""},
		{"host not listed", &checkout.Redirect{Method: "GET", URL: "https://evil.example/x"}, true, []string{"psp.example"}, "redirect_refused"},
		{"none", nil, true, nil, "no_redirect"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.psp.pre.TestMode = !test.live
			s := w.service(t, func(c *session.Config) { c.TestMode, c.RedirectHosts = !test.live, test.hosts })
			v := create(t, s, order("order"))
			w.psp.bare = true
			request := checkout.InvoiceRequest{ReferenceID: "order", Amount: v.Amount, Currency: "EUR", Service: "card_eur_hpp", TestMode: !test.live}
			if _, err := w.psp.make(request); err != nil {
				t.Fatal(err)
			}
			w.psp.byRef["order"].Redirect = test.to
			_, err := s.Pay(t.Context(), v.ID, card)
			if code(err) != test.code {
				t.Errorf("Pay() = %v, want %q", err, test.code)
			}
		})
	}
}

// TestPay_NotVisibleYet: WZRDPAY says 409 and its list lags behind.
func TestPay_NotVisibleYet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		w.psp.fault = func(int, checkout.InvoiceRequest) fate {
			return fate{made: true, err: upstreamError(409, checkout.AlreadyThere, checkout.ErrConflict)}
		}
		w.psp.lookup = func(n int) error {
			if n <= 2 {
				return checkout.ErrNotFound
			}
			return nil
		}
		v := create(t, s, order("order"))
		if _, err := s.Pay(t.Context(), v.ID, card); err != nil || len(w.psp.requests) != 1 || w.psp.lookups != 3 {
			t.Errorf("Pay() = %v with %d creates and %d look-ups, want 1 and 3", err, len(w.psp.requests), w.psp.lookups)
		}
	})
}

// TestPay_TakenOver: a replica whose clock is a minute ahead takes over a claim that is
// still worked on. The first owner's late "no" must not end the second's attempt.
func TestPay_TakenOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		ahead := w.service(t, func(c *session.Config) { c.Now = func() time.Time { return time.Now().Add(time.Minute) } })
		w.psp.fault = func(n int, _ checkout.InvoiceRequest) fate {
			if n == 1 {
				return fate{wait: 10 * time.Second, err: upstreamError(422, checkout.NotCreated, checkout.ErrInvalid)}
			}
			return fate{made: true, wait: 10 * time.Second}
		}
		v := create(t, s, order("order"))
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := s.Pay(t.Context(), v.ID, card); code(err) != "refused" {
				t.Errorf("Pay(first) = %v, want refused", err)
			}
		})
		time.Sleep(5 * time.Second)
		paid, err := ahead.Pay(t.Context(), v.ID, card)
		wg.Wait()
		if err != nil || len(paid.Session.Attempts) != 1 || w.psp.count() != 1 || len(w.psp.requests) != 2 {
			t.Errorf("Pay(second) = %+v, %v with %d invoices of %d creates, want one of 2", paid.Session.Attempts, err, w.psp.count(), len(w.psp.requests))
		}
	})
}
