package app

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Config is everything that `bff serve` can be told. Only cmd/bff reads flags and the
// environment; a field's comment names its variable, and so does every error of Validate.
type Config struct {
	Listen         string   // BFF_LISTEN: public plane, browsers and WZRDPAY
	PrivateListen  string   // BFF_PRIVATE_LISTEN: private plane, the shop's server and operators
	PublicURL      string   // BFF_PUBLIC_URL: the public plane as seen from outside
	MerchantKeys   []string // BFF_MERCHANT_KEYS
	SessionKeys    []string // BFF_SESSION_KEYS: kid:base64, the first signs
	AllowedOrigins []string // BFF_ALLOWED_ORIGINS: whole page origins
	WebhookURL     string   // BFF_WEBHOOK_URL: "" = the shop reads GET /v1/events instead
	WebhookSecrets []string // BFF_WEBHOOK_SECRETS: whsec_…
	TrustedProxies []string // BFF_TRUSTED_PROXIES: CIDRs whose X-Forwarded-For is believed
	RedirectHosts  []string // BFF_REDIRECT_HOSTS: hosts a shopper may be sent to; empty = any
	ReRead         string   // BFF_REREAD: auto | on | off

	DataDir       string // BFF_DATA_DIR: embedded store
	RetentionDays int    // BFF_RETENTION_DAYS: how long state is kept
	NATS          NATS
	Cluster       Cluster

	WZRD WZRD

	Limits  Limits
	Version string // of the program
	Commit  string // it was built from; "" = not known
	Logger  *slog.Logger

	// PublicListener and PrivateListener, when set, are used instead of listening.
	PublicListener, PrivateListener net.Listener
	// Fallback, when set, answers the public paths that nobody else has: the demo's shop.
	Fallback http.Handler
}

// NATS is an external engine instead of the embedded one.
type NATS struct {
	URL      string // BFF_NATS_URL
	Creds    string // BFF_NATS_CREDS: credentials file
	CA       string // BFF_NATS_CA
	Cert     string // BFF_NATS_CERT
	Key      string // BFF_NATS_KEY
	Replicas int    // BFF_NATS_REPLICAS
}

// Cluster joins the replicas' own embedded engines.
type Cluster struct {
	Name      string   // BFF_CLUSTER_NAME: begins the replicas' names in logs; the rest is made once and kept in BFF_DATA_DIR
	Listen    string   // BFF_CLUSTER_LISTEN
	Peers     []string // BFF_CLUSTER_PEERS: host:port of all three replicas, or of the two others
	Advertise string   // BFF_CLUSTER_ADVERTISE: host:port of this one as the others reach it, behind NAT
	Secret    string   // BFF_CLUSTER_SECRET: credentials and certificates between replicas come from it; "" = derived from WZRD_API_KEY
	CA        string   // BFF_CLUSTER_CA, _CERT, _KEY: the operator's own certificates instead
	Cert      string
	Key       string
}

// WZRD is the account at WZRDPAY.
type WZRD struct {
	PublicAPI     string   // WZRD_PUBLIC_API
	PrivateAPI    string   // WZRD_PRIVATE_API
	HPPURL        string   // WZRD_HPP_URL
	PublicKey     string   // WZRD_PUBLIC_KEY: pk_test_… or pk_live_…; fixes the mode
	AccountID     string   // WZRD_ACCOUNT_ID
	APIKey        string   // WZRD_API_KEY
	SigningKeys   []string // WZRD_SIGNING_KEYS: sk_test_… or sk_live_…
	RatePerSecond float64  // WZRD_RATE: calls per second
	Burst         int      // WZRD_BURST
}

// Limits bound what one address or one session may hold; the defaults never touch a
// shopper, or an office behind one address.
type Limits struct {
	Requests          float64 // BFF_LIMIT_REQUESTS: per second and address, public plane
	RequestsBurst     int     // BFF_LIMIT_REQUESTS_BURST
	Pays              float64 // BFF_LIMIT_PAYS: attempts to pay per second and address
	PaysBurst         int     // BFF_LIMIT_PAYS_BURST
	SocketsPerAddress int     // BFF_LIMIT_SOCKETS_PER_ADDRESS
	SocketsPerSession int     // BFF_LIMIT_SOCKETS_PER_SESSION
}

