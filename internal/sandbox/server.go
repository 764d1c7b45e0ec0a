package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Server is one emulated WZRDPAY account. Its methods may be called from any
// goroutine.
type Server struct {
	cfg       Config
	log       *slog.Logger
	now       func() time.Time
	catalogue *catalogue
	secret    string // signs session tokens
	prefix    string // path prefix of PublicURL
	client    *http.Client
	slots     chan struct{} // bounds concurrent deliveries

	life   context.Context // ends with Stop; callbacks outlive the requests that cause them
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu         sync.Mutex
	invoices   map[string]*invoice
	byRef      map[string]*invoice
	bySID      map[string]*invoice
	order      []*invoice // oldest first
	customers  map[string]*customer
	refundRefs map[string]bool
	faults     Faults
	rolls      map[string]uint64
	script     []scripted
	history    []Request
	counts     map[string]int
	deliveries []Delivery
	messages   uint64
	gate       chan struct{} // not nil while callbacks are held
	active     int           // invoices with a running sender
	quiet      chan struct{} // closed when active is 0
	closed     bool
	servers    []*http.Server
	addr       string
	control    string
}

// maxDeliveries is how many callbacks are under way at once.
const maxDeliveries = 64

// New checks the configuration and makes a server that serves through Handler,
// or by itself after Start. Stop it in either case.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cat, err := loadCatalogue(cfg.Catalogue)
	if err != nil {
		return nil, fmt.Errorf("sandbox: Catalogue: %w", err)
	}
	s := &Server{
		cfg: cfg, log: cfg.Logger, now: cfg.Now, catalogue: cat, secret: randomID(32),
		slots: make(chan struct{}, maxDeliveries), faults: cfg.Faults, quiet: make(chan struct{}),
		client: &http.Client{
			Transport: &http.Transport{MaxIdleConnsPerHost: maxDeliveries, IdleConnTimeout: 30 * time.Second},
			// The vendor follows no redirects.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	close(s.quiet)
	if u, err := url.Parse(cfg.PublicURL); err == nil {
		s.prefix = strings.TrimRight(u.Path, "/")
	}
	s.life, s.cancel = context.WithCancel(context.Background())
	s.forgetLocked()
	return s, nil
}

// forgetLocked empties everything but the knobs.
func (s *Server) forgetLocked() {
	for _, inv := range s.order {
		if inv.timer != nil {
			inv.timer.Stop()
		}
		if inv.wake != nil {
			select {
			case inv.wake <- struct{}{}:
			default:
			}
		}
	}
	s.invoices, s.byRef, s.bySID = map[string]*invoice{}, map[string]*invoice{}, map[string]*invoice{}
	s.customers, s.refundRefs = map[string]*customer{}, map[string]bool{}
	s.rolls, s.counts = map[string]uint64{}, map[string]int{}
	s.order, s.history, s.deliveries, s.script = nil, nil, nil, nil
}

// Start listens and returns. A server starts once.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.servers) > 0 {
		return errors.New("sandbox: start: it was started or stopped before")
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("sandbox: Listen: %w", err)
	}
	s.addr = ln.Addr().String()
	if s.cfg.ControlListen != "" {
		cl, err := lc.Listen(ctx, "tcp", s.cfg.ControlListen)
		if err != nil {
			_ = ln.Close()
			return fmt.Errorf("sandbox: ControlListen: %w", err)
		}
		s.control = cl.Addr().String()
		s.serveLocked(cl, s.ControlHandler())
	}
	s.serveLocked(ln, s.Handler())
	s.log.Warn("this is a sandbox of WZRDPAY: no money moves, everything is forgotten at the end", "url", s.urlLocked())
	return nil
}

func (s *Server) serveLocked(ln net.Listener, h http.Handler) {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.servers = append(s.servers, srv)
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("sandbox serve", "err", err)
		}
	}()
}

