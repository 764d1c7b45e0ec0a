package session_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/session"
)

// paying opens a session and its first invoice.
func paying(t *testing.T, w *world, s *session.Service, reference string) checkout.Session {
	t.Helper()
	v := create(t, s, order(reference))
	paid, err := s.Pay(t.Context(), v.ID, card)
	if err != nil {
		t.Fatalf("Pay(%v) = %v", reference, err)
	}
	return paid.Session
}

func TestApplyCallbacks_AnyOrder(t *testing.T) {
	t.Parallel()
	statuses := []string{"process_pending", "expired", "process_failed", "processed", "refunding", "refunded"}
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			s := w.service(t)
			v := paying(t, w, s, "order")
			var heard []checkout.Update
			for _, status := range statuses {
				time.Sleep(time.Second)
				heard = append(heard, callback(w.psp.set("order", status)))
			}
			heard = append(heard, heard...)
			random := rand.New(rand.NewPCG(seed, 1))
			random.Shuffle(len(heard), func(i, j int) { heard[i], heard[j] = heard[j], heard[i] })
			settled, revision := false, int64(0)
			for len(heard) > 0 {
				n := 1 + random.IntN(len(heard))
				apply(t, s, heard[:n]...)
				heard = heard[n:]
				now := get(t, s, v.ID)
				if settled && !now.Status.Settled() {
					t.Errorf("seed %d: status went back to %s", seed, now.Status)
				}
				if now.Revision < revision {
					t.Errorf("seed %d: revision went back to %d from %d", seed, now.Revision, revision)
				}
				settled, revision = now.Status.Settled(), now.Revision
			}
			if now := get(t, s, v.ID); now.Status != checkout.StatusRefunded {
				t.Errorf("seed %d: status = %s, want refunded", seed, now.Status)
			}
		})
	}
}

func TestApplyCallbacks_Idempotent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		v := paying(t, w, s, "order")
		time.Sleep(time.Second)
		u := callback(w.psp.set("order", "processed"))
		apply(t, s, u, u)
		before, commits := get(t, s, v.ID), w.store.commits
		apply(t, s, u, u, u)
		if after := get(t, s, v.ID); after.Revision != before.Revision || w.store.commits != commits {
			t.Errorf("a repeated callback wrote: revision %d to %d, %d commits", before.Revision, after.Revision, w.store.commits-commits)
		}
		if got, want := fmt.Sprint(w.types(t, v.ID)), "[pending paid]"; got != want {
			t.Errorf("events = %v, want %v", got, want)
		}
		history, err := s.History(t.Context(), v.ID)
		if err != nil || len(history) != 2 || history[0].Source != "create" || history[1].Status != "processed" {
			t.Errorf("History() = %+v, %v, want create and callback", history, err)
		}
	})
}

// TestApplyCallbacks_BeforeCreateAnswers: the callback overtakes the answer of the create.
func TestApplyCallbacks_BeforeCreateAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		w.psp.fault = func(int, checkout.InvoiceRequest) fate { return fate{made: true, wait: 5 * time.Second} }
		v := create(t, s, order("order"))
		done := make(chan error)
		go func() {
			paid, err := s.Pay(t.Context(), v.ID, card)
			if err == nil && paid.Redirect.URL == "" {
				err = errors.New("no redirect")
			}
			done <- err
		}()
		time.Sleep(time.Second)
		apply(t, s, callback(w.psp.set("order", "processing")))
		if now := get(t, s, v.ID); now.Status != checkout.StatusPending {
			t.Errorf("status = %s, want pending: the attempt adopts the invoice", now.Status)
		}
		if err := <-done; err != nil {
			t.Errorf("Pay() = %v", err)
		}
		if now := get(t, s, v.ID); len(now.Attempts) != 1 || w.psp.count() != 1 {
			t.Errorf("attempts = %+v, want one", now.Attempts)
		}
		if got, want := fmt.Sprint(w.types(t, v.ID)), "[pending]"; got != want {
			t.Errorf("events = %v, want %v", got, want)
		}
	})
}

