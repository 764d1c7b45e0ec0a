package metrics

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Wzrd counts the calls to WZRDPAY.
type Wzrd struct {
	calls    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	cache    *prometheus.CounterVec
	breaker  *prometheus.GaugeVec
	patterns prometheus.Counter
}

func newWzrd(m maker) *Wzrd {
	return &Wzrd{
		calls:    m.counter("wzrd", "calls_total", "Calls to WZRDPAY by operation and outcome: ok, an HTTP status, timeout, unreachable, no_answer, breaker_open, rate_limited, ….", "operation", "outcome"),
		seconds:  m.histogram("wzrd", "call_seconds", "How long calls to WZRDPAY took.", callBuckets, "operation"),
		cache:    m.counter("wzrd", "cache_total", "Pre-requests by how the cache answered them.", "result"),
		breaker:  m.gauge("wzrd", "breaker_state", "Circuit breaker by API: 0 closed, 1 half-open, 2 open.", "api"),
		patterns: m.counter("wzrd", "bad_patterns_total", "Field patterns that can not be checked here.").WithLabelValues(),
	}
}

// Call counts one call.
func (w *Wzrd) Call(operation, outcome string, took time.Duration) {
	w.calls.WithLabelValues(operation, outcome).Inc()
	w.seconds.WithLabelValues(operation).Observe(took.Seconds())
}

// Cache counts one pre-request.
func (w *Wzrd) Cache(result string) { w.cache.WithLabelValues(result).Inc() }

// Breaker notes the state of an API's circuit breaker.
func (w *Wzrd) Breaker(api, state string) {
	value := 0.0
	switch state {
	case "half-open", "half_open":
		value = 1
	case "open":
		value = 2
	}
	w.breaker.WithLabelValues(api).Set(value)
}

// Pattern counts a field pattern that does not compile.
func (w *Wzrd) Pattern(string) { w.patterns.Inc() }

// Session counts what happens to sessions, attempts and invoices.
type Session struct {
	sessions, attempts, invoices *prometheus.CounterVec
}

func newSession(m maker) *Session {
	s := &Session{
		sessions: m.counter("session", "sessions_total", "Sessions by what happened to them.", "outcome"),
		attempts: m.counter("session", "attempts_total", "Payment attempts by what happened to them.", "outcome"),
		invoices: m.counter("session", "observations_total", "Observations of invoices by source and by what they changed.", "source", "outcome"),
	}
	zero(s.attempts, "created", "unknown")
	for _, source := range []string{"callback", "create", "lookup", "refresh", "reread", "walk"} {
		for _, outcome := range []string{"applied", "same", "unknown_status", "contradiction", "no_session", "no_attempt", "other_invoice", "mismatch", "wrong_mode"} {
			s.invoices.WithLabelValues(source, outcome)
		}
	}
	return s
}

// Session counts one session.
func (s *Session) Session(outcome string) { s.sessions.WithLabelValues(outcome).Inc() }

// Attempt counts one attempt.
func (s *Session) Attempt(outcome string) { s.attempts.WithLabelValues(outcome).Inc() }

// Invoice counts one observation.
func (s *Session) Invoice(source, outcome string) {
	s.invoices.WithLabelValues(source, outcome).Inc()
}

// Callback counts what WZRDPAY tells us, from the door to the state.
type Callback struct {
	accepted   *prometheus.CounterVec
	seconds    prometheus.Observer
	records    prometheus.Observer
	bytes      prometheus.Counter
	stored     prometheus.Observer
	switched   prometheus.Counter
	applied    prometheus.Counter
	apply      prometheus.Observer
	unreadable prometheus.Counter
	retried    *prometheus.CounterVec
	lag        *prometheus.GaugeVec
}

func newCallback(m maker) *Callback {
	c := &Callback{
		accepted:   m.counter("callback", "received_total", "Callbacks by outcome: stored, unauthorized, wrong_mode, invalid, too_large, full, ….", "outcome"),
		seconds:    m.histogram("callback", "answer_seconds", "How long callbacks waited for their answer.", shortBuckets).WithLabelValues(),
		records:    m.histogram("callback", "pack_records", "Callbacks stored together.", []float64{1, 2, 5, 10, 20, 50, 100, 200}).WithLabelValues(),
		bytes:      m.counter("callback", "stored_bytes_total", "Bytes of callbacks stored.").WithLabelValues(),
		stored:     m.histogram("callback", "store_seconds", "How long storing a pack took.", shortBuckets).WithLabelValues(),
		switched:   m.counter("callback", "switched_total", "Times when a stream was too slow and the next one was taken.").WithLabelValues(),
		applied:    m.counter("callback", "applied_total", "Callbacks applied to the state; repeats count.").WithLabelValues(),
		apply:      m.histogram("callback", "apply_seconds", "How long applying a batch took.", shortBuckets).WithLabelValues(),
		unreadable: m.counter("callback", "unreadable_total", "Stored callbacks that hold no payment invoice.").WithLabelValues(),
		retried:    m.counter("callback", "retried_total", "Batches that had to be applied again, by reason.", "reason"),
		lag:        m.gauge("callback", "lag_seconds", "Age of the oldest callback that is stored and not applied, by stream.", "stream"),
	}
	zero(c.accepted, "stored", "unauthorized", "wrong_mode", "invalid", "too_large", "full", "slow", "failed", "stopping")
	return c
}

// Accepted counts a callback that was answered. The intake's outcome is a type of its
// own; app turns it into its word.
func (c *Callback) Accepted(outcome string, took time.Duration) {
	c.accepted.WithLabelValues(outcome).Inc()
	c.seconds.Observe(took.Seconds())
}

