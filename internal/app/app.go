// Package app joins the parts into one program: it alone knows them all, turns the
// settings into their configs, starts them in order and stops them in reverse.
package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"wzrdcheckout/docs"
	"wzrdcheckout/internal/broker"
	"wzrdcheckout/internal/callback"
	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/httpapi"
	"wzrdcheckout/internal/metrics"
	"wzrdcheckout/internal/ops"
	"wzrdcheckout/internal/push"
	"wzrdcheckout/internal/session"
	"wzrdcheckout/internal/webhook"
	"wzrdcheckout/internal/wzrd"
	"wzrdcheckout/public"
)

// App is the running BFF.
type App struct {
	cfg    Config
	log    *slog.Logger
	failed chan error

	public, private net.Listener
	store           *broker.Broker
	client          *wzrd.Client
	sessions        *session.Service

	mu       sync.Mutex
	cleanups []cleanup // last in, first out
	stopping bool
}

// cleanup undoes one step of Start.
type cleanup struct {
	name string
	stop func(context.Context) error
}

// New checks the settings and the binary; it starts nothing. It returns every wrong
// setting at once, and public.ErrNotBuilt when the widget is not in the binary.
func New(cfg Config) (*App, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if _, err := public.Load(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &App{cfg: cfg, log: cfg.Logger, failed: make(chan error, 8)}, nil
}

// Start opens the store, then the rules, the callbacks, the sockets and the webhooks, and
// at last the two planes. When a step fails the caller still calls Stop.
func (a *App) Start(ctx context.Context) error {
	began := time.Now()
	for _, step := range []func(context.Context) error{a.listen, a.open, a.join} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(a.cfg.MerchantKeys, func(key string) bool { return len(key) < 16 }) {
		a.log.Warn("a key of BFF_MERCHANT_KEYS is shorter than 16 characters: refused with live keys of WZRDPAY")
	}
	a.log.Info("bff serves", "version", a.cfg.Version, "public", a.Addr(), "private", a.PrivateAddr(),
		"public_url", a.cfg.PublicURL, "live", a.cfg.Live(), "took_ms", time.Since(began).Milliseconds())
	return nil
}

// Stop ends everything in the reverse order of Start and gives what went wrong on the
// way. It is safe before, during and after Start, and to be called twice.
func (a *App) Stop(ctx context.Context) error {
	a.mu.Lock()
	list := a.cleanups
	a.cleanups, a.stopping = nil, true
	a.mu.Unlock()
	var wrong []error
	for _, c := range slices.Backward(list) {
		if err := c.stop(ctx); err != nil {
			wrong = append(wrong, fmt.Errorf("stop %s: %w", c.name, err))
		}
	}
	return errors.Join(wrong...)
}

// Failed gives an error when a part that must run has ended by itself.
func (a *App) Failed() <-chan error { return a.failed }

// Addr is the public plane's address, host:port.
func (a *App) Addr() string { return a.public.Addr().String() }

// PrivateAddr is the private plane's address, host:port.
func (a *App) PrivateAddr() string { return a.private.Addr().String() }

// onStop registers the undoing of a step that has just succeeded.
func (a *App) onStop(name string, stop func(context.Context) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cleanups = append(a.cleanups, cleanup{name, stop})
}

func (a *App) isStopping() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stopping
}

// listen takes both ports first: a port in use is the most common reason not to start.
func (a *App) listen(ctx context.Context) error {
	open := func(setting, address string, given net.Listener) (net.Listener, error) {
		if given != nil {
			return given, nil
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", setting, err)
		}
		return l, nil
	}
	var err error
	if a.public, err = open("BFF_LISTEN", a.cfg.Listen, a.cfg.PublicListener); err != nil {
		return err
	}
	a.onStop("public listener", func(context.Context) error { return closed(a.public.Close()) })
	if a.private, err = open("BFF_PRIVATE_LISTEN", a.cfg.PrivateListen, a.cfg.PrivateListener); err != nil {
		return err
	}
	a.onStop("private listener", func(context.Context) error { return closed(a.private.Close()) })
	return nil
}

