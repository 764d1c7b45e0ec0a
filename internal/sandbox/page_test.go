package sandbox_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"wzrdcheckout/internal/sandbox"
)

// press posts a form of the hosted page.
func (s *shop) press(id string, more ...string) response {
	s.t.Helper()
	form := url.Values{"cpi": {id}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return s.do("POST", "/redirect/hpp/", formType, form.Encode(), false)
}

var returns = fields{"return_urls": fields{"success": "https://shop.example/ok", "fail": "https://shop.example/no", "pending": "https://shop.example/wait"}}

func TestPage_Buttons(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	tests := []struct {
		name   string
		attrs  fields
		press  []string
		to     string // "" is the page itself
		status string
	}{
		{"pay", returns, []string{"action", "pay"}, "https://shop.example/ok", "processed ok"},
		{"fail", returns, []string{"action", "fail", "resolution", "insufficient_funds"}, "https://shop.example/no", "process_failed insufficient_funds"},
		{"fail with a made-up reason", returns, []string{"action", "fail", "resolution", "<b>"}, "https://shop.example/no", "process_failed declined"},
		{"pending", returns, []string{"action", "pending"}, "https://shop.example/wait", "process_pending ok"},
		{"verify", with(returns, fields{"flow": "verify"}), []string{"action", "pay"}, "https://shop.example/ok", "verified ok"},
		{"verify fails", with(returns, fields{"flow": "verify"}), []string{"action", "fail", "resolution", "declined"}, "https://shop.example/no", "verify_failed declined"},
		{"half", with(returns, fields{"options": fields{"allow_partially": true}}), []string{"action", "partial"}, "https://shop.example/wait", "partially_processed ok"},
		{"one URL", fields{"return_url": "https://shop.example/back"}, []string{"action", "fail", "resolution", "declined"}, "https://shop.example/back", "process_failed declined"},
		{"only pending URL", fields{"return_urls": fields{"pending": "https://shop.example/p"}}, []string{"action", "pay"}, "https://shop.example/p", "processed ok"},
		{"no URL", nil, []string{"action", "pay"}, "", "processed ok"},
		{"unknown action", returns, []string{"action", "steal"}, "", "process_pending ok"},
		{"wallet", with(returns, fields{"service": "applepay_usd_hpp"}), []string{"action", "pay"}, "https://shop.example/ok", "processed ok"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := s.create(with(card("button "+tt.name), tt.attrs))
			want := tt.to
			if want == "" {
				want = "/redirect/hpp/?cpi=" + id
			}
			r := s.press(id, tt.press...)
			if r.code != http.StatusSeeOther || r.header.Get("Location") != want || s.status(id) != tt.status {
				t.Errorf("press %v = %d to %s, invoice %s; want 303 to %s, %s", tt.press, r.code, r.header.Get("Location"), s.status(id), want, tt.status)
			}
			// A second press changes nothing and leads the same way.
			if again := s.press(id, tt.press...); again.header.Get("Location") != want || s.status(id) != tt.status {
				t.Errorf("second press = %d to %s, invoice %s; want %s, %s", again.code, again.header.Get("Location"), s.status(id), want, tt.status)
			}
		})
	}
	id := s.create(with(card("context"), fields{"return_url": "https://shop.example/b?x=1", "options": fields{"send_operation_context_on_return": true}}))
	u, err := url.Parse(s.press(id, "action", "pay").header.Get("Location"))
	if err != nil || u.Query().Get("id") != id || u.Query().Get("x") != "1" || u.Query().Get("amount") != "123.45" {
		t.Errorf("return with context = %v %v, want id, amount and the merchant's own x", u, err)
	}
}

