package session_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/session"
)

// stepped is a clock that somebody puts forwards and backwards.
type stepped struct{ by time.Duration }

func (c *stepped) config(cfg *session.Config) {
	cfg.Now = func() time.Time { return time.Now().Add(c.by) }
}

// TestClock_Claim: a claim that was made while the clock was two hours ahead does not
// lock the shopper out for two hours when the clock is right again and its owner is dead.
func TestClock_Claim(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{2 * time.Hour, 30 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			clock := &stepped{}
			s := w.service(t, clock.config)
			n := order("order")
			n.ExpiresIn = 24 * 3600
			v := create(t, s, n)
			clock.by = step
			p := &process{memory: w.store, upstream: w.psp, points: 3} // dies within its call
			live(func() {
				_, _ = w.service(t, clock.config, func(c *session.Config) { c.Store, c.PSP = p, p }).Pay(t.Context(), v.ID, card)
			})
			if now := get(t, s, v.ID); now.Status != checkout.StatusCreating {
				t.Fatalf("status = %s, want creating", now.Status)
			}
			clock.by = 0
			began := time.Now()
			var err error
			for range 10 { // a page tries again
				if _, err = s.Pay(t.Context(), v.ID, card); code(err) != "in_progress" {
					break
				}
			}
			if took := time.Since(began); err != nil || took > step%time.Hour+12*time.Second || w.psp.count() != 1 {
				t.Errorf("clock back by %v: Pay() = %v after %v with %d invoices, want one within the claim's life", step, err, took, w.psp.count())
			}
		})
	}
}

// TestClock_Session: a session that ended by a clock that was wrong lives again, and is
// paid; what was paid stays paid whatever the clock says.
func TestClock_Session(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		clock := &stepped{}
		s := w.service(t, clock.config)
		v := create(t, s, order("order"))
		seen := func() checkout.Status { return get(t, s, v.ID).Status }
		clock.by = 2 * time.Hour
		if got := seen(); got != checkout.StatusExpired {
			t.Errorf("two hours ahead: %s, want expired", got)
		}
		if _, err := s.Pay(t.Context(), v.ID, card); code(err) != "session_expired" {
			t.Errorf("two hours ahead: Pay() = %v, want session_expired", err)
		}
		clock.by = 0
		if got := seen(); got != checkout.StatusOpen {
			t.Errorf("right again: %s, want open", got)
		}
		if _, err := s.Pay(t.Context(), v.ID, card); err != nil {
			t.Errorf("right again: Pay() = %v", err)
		}
		clock.by = -2 * time.Hour
		apply(t, s, callback(w.psp.set("order", "processed")))
		for _, by := range []time.Duration{-2 * time.Hour, 0, 2 * time.Hour, 2000 * time.Hour} {
			clock.by = by
			if got := seen(); got != checkout.StatusPaid {
				t.Errorf("clock off by %v: %s, want paid", by, got)
			}
		}
		if got, want := fmt.Sprint(w.types(t, v.ID)), "[expired pending paid]"; got != want {
			t.Errorf("events = %v, want %v", got, want)
		}
	})
}

// TestClock_Token: a token signed before the clock was put back is good, one whose time
// is over is not, and is again when the clock was wrong.
func TestClock_Token(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		clock := &stepped{by: 2 * time.Hour}
		s := w.service(t, clock.config)
		created, err := s.Create(t.Context(), order("order"))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			by   time.Duration
			want string
		}{{2 * time.Hour, ""}, {0, ""}, {6 * time.Hour, "token_expired"}, {-2 * time.Hour, ""}} {
			clock.by = c.by
			for name, verifier := range map[string]*session.Service{"the one that signed": s, "another replica": w.service(t, clock.config)} {
				if _, err := verifier.Authenticate(created.Token); code(err) != c.want {
					t.Errorf("clock off by %v, %s: Authenticate() = %v, want %q", c.by, name, err, c.want)
				}
			}
		}
	})
}

// TestPay_OwnerLives: WZRDPAY takes its time; while the owner lives nobody else calls.
func TestPay_OwnerLives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.psp.fault = func(int, checkout.InvoiceRequest) fate { return fate{made: true, wait: 24 * time.Second} }
		a, b := w.service(t), w.service(t)
		v := create(t, a, order("order"))
		var first sync.WaitGroup
		first.Go(func() {
			if _, err := a.Pay(t.Context(), v.ID, card); err != nil {
				t.Errorf("Pay(first) = %v", err)
			}
		})
		time.Sleep(time.Second)
		for range 2 {
			if _, err := b.Pay(t.Context(), v.ID, card); code(err) != "in_progress" {
				t.Errorf("Pay(second) = %v, want in_progress", err)
			}
		}
		if err := b.Timer(t.Context(), "timer."+v.ID, nil); err != nil {
			t.Errorf("Timer() = %v", err)
		}
		first.Wait()
		if len(w.psp.requests) != 1 || w.psp.lookups != 0 {
			t.Errorf("%d creates, %d look-ups, want 1 and none", len(w.psp.requests), w.psp.lookups)
		}
		if now := get(t, a, v.ID); now.Revision != 3 {
			t.Errorf("revision = %d, want 3: a renewed claim is no news for the page", now.Revision)
		}
	})
}

// TestPay_OwnerDies: a replica that dies while WZRDPAY takes its time keeps the shopper
// no longer than its claim lives.
func TestPay_OwnerDies(t *testing.T) {
	t.Parallel()
	for died := time.Duration(0); died <= 20*time.Second; died += 2 * time.Second {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.psp.fault = func(n int, _ checkout.InvoiceRequest) fate {
				if n == 1 {
					return fate{made: true, wait: 24 * time.Second}
				}
				return fate{made: true}
			}
			p := &process{memory: w.store, upstream: w.psp, points: -1}
			mortal := w.service(t, func(c *session.Config) { c.Store, c.PSP, c.Replica = p, p, "a" })
			s := w.service(t, func(c *session.Config) { c.Replica = "b" })
			v := create(t, s, order("order"))
			ended := make(chan bool)
			go func() { ended <- live(func() { _, _ = mortal.Pay(t.Context(), v.ID, card) }) }()
			time.Sleep(died + 10*time.Millisecond)
			p.mu.Lock()
			p.dead = true
			p.mu.Unlock()
			began := time.Now()
			_, err := s.Pay(t.Context(), v.ID, card)
			var c *session.Conflict
			if errors.As(err, &c) && c.Problem.Retryable {
				_, err = s.Pay(t.Context(), v.ID, card)
			}
			if took := time.Since(began); err != nil || took > 12*time.Second {
				t.Errorf("died after %v: Pay() = %v after %v, want an invoice within 12 s", died, err, took)
			}
			if <-ended || w.psp.count() != 1 {
				t.Errorf("died after %v: %d invoices, want 1", died, w.psp.count())
			}
		})
	}
}
