package httpapi

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"wzrdcheckout/internal/checkout"
)

// crowd is how many addresses a limiter remembers; a full one forgets all, which lets
// somebody off once rather than growing.
const crowd = 50_000

// limiter bounds what one address may do. IPv6 counts by /64, what one house has.
type limiter struct {
	limit rate.Limit
	burst int
	now   func() time.Time

	mu        sync.Mutex
	addresses map[netip.Addr]*rate.Limiter
}

// newLimiter gives nil for "no limit".
func newLimiter(perSecond float64, burst int, defaultPerSecond float64, defaultBurst int, now func() time.Time) *limiter {
	if perSecond < 0 {
		return nil
	}
	if perSecond == 0 {
		perSecond, burst = defaultPerSecond, max(burst, defaultBurst)
	}
	return &limiter{limit: rate.Limit(perSecond), burst: max(burst, 1), now: now, addresses: make(map[netip.Addr]*rate.Limiter)}
}

// wait is 0 when the address may go on, else how long it has to wait.
func (l *limiter) wait(address netip.Addr) time.Duration {
	if l == nil || !address.IsValid() {
		return 0
	}
	if address.Is6() {
		if p, err := address.Prefix(64); err == nil {
			address = p.Addr()
		}
	}
	l.mu.Lock()
	one := l.addresses[address]
	if one == nil {
		if len(l.addresses) >= crowd {
			clear(l.addresses)
		}
		one = rate.NewLimiter(l.limit, l.burst)
		l.addresses[address] = one
	}
	l.mu.Unlock()
	now := l.now()
	reservation := one.ReserveN(now, 1)
	if wait := reservation.DelayFrom(now); wait > 0 {
		reservation.CancelAt(now)
		return wait
	}
	return 0
}

// address is who sent a request: the connection's peer, or, behind a trusted proxy, the
// last address before it in X-Forwarded-For. The zero Addr is one that limits do not
// count.
func (a *API) address(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	peer, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	peer = peer.Unmap()
	if a.trusted(peer) {
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for i := len(hops) - 1; i >= 0; i-- {
			hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
			if err != nil {
				break
			}
			if peer = hop.Unmap(); !a.trusted(peer) {
				break
			}
		}
	}
	if !a.cfg.Limits.Private && (peer.IsLoopback() || peer.IsPrivate() || peer.IsLinkLocalUnicast()) {
		return netip.Addr{}
	}
	return peer.WithZone("")
}

// Address is the address that limits count a request by, "" for one they do not count.
// The socket hub uses it too.
func (a *API) Address(r *http.Request) string {
	if address := a.address(r); address.IsValid() {
		return address.String()
	}
	return ""
}

func (a *API) trusted(address netip.Addr) bool {
	for _, p := range a.cfg.TrustedProxies {
		if p.Contains(address) {
			return true
		}
	}
	return false
}

// limited is a 429 with its Retry-After.
type limited struct {
	why   checkout.Error
	after time.Duration
}

func (e *limited) Error() string             { return e.why.Error() }
func (e *limited) Unwrap() error             { return &e.why }
func (e *limited) RetryAfter() time.Duration { return e.after }

// admit is nil when the request's address is within l.
func (a *API) admit(l *limiter, r *http.Request) error {
	if l == nil {
		return nil
	}
	if wait := l.wait(a.address(r)); wait > 0 {
		return &limited{why: checkout.Error{Kind: checkout.ErrLimited, Code: "too_many_requests", Detail: "too many requests from this address", Retryable: true}, after: wait}
	}
	return nil
}

// guard puts a limit in front of a handler.
func (a *API) guard(l *limiter, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := a.admit(l, r); err != nil {
			a.fail(w, r, err)
			return
		}
		next(w, r)
	}
}