func TestApplyCallbacks_Unclaimed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		v := paying(t, w, s, "order")
		real := w.psp.set("order", "processed")
		with := func(change func(*checkout.Update)) checkout.Update {
			u := callback(real)
			change(&u)
			return u
		}
		tests := map[string]checkout.Update{
			"no_session": with(func(u *checkout.Update) {
				u.Invoice = checkout.Invoice{ID: "cpi_a", ReferenceID: "else", TestMode: true}
			}),
			"no_invoice":    {Problem: "not an invoice", Mode: "test", Raw: []byte("\xff\xfe")},
			"wrong_mode":    with(func(u *checkout.Update) { u.Mode = "live" }),
			"other_invoice": with(func(u *checkout.Update) { u.Invoice.ID = "cpi_b"; u.Invoice.SessionID = "" }),
			"no_attempt":    with(func(u *checkout.Update) { u.Invoice.ID = "cpi.c x>"; u.Invoice.ReferenceID = "order.9" }),
		}
		for reason, u := range tests {
			apply(t, s, u)
			if got := w.tally.get("invoice callback " + reason); got != 1 {
				t.Errorf("%s counted %d times, want 1", reason, got)
			}
		}
		if now := get(t, s, v.ID); now.Status != checkout.StatusPending {
			t.Errorf("status = %s, want pending", now.Status)
		}
		if got := w.store.keys("unclaimed."); len(got) != len(tests) {
			t.Errorf("unclaimed = %v, want %d", got, len(tests))
		}

		// Whoever holds a signing key, or an account that others use too, can not fill the disk
		// for ever: 90 days after it last came a callback is forgotten.
		time.Sleep(60 * 24 * time.Hour)
		apply(t, s, tests["no_session"])
		time.Sleep(29 * 24 * time.Hour)
		if got := w.store.keys("unclaimed."); len(got) != len(tests) {
			t.Errorf("unclaimed after 89 days = %v, want %d", got, len(tests))
		}
		time.Sleep(2 * 24 * time.Hour)
		if got, want := fmt.Sprint(w.store.keys("unclaimed.")), "[unclaimed.cpi_a]"; got != want {
			t.Errorf("unclaimed after 91 days = %v, want the one that came again, %v", got, want)
		}
		time.Sleep(60 * 24 * time.Hour)
		if got := w.store.keys("unclaimed."); len(got) != 0 {
			t.Errorf("unclaimed after 151 days = %v, want none", got)
		}
	})
}

// TestApplyCallbacks_Many: thousands in one batch, most of them nobody's, several of one
// session. What is too much for a commit is split; nothing is lost and nothing is twice.
func TestApplyCallbacks_Many(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		var updates []checkout.Update
		var ids []string
		for i := range 12 {
			ref := fmt.Sprintf("order-%d", i)
			ids = append(ids, paying(t, w, s, ref).ID)
			for _, status := range []string{"processing", "processed"} {
				time.Sleep(time.Second)
				updates = append(updates, callback(w.psp.set(ref, status)))
			}
			for n := range 90 {
				v := checkout.Invoice{ID: fmt.Sprintf("cpi_%d_%d", i, n), ReferenceID: "else", TestMode: true, Status: "processed"}
				updates = append(updates, callback(v))
			}
		}
		cursor := checkout.Write{Key: "cursor.IN0", Value: []byte("7")}
		for range 2 { // the second time nothing changes any more
			if err := s.ApplyCallbacks(t.Context(), updates, cursor); err != nil {
				t.Fatalf("ApplyCallbacks() = %v", err)
			}
			cursor.Expect = w.store.seq
			for _, id := range ids {
				if now := get(t, s, id); now.Status != checkout.StatusPaid {
					t.Errorf("%s is %s, want paid", id, now.Status)
				}
				if got, want := fmt.Sprint(w.types(t, id)), "[pending paid]"; got != want {
					t.Errorf("events of %s = %v, want %v", id, got, want)
				}
			}
			if got := w.store.keys("unclaimed."); len(got) != 12*90 {
				t.Errorf("%d kept for the operator, want %d", len(got), 12*90)
			}
			if got := w.store.keys("cursor."); len(got) != 1 {
				t.Errorf("cursors = %v, want one", got)
			}
		}
	})
}

