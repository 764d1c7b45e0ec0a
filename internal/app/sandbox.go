package app

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"wzrdcheckout/internal/sandbox"
)

// SandboxConfig is what `bff sandbox` can be told. Keys that are not given are the demo's.
type SandboxConfig struct {
	Listen        string
	ControlListen string
	PublicURL     string
	CallbackURL   string
	CallbackRetry time.Duration
	Catalogue     string
	Faults        string // "none" or "misbehaving"
	Seed          uint64
	WZRD          WZRD
	Logger        *slog.Logger
}

// Sandbox is WZRDPAY's double alone.
type Sandbox struct{ server *sandbox.Server }

// NewSandbox makes one. Live keys are refused.
func NewSandbox(cfg SandboxConfig) (*Sandbox, error) {
	faults := sandbox.NoFaults()
	switch cfg.Faults {
	case "", "none":
	case "misbehaving":
		faults = sandbox.Misbehaving(cfg.Seed)
	default:
		return nil, fmt.Errorf("--faults: %q is neither none nor misbehaving", cfg.Faults)
	}
	keys := sandbox.DemoCredentials()
	if cfg.WZRD.PublicKey != "" {
		keys.PublicKeys = []string{cfg.WZRD.PublicKey}
	}
	if cfg.WZRD.AccountID != "" {
		keys.AccountID = cfg.WZRD.AccountID
	}
	if cfg.WZRD.APIKey != "" {
		keys.APIKey = cfg.WZRD.APIKey
	}
	if len(cfg.WZRD.SigningKeys) > 0 {
		keys.SigningKeys = cfg.WZRD.SigningKeys[:1]
	}
	server, err := sandbox.New(sandbox.Config{
		Listen: cfg.Listen, ControlListen: cfg.ControlListen, PublicURL: cfg.PublicURL, CallbackURL: cfg.CallbackURL,
		CallbackRetry: cfg.CallbackRetry, Catalogue: cfg.Catalogue, Faults: faults, Credentials: keys, Logger: cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	return &Sandbox{server}, nil
}

// Start serves.
func (s *Sandbox) Start(ctx context.Context) error { return s.server.Start(ctx) }

// Stop stops serving.
func (s *Sandbox) Stop(ctx context.Context) error { return s.server.Stop(ctx) }

// Failed never gives anything: the sandbox has no part that ends by itself.
func (s *Sandbox) Failed() <-chan error { return nil }

// Settings are the variables that point a BFF at this sandbox, as shell lines.
func (s *Sandbox) Settings() string {
	at, keys := s.server.URL(), s.server.Credentials()
	return fmt.Sprintf(`export WZRD_PUBLIC_API=%[1]s/public-api
export WZRD_PRIVATE_API=%[1]s/api
export WZRD_HPP_URL=%[1]s
export WZRD_PUBLIC_KEY=%[2]s
export WZRD_ACCOUNT_ID=%[3]s
export WZRD_API_KEY=%[4]s
export WZRD_SIGNING_KEYS=%[5]s
`, at, keys.PublicKeys[0], keys.AccountID, keys.APIKey, strings.Join(keys.SigningKeys, ","))
}