// Packed counts a pack that was stored.
func (c *Callback) Packed(_, records, bytes int, took time.Duration) {
	c.records.Observe(float64(records))
	c.bytes.Add(float64(bytes))
	c.stored.Observe(took.Seconds())
}

// Switched counts a stream that did not answer in time.
func (c *Callback) Switched(int) { c.switched.Inc() }

// Applied counts a batch.
func (c *Callback) Applied(_, records int, took time.Duration) {
	c.applied.Add(float64(records))
	c.apply.Observe(took.Seconds())
}

// Unreadable counts a record without an invoice.
func (c *Callback) Unreadable(int) { c.unreadable.Inc() }

// Retried counts a batch that is tried again.
func (c *Callback) Retried(_ int, reason string) { c.retried.WithLabelValues(reason).Inc() }

// Lag notes how far a stream is behind.
func (c *Callback) Lag(stream int, lag time.Duration) {
	c.lag.WithLabelValues(strconv.Itoa(stream)).Set(lag.Seconds())
}

// Push counts sockets and frames.
type Push struct {
	open    prometheus.Gauge
	opened  prometheus.Counter
	closed  *prometheus.CounterVec
	latency prometheus.Observer
}

func newPush(m maker) *Push {
	return &Push{
		open:    m.gauge("push", "sockets", "Open sockets.").WithLabelValues(),
		opened:  m.counter("push", "opened_total", "Sockets opened.").WithLabelValues(),
		closed:  m.counter("push", "closed_total", "Sockets closed by close code.", "code"),
		latency: m.histogram("push", "latency_seconds", "From a change being known here to its frame being written.", shortBuckets).WithLabelValues(),
	}
}

// SocketOpened counts a socket.
func (p *Push) SocketOpened() {
	p.open.Inc()
	p.opened.Inc()
}

// SocketClosed counts a socket's end. A code that only a stranger can have chosen is "other".
func (p *Push) SocketClosed(code int) {
	p.open.Dec()
	label := "other"
	switch code {
	case 1000, 1001, 1002, 1005, 1006, 1009, 4000, 4001, 4002, 4500, 4501, 4502, 4503:
		label = strconv.Itoa(code)
	}
	p.closed.WithLabelValues(label).Inc()
}

// Pushed counts a frame.
func (p *Push) Pushed(latency time.Duration) { p.latency.Observe(latency.Seconds()) }

// Webhook counts what is sent to the shop.
type Webhook struct {
	attempts *prometheus.CounterVec
	seconds  prometheus.Observer
	lag      prometheus.Observer
	dead     prometheus.Counter
	pending  prometheus.Gauge
	oldest   prometheus.Gauge
}

func newWebhook(m maker) *Webhook {
	w := &Webhook{
		attempts: m.counter("webhook", "attempts_total", "Requests to the shop by result.", "result"),
		seconds:  m.histogram("webhook", "attempt_seconds", "How long requests to the shop took.", callBuckets).WithLabelValues(),
		lag:      m.histogram("webhook", "delivered_seconds", "From an event to its delivery.", arriveBuckets).WithLabelValues(),
		dead:     m.counter("webhook", "dead_total", "Events given up after three days.").WithLabelValues(),
		pending:  m.gauge("webhook", "pending", "Events that wait on this replica.").WithLabelValues(),
		oldest:   m.gauge("webhook", "oldest_seconds", "Age of the oldest event that waits on this replica.").WithLabelValues(),
	}
	zero(w.attempts, "delivered", "gone", "redirect", "http_4xx", "http_5xx", "http_other", "timeout", "error")
	return w
}

// WebhookAttempt counts one request.
func (w *Webhook) WebhookAttempt(result string, elapsed time.Duration) {
	w.attempts.WithLabelValues(result).Inc()
	w.seconds.Observe(elapsed.Seconds())
}

// WebhookDelivered counts an event that arrived.
func (w *Webhook) WebhookDelivered(lag time.Duration) { w.lag.Observe(lag.Seconds()) }

// WebhookDead counts an event given up.
func (w *Webhook) WebhookDead() { w.dead.Inc() }

// WebhookPending notes what waits.
func (w *Webhook) WebhookPending(count int, oldest time.Duration) {
	w.pending.Set(float64(count))
	w.oldest.Set(oldest.Seconds())
}

// HTTP counts the requests of both planes.
type HTTP struct {
	requests    *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	connections *prometheus.GaugeVec
}

func newHTTP(m maker) *HTTP {
	return &HTTP{
		requests:    m.counter("http", "requests_total", "Requests by route, method and status.", "route", "method", "status"),
		seconds:     m.histogram("http", "request_seconds", "How long requests took; sockets and long polls apart.", shortBuckets, "route"),
		connections: m.gauge("http", "connections", "Open connections by plane, those without a request among them; sockets apart.", "plane"),
	}
}

// Connections counts the connections of a plane: it is what http.Server.ConnState wants.
func (h *HTTP) Connections(plane string) func(net.Conn, http.ConnState) {
	open := h.connections.WithLabelValues(plane)
	return func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Inc()
		case http.StateClosed, http.StateHijacked:
			open.Dec()
		case http.StateActive, http.StateIdle:
		}
	}
}

// Request counts one request. A method that is not one of HTTP's is "other".
func (h *HTTP) Request(route, method string, status int, took time.Duration) {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
	default:
		method = "other"
	}
	h.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	if strings.HasSuffix(route, "/v1/checkout/ws") || strings.HasSuffix(route, "/v1/checkout/updates") {
		return // they last as long as the page
	}
	h.seconds.WithLabelValues(route).Observe(took.Seconds())
}
