package app_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"wzrdcheckout/internal/app"
)

// good is a complete configuration with test keys.
func good() app.Config {
	c := app.Default()
	c.PublicURL = "https://pay.shop.example"
	c.MerchantKeys = []string{"merchant-key-0123456789"}
	c.SessionKeys = []string{"k1:" + base64.StdEncoding.EncodeToString(make([]byte, 32))}
	c.AllowedOrigins = []string{"https://shop.example"}
	c.WebhookURL = "https://shop.example/hook"
	c.WebhookSecrets = []string{"whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32))}
	c.WZRD.PublicAPI, c.WZRD.PrivateAPI, c.WZRD.HPPURL = "https://a.example/public-api", "https://b.example/api", "https://c.example"
	c.WZRD.PublicKey, c.WZRD.AccountID, c.WZRD.APIKey = "pk_test_secretpublic", "coma_0123456789abcdef", "secretapi"
	c.WZRD.SigningKeys = []string{"sk_test_secretsigning"}
	return c
}

func TestValidate_NamesTheSetting(t *testing.T) {
	t.Parallel()
	live := func(c *app.Config) {
		c.WZRD.PublicKey, c.WZRD.SigningKeys = "pk_live_secretpublic", []string{"sk_live_secretsigning"}
	}
	tests := []struct {
		name   string
		change func(*app.Config)
		want   string // the variable, "" = fine
	}{
		{"complete", func(*app.Config) {}, ""},
		{"complete, live", live, ""},
		{"no webhook at all", func(c *app.Config) { c.WebhookURL, c.WebhookSecrets = "", nil }, ""},
		{"no hosted page base", func(c *app.Config) { c.WZRD.HPPURL = "" }, ""},
		{"public URL missing", func(c *app.Config) { c.PublicURL = "" }, "BFF_PUBLIC_URL"},
		{"public URL relative", func(c *app.Config) { c.PublicURL = "pay.shop.example" }, "BFF_PUBLIC_URL"},
		{"public URL with a path", func(c *app.Config) { c.PublicURL = "https://shop.example/pay" }, "BFF_PUBLIC_URL"},
		{"public URL not https, live", func(c *app.Config) { live(c); c.PublicURL = "http://pay.shop.example" }, "BFF_PUBLIC_URL"},
		{"merchant keys missing", func(c *app.Config) { c.MerchantKeys = nil }, "BFF_MERCHANT_KEYS"},
		{"merchant key short", func(c *app.Config) { c.MerchantKeys = []string{"short"} }, ""},
		{"merchant key short, live", func(c *app.Config) { live(c); c.MerchantKeys = []string{"short"} }, "BFF_MERCHANT_KEYS"},
		{"session keys missing", func(c *app.Config) { c.SessionKeys = nil }, "BFF_SESSION_KEYS"},
		{"session key without kid", func(c *app.Config) { c.SessionKeys = []string{"AAAA"} }, "BFF_SESSION_KEYS"},
		{"session key short", func(c *app.Config) { c.SessionKeys = []string{"k1:AAAA"} }, "BFF_SESSION_KEYS"},
		{"session key twice", func(c *app.Config) { c.SessionKeys = append(c.SessionKeys, c.SessionKeys[0]) }, "BFF_SESSION_KEYS"},
		{"origin with a slash", func(c *app.Config) { c.AllowedOrigins = []string{"https://shop.example/"} }, "BFF_ALLOWED_ORIGINS"},
		{"origin wildcard", func(c *app.Config) { c.AllowedOrigins = []string{"*"} }, "BFF_ALLOWED_ORIGINS"},
		{"webhook secret missing", func(c *app.Config) { c.WebhookSecrets = nil }, "BFF_WEBHOOK_SECRETS"},
		{"webhook address missing", func(c *app.Config) { c.WebhookURL = "" }, "BFF_WEBHOOK_URL"},
		{"webhook secret malformed", func(c *app.Config) { c.WebhookSecrets = []string{"whsec_x"} }, "BFF_WEBHOOK_SECRETS"},
		{"webhook not https, live", func(c *app.Config) { live(c); c.WebhookURL = "http://shop.example/hook" }, "BFF_WEBHOOK_URL"},
		{"public API missing", func(c *app.Config) { c.WZRD.PublicAPI = "" }, "WZRD_PUBLIC_API"},
		{"private API not https, live", func(c *app.Config) { live(c); c.WZRD.PrivateAPI = "http://b.example" }, "WZRD_PRIVATE_API"},
		{"public key missing", func(c *app.Config) { c.WZRD.PublicKey = "" }, "WZRD_PUBLIC_KEY"},
		{"public key unknown", func(c *app.Config) { c.WZRD.PublicKey = "pk_prod_x" }, "WZRD_PUBLIC_KEY"},
		{"account missing", func(c *app.Config) { c.WZRD.AccountID = "" }, "WZRD_ACCOUNT_ID"},
		{"API key missing", func(c *app.Config) { c.WZRD.APIKey = "" }, "WZRD_API_KEY"},
		{"API key is a signing key", func(c *app.Config) { c.WZRD.APIKey = "sk_test_x" }, "WZRD_API_KEY"},
		{"signing keys missing", func(c *app.Config) { c.WZRD.SigningKeys = nil }, "WZRD_SIGNING_KEYS"},
		{"live public with test signing", func(c *app.Config) { c.WZRD.PublicKey = "pk_live_x" }, "WZRD_SIGNING_KEYS"},
		{"test public with live signing", func(c *app.Config) { c.WZRD.SigningKeys = []string{"sk_live_x"} }, "WZRD_SIGNING_KEYS"},
		{"one of two signing keys live", func(c *app.Config) { c.WZRD.SigningKeys = append(c.WZRD.SigningKeys, "sk_live_x") }, "WZRD_SIGNING_KEYS"},
		{"planes on one port", func(c *app.Config) { c.PrivateListen = c.Listen }, "BFF_PRIVATE_LISTEN"},
		{"listen without port", func(c *app.Config) { c.Listen = "localhost" }, "BFF_LISTEN"},
		{"two engines", func(c *app.Config) { c.NATS.URL, c.Cluster.Peers = "nats://n:4222", []string{"a:1", "b:1", "c:1"} }, "BFF_NATS_URL"},
		{"cluster of one peer", func(c *app.Config) {
			c.Cluster = app.Cluster{Name: "a", Listen: ":1", Secret: "s", Peers: []string{"a:1"}}
		}, "BFF_CLUSTER_PEERS"},
		{"cluster secret short", func(c *app.Config) {
			c.Cluster = app.Cluster{Name: "a", Listen: ":1", Secret: "s", Peers: []string{"a:1", "b:1", "c:1"}}
		}, "BFF_CLUSTER_SECRET"},
		{"cluster by the contract alone", func(c *app.Config) {
			c.Cluster = app.Cluster{Name: "a", Listen: ":1", Peers: []string{"b:1", "c:1"}}
		}, ""},
		{"cluster without a name", func(c *app.Config) { c.Cluster.Peers, c.Cluster.Secret = []string{"a:1", "b:1", "c:1"}, "s" }, "BFF_CLUSTER_NAME"},
		{"re-read unknown", func(c *app.Config) { c.ReRead = "maybe" }, "BFF_REREAD"},
		{"retention of nothing", func(c *app.Config) { c.RetentionDays = 0 }, "BFF_RETENTION_DAYS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := good()
			tt.change(&c)
			err := c.Validate()
			if tt.want == "" {
				if err != nil {
					t.Fatalf("Validate() = %v, want nil", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want+": ") {
				t.Fatalf("Validate() = %v, want an error that names %s", err, tt.want)
			}
			if strings.Contains(err.Error(), "secret") && strings.Contains(err.Error(), "_secret") {
				t.Errorf("Validate() = %v shows a secret", err)
			}
		})
	}
}

func TestValidate_TellsAllAtOnce(t *testing.T) {
	t.Parallel()
	err := app.Default().Validate()
	for _, setting := range []string{
		"BFF_PUBLIC_URL", "BFF_MERCHANT_KEYS", "BFF_SESSION_KEYS", "WZRD_PUBLIC_API", "WZRD_PRIVATE_API",
		"WZRD_PUBLIC_KEY", "WZRD_ACCOUNT_ID", "WZRD_API_KEY", "WZRD_SIGNING_KEYS",
	} {
		if err == nil || !strings.Contains(err.Error(), setting) {
			t.Errorf("Validate() of nothing = %v, want it to name %s", err, setting)
		}
	}
}
