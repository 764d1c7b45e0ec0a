package app

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"wzrdcheckout/internal/demo"
	"wzrdcheckout/internal/sandbox"
)

// DemoConfig is what `bff demo` can be told. The zero value of each member is the default.
type DemoConfig struct {
	Listen        string   // shop and public plane; localhost:8080
	PrivateListen string   // 127.0.0.1:8081
	SandboxListen string   // 127.0.0.1:8082
	PublicURL     string   // http://localhost:<port of Listen>
	DataDir       string   // "" = a new folder that Stop removes
	Origins       []string // pages elsewhere that may embed the widget
	WebhookURL    string   // "" = the demo's own shop
	WebhookSecret string   // whsec_…; "" = a random one
	MerchantKey   string   // "" = a random one
	Catalogue     string   // OpenFinTech JSON file of the sandbox; "" = its own
	Faults        sandbox.Faults
	CallbackRetry time.Duration // unit of the sandbox's retry schedule; 2 s
	Version       string
	Commit        string
	Logger        *slog.Logger
}

// Demo is BFF, sandbox and demo shop in one process. It takes test keys only: its own.
type Demo struct {
	cfg     DemoConfig
	config  Config // of the BFF; Start adds the addresses that are known by then
	sandbox *sandbox.Server
	bff     *App   // nil until Start
	scratch string // folder to remove, "" = none
}

// NewDemo takes the ports and joins the three; Start starts them.
func NewDemo(cfg DemoConfig) (*Demo, error) {
	word := func(to *string, value string) {
		if *to == "" {
			*to = value
		}
	}
	word(&cfg.Listen, "localhost:8080")
	word(&cfg.PrivateListen, "127.0.0.1:8081")
	word(&cfg.SandboxListen, "127.0.0.1:8082")
	word(&cfg.MerchantKey, "mk_demo_"+rand.Text())
	if cfg.CallbackRetry == 0 {
		cfg.CallbackRetry = 2 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Demo{cfg: cfg}
	if err := d.prepare(); err != nil {
		return nil, errors.Join(err, d.tidy())
	}
	return d, nil
}

func (d *Demo) prepare() error {
	cfg := d.cfg
	if cfg.DataDir == "" {
		dir, err := os.MkdirTemp("", "wzrdcheckout-demo-")
		if err != nil {
			return fmt.Errorf("make data folder: %w", err)
		}
		d.scratch, cfg.DataDir = dir, dir
	}
	public, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("BFF_LISTEN: %w", err)
	}
	_, port, err := net.SplitHostPort(public.Addr().String())
	if err != nil {
		return errors.Join(fmt.Errorf("BFF_LISTEN: %w", err), public.Close())
	}
	home := cfg.PublicURL
	if home == "" {
		home = "http://localhost:" + port
	}
	keys := sandbox.DemoCredentials()
	d.sandbox, err = sandbox.New(sandbox.Config{
		Listen: cfg.SandboxListen, Credentials: keys, Faults: cfg.Faults, CallbackRetry: cfg.CallbackRetry,
		AccountName: "Kobza Lamps", MerchantURL: home, Catalogue: cfg.Catalogue, Logger: cfg.Logger.With("part", "sandbox"),
	})
	if err != nil {
		return errors.Join(err, public.Close())
	}
	secret := make([]byte, 32)
	webhookSecret := make([]byte, 32)
	_, _ = rand.Read(secret)        // never fails (crypto/rand)
	_, _ = rand.Read(webhookSecret) // never fails
	if cfg.WebhookSecret == "" {
		cfg.WebhookSecret = "whsec_" + base64.StdEncoding.EncodeToString(webhookSecret)
	}
	if cfg.WebhookURL == "" {
		cfg.WebhookURL = home + "/shop/webhook"
	}
	config := Default()
	config.PublicListener, config.PublicURL = public, home
	config.PrivateListen, config.DataDir = cfg.PrivateListen, cfg.DataDir
	config.MerchantKeys, config.AllowedOrigins = []string{cfg.MerchantKey}, cfg.Origins
	config.SessionKeys = []string{"demo:" + base64.StdEncoding.EncodeToString(secret)}
	config.WebhookURL, config.WebhookSecrets = cfg.WebhookURL, []string{cfg.WebhookSecret}
	config.Version, config.Commit, config.Logger = cfg.Version, cfg.Commit, cfg.Logger
	config.WZRD.PublicKey, config.WZRD.AccountID = keys.PublicKeys[0], keys.AccountID
	config.WZRD.APIKey, config.WZRD.SigningKeys = keys.APIKey, keys.SigningKeys

	d.config = config
	return nil
}

