// Package webhook tells the shop's server what happened to its sessions: signed
// messages (Standard Webhooks), at least once, in order per session, retried for three
// days. It is the only package that imports the standard-webhooks library.
//
// An event is stored by whoever changes the session, in the same commit as the state,
// under event.<session>.<n>. This package owns what follows: delivery.<session>.<n> is
// what became of the event (compare-and-set), dead.<session>.<n> lists those given up,
// webhook.cursor says up to which stored version everything is done and what is still
// open below it. One replica at a time sends (a lease); that is for economy only: an
// event counts as delivered when its delivery record says so, and two replicas that
// send at once cost the shop a duplicate with the same webhook-id, never a loss.
package webhook

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"wzrdcheckout/internal/checkout"
)

// Store is where events, their deliveries and the cursor live (broker.Store).
type Store interface {
	// Get reads a key, possibly from a cache; checkout.ErrNotFound.
	Get(ctx context.Context, key string) (checkout.Entry, error)
	// Fresh reads a key, never from a cache; checkout.ErrNotFound.
	Fresh(ctx context.Context, key string) (checkout.Entry, error)
	// Commit stores all writes or none; checkout.ErrConflict on a stale Expect.
	Commit(ctx context.Context, writes ...checkout.Write) ([]uint64, error)
	// List gives the entries under prefix with a version above after, oldest first.
	List(ctx context.Context, prefix string, after uint64, limit int) ([]checkout.Entry, error)
	// Watch calls f for every stored change under prefix, by any replica.
	Watch(prefix string, f func(checkout.Entry)) (stop func())
	// Lease takes or renews a lease by name and tells whether this replica holds it.
	Lease(ctx context.Context, name string, ttl time.Duration) (bool, error)
}

// Observer counts what happens. Calls come from many goroutines.
type Observer interface {
	// WebhookAttempt is one request to the shop. Result is "delivered", "gone",
	// "redirect", "http_4xx", "http_5xx", "http_other", "timeout" or "error".
	WebhookAttempt(result string, elapsed time.Duration)
	// WebhookDelivered is an event that arrived, lag after it happened.
	WebhookDelivered(lag time.Duration)
	// WebhookDead is an event given up.
	WebhookDead()
	// WebhookPending tells how many events wait on this replica and how old the oldest is.
	WebhookPending(count int, oldest time.Duration)
}

// Config is what New needs.
type Config struct {
	URL     string   // BFF_WEBHOOK_URL; "" = events are kept and nothing is sent
	Secrets []string // BFF_WEBHOOK_SECRETS: whsec_ and the base64 of 24 to 64 bytes; each one signs
	Live    bool     // live keys: the URL must be https
	Version string   // of the program, for User-Agent

	Store    Store
	Log      *slog.Logger
	Observer Observer // nil = none

	// Transport replaces the network in tests.
	Transport http.RoundTripper
}

const (
	// attemptTimeout bounds one request, from dialling to the end of the answer.
	attemptTimeout = 10 * time.Second
	// storeTimeout bounds one call to the store.
	storeTimeout = 10 * time.Second
	// concurrency is how many lanes send at once; retries may take half of it, so that an
	// endpoint that hangs for some sessions leaves room for the others.
	concurrency      = 16
	retryConcurrency = concurrency / 2
	// maxPending bounds the events held in memory (about 300 B each: 15 MB); the rest
	// waits in the store.
	maxPending = 50_000
	// page is how many events one List asks for.
	page = 500
	// maxOpen bounds the unfinished events that the cursor names (about 40 B each).
	maxOpen = 1000
	// leaseTTL is how long a dead replica keeps the others from sending.
	leaseTTL = 10 * time.Second
	// saveEvery is how often a changed cursor is stored: what a start may read twice.
	saveEvery = 5 * time.Second
	// pollEvery makes up for a watch that missed something.
	pollEvery = 30 * time.Second
)

