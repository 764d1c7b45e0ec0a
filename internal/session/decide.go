package session

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"

	"wzrdcheckout/internal/checkout"
)

// Conflict is an ErrConflict together with the session as it is and, where the shopper
// can go on, the redirect of its open invoice (nil = none).
type Conflict struct {
	Problem  *checkout.Error
	Session  checkout.Session
	Redirect *checkout.Redirect
}

// Error is the problem's text.
func (c *Conflict) Error() string { return c.Problem.Error() }

// Unwrap gives the problem, and with it kind and cause.
func (c *Conflict) Unwrap() error { return c.Problem }

// Existing gives what a problem document shows beside the error.
func (c *Conflict) Existing() (checkout.Session, *checkout.Redirect) { return c.Session, c.Redirect }

func conflict(r *record, code, detail string) *Conflict {
	return &Conflict{
		Problem: &checkout.Error{Kind: checkout.ErrConflict, Code: code, Detail: detail},
		Session: r.public(),
	}
}

// action is what Pay does next.
type action uint8

const (
	refuse action = iota // answer step.err
	replay               // answer the invoice of attempt step.number
	wait                 // somebody is making attempt step.number
	resume               // take over attempt step.number and finish it
	begin                // claim a new attempt; step.number is the first number to try
)

type step struct {
	do     action
	number int
	err    error
}

// decide tells what a wish to pay leads to. alive tells whether somebody still works on
// a claim. The order of the rules is the order in which they win:
//
//  1. An Idempotency-Key that is known gives the answer it gave.
//  2. Where money moved nothing more is paid.
//  3. An attempt under way is finished before anything else, whoever began it.
//  4. An open invoice is the answer for its service and a conflict for another.
//  5. A session that ended takes no new attempt.
func decide(r *record, p PayRequest, now int64, alive func(claim) bool) step {
	if p.IdempotencyKey != "" {
		if number, same, known := r.byKey(p); known && !same {
			return step{do: refuse, err: conflict(r, "idempotency_key_reused", "this Idempotency-Key was used with another service or other fields")}
		} else if a := r.attempt(number); known && a != nil && a.Invoice != nil {
			return step{do: replay, number: number}
		}
	}
	switch status, _ := checkout.Derive(r.Attempts, r.ExpiresAt, r.Closed, now); {
	case status.Settled():
		return step{do: refuse, err: conflict(r, "already_paid", "this session is paid")}
	case r.Claim != nil && alive(*r.Claim):
		return step{do: wait, number: r.Claim.Number}
	case r.Claim != nil:
		return step{do: resume, number: r.Claim.Number}
	}
	closed := r.Closed != 0 && now >= r.Closed
	if v := r.latest(); v != nil && v.Outcome() == checkout.StatusPending && !closed {
		a := r.Attempts[len(r.Attempts)-1]
		if a.Service == p.Service {
			return step{do: replay, number: a.Number}
		}
		c := conflict(r, "another_service", "a payment with another service is open; finish it, or wait until it ends")
		c.Redirect = v.Redirect
		return step{do: refuse, err: c}
	}
	if r.ended(now) {
		return step{do: refuse, err: conflict(r, "session_expired", "this session has ended; open a new one")}
	}
	number := r.next()
	if number > maxAttempts {
		return step{do: refuse, err: &checkout.Error{Kind: checkout.ErrLimited, Code: "too_many_attempts", Detail: "this session had too many attempts; open a new one"}}
	}
	return step{do: begin, number: number}
}

// latest is the invoice of the latest attempt; nil without one.
func (r *record) latest() *checkout.Invoice {
	if len(r.Attempts) == 0 {
		return nil
	}
	return r.Attempts[len(r.Attempts)-1].Invoice
}

// next is the number after every attempt that was made; one that was taken back is free again.
func (r *record) next() int {
	number := 1
	for _, a := range r.Attempts {
		number = max(number, a.Number+1)
	}
	for _, g := range r.Gone {
		number = max(number, g.Number+1)
	}
	return number
}

// byKey finds the attempt that an Idempotency-Key belongs to.
func (r *record) byKey(p PayRequest) (number int, same, known bool) {
	body := p.hash(r.ID)
	match := func(i idempotent, n int) bool {
		if i.Key != p.IdempotencyKey {
			return false
		}
		number, same, known = n, i.Body == body, true
		return true
	}
	if r.Claim != nil && match(r.Claim.idempotent, r.Claim.Number) {
		return number, same, known
	}
	for _, v := range r.Payments {
		if match(v.idempotent, v.Number) {
			return number, same, known
		}
	}
	for _, g := range r.Gone {
		if match(g.idempotent, g.Number) {
			return number, same, known
		}
	}
	return 0, false, false
}