func closed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// open brings the store up.
func (a *App) open(ctx context.Context) error {
	c := a.cfg
	config := broker.Config{
		Dir:     c.DataDir,
		NATSURL: c.NATS.URL, NATSCreds: c.NATS.Creds, NATSCA: c.NATS.CA, NATSCert: c.NATS.Cert, NATSKey: c.NATS.Key,
		RetentionDays: c.RetentionDays, Logger: a.log,
	}
	switch {
	case c.NATS.URL != "":
		config.Replicas = c.NATS.Replicas
	case len(c.Cluster.Peers) > 0:
		config.ClusterName, config.ClusterListen, config.ClusterPeers = c.Cluster.Name, c.Cluster.Listen, c.Cluster.Peers
		config.ClusterAdvertise, config.ClusterSecret = c.Cluster.Advertise, c.clusterSecret()
		config.ClusterCA, config.ClusterCert, config.ClusterKey = c.Cluster.CA, c.Cluster.Cert, c.Cluster.Key
	}
	store, err := broker.Open(ctx, config)
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	a.store = store
	a.onStop("store", store.Close)
	a.background("watch over the store", func(ctx context.Context) error {
		select {
		case <-ctx.Done():
		case err := <-store.Failed():
			a.failed <- fmt.Errorf("store: %w", err)
		}
		return nil
	})
	return nil
}

// join makes every other part and starts it.
func (a *App) join(ctx context.Context) error {
	c, registry := a.cfg, metrics.New(a.cfg.Version)
	registry.Store(func() metrics.StoreStats { return metrics.StoreStats(a.store.Stats()) })

	client, err := wzrd.New(wzrd.Config{
		PublicAPI: c.WZRD.PublicAPI, PrivateAPI: c.WZRD.PrivateAPI, HPPURL: c.WZRD.HPPURL,
		PublicKey: c.WZRD.PublicKey, AccountID: c.WZRD.AccountID, APIKey: wzrd.Secret(c.WZRD.APIKey),
		SigningKeys: secrets(c.WZRD.SigningKeys), RatePerSecond: c.WZRD.RatePerSecond, Burst: c.WZRD.Burst,
		RedirectHosts: c.RedirectHosts, Observer: registry.Wzrd, Logger: a.log,
	})
	if err != nil {
		return err
	}
	a.client = client
	a.onStop("wzrd client", client.Stop)

	keys, err := session.ParseKeys(strings.Join(c.SessionKeys, ","))
	if err != nil {
		return fmt.Errorf("BFF_SESSION_KEYS: %w", err)
	}
	sessions, err := session.New(session.Config{
		Store: a.store, PSP: client, Matcher: wzrd.NewPatterns(registry.Wzrd), Keys: keys, TestMode: !c.Live(),
		Origins: a.origins(), ReturnURLs: a.returnURLs, CallbackURL: c.PublicURL + "/v1/callbacks/wzrdpay",
		RedirectHosts: lower(c.RedirectHosts), ReRead: c.reread(), Replica: a.store.Name(),
		Log: a.log, Observer: registry.Session,
	})
	if err != nil {
		return err
	}
	sessions.Start()
	a.sessions = sessions
	a.onStop("sessions", sessions.Stop)

	outbox, err := webhook.New(webhook.Config{
		URL: c.WebhookURL, Secrets: c.WebhookSecrets, Live: c.Live(), Version: c.Version,
		Store: a.store, Log: a.log, Observer: registry.Webhook,
	})
	if err != nil {
		return err
	}
	if err := outbox.Start(ctx); err != nil {
		return fmt.Errorf("start webhooks: %w", err)
	}
	a.onStop("webhooks", outbox.Stop)

	intake, err := callback.NewIntake(callback.IntakeConfig{
		Verifier: client.Verifier(), Log: a.store, Observer: intakeCounts{registry.Callback}, Logger: a.log,
	})
	if err != nil {
		return err
	}
	worker, err := callback.NewWorker(callback.WorkerConfig{
		Log: a.store, Store: a.store, Leaser: a.store, Parser: wzrd.ParseCallback, Applier: sessions,
		Observer: intakeCounts{registry.Callback}, Logger: a.log, Busy: intake.Busy,
	})
	if err != nil {
		return err
	}
	worker.Start()
	a.onStop("callback worker", worker.Stop)
	intake.Start()
	a.onStop("callback intake", intake.Stop)
	a.background("timers", func(ctx context.Context) error { return a.store.Due(ctx, sessions.Timer) })
	a.background("sweep", func(ctx context.Context) error {
		// A replica of three starts before there is a majority to read from.
		if err := a.untilReady(ctx); err != nil {
			return err
		}
		return sessions.Sweep(ctx)
	})
	a.background("reconciliation", nightly{store: a.store, now: time.Now, log: a.log, walk: func(ctx context.Context) error {
		_, err := sessions.Reconcile(ctx)
		return err
	}}.run)

	return a.edge(ctx, registry, outbox, intake)
}

