package wzrd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/patrickmn/go-cache"
	"golang.org/x/sync/singleflight"

	"wzrdcheckout/internal/checkout"
)

const (
	// fresh is how long an answer is served without asking again.
	fresh = 60 * time.Second
	// patience is how long a caller waits for WZRDPAY when there is a last good copy.
	patience = time.Second
	// failedFor is how long a failure is remembered, so that a page of impatient shoppers
	// does not become a row of calls to something that is down.
	failedFor = time.Second
	// maxCurrencies bounds the cache: the largest catalogue uses 141.
	maxCurrencies = 256
)

// preCache keeps pre-requests by mode and currency. In store a currency has up to three
// entries: "fresh:" for 60 s, "good:" without end, "failed:" for a second.
type preCache struct {
	client *Client
	store  *cache.Cache
	flight singleflight.Group
	mu     sync.Mutex // serialises what keeps the number of currencies bounded
}

func newPreCache(c *Client) *preCache {
	// No janitor: it would be a goroutine without an end. put clears what is over.
	return &preCache{client: c, store: cache.New(cache.NoExpiration, 0)}
}

// PreRequest gives the services for a currency. An answer is fresh for 60 s; then one
// caller's flight asks again for all. When WZRDPAY is down, or slower than a second, the
// last good copy is served with Stale set and the refresh goes on behind it. ErrInvalid
// for a currency of the wrong form; the error of the call when there is no copy.
// The result is shared: its slices and maps are read only.
func (c *Client) PreRequest(ctx context.Context, currency string) (checkout.PreRequest, error) {
	if !checkout.ValidCurrency(currency) {
		return checkout.PreRequest{}, checkout.Invalid(checkout.FieldError{Field: "currency", Code: "currency", Message: "This is no currency code."})
	}
	pre, result, err := c.pre.get(ctx, currency)
	c.config.Observer.Cache(result)
	return pre, err
}

func (p *preCache) get(ctx context.Context, currency string) (pre checkout.PreRequest, result string, err error) {
	key := p.client.mode + "+" + currency
	if v, ok := p.store.Get("fresh:" + key); ok {
		return v.(checkout.PreRequest), "hit", nil
	}
	copied, have := p.good(key)
	if v, ok := p.store.Get("failed:" + key); ok {
		return p.fallback(copied, have, v.(error))
	}
	landing := p.flight.DoChan(key, func() (any, error) { return p.fetch(key, currency) })
	var late <-chan time.Time
	if have {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case r := <-landing:
		if r.Err != nil {
			return p.fallback(copied, have, r.Err)
		}
		return r.Val.(checkout.PreRequest), "miss", nil
	case <-late:
		return copied, "stale", nil
	case <-ctx.Done():
		if have {
			return copied, "stale", nil
		}
		return pre, "error", &checkout.UpstreamError{
			Operation: "POST /payment-prerequest", Code: codeTimeout, Detail: "no answer while the caller waited",
			Directive: checkout.LookUp, Kind: checkout.ErrTimeout,
		}
	}
}

// good gives the last good copy, marked stale.
func (p *preCache) good(key string) (checkout.PreRequest, bool) {
	v, ok := p.store.Get("good:" + key)
	if !ok {
		return checkout.PreRequest{}, false
	}
	pre := v.(checkout.PreRequest)
	pre.Stale = true
	return pre, true
}

// fallback serves the last good copy for every failure but a refusal of the currency
// itself: that is an answer, and the copy is no longer true.
func (p *preCache) fallback(copied checkout.PreRequest, have bool, err error) (checkout.PreRequest, string, error) {
	if have && !errors.Is(err, checkout.ErrInvalid) {
		return copied, "stale", nil
	}
	return checkout.PreRequest{}, "error", err
}

// fetch is the one flight of a key. It belongs to no caller: whoever gives up leaves it running.
func (p *preCache) fetch(key, currency string) (checkout.PreRequest, error) {
	c := p.client
	if !c.begin() {
		return checkout.PreRequest{}, &checkout.Error{Kind: checkout.ErrUnavailable, Code: "stopping", Retryable: true}
	}
	defer c.run.Done()
	// Whoever saw no fresh copy just before the flight ahead of this one landed comes here.
	if v, ok := p.store.Get("fresh:" + key); ok {
		return v.(checkout.PreRequest), nil
	}
	if v, ok := p.store.Get("failed:" + key); ok {
		return checkout.PreRequest{}, v.(error)
	}
	pre, err := c.fetchPreRequest(c.life, currency)
	if err != nil {
		p.mu.Lock()
		p.store.DeleteExpired()
		p.store.Set("failed:"+key, err, failedFor)
		p.mu.Unlock()
		c.config.Logger.Warn("pre-request failed", slog.String("currency", currency), slog.Any("err", err))
		return pre, err
	}
	p.put(key, pre)
	return pre, nil
}

// put stores an answer and keeps the cache bounded: for one currency too many the one
// fetched longest ago goes.
func (p *preCache) put(key string, pre checkout.PreRequest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.store.DeleteExpired()
	for _, have := p.store.Get("good:" + key); !have && p.count() >= maxCurrencies; {
		p.evict()
	}
	p.store.Set("good:"+key, pre, cache.NoExpiration)
	p.store.Set("fresh:"+key, pre, fresh)
	p.store.Delete("failed:" + key)
}

func (p *preCache) count() int {
	n := 0
	for key := range p.store.Items() {
		if len(key) > 5 && key[:5] == "good:" {
			n++
		}
	}
	return n
}

func (p *preCache) evict() {
	oldest, key := int64(0), ""
	for k, item := range p.store.Items() {
		pre, ok := item.Object.(checkout.PreRequest)
		if ok && len(k) > 5 && k[:5] == "good:" && (key == "" || pre.FetchedAt < oldest) {
			oldest, key = pre.FetchedAt, k[5:]
		}
	}
	p.store.Delete("good:" + key)
	p.store.Delete("fresh:" + key)
}

// version is a short hash of what a pre-request says, the times apart.
func version(pre checkout.PreRequest) string {
	type method struct {
		checkout.Method
		Hide bool
	}
	methods := make(map[string]method, len(pre.Methods))
	for code, m := range pre.Methods {
		methods[code] = method{m, m.Hide}
	}
	text, err := json.Marshal(struct { // maps are written in the order of their keys
		Currency string
		TestMode bool
		Services []checkout.Service
		Methods  map[string]method
		Account  checkout.Account
	}{pre.Currency, pre.TestMode, pre.Services, methods, pre.Account})
	if err != nil {
		panic("wzrd: a pre-request can not be written: " + err.Error()) // only strings, numbers and maps of them
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}
