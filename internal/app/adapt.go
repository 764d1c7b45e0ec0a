package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"wzrdcheckout/internal/broker"
	"wzrdcheckout/internal/callback"
	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/httpapi"
	"wzrdcheckout/internal/metrics"
	"wzrdcheckout/internal/ops"
	"wzrdcheckout/internal/session"
	"wzrdcheckout/internal/webhook"
	"wzrdcheckout/internal/wzrd"
	"wzrdcheckout/public"
)

// The adapters between packages that do not know one another. None decides anything.

// tokens lets push authenticate.
type tokens struct{ sessions *session.Service }

// Authenticate gives whose session a token opens.
func (t tokens) Authenticate(token string) (sessionID, scope string, expiresAt int64, err error) {
	claims, err := t.sessions.Authenticate(token)
	return claims.SessionID, string(claims.Scope), claims.ExpiresAt, err
}

// sessionKeys is where session keeps its records in the store.
const sessionKeys = "session."

// source lets push see every stored change of a session.
type source struct{ store *broker.Broker }

// Watch hands over every change; the record is decoded only when somebody listens.
func (s source) Watch(f func(sessionID string, at time.Time, read func() (int64, []byte, error))) func() {
	return s.store.Watch(sessionKeys, func(e checkout.Entry) {
		f(e.Key[len(sessionKeys):], time.Now(), func() (int64, []byte, error) {
			return session.Page(e.Value)
		})
	})
}

// Current gives the session as it is stored now.
func (s source) Current(ctx context.Context, sessionID string) (int64, []byte, error) {
	e, err := s.store.Get(ctx, sessionKeys+sessionID)
	if err != nil {
		return 0, nil, err
	}
	return session.Page(e.Value)
}

// versions let httpapi answer from memory while nothing changed.
type versions struct {
	store  *broker.Broker
	client *wzrd.Client
}

// SessionVersion is the stored version of a session.
func (v versions) SessionVersion(ctx context.Context, sessionID string) (uint64, error) {
	e, err := v.store.Get(ctx, sessionKeys+sessionID)
	return e.Version, err
}

// ServicesVersion is the version of a currency's pre-request.
func (v versions) ServicesVersion(ctx context.Context, currency string) (string, error) {
	p, err := v.client.PreRequest(ctx, currency)
	return p.Version, err
}

// receiver is the callback intake as httpapi calls it.
type receiver struct{ intake *callback.Intake }

// Receive stores a callback; nil means that it is on disk.
func (r receiver) Receive(ctx context.Context, body []byte, signature string) error {
	return r.intake.Accept(ctx, body, signature)
}

// shopper is session.Service for the browser API.
type shopper struct{ sessions *session.Service }

// Authenticate gives a token's claims.
func (s shopper) Authenticate(token string) (httpapi.Claims, error) {
	c, err := s.sessions.Authenticate(token)
	return httpapi.Claims{SessionID: c.SessionID, Scope: string(c.Scope), ExpiresAt: c.ExpiresAt}, err
}

// Token makes a token of the scope for a session.
func (s shopper) Token(ctx context.Context, sessionID, scope string) (string, error) {
	if scope == string(session.ScopeStatus) {
		return s.sessions.StatusToken(sessionID)
	}
	found, err := s.sessions.Get(ctx, sessionID)
	if err != nil {
		return "", err
	}
	return s.sessions.PayToken(found)
}

// View gives a session with the services that fit. The page does not see the merchant's metadata.
func (s shopper) View(ctx context.Context, sessionID string) (httpapi.View, error) {
	v, err := s.sessions.Checkout(ctx, sessionID)
	if err != nil {
		return httpapi.View{}, err
	}
	return httpapi.View{Session: forPage(v.Session), Services: v.Services, Methods: v.Methods, Account: v.Account, Version: v.Version}, nil
}

// forPage takes out what is the merchant's own.
func forPage(s checkout.Session) checkout.Session {
	s.Metadata = checkout.JSON("{}")
	return s
}

// Pay begins or continues the attempt.
func (s shopper) Pay(ctx context.Context, sessionID string, r httpapi.PayRequest) (httpapi.Paid, error) {
	p, err := s.sessions.Pay(ctx, sessionID, session.PayRequest{Service: r.Service, Fields: r.Fields, IdempotencyKey: r.IdempotencyKey})
	if err != nil {
		return httpapi.Paid{}, contradiction(err)
	}
	return httpapi.Paid{Session: forPage(p.Session), Redirect: p.Redirect, Replayed: p.Replayed}, nil
}