// edge makes the sockets and the two planes and serves them.
func (a *App) edge(ctx context.Context, registry *metrics.Registry, outbox *webhook.Service, intake *callback.Intake) error {
	c := a.cfg
	manifest, err := public.Load()
	if err != nil {
		return err
	}
	assets, err := fs.Sub(public.FS, public.Dir)
	if err != nil {
		return fmt.Errorf("open assets: %w", err)
	}
	var api *httpapi.API
	hub, err := push.New(push.Config{
		Source: source{a.store}, Auth: tokens{a.sessions}, Origins: a.origins(),
		MaxPerAddress: c.Limits.SocketsPerAddress, MaxPerSession: c.Limits.SocketsPerSession,
		Refuse:   func(w http.ResponseWriter, r *http.Request, err error) { api.Refuse(w, r, err) },
		Address:  func(r *http.Request) string { return api.Address(r) },
		Observer: registry.Push, Log: a.log,
	})
	if err != nil {
		return err
	}
	panel, err := ops.New(ops.Config{
		Sessions: history{a.sessions}, Webhooks: events{outbox}, Store: a.store, Keys: c.MerchantKeys,
		Live: c.Live(), Version: c.Version, OpenAPI: docs.OpenAPI, Log: a.log, Gather: registry.Gather,
	})
	if err != nil {
		return err
	}
	var proxies []netip.Prefix
	for _, text := range c.TrustedProxies {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("BFF_TRUSTED_PROXIES: %w", err)
		}
		proxies = append(proxies, prefix)
	}
	shop := merchant{sessions: a.sessions, client: a.client, outbox: outbox}
	api, err = httpapi.New(httpapi.Config{
		PublicURL: c.PublicURL, Origins: c.AllowedOrigins, MerchantKeys: c.MerchantKeys, Live: c.Live(),
		Checkout: shopper{a.sessions}, Merchant: shop, Callbacks: receiver{intake}, Sockets: hub, Updates: hub,
		Versions: versions{a.store, a.client}, Fallback: c.Fallback, Assets: assets, Manifest: assetList(manifest),
		Metrics: registry.Handler(), Ops: panel, Ready: a.ready, OpenAPI: docs.OpenAPI,
		Version: c.Version, Commit: c.Commit, Widget: manifest.Compiler,
		Observer: registry.HTTP, Log: a.log, TrustedProxies: proxies,
		Limits: httpapi.Limits{
			Requests: c.Limits.Requests, RequestsBurst: c.Limits.RequestsBurst, Pays: c.Limits.Pays, PaysBurst: c.Limits.PaysBurst,
		},
	})
	if err != nil {
		return err
	}
	private, public := httpapi.Server(api.Private(), a.log), httpapi.Server(api.Public(), a.log)
	private.ConnState, public.ConnState = registry.HTTP.Connections("private"), registry.HTTP.Connections("public")
	a.serve("private plane", a.private, private)
	a.serve("public plane", a.public, public)
	// Sockets are told to come back elsewhere before the planes are closed.
	if err := hub.Start(ctx); err != nil {
		return fmt.Errorf("start push: %w", err)
	}
	a.onStop("push", hub.Stop)
	a.background("watch over the sockets", func(ctx context.Context) error { a.hear(ctx, hub); return nil })
	return nil
}

