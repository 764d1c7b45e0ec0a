package session

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"wzrdcheckout/internal/checkout"
)

const (
	// chunk bounds a commit, in sessions: at most four writes each, and seldom more than
	// two. A commit costs the disk about six syncs, however much is in it.
	chunk = 200
	// pace is the shortest time between two questions about one invoice, of all replicas.
	pace = 5 * time.Second
	// askTime bounds one question.
	askTime = 10 * time.Second
	// maxAsked bounds the memory of questions.
	maxAsked = 10_000
	// unclaimedTTL is how long a callback that changed no session waits for an operator, in
	// seconds, counted from the last time that it came.
	unclaimedTTL = 90 * 86400
)

// group is the updates of one batch that belong to one session.
type group struct {
	id      string
	record  *record // as it was read to find the session; nil = not read
	updates []checkout.Update
}

// plan is what a batch would write, and what is to be done once it is written.
type plan struct {
	writes   map[string]checkout.Write
	order    []string
	outcomes []string
	rereads  []reread
}

func (p *plan) add(w checkout.Write) {
	if _, ok := p.writes[w.Key]; !ok {
		p.order = append(p.order, w.Key)
	}
	p.writes[w.Key] = w // of two for one key the later is the news
}

func (p *plan) list() []checkout.Write {
	list := make([]checkout.Write, 0, len(p.order))
	for _, key := range p.order {
		list = append(list, p.writes[key])
	}
	return list
}

// ApplyCallbacks applies stored callbacks in as few commits as they need; the cursor,
// unless its key is "", goes with the last of them. Any of it may come again: what
// changed nothing is not written. A callback that belongs to no session, or that
// contradicts the attempt it names, is kept under "unclaimed." for the operator.
// ErrConflict means that the cursor moved on without us; other errors, that the store
// failed and the batch is to be given again.
func (s *Service) ApplyCallbacks(ctx context.Context, updates []checkout.Update, cursor checkout.Write) error {
	groups, err := s.sort(ctx, updates)
	if err != nil {
		return err
	}
	for len(groups) > chunk {
		if err := s.apply(ctx, groups[:chunk], checkout.Write{}); err != nil {
			return err
		}
		groups = groups[chunk:]
	}
	return s.apply(ctx, groups, cursor)
}

// sort puts the updates into groups by session; id "" is for those that have none.
func (s *Service) sort(ctx context.Context, updates []checkout.Update) ([]group, error) {
	var groups []group
	at := map[string]int{}
	for _, u := range updates {
		id := ""
		var r *record
		if u.Problem == "" && u.Mode == s.mode() {
			var err error
			// The test key signs nothing live, whether the body says so or not. The
			// other way round a body that says "test" is not taken for money.
			u.Invoice.TestMode = u.Invoice.TestMode || s.cfg.TestMode
			if i, ok := at[u.Invoice.SessionID]; ok && u.Invoice.SessionID != "" && groups[i].record.has(u.Invoice.ID) {
				id = u.Invoice.SessionID
			} else if r = s.named(ctx, u.Invoice); r != nil {
				id = r.ID
			} else if id, err = s.find(ctx, u.Invoice); err != nil {
				return nil, err
			}
		}
		i, ok := at[id]
		if !ok || id == "" && len(groups[i].updates) == chunk {
			i = len(groups)
			at[id] = i
			groups = append(groups, group{id: id, record: r})
		}
		groups[i].updates = append(groups[i].updates, u)
	}
	return groups, nil
}

// named gives the session that an invoice names, when that session knows the invoice;
// nil when not. Its index was written with it and can say nothing else, so that most
// callbacks need no question to the store at all.
func (s *Service) named(ctx context.Context, v checkout.Invoice) *record {
	if !validID(v.SessionID) || v.ID == "" {
		return nil
	}
	r, err := s.load(ctx, v.SessionID, false)
	if err != nil || !r.has(v.ID) {
		return nil
	}
	return r
}

// has tells whether an invoice is one of the session's.
func (r *record) has(id string) bool { return r != nil && r.invoice(id) != nil }

