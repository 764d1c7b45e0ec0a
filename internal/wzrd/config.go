package wzrd

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Secret is a key that must not be seen: however it is printed, logged or encoded, it
// reads [redacted]. string(s) gives the value.
type Secret string

const redacted = "[redacted]"

// String hides the value.
func (Secret) String() string { return redacted }

// Format hides the value under every verb of fmt, %d and %#v included.
func (Secret) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// LogValue hides the value in logs.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the value in JSON and other encodings.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Config is the connection to one WZRDPAY account. The three bases are independent, each
// with any path prefix; none is derived from another or from what an answer says.
type Config struct {
	PublicAPI  string // WZRD_PUBLIC_API, e.g. https://api.example/public-api
	PrivateAPI string // WZRD_PRIVATE_API
	HPPURL     string // WZRD_HPP_URL, the hosted page; may be empty

	PublicKey   string   // WZRD_PUBLIC_KEY, pk_test_… or pk_live_…: fixes the mode
	AccountID   string   // WZRD_ACCOUNT_ID, the login of the private API
	APIKey      Secret   // WZRD_API_KEY, its password
	SigningKeys []Secret // WZRD_SIGNING_KEYS, sk_test_… or sk_live_…, of the public key's mode

	// Timeout bounds one call, from the dial to the last byte. 0 = 15 s: the vendor
	// answers in 1 to 2 s, longer when a provider is slow.
	Timeout time.Duration
	// RatePerSecond and Burst bound our own calls. 0 = 50 and 100; the vendor publishes none.
	RatePerSecond float64
	Burst         int
	// RedirectHosts, when not empty, are the only hosts a shopper may be sent to.
	RedirectHosts []string

	// Transport carries the calls; nil = the package's own. A seam for tests.
	Transport http.RoundTripper
	// Now is the clock that stamps answers; nil = time.Now.
	Now func() time.Time
	// Observer hears what is worth counting; nil = nobody.
	Observer Observer
	// Logger hears what an operator should read; nil = nobody.
	Logger *slog.Logger
}

// Observer is where metrics are made of. Its arguments are of small closed sets, except
// for pattern, which comes from the vendor's catalogue. Methods must not block.
type Observer interface {
	// Call: one exchange with WZRDPAY ended. operation is the vendor's ("GET /payment-invoices/{id}"),
	// outcome "ok", an HTTP status ("422") or a code of UpstreamError ("timeout").
	Call(operation, outcome string, took time.Duration)
	// Cache: a pre-request was answered: "hit", "miss", "stale" or "error".
	Cache(result string)
	// Breaker: the breaker of an API ("public", "private") is now "closed", "half-open" or "open".
	Breaker(api, state string)
	// Pattern: a field's pattern does not compile and is not checked.
	Pattern(pattern string)
}

type silent struct{}

func (silent) Call(string, string, time.Duration) {}
func (silent) Cache(string)                       {}
func (silent) Breaker(string, string)             {}
func (silent) Pattern(string)                     {}

// keyMode gives "test" or "live" of a key like pk_test_…, "" for any other form.
func keyMode(key, prefix string) string {
	rest, ok := strings.CutPrefix(key, prefix)
	if !ok {
		return ""
	}
	for _, mode := range []string{"test", "live"} {
		if value, ok := strings.CutPrefix(rest, mode+"_"); ok && value != "" && strings.Trim(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == "" {
			return mode
		}
	}
	return ""
}

// validate names the setting that is missing, malformed or contradicts another; never
// its value. It fills the defaults in.
func (c *Config) validate() error {
	mode := keyMode(c.PublicKey, "pk_")
	if mode == "" {
		return errors.New("WZRD_PUBLIC_KEY: must begin with pk_test_ or pk_live_")
	}
	for _, base := range []struct {
		setting string
		value   *string
	}{{"WZRD_PUBLIC_API", &c.PublicAPI}, {"WZRD_PRIVATE_API", &c.PrivateAPI}, {"WZRD_HPP_URL", &c.HPPURL}} {
		if *base.value == "" && base.setting == "WZRD_HPP_URL" {
			continue // only invoices whose answer names no page need it
		}
		u, err := url.Parse(*base.value)
		switch {
		case *base.value == "":
			return fmt.Errorf("%s: is required", base.setting)
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
			return fmt.Errorf("%s: must be an absolute http or https address without user, query or fragment", base.setting)
		case mode == "live" && u.Scheme != "https":
			return fmt.Errorf("%s: must be https with a live key", base.setting)
		}
		*base.value = strings.TrimRight(u.String(), "/")
	}
	switch {
	case c.AccountID == "":
		return errors.New("WZRD_ACCOUNT_ID: is required")
	case strings.ContainsAny(c.AccountID, ": \t\r\n"):
		return errors.New("WZRD_ACCOUNT_ID: must not contain a colon or a space")
	case c.APIKey == "":
		return errors.New("WZRD_API_KEY: is required")
	case strings.ContainsAny(string(c.APIKey), " \t\r\n"):
		return errors.New("WZRD_API_KEY: must not contain a space or a line break")
	case strings.HasPrefix(string(c.APIKey), "sk_") || strings.HasPrefix(string(c.APIKey), "pk_"):
		return errors.New("WZRD_API_KEY: is a public or signing key; the API key is the third one, without a prefix")
	case len(c.SigningKeys) == 0:
		return errors.New("WZRD_SIGNING_KEYS: is required")
	}
	for _, k := range c.SigningKeys {
		switch keyMode(string(k), "sk_") {
		case "":
			return errors.New("WZRD_SIGNING_KEYS: every key begins with sk_test_ or sk_live_")
		case mode:
		default:
			return errors.New("WZRD_SIGNING_KEYS: a key is of another mode than WZRD_PUBLIC_KEY: test and live do not mix")
		}
	}
	hosts := make([]string, 0, len(c.RedirectHosts))
	for _, h := range c.RedirectHosts {
		if h == "" || strings.ContainsAny(h, "/: ") {
			return errors.New("RedirectHosts: every entry is a bare host name")
		}
		hosts = append(hosts, strings.ToLower(h))
	}
	c.RedirectHosts = hosts
	for _, number := range []struct {
		field string
		value float64
	}{{"Timeout", c.Timeout.Seconds()}, {"RatePerSecond", c.RatePerSecond}, {"Burst", float64(c.Burst)}} {
		if number.value < 0 {
			return fmt.Errorf("%s: must not be negative", number.field)
		}
	}
	if c.Timeout == 0 {
		c.Timeout = 15 * time.Second
	}
	if c.RatePerSecond == 0 {
		c.RatePerSecond = 50
	}
	if c.Burst == 0 {
		c.Burst = 100
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Observer == nil {
		c.Observer = silent{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}