func (c Config) validate() error {
	if c.Store == nil {
		return errors.New("webhook: Store is missing")
	}
	if c.Log == nil {
		return errors.New("webhook: Log is missing")
	}
	if c.URL == "" {
		if len(c.Secrets) > 0 {
			return errors.New("BFF_WEBHOOK_URL is missing, and BFF_WEBHOOK_SECRETS is set")
		}
		return nil
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "" {
		return errors.New("BFF_WEBHOOK_URL is not an absolute URL")
	}
	switch {
	case u.User != nil:
		return errors.New("BFF_WEBHOOK_URL must not hold a user or a password")
	case u.Fragment != "":
		return errors.New("BFF_WEBHOOK_URL must not have a fragment")
	case u.Scheme == "https":
	case u.Scheme != "http":
		return errors.New("BFF_WEBHOOK_URL must be https")
	case c.Live:
		return errors.New("BFF_WEBHOOK_URL must be https with live keys")
	case !loopback(u.Hostname()):
		return errors.New("BFF_WEBHOOK_URL must be https, or http on a loopback host with test keys")
	}
	if len(c.Secrets) == 0 {
		return errors.New("BFF_WEBHOOK_SECRETS is missing, and BFF_WEBHOOK_URL is set")
	}
	for i, secret := range c.Secrets {
		encoded, ok := strings.CutPrefix(secret, "whsec_")
		if !ok {
			return fmt.Errorf("BFF_WEBHOOK_SECRETS: secret %d does not begin with whsec_", i+1)
		}
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(raw) < 24 || len(raw) > 64 {
			return fmt.Errorf("BFF_WEBHOOK_SECRETS: secret %d is not the base64 of 24 to 64 bytes", i+1)
		}
	}
	return nil
}

func loopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Service delivers webhooks from Start to Stop, and answers what was or will be sent.
type Service struct {
	store Store
	log   *slog.Logger
	obs   Observer
	send  *sender // nil without a URL

	loadWake chan struct{} // events may have been stored
	sendWake chan struct{} // the queue or the free slots changed
	syncWake chan struct{} // someone else wrote the cursor

	mu         sync.Mutex
	room       int // events held at most: maxPending
	queue      *queue
	frontier   uint64 // every event up to this version was seen by the loader
	seen       uint64 // greatest event version that the watch told of
	cursorSeen uint64 // greatest cursor version that the watch told of
	cursorHave uint64 // cursor version that the queue reflects
	saved      cursor // as stored under cursorHave

	life    sync.Mutex
	cancel  context.CancelFunc // ends the run; nil before Start
	abandon context.CancelFunc // ends the requests under way
	stopped bool
	done    chan struct{}
}

// New checks the configuration; its error names the setting.
func New(c Config) (*Service, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	s := &Service{
		store: c.Store, log: c.Log, obs: c.Observer,
		loadWake: make(chan struct{}, 1), sendWake: make(chan struct{}, 1), syncWake: make(chan struct{}, 1),
		room: maxPending, queue: newQueue(), done: make(chan struct{}),
	}
	if s.obs == nil {
		s.obs = nobody{}
	}
	if c.URL != "" {
		var err error
		if s.send, err = newSender(c); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Start begins to deliver as soon as this replica gets the lease. Without a URL there is
// nothing to do.
func (s *Service) Start(ctx context.Context) error {
	s.life.Lock()
	defer s.life.Unlock()
	switch {
	case s.stopped:
		return fmt.Errorf("start webhooks: %w", checkout.ErrUnavailable)
	case s.cancel != nil || s.send == nil:
		return nil
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	flights, abandon := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel, s.abandon = cancel, abandon
	unwatchEvents := s.store.Watch("event.", s.eventStored)
	unwatchCursor := s.store.Watch("webhook.", s.cursorStored)
	go func() {
		defer close(s.done)
		defer unwatchEvents()
		defer unwatchCursor()
		s.hold(run, flights)
	}()
	return nil
}

// Stop ends the deliveries: requests under way may finish until ctx ends; what was not
// answered by then is sent again by whoever comes next, with the same id.
func (s *Service) Stop(ctx context.Context) error {
	s.life.Lock()
	s.stopped = true
	cancel, abandon := s.cancel, s.abandon
	s.life.Unlock()
	if cancel == nil {
		return nil
	}
	defer abandon()
	cancel()
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	abandon()
	<-s.done
	return nil
}

func (s *Service) eventStored(e checkout.Entry) {
	s.mu.Lock()
	s.seen = max(s.seen, e.Version)
	s.mu.Unlock()
	wake(s.loadWake)
}

func (s *Service) cursorStored(e checkout.Entry) {
	if e.Key != cursorKey {
		return
	}
	s.mu.Lock()
	s.cursorSeen = max(s.cursorSeen, e.Version)
	behind := s.cursorSeen > s.cursorHave
	s.mu.Unlock()
	if behind {
		wake(s.syncWake)
	}
}

// wake leaves one note in a channel of one; a note that is already there is enough.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pause waits d or until ctx ends, and tells whether there is a reason to go on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

type nobody struct{}

func (nobody) WebhookAttempt(string, time.Duration) {}
func (nobody) WebhookDelivered(time.Duration)       {}
func (nobody) WebhookDead()                         {}
func (nobody) WebhookPending(int, time.Duration)    {}
