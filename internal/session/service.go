package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"wzrdcheckout/internal/checkout"
)

// tries bounds the rounds of compare-and-set on one session; with a backoff of up to
// 2^n ms that is about a second under the worst contention.
const tries = 10

// Created is the answer to Create. Token has the scope pay.
type Created struct {
	Session  checkout.Session
	Token    string
	Replayed bool // the same reference and the same body were here before
}

// Create opens a session. Its reference is claimed in the same commit, so of two that
// come at once one wins. The same request again gives the same session and a fresh
// token; another request under the same reference is a *Conflict with the existing
// session. ErrInvalid names the members that are wrong.
func (s *Service) Create(ctx context.Context, n NewSession) (Created, error) {
	now := s.now()
	n, err := n.normalise(s.rules(now))
	if err != nil {
		return Created{}, err
	}
	fingerprint, err := n.fingerprint()
	if err != nil {
		return Created{}, err
	}
	// The reference is rarely there: write first, read when it is refused.
	r := open(n, fingerprint, s.cfg.TestMode, now)
	writes, err := r.seal(now)
	if err != nil {
		return Created{}, err
	}
	reference := checkout.Write{Key: referenceKey(s.mode(), n.ReferenceID), Value: []byte(r.ID)}
	_, err = s.cfg.Store.Commit(ctx, append(writes, reference)...)
	switch {
	case errors.Is(err, checkout.ErrConflict):
		if r, err = s.existing(ctx, n.ReferenceID); err != nil {
			return Created{}, err
		}
		if r.Setup.Fingerprint != fingerprint || r.ReferenceID != n.ReferenceID {
			s.cfg.Observer.Session("conflict")
			return Created{}, conflict(r, "reference_taken", "this reference_id belongs to another session")
		}
		s.cfg.Observer.Session("replayed")
		return s.created(r, true)
	case err != nil:
		return Created{}, fmt.Errorf("store session: %w", err)
	}
	s.cfg.Observer.Session("opened")
	return s.created(r, false)
}

func (s *Service) created(r *record, replayed bool) (Created, error) {
	token, err := s.PayToken(r.Session)
	return Created{Session: r.public(), Token: token, Replayed: replayed}, err
}

// existing loads the session that holds a reference.
func (s *Service) existing(ctx context.Context, reference string) (*record, error) {
	e, err := s.cfg.Store.Fresh(ctx, referenceKey(s.mode(), reference))
	if err != nil {
		return nil, fmt.Errorf("read reference: %w", err)
	}
	return s.current(ctx, string(e.Value), true)
}

func (s *Service) rules(now int64) rules {
	return rules{testMode: s.cfg.TestMode, origins: s.cfg.Origins, now: now}
}

// Form checks the body of POST /v1/payment-form and gives what WZRDPAY's HTML form
// takes; nothing is stored and no reference is claimed.
func (s *Service) Form(n NewSession) (checkout.InvoiceRequest, error) {
	n, err := n.normalise(s.rules(s.now()))
	if err != nil {
		return checkout.InvoiceRequest{}, err
	}
	if n.Service == "" {
		return checkout.InvoiceRequest{}, checkout.Invalid(checkout.FieldError{Field: "service", Code: "required", Message: "is required"})
	}
	customer, err := n.Customer.json()
	if err != nil {
		return checkout.InvoiceRequest{}, err
	}
	return checkout.InvoiceRequest{
		ReferenceID: n.ReferenceID, Amount: n.Amount, Currency: n.Currency, Service: n.Service, Flow: n.Flow,
		TestMode: s.cfg.TestMode, Description: n.Description, Customer: customer, Metadata: n.Metadata,
		ReturnURL: n.ReturnURL, ReturnURLs: n.ReturnURLs, GatewayOptions: n.GatewayOptions, Options: n.Options,
	}, nil
}

// load reads a record; fresh = not from a cache. ErrNotFound.
func (s *Service) load(ctx context.Context, id string, fresh bool) (*record, error) {
	if !validID(id) {
		return nil, notFound("session")
	}
	read := s.cfg.Store.Get
	if fresh {
		read = s.cfg.Store.Fresh
	}
	e, err := read(ctx, sessionKey(id))
	if errors.Is(err, checkout.ErrNotFound) {
		return nil, notFound("session")
	}
	if err != nil {
		return nil, fmt.Errorf("read session: %w", err)
	}
	return decode(e, s.now())
}