// ParsePay reads what the page sends to pay.
func (s shopper) ParsePay(body []byte) (httpapi.PayRequest, error) {
	p, err := session.ParsePay(body)
	return httpapi.PayRequest{Service: p.Service, Fields: p.Fields}, err
}

// Returns are the merchant's own return addresses.
func (s shopper) Returns(ctx context.Context, sessionID string) (httpapi.Returns, error) {
	r, err := s.sessions.Returns(ctx, sessionID)
	return httpapi.Returns{URL: r.URL, URLs: r.URLs}, err
}

// Refresh asks WZRDPAY about the open invoice, if there is one.
func (s shopper) Refresh(ctx context.Context, sessionID string) error {
	found, err := s.sessions.Get(ctx, sessionID)
	if err != nil {
		return err
	}
	if found.Invoice == nil || found.Invoice.ID == "" || found.Status != checkout.StatusPending {
		return nil
	}
	_, err = s.sessions.Refresh(ctx, found.Invoice.ID)
	return err
}

// conflict carries the session of a 409 into its problem document.
type conflict struct {
	error
	session  checkout.Session
	redirect *checkout.Redirect
}

// Existing is what httpapi looks for.
func (c conflict) Existing() (checkout.Session, *checkout.Redirect) { return c.session, c.redirect }

// Unwrap keeps the kind.
func (c conflict) Unwrap() error { return c.error }

// contradiction is a shopper's conflict; what the page must not see is taken out.
func contradiction(err error) error {
	var c *session.Conflict
	if errors.As(err, &c) {
		return conflict{err, forPage(c.Session), c.Redirect}
	}
	return err
}

// merchant is what the private plane offers.
type merchant struct {
	sessions *session.Service
	client   *wzrd.Client
	outbox   *webhook.Service
}

func (m merchant) conflict(err error) error {
	var c *session.Conflict
	if errors.As(err, &c) {
		return conflict{err, c.Session, c.Redirect}
	}
	return err
}

// Create opens a session, or finds the one that was opened by the same body.
func (m merchant) Create(ctx context.Context, body []byte) (httpapi.Created, error) {
	wanted, err := session.ParseNew(body)
	if err != nil {
		return httpapi.Created{}, err
	}
	c, err := m.sessions.Create(ctx, wanted)
	if err != nil {
		return httpapi.Created{}, m.conflict(err)
	}
	return httpapi.Created{Session: c.Session, Token: c.Token, Replayed: c.Replayed}, nil
}

// Session gives one by its id.
func (m merchant) Session(ctx context.Context, id string) (checkout.Session, error) {
	return m.sessions.Get(ctx, id)
}

// SessionByReference gives one by the merchant's reference ID.
func (m merchant) SessionByReference(ctx context.Context, reference string) (checkout.Session, error) {
	return m.sessions.FindByReference(ctx, reference)
}

// Expire ends a session.
func (m merchant) Expire(ctx context.Context, id string) (checkout.Session, error) {
	s, err := m.sessions.Expire(ctx, id)
	return s, m.conflict(err)
}

// Patch changes a session while no invoice is open.
func (m merchant) Patch(ctx context.Context, id string, body []byte) (checkout.Session, error) {
	patch, err := session.ParsePatch(body)
	if err != nil {
		return checkout.Session{}, err
	}
	s, err := m.sessions.Patch(ctx, id, patch)
	return s, m.conflict(err)
}

// Invoice gives an invoice as stored, or as WZRDPAY says now.
func (m merchant) Invoice(ctx context.Context, id string, refresh bool) (checkout.Invoice, error) {
	if refresh {
		return m.sessions.Refresh(ctx, id)
	}
	v, _, err := m.sessions.Invoice(ctx, id)
	return v, err
}

// Invoices is WZRDPAY's own list, for reconciliation.
func (m merchant) Invoices(ctx context.Context, reference, after string, limit int) ([]checkout.Invoice, string, error) {
	if reference == "" {
		return m.client.Invoices(ctx, after, limit)
	}
	v, err := m.client.InvoiceByReference(ctx, reference)
	switch {
	case errors.Is(err, checkout.ErrNotFound):
		return nil, "", nil
	case err != nil:
		return nil, "", err
	}
	return []checkout.Invoice{v}, "", nil
}

// Services lists the account's services.
func (m merchant) Services(ctx context.Context, after string, limit int) ([]checkout.AccountService, string, error) {
	return m.client.Services(ctx, after, limit)
}

