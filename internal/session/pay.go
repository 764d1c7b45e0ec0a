package session

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/fields"
)

const (
	// claimLife is how long, in seconds, a claim stands when its owner is silent. An owner
	// that lives moves its end every claimBeat; most have their invoice before the first.
	claimLife = 10
	claimBeat = 3 * time.Second
	// claimAhead: a claim that ends so many seconds later than one made now was made by a
	// clock that was wrong, ours or its owner's, and nobody waits for its end. Taking over
	// from an owner that lives is slow and safe: WZRDPAY knows a reference once.
	claimAhead = 60
	// commitTime bounds a commit that has to happen although the budget is spent.
	commitTime = 10 * time.Second
	// rounds is how often one owner asks WZRDPAY to create before it lets go.
	rounds = 3
	// An invoice lives until the session's end, at least 15 minutes and at most 47 hours:
	// inside the vendor's 14 minutes to 2 days, clocks apart (docs/server.md).
	minInvoice = 15 * 60
	maxInvoice = 47 * 3600
	maxKey     = 255
)

// Paid is the answer to Pay: where the shopper goes.
type Paid struct {
	Session  checkout.Session
	Redirect checkout.Redirect
	Replayed bool // the invoice was there before this call
}

// Pay makes the invoice of one attempt, or gives the one that is there.
//
// The service and its fields are checked (ErrInvalid, fields by key); the attempt is
// claimed on disk before WZRDPAY is called; the call and what follows it go on when the
// caller leaves. What can come back:
//
//   - ErrInvalid: wrong input, of ours or of WZRDPAY's 422. Nothing was made.
//   - *Conflict: already_paid, session_expired, another_service (with the redirect),
//     in_progress (retryable), idempotency_key_reused, reference_taken (retryable),
//     payment_failed (the new invoice failed at once).
//   - ErrTimeout outcome_unknown (retryable): the attempt stays claimed, whoever comes
//     next finishes it.
//   - ErrUnavailable upstream_busy (retryable; the cause may say when): nothing was made.
//   - ErrUpstream: WZRDPAY refused, or gave no usable redirect.
func (s *Service) Pay(ctx context.Context, id string, p PayRequest) (Paid, error) {
	if err := p.check(); err != nil {
		return Paid{}, err
	}
	w := waiter{service: s, id: id}
	defer w.stop()
	made := 0 // the attempt that this call began
	var r *record
	for try := 0; ; {
		if r == nil {
			var err error
			if r, err = s.load(ctx, id, true); err != nil {
				return Paid{}, err
			}
		}
		now := s.now()
		var err error
		switch next := decide(r, p, now, s.alive(now)); next.do {
		case refuse:
			return Paid{}, next.err
		case replay:
			if next.number != made {
				s.cfg.Observer.Attempt("replayed")
			}
			return s.answer(ctx, r, next.number, next.number != made)
		case wait:
			if err := w.wait(ctx, r); err != nil {
				return Paid{}, err
			}
			r = nil
			continue
		case resume:
			r, err = s.resume(ctx, r)
		case begin:
			if made != 0 {
				return Paid{}, conflict(r, "payment_failed", "the payment failed at once; try again or choose another way to pay")
			}
			made, r, err = s.begin(ctx, r, next.number, p)
		}
		if errors.Is(err, errStale) && try < tries {
			try++
			if err := pause(ctx, jitter(time.Millisecond<<try)); err != nil {
				return Paid{}, err
			}
			made, r = 0, nil
			continue
		}
		if err != nil {
			return Paid{}, err
		}
	}
}

// errStale: another changed the session between reading and claiming; decide anew.
var errStale = &checkout.Error{Kind: checkout.ErrUnavailable, Code: "busy", Detail: "the session changes too fast; try again", Retryable: true}

func (p PayRequest) check() error {
	var c checker
	c.note(validCode(p.Service), "service", "pattern", "is not a service code")
	c.note(len(p.Fields) <= maxFields, "fields", "length", "has too many members")
	c.note(len(p.IdempotencyKey) <= maxKey, "Idempotency-Key", "length", "may have at most 255 characters")
	return c.err()
}

// owner names one call of this process.
func (s *Service) owner() string { return s.cfg.Replica + "/" + s.boot + "/" + rand.Text() }