// hash stands for service and fields without holding them.
func (p PayRequest) hash(sessionID string) string {
	text, err := json.Marshal([]any{sessionID, p.Service, p.Fields})
	if len(p.Fields) == 0 {
		text, err = json.Marshal([]any{sessionID, p.Service})
	}
	if err != nil { // strings always marshal
		return ""
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}

// begin puts a new attempt and its claim into the record.
func (r *record) begin(c claim, reference, service string, now int64) {
	r.Attempts = append(r.Attempts, checkout.Attempt{Number: c.Number, ReferenceID: reference, Service: service, CreatedAt: now})
	r.Claim = &c
}

// withdraw takes the claimed attempt back: WZRDPAY said that it made nothing. Its number
// is free again.
func (r *record) withdraw() {
	number := r.Claim.Number
	r.Attempts = slices.DeleteFunc(r.Attempts, func(a checkout.Attempt) bool { return a.Number == number })
	r.Claim = nil
}

// burn ends the claimed attempt without an invoice. Its number stays taken.
func (r *record) burn(reason string) {
	a := *r.attempt(r.Claim.Number)
	r.Gone = append(r.Gone, gone{
		Number: a.Number, ReferenceID: a.ReferenceID, Service: a.Service, Amount: r.Claim.Amount,
		CreatedAt: a.CreatedAt, Reason: reason, idempotent: r.Claim.idempotent,
	})
	r.withdraw()
}

// The outcomes of observe.
const (
	applied      = "applied"
	same         = "same"
	noAttempt    = "no_attempt"    // no attempt has that reference
	otherInvoice = "other_invoice" // the attempt has another invoice already
	mismatch     = "mismatch"      // amount, currency, service, mode or session differ
	wrongMode    = "wrong_mode"
)

// observe applies one observation of an invoice to the record. An invoice that the
// session does not know yet is adopted by the attempt that waits for it, and only when
// it is what that attempt asked for.
func (r *record) observe(v checkout.Invoice, source string, now int64) (outcome string) {
	if v.TestMode != r.TestMode {
		return wrongMode
	}
	a, waiting := r.place(v)
	if a == nil {
		return noAttempt
	}
	before := a.Invoice
	switch {
	case before == nil:
		if !matches(v, waiting, r) {
			return mismatch
		}
		if v.ExpiresAt == 0 && r.Claim != nil && r.Claim.Number == a.Number {
			v.ExpiresAt = r.Claim.Expires
		}
		if v.Service == "" {
			v.Service = waiting.Service
		}
		if v.ReferenceID == "" {
			v.ReferenceID = waiting.ReferenceID
		}
		a.Invoice = &v
		r.keep(v, waiting)
	case before.ID != v.ID:
		return otherInvoice
	default:
		merged := checkout.Merge(*before, v)
		if before.Redirect != nil {
			// WZRDPAY names another page in an answer to a look-up than in that to the
			// creation; every click and every tab goes where the first one went.
			merged.Redirect = before.Redirect
		}
		if checkout.Equal(merged, *before) {
			return same
		}
		a.Invoice = &merged
		p := r.payment(a.Number)
		p.TestMode, p.SessionID, p.Redirect = merged.TestMode, merged.SessionID, merged.Redirect
	}
	r.History = append(r.History, Observation{
		At: now, Source: source, Invoice: v.ID, Status: v.Status, Resolution: v.Resolution, Updated: v.Updated,
	})
	if over := len(r.History) - maxHistory; over > 0 {
		r.History = slices.Delete(r.History, 1, 1+over) // how it began stays
	}
	return applied
}

// place finds the attempt of an invoice: by its id, else by its reference. For an
// attempt without one, waiting is what it asked for; one that was gone comes back into
// the list when, and only when, the invoice is its own.
func (r *record) place(v checkout.Invoice) (a *checkout.Attempt, waiting gone) {
	for i := range r.Attempts {
		if r.Attempts[i].Invoice != nil && r.Attempts[i].Invoice.ID == v.ID {
			return &r.Attempts[i], gone{}
		}
	}
	for i := range r.Attempts {
		a := &r.Attempts[i]
		if a.ReferenceID != v.ReferenceID {
			continue
		}
		if a.Invoice == nil && r.Claim != nil {
			return a, gone{
				Number: a.Number, ReferenceID: a.ReferenceID, Service: a.Service, Amount: r.Claim.Amount,
				CreatedAt: a.CreatedAt, idempotent: r.Claim.idempotent,
			}
		}
		return a, gone{}
	}
	for _, g := range r.Gone {
		if g.ReferenceID != v.ReferenceID {
			continue
		}
		if !matches(v, g, r) {
			return &checkout.Attempt{}, g // observe says mismatch
		}
		at := slices.IndexFunc(r.Attempts, func(a checkout.Attempt) bool { return a.Number > g.Number })
		if at < 0 {
			at = len(r.Attempts)
		}
		r.Attempts = slices.Insert(r.Attempts, at, checkout.Attempt{
			Number: g.Number, ReferenceID: g.ReferenceID, Service: g.Service, CreatedAt: g.CreatedAt,
		})
		return &r.Attempts[at], g
	}
	return nil, gone{}
}

// matches tells whether an invoice is what an attempt asked for. WZRDPAY does not always
// say the service and never has to say the session; what it says must agree.
func matches(v checkout.Invoice, want gone, r *record) bool {
	return v.ID != "" && v.Amount == want.Amount && v.Currency == r.Currency && v.TestMode == r.TestMode &&
		(v.Service == "" || v.Service == want.Service) &&
		(v.ReferenceID == "" || v.ReferenceID == want.ReferenceID) &&
		(v.SessionID == "" || v.SessionID == r.ID)
}

// keep writes down the private side of an adopted invoice and ends the claim or the
// absence that it resolves.
func (r *record) keep(v checkout.Invoice, waiting gone) {
	r.adopted = append(r.adopted, v.ID)
	r.Payments = append(r.Payments, payment{
		Number: waiting.Number, TestMode: v.TestMode, SessionID: v.SessionID, Redirect: v.Redirect, idempotent: waiting.idempotent,
	})
	if r.Claim != nil && r.Claim.Number == waiting.Number {
		r.Claim = nil
	}
	r.Gone = slices.DeleteFunc(r.Gone, func(g gone) bool { return g.Number == waiting.Number })
}
