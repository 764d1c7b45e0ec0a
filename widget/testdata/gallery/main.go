// Command gallery serves the widget in every state, theme and language, without a BFF
// behind it: for people who look at it and for the pictures of the tests.
//
//	go run ./widget/testdata/gallery -assets public/widget/v1
//
// Each state is at /<state>?lang=uk&theme=dark&layout=grid, at /nojs/<state> as a page
// without script shows it, and all of them are side by side at /all?lang=uk&theme=dark.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"html"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/widget"
)

func amount(s string) *checkout.Amount { a := checkout.MustAmount(s); return &a }

func text(en, uk string) checkout.Text { return checkout.Text{"en": en, "uk": uk, "ru": uk} }

func catalogue(many bool) ([]checkout.Service, map[string]checkout.Method) {
	methods := map[string]checkout.Method{}
	var list []checkout.Service
	add := func(code, category, en, uk string, fields ...checkout.Field) {
		methods[code] = checkout.Method{Code: code, Category: category, Name: text(en, uk), Logo: "/logos/" + code}
		list = append(list, checkout.Service{Code: code + "_eur_hpp", Method: code, Flow: "hpp", Currency: "EUR", Fields: fields})
	}
	add("payment_card", "payment_card", "Bank card", "Банківська картка")
	add("sepa", "bank_transfer", "SEPA bank transfer", "Банківський переказ SEPA",
		checkout.Field{Key: "payer_name", Label: text("Account holder", "Власник рахунку"), Hint: text("As it stands on your statement", "Як у виписці"), Required: true},
		checkout.Field{Key: "iban_number", Label: text("IBAN", "IBAN"), Example: "DE89370400440532013000", Regexp: "^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$", Required: true},
		checkout.Field{Key: "email", Label: text("E-mail", "Ел. пошта"), Hint: text("For the receipt", "Для квитанції"), Regexp: "^.+@.+$"})
	add("blik", "mobile_payment", "BLIK", "BLIK", checkout.Field{Key: "blik_code", Label: text("BLIK code", "Код BLIK"), Hint: text("Six digits from your bank’s app", "Шість цифр із застосунку банку"), Regexp: "^[0-9]{6}$", Required: true})
	add("wallet", "digital_wallet", "Nordic Wallet", "Nordic Wallet")
	add("voucher", "prepaid_voucher", "Voucher", "Ваучер", checkout.Field{Key: "token", Label: text("Voucher number", "Номер ваучера"), Required: true})
	list = append(list, checkout.Service{Code: "usdt_usd_hpp", Method: "usdt", Flow: "hpp", Currency: "USDT", AmountMin: amount("10"), AmountMax: amount("25000")})
	methods["usdt"] = checkout.Method{Code: "usdt", Category: "alternative", Name: text("Tether", "Tether")}
	if many {
		for i := range 222 {
			add(fmt.Sprintf("bank%d", i), []string{"online_banking", "digital_wallet", "prepaid_voucher", "mobile_payment"}[i%4], fmt.Sprintf("Example Bank No. %d", i+1), fmt.Sprintf("Банк прикладів № %d", i+1))
		}
	}
	return list, methods
}

type state struct {
	name     string
	session  checkout.Session
	services []checkout.Service
	methods  map[string]checkout.Method
	readonly bool
}

