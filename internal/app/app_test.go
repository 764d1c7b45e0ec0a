package app_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"wzrdcheckout/internal/app"
	"wzrdcheckout/public"
)

// needWidget skips what starts a program on a clone that was not built; ./build.sh test
// builds first.
func needWidget(t *testing.T) {
	t.Helper()
	if _, err := public.Load(); err != nil {
		t.Skip(err)
	}
}

func demo(t *testing.T) *app.Demo {
	t.Helper()
	needWidget(t)
	d, err := app.NewDemo(app.DemoConfig{
		Listen: "localhost:0", PrivateListen: "127.0.0.1:0", SandboxListen: "127.0.0.1:0", DataDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			t.Errorf("Stop = %v", err)
		}
	})
	return d
}

func status(t *testing.T, address, key string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// The whole program, joined: what each plane shows to whom.
func TestPlanes(t *testing.T) {
	t.Parallel()
	d := demo(t)
	for _, row := range []struct {
		name, address, key string
		want               int
	}{
		{"the shop", d.URL() + "/", "", 200},
		{"the loader", d.URL() + "/widget/v1/checkout.js", "", 200},
		{"no token", d.URL() + "/v1/checkout", "", 401},
		{"the merchant API is not public", d.URL() + "/v1/sessions/x", d.MerchantKey(), 404},
		{"metrics are not public", d.URL() + "/metrics", "", 404},
		{"operations are not public", d.URL() + "/ops/", d.MerchantKey(), 404},
		{"health", d.API() + "/healthz", "", 200},
		{"ready", d.API() + "/readyz", "", 200},
		{"metrics", d.API() + "/metrics", "", 200},
		{"merchant API without key", d.API() + "/v1/services", "", 401},
		{"merchant API", d.API() + "/v1/services", d.MerchantKey(), 200},
		{"operations without key", d.API() + "/ops/", "", 401},
		{"operations", d.API() + "/ops/", d.MerchantKey(), 200},
		{"the API for people", d.API() + "/ops/api", d.MerchantKey(), 200},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := status(t, row.address, row.key); got != row.want {
				t.Errorf("GET %s = %d, want %d", row.address, got, row.want)
			}
		})
	}
}

func TestStop_BeforeAndTwice(t *testing.T) {
	t.Parallel()
	needWidget(t)
	a, err := app.New(good())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Stop(t.Context()); err != nil {
		t.Errorf("Stop before Start = %v, want nil", err)
	}
	if err := a.Stop(t.Context()); err != nil {
		t.Errorf("Stop twice = %v, want nil", err)
	}
}

// A port in use stops the start, names the setting, and leaves nothing behind.
func TestStart_PortInUse(t *testing.T) {
	t.Parallel()
	needWidget(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c := good()
	c.DataDir, c.Listen, c.PrivateListen = t.TempDir(), "127.0.0.1:0", taken.Addr().String()
	a, err := app.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "BFF_PRIVATE_LISTEN") {
		t.Errorf("Start = %v, want an error that names BFF_PRIVATE_LISTEN", err)
	}
	if err := a.Stop(t.Context()); err != nil {
		t.Errorf("Stop = %v, want nil", err)
	}
}

