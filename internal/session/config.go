package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/fields"
)

// Store is where sessions live. A commit is atomic and durable when it returns nil.
type Store interface {
	// Get may answer from this replica's cache; ErrNotFound.
	Get(ctx context.Context, key string) (checkout.Entry, error)
	// Fresh never answers from a cache; ErrNotFound.
	Fresh(ctx context.Context, key string) (checkout.Entry, error)
	// Commit writes all or nothing; ErrConflict when an Expect is stale.
	Commit(ctx context.Context, writes ...checkout.Write) ([]uint64, error)
	// List gives entries under prefix by version, those after the given one.
	List(ctx context.Context, prefix string, after uint64, limit int) ([]checkout.Entry, error)
	// Watch calls f for every stored change under prefix, of any replica; f does not block.
	Watch(prefix string, f func(checkout.Entry)) (stop func())
}

// PSP is what this package asks of WZRDPAY. Errors of CreateInvoice carry a directive
// (*checkout.UpstreamError); one without counts as "outcome unknown".
type PSP interface {
	PreRequest(ctx context.Context, currency string) (checkout.PreRequest, error)
	CreateInvoice(ctx context.Context, r checkout.InvoiceRequest) (checkout.Invoice, error)
	Invoice(ctx context.Context, id string) (checkout.Invoice, error)
	InvoiceByReference(ctx context.Context, reference string) (checkout.Invoice, error)
	Invoices(ctx context.Context, after string, limit int) (list []checkout.Invoice, next string, err error)
}

// Observer counts what happens. The words are closed lists, fit for metric labels.
type Observer interface {
	// Session: opened, replayed, conflict, patched, closed, expired.
	Session(outcome string)
	// Attempt: claimed, created, adopted, replayed, waited, recovered, withdrawn, burnt,
	// unknown, refused_redirect.
	Attempt(outcome string)
	// Invoice: source callback, create, lookup, refresh, reread, walk; outcome applied,
	// same, unknown_status, contradiction, unheard, or a reason for which nothing was
	// applied: no_session, no_attempt, other_invoice, mismatch, wrong_mode, no_invoice.
	Invoice(source, outcome string)
}

type silent struct{}

func (silent) Session(string)         {}
func (silent) Attempt(string)         {}
func (silent) Invoice(string, string) {}

// Config is what a Service is made of. Store, PSP, Matcher, Keys, ReturnURLs and
// CallbackURL are required.
type Config struct {
	Store   Store
	PSP     PSP
	Matcher fields.Matcher

	Keys     []Key    // the first signs, all verify
	TestMode bool     // fixed by the public key
	Origins  []string // page origins a session may name, the BFF's own included

	// ReturnURLs gives the BFF's own return addresses for a session; token has the scope status.
	ReturnURLs func(sessionID, token string) checkout.ReturnURLs
	// CallbackURL goes with every invoice.
	CallbackURL string
	// RedirectHosts, when not empty, are the only hosts a shopper is sent to, lower case, on any port.
	RedirectHosts []string
	// ReRead: a final status that a callback brought is read again through the private API.
	ReRead bool
	// Replica is a name that survives a restart and that no other replica has: after a
	// restart the claims of the process before are finished at once. "" = they run out first.
	Replica string

	Budget time.Duration // for all calls of one attempt; 0 = 25 s
	Wait   time.Duration // for an attempt that another makes; 0 = 10 s

	Log      *slog.Logger     // nil = discard
	Observer Observer         // nil = none
	Now      func() time.Time // nil = time.Now
}

func (c *Config) validate() error {
	switch {
	case c.Store == nil:
		return errors.New("session: Store is missing")
	case c.PSP == nil:
		return errors.New("session: PSP is missing")
	case c.Matcher == nil:
		return errors.New("session: Matcher is missing")
	case c.ReturnURLs == nil:
		return errors.New("session: ReturnURLs is missing")
	case strings.Contains(c.Replica, "/"):
		return errors.New("session: Replica has a slash")
	case c.Budget < 0 || c.Budget > 2*time.Minute:
		return errors.New("session: Budget is not within 0 to 2 minutes")
	case c.Wait < 0 || c.Wait > time.Minute:
		return errors.New("session: Wait is not within 0 to 1 minute")
	}
	if err := checkKeys(c.Keys); err != nil {
		return fmt.Errorf("session: Keys: %w", err)
	}
	if u, err := url.Parse(c.CallbackURL); err != nil || u.Host == "" {
		return errors.New("session: CallbackURL is not an absolute URL")
	}
	if c.Budget == 0 {
		c.Budget = 25 * time.Second
	}
	if c.Wait == 0 {
		c.Wait = 10 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Observer == nil {
		c.Observer = silent{}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

// Service is the sessions of one merchant account in one mode. It is safe for concurrent use.
type Service struct {
	cfg  Config
	boot string // this process, in the owner of its claims

	mu       sync.Mutex
	inflight map[string]bool // owners of claims that this process is working on
	asked    map[string]*question
	views    map[string]cachedView

	tokens  tokens
	rereads chan reread
	cancel  context.CancelFunc
	workers sync.WaitGroup
}

// New checks the configuration; the error names the member. Nothing runs before Start.
func New(cfg Config) (*Service, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Service{
		cfg:      cfg,
		boot:     rand.Text(),
		inflight: map[string]bool{},
		asked:    map[string]*question{},
		views:    map[string]cachedView{},
		tokens:   newTokens(cfg.Keys),
		rereads:  make(chan reread, 1024),
	}, nil
}

// Start runs the workers that read final statuses again. Without it the timers do.
func (s *Service) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for range 4 {
		s.workers.Go(func() { s.rereader(ctx) })
	}
}

// Stop ends the workers and waits for them, at most until ctx is done. What they did
// not reach is done by the session's timer.
func (s *Service) Stop(ctx context.Context) error {
	if s.cancel == nil {
		return nil
	}
	s.cancel()
	done := make(chan struct{})
	go func() { s.workers.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop session workers: %w", ctx.Err())
	}
}

func (s *Service) now() int64 { return s.cfg.Now().Unix() }

func (s *Service) mode() string { return modeName(s.cfg.TestMode) }

func modeName(test bool) string {
	if test {
		return "test"
	}
	return "live"
}