func notFound(what string) error {
	return &checkout.Error{Kind: checkout.ErrNotFound, Code: what + "_not_found", Detail: "there is no such " + what}
}

// current is load, with what time alone has changed since the last write: a session
// that ended is written as ended. Where that can not be written it is shown so.
func (s *Service) current(ctx context.Context, id string, fresh bool) (*record, error) {
	r, err := s.load(ctx, id, fresh)
	if err != nil || !r.lapsed(s.now()) {
		return r, err
	}
	settled, err := s.mutate(ctx, id, func(r *record, now int64) (bool, error) { return r.lapsed(now), nil })
	if err != nil {
		s.cfg.Log.WarnContext(ctx, "session end not written", "session", id, "err", err)
		r.settle(s.now())
		return r, nil
	}
	return settled, nil
}

// Get gives a session as the merchant sees it. ErrNotFound.
func (s *Service) Get(ctx context.Context, id string) (checkout.Session, error) {
	r, err := s.current(ctx, id, false)
	if err != nil {
		return checkout.Session{}, err
	}
	return r.public(), nil
}

// FindByReference gives the session of a reference ID, that of an attempt ("order.2")
// included. ErrNotFound.
func (s *Service) FindByReference(ctx context.Context, reference string) (checkout.Session, error) {
	e, err := s.cfg.Store.Get(ctx, referenceKey(s.mode(), reference))
	if errors.Is(err, checkout.ErrNotFound) {
		return checkout.Session{}, notFound("session")
	}
	if err != nil {
		return checkout.Session{}, fmt.Errorf("read reference: %w", err)
	}
	return s.Get(ctx, string(e.Value))
}

// History gives what was heard of a session's invoices, oldest first. ErrNotFound.
func (s *Service) History(ctx context.Context, id string) ([]Observation, error) {
	r, err := s.load(ctx, id, false)
	if err != nil {
		return nil, err
	}
	return r.History, nil
}

// Return is where the merchant wants the shopper back, and the page's origin.
type Return struct {
	URL    string
	URLs   *checkout.ReturnURLs
	Origin string
}

// For gives the address for an outcome, "success", "pending" or "fail"; "" = none.
// The address of an outcome wins over the common one.
func (r Return) For(outcome string) string {
	if r.URLs != nil {
		switch {
		case outcome == "success" && r.URLs.Success != "":
			return r.URLs.Success
		case outcome == "fail" && r.URLs.Fail != "":
			return r.URLs.Fail
		case outcome == "pending" || r.URL == "":
			return r.URLs.Pending
		}
	}
	return r.URL
}

// Returns gives the merchant's own return addresses. ErrNotFound.
func (s *Service) Returns(ctx context.Context, id string) (Return, error) {
	r, err := s.load(ctx, id, false)
	if err != nil {
		return Return{}, err
	}
	return Return{URL: r.Setup.ReturnURL, URLs: r.Setup.ReturnURLs, Origin: r.Setup.Origin}, nil
}

// Patch changes amount, description or locale while no invoice is open or being made.
// *Conflict otherwise; ErrInvalid names the member; ErrNotFound.
func (s *Service) Patch(ctx context.Context, id string, p Patch) (checkout.Session, error) {
	r, err := s.mutate(ctx, id, func(r *record, now int64) (bool, error) {
		var c checker
		if p.Amount != nil {
			c.amount(*p.Amount, r.Currency)
		}
		if p.Description != nil {
			c.text("description", *p.Description, maxText)
		}
		if p.Locale != nil {
			c.locale(*p.Locale)
		}
		if err := c.err(); err != nil {
			return false, err
		}
		before := r.Session
		switch status, _ := checkout.Derive(r.Attempts, r.ExpiresAt, r.Closed, now); {
		case status.Settled():
			return false, conflict(r, "already_paid", "this session is paid")
		case status == checkout.StatusCreating || status == checkout.StatusPending:
			c := conflict(r, "invoice_open", "an invoice is open; change the session when it has ended")
			c.Problem.Retryable = status == checkout.StatusCreating
			return false, c
		case r.ended(now):
			return false, conflict(r, "session_expired", "this session has ended")
		}
		if p.Amount != nil {
			r.Amount = *p.Amount
			if _, known := checkout.CurrencyDigits(r.Currency); !known {
				r.Digits = shownDigits(r.Amount)
			}
		}
		if p.Description != nil {
			r.Description = *p.Description
		}
		if p.Locale != nil {
			r.Locale = *p.Locale
		}
		return before.Amount != r.Amount || before.Description != r.Description || before.Locale != r.Locale, nil
	})
	if err != nil {
		return checkout.Session{}, err
	}
	s.cfg.Observer.Session("patched")
	return r.public(), nil
}