// Default is a Config with every default of the documentation.
func Default() Config {
	return Config{
		Listen: ":8080", PrivateListen: "127.0.0.1:8081", DataDir: "./data", RetentionDays: 400, ReRead: "auto",
		NATS:    NATS{Replicas: 3},
		Cluster: Cluster{Listen: ":6222"},
		WZRD:    WZRD{RatePerSecond: 50, Burst: 100},
		Limits:  Limits{Requests: 2000, RequestsBurst: 4000, Pays: 50, PaysBurst: 200, SocketsPerAddress: 20_000, SocketsPerSession: 64},
	}
}

// Live tells whether the keys move real money.
func (c Config) Live() bool { return strings.HasPrefix(c.WZRD.PublicKey, "pk_live_") }

// reread tells whether a final status is confirmed through the private API.
func (c Config) reread() bool { return c.ReRead == "on" || c.ReRead == "auto" && c.Live() }

// Validate checks every setting and gives all that is wrong at once, each error naming
// its variable. No error holds a secret.
func (c Config) Validate() error {
	var v check
	c.checkPlanes(&v)
	c.checkKeys(&v)
	c.checkWZRD(&v)
	c.checkEngine(&v)
	return errors.Join(v...)
}

type check []error

func (v *check) add(setting, format string, args ...any) {
	*v = append(*v, fmt.Errorf(setting+": "+format, args...))
}

func (c Config) checkPlanes(v *check) {
	for setting, address := range map[string]string{"BFF_LISTEN": c.Listen, "BFF_PRIVATE_LISTEN": c.PrivateListen} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			v.add(setting, "%q is not host:port, e.g. \":8080\"", address)
		}
	}
	if c.Listen == c.PrivateListen && !strings.HasSuffix(c.Listen, ":0") {
		v.add("BFF_PRIVATE_LISTEN", "must differ from BFF_LISTEN: the private plane is not for browsers")
	}
	v.base("BFF_PUBLIC_URL", c.PublicURL, c.Live(), true)
	if u, err := url.Parse(c.PublicURL); err == nil && strings.Trim(u.Path, "/") != "" {
		v.add("BFF_PUBLIC_URL", "must have no path: the public plane answers at the root of its host")
	}
	for _, origin := range c.AllowedOrigins {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || origin != u.Scheme+"://"+u.Host {
			v.add("BFF_ALLOWED_ORIGINS", "%q is not an origin, e.g. \"https://shop.example\" (no path, no slash at the end, no wildcard)", origin)
		} else if c.Live() && u.Scheme != "https" {
			v.add("BFF_ALLOWED_ORIGINS", "%q must be https with live keys", origin)
		}
	}
	for _, proxy := range c.TrustedProxies {
		if _, err := netip.ParsePrefix(proxy); err != nil {
			v.add("BFF_TRUSTED_PROXIES", "%q is not a CIDR, e.g. \"10.0.0.0/8\"", proxy)
		}
	}
	for _, host := range c.RedirectHosts {
		if host == "" || strings.ContainsAny(host, "/:@* ") {
			v.add("BFF_REDIRECT_HOSTS", "%q is not a host name, e.g. \"pay.wzrdpay.io\"", host)
		}
	}
	switch c.ReRead {
	case "auto", "on", "off":
	default:
		v.add("BFF_REREAD", "%q is none of auto, on, off", c.ReRead)
	}
	if c.RetentionDays < 1 {
		v.add("BFF_RETENTION_DAYS", "must be at least 1")
	}
	for _, limit := range []struct {
		setting string
		value   float64
	}{
		{"BFF_LIMIT_REQUESTS", c.Limits.Requests},
		{"BFF_LIMIT_REQUESTS_BURST", float64(c.Limits.RequestsBurst)},
		{"BFF_LIMIT_PAYS", c.Limits.Pays},
		{"BFF_LIMIT_PAYS_BURST", float64(c.Limits.PaysBurst)},
		{"BFF_LIMIT_SOCKETS_PER_ADDRESS", float64(c.Limits.SocketsPerAddress)},
		{"BFF_LIMIT_SOCKETS_PER_SESSION", float64(c.Limits.SocketsPerSession)},
		{"WZRD_RATE", c.WZRD.RatePerSecond},
		{"WZRD_BURST", float64(c.WZRD.Burst)},
	} {
		if limit.value <= 0 {
			v.add(limit.setting, "must be greater than 0")
		}
	}
}

