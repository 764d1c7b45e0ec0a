package sandbox

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"
)

// Config is what a Server needs. The zero value works: demo credentials, the
// built-in catalogue, no faults, a free port on the loopback address.
type Config struct {
	// Listen is host:port for everything; "127.0.0.1:0" when empty.
	Listen string
	// ControlListen is host:port for the control routes alone. When empty they
	// are served on Listen under /_sandbox/.
	ControlListen string
	// PublicURL is the base as seen from outside, a path prefix included. When
	// empty it is http://<actual address>, or the request's host behind Handler.
	PublicURL string

	// Credentials are the account's keys; DemoCredentials() when zero.
	Credentials Credentials
	// AllowLive accepts live keys and live invoices. Nothing real happens with
	// them, but a deployment that points its live keys here is in error.
	AllowLive bool

	// Faults are the knobs at the start; SetFaults changes them later.
	Faults Faults
	// Catalogue is the path of an OpenFinTech JSON file; the built-in catalogue
	// when empty.
	Catalogue string

	// CallbackURL is the account-level address, used when an invoice names none.
	CallbackURL string
	// CallbackRetry is the unit of the retry schedule: the n-th retry comes n
	// units after the one before. The vendor's unit is a minute, the default.
	CallbackRetry time.Duration
	// CallbackAttempts ends the retries; 100 by default.
	CallbackAttempts int
	// CallbackTimeout is the deadline of one delivery; 20 s by default, the
	// vendor's for test mode.
	CallbackTimeout time.Duration
	// CallbackBatch waits that long before the first delivery of a change, so
	// that close changes arrive as one. Zero sends at once; a state that is
	// still undelivered is replaced by a newer one either way.
	CallbackBatch time.Duration
	// EveryCallback switches the merging off: each change is delivered by
	// itself, in order.
	EveryCallback bool
	// FinalCallbacksOnly is the account's switch that holds back callbacks
	// about intermediate states.
	FinalCallbacksOnly bool

	// InvoiceLifetime is used when an invoice names no expires; 30 minutes.
	InvoiceLifetime time.Duration
	// AttemptsLimit is how many refused cards end an invoice; 5.
	AttemptsLimit int
	// AccountName, MerchantURL are the merchant as the hosted page shows it.
	AccountName, MerchantURL string
	// HistoryLimit is how many requests and deliveries are kept; 10,000.
	HistoryLimit int

	// Now is the clock; time.Now by default.
	Now func() time.Time
	// Logger gets what happens; discarded by default.
	Logger *slog.Logger
}

// Credentials are one account's keys. Formats are the vendor's: pk_test_ and
// sk_test_ followed by 43 URL-safe characters, coma_ followed by 16.
type Credentials struct {
	PublicKeys  []string
	AccountID   string
	APIKey      string
	SigningKeys []string // at most one per mode
}

// DemoCredentials are test keys that every sandbox shares. They are digests of
// public words: of no use anywhere else, and the same after a restart.
func DemoCredentials() Credentials {
	word := func(name string) string {
		sum := sha256.Sum256([]byte("wzrdpay sandbox demo " + name))
		return base64.RawURLEncoding.EncodeToString(sum[:])
	}
	account := sha256.Sum256([]byte("wzrdpay sandbox demo account"))
	return Credentials{
		PublicKeys:  []string{"pk_test_" + word("public key")},
		AccountID:   "coma_" + hex.EncodeToString(account[:8]),
		APIKey:      word("api key"),
		SigningKeys: []string{"sk_test_" + word("signing key")},
	}
}

// signingKey is the secret that signs callbacks of a mode, "" when there is none.
func (c Credentials) signingKey(test bool) string {
	prefix := "sk_live_"
	if test {
		prefix = "sk_test_"
	}
	for _, k := range c.SigningKeys {
		if strings.HasPrefix(k, prefix) {
			return k
		}
	}
	return ""
}