// Expire ends a session for the merchant: no attempt begins any more. An invoice that is
// open is WZRDPAY's and can still be paid, so the session stays pending until it ends;
// without one the session is expired at once. Ending twice is the same as once; a paid
// session is a *Conflict.
func (s *Service) Expire(ctx context.Context, id string) (checkout.Session, error) {
	r, err := s.mutate(ctx, id, func(r *record, now int64) (bool, error) {
		if status, _ := checkout.Derive(r.Attempts, r.ExpiresAt, r.Closed, now); status.Settled() {
			return false, conflict(r, "already_paid", "this session is paid")
		}
		if r.ended(now) {
			return r.lapsed(now), nil
		}
		r.Closed = now
		return true, nil
	})
	if err != nil {
		return checkout.Session{}, err
	}
	s.cfg.Observer.Session("closed")
	return r.public(), nil
}

// Invoice gives a stored invoice and its session's id. ErrNotFound for one that is not ours.
func (s *Service) Invoice(ctx context.Context, id string) (checkout.Invoice, string, error) {
	e, err := s.cfg.Store.Get(ctx, invoiceKey(id))
	if errors.Is(err, checkout.ErrNotFound) {
		return checkout.Invoice{}, "", notFound("invoice")
	}
	if err != nil {
		return checkout.Invoice{}, "", fmt.Errorf("read invoice: %w", err)
	}
	r, err := s.load(ctx, string(e.Value), false)
	if err != nil {
		return checkout.Invoice{}, "", err
	}
	if v := r.invoice(id); v != nil {
		return *v, r.ID, nil
	}
	return checkout.Invoice{}, "", notFound("invoice")
}

func (r *record) invoice(id string) *checkout.Invoice {
	for _, a := range r.Attempts {
		if a.Invoice != nil && a.Invoice.ID == id {
			return a.Invoice
		}
	}
	return nil
}

// mutate changes one session by compare-and-set: change sees the record as it is, says
// whether it changed it, and is asked again when another was quicker. It gives the
// record as stored.
func (s *Service) mutate(ctx context.Context, id string, change func(r *record, now int64) (bool, error)) (*record, error) {
	for try := range tries {
		r, err := s.load(ctx, id, true)
		if err != nil {
			return nil, err
		}
		now := s.now()
		before := r.Status
		changed, err := change(r, now)
		if err != nil || !changed {
			return r, err
		}
		writes, err := r.seal(now)
		if err != nil {
			return nil, err
		}
		writes = append(writes, s.index(r)...)
		versions, err := s.cfg.Store.Commit(ctx, writes...)
		if err == nil {
			if r.Status == checkout.StatusExpired && before != r.Status {
				s.cfg.Observer.Session("expired")
			}
			if len(versions) > 0 {
				r.version = versions[0]
			}
			r.adopted = nil
			return r, nil
		}
		if !errors.Is(err, checkout.ErrConflict) {
			return nil, fmt.Errorf("store session: %w", err)
		}
		if err := pause(ctx, jitter(time.Millisecond<<try)); err != nil {
			return nil, err
		}
	}
	return nil, &checkout.Error{Kind: checkout.ErrUnavailable, Code: "busy", Detail: "the session changes too fast; try again", Retryable: true}
}

// index names the invoices that this change adopted, for callbacks to find the session.
func (s *Service) index(r *record) []checkout.Write {
	var writes []checkout.Write
	for _, id := range r.adopted {
		writes = append(writes, checkout.Write{Key: invoiceKey(id), Value: []byte(r.ID), Any: true})
	}
	return writes
}

// pause waits, at most until ctx is done.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return interrupted(ctx)
	}
}

func interrupted(ctx context.Context) error {
	return &checkout.Error{Kind: checkout.ErrTimeout, Code: "timeout", Detail: "no answer in time; try again", Retryable: true, Cause: ctx.Err()}
}

// jitter gives half to all of d.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1) //nolint:gosec // spreads retries; nothing secret
}