func (c Config) checkKeys(v *check) {
	if len(c.MerchantKeys) == 0 {
		v.add("BFF_MERCHANT_KEYS", "missing; the shop's server authorises itself with one, e.g. made by `openssl rand -base64 32`")
	}
	for _, key := range c.MerchantKeys {
		if c.Live() && len(key) < 16 {
			v.add("BFF_MERCHANT_KEYS", "a key is shorter than 16 characters, too short for live keys of WZRDPAY")
		}
	}
	if len(c.SessionKeys) == 0 {
		v.add("BFF_SESSION_KEYS", "missing; kid:base64 of 32 or more random bytes, e.g. \"k1:$(openssl rand -base64 32)\"")
	}
	seen := map[string]bool{}
	for _, key := range c.SessionKeys {
		kid, text, ok := strings.Cut(key, ":")
		raw, err := decodeBase64(text)
		switch {
		case !ok || kid == "":
			v.add("BFF_SESSION_KEYS", "a key is not of the form kid:base64")
		case err != nil:
			v.add("BFF_SESSION_KEYS", "key %q is not base64", kid)
		case len(raw) < 32:
			v.add("BFF_SESSION_KEYS", "key %q has %d bytes; HS256 wants 32 or more", kid, len(raw))
		case seen[kid]:
			v.add("BFF_SESSION_KEYS", "key %q is there twice", kid)
		}
		seen[kid] = true
	}
	switch {
	case c.WebhookURL == "" && len(c.WebhookSecrets) > 0:
		v.add("BFF_WEBHOOK_URL", "missing, yet BFF_WEBHOOK_SECRETS is set")
	case c.WebhookURL != "" && len(c.WebhookSecrets) == 0:
		v.add("BFF_WEBHOOK_SECRETS", "missing, yet BFF_WEBHOOK_URL is set")
	case c.WebhookURL != "":
		v.base("BFF_WEBHOOK_URL", c.WebhookURL, c.Live(), true)
	}
	for _, secret := range c.WebhookSecrets {
		text, ok := strings.CutPrefix(secret, "whsec_")
		raw, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil || len(raw) < 24 || len(raw) > 64 {
			v.add("BFF_WEBHOOK_SECRETS", "a secret is not whsec_ and base64 of 24 to 64 bytes")
		}
	}
}

func (c Config) checkWZRD(v *check) {
	v.base("WZRD_PUBLIC_API", c.WZRD.PublicAPI, c.Live(), true)
	v.base("WZRD_PRIVATE_API", c.WZRD.PrivateAPI, c.Live(), true)
	v.base("WZRD_HPP_URL", c.WZRD.HPPURL, c.Live(), false)
	mode, ok := keyMode(c.WZRD.PublicKey, "pk_")
	switch {
	case c.WZRD.PublicKey == "":
		v.add("WZRD_PUBLIC_KEY", "missing; pk_test_… or pk_live_… from Account → Integration")
	case !ok:
		v.add("WZRD_PUBLIC_KEY", "begins with neither pk_test_ nor pk_live_")
	}
	if c.WZRD.AccountID == "" {
		v.add("WZRD_ACCOUNT_ID", "missing; the commerce account id, coma_…")
	}
	switch {
	case c.WZRD.APIKey == "":
		v.add("WZRD_API_KEY", "missing; the API key of the private API")
	case strings.HasPrefix(c.WZRD.APIKey, "sk_"), strings.HasPrefix(c.WZRD.APIKey, "pk_"):
		v.add("WZRD_API_KEY", "is a public or signing key; the API key has no prefix")
	}
	if len(c.WZRD.SigningKeys) == 0 {
		v.add("WZRD_SIGNING_KEYS", "missing; without sk_test_… or sk_live_… no callback can be believed")
	}
	for _, key := range c.WZRD.SigningKeys {
		m, ok := keyMode(key, "sk_")
		switch {
		case !ok:
			v.add("WZRD_SIGNING_KEYS", "a key begins with neither sk_test_ nor sk_live_")
		case mode != "" && m != mode:
			v.add("WZRD_SIGNING_KEYS", "a %s key together with a %s WZRD_PUBLIC_KEY: both must be of one mode", m, mode)
		}
	}
}