func states() []state {
	base := checkout.Session{ID: "cs_7Qm2", Status: checkout.StatusOpen, Revision: 1, ReferenceID: "ORDER-20931", Amount: checkout.MustAmount("123.45"), Currency: "EUR", Digits: 2, TestMode: true, Flow: "charge", ExpiresAt: time.Now().Unix() + 3600, Attempts: []checkout.Attempt{}}
	services, methods := catalogue(false)
	large, largeMethods := catalogue(true)
	invoice := func(status, resolution string) *checkout.Invoice {
		return &checkout.Invoice{ID: "cpi_1", ReferenceID: "ORDER-20931", Service: "payment_card_eur_hpp", Status: status, Resolution: resolution, Amount: base.Amount, Currency: "EUR"}
	}
	with := func(status checkout.Status, v *checkout.Invoice) checkout.Session {
		s := base
		s.Status, s.Invoice, s.Revision = status, v, 7
		return s
	}
	part := invoice("partially_processed", "ok")
	part.ProcessedAmount = amount("100")
	back := invoice("refunded", "ok")
	back.RefundedAmount = amount("123.45")
	eleven, elevenMethods := catalogue(true)
	soon := base
	soon.ExpiresAt = time.Now().Unix() + 890
	last := base
	last.ExpiresAt = time.Now().Unix() + 299
	var twelve []checkout.Field
	for i, key := range []string{"payer_first_name", "payer_last_name", "email", "phone", "date_of_birth", "payer_address", "payer_city", "payer_zip_code", "payer_country", "account_number", "bic_number", "personal_id"} {
		// One pattern does not compile, one takes for ever in an engine that goes back.
		twelve = append(twelve, checkout.Field{Key: key, Label: text(strings.ReplaceAll(key, "_", " "), strings.ReplaceAll(key, "_", " ")), Required: i%3 != 2, Regexp: []string{"", "^(a+)+$", "[a-", "^.{1,40}$"}[i%4]})
	}
	form := append([]checkout.Service{{Code: "twelve_eur_hpp", Method: "payment_card", Flow: "hpp", Currency: "EUR", Fields: twelve}}, services[1:]...)
	live := base
	live.TestMode = false
	hostile := map[string]checkout.Method{"x": {Code: "x", Category: "?", Name: checkout.Text{"en": "<img src=x onerror=alert(1)> \u202eevil " + strings.Repeat("very long name ", 18)}}}
	return []state{
		{"list", base, services, methods, false},
		{"live", live, services, methods, false},
		{"many", base, large, largeMethods, false},
		{"eleven", base, eleven[:11], elevenMethods, false},
		{"one", base, services[1:2], methods, false},
		{"soon", soon, services, methods, false},
		{"last", last, services, methods, false},
		{"twelve", base, form, methods, false},
		{"hostile", base, []checkout.Service{{Code: "x_eur", Method: "x", Currency: "EUR"}, services[0]}, hostile, false},
		{"empty", base, []checkout.Service{}, methods, false},
		{"failed", with(checkout.StatusFailed, invoice("process_failed", "insufficient_funds")), services, methods, false},
		{"failed-return", with(checkout.StatusFailed, invoice("process_failed", "declined")), nil, nil, true},
		{"creating", with(checkout.StatusCreating, nil), services, methods, false},
		{"pending", with(checkout.StatusPending, invoice("process_pending", "ok")), services, methods, false},
		{"checking", with(checkout.StatusPending, invoice("process_pending", "ok")), nil, nil, true},
		{"paid", with(checkout.StatusPaid, invoice("processed", "ok")), services, methods, false},
		{"verified", with(checkout.StatusVerified, invoice("verified", "ok")), services, methods, false},
		{"partially_paid", with(checkout.StatusPartiallyPaid, part), services, methods, false},
		{"expired", with(checkout.StatusExpired, nil), services, methods, false},
		{"refunding", with(checkout.StatusRefunding, invoice("refunding", "ok")), services, methods, false},
		{"refunded", with(checkout.StatusRefunded, back), services, methods, false},
		{"charged_back", with(checkout.StatusChargedBack, invoice("charged_back", "ok")), services, methods, false},
	}
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8090", "address; port 0 takes a free one")
	assets := flag.String("assets", "public/widget/v1", "folder of the built assets")
	flag.Parse()
	if err := serve(*listen, *assets); err != nil {
		fmt.Fprintln(os.Stderr, "gallery:", err)
		os.Exit(1)
	}
}