// alive tells whether somebody works on a claim: this process knows its own; a process
// of this replica before it is dead; any other has until the claim runs out, which it
// does soon when nobody is there to move its end.
func (s *Service) alive(now int64) func(claim) bool {
	return func(c claim) bool {
		replica, rest, _ := strings.Cut(c.Owner, "/")
		boot, _, _ := strings.Cut(rest, "/")
		switch {
		case boot == s.boot:
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.inflight[c.Owner]
		case s.cfg.Replica != "" && replica == s.cfg.Replica:
			return false
		}
		return now < c.Until && c.Until <= until(now)+claimAhead
	}
}

// hold marks a claim as worked on until the returned function is called.
func (s *Service) hold(owner string) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inflight[owner] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.inflight, owner)
	}
}

// waiter waits for changes of one session, without asking the store over and over.
type waiter struct {
	service *Service
	id      string
	changed chan struct{}
	over    <-chan time.Time
	timer   *time.Timer
	unwatch func()
}

// wait returns when the session changed or its claim ran out, and an in_progress
// *Conflict when the patience of this call is spent. The first call only begins to
// listen: the session has to be read again before its news can be waited for.
func (w *waiter) wait(ctx context.Context, r *record) error {
	s := w.service
	if w.changed == nil {
		s.cfg.Observer.Attempt("waited")
		w.changed = make(chan struct{}, 1)
		w.timer = time.NewTimer(s.cfg.Wait)
		w.over = w.timer.C
		key := sessionKey(w.id)
		w.unwatch = s.cfg.Store.Watch(key, func(e checkout.Entry) {
			if e.Key != key {
				return
			}
			select {
			case w.changed <- struct{}{}:
			default: // it is told already
			}
		})
		return nil
	}
	out := time.NewTimer(time.Duration(max(r.Claim.Until-s.now(), 0)+1) * time.Second)
	defer out.Stop()
	select {
	case <-w.changed:
		return nil
	case <-out.C:
		return nil
	case <-w.over:
		c := conflict(r, "in_progress", "this payment is being opened; try again")
		c.Problem.Retryable = true
		return c
	case <-ctx.Done():
		return interrupted(ctx)
	}
}

func (w *waiter) stop() {
	if w.changed != nil {
		w.unwatch()
		w.timer.Stop()
	}
}

// answer gives the redirect of an attempt's invoice. One that came without (by a
// callback) is asked for once more.
func (s *Service) answer(ctx context.Context, r *record, number int, replayed bool) (Paid, error) {
	v := r.attempt(number).Invoice
	if v.Redirect == nil && v.Outcome() == checkout.StatusPending {
		if _, err := s.ask(ctx, r.ID, v.ID, "lookup"); err != nil {
			return Paid{}, err
		}
		var err error
		if r, err = s.load(ctx, r.ID, true); err != nil {
			return Paid{}, err
		}
		v = r.attempt(number).Invoice
	}
	switch {
	case v.Redirect == nil && v.Outcome().Settled():
		return Paid{}, conflict(r, "already_paid", "this session is paid")
	case v.Redirect == nil:
		return Paid{}, &checkout.Error{Kind: checkout.ErrUpstream, Code: "no_redirect", Detail: "WZRDPAY gave no page to pay on"}
	}
	if err := s.safe(*v.Redirect); err != nil {
		s.cfg.Observer.Attempt("refused_redirect")
		s.cfg.Log.ErrorContext(ctx, "redirect refused", "session", r.ID, "invoice", v.ID, "err", err)
		return Paid{}, err
	}
	return Paid{Session: r.public(), Redirect: *v.Redirect, Replayed: replayed}, nil
}