// find gives the session of an invoice: by its id, by the session it names, by its
// reference. "" = none. A cache that lags must not lose a callback, so "none" is
// asked of the store itself.
func (s *Service) find(ctx context.Context, v checkout.Invoice) (string, error) {
	for _, read := range []func(context.Context, string) (checkout.Entry, error){s.cfg.Store.Get, s.cfg.Store.Fresh} {
		for _, key := range []string{invoiceKey(v.ID), sessionKey(v.SessionID), referenceKey(s.mode(), v.ReferenceID)} {
			if key == sessionKey(v.SessionID) && !validID(v.SessionID) || v.ReferenceID == "" && key == referenceKey(s.mode(), "") {
				continue
			}
			e, err := read(ctx, key)
			switch {
			case err == nil && key == sessionKey(v.SessionID):
				return v.SessionID, nil
			case err == nil:
				return string(e.Value), nil
			case !errors.Is(err, checkout.ErrNotFound):
				return "", fmt.Errorf("find session: %w", err)
			}
		}
	}
	return "", nil
}

// apply writes groups in one commit. When another was quicker it is planned again from
// what is stored; when that goes on, session by session, the cursor last.
func (s *Service) apply(ctx context.Context, groups []group, cursor checkout.Write) error {
	for try := range 3 {
		err := s.commit(ctx, groups, cursor, try > 0)
		if errors.Is(err, checkout.ErrTooLarge) && len(groups) > 1 {
			// Many that no session wants are a write each.
			half := len(groups) / 2
			if err := s.apply(ctx, groups[:half], checkout.Write{}); err != nil {
				return err
			}
			return s.apply(ctx, groups[half:], cursor)
		}
		if !errors.Is(err, checkout.ErrConflict) {
			return err
		}
	}
	for _, g := range groups {
		if err := s.applyOne(ctx, g); err != nil {
			return err
		}
	}
	return s.commit(ctx, nil, cursor, true)
}

func (s *Service) applyOne(ctx context.Context, g group) error {
	for try := range tries {
		err := s.commit(ctx, []group{g}, checkout.Write{}, true)
		if !errors.Is(err, checkout.ErrConflict) {
			return err
		}
		if err := pause(ctx, jitter(time.Millisecond<<try)); err != nil {
			return err
		}
	}
	return errStale
}

func (s *Service) commit(ctx context.Context, groups []group, cursor checkout.Write, fresh bool) error {
	p := plan{writes: map[string]checkout.Write{}}
	for i, g := range groups {
		groups[i].record = nil // planning changes it, so it serves once
		if err := s.plan(ctx, g, fresh, &p); err != nil {
			return err
		}
	}
	if cursor.Key != "" {
		p.add(cursor)
	}
	if len(p.order) > 0 {
		if _, err := s.cfg.Store.Commit(ctx, p.list()...); err != nil {
			return fmt.Errorf("apply callbacks: %w", err)
		}
	}
	for _, outcome := range p.outcomes {
		s.cfg.Observer.Invoice("callback", outcome)
	}
	for _, job := range p.rereads {
		select {
		case s.rereads <- job:
		default: // the session's timer does it
		}
	}
	return nil
}

// plan applies one group's updates to its session.
func (s *Service) plan(ctx context.Context, g group, fresh bool, p *plan) error {
	if g.id == "" {
		for _, u := range g.updates {
			reason := "no_session"
			switch {
			case u.Problem != "":
				reason = "no_invoice"
			case u.Mode != s.mode():
				reason = wrongMode
			}
			s.unclaimed(ctx, p, u, "", reason)
		}
		return nil
	}
	r, err := g.record, error(nil)
	if fresh || r == nil {
		r, err = s.load(ctx, g.id, fresh)
	}
	// An index without its session, or a record that can not be read, is not by our
	// commits; it must not hold up the callbacks behind it.
	if unreadable := errors.Is(err, errUnreadable); unreadable || errors.Is(err, checkout.ErrNotFound) && fresh {
		if unreadable {
			s.cfg.Log.ErrorContext(ctx, "session unreadable", "session", g.id, "err", err)
		}
		for _, u := range g.updates {
			s.unclaimed(ctx, p, u, g.id, "no_session")
		}
		return nil
	}
	if err != nil && !errors.Is(err, checkout.ErrNotFound) {
		return err
	}
	if err != nil {
		return s.plan(ctx, g, true, p)
	}
	now := s.now()
	changed := false
	outcomes := make([]string, len(g.updates))
	var jobs []reread
	for i, u := range g.updates {
		outcomes[i] = r.observe(u.Invoice, "callback", now)
		if outcomes[i] != applied && outcomes[i] != same && !fresh {
			return s.plan(ctx, g, true, p) // the cache may not know the attempt yet
		}
		if outcomes[i] != applied {
			continue
		}
		changed = true
		if v := r.invoice(u.Invoice.ID); s.cfg.ReRead && v.Final() {
			r.Reread = now + soon
			jobs = append(jobs, reread{session: r.ID, invoice: v.ID})
		}
	}
	for i, u := range g.updates {
		switch outcomes[i] {
		case applied, same:
			p.outcomes = append(p.outcomes, outcomes[i])
			if !checkout.KnownStatus(u.Invoice.Status) {
				s.unknownStatus(ctx, p, r.ID, u.Invoice)
			}
		default:
			s.unclaimed(ctx, p, u, r.ID, outcomes[i])
		}
	}
	if !changed {
		return nil
	}
	writes, err := r.seal(now)
	if err != nil {
		return err
	}
	for _, w := range append(writes, s.index(r)...) {
		p.add(w)
	}
	p.rereads = append(p.rereads, jobs...)
	return nil
}

