package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"wzrdcheckout/internal/app"
)

// settings is every setting as a flag and as a variable; commandline.go reads both. The meaning
// and the checks of a setting are app.Config's.
type settings struct {
	Listen             string   `env:"BFF_LISTEN" placeholder:"ADDR" help:"Public plane: browsers and WZRDPAY (default :8080)."`
	PrivateListen      string   `env:"BFF_PRIVATE_LISTEN" placeholder:"ADDR" help:"Private plane: merchant API, health, metrics, /ops/ (default 127.0.0.1:8081)."`
	PublicURL          string   `name:"public-url" env:"BFF_PUBLIC_URL" placeholder:"URL" help:"The public plane as seen from outside."`
	DataDir            string   `env:"BFF_DATA_DIR" placeholder:"DIR" help:"Embedded store (default ./data)."`
	RetentionDays      *int     `env:"BFF_RETENTION_DAYS" placeholder:"N" help:"Days that sessions and events are kept (default 400)."`
	MerchantKeys       string   `env:"BFF_MERCHANT_KEYS" placeholder:"KEYS" help:"Comma list of keys for the private plane."`
	MerchantKeysFile   string   `env:"BFF_MERCHANT_KEYS_FILE" placeholder:"FILE" help:"File that holds the same."`
	SessionKeys        string   `env:"BFF_SESSION_KEYS" placeholder:"KEYS" help:"Comma list kid:base64; the first signs session tokens."`
	SessionKeysFile    string   `env:"BFF_SESSION_KEYS_FILE" placeholder:"FILE" help:"File that holds the same."`
	AllowedOrigins     []string `env:"BFF_ALLOWED_ORIGINS" placeholder:"ORIGIN" help:"Comma list of page origins that may embed the widget."`
	WebhookURL         string   `name:"webhook-url" env:"BFF_WEBHOOK_URL" placeholder:"URL" help:"Where the shop's server hears."`
	WebhookSecrets     string   `env:"BFF_WEBHOOK_SECRETS" placeholder:"SECRETS" help:"Comma list of whsec_… secrets; every one signs."`
	WebhookSecretsFile string   `env:"BFF_WEBHOOK_SECRETS_FILE" placeholder:"FILE" help:"File that holds the same."`
	TrustedProxies     []string `env:"BFF_TRUSTED_PROXIES" placeholder:"CIDR" help:"Comma list of networks whose X-Forwarded-For is believed."`
	RedirectHosts      []string `env:"BFF_REDIRECT_HOSTS" placeholder:"HOST" help:"Comma list of hosts a shopper may be sent to; empty = any."`
	Reread             string   `env:"BFF_REREAD" placeholder:"WHEN" help:"Confirm final statuses through the private API: auto (live only), on, off."`

	NATSURL           string   `name:"nats-url" env:"BFF_NATS_URL" placeholder:"URL" help:"External NATS instead of the embedded one."`
	NATSCreds         string   `name:"nats-creds" env:"BFF_NATS_CREDS" placeholder:"FILE" help:"Its credentials file."`
	NATSCA            string   `name:"nats-ca" env:"BFF_NATS_CA" placeholder:"FILE" help:"Its certificate authority."`
	NATSCert          string   `name:"nats-cert" env:"BFF_NATS_CERT" placeholder:"FILE" help:"Client certificate."`
	NATSKey           string   `name:"nats-key" env:"BFF_NATS_KEY" placeholder:"FILE" help:"Client certificate's key."`
	NATSReplicas      *int     `name:"nats-replicas" env:"BFF_NATS_REPLICAS" placeholder:"N" help:"Copies of each stream there (default 3)."`
	ClusterName       string   `env:"BFF_CLUSTER_NAME" placeholder:"NAME" help:"Name of the embedded cluster or of this replica, for logs."`
	ClusterListen     string   `env:"BFF_CLUSTER_LISTEN" placeholder:"ADDR" help:"Where replicas reach this one (default :6222)."`
	ClusterPeers      []string `env:"BFF_CLUSTER_PEERS" placeholder:"HOST:PORT" help:"Comma list of all three replicas, or of the two others."`
	ClusterSecret     string   `env:"BFF_CLUSTER_SECRET" placeholder:"SECRET" help:"What the replicas show one another (default: derived from WZRD_API_KEY)."`
	ClusterSecretFile string   `env:"BFF_CLUSTER_SECRET_FILE" placeholder:"FILE" help:"File that holds the same."`
	ClusterAdvertise  string   `env:"BFF_CLUSTER_ADVERTISE" placeholder:"HOST:PORT" help:"This replica as the others reach it, where it can not tell (NAT)."`
	ClusterCA         string   `name:"cluster-ca" env:"BFF_CLUSTER_CA" placeholder:"FILE" help:"Own certificates between replicas: authority (default: made from the secret)."`
	ClusterCert       string   `env:"BFF_CLUSTER_CERT" placeholder:"FILE" help:"Own certificates between replicas: certificate."`
	ClusterKey        string   `env:"BFF_CLUSTER_KEY" placeholder:"FILE" help:"Own certificates between replicas: key."`

	WzrdPublicAPI       string   `name:"wzrd-public-api" env:"WZRD_PUBLIC_API" placeholder:"URL" help:"Base of WZRDPAY's public API."`
	WzrdPrivateAPI      string   `name:"wzrd-private-api" env:"WZRD_PRIVATE_API" placeholder:"URL" help:"Base of WZRDPAY's private API."`
	WzrdHPPURL          string   `name:"wzrd-hpp-url" env:"WZRD_HPP_URL" placeholder:"URL" help:"Base of WZRDPAY's hosted page."`
	WzrdPublicKey       string   `env:"WZRD_PUBLIC_KEY" placeholder:"KEY" help:"pk_test_… or pk_live_…; fixes the mode."`
	WzrdPublicKeyFile   string   `env:"WZRD_PUBLIC_KEY_FILE" placeholder:"FILE" help:"File that holds the same."`
	WzrdAccountID       string   `name:"wzrd-account-id" env:"WZRD_ACCOUNT_ID" placeholder:"ID" help:"Commerce account, coma_…."`
	WzrdAPIKey          string   `name:"wzrd-api-key" env:"WZRD_API_KEY" placeholder:"KEY" help:"API key of the private API."`
	WzrdAPIKeyFile      string   `name:"wzrd-api-key-file" env:"WZRD_API_KEY_FILE" placeholder:"FILE" help:"File that holds the same."`
	WzrdSigningKeys     string   `env:"WZRD_SIGNING_KEYS" placeholder:"KEYS" help:"Comma list of sk_… keys that sign callbacks."`
	WzrdSigningKeysFile string   `env:"WZRD_SIGNING_KEYS_FILE" placeholder:"FILE" help:"File that holds the same."`
	WzrdRate            *float64 `env:"WZRD_RATE" placeholder:"N" help:"Calls per second to WZRDPAY (default 50)."`
	WzrdBurst           *int     `env:"WZRD_BURST" placeholder:"N" help:"Calls at once above the rate (default 100)."`

	LimitRequests          *float64 `env:"BFF_LIMIT_REQUESTS" placeholder:"N" help:"Requests per second and address, public plane (default 2000)."`
	LimitRequestsBurst     *int     `env:"BFF_LIMIT_REQUESTS_BURST" placeholder:"N" help:"Requests at once above it (default 4000)."`
	LimitPays              *float64 `env:"BFF_LIMIT_PAYS" placeholder:"N" help:"Attempts to pay per second and address (default 50)."`
	LimitPaysBurst         *int     `env:"BFF_LIMIT_PAYS_BURST" placeholder:"N" help:"Attempts at once above it (default 200)."`
	LimitSocketsPerAddress *int     `env:"BFF_LIMIT_SOCKETS_PER_ADDRESS" placeholder:"N" help:"Open sockets per address (default 20000)."`
	LimitSocketsPerSession *int     `env:"BFF_LIMIT_SOCKETS_PER_SESSION" placeholder:"N" help:"Open sockets per session (default 64)."`

	LogLevel  string `env:"BFF_LOG_LEVEL" placeholder:"LEVEL" help:"debug, info, warn, error (default info)."`
	LogFormat string `env:"BFF_LOG_FORMAT" placeholder:"FORMAT" help:"json or text (default json)."`
}