// safe holds a redirect against the rules: GET or POST, https, with test keys http on a
// loopback host too, and only hosts of the list where there is one.
func (s *Service) safe(to checkout.Redirect) error {
	refused := func(why string) error {
		return &checkout.Error{Kind: checkout.ErrUpstream, Code: "redirect_refused", Detail: "the provider's address " + why}
	}
	u, err := url.Parse(to.URL)
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil:
		return refused("is not an absolute URL")
	case to.Method != "GET" && to.Method != "POST":
		return refused("wants a method that is neither GET nor POST")
	case u.Scheme != "https" && (u.Scheme != "http" || !s.cfg.TestMode || !loopback(u.Hostname())):
		return refused("is not https")
	case len(s.cfg.RedirectHosts) > 0 && !slices.Contains(s.cfg.RedirectHosts, strings.ToLower(u.Hostname())):
		return refused("is on a host that is not allowed")
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// begin claims a new attempt and makes its invoice. It gives the attempt's number.
func (s *Service) begin(ctx context.Context, r *record, number int, p PayRequest) (int, *record, error) {
	values, err := s.checked(ctx, r, p)
	if err != nil {
		return 0, nil, err
	}
	number, reference, claimed, err := s.free(ctx, r, number)
	if err != nil {
		return 0, nil, err
	}
	owner := s.owner()
	defer s.hold(owner)()
	now := s.now()
	c := claim{
		Owner: owner, Until: until(now), Number: number, Amount: r.Amount, Fields: values, Expires: expires(r, now),
	}
	if p.IdempotencyKey != "" {
		c.idempotent = idempotent{Key: p.IdempotencyKey, Body: p.hash(r.ID)}
	}
	r.begin(c, reference, p.Service, now)
	if err := s.claim(ctx, r, now, claimed...); err != nil {
		return 0, nil, err
	}
	s.cfg.Observer.Attempt("claimed")
	r, err = s.finish(ctx, r, owner, false)
	return number, r, err
}

// claim commits a record with a claim in it; errStale when another was quicker.
func (s *Service) claim(ctx context.Context, r *record, now int64, more ...checkout.Write) error {
	writes, err := r.seal(now)
	if err != nil {
		return err
	}
	versions, err := s.cfg.Store.Commit(ctx, append(writes, more...)...)
	switch {
	case errors.Is(err, checkout.ErrConflict):
		return errStale
	case err != nil:
		return fmt.Errorf("claim attempt: %w", err)
	case len(versions) > 0:
		r.version = versions[0]
	}
	return nil
}

func until(now int64) int64 { return now + claimLife }

// renew keeps an owner's claim standing until stop is called.
func (s *Service) renew(parent context.Context, id, owner string) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for mine := true; mine && pause(ctx, claimBeat) == nil; {
			call, end := context.WithTimeout(ctx, commitTime)
			_, err := s.mutate(call, id, func(r *record, now int64) (bool, error) {
				if mine = r.Claim != nil && r.Claim.Owner == owner; mine {
					c := *r.Claim
					c.Until = until(now)
					r.Claim = &c
				}
				return mine, nil
			})
			end()
			if err != nil && ctx.Err() == nil {
				s.cfg.Log.WarnContext(ctx, "claim not renewed", "session", id, "err", err)
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func expires(r *record, now int64) int64 {
	return min(max(r.ExpiresAt, now+minInvoice), now+maxInvoice)
}

// checked gives the normalised fields; the service has to be one that fits.
func (s *Service) checked(ctx context.Context, r *record, p PayRequest) (map[string]string, error) {
	pre, err := s.preRequest(ctx, r.Currency)
	if err != nil {
		return nil, err
	}
	services, _ := fit(r, pre)
	i := slices.IndexFunc(services, func(v checkout.Service) bool { return v.Code == p.Service })
	if i < 0 {
		return nil, checkout.Invalid(checkout.FieldError{Field: "service", Code: "unavailable", Message: "This way to pay is not available."})
	}
	values, wrong := fields.Check(services[i], p.Fields, s.cfg.Matcher)
	if len(wrong) > 0 {
		return nil, checkout.Invalid(wrong...)
	}
	return values, nil
}

// free gives the first number from the given one whose reference no other session has,
// and the write that takes it. Attempt 1 has the session's own, taken at Create.
func (s *Service) free(ctx context.Context, r *record, number int) (int, string, []checkout.Write, error) {
	for ; number <= maxAttempts; number++ {
		if number == 1 {
			return 1, r.ReferenceID, nil, nil
		}
		reference := r.ReferenceID + "." + strconv.Itoa(number)
		key := referenceKey(s.mode(), reference)
		e, err := s.cfg.Store.Fresh(ctx, key)
		switch {
		case errors.Is(err, checkout.ErrNotFound):
			return number, reference, []checkout.Write{{Key: key, Value: []byte(r.ID)}}, nil
		case err != nil:
			return 0, "", nil, fmt.Errorf("read reference: %w", err)
		case string(e.Value) == r.ID: // of an attempt that was taken back
			return number, reference, nil, nil
		}
	}
	return 0, "", nil, &checkout.Error{Kind: checkout.ErrLimited, Code: "too_many_attempts", Detail: "this session had too many attempts; open a new one"}
}

// resume takes over a claim that nobody works on and finishes it. Its owner may have
// called WZRDPAY, so its outcome counts as unknown.
func (s *Service) resume(ctx context.Context, r *record) (*record, error) {
	owner := s.owner()
	defer s.hold(owner)()
	now := s.now()
	c := *r.Claim
	c.Owner, c.Until, c.Unknown, c.Expires = owner, until(now), true, max(c.Expires, expires(r, now))
	r.Claim = &c
	if err := s.claim(ctx, r, now); err != nil {
		return nil, err
	}
	s.cfg.Observer.Attempt("recovered")
	s.cfg.Log.InfoContext(ctx, "attempt taken over", "session", r.ID, "reference_id", r.attempt(c.Number).ReferenceID, "service", r.attempt(c.Number).Service)
	return s.finish(ctx, r, owner, true)
}

// finish brings a claimed attempt to its end: an invoice, nothing, or "unknown". It goes
// on when the caller leaves. The record it gives is as stored.
//
//	create → made            adopt
//	       → not made        take back (burn, when an earlier outcome is unknown)
//	       → later           take back (keep, when an earlier outcome is unknown)
//	       → unknown, there  look up → found      compare, adopt or burn
//	                                 → not found  create again, same reference
//	                                 → no answer  keep
//
// To keep is to leave the claim, marked unknown, to whoever comes next. A taken attempt
// begins with the look-up, and is not created any more when the session has ended.
func (s *Service) finish(parent context.Context, r *record, owner string, taken bool) (*record, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(parent), s.cfg.Budget)
	defer cancel()
	c, a := *r.Claim, *r.attempt(r.Claim.Number)
	request, err := s.request(r, a, c)
	if err != nil {
		return nil, err
	}
	defer s.renew(parent, r.ID, owner)()
	var last error
	unknown, there := taken, false
	badRequests := 0
	for round := 0; ; round++ {
		if unknown {
			v, err := s.lookUp(ctx, a.ReferenceID, there)
			switch {
			case err == nil:
				return s.adopt(ctx, r.ID, owner, v, "lookup", taken)
			case !errors.Is(err, checkout.ErrNotFound):
				return s.keepUnknown(ctx, r.ID, owner, err)
			case taken && r.ended(s.now()):
				return s.drop(ctx, r.ID, owner, "session_ended", nil)
			case badRequests == rounds:
				// A bad request whose invoice is not there failed (docs/wzrdpay-codes.md, 400).
				return s.drop(ctx, r.ID, owner, "bad_request", definite(taken, refusal(last)))
			}
		}
		if round == rounds {
			return s.keepUnknown(ctx, r.ID, owner, last)
		}
		v, err := s.cfg.PSP.CreateInvoice(ctx, request)
		if err == nil {
			if v.ReferenceID == "" {
				v.ReferenceID = a.ReferenceID
			}
			return s.adopt(ctx, r.ID, owner, v, "create", taken)
		}
		last = err
		s.cfg.Log.WarnContext(ctx, "invoice not created", "session", r.ID, "reference_id", a.ReferenceID, "service", a.Service, "err", err)
		switch why, status := directive(err); {
		case why == checkout.NotCreated && !unknown:
			return s.takeBack(ctx, r.ID, owner, refusal(err))
		case why == checkout.Later && !unknown:
			return s.takeBack(ctx, r.ID, owner, busy(err))
		case why == checkout.NotCreated && errors.Is(refusal(err), checkout.ErrInvalid):
			return s.drop(ctx, r.ID, owner, "refused", definite(taken, refusal(err)))
		case why == checkout.NotCreated:
			return s.keepFor(ctx, r.ID, owner, refusal(err))
		case why == checkout.Later:
			return s.keepFor(ctx, r.ID, owner, busy(err))
		default:
			if status == 400 {
				badRequests++
			}
			unknown, there = true, why == checkout.AlreadyThere
		}
		if pause(ctx, jitter(200*time.Millisecond<<round)) != nil {
			return s.keepUnknown(ctx, r.ID, owner, last)
		}
	}
}

// definite: of an attempt that was taken over, a stranger's refusal is not the answer to
// this shopper, who goes on with the next attempt.
func definite(taken bool, err error) error {
	if taken {
		return nil
	}
	return err
}

// request is what WZRDPAY is asked to make. It is the same for every try of an attempt.
func (s *Service) request(r *record, a checkout.Attempt, c claim) (checkout.InvoiceRequest, error) {
	customer, err := r.Setup.Customer.json()
	if err != nil {
		return checkout.InvoiceRequest{}, err
	}
	metadata, err := tagged(r.Metadata, r.ID)
	if err != nil {
		return checkout.InvoiceRequest{}, err
	}
	token, err := s.StatusToken(r.ID)
	if err != nil {
		return checkout.InvoiceRequest{}, err
	}
	urls := s.cfg.ReturnURLs(r.ID, token)
	return checkout.InvoiceRequest{
		ReferenceID: a.ReferenceID, Amount: c.Amount, Currency: r.Currency, Service: a.Service, ServiceFields: c.Fields,
		Flow: r.Flow, TestMode: r.TestMode, Description: r.Description, Customer: customer, Metadata: metadata,
		ReturnURLs: &urls, CallbackURL: s.cfg.CallbackURL,
		GatewayOptions: r.Setup.GatewayOptions, Options: r.Setup.Options, Expires: c.Expires,
	}, nil
}

// tagged is the merchant's metadata with our session id, which wins.
func tagged(metadata checkout.JSON, id string) (checkout.JSON, error) {
	all := map[string]json.RawMessage{}
	if len(metadata) > 0 {
		if err := json.Unmarshal(metadata, &all); err != nil {
			return nil, fmt.Errorf("read metadata: %w", err)
		}
	}
	all["session_id"] = quote(id)
	text, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("encode metadata: %w", err)
	}
	return text, nil
}

func (c *Customer) json() (checkout.JSON, error) {
	if c == nil {
		return nil, nil
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode customer: %w", err)
	}
	return text, nil
}

// directive of an error of CreateInvoice. One that says nothing leaves all open.
func directive(err error) (d checkout.Directive, status int) {
	var up *checkout.UpstreamError
	switch {
	case errors.As(err, &up) && up.Directive != 0:
		return up.Directive, up.Status
	case errors.Is(err, checkout.ErrInvalid):
		return checkout.NotCreated, 0
	}
	return checkout.LookUp, 0
}

// refusal is the answer to a definite no: WZRDPAY's 422 is ours, with its fields; the
// rest is between the merchant and WZRDPAY.
func refusal(err error) error {
	var up *checkout.UpstreamError
	if errors.As(err, &up) && (up.Status == 422 || len(up.Fields) > 0) {
		return &checkout.Error{Kind: checkout.ErrInvalid, Code: "refused", Detail: "WZRDPAY refused the payment's data", Fields: up.Fields, Cause: err}
	}
	if errors.Is(err, checkout.ErrInvalid) {
		return err
	}
	return &checkout.Error{Kind: checkout.ErrUpstream, Code: "upstream_refused", Detail: "WZRDPAY refused to open the payment", Cause: err}
}

func busy(err error) error {
	return &checkout.Error{Kind: checkout.ErrUnavailable, Code: "upstream_busy", Detail: "WZRDPAY takes no more payments now; try again", Retryable: true, Cause: err}
}

// lookUp finds the invoice of a reference. there: WZRDPAY said that it exists, so "not
// found" is a matter of moments too.
func (s *Service) lookUp(ctx context.Context, reference string, there bool) (checkout.Invoice, error) {
	for try := 0; ; try++ {
		v, err := s.cfg.PSP.InvoiceByReference(ctx, reference)
		switch {
		case err == nil && v.ReferenceID != "" && v.ReferenceID != reference:
			return v, &checkout.Error{Kind: checkout.ErrUpstream, Code: "wrong_reference", Detail: "WZRDPAY answered with an invoice of another reference"}
		case err == nil:
			v.ReferenceID = reference
			return v, nil
		case errors.Is(err, checkout.ErrNotFound) && !there, try == 3:
			if there && errors.Is(err, checkout.ErrNotFound) {
				return v, &checkout.Error{Kind: checkout.ErrUpstream, Code: "not_visible", Detail: "WZRDPAY has the invoice and does not show it yet"}
			}
			return v, err
		}
		if err := pause(ctx, jitter(250*time.Millisecond<<try)); err != nil {
			return v, err
		}
	}
}

// adopt joins the invoice to its attempt, in whatever state the session is by now. One
// that is not what the attempt asked for burns the attempt.
func (s *Service) adopt(ctx context.Context, id, owner string, v checkout.Invoice, source string, taken bool) (*record, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTime)
	defer cancel()
	var outcome string
	r, err := s.mutate(ctx, id, func(r *record, now int64) (bool, error) {
		outcome = r.observe(v, source, now)
		if outcome == applied || outcome == same {
			return outcome == applied, nil
		}
		mine := r.Claim != nil && r.Claim.Owner == owner
		if mine {
			r.burn(outcome)
		}
		return mine, nil
	})
	if err != nil {
		return nil, err
	}
	s.cfg.Observer.Invoice(source, outcome)
	switch outcome {
	case applied, same:
		s.cfg.Observer.Attempt(map[bool]string{true: "created", false: "adopted"}[source == "create"])
		return r, nil
	default:
		s.cfg.Observer.Attempt("burnt")
		s.cfg.Log.ErrorContext(ctx, "reference holds another invoice", "session", id, "invoice", v.ID, "reference_id", v.ReferenceID, "reason", outcome)
		if taken {
			return r, nil
		}
		c := conflict(r, "reference_taken", "WZRDPAY has another invoice under this attempt's reference; try again")
		c.Problem.Retryable = true
		return nil, c
	}
}