// TestApplyCallbacks_Named: a callback that names its session is applied without a
// question to the store; what it names wrongly is not believed.
func TestApplyCallbacks_Named(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		v, other := paying(t, w, s, "order"), paying(t, w, s, "other")
		time.Sleep(time.Second)
		u := callback(w.psp.set("order", "processing"))
		u.Invoice.SessionID = v.ID
		reads := w.store.reads
		apply(t, s, u, u)
		if n := w.store.reads - reads; n != 0 {
			t.Errorf("%d reads beside the session, want none", n)
		}
		time.Sleep(time.Second)
		u = callback(w.psp.set("order", "processed"))
		u.Invoice.SessionID = other.ID
		apply(t, s, u)
		if now := get(t, s, v.ID); now.Status != checkout.StatusPaid {
			t.Errorf("the invoice's session is %s, want paid", now.Status)
		}
		if now := get(t, s, other.ID); now.Status != checkout.StatusPending {
			t.Errorf("the session that was named is %s, want pending", now.Status)
		}
	})
}

// TestApplyCallbacks_Batch: more sessions than fit a commit, the cursor in the last one.
func TestApplyCallbacks_Batch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		var updates []checkout.Update
		var ids []string
		for i := range 250 {
			ref := fmt.Sprintf("order-%d", i)
			ids = append(ids, paying(t, w, s, ref).ID)
			time.Sleep(time.Second)
			updates = append(updates, callback(w.psp.set(ref, "processed")))
		}
		commits := w.store.commits
		cursor := checkout.Write{Key: "cursor.IN0", Value: []byte("7")}
		if err := s.ApplyCallbacks(t.Context(), updates, cursor); err != nil {
			t.Fatalf("ApplyCallbacks() = %v", err)
		}
		if got := w.store.commits - commits; got != 2 {
			t.Errorf("commits = %d, want 2", got)
		}
		for _, id := range ids {
			if now := get(t, s, id); now.Status != checkout.StatusPaid {
				t.Errorf("%s is %s, want paid", id, now.Status)
			}
		}
		if e, err := w.store.Get(t.Context(), "cursor.IN0"); err != nil || string(e.Value) != "7" {
			t.Errorf("cursor = %s, %v", e.Value, err)
		}
		// A cursor that another replica moved is a conflict, and nothing is lost.
		if err := s.ApplyCallbacks(t.Context(), updates, cursor); !errors.Is(err, checkout.ErrConflict) {
			t.Errorf("ApplyCallbacks(stale cursor) = %v, want ErrConflict", err)
		}
		if err := s.ApplyCallbacks(t.Context(), nil, checkout.Write{Key: "cursor.IN1", Value: []byte("1")}); err != nil {
			t.Errorf("ApplyCallbacks(cursor alone) = %v", err)
		}
	})
}

// lagging answers Get from the past: what a replica's cache may do.
type lagging struct {
	*memory
	old map[string]checkout.Entry
}

func (l *lagging) Get(_ context.Context, key string) (checkout.Entry, error) {
	if e, ok := l.old[key]; ok {
		return e, nil
	}
	return checkout.Entry{}, checkout.ErrNotFound
}

func TestApplyCallbacks_StaleCache(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		v := create(t, s, order("order"))
		cache := &lagging{memory: w.store, old: map[string]checkout.Entry{}}
		e, _ := w.store.Get(t.Context(), "session."+v.ID)
		cache.old["session."+v.ID] = e // before the attempt
		other := w.service(t, func(c *session.Config) { c.Store = cache })
		if _, err := s.Pay(t.Context(), v.ID, card); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		apply(t, other, callback(w.psp.set("order", "processed")))
		if now := get(t, s, v.ID); now.Status != checkout.StatusPaid {
			t.Errorf("status = %s, want paid: a cache that lags must not lose a callback", now.Status)
		}
	})
}

func TestReRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t, func(c *session.Config) { c.ReRead = true })
		s.Start()
		defer func() { _ = s.Stop(context.Background()) }()
		v := paying(t, w, s, "order")
		time.Sleep(10 * time.Second)
		lie := callback(w.psp.set("order", "processed"))
		w.psp.set("order", "process_pending") // the API does not say so
		apply(t, s, lie)
		synctest.Wait()
		if w.psp.asked != 1 || w.tally.get("invoice reread contradiction") != 1 {
			t.Errorf("asked %d times, contradictions %d, want 1 and 1", w.psp.asked, w.tally.get("invoice reread contradiction"))
		}
		if now := get(t, s, v.ID); now.Status != checkout.StatusPaid {
			t.Errorf("status = %s, want paid: never back", now.Status)
		}
	})
}

// TestReRead_AfterCrash: the process dies between the commit and the question.
func TestReRead_AfterCrash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t, func(c *session.Config) { c.ReRead = true }) // never started: its workers are dead
		paying(t, w, s, "order")
		time.Sleep(10 * time.Second)
		apply(t, s, callback(w.psp.set("order", "processed")))
		w.run(t, w.service(t), time.Now().Add(time.Minute))
		if w.psp.asked != 1 {
			t.Errorf("asked %d times, want 1", w.psp.asked)
		}
		if at := w.store.next(); at != 0 {
			t.Errorf("a timer is set for %d, want none", at)
		}
	})
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		v := paying(t, w, s, "order")
		id := v.Invoice.ID
		time.Sleep(time.Second)
		w.psp.set("order", "processed")
		for range 10 {
			if got, err := s.Refresh(t.Context(), id); err != nil || got.Status != "processed" {
				t.Errorf("Refresh() = %v, %v", got.Status, err)
			}
		}
		if w.psp.asked != 1 {
			t.Errorf("asked %d times within 5 s, want 1", w.psp.asked)
		}
		time.Sleep(6 * time.Second) // the key of the turn may go a moment after its 5 s
		if _, err := s.Refresh(t.Context(), id); err != nil || w.psp.asked != 2 {
			t.Errorf("Refresh(5 s later) = %v, asked %d times, want 2", err, w.psp.asked)
		}
		if now := get(t, s, v.ID); now.Status != checkout.StatusPaid {
			t.Errorf("status = %s, want paid", now.Status)
		}
		if _, err := s.Refresh(t.Context(), "cpi_none"); !errors.Is(err, checkout.ErrNotFound) {
			t.Errorf("Refresh(unknown) = %v, want ErrNotFound", err)
		}
	})
}

// TestTimer_Silence: no callback ever comes; the timers ask, wider and wider, and end.
func TestTimer_Silence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		v := paying(t, w, s, "order")
		created := time.Unix(v.CreatedAt, 0)
		var asked []time.Duration
		for at := w.store.next(); at != 0; at = w.store.next() {
			before := w.psp.asked
			w.run(t, s, time.Unix(at, 0))
			if w.psp.asked != before {
				asked = append(asked, time.Since(created))
			}
		}
		want := []time.Duration{
			time.Minute, 3 * time.Minute, 8 * time.Minute, 23 * time.Minute, 53 * time.Minute, // early
			62 * time.Minute, 72 * time.Minute, 102 * time.Minute, 3 * time.Hour, 7 * time.Hour, 13 * time.Hour, // after its expiry
		}
		if !slices.Equal(asked, want) {
			t.Errorf("asked at %v, want %v", asked, want)
		}
	})
}

func TestTimer_FindsPayment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		v := paying(t, w, s, "order")
		time.Sleep(time.Second)
		w.psp.set("order", "processed") // and the callback is lost
		w.run(t, s, time.Now().Add(2*time.Minute))
		if now := get(t, s, v.ID); now.Status != checkout.StatusPaid {
			t.Errorf("status = %s, want paid", now.Status)
		}
		if at := w.store.next(); at != 0 {
			t.Errorf("a timer is set for %d after the end, want none", at)
		}
	})
}

