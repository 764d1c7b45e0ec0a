package session_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/session"
)

// memory is a store with the semantics of the real one: commits are all or nothing, an
// Expect that is stale refuses them, watchers hear of every change, timers fire once.
type memory struct {
	mu       sync.Mutex
	seq      uint64
	entries  map[string]checkout.Entry
	timers   map[string]int64
	watchers map[int]watcher
	nextID   int
	commits  int
	reads    int
}

type watcher struct {
	prefix string
	f      func(checkout.Entry)
}

func newMemory() *memory {
	return &memory{entries: map[string]checkout.Entry{}, timers: map[string]int64{}, watchers: map[int]watcher{}}
}

func (m *memory) Get(_ context.Context, key string) (checkout.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !strings.HasPrefix(key, "session.") { // these the real one has in memory
		m.reads++
	}
	e, ok := m.entries[key]
	if !ok {
		return e, checkout.ErrNotFound
	}
	e.Value = slices.Clone(e.Value)
	return e, nil
}

func (m *memory) Fresh(ctx context.Context, key string) (checkout.Entry, error) {
	return m.Get(ctx, key)
}

var goodKey = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+$`)

func (m *memory) Commit(_ context.Context, writes ...checkout.Write) ([]uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := map[string]bool{}
	for _, w := range writes {
		if keys[w.Key] {
			return nil, fmt.Errorf("key %s twice in a commit", w.Key)
		}
		keys[w.Key] = true
		if !goodKey.MatchString(w.Key) {
			return nil, fmt.Errorf("bad key %q", w.Key)
		}
		if !w.Any && m.entries[w.Key].Version != w.Expect {
			return nil, checkout.ErrConflict
		}
	}
	if len(writes) == 0 {
		return nil, errors.New("an empty commit")
	}
	if len(writes) > 900 {
		return nil, fmt.Errorf("%d writes in a commit: %w", len(writes), checkout.ErrTooLarge)
	}
	m.commits++
	versions := make([]uint64, len(writes))
	for i, w := range writes {
		m.seq++
		versions[i] = m.seq
		e := checkout.Entry{Key: w.Key, Value: slices.Clone(w.Value), Version: m.seq}
		m.entries[w.Key] = e
		if w.At != 0 {
			m.timers[w.Key] = w.At
		}
		if w.TTL != 0 {
			time.AfterFunc(time.Duration(w.TTL)*time.Second, func() { m.expire(e) })
		}
		for _, v := range m.watchers {
			if strings.HasPrefix(w.Key, v.prefix) {
				v.f(e)
			}
		}
	}
	return versions, nil
}

// expire ends an entry that nobody has written again.
func (m *memory) expire(e checkout.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries[e.Key].Version == e.Version {
		delete(m.entries, e.Key)
	}
}

func (m *memory) List(_ context.Context, prefix string, after uint64, limit int) ([]checkout.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []checkout.Entry
	for _, e := range m.entries {
		if strings.HasPrefix(e.Key, prefix) && e.Version > after {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b checkout.Entry) int { return int(a.Version) - int(b.Version) })
	return list[:min(limit, len(list))], nil
}

func (m *memory) Watch(prefix string, f func(checkout.Entry)) func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := m.nextID
	m.nextID++
	m.watchers[id] = watcher{prefix, f}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.watchers, id)
	}
}

// due takes the timers that are due at now.
func (m *memory) due(now int64) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []string
	for key, at := range m.timers {
		if at <= now {
			keys = append(keys, key)
			delete(m.timers, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// next is when the next timer is due, 0 = none.
func (m *memory) next() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var next int64
	for at := range maps.Values(m.timers) {
		if next == 0 || at < next {
			next = at
		}
	}
	return next
}

func (m *memory) keys(prefix string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []string
	for key := range m.entries {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// upstream is WZRDPAY: one invoice per reference, ever. fault, when set, decides the
// fate of the n-th create (from 1).
type upstream struct {
	mu       sync.Mutex
	byRef    map[string]*checkout.Invoice
	requests []checkout.InvoiceRequest
	lookups  int
	asked    int
	fault    func(n int, r checkout.InvoiceRequest) fate
	lookup   func(n int) error // fault of the n-th look-up
	bare     bool              // no redirect in a create's answer
	pre      checkout.PreRequest
	test     bool
	preErr   error
}

// fate of a create.
type fate struct {
	made bool          // the invoice is made
	late time.Duration // … this much later
	err  error         // the answer, nil = the invoice
	wait time.Duration // the answer takes this long
}

func newUpstream() *upstream {
	limit := checkout.MustAmount
	low, high := limit("5"), limit("500")
	return &upstream{byRef: map[string]*checkout.Invoice{}, test: true, pre: checkout.PreRequest{
		Currency: "EUR", TestMode: true, Version: "v1",
		Services: []checkout.Service{
			{Code: "card_eur_hpp", Method: "card", Currency: "EUR"},
			{
				Code: "bank_eur_hpp", Method: "bank", Currency: "EUR", AmountMin: &low, AmountMax: &high,
				Fields: []checkout.Field{{Key: "iban", Type: "string", Regexp: "^[A-Z]{2}[0-9]{4,}$", Required: true}},
			},
			{Code: "coin_btc_hpp", Method: "coin", Currency: "BTC", AmountMin: &high},
			{Code: "hidden_eur_hpp", Method: "hidden", Currency: "EUR"},
		},
		Methods: map[string]checkout.Method{
			"card": {Code: "card"}, "bank": {Code: "bank"}, "coin": {Code: "coin"}, "hidden": {Code: "hidden", Hide: true},
		},
	}}
}

func (u *upstream) PreRequest(context.Context, string) (checkout.PreRequest, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.pre, u.preErr
}

func upstreamError(status int, d checkout.Directive, kind error) *checkout.UpstreamError {
	return &checkout.UpstreamError{Operation: "POST /payment-invoices", Status: status, Directive: d, Kind: kind}
}

func (u *upstream) CreateInvoice(ctx context.Context, r checkout.InvoiceRequest) (checkout.Invoice, error) {
	u.mu.Lock()
	u.requests = append(u.requests, r)
	f := fate{made: true}
	if u.fault != nil {
		f = u.fault(len(u.requests), r)
	}
	u.mu.Unlock()
	if f.late > 0 {
		time.AfterFunc(f.late, func() { _, _ = u.make(r) })
		f.made = false
	}
	var v checkout.Invoice
	if f.made {
		var err error
		if v, err = u.make(r); err != nil && f.err == nil {
			f.err = err
		}
	}
	if f.wait > 0 {
		select {
		case <-time.After(f.wait):
		case <-ctx.Done():
			return checkout.Invoice{}, upstreamError(0, checkout.LookUp, checkout.ErrTimeout)
		}
	}
	if f.err != nil {
		return checkout.Invoice{}, f.err
	}
	return v, nil
}

func (u *upstream) make(r checkout.InvoiceRequest) (checkout.Invoice, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.byRef[r.ReferenceID] != nil {
		return checkout.Invoice{}, upstreamError(409, checkout.AlreadyThere, checkout.ErrConflict)
	}
	now := time.Now().Unix()
	v := &checkout.Invoice{
		ID: "cpi_" + strings.NewReplacer(".", "x", "-", "y").Replace(r.ReferenceID), ReferenceID: r.ReferenceID, Service: r.Service,
		Status: "process_pending", Resolution: "ok", Amount: r.Amount, PaymentAmount: &r.Amount, Currency: r.Currency,
		Created: now, Updated: now, TestMode: r.TestMode,
		SessionID: sessionOf(r.Metadata), Redirect: &checkout.Redirect{Method: "GET", URL: "https://psp.example/hpp/" + r.ReferenceID},
	}
	u.byRef[r.ReferenceID] = v
	out := *v
	if u.bare {
		out.Redirect = nil
	}
	return out, nil
}

func sessionOf(metadata []byte) string {
	m := regexp.MustCompile(`"session_id":"([^"]+)"`).FindSubmatch(metadata)
	if m == nil {
		return ""
	}
	return string(m[1])
}