// Check finds what is wrong and says how to mend it; a running bff is nothing wrong.
func TestCheck(t *testing.T) {
	t.Parallel()
	d := demo(t)
	sandbox := d.Sandbox()
	keys := sandbox.Credentials()
	c := good()
	c.DataDir, c.Listen, c.PrivateListen = t.TempDir(), strings.TrimPrefix(d.URL(), "http://"), strings.TrimPrefix(d.API(), "http://")
	c.WZRD.PublicAPI, c.WZRD.PrivateAPI, c.WZRD.HPPURL = sandbox.URL()+"/public-api", sandbox.URL()+"/api", sandbox.URL()
	c.WZRD.PublicKey, c.WZRD.AccountID, c.WZRD.APIKey, c.WZRD.SigningKeys = keys.PublicKeys[0], keys.AccountID, keys.APIKey, keys.SigningKeys
	for _, row := range []struct {
		name   string
		change func(*app.Config)
		wrong  []string
	}{
		{"all is well", func(*app.Config) {}, nil},
		{"a wrong API key", func(c *app.Config) { c.WZRD.APIKey = "another" }, []string{"WZRD_API_KEY"}},
		{"a wrong public key", func(c *app.Config) { c.WZRD.PublicKey = "pk_test_another" }, []string{"WZRD_PUBLIC_KEY"}},
		{"nobody answers", func(c *app.Config) { c.WZRD.PublicAPI, c.WZRD.PrivateAPI = "http://127.0.0.1:1", "http://127.0.0.1:1" }, []string{"WZRD_PUBLIC_KEY", "WZRD_API_KEY"}},
		{"a folder that is a file", func(c *app.Config) { c.DataDir = "app_test.go" }, []string{"BFF_DATA_DIR"}},
		{"a port of somebody else's", func(c *app.Config) { c.Listen = sandbox.Addr() }, []string{"BFF_LISTEN"}},
		{"no external engine there", func(c *app.Config) { c.NATS.URL = "nats://127.0.0.1:1" }, []string{"BFF_NATS_URL"}},
		{"its credentials are not there", func(c *app.Config) { c.NATS.URL, c.NATS.Creds = "nats://127.0.0.1:1", "/nowhere" }, []string{"BFF_NATS_CREDS"}},
		{"its certificate is not there", func(c *app.Config) {
			c.NATS.URL, c.NATS.Cert, c.NATS.Key = "nats://127.0.0.1:1", "/nowhere", "/nowhere"
		}, []string{"BFF_NATS_CERT"}},
		{"its authority is none", func(c *app.Config) { c.NATS.URL, c.NATS.CA = "nats://127.0.0.1:1", "app_test.go" }, []string{"BFF_NATS_CA"}},
		{"a missing secret", func(c *app.Config) { c.SessionKeys = nil }, []string{"BFF_SESSION_KEYS"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			config := c
			row.change(&config)
			var wrong []string
			well := app.Check(t.Context(), config, "EUR", func(f app.Finding) {
				if !f.OK {
					wrong = append(wrong, f.Subject)
					if f.Mend == "" {
						t.Errorf("%s: %s, and not how to mend it", f.Subject, f.Detail)
					}
				}
				for _, secret := range []string{config.WZRD.APIKey, config.WZRD.SigningKeys[0]} {
					if strings.Contains(f.Detail+f.Mend, secret) {
						t.Errorf("%s shows a secret: %s", f.Subject, f.Detail)
					}
				}
			})
			if well != (len(row.wrong) == 0) || !slices.Equal(wrong, row.wrong) {
				t.Errorf("Check = %v with %v wrong, want %v", well, wrong, row.wrong)
			}
		})
	}
}

// CheckReach calls what others call, and is content only with a bff and a shop that refuses.
func TestCheckReach(t *testing.T) {
	t.Parallel()
	d := demo(t)
	answering := func(status int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	// A proxy that forgets to hand upgrades on, as many do.
	plain := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		at, err := url.Parse(d.URL())
		if err != nil {
			t.Error(err)
			return
		}
		r.SetURL(at)
		r.Out.Header.Del("Upgrade")
	}})
	t.Cleanup(plain.Close)
	for _, row := range []struct {
		name, public, webhook string
		wrong                 []string
	}{
		{"bff and the demo's shop", d.URL(), d.URL() + "/shop/webhook", nil},
		{"no webhook", d.URL(), "", nil},
		{"somebody else's host", answering(404), "", []string{"callbacks"}},
		{"nobody", "http://127.0.0.1:1", "http://127.0.0.1:1", []string{"callbacks", "webhook"}},
		{"no upgrades", plain.URL, "", []string{"WebSocket"}},
		{"a shop that believes everything", d.URL(), answering(204), []string{"webhook"}},
		{"a shop at another address", d.URL(), answering(404), []string{"webhook"}},
		{"a shop that redirects", d.URL(), answering(301), []string{"webhook"}},
		{"a shop that refuses", d.URL(), answering(400), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := good()
			c.PublicURL, c.WebhookURL = row.public, row.webhook
			var wrong []string
			well := app.CheckReach(t.Context(), c, func(f app.Finding) {
				if !f.OK {
					wrong = append(wrong, f.Subject)
				}
				if f.OK == (f.Mend != "") || f.Detail == "" {
					t.Errorf("%+v: what is wrong says how to mend it, what is right does not", f)
				}
			})
			if well != (len(row.wrong) == 0) || !slices.Equal(wrong, row.wrong) {
				t.Errorf("CheckReach = %v with %v wrong, want %v", well, wrong, row.wrong)
			}
		})
	}
}

func TestCheckClock(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.NotFoundHandler()) // its answers carry the time
	t.Cleanup(s.Close)
	for _, row := range []struct {
		name string
		off  time.Duration
		ok   bool
	}{
		{"right", 0, true},
		{"a little off", 20 * time.Second, true},
		{"ahead", time.Hour, false},
		{"behind", -time.Hour, false},
	} {
		f, compared := app.CheckClock(t.Context(), s.URL, func() time.Time { return time.Now().Add(row.off) })
		if !compared || f.OK != row.ok || f.OK == (f.Mend != "") {
			t.Errorf("%s: checkClock = %+v, %v; want OK = %v", row.name, f, compared, row.ok)
		}
	}
	if _, compared := app.CheckClock(t.Context(), "http://127.0.0.1:1", time.Now); compared {
		t.Error("checkClock compared with nobody")
	}
}
