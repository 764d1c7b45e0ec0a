package wzrd_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"wzrdcheckout/internal/wzrd"
)

func good() wzrd.Config {
	return wzrd.Config{
		PublicAPI: "https://api.gate.example/public-api", PrivateAPI: "https://private.gate.example/x/y/", HPPURL: "https://pay.gate.example",
		PublicKey: "pk_live_abc-DEF_1", AccountID: "coma_1", APIKey: "key", SigningKeys: []wzrd.Secret{"sk_live_1", "sk_live_2"},
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		change func(*wzrd.Config)
		want   string // the setting that is named; "" = accepted
	}{
		{"live", func(*wzrd.Config) {}, ""},
		{"no public key", func(c *wzrd.Config) { c.PublicKey = "" }, "WZRD_PUBLIC_KEY"},
		{"another key as public key", func(c *wzrd.Config) { c.PublicKey = "sk_live_abc" }, "WZRD_PUBLIC_KEY"},
		{"a mode that is none", func(c *wzrd.Config) { c.PublicKey = "pk_demo_abc" }, "WZRD_PUBLIC_KEY"},
		{"a prefix alone", func(c *wzrd.Config) { c.PublicKey = "pk_live_" }, "WZRD_PUBLIC_KEY"},
		{"a line break in the key", func(c *wzrd.Config) { c.PublicKey = "pk_live_abc\n" }, "WZRD_PUBLIC_KEY"},
		{"no public API", func(c *wzrd.Config) { c.PublicAPI = "" }, "WZRD_PUBLIC_API"},
		{"a relative API", func(c *wzrd.Config) { c.PublicAPI = "/public-api" }, "WZRD_PUBLIC_API"},
		{"another scheme", func(c *wzrd.Config) { c.PublicAPI = "ftp://gate.example" }, "WZRD_PUBLIC_API"},
		{"no private API", func(c *wzrd.Config) { c.PrivateAPI = "" }, "WZRD_PRIVATE_API"},
		{"credentials in the address", func(c *wzrd.Config) { c.PrivateAPI = "https://u:p@gate.example" }, "WZRD_PRIVATE_API"},
		{"a query in the address", func(c *wzrd.Config) { c.PrivateAPI = "https://gate.example/?a=b" }, "WZRD_PRIVATE_API"},
		{"http with live keys", func(c *wzrd.Config) { c.PrivateAPI = "http://gate.example" }, "WZRD_PRIVATE_API"},
		{"no hosted page", func(c *wzrd.Config) { c.HPPURL = "" }, ""},
		{"a fragment", func(c *wzrd.Config) { c.HPPURL = "https://gate.example/#x" }, "WZRD_HPP_URL"},
		{"no account", func(c *wzrd.Config) { c.AccountID = "" }, "WZRD_ACCOUNT_ID"},
		{"a colon in the login", func(c *wzrd.Config) { c.AccountID = "a:b" }, "WZRD_ACCOUNT_ID"},
		{"no API key", func(c *wzrd.Config) { c.APIKey = "" }, "WZRD_API_KEY"},
		{"the signing key as API key", func(c *wzrd.Config) { c.APIKey = "sk_live_1" }, "WZRD_API_KEY"},
		{"a line break in the API key", func(c *wzrd.Config) { c.APIKey = "key\r\n" }, "WZRD_API_KEY"},
		{"no signing key", func(c *wzrd.Config) { c.SigningKeys = nil }, "WZRD_SIGNING_KEYS"},
		{"an empty signing key", func(c *wzrd.Config) { c.SigningKeys = []wzrd.Secret{"sk_live_1", ""} }, "WZRD_SIGNING_KEYS"},
		{"a test signing key with a live key", func(c *wzrd.Config) { c.SigningKeys = []wzrd.Secret{"sk_live_1", "sk_test_1"} }, "WZRD_SIGNING_KEYS"},
		{"a live signing key with a test key", func(c *wzrd.Config) { c.PublicKey = "pk_test_1" }, "WZRD_SIGNING_KEYS"},
		{"test over http", func(c *wzrd.Config) {
			c.PublicKey, c.SigningKeys = "pk_test_1", []wzrd.Secret{"sk_test_1"}
			c.PublicAPI, c.PrivateAPI, c.HPPURL = "http://localhost:1/a", "http://localhost:1/b", "http://localhost:1"
		}, ""},
		{"a host with a port", func(c *wzrd.Config) { c.RedirectHosts = []string{"gate.example:443"} }, "RedirectHosts"},
		{"negative time", func(c *wzrd.Config) { c.Timeout = -time.Second }, "Timeout"},
		{"negative rate", func(c *wzrd.Config) { c.RatePerSecond = -1 }, "RatePerSecond"},
		{"negative burst", func(c *wzrd.Config) { c.Burst = -1 }, "Burst"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := good()
			row.change(&c)
			client, err := wzrd.New(c)
			if row.want == "" {
				if err != nil {
					t.Fatalf("New = %v, want a client", err)
				}
				if want := strings.Split(c.PublicKey, "_")[1]; client.Mode() != want {
					t.Errorf("Mode = %s, want %s", client.Mode(), want)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), row.want+":") {
				t.Fatalf("New = %v, want an error that names %s", err, row.want)
			}
			for _, secret := range []string{"sk_live_1", "sk_test_1", "u:p", "abc", "key\r"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("New = %v, which shows a value", err)
				}
			}
		})
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	s := wzrd.Secret("hush-hush")
	config := good()
	config.APIKey = s
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", s, "config", config)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", s, "config", config)
	text, err := json.Marshal(map[string]any{"key": s, "config": struct{ Key wzrd.Secret }{s}})
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{
		fmt.Sprint(s), fmt.Sprintf("%s %q %v %+v %#v %x %d %T", s, s, s, s, s, s, s, s), fmt.Sprintf("%+v %#v", config, config),
		s.String(), log.String(), string(text),
	} {
		if strings.Contains(shown, "hush") || strings.Contains(shown, fmt.Sprintf("%x", "hush")) || !strings.Contains(shown, "[redacted]") {
			t.Errorf("a secret shows as %s", shown)
		}
	}
}