func TestTimer_Expiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		v := create(t, s, order("order"))
		failed := paying(t, w, s, "order-2")
		time.Sleep(time.Second)
		apply(t, s, callback(w.psp.set("order-2", "expired")))
		if now := get(t, s, failed.ID); now.Status != checkout.StatusFailed {
			t.Errorf("status = %s, want failed while the session lives", now.Status)
		}
		w.run(t, s, time.Now().Add(time.Hour+time.Minute))
		for id, want := range map[string]string{v.ID: "[expired]", failed.ID: "[pending failed expired]"} {
			if got := fmt.Sprint(w.types(t, id)); got != want {
				t.Errorf("events = %v, want %v", got, want)
			}
			if now := get(t, s, id); now.Status != checkout.StatusExpired {
				t.Errorf("status = %s, want expired", now.Status)
			}
		}
		if err := s.Timer(t.Context(), "timer.cs_0000000000000000000000", nil); err != nil {
			t.Errorf("Timer(unknown) = %v, want nil", err)
		}
	})
}

func TestReconcile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		known := paying(t, w, s, "order-1")
		quiet := create(t, s, order("order-2"))
		time.Sleep(time.Second)
		w.psp.set("order-1", "processed")
		made := func(reference, id string, amount string) {
			r := checkout.InvoiceRequest{ReferenceID: reference, Amount: checkout.MustAmount(amount), Currency: "EUR", Service: "card_eur_hpp", TestMode: true}
			if id != "" {
				r.Metadata = checkout.JSON(`{"session_id":"` + id + `"}`)
			}
			if _, err := w.psp.make(r); err != nil {
				t.Fatal(err)
			}
		}
		made("order-2", quiet.ID, "10.5")                 // never asked for
		made("elsewhere", "", "1")                        // of another shop system
		made("lost", "cs_0000000000000000000000", "10.5") // of a session that is not here
		for i := range 150 {
			made(fmt.Sprintf("z-%d", i), "", "1")
		}
		got, err := s.Reconcile(t.Context())
		if err != nil || got.Applied != 1 || got.Unheard != 2 || got.Mismatched != 0 || got.Pages != 2 || got.Invoices != 154 {
			t.Errorf("Reconcile() = %+v, %v", got, err)
		}
		if now := get(t, s, known.ID); now.Status != checkout.StatusPaid {
			t.Errorf("status = %s, want paid", now.Status)
		}
		if now := get(t, s, quiet.ID); now.Status != checkout.StatusOpen {
			t.Errorf("status = %s, want open", now.Status)
		}
	})
}

// TestHistories runs seeded random lives of a session: clicks, services, faults, deaths,
// callbacks late and twice, time. Whatever happens, money that moved stays, every attempt
// has one invoice and every invoice its attempt, and revisions and events are in step.
func TestHistories(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7))
			w := newWorld()
			w.psp.fault = func(int, checkout.InvoiceRequest) fate {
				switch random.IntN(7) {
				case 0:
					return fate{err: upstreamError(500, checkout.LookUp, checkout.ErrUpstream)}
				case 1:
					return fate{made: true, err: upstreamError(502, checkout.LookUp, checkout.ErrUpstream)}
				case 2:
					return fate{made: true, wait: 40 * time.Second}
				case 3:
					return fate{late: time.Duration(random.IntN(1500)) * time.Millisecond, err: errors.New("lost")}
				case 4:
					return fate{err: upstreamError(429, checkout.Later, checkout.ErrLimited)}
				}
				return fate{made: true}
			}
			services := []*session.Service{w.service(t), w.service(t)}
			v := create(t, services[0], order("order"))
			settled, revision := false, int64(0)
			look := func() {
				now := get(t, services[0], v.ID)
				if settled && !now.Status.Settled() {
					t.Fatalf("seed %d: back from paid to %s", seed, now.Status)
				}
				if now.Revision < revision {
					t.Fatalf("seed %d: revision %d after %d", seed, now.Revision, revision)
				}
				settled, revision = now.Status.Settled(), now.Revision
			}
			var stored []checkout.Update
			for range 30 {
				s := services[random.IntN(2)]
				switch random.IntN(8) {
				case 0, 1, 2:
					p := &process{memory: w.store, upstream: w.psp, points: random.IntN(12)}
					if random.IntN(2) == 0 {
						p.points = -1
					}
					mortal := w.service(t, func(c *session.Config) { c.Store, c.PSP = p, p })
					request := []session.PayRequest{card, {Service: "coin_btc_hpp"}}[random.IntN(2)]
					live(func() { _, _ = mortal.Pay(t.Context(), v.ID, request) })
				case 3, 4:
					if refs := w.refs(); len(refs) > 0 {
						status := []string{"processing", "process_failed", "expired", "processed", "refunding", "refund_failed", "charged_back"}[random.IntN(7)]
						stored = append(stored, callback(w.psp.set(refs[random.IntN(len(refs))], status)))
					}
				case 5:
					if len(stored) > 0 {
						apply(t, s, stored[random.IntN(len(stored))])
					}
				case 6:
					time.Sleep(time.Duration(random.IntN(120)) * time.Second)
				case 7:
					w.run(t, s, time.Now().Add(time.Duration(random.IntN(600))*time.Second))
				}
				look()
			}
			w.psp.fault = nil
			w.run(t, services[0], time.Now().Add(72*time.Hour))
			apply(t, services[0], stored...)
			look()
			final := get(t, services[0], v.ID)
			for _, a := range final.Attempts {
				if a.Invoice == nil || w.psp.byRef[a.ReferenceID] == nil || a.Invoice.ID != w.psp.byRef[a.ReferenceID].ID {
					t.Errorf("seed %d: attempt %d has invoice %v, WZRDPAY %v", seed, a.Number, a.Invoice, w.psp.byRef[a.ReferenceID])
				}
			}
			if len(final.Attempts) != w.psp.count() {
				t.Errorf("seed %d: %d attempts, %d invoices: %v", seed, len(final.Attempts), w.psp.count(), w.refs())
			}
			if types := w.types(t, v.ID); len(types) != len(w.store.keys("event."+v.ID+".")) || slices.Contains(types, "creating") {
				t.Errorf("seed %d: events %v, keys %v", seed, types, w.store.keys("event."))
			}
		})
	}
}