func (u *upstream) Invoice(_ context.Context, id string) (checkout.Invoice, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked++
	for _, v := range u.byRef {
		if v.ID == id {
			return *v, nil
		}
	}
	return checkout.Invoice{}, checkout.ErrNotFound
}

func (u *upstream) InvoiceByReference(_ context.Context, reference string) (checkout.Invoice, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lookups++
	if u.lookup != nil {
		if err := u.lookup(u.lookups); err != nil {
			return checkout.Invoice{}, err
		}
	}
	if v := u.byRef[reference]; v != nil {
		return *v, nil
	}
	return checkout.Invoice{}, checkout.ErrNotFound
}

func (u *upstream) Invoices(_ context.Context, after string, limit int) ([]checkout.Invoice, string, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	refs := slices.Sorted(maps.Keys(u.byRef))
	var list []checkout.Invoice
	for _, ref := range refs {
		if ref > after && len(list) < limit {
			list = append(list, *u.byRef[ref])
			after = ref
		}
	}
	if len(list) < limit {
		after = ""
	}
	return list, after, nil
}

// set changes an invoice at WZRDPAY and gives it as a callback would.
func (u *upstream) set(reference, status string) checkout.Invoice {
	u.mu.Lock()
	defer u.mu.Unlock()
	v := u.byRef[reference]
	v.Status, v.Updated = status, time.Now().Unix()
	if status == "processed" {
		v.ProcessedAmount = v.PaymentAmount
	}
	return *v
}

func (u *upstream) count() (made int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.byRef)
}

func (u *upstream) lastRequest() checkout.InvoiceRequest {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.requests[len(u.requests)-1]
}

// process is one process's way to store and WZRDPAY. It dies at the given point: every
// call has one before and one after its effect. After that every call ends its goroutine.
type process struct {
	*memory
	*upstream
	mu     sync.Mutex
	points int // left to live; < 0 = for ever
	dead   bool
}

func (p *process) point() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		runtime.Goexit()
	}
	if p.points == 0 {
		p.dead = true
		runtime.Goexit()
	}
	p.points--
}