const (
	hearEvery = 500 * time.Millisecond
	// deafAfter is how long a replica may hear of no leader, while it is not ready either,
	// before its pages are sent away. An election alone leaves it ready.
	deafAfter = 3 * time.Second
)

// hear sends the pages away while this replica can not hear of changes.
func (a *App) hear(ctx context.Context, hub *push.Hub) {
	tick := time.NewTicker(hearEvery)
	defer tick.Stop()
	deaf, heard := false, false // heard: it has been part of the cluster before
	for {
		was := deaf
		if deaf = a.store.Silent() > deafAfter; deaf && !was {
			err := a.store.Ready(ctx)
			if deaf = err != nil && ctx.Err() == nil; deaf {
				if heard {
					a.log.Warn("cut off: pages are sent to the other replicas", "open", hub.Open(), "err", err)
				}
				hub.Deafen(ctx)
			}
		} else if was && !deaf {
			hub.Undeafen()
			if heard {
				a.log.Info("no longer cut off: pages are welcome")
			}
		}
		heard = heard || !deaf
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// serve answers on a listener until Stop, which lets running requests finish.
func (a *App) serve(name string, l net.Listener, server *http.Server) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) && !a.isStopping() {
			a.failed <- fmt.Errorf("%s: %w", name, err)
		}
	}()
	a.onStop(name, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, shutdownGrace)
		defer cancel()
		err := server.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		<-done
		return closed(err)
	})
}

// readyEvery is how often work that wants the store asks whether it is there.
const readyEvery = 250 * time.Millisecond

// background runs work until Stop. Work that ends with an error is said and not repeated.
func (a *App) background(name string, work func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := work(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("background work ended", "work", name, "err", err)
		}
	}()
	a.onStop(name, func(ctx context.Context) error {
		cancel()
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// untilReady waits until the store can be read and written, or ctx ends.
func (a *App) untilReady(ctx context.Context) error {
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for a.store.Ready(ctx) != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// ready tells whether this replica can really accept a callback and change a session.
func (a *App) ready(ctx context.Context) error {
	if a.isStopping() {
		return &checkout.Error{Kind: checkout.ErrUnavailable, Code: "stopping", Detail: "the replica is stopping", Retryable: true}
	}
	return a.store.Ready(ctx)
}

// origins are the page origins that may use the browser API: the BFF's own always.
func (a *App) origins() []string {
	own := a.cfg.PublicURL
	if slices.Contains(a.cfg.AllowedOrigins, own) {
		return a.cfg.AllowedOrigins
	}
	return append([]string{own}, a.cfg.AllowedOrigins...)
}

// returnURLs are where WZRDPAY sends the shopper back to.
func (a *App) returnURLs(_, statusToken string) checkout.ReturnURLs {
	at := func(outcome string) string {
		return a.cfg.PublicURL + "/return/" + outcome + "?t=" + url.QueryEscape(statusToken)
	}
	return checkout.ReturnURLs{Success: at("success"), Pending: at("pending"), Fail: at("fail")}
}

// lower is how host names are compared.
func lower(hosts []string) []string {
	list := make([]string, len(hosts))
	for i, host := range hosts {
		list[i] = strings.ToLower(host)
	}
	return list
}

func secrets(keys []string) []wzrd.Secret {
	list := make([]wzrd.Secret, len(keys))
	for i, key := range keys {
		list[i] = wzrd.Secret(key)
	}
	return list
}