func (w *world) refs() []string {
	w.psp.mu.Lock()
	defer w.psp.mu.Unlock()
	var refs []string
	for ref := range w.psp.byRef {
		refs = append(refs, ref)
	}
	slices.Sort(refs)
	return refs
}

// TestEvent holds the stored event against what is documented.
func TestEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		n := order("order")
		n.Metadata = checkout.JSON(`{"cart":"<7>"}`)
		v := create(t, s, n)
		if _, err := s.Pay(t.Context(), v.ID, card); err != nil {
			t.Fatal(err)
		}
		e, err := w.store.Get(t.Context(), "event."+v.ID+".1")
		if err != nil {
			t.Fatal(err)
		}
		got := string(e.Value)
		for _, want := range []string{
			`{"id":"evt_` + strings.TrimPrefix(v.ID, "cs_") + `_1","type":"session.pending","timestamp":"2000-01-01T00:00:00Z","session":"` + v.ID + `","n":1,"data":{"id":"` + v.ID + `",`,
			`"status":"pending"`, `"metadata":{"cart":"\u003c7\u003e"}}}`, `"revision":3`,
		} {
			if !strings.Contains(got, want) {
				t.Errorf("event = %s\nhas no %s", got, want)
			}
		}
		record, _ := w.store.Get(t.Context(), "session."+v.ID)
		if revision, page, err := session.Page(record.Value); err != nil || revision != 3 || !strings.HasSuffix(string(page), `"metadata":{}}`) {
			t.Errorf("Page() = %d, %s, %v", revision, page, err)
		}
	})
}

// TestRefresh_Replicas: of three replicas one asks about an invoice in 5 s; the others give
// what is stored, which is what the one heard as soon as it heard it.
func TestRefresh_Replicas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		replicas := []*session.Service{w.service(t), w.service(t), w.service(t)}
		v := paying(t, w, replicas[0], "order")
		id := get(t, replicas[0], v.ID).Invoice.ID
		refresh := func(want string) {
			t.Helper()
			for i, s := range replicas {
				if got, err := s.Refresh(t.Context(), id); err != nil || got.Status != want {
					t.Errorf("Refresh(replica %d) = %s, %v, want %s", i, got.Status, err, want)
				}
			}
		}
		asked := w.psp.asked
		for round := range 10 {
			refresh("process_pending")
			if got := w.psp.asked - asked; got != round+1 {
				t.Errorf("round %d: WZRDPAY was asked %d times, want %d", round, got, round+1)
			}
			time.Sleep(5*time.Second + time.Millisecond)
		}
		w.psp.set("order", "processed")
		refresh("processed")
		if now := get(t, replicas[2], v.ID); now.Status != checkout.StatusPaid {
			t.Errorf("status = %s, want paid", now.Status)
		}
	})
}