// live tells whether f came to its end, and was not ended by the death of its process.
func live(f func()) (lived bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
		lived = true
	}()
	<-done
	return lived
}

func (p *process) Commit(ctx context.Context, writes ...checkout.Write) ([]uint64, error) {
	p.point()
	defer p.point()
	return p.memory.Commit(ctx, writes...)
}

func (p *process) CreateInvoice(ctx context.Context, r checkout.InvoiceRequest) (checkout.Invoice, error) {
	p.point()
	defer p.point()
	return p.upstream.CreateInvoice(ctx, r)
}

func (p *process) InvoiceByReference(ctx context.Context, ref string) (checkout.Invoice, error) {
	p.point()
	defer p.point()
	return p.upstream.InvoiceByReference(ctx, ref)
}

// re2 is the server's matcher.
type re2 struct{}

func (re2) Match(pattern, value string) (ok, usable bool) {
	re, err := regexp.Compile(pattern)
	return err == nil && re.MatchString(value), err == nil
}

// tally counts what is observed.
type tally struct {
	mu sync.Mutex
	n  map[string]int
}

func (t *tally) add(words ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = map[string]int{}
	}
	t.n[strings.Join(words, " ")]++
}
func (t *tally) Session(outcome string)         { t.add("session", outcome) }
func (t *tally) Attempt(outcome string)         { t.add("attempt", outcome) }
func (t *tally) Invoice(source, outcome string) { t.add("invoice", source, outcome) }
func (t *tally) get(words string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n[words]
}

var testKey = session.Key{ID: "k1", Secret: []byte("0123456789abcdef0123456789abcdef")}

// world is a store, a WZRDPAY and the services that share them.
type world struct {
	store *memory
	psp   *upstream
	tally *tally
}

func newWorld() *world { return &world{newMemory(), newUpstream(), &tally{}} }

func (w *world) config() session.Config {
	return session.Config{
		Store: w.store, PSP: w.psp, Matcher: re2{}, Keys: []session.Key{testKey}, TestMode: true,
		Origins: []string{"https://shop.example"}, CallbackURL: "https://pay.example/v1/callbacks/wzrdpay",
		ReturnURLs: func(id, token string) checkout.ReturnURLs {
			return checkout.ReturnURLs{
				Success: "https://pay.example/return/success?t=" + token, Pending: "https://pay.example/return/pending?t=" + token,
				Fail: "https://pay.example/return/fail?t=" + token,
			}
		},
		Observer: w.tally,
	}
}

func (w *world) service(t *testing.T, change ...func(*session.Config)) *session.Service {
	t.Helper()
	cfg := w.config()
	for _, f := range change {
		f(&cfg)
	}
	s, err := session.New(cfg)
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	return s
}

func order(reference string) session.NewSession {
	return session.NewSession{ReferenceID: reference, Amount: checkout.MustAmount("10.50"), Currency: "EUR"}
}

func create(t *testing.T, s *session.Service, n session.NewSession) checkout.Session {
	t.Helper()
	c, err := s.Create(t.Context(), n)
	if err != nil {
		t.Fatalf("Create(%v) = %v", n.ReferenceID, err)
	}
	return c.Session
}

func get(t *testing.T, s *session.Service, id string) checkout.Session {
	t.Helper()
	v, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatalf("Get(%v) = %v", id, err)
	}
	return v
}

var card = session.PayRequest{Service: "card_eur_hpp"}

func callback(v checkout.Invoice) checkout.Update {
	v.Redirect = nil
	mode := "live"
	if v.TestMode {
		mode = "test"
	}
	return checkout.Update{Invoice: v, Mode: mode, ReceivedAt: time.Now().Unix(), Raw: []byte(`{"data":{}}`)}
}

func apply(t *testing.T, s *session.Service, updates ...checkout.Update) {
	t.Helper()
	if err := s.ApplyCallbacks(t.Context(), updates, checkout.Write{}); err != nil {
		t.Fatalf("ApplyCallbacks() = %v", err)
	}
}

// code gives an error's code, "" for none.
func code(err error) string {
	var e *checkout.Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// run lets the timers of the world fire until the given moment.
func (w *world) run(t *testing.T, s *session.Service, until time.Time) {
	t.Helper()
	for {
		at := w.store.next()
		if at == 0 || at > until.Unix() {
			time.Sleep(time.Until(until))
			return
		}
		time.Sleep(time.Until(time.Unix(at, 0)))
		for _, key := range w.store.due(time.Now().Unix()) {
			if err := s.Timer(t.Context(), key, nil); err != nil {
				t.Fatalf("Timer(%v) = %v", key, err)
			}
		}
	}
}

// types are the types of a session's events, in order.
func (w *world) types(t *testing.T, id string) []string {
	t.Helper()
	var out []string
	for n := 1; ; n++ {
		e, err := w.store.Get(t.Context(), fmt.Sprintf("event.%s.%d", id, n))
		if err != nil {
			return out
		}
		m := regexp.MustCompile(`"type":"session\.([a-z_]+)"`).FindSubmatch(e.Value)
		if m == nil {
			t.Fatalf("event %d of %v has no type: %s", n, id, e.Value)
		}
		out = append(out, string(m[1]))
	}
}