func (c Config) withDefaults() Config {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	demo := DemoCredentials()
	if len(c.Credentials.PublicKeys) == 0 && c.Credentials.AccountID == "" && c.Credentials.APIKey == "" && len(c.Credentials.SigningKeys) == 0 {
		c.Credentials = demo
	}
	if c.CallbackRetry == 0 {
		c.CallbackRetry = time.Minute
	}
	if c.CallbackAttempts == 0 {
		c.CallbackAttempts = 100
	}
	if c.CallbackTimeout == 0 {
		c.CallbackTimeout = 20 * time.Second
	}
	if c.InvoiceLifetime == 0 {
		c.InvoiceLifetime = 30 * time.Minute
	}
	if c.AttemptsLimit == 0 {
		c.AttemptsLimit = 5
	}
	if c.AccountName == "" {
		c.AccountName = "Sandbox Shop"
	}
	if c.MerchantURL == "" {
		c.MerchantURL = "https://shop.example"
	}
	if c.HistoryLimit == 0 {
		c.HistoryLimit = 10_000
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	return c
}

// validate names the field that is wrong.
func (c Config) validate() error {
	cr := c.Credentials
	switch {
	case len(cr.PublicKeys) == 0:
		return errors.New("sandbox: PublicKeys is empty")
	case cr.AccountID == "":
		return errors.New("sandbox: AccountID is empty")
	case cr.APIKey == "":
		return errors.New("sandbox: APIKey is empty")
	case len(cr.SigningKeys) == 0:
		return errors.New("sandbox: SigningKeys is empty")
	}
	for _, k := range cr.PublicKeys {
		test, live := strings.HasPrefix(k, "pk_test_"), strings.HasPrefix(k, "pk_live_")
		if !test && !live {
			return errors.New("sandbox: PublicKeys: a key starts with neither pk_test_ nor pk_live_")
		}
		if live && !c.AllowLive {
			return errors.New("sandbox: PublicKeys: a live key; this is a sandbox, use test keys or set AllowLive")
		}
		if cr.signingKey(test) == "" {
			return errors.New("sandbox: SigningKeys: none for the mode of a public key")
		}
	}
	modes := map[string]bool{}
	for _, k := range cr.SigningKeys {
		mode := k[:min(len(k), len("sk_test_"))]
		if mode != "sk_test_" && mode != "sk_live_" {
			return errors.New("sandbox: SigningKeys: a key starts with neither sk_test_ nor sk_live_")
		}
		if mode == "sk_live_" && !c.AllowLive {
			return errors.New("sandbox: SigningKeys: a live key; this is a sandbox, use test keys or set AllowLive")
		}
		if modes[mode] {
			return fmt.Errorf("sandbox: SigningKeys: two keys start with %s", mode)
		}
		modes[mode] = true
	}
	for name, raw := range map[string]string{"PublicURL": c.PublicURL, "CallbackURL": c.CallbackURL, "MerchantURL": c.MerchantURL} {
		if raw != "" && !validURL(raw) {
			return fmt.Errorf("sandbox: %s is no http or https URL", name)
		}
	}
	for name, d := range map[string]time.Duration{
		"CallbackRetry": c.CallbackRetry, "CallbackTimeout": c.CallbackTimeout,
		"InvoiceLifetime": c.InvoiceLifetime, "CallbackBatch": c.CallbackBatch,
	} {
		if d < 0 {
			return fmt.Errorf("sandbox: %s is negative", name)
		}
	}
	for name, n := range map[string]int{"CallbackAttempts": c.CallbackAttempts, "AttemptsLimit": c.AttemptsLimit, "HistoryLimit": c.HistoryLimit} {
		if n < 0 {
			return fmt.Errorf("sandbox: %s is negative", name)
		}
	}
	return c.Faults.validate()
}

// validURL tells whether raw is an absolute http or https address.
func validURL(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && len(raw) <= 2048
}