// meddling runs a function before the first commit that only sets a timer.
type meddling struct {
	*memory
	once func()
}

func (m *meddling) Commit(ctx context.Context, writes ...checkout.Write) ([]uint64, error) {
	if f := m.once; f != nil && len(writes) == 1 && writes[0].At != 0 {
		m.once = nil
		f()
	}
	return m.memory.Commit(ctx, writes...)
}

// TestTimer_Race: a payment begins just before the timer is set anew; its own, sooner
// moment must not be lost.
func TestTimer_Race(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		v := create(t, s, order("order"))
		store := &meddling{memory: w.store, once: func() {
			if _, err := s.Pay(t.Context(), v.ID, card); err != nil {
				t.Errorf("Pay() = %v", err)
			}
		}}
		other := w.service(t, func(c *session.Config) { c.Store = store })
		if err := other.Timer(t.Context(), "timer."+v.ID, nil); err != nil {
			t.Fatal(err)
		}
		if got, want := w.store.next(), v.CreatedAt+60; got != want {
			t.Errorf("timer at %d, want %d", got, want)
		}
	})
}

// TestApplyCallbacks_LiveMode: a body that says "test" is not money, whatever signed it.
func TestApplyCallbacks_LiveMode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.psp.pre.TestMode = false
		s := w.service(t, func(c *session.Config) { c.TestMode = false })
		v := paying(t, w, s, "order")
		time.Sleep(time.Second)
		u := callback(w.psp.set("order", "processed"))
		u.Invoice.TestMode = true
		apply(t, s, u)
		if now := get(t, s, v.ID); now.Status != checkout.StatusPending || w.tally.get("invoice callback wrong_mode") != 1 {
			t.Errorf("status = %s, want pending", now.Status)
		}
		u.Invoice.TestMode = false
		apply(t, s, u)
		if now := get(t, s, v.ID); now.Status != checkout.StatusPaid {
			t.Errorf("status = %s, want paid", now.Status)
		}
	})
}

// TestApplyCallbacks_Unreadable: a broken record does not hold up the others.
func TestApplyCallbacks_Unreadable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.service(t)
		broken, well := paying(t, w, s, "order-1"), paying(t, w, s, "order-2")
		if _, err := w.store.Commit(t.Context(), checkout.Write{Key: "session." + broken.ID, Value: []byte("{"), Any: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		apply(t, s, callback(w.psp.set("order-1", "processed")), callback(w.psp.set("order-2", "processed")))
		if now := get(t, s, well.ID); now.Status != checkout.StatusPaid {
			t.Errorf("status = %s, want paid", now.Status)
		}
		if got := w.store.keys("unclaimed."); len(got) != 1 {
			t.Errorf("unclaimed = %v, want the broken session's callback", got)
		}
	})
}

func FuzzEach(f *testing.F) {
	for _, text := range []string{
		`{}`, ` { } `, `{"a":1}`, "{ \"a\" : {\"b\":[1,\"]}\",{}]} ,\n\"c\":\"x\\\"y\\\\\", \"d\" :null , \"e\":-1.5e3}", `{"\u0061":true,"a":[]}`,
		`{"":[[[]]],"x":{"y":{}}}`, `[]`, `1`, `"{}"`, `null`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) || !utf8.Valid(raw) {
			t.Skip()
		}
		var got, want []string
		session.Each(raw, func(name string, value json.RawMessage) { got = append(got, name, string(value)) })
		d := json.NewDecoder(bytes.NewReader(raw))
		if first, err := d.Token(); err == nil && first == json.Delim('{') {
			for d.More() {
				name, err := d.Token()
				var value json.RawMessage
				if err == nil {
					err = d.Decode(&value)
				}
				if err != nil {
					t.Skip()
				}
				want = append(want, name.(string), string(value))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("Each(%q) = %q, want %q", raw, got, want)
		}
	})
}