// Stop ends the listeners, the timers and the senders of callbacks, and waits
// for them until ctx ends.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	servers := s.servers
	for _, inv := range s.order {
		if inv.timer != nil {
			inv.timer.Stop()
		}
	}
	s.mu.Unlock()
	s.cancel()
	var err error
	for _, srv := range servers {
		if e := srv.Shutdown(ctx); e != nil {
			err = errors.Join(err, e, srv.Close())
		}
	}
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		err = errors.Join(err, ctx.Err())
	}
	s.client.CloseIdleConnections()
	if err != nil {
		return fmt.Errorf("sandbox: stop: %w", err)
	}
	return nil
}

// Addr is host:port as listened on, "" before Start.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// ControlAddr is host:port of the control routes, Addr when they share it.
func (s *Server) ControlAddr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.control != "" {
		return s.control
	}
	return s.addr
}

// URL is the base address as seen from outside: append /public-api, /api or
// /redirect/hpp/. It is "" before Start when no PublicURL is set.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.urlLocked()
}

func (s *Server) urlLocked() string {
	if s.cfg.PublicURL != "" || s.addr == "" {
		return s.cfg.PublicURL
	}
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return "http://" + s.addr
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// baseOf is the base address for links in the answer to r.
func (s *Server) baseOf(r *http.Request) string {
	if u := s.URL(); u != "" {
		return u
	}
	return "http://" + r.Host
}

// Handler serves everything but an own control port. Behind httptest it takes
// the base address from each request when PublicURL is empty.
func (s *Server) Handler() http.Handler {
	control := s.ControlHandler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		if rest, ok := strings.CutPrefix(path, s.prefix); ok && (rest == "" || rest[0] == '/') {
			path = rest
		}
		path = "/" + strings.Trim(path, "/")
		switch {
		case path == "/_sandbox" || strings.HasPrefix(path, "/_sandbox/"):
			if s.cfg.ControlListen != "" {
				http.NotFound(w, r)
				return
			}
			r2 := r.Clone(r.Context())
			r2.URL.Path = path
			control.ServeHTTP(w, r2)
		case path == "/":
			s.serveIndex(w, r)
		case strings.HasPrefix(path, "/static/"):
			s.serveStatic(w, r, path)
		case path == "/hpp" || path == "/redirect/hpp" || strings.HasPrefix(path, "/hpp/") || strings.HasPrefix(path, "/redirect/hpp/"):
			s.servePage(w, r, path)
		default:
			s.serveAPI(w, r, path)
		}
	})
}

// Request is one received request as the history keeps it: no Authorization,
// no cookies, no card data.
type Request struct {
	Time   time.Time         `json:"time"`
	Op     string            `json:"op"` // prerequest, create, get, find, list, services, service, refund, process, page; "" when unknown
	API    string            `json:"api"`
	Method string            `json:"method"`
	Path   string            `json:"path"`
	Query  string            `json:"query,omitempty"`
	Header map[string]string `json:"header"`
	Body   string            `json:"body,omitempty"`
	Status int               `json:"status"` // 0 when the connection was closed without an answer
	Faults []Fault           `json:"faults,omitempty"`
}

// maxKeptBody is how much of a body the history keeps.
const maxKeptBody = 16 << 10

// keptHeaders are the request headers worth a line in the history; secrets
// travel in others.
var keptHeaders = []string{"Accept", "Accept-Language", "Content-Type", "Content-Length", "Origin", "User-Agent", "X-Request-Id", "Idempotency-Key", "Traceparent"}

func (s *Server) record(r *http.Request, op, api string, body []byte, status int, p plan) {
	entry := Request{
		Time: s.now(), Op: op, API: api, Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery,
		Header: map[string]string{}, Status: status, Faults: p.names(),
	}
	for _, k := range keptHeaders {
		if v := r.Header.Get(k); v != "" {
			entry.Header[k] = v
		}
	}
	entry.Body = string(body[:min(len(body), maxKeptBody)])
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[op]++
	s.history = appendBounded(s.history, entry, s.cfg.HistoryLimit)
}

// Requests is the history, oldest first; the oldest are forgotten beyond
// Config.HistoryLimit.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.history)
}

// Counts is how many requests each operation got since the start or Reset.
func (s *Server) Counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

// Deliveries are the tries to deliver callbacks, oldest first.
func (s *Server) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.deliveries)
}

// Credentials are the account's keys.
func (s *Server) Credentials() Credentials { return s.cfg.Credentials }