// clusterSecret is what the replicas show one another: all of them have the same API key.
// A secret of its own lets that key be changed without cutting the replicas apart.
func (c Config) clusterSecret() string {
	if c.Cluster.Secret != "" {
		return c.Cluster.Secret
	}
	mac := hmac.New(sha256.New, []byte(c.WZRD.APIKey))
	mac.Write([]byte("wzrdcheckout cluster"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (c Config) checkEngine(v *check) {
	switch {
	case c.NATS.URL != "" && len(c.Cluster.Peers) > 0:
		v.add("BFF_NATS_URL", "and BFF_CLUSTER_PEERS exclude each other: an external engine, or the replicas' own")
	case c.NATS.URL == "" && c.DataDir == "":
		v.add("BFF_DATA_DIR", "missing; the folder of the embedded store")
	}
	if c.NATS.URL != "" && (c.NATS.Replicas < 1 || c.NATS.Replicas > 5 || c.NATS.Replicas%2 == 0) {
		v.add("BFF_NATS_REPLICAS", "must be 1, 3 or 5")
	}
	if (c.NATS.Cert == "") != (c.NATS.Key == "") {
		v.add("BFF_NATS_CERT", "and BFF_NATS_KEY go together")
	}
	if n := len(c.Cluster.Peers); n > 0 {
		if n != 2 && n != 3 {
			v.add("BFF_CLUSTER_PEERS", "names %d replicas; it must name all three, or the two others", n)
		}
		if c.Cluster.Secret != "" && len(c.Cluster.Secret) < 16 {
			v.add("BFF_CLUSTER_SECRET", "is shorter than 16 characters")
		}
		if c.Cluster.Name == "" {
			v.add("BFF_CLUSTER_NAME", "missing; a name for the cluster or for this replica")
		}
		for _, peer := range c.Cluster.Peers {
			if _, _, err := net.SplitHostPort(peer); err != nil {
				v.add("BFF_CLUSTER_PEERS", "%q is not host:port", peer)
			}
		}
		if (c.Cluster.Cert == "") != (c.Cluster.Key == "") || (c.Cluster.CA == "") != (c.Cluster.Cert == "") {
			v.add("BFF_CLUSTER_CA", "BFF_CLUSTER_CERT and BFF_CLUSTER_KEY go together")
		}
	}
}

// base checks an absolute http(s) address; https is a must with live keys.
func (v *check) base(setting, text string, live, required bool) {
	if text == "" {
		if required {
			what := "e.g. https://pay.shop.example"
			if strings.HasPrefix(setting, "WZRD_") {
				what = "from your account manager; bff sandbox prints its own"
			}
			v.add(setting, "missing; an absolute address, %s", what)
		}
		return
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		v.add(setting, "is not an absolute http or https address")
	case u.User != nil:
		v.add(setting, "must not hold credentials")
	case u.RawQuery != "" || u.Fragment != "":
		v.add(setting, "must have no query and no fragment")
	case live && u.Scheme != "https":
		v.add(setting, "must be https with live keys")
	}
}

// keyMode gives "test" or "live" of a key with the prefix ("pk_", "sk_").
func keyMode(key, prefix string) (string, bool) {
	rest, ok := strings.CutPrefix(key, prefix)
	mode, secret, cut := strings.Cut(rest, "_")
	if !ok || !cut || secret == "" || mode != "test" && mode != "live" {
		return "", false
	}
	return mode, true
}

// decodeBase64 accepts the standard and the URL alphabet, with and without padding.
func decodeBase64(text string) ([]byte, error) {
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	return base64.RawStdEncoding.DecodeString(text)
}

// shutdownGrace is how long Stop lets running requests finish.
const shutdownGrace = 10 * time.Second