// Service gives one of them by WZRDPAY's id or by its code.
func (m merchant) Service(ctx context.Context, id string) (checkout.AccountService, error) {
	return m.client.Service(ctx, id)
}

// PaymentForm gives the fields of WZRDPAY's own HTML form.
func (m merchant) PaymentForm(_ context.Context, body []byte) (httpapi.Form, error) {
	wanted, err := session.ParseForm(body)
	if err != nil {
		return httpapi.Form{}, err
	}
	request, err := m.sessions.Form(wanted)
	if err != nil {
		return httpapi.Form{}, err
	}
	action, method, fields := m.client.PaymentForm(request)
	return httpapi.Form{Action: action, Method: method, Fields: fields}, nil
}

// Events lists what was or will be sent to the webhook.
func (m merchant) Events(ctx context.Context, after string, limit int) ([]checkout.JSON, string, error) {
	list, next, err := m.outbox.Events(ctx, after, limit)
	if err != nil {
		return nil, "", err
	}
	encoded, err := encodeAll(list)
	return encoded, next, err
}

// Redeliver sends an event again.
func (m merchant) Redeliver(ctx context.Context, id string) (checkout.JSON, error) {
	if err := m.outbox.Redeliver(ctx, id); err != nil {
		return nil, err
	}
	event, err := m.outbox.Event(ctx, id)
	if err != nil {
		return nil, err
	}
	return encode(event)
}

func encodeAll[T any](list []T) ([]checkout.JSON, error) {
	encoded := make([]checkout.JSON, len(list))
	for i, one := range list {
		text, err := encode(one)
		if err != nil {
			return nil, err
		}
		encoded[i] = text
	}
	return encoded, nil
}

func encode(value any) (checkout.JSON, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	return text, nil
}

// assetList tells httpapi what public holds.
func assetList(m public.Manifest) []httpapi.Asset {
	list := make([]httpapi.Asset, len(m.Files))
	for i, f := range m.Files {
		list[i] = httpapi.Asset{
			Name: f.Name, Logical: f.Logical, ContentType: f.ContentType, Integrity: f.Integrity, Immutable: f.Immutable,
		}
	}
	return list
}

// intakeCounts gives the registry the intake's own type of outcome as a word.
type intakeCounts struct{ *metrics.Callback }

// Accepted counts a callback that was answered.
func (c intakeCounts) Accepted(outcome callback.Outcome, took time.Duration) {
	c.Callback.Accepted(string(outcome), took)
}

// history is session.Service for the operators' page.
type history struct{ *session.Service }

// ByInvoice gives the session that an invoice belongs to.
func (h history) ByInvoice(ctx context.Context, invoiceID string) (checkout.Session, error) {
	_, sessionID, err := h.Invoice(ctx, invoiceID)
	if err != nil {
		return checkout.Session{}, err
	}
	return h.Get(ctx, sessionID)
}

// History is what was heard of a session's invoices.
func (h history) History(ctx context.Context, id string) ([]ops.Observation, error) {
	list, err := h.Service.History(ctx, id)
	if err != nil {
		return nil, err
	}
	out := make([]ops.Observation, len(list))
	for i, o := range list {
		out[i] = ops.Observation(o)
	}
	return out, nil
}

// events is webhook.Service for the operators' page.
type events struct{ outbox *webhook.Service }

// SessionEvents are the webhooks of one session.
func (e events) SessionEvents(ctx context.Context, sessionID string) ([]ops.Event, error) {
	list, err := e.outbox.SessionEvents(ctx, sessionID)
	return shownEvents(list), err
}

// Dead are the webhooks that were given up.
func (e events) Dead(ctx context.Context, after string, limit int) ([]ops.Event, string, error) {
	list, next, err := e.outbox.Dead(ctx, after, limit)
	return shownEvents(list), next, err
}

// Redeliver sends one again.
func (e events) Redeliver(ctx context.Context, eventID string) error {
	return e.outbox.Redeliver(ctx, eventID)
}

func shownEvents(list []webhook.Event) []ops.Event {
	out := make([]ops.Event, len(list))
	for i, e := range list {
		out[i] = ops.Event{ID: e.ID, Type: e.Type, Timestamp: e.Timestamp, Session: e.Session, State: string(e.State)}
		if e.NextAt != nil {
			out[i].NextAt = *e.NextAt
		}
		for _, a := range e.Attempts {
			out[i].Attempts = append(out[i].Attempts, ops.Attempt(a))
		}
	}
	return out
}