func (s *Service) unknownStatus(ctx context.Context, p *plan, id string, v checkout.Invoice) {
	p.outcomes = append(p.outcomes, "unknown_status")
	s.cfg.Log.WarnContext(ctx, "unknown invoice status", "session", id, "invoice", v.ID, "status", clip(v.Status))
}

// unclaimed keeps a callback that changes no session.
func (s *Service) unclaimed(ctx context.Context, p *plan, u checkout.Update, id, reason string) {
	key := "unclaimed." + word(u.Invoice.ID)
	if u.Invoice.ID == "" {
		sum := sha256.Sum256(u.Raw)
		key = "unclaimed.h_" + base64.RawURLEncoding.EncodeToString(sum[:])
	}
	v := struct {
		Reason     string `json:"reason"`
		Problem    string `json:"problem,omitempty"`
		Session    string `json:"session,omitempty"`
		Mode       string `json:"mode"`
		ReceivedAt int64  `json:"received_at"`
		Raw        string `json:"raw,omitempty"`
		RawBytes   []byte `json:"raw_base64,omitempty"` // when it is no text
	}{Reason: reason, Problem: u.Problem, Session: id, Mode: u.Mode, ReceivedAt: u.ReceivedAt}
	if utf8.Valid(u.Raw) {
		v.Raw = string(u.Raw)
	} else {
		v.RawBytes = u.Raw
	}
	value, err := json.Marshal(v)
	if err != nil { // strings and numbers always marshal
		s.cfg.Log.ErrorContext(ctx, "unclaimed callback not kept", "invoice", u.Invoice.ID, "err", err)
		return
	}
	p.add(checkout.Write{Key: key, Value: value, Any: true, TTL: unclaimedTTL})
	p.outcomes = append(p.outcomes, reason)
	s.cfg.Log.WarnContext(ctx, "callback unclaimed", "session", id, "invoice", u.Invoice.ID, "reference_id", u.Invoice.ReferenceID, "reason", reason)
}

// question is one call to WZRDPAY about an invoice, shared by all who want to know.
type question struct {
	at   time.Time
	done chan struct{}
	v    checkout.Invoice
	err  error
}

// Refresh asks WZRDPAY about an invoice, joins the answer to its session and gives the
// invoice as it is then. One question per invoice goes out in 5 s, whichever replica it is
// asked of; who asks sooner gets what is stored, and what the question changes is pushed.
// An invoice that belongs to no session is answered as WZRDPAY has it, and only this
// replica's questions are held back. ErrNotFound when WZRDPAY does not know it either.
func (s *Service) Refresh(ctx context.Context, id string) (checkout.Invoice, error) {
	_, session, err := s.Invoice(ctx, id)
	if err != nil && !errors.Is(err, checkout.ErrNotFound) {
		return checkout.Invoice{}, err
	}
	v, err := s.ask(ctx, session, id, "refresh")
	if err != nil || session == "" {
		return v, err
	}
	r, err := s.load(ctx, session, true)
	if err != nil {
		return checkout.Invoice{}, err
	}
	if stored := r.invoice(id); stored != nil {
		return *stored, nil
	}
	return v, nil
}