// config turns what was said into an app.Config over its defaults; it reads the files of
// secrets and refuses a secret that is given both ways.
func (s settings) config() (app.Config, error) {
	var wrong []error
	secret := func(setting, value, file string) string {
		switch {
		case file == "":
			return strings.TrimSpace(value)
		case value != "":
			wrong = append(wrong, fmt.Errorf("%s: given twice, as itself and as %s_FILE", setting, setting))
			return ""
		}
		text, err := os.ReadFile(file)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s_FILE: %w", setting, err))
			return ""
		}
		return strings.TrimSpace(string(text))
	}
	c := app.Default()
	set(&c.Listen, s.Listen)
	set(&c.PrivateListen, s.PrivateListen)
	c.PublicURL = strings.TrimRight(s.PublicURL, "/")
	set(&c.DataDir, s.DataDir)
	setNumber(&c.RetentionDays, s.RetentionDays)
	c.MerchantKeys = list(secret("BFF_MERCHANT_KEYS", s.MerchantKeys, s.MerchantKeysFile))
	c.SessionKeys = list(secret("BFF_SESSION_KEYS", s.SessionKeys, s.SessionKeysFile))
	c.AllowedOrigins = clean(s.AllowedOrigins)
	c.WebhookURL = s.WebhookURL
	c.WebhookSecrets = list(secret("BFF_WEBHOOK_SECRETS", s.WebhookSecrets, s.WebhookSecretsFile))
	c.TrustedProxies = clean(s.TrustedProxies)
	c.RedirectHosts = clean(s.RedirectHosts)
	set(&c.ReRead, s.Reread)

	c.NATS.URL, c.NATS.Creds, c.NATS.CA, c.NATS.Cert, c.NATS.Key = s.NATSURL, s.NATSCreds, s.NATSCA, s.NATSCert, s.NATSKey
	setNumber(&c.NATS.Replicas, s.NATSReplicas)
	c.Cluster.Name = s.ClusterName
	set(&c.Cluster.Listen, s.ClusterListen)
	c.Cluster.Peers = clean(s.ClusterPeers)
	c.Cluster.Advertise = s.ClusterAdvertise
	c.Cluster.Secret = secret("BFF_CLUSTER_SECRET", s.ClusterSecret, s.ClusterSecretFile)
	c.Cluster.CA, c.Cluster.Cert, c.Cluster.Key = s.ClusterCA, s.ClusterCert, s.ClusterKey

	c.WZRD.PublicAPI, c.WZRD.PrivateAPI, c.WZRD.HPPURL = trim(s.WzrdPublicAPI), trim(s.WzrdPrivateAPI), trim(s.WzrdHPPURL)
	c.WZRD.PublicKey = secret("WZRD_PUBLIC_KEY", s.WzrdPublicKey, s.WzrdPublicKeyFile)
	c.WZRD.AccountID = s.WzrdAccountID
	c.WZRD.APIKey = secret("WZRD_API_KEY", s.WzrdAPIKey, s.WzrdAPIKeyFile)
	c.WZRD.SigningKeys = list(secret("WZRD_SIGNING_KEYS", s.WzrdSigningKeys, s.WzrdSigningKeysFile))
	setNumber(&c.WZRD.RatePerSecond, s.WzrdRate)
	setNumber(&c.WZRD.Burst, s.WzrdBurst)

	setNumber(&c.Limits.Requests, s.LimitRequests)
	setNumber(&c.Limits.RequestsBurst, s.LimitRequestsBurst)
	setNumber(&c.Limits.Pays, s.LimitPays)
	setNumber(&c.Limits.PaysBurst, s.LimitPaysBurst)
	setNumber(&c.Limits.SocketsPerAddress, s.LimitSocketsPerAddress)
	setNumber(&c.Limits.SocketsPerSession, s.LimitSocketsPerSession)

	logger, err := s.logger()
	if err != nil {
		wrong = append(wrong, err)
	}
	c.Logger = logger
	c.Version, c.Commit = version, commit
	return c, errors.Join(wrong...)
}

// logger writes JSON lines to standard error, or text for a person.
func (s settings) logger() (*slog.Logger, error) {
	level := slog.LevelInfo
	if s.LogLevel != "" {
		if err := level.UnmarshalText([]byte(s.LogLevel)); err != nil {
			return nil, fmt.Errorf("BFF_LOG_LEVEL: %q is none of debug, info, warn, error", s.LogLevel)
		}
	}
	options := &slog.HandlerOptions{Level: level}
	switch s.LogFormat {
	case "", "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, options)), nil
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, options)), nil
	}
	return nil, fmt.Errorf("BFF_LOG_FORMAT: %q is neither json nor text", s.LogFormat)
}

// set keeps the default where nothing was said.
func set(to *string, value string) {
	if value != "" {
		*to = value
	}
}

// setNumber does so for numbers, where 0 may have been said.
func setNumber[T int | float64](to, value *T) {
	if value != nil {
		*to = *value
	}
}

func trim(base string) string { return strings.TrimRight(base, "/") }

func list(text string) []string {
	return clean(strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' }))
}

func clean(items []string) []string {
	var kept []string
	for _, item := range items {
		if item = strings.TrimSpace(item); item != "" {
			kept = append(kept, item)
		}
	}
	return kept
}