func TestPage_Cards(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	const ok3, ok, fail3, fail = "5123817234060000", "5519 2838 1203 0000", "4412397212080000", "4302912837020000"
	tests := []struct {
		name, number, expiry string
		confirm              string // "" no 3-D Secure page is expected
		to, status           string
	}{
		{"good", ok, "10/31", "", "https://shop.example/ok", "processed ok"},
		{"good, long year", ok, "10/2031", "", "https://shop.example/ok", "processed ok"},
		{"good 3DS", ok3, "10/31", "confirm", "https://shop.example/ok", "processed ok"},
		{"good 3DS refused", ok3, "10/31", "refuse", "", "process_pending ok"},
		{"good, pending", ok, "07/77", "", "https://shop.example/wait", "process_pending ok"},
		{"good 3DS, pending", ok3, "07/77", "", "https://shop.example/wait", "process_pending auth_3ds_required"},
		{"good, out of date", ok, "01/20", "", "", "process_pending ok"},
		{"bad", fail, "05/29", "", "", "process_pending ok"},
		{"bad 3DS", fail3, "07/31", "confirm", "", "process_pending ok"},
		{"no test card", "4111111111111111", "10/31", "", "", "process_pending ok"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := s.create(with(card("card "+tt.name), returns))
			self := "/redirect/hpp/?cpi=" + id
			r := s.press(id, "action", "card", "number", tt.number, "expiry", tt.expiry, "cvv", "123")
			if tt.confirm != "" {
				if page := s.do("GET", self, "", "", false); !strings.Contains(string(page.body), `id="confirm"`) {
					t.Fatalf("page after the card = %.600s, want the 3-D Secure page", page.body)
				}
				r = s.press(id, "action", tt.confirm)
			}
			want := tt.to
			if want == "" {
				want = self
			}
			if r.header.Get("Location") != want || s.status(id) != tt.status {
				t.Errorf("card %s %s = %d to %s, invoice %s; want %s, %s", tt.number, tt.expiry, r.code, r.header.Get("Location"), s.status(id), want, tt.status)
			}
			if inv, _ := s.sb.Invoice(id); (inv.Attempts == 1) != (tt.to == "") {
				t.Errorf("attempts = %d, want one for each refused card", inv.Attempts)
			}
			if tt.to == "" {
				if page := s.do("GET", self, "", "", false); !strings.Contains(string(page.body), "was refused") {
					t.Errorf("page after a refused card = %.900s, want it to say so", page.body)
				}
			}
		})
	}

	t.Run("expiry picks the resolution", func(t *testing.T) {
		for expiry, resolution := range map[string]string{
			"05/29": "insufficient_funds", "04/28": "card_expired", "03/27": "invalid_cvv", "02/26": "invalid_pan",
			"06/42": "antifraud_error", "11/47": "issuer_decline", "07/31": "invalid_3ds_code", "10/34": "lost_or_stolen_card",
			"09/33": "declined", "06/54": "provider_error", "05/53": "unknown", "12/40": "general_fatal_error",
		} {
			id := s.create(with(card("trick "+expiry), returns))
			var r response
			for range 5 { // the fifth refused card is the last
				if got := s.status(id); got != "process_pending ok" {
					t.Fatalf("before the fifth card the invoice is %s, want process_pending ok", got)
				}
				r = s.press(id, "action", "card", "number", fail, "expiry", expiry, "cvv", "999")
			}
			if s.status(id) != "process_failed "+resolution || r.header.Get("Location") != "https://shop.example/no" {
				t.Errorf("five cards with %s = %s to %s, want process_failed %s", expiry, s.status(id), r.header.Get("Location"), resolution)
			}
		}
	})
	t.Run("a good card after a bad one", func(t *testing.T) {
		id := s.create(with(card("retry"), returns))
		s.press(id, "action", "card", "number", fail, "expiry", "05/29", "cvv", "123")
		s.press(id, "action", "card", "number", ok, "expiry", "10/31", "cvv", "123")
		if s.status(id) != "processed ok" {
			t.Errorf("invoice = %s, want processed ok", s.status(id))
		}
	})
	t.Run("a wrong form is no attempt", func(t *testing.T) {
		id := s.create(with(card("form"), returns))
		for _, bad := range [][]string{
			{"number", "12", "expiry", "10/31", "cvv", "123"},
			{"number", ok, "expiry", "13/31", "cvv", "123"},
			{"number", ok, "expiry", "10/31", "cvv", "12"},
			{"number", "x" + ok, "expiry", "10/31", "cvv", "123"},
		} {
			s.press(id, append([]string{"action", "card"}, bad...)...)
			if page := s.do("GET", "/redirect/hpp/?cpi="+id, "", "", false); !strings.Contains(string(page.body), `id="problem"`) {
				t.Errorf("page after %v shows no problem", bad)
			}
		}
		if inv, _ := s.sb.Invoice(id); inv.Attempts != 0 || inv.Status != "process_pending" {
			t.Errorf("invoice = %s after %d attempts, want process_pending after 0", inv.Status, inv.Attempts)
		}
	})
}

