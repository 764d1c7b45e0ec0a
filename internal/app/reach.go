package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// skew is how far this machine's clock may be from WZRDPAY's; webhooks are refused at five minutes.
const skew = time.Minute

// probe is one request of a check: no redirect is followed, the answer's beginning is read.
func probe(ctx context.Context, method, url, body string, header map[string]string) (status int, date, start string, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", "", err
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return 0, "", "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	if err != nil {
		return 0, "", "", err
	}
	return res.StatusCode, res.Header.Get("Date"), string(text), nil
}

// checkClock compares this machine's clock with the time that WZRDPAY's answers carry;
// false means that there was none to compare with.
func checkClock(ctx context.Context, base string, now func() time.Time) (Finding, bool) {
	_, date, _, err := probe(ctx, http.MethodHead, base, "", nil)
	if err != nil {
		return Finding{}, false
	}
	theirs, err := http.ParseTime(date)
	if err != nil {
		return Finding{}, false
	}
	off := now().Sub(theirs).Round(time.Second)
	switch {
	case off > skew:
		return Finding{Subject: "clock", Detail: fmt.Sprintf("%s ahead of WZRDPAY's", off), Mend: "keep it by NTP: tokens and webhooks carry times"}, true
	case off < -skew:
		return Finding{Subject: "clock", Detail: fmt.Sprintf("%s behind WZRDPAY's", -off), Mend: "keep it by NTP: tokens and webhooks carry times"}, true
	}
	return Finding{Subject: "clock", OK: true, Detail: "agrees with WZRDPAY's"}, true
}

// checkShop says who hears of payments and which pages may show the widget: leaving either
// out is allowed, and seldom meant.
func checkShop(cfg Config) []Finding {
	pages := strings.Join(cfg.AllowedOrigins, ", ")
	if pages == "" {
		pages = "none: only the hosted page and other pages of BFF_PUBLIC_URL show the widget"
	}
	hears := cfg.WebhookURL
	if hears == "" {
		hears = "none: the shop's server has to read GET /v1/events"
	}
	return []Finding{{Subject: "BFF_ALLOWED_ORIGINS", OK: true, Detail: pages}, {Subject: "BFF_WEBHOOK_URL", OK: true, Detail: hears}}
}

// CheckReach calls the two addresses that others call: the public plane as seen from
// outside, which must be a bff's, and the shop's webhook, which must refuse what is not
// signed. bff has to run; the shop hears one forged webhook.
func CheckReach(ctx context.Context, cfg Config, found func(Finding)) bool {
	list := []Finding{reachPublic(ctx, cfg.PublicURL)}
	if list[0].OK {
		list = append(list, reachSocket(ctx, cfg.PublicURL))
	}
	if cfg.WebhookURL != "" {
		list = append(list, reachShop(ctx, cfg.WebhookURL))
	}
	well := true
	for _, f := range list {
		well = well && f.OK
		found(f)
	}
	return well
}

// code is the code of a problem document; "" when the text is none.
func code(text string) string {
	var problem struct{ Code string }
	if json.NewDecoder(bytes.NewReader([]byte(text))).Decode(&problem) != nil {
		return ""
	}
	return problem.Code
}

func reachPublic(ctx context.Context, base string) Finding {
	at := base + "/v1/callbacks/wzrdpay"
	status, _, text, err := probe(ctx, http.MethodPost, at, "{}", map[string]string{"Content-Type": "application/json"})
	switch {
	case err != nil:
		return Finding{Subject: "callbacks", Detail: err.Error(), Mend: "start bff and the TLS proxy in front of it; compare BFF_PUBLIC_URL with the proxy's host and certificate"}
	case code(text) != "no_signature" && code(text) != "bad_signature":
		return Finding{
			Subject: "callbacks", Detail: fmt.Sprintf("POST %s says %d, and that is not bff's answer", at, status),
			Mend: "let the proxy hand every path and method of that host to BFF_LISTEN",
		}
	}
	return Finding{Subject: "callbacks", OK: true, Detail: at + " answers here; WZRDPAY must reach it too"}
}

func reachSocket(ctx context.Context, base string) Finding {
	status, _, text, err := probe(ctx, http.MethodGet, base+"/v1/checkout/ws", "", map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Protocol": "check"})
	if err == nil && code(text) == "bad_subprotocol" {
		return Finding{Subject: "WebSocket", OK: true, Detail: "upgrades reach bff"}
	}
	detail := fmt.Sprintf("an upgrade is answered %d %s", status, code(text))
	if err != nil {
		detail = err.Error()
	}
	return Finding{Subject: "WebSocket", Detail: detail, Mend: "let the proxy pass Upgrade and Connection on; until then pages ask by long polling"}
}

func reachShop(ctx context.Context, at string) Finding {
	status, _, _, err := probe(ctx, http.MethodPost, at, `{"type":"check"}`, map[string]string{
		"Content-Type": "application/json", "webhook-id": "evt_check", "webhook-timestamp": "0", "webhook-signature": "v1,AAAA",
	})
	switch {
	case err != nil:
		return Finding{Subject: "webhook", Detail: err.Error(), Mend: "start the shop's server, and compare BFF_WEBHOOK_URL"}
	case status < 300:
		return Finding{
			Subject: "webhook", Detail: fmt.Sprintf("%s took a forged webhook (%d)", at, status),
			Mend: "verify the signature before anything else, and answer 401: docs/webhooks.md",
		}
	case status < 400 || status == http.StatusNotFound || status == http.StatusMethodNotAllowed || status >= 500:
		return Finding{
			Subject: "webhook", Detail: fmt.Sprintf("POST %s says %d", at, status),
			Mend: "compare BFF_WEBHOOK_URL with the address that the shop's server listens at; redirects are not followed",
		}
	}
	return Finding{Subject: "webhook", OK: true, Detail: fmt.Sprintf("%s refuses a forged one (%d)", at, status)}
}