func serve(listen, assets string) error {
	all := map[string]state{}
	var names []string
	for _, s := range states() {
		all[s.name] = s
		names = append(names, s.name)
	}
	door, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	listen = door.Addr().String()
	origin := "http://" + listen
	find := func(r *http.Request) (state, string) {
		name, lang, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), ":")
		return all[name], lang
	}
	render := func(s state, locale, theme, layout string) string {
		return widget.HTML(widget.View(widget.New(widget.Options{Base: origin, Locale: locale, ReadOnly: s.readonly, Theme: theme, Layout: layout}).Loaded(s.session, s.services, s.methods)))
	}
	mux := http.NewServeMux()
	mux.Handle("GET /widget/v1/", http.StripPrefix("/widget/v1/", http.FileServer(http.Dir(assets))))
	mux.HandleFunc("GET /v1/checkout", func(w http.ResponseWriter, r *http.Request) {
		s, lang := find(r)
		if r.URL.Query().Get("locale") != "" {
			lang = widget.Negotiate(r.URL.Query().Get("locale"))
		}
		w.Header().Set("Content-Type", "application/json")
		name, _, _ := strings.Cut(r.Header.Get("Authorization"), ":")
		switch name {
		case "Bearer broken":
			w.WriteHeader(503)
			return
		case "Bearer ended":
			w.WriteHeader(401)
			_, _ = w.Write([]byte(`{"code":"token_expired"}`))
			return
		case "Bearer loading":
			<-r.Context().Done()
			return
		}
		answer := map[string]any{"session": s.session, "html": render(s, lang, "", ""), "locale": lang}
		if t := widget.Texts(lang); t != "" {
			answer["texts"] = t
		}
		if !s.readonly {
			answer["services"], answer["methods"] = s.services, s.methods
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	mux.HandleFunc("POST /v1/checkout/invoice", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		var body struct {
			Service string
			Fields  map[string]string
		}
		_ = json.NewDecoder(r.Body).Decode(&body)
		s, _ := find(r)
		switch {
		case body.Service == "wallet_eur_hpp":
			w.WriteHeader(503)
			_, _ = w.Write([]byte(`{"code":"unavailable","retryable":true}`))
		case body.Service == "voucher_eur_hpp":
			w.WriteHeader(422)
			_, _ = w.Write([]byte(`{"code":"invalid","errors":{"token":{"code":"refused","message":"no"}}}`))
		case body.Service == "blik_eur_hpp":
			time.Sleep(time.Hour)
		default:
			s.session.Status, s.session.Revision = checkout.StatusPending, 3
			s.session.Invoice = &checkout.Invoice{ID: "cpi_1", Service: body.Service, Status: "process_pending", Amount: s.session.Amount, Currency: "EUR"}
			w.WriteHeader(201)
			_ = json.NewEncoder(w).Encode(map[string]any{"session": s.session, "redirect": map[string]any{"method": "GET", "url": origin + "/psp", "params": map[string]any{}}})
		}
	})
	mux.HandleFunc("GET /v1/checkout/updates", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(20 * time.Second):
			w.WriteHeader(204)
		}
	})
	mux.HandleFunc("GET /psp", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("the provider's page")) })
	mux.HandleFunc("POST /checkout/{id}/pay", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		_, _ = fmt.Fprint(w, r.Form)
	})
	head := func(w http.ResponseWriter, theme string) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src "+origin+" 'wasm-unsafe-eval'; style-src "+origin+"; img-src "+origin+"; connect-src "+origin+" ws://"+listen+"; frame-src "+origin+"; form-action "+origin+"; require-trusted-types-for 'script'; trusted-types 'none'")
		fmt.Fprintf(w, `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><link rel="stylesheet" href="/gallery.css"><title>%s</title><body class="%s"><main>`, "gallery", html.EscapeString(theme))
	}
	mux.HandleFunc("GET /gallery.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css")
		_, _ = w.Write([]byte(`body{margin:0;background:#f6f7f9}body.dark{background:#0e1013}main{display:block;max-width:30rem;margin:0 auto;padding:24px 16px}body.all main{max-width:none;display:flex;flex-wrap:wrap;gap:16px}iframe{width:390px;height:720px;border:1px solid #8888;border-radius:8px}`))
	})
	mux.HandleFunc("GET /{state}", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		lang := widget.Negotiate(q.Get("lang"))
		head(w, q.Get("theme"))
		data := ""
		for _, k := range []string{"redirect", "selected", "theme", "layout"} {
			if q.Get(k) != "" {
				data += fmt.Sprintf(` data-%s="%s"`, k, html.EscapeString(q.Get(k)))
			}
		}
		fmt.Fprintf(w, `<div id="pay"></div><script src="/widget/v1/checkout.js" data-session="%s:%s" data-target="#pay"%s></script></main>`, html.EscapeString(r.PathValue("state")), lang, data)
	})
	mux.HandleFunc("GET /nojs/{state}", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		s := all[r.PathValue("state")]
		head(w, q.Get("theme"))
		css, _ := os.ReadDir(assets)
		name := ""
		for _, e := range css {
			if strings.HasPrefix(e.Name(), "widget.") && strings.HasSuffix(e.Name(), ".css") {
				name = e.Name()
			}
		}
		fmt.Fprint(w, widget.Element(widget.ElementOptions{Token: q.Get("token"), Theme: q.Get("theme"), CSS: origin + "/widget/v1/" + name, HTML: render(s, widget.Negotiate(q.Get("lang")), q.Get("theme"), q.Get("layout"))}))
		if q.Get("token") != "" {
			fmt.Fprint(w, `<script async src="/widget/v1/checkout.js"></script>`)
		}
	})
	mux.HandleFunc("GET /all", func(w http.ResponseWriter, r *http.Request) {
		head(w, "all "+r.URL.Query().Get("theme"))
		for _, n := range names {
			fmt.Fprintf(w, `<iframe title="%s" src="/%s?%s"></iframe>`, n, n, html.EscapeString(r.URL.Query().Encode()))
		}
	})
	mux.HandleFunc("GET /checkout/{id}/qr.svg", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/svg+xml")
		_, _ = w.Write([]byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 4"><path d="M0 0h2v2H0zM2 2h2v2H2z"/></svg>`))
	})
	// Drawn pictures for some methods; the others show the sign of their kind.
	mux.HandleFunc("GET /logos/{code}", func(w http.ResponseWriter, r *http.Request) {
		shape, known := map[string]string{
			"payment_card": `<circle cx="15" cy="13" r="9" fill="#d8572a"/><circle cx="25" cy="13" r="9" fill="#f2b33d" fill-opacity=".85"/>`,
			"blik":         `<rect x="4" y="5" width="32" height="16" rx="4" fill="#111"/><circle cx="30" cy="9" r="3" fill="#e5397f"/>`,
			"wallet":       `<path d="M4 22 14 4h6l6 11 4-7h6l-8 14h-6l-6-11-6 11z" fill="#1f6feb"/>`,
		}[r.PathValue("code")]
		if !known {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "image/svg+xml")
		_, _ = fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 26">%s</svg>`, shape)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		head(w, "")
		for _, n := range names {
			fmt.Fprintf(w, `<p><a href="/%s">%s</a> <a href="/nojs/%s">without script</a></p>`, n, n, n)
		}
		for _, lang := range widget.Languages() {
			fmt.Fprintf(w, `<a href="/all?lang=%s">%s</a> <a href="/all?lang=%s&amp;theme=dark">dark</a> `, lang, lang, lang)
		}
	})
	log.Printf("gallery on %s", origin)
	return (&http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}).Serve(door)
}
