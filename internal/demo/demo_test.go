package demo_test

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"wzrdcheckout/internal/demo"
)

const (
	evil   = `"><script>alert(1)</script>`
	secret = "whsec_c2VjcmV0LW9mLXRoZS1kZW1v"
)

// shop is a demo shop in front of a BFF that answers as told.
func shop(t *testing.T, bff http.HandlerFunc) *httptest.Server {
	t.Helper()
	api := httptest.NewServer(bff)
	t.Cleanup(api.Close)
	s, err := demo.New(demo.Config{
		API: api.URL, Widget: "https://pay.shop.example", Home: "https://shop.example", MerchantKey: "key", WebhookSecret: secret,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return server
}

func open(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Currency, Locale string
		ReferenceID      string      `json:"reference_id"`
		ReturnURL        string      `json:"return_url"`
		Amount           json.Number `json:"amount"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Header.Get("Authorization") != "Bearer key" || r.URL.Path != "/v1/sessions" ||
		body.ReturnURL != "https://shop.example/?order="+body.ReferenceID {
		http.Error(w, "not as documented", http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]string{
		"id": "cs_1", "token": body.Currency + body.Amount.String() + body.Locale + evil, "url": "javascript:alert(1)",
	})
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := w.Body.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, w.Body.String()
}

func TestNew(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*demo.Config){
		"API":           func(c *demo.Config) { c.API = "" },
		"Widget":        func(c *demo.Config) { c.Widget = "" },
		"Home":          func(c *demo.Config) { c.Home = "" },
		"MerchantKey":   func(c *demo.Config) { c.MerchantKey = "" },
		"WebhookSecret": func(c *demo.Config) { c.WebhookSecret = "" },
	} {
		c := demo.Config{API: "a", Widget: "w", Home: "h", MerchantKey: "k", WebhookSecret: "s"}
		change(&c)
		if _, err := demo.New(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("New(without %s) = %v, want an error that names it", name, err)
		}
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	server := shop(t, open)
	for _, row := range []struct {
		name, query string
		want        []string
	}{
		{"plain", "", []string{`<html lang="en" data-theme="auto">`, `data-session="EUR39.00en&#34;`, "€39.00", `&amp;theme=auto" aria-current="true">EUR</a>`, `aria-current="true">en</a>`}},
		{"chosen", "?currency=UAH&locale=uk&theme=dark", []string{`<html lang="uk" data-theme="dark">`, `data-session="UAH1749.00uk&#34;`, "₴1,749.00", `<a href="/?currency=UAH&amp;locale=uk&amp;theme=dark" aria-current="true">UAH</a>`, `<a href="/?currency=UAH&amp;locale=en&amp;theme=dark">en</a>`, `data-theme="dark"></script>`}},
		{"unknown", "?currency=XXX&locale=" + "%22%3E%3Cscript%3E" + "&theme=%3Cb%3E&order=none", []string{`<html lang="en" data-theme="auto">`, "€39.00"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			status, page := get(t, server.URL+"/"+row.query)
			want := append(row.want, `<script async src="https://pay.shop.example/widget/v1/checkout.js" data-session="`, `data-target="#pay"`, `<a>pay on the payment page</a>`, `data-order="demo-`)
			for _, part := range want {
				if !strings.Contains(page, part) {
					t.Errorf("page has no %s", part)
				}
			}
			if status != 200 || strings.Contains(page, "<script>") || strings.Contains(page, "javascript:") || strings.Count(page, "<script") != 2 {
				t.Errorf("page = %d, what the BFF said came through: %s", status, page)
			}
		})
	}
	for path, status := range map[string]int{"/shop/page/shop.css": 200, "/shop/page/shop.js": 200, "/shop/page/lamp.svg": 200, "/shop/page/none": 404, "/shop/heard": 404, "/else": 404} {
		if got, _ := get(t, server.URL+path); got != status {
			t.Errorf("GET %s = %d, want %d", path, got, status)
		}
	}
	broken := shop(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) })
	if status, _ := get(t, broken.URL); status != http.StatusBadGateway {
		t.Errorf("page while the BFF is down = %d, want 502", status)
	}
}

// send posts a webhook, signed with the key, as of the given time; it gives the status.
func send(t *testing.T, to, id, key, body string, at time.Time) int {
	t.Helper()
	stamp := strconv.FormatInt(at.Unix(), 10)
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(key, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, raw)
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to+"/shop/webhook", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("webhook-id", id)
	r.Header.Set("webhook-timestamp", stamp)
	r.Header.Set("webhook-signature", "v1,AAAA v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return closed(t, res)
}

func closed(t *testing.T, res *http.Response) int {
	t.Helper()
	if err := res.Body.Close(); err != nil {
		t.Error(err)
	}
	return res.StatusCode
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	server := shop(t, open)
	_, page := get(t, server.URL)
	order := regexp.MustCompile(`data-order="([^"]+)"`).FindStringSubmatch(page)[1]
	paid := `{"type":"session.paid","data":{"status":"paid","reference_id":"` + order + `"}}`
	other := "whsec_" + base64.StdEncoding.EncodeToString([]byte("another secret"))
	for _, row := range []struct {
		name, id, key, body string
		at                  time.Time
		status              int
	}{
		{"another key", "evt_0", other, paid, time.Now(), 401},
		{"too old", "evt_0", secret, paid, time.Now().Add(-time.Hour), 401},
		{"not JSON", "evt_0", secret, "paid", time.Now(), 400},
		{"unknown order", "evt_0", secret, `{"type":"session.paid","data":{"reference_id":"none"}}`, time.Now(), 200},
		{"good", "evt_1", secret, paid, time.Now(), 200},
		{"the same again", "evt_1", secret, paid, time.Now(), 200},
		{"the next", "evt_2", secret, strings.ReplaceAll(paid, "paid", "refunding"), time.Now(), 200},
	} {
		if got := send(t, server.URL, row.id, row.key, row.body, row.at); got != row.status {
			t.Errorf("%s: POST = %d, want %d", row.name, got, row.status)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/shop/heard?order="+order, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	var heard []string
	for lines := bufio.NewScanner(res.Body); len(heard) < 2 && lines.Scan(); {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			heard = append(heard, data)
		}
	}
	if len(heard) != 2 || !strings.Contains(heard[0], `"id":"evt_1","type":"session.paid"`) || !strings.Contains(heard[1], `"id":"evt_2"`) {
		t.Errorf("heard %v, want each event once, in order", heard)
	}
	closed(t, res)
}