func TestPage_TestMethod(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	for value, want := range map[string][2]string{
		"success": {"processed ok", "https://shop.example/ok"},
		"fail":    {"process_failed declined", "https://shop.example/no"},
		"pending": {"process_pending ok", "https://shop.example/wait"},
		"other":   {"process_failed invalid_details", "https://shop.example/no"},
	} {
		id := s.create(with(with(card("test "+value), returns), fields{"service": "test_usd_test", "service_fields": fields{"status": value}}))
		if s.do("HEAD", "/redirect/hpp/?cpi="+id, "", "", false); s.status(id) != "process_pending ok" {
			t.Errorf("%s: HEAD made it %s, want nothing to happen before the shopper arrives", value, s.status(id))
		}
		r := s.do("GET", "/redirect/hpp/?cpi="+id, "", "", false)
		if r.code != 303 || r.header.Get("Location") != want[1] || s.status(id) != want[0] {
			t.Errorf("%s: page = %d to %s, invoice %s; want 303 to %s, %s", value, r.code, r.header.Get("Location"), s.status(id), want[1], want[0])
		}
	}
}

// TestPage_Doors: hpp_url, both forms of flow_data, /process and /hpp/ with
// parameters all lead to the page of the same invoice.
func TestPage_Doors(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	key := s.creds.PublicKeys[0]
	r := s.do("POST", "/api/payment-invoices", jsonType, private(card("door")), true)
	id := fmt.Sprint(r.at("data/id"))
	for _, u := range []any{r.at("data/attributes/hpp_url"), r.at("data/attributes/flow_data/action"), s.url + "/hpp/?cpi=" + id} {
		page := s.do("GET", strings.TrimPrefix(fmt.Sprint(u), s.url), "", "", false)
		if page.code != 200 || !strings.Contains(string(page.body), "<code>"+id+"</code>") {
			t.Errorf("GET %v = %d, want the page of %s", u, page.code, id)
		}
		csp := page.header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "script-src") || strings.Contains(string(page.body), "<script") {
			t.Errorf("GET %v: policy %q, want a page without scripts", u, csp)
		}
	}
	r = s.do("POST", "/api/payment-invoices", jsonType, private(with(card("door-post"), fields{"service": "paypal_usd_hpp"})), true)
	params, _ := r.at("data/attributes/flow_data/params").(map[string]any)
	if r.at("data/attributes/flow_data/method") != "POST" || len(params) == 0 {
		t.Fatalf("flow_data of paypal = %v, want POST with params", r.at("data/attributes/flow_data"))
	}
	form := url.Values{}
	for k, v := range params {
		form.Set(k, fmt.Sprint(v))
	}
	page := s.do("POST", strings.TrimPrefix(fmt.Sprint(r.at("data/attributes/flow_data/action")), s.url), formType, form.Encode(), false)
	if page.code != 200 || !strings.Contains(string(page.body), "<code>"+fmt.Sprint(r.at("data/id"))+"</code>") {
		t.Errorf("POST flow_data = %d %.300s, want the page", page.code, page.body)
	}
	process := "public_key=" + key + "&reference_id=door-form&service=payment_card_usd_hpp&currency=USD&amount=100"
	first := s.do("POST", "/public-api/payment-invoices/process", formType, process, false)
	again := s.do("POST", "/public-api/payment-invoices/process", formType, process, false)
	inv, _ := s.sb.Invoice("door-form")
	if first.code != 302 || first.header.Get("Location") != inv.HPPURL || again.header.Get("Location") != inv.HPPURL {
		t.Errorf("process twice = %s and %s, want %s", first.header.Get("Location"), again.header.Get("Location"), inv.HPPURL)
	}
	offers := s.do("GET", "/hpp/?public_key="+key+"&amount=10&currency=USD&reference_id=door-hpp&metadata[k]=v&locale=uk", "", "", false)
	html := string(offers.body)
	if offers.code != 200 || !strings.Contains(html, "Платіжна картка") || !strings.Contains(html, `name="metadata[k]" value="v"`) || strings.Contains(html, "skrill") || !strings.Contains(html, `service_fields[account_number]`) {
		t.Errorf("/hpp/ with a key = %d %.500s, want the list of methods", offers.code, html)
	}
	bad := s.do("POST", "/hpp/", formType, "public_key="+key+"&amount=10&currency=USD&service=bank_transfer_usd_hpp&service_fields[account_number]=x", false)
	if bad.code != 422 || !strings.Contains(string(bad.body), "service_fields.account_number") || !strings.Contains(string(bad.body), `value="x"`) {
		t.Errorf("/hpp/ with a wrong field = %d, want 422, the field and what was typed", bad.code)
	}
	made := s.do("POST", "/hpp/", formType, "public_key="+key+"&amount=10&currency=USD&service=payment_card_usd_hpp&reference_id=door-hpp", false)
	if inv, ok := s.sb.Invoice("door-hpp"); made.code != 303 || !ok || made.header.Get("Location") != "/redirect/hpp/?cpi="+inv.ID {
		t.Errorf("/hpp/ with a service = %d to %s, want 303 to the new invoice", made.code, made.header.Get("Location"))
	}
	for _, path := range []string{"/hpp/?cpi=cpi_none", "/hpp/cgi_none", "/redirect/hpp/", "/hpp/?cpi=%zz"} {
		if r := s.do("GET", path, "", "", false); r.code != 404 && r.code != 400 {
			t.Errorf("GET %s = %d, want 404 or 400", path, r.code)
		}
	}
	s.faults(sandbox.Faults{ForbidPublicCreation: true})
	if r := s.do("GET", "/hpp/?public_key="+key+"&amount=10&currency=USD", "", "", false); r.code != 403 {
		t.Errorf("/hpp/ with public creation forbidden = %d, want 403", r.code)
	}
	if r := s.do("POST", "/public-api/payment-invoices/process", formType, process+"1", false); r.code != 403 {
		t.Errorf("process with public creation forbidden = %d, want 403", r.code)
	}
}