// Start starts the sandbox, then the BFF with the shop in front of its public plane.
func (d *Demo) Start(ctx context.Context) error {
	if err := d.sandbox.Start(ctx); err != nil {
		return fmt.Errorf("start sandbox: %w", err)
	}
	private, err := (&net.ListenConfig{}).Listen(ctx, "tcp", d.cfg.PrivateListen)
	if err != nil {
		return fmt.Errorf("BFF_PRIVATE_LISTEN: %w", err)
	}
	config := d.config
	config.PrivateListener = private
	at := d.sandbox.URL()
	config.WZRD.PublicAPI, config.WZRD.PrivateAPI, config.WZRD.HPPURL = at+"/public-api", at+"/api", at
	shop, err := demo.New(demo.Config{
		API: "http://" + private.Addr().String(), Widget: config.PublicURL, Home: config.PublicURL,
		MerchantKey: d.cfg.MerchantKey, WebhookSecret: config.WebhookSecrets[0], Logger: d.cfg.Logger.With("part", "shop"),
	})
	if err != nil {
		return errors.Join(err, private.Close())
	}
	// One address for both, so that the demo needs one port to be reachable.
	config.Fallback = shop.Handler()
	if d.bff, err = New(config); err != nil {
		return errors.Join(err, private.Close())
	}
	return d.bff.Start(ctx)
}

// Stop stops all three.
func (d *Demo) Stop(ctx context.Context) error {
	var wrong error
	if d.bff != nil {
		wrong = d.bff.Stop(ctx)
	}
	return errors.Join(wrong, closed(d.config.PublicListener.Close()), d.sandbox.Stop(ctx), d.tidy())
}

func (d *Demo) tidy() error {
	if d.scratch == "" {
		return nil
	}
	return os.RemoveAll(d.scratch)
}

// Failed gives an error when a part has ended by itself.
func (d *Demo) Failed() <-chan error { return d.bff.Failed() }

// URL is the shop's address.
func (d *Demo) URL() string { return d.config.PublicURL }

// Addr is where shop and public plane listen, host:port.
func (d *Demo) Addr() string { return d.bff.Addr() }

// API is the private plane's address.
func (d *Demo) API() string { return "http://" + d.bff.PrivateAddr() }

// MerchantKey opens the private plane.
func (d *Demo) MerchantKey() string { return d.cfg.MerchantKey }

// Sandbox is WZRDPAY's double, for tests that steer it.
func (d *Demo) Sandbox() *sandbox.Server { return d.sandbox }

// Tour says where everything is, and how a shop of one's own joins in.
func (d *Demo) Tour() string {
	var own strings.Builder
	if len(d.cfg.Origins) > 0 {
		fmt.Fprintf(&own, "    your page   may stand at %s (others: --allowed-origins)\n", strings.Join(d.cfg.Origins, ", "))
	}
	if d.cfg.WebhookURL != "" {
		fmt.Fprintf(&own, "    webhooks    to %s, signed with\n                %s\n", d.cfg.WebhookURL, d.config.WebhookSecrets[0])
	} else {
		own.WriteString("    webhooks    to the demo's shop (to yours: --webhook-url=http://localhost:3000/hooks/checkout)\n")
	}
	return fmt.Sprintf(`
  The demo is ready. No real money moves.

    shop        %[1]s
    hosted page %[1]s/checkout/<session id>
    operators   %[2]s/ops/        any user name, password %[3]s
    the API     %[2]s/ops/api     the same; metrics: %[2]s/metrics
    sandbox     %[4]s/_sandbox/
%[5]s
  Open a session yourself:

    export BFF=%[2]s PUBLIC=%[1]s MERCHANT_KEY=%[3]s SANDBOX=%[4]s
    curl -s $BFF/v1/sessions -H "Authorization: Bearer $MERCHANT_KEY" -H 'Content-Type: application/json' \
      -d '{"reference_id":"my-first","amount":10.5,"currency":"EUR"}'

  Ctrl-C stops it.

`, d.URL(), d.API(), d.MerchantKey(), d.sandbox.URL(), own.String())
}