// release changes the record if the claim is still the owner's. The answer to the
// shopper does not wait for a store that fails: the claim then runs out by itself.
func (s *Service) release(ctx context.Context, id, owner, outcome string, change func(r *record, now int64)) *record {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTime)
	defer cancel()
	mine := false
	r, err := s.mutate(ctx, id, func(r *record, now int64) (bool, error) {
		mine = r.Claim != nil && r.Claim.Owner == owner
		if mine {
			change(r, now)
		}
		return mine, nil
	})
	if err != nil {
		s.cfg.Log.ErrorContext(ctx, "claim not released", "session", id, "err", err)
		return nil
	}
	if mine {
		s.cfg.Observer.Attempt(outcome)
	}
	return r
}

// takeBack ends the attempt as if it had never been.
func (s *Service) takeBack(ctx context.Context, id, owner string, cause error) (*record, error) {
	return s.release(ctx, id, owner, "withdrawn", func(r *record, _ int64) { r.withdraw() }), cause
}

// drop burns the attempt; without a cause the caller goes on.
func (s *Service) drop(ctx context.Context, id, owner, reason string, cause error) (*record, error) {
	r := s.release(ctx, id, owner, "burnt", func(r *record, _ int64) { r.burn(reason) })
	if r == nil && cause == nil {
		cause = errStale
	}
	return r, cause
}

// again is when the timer tries an unfinished attempt, seconds after it was let go.
var again = []int64{5, 15, 60, 300, 900}

// keepFor leaves the claim, marked unknown, to whoever comes next.
func (s *Service) keepFor(ctx context.Context, id, owner string, cause error) (*record, error) {
	r := s.release(ctx, id, owner, "unknown", func(r *record, now int64) {
		c := *r.Claim
		c.Unknown, c.Until, c.Again = true, now, now+again[min(c.Tries, len(again)-1)]
		c.Tries++
		r.Claim = &c
	})
	return r, cause
}

func (s *Service) keepUnknown(ctx context.Context, id, owner string, cause error) (*record, error) {
	return s.keepFor(ctx, id, owner, &checkout.Error{
		Kind: checkout.ErrTimeout, Code: "outcome_unknown", Retryable: true, Cause: cause,
		Detail: "WZRDPAY did not say whether the payment was opened; try again, it will not be opened twice",
	})
}