// turn takes the right to ask WZRDPAY about an invoice for the next 5 s: a key that is
// there so long, whoever made it.
func (s *Service) turn(ctx context.Context, id string) (bool, error) {
	_, err := s.cfg.Store.Commit(ctx, checkout.Write{Key: "asked." + word(id), Value: []byte("1"), TTL: int64(pace / time.Second)})
	if errors.Is(err, checkout.ErrConflict) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("take turn to ask: %w", err)
	}
	return true, nil
}

// stored gives an invoice as its session has it.
func (s *Service) stored(ctx context.Context, session, id string) (checkout.Invoice, error) {
	r, err := s.load(ctx, session, true)
	if err != nil {
		return checkout.Invoice{}, err
	}
	if v := r.invoice(id); v != nil {
		return *v, nil
	}
	return checkout.Invoice{}, notFound("invoice")
}

// ask asks about an invoice, or joins a question of the last 5 s, and applies the answer.
// Where another replica has just asked it gives what is stored.
func (s *Service) ask(ctx context.Context, session, id, source string) (checkout.Invoice, error) {
	now := s.cfg.Now()
	s.mu.Lock()
	q, ok := s.asked[id]
	if ok && now.Sub(q.at) < pace {
		s.mu.Unlock()
		select {
		case <-q.done:
			return q.v, q.err
		case <-ctx.Done():
			return checkout.Invoice{}, interrupted(ctx)
		}
	}
	if len(s.asked) >= maxAsked {
		for old, v := range s.asked {
			if now.Sub(v.at) >= pace {
				delete(s.asked, old)
			}
		}
	}
	q = &question{at: now, done: make(chan struct{}), err: errUnanswered}
	s.asked[id] = q
	s.mu.Unlock()
	defer close(q.done)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
	defer cancel()
	if session != "" {
		if first, err := s.turn(ctx, id); err != nil || !first {
			if err == nil {
				q.v, err = s.stored(ctx, session, id)
			}
			q.err = err
			return q.v, err
		}
	}
	v, err := s.cfg.PSP.Invoice(ctx, id)
	if err == nil && v.ID != id {
		err = &checkout.Error{Kind: checkout.ErrUpstream, Code: "wrong_invoice", Detail: "WZRDPAY answered with another invoice"}
	}
	if err == nil && session != "" {
		err = s.join(ctx, session, v, source)
	}
	q.v, q.err = v, err
	return v, err
}

// errUnanswered is what others get when the one who asked was cut off.
var errUnanswered = &checkout.Error{Kind: checkout.ErrUnavailable, Code: "unanswered", Detail: "the question was cut off; try again", Retryable: true}

// join applies an answer of WZRDPAY's to a session. An answer that contradicts what is
// stored is merged as any other, logged and counted.
func (s *Service) join(ctx context.Context, session string, v checkout.Invoice, source string) error {
	var outcome string
	var stored checkout.Invoice
	_, err := s.mutate(ctx, session, func(r *record, now int64) (bool, error) {
		if before := r.invoice(v.ID); before != nil {
			stored = *before
		}
		outcome = r.observe(v, source, now)
		changed := outcome == applied
		if r.Reread != 0 && source == "reread" {
			r.Reread, changed = 0, true
		}
		return changed, nil
	})
	if err != nil {
		return err
	}
	s.cfg.Observer.Invoice(source, outcome)
	switch {
	case outcome != applied && outcome != same:
		s.cfg.Log.ErrorContext(ctx, "answer does not fit the session", "session", session, "invoice", v.ID, "reason", outcome)
	case stored.ID != "" && stored.Final() && stored.Outcome() != v.Outcome():
		s.cfg.Observer.Invoice(source, "contradiction")
		s.cfg.Log.ErrorContext(ctx, "answer contradicts what was heard", "session", session, "invoice", v.ID, "stored", stored.Status, "answer", clip(v.Status))
	case !checkout.KnownStatus(v.Status):
		s.cfg.Observer.Invoice(source, "unknown_status")
		s.cfg.Log.WarnContext(ctx, "unknown invoice status", "session", session, "invoice", v.ID, "status", clip(v.Status))
	}
	return nil
}

// reread is a final status to be read again.
type reread struct{ session, invoice string }

func (s *Service) rereader(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case job := <-s.rereads:
			if _, err := s.ask(ctx, job.session, job.invoice, "reread"); err != nil {
				s.cfg.Log.WarnContext(ctx, "final status not read again", "session", job.session, "invoice", job.invoice, "err", err)
			}
		}
	}
}