func TestPage_HostileText(t *testing.T) {
	t.Parallel()
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(2)>`
	s := open(t, func(c *sandbox.Config) { c.AccountName = evil })
	id := s.create(with(card("hostile"), fields{
		"description": evil, "return_url": "https://shop.example/?q=" + url.QueryEscape(evil),
		"service": "bank_transfer_usd_hpp", "service_fields": fields{"account_number": "ABCDE12345"},
	}))
	pages := []response{s.do("GET", "/redirect/hpp/?cpi="+id, "", "", false)}
	pages = append(pages, s.do("GET", "/hpp/?"+url.Values{
		"public_key": {s.creds.PublicKeys[0]}, "amount": {"10"}, "currency": {"USD"}, "description": {evil}, "metadata[" + evil + "]": {evil}, "locale": {evil},
	}.Encode(), "", "", false))
	if _, err := s.sb.Pay(id); err != nil {
		t.Fatal(err)
	}
	pages = append(pages, s.do("GET", "/redirect/hpp/?cpi="+id, "", "", false), s.do("GET", "/", "", "", false),
		s.do("GET", "/static/images/default.svg", "", "", false))
	for i, p := range pages {
		if p.code != 200 || strings.Contains(string(p.body), "<script") || strings.Contains(string(p.body), "<img src=x") {
			t.Errorf("page %d = %d, hostile text came through: %s", i, p.code, p.body)
		}
	}
}

// tag is one tag with well quoted attributes.
var tag = regexp.MustCompile(`<(/?)([a-z][a-z0-9]*)((?: [a-z-]+(?:="[^"<>]*")?)*)>`)

// TestPage_Whole: every tag is closed in order, every value is in its place.
func TestPage_Whole(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	id := s.create(with(with(card("whole"), returns), fields{"options": fields{"allow_partially": true}, "description": "50 %s & <more>"}))
	bank := s.create(with(card("whole-bank"), fields{"service": "bank_transfer_usd_hpp", "service_fields": fields{"account_number": "ABCDE12345"}}))
	page := "/redirect/hpp/?cpi="
	for _, row := range []struct {
		name, path string
		before     []string // what is pressed first
		want       string
	}{
		{"index", "/", nil, "Requests so far"},
		{"unknown", page + "none", nil, "No such payment"},
		{"offers", "/hpp/?public_key=" + s.creds.PublicKeys[0] + "&amount=10&currency=USD", nil, "How do you want to pay?"},
		{"transfer", page + bank, nil, "Transfer details"},
		{"card", page + id, nil, "Pay a half"},
		{"description", page + id, nil, "50 %s &amp; &lt;more&gt;"},
		{"refused", page + id, []string{"action", "card", "number", "4302912837020000", "expiry", "05/29", "cvv", "123"}, "Attempt 1 of 5."},
		{"challenge", page + id, []string{"action", "card", "number", "5123817234060000", "expiry", "10/31", "cvv", "123"}, "Confirm with your bank"},
		{"done", page + id, []string{"action", "confirm"}, `<a class="button" id="return" href="https://shop.example/ok">`},
	} {
		if row.before != nil {
			s.press(id, row.before...)
		}
		html := string(s.do("GET", row.path, "", "", false).body)
		if !strings.Contains(html, row.want) || strings.Count(html, "%s") != strings.Count(html, "50 %s &amp;") {
			t.Errorf("%s: page has no %q, or a place without a value:\n%s", row.name, row.want, html)
		}
		if loose := tag.ReplaceAllString(strings.TrimPrefix(html, "<!doctype html>"), ""); strings.ContainsAny(loose, `<>"`) {
			t.Errorf("%s: a tag is not well written; left: %q", row.name, loose)
		}
		var inside []string
		for _, m := range tag.FindAllStringSubmatch(html, -1) {
			switch name := m[2]; {
			case name == "meta" || name == "link" || name == "img" || name == "input":
			case m[1] == "":
				inside = append(inside, name)
			case len(inside) == 0 || inside[len(inside)-1] != name:
				t.Fatalf("%s: </%s> closes %v", row.name, name, inside)
			default:
				inside = inside[:len(inside)-1]
			}
		}
		if len(inside) != 0 {
			t.Errorf("%s: never closed: %v", row.name, inside)
		}
	}
}

func TestStop_ReturnsWithHeldCallbacks(t *testing.T) {
	t.Parallel()
	sb, err := sandbox.New(sandbox.Config{CallbackURL: "http://127.0.0.1:1/nobody"})
	if err != nil {
		t.Fatal(err)
	}
	if err := sb.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := &shop{t: t, sb: sb, url: sb.URL(), creds: sb.Credentials(), client: &http.Client{}}
	sb.HoldCallbacks()
	s.create(card("held"))
	if err := sb.Stop(context.Background()); err != nil {
		t.Errorf("Stop() = %v, want nil while callbacks are held", err)
	}
	if err := sb.Stop(context.Background()); err != nil {
		t.Errorf("second Stop() = %v, want nil", err)
	}
	if err := sb.Start(context.Background()); err == nil {
		t.Error("Start() after Stop() = nil, want an error")
	}
}
