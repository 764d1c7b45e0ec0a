package widget_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/widget"
)

// script plays events to a Model and writes down what came of each: the effects, and
// what is on the screen when it changed.
type script struct {
	t    *testing.T
	m    *widget.Model
	now  int64
	log  strings.Builder
	seen string
}

func play(t *testing.T, o widget.Options) *script {
	o.Base, o.Token = base, "token"
	return &script{t: t, m: widget.New(o), now: 1_000_000}
}

func (s *script) on(kind, name string, code int, text string) *script {
	ev := widget.Event{Kind: kind, Name: name, Code: code, Text: text, Now: s.now, Random: 777}
	if kind == "load" || kind == "answer" || kind == "frame" || kind == "update" {
		ev.Body = widget.ParseJSON(text)
	}
	var effects []widget.Effect
	s.m, effects = widget.Update(s.m, ev)
	fmt.Fprintf(&s.log, "%s %s\n", kind, strings.TrimSpace(fmt.Sprint(name, " ", code)))
	for _, e := range effects {
		words := strings.ReplaceAll(string(e), "\n", " · ")
		if strings.HasPrefix(words, "state ") {
			continue // told in full by the screen
		}
		fmt.Fprintf(&s.log, "\t%s\n", session.ReplaceAllString(words, `"session":…`))
	}
	if screen := content(widget.View(s.m)); screen != s.seen {
		fmt.Fprintf(&s.log, "\t= %s\n", screen)
		s.seen = screen
	}
	return s
}

func (s *script) after(ms int64) *script {
	s.now += ms
	return s
}

var session = regexp.MustCompile(`"session":\{.*"metadata":null\}`)

func (s *script) loaded(v checkout.Session) *script {
	return s.on("load", "", 200, answer(s.t, v))
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	pending := at(checkout.StatusPending, 3, invoice("process_pending", "ok"))
	done := at(checkout.StatusPaid, 4, invoice("processed", "ok"))
	refused := at(checkout.StatusFailed, 4, invoice("process_failed", "card_expired"))
	fill := func(s *script) *script {
		return s.on("choose", "sepa_eur_hpp", 0, "").
			on("input", "field.sepa_eur_hpp.payer_name", 0, " Ada ").
			on("input", "field.sepa_eur_hpp.iban_number", 0, "DE89370400440532013000")
	}
	for _, c := range []struct {
		name string
		o    widget.Options
		run  func(*script)
	}{
		{"pay", widget.Options{}, func(s *script) {
			fill(s.loaded(open()).on("opened", "", 0, "")).on("submit", "", 0, "").on("submit", "", 0, "").
				on("answer", "pay", 201, paid(t, pending)).on("answer", "pay", 201, paid(t, pending)).
				on("show", "", 0, "").on("opened", "", 0, "").on("frame", "", 0, frame(t, done)).on("frame", "", 0, frame(t, done)).on("frame", "", 0, frame(t, pending))
		}},
		{"popup", widget.Options{Redirect: "popup"}, func(s *script) {
			fill(s.loaded(open())).on("submit", "", 0, "").on("answer", "pay", 201, paid(t, pending)).on("act", "continue", 0, "").
				on("answer", "pay", 200, paid(t, pending)).on("opened", "", 0, "").on("frame", "", 0, frame(t, done))
		}},
		{"manual", widget.Options{Redirect: "manual", Selected: "card"}, func(s *script) {
			s.loaded(open()).on("submit", "", 0, "").on("answer", "pay", 201, paid(t, pending))
		}},
		{"errors", widget.Options{}, func(s *script) {
			s.loaded(open()).on("submit", "", 0, "").on("choose", "sepa_eur_hpp", 0, "").on("submit", "", 0, "").
				on("input", "field.sepa_eur_hpp.payer_name", 0, "A").on("input", "field.sepa_eur_hpp.iban_number", 0, strings.Repeat("9", 300)).
				on("blur", "field.sepa_eur_hpp.iban_number", 0, "").on("input", "field.sepa_eur_hpp.iban_number", 0, "1").on("submit", "", 0, "").
				on("answer", "pay", 422, `{"code":"invalid","errors":{"iban_number":{"code":"refused","message":"no"}}}`).
				on("submit", "", 0, "").on("answer", "pay", 0, "").on("submit", "", 0, "").on("answer", "pay", 503, `{"code":"unavailable","retryable":true}`).
				on("submit", "", 0, "").on("answer", "pay", 429, `{}`).on("submit", "", 0, "").on("answer", "pay", 422, `{"errors":{"service":{"code":"unknown"}}}`)
		}},
		{"bad redirect", widget.Options{Selected: "card"}, func(s *script) {
			s.loaded(open()).on("submit", "", 0, "").on("answer", "pay", 201, `{"session":{},"redirect":{"url":"javascript:alert(1)","method":"GET"}}`)
		}},
		{"lost answer", widget.Options{Selected: "card"}, func(s *script) {
			s.loaded(open()).on("opened", "", 0, "").on("submit", "", 0, "").on("frame", "", 0, frame(t, at(checkout.StatusCreating, 2, nil))).
				on("frame", "", 0, frame(t, pending)).on("answer", "pay", 0, "").on("act", "continue", 0, "").on("answer", "pay", 200, paid(t, pending))
		}},
		{"another attempt", widget.Options{Selected: "card"}, func(s *script) {
			s.loaded(open()).on("submit", "", 0, "").on("answer", "pay", 409, `{"code":"attempt_open","retryable":false,"session":`+encode(t, pending)+`}`)
		}},
		{"no news", widget.Options{}, func(s *script) {
			s.loaded(pending).after(10_000).on("timer", "news", 0, "").on("answer", "check", 204, "").after(10_000).on("timer", "news", 0, "").
				on("answer", "check", 200, encode(t, map[string]any{"type": "session", "revision": 4, "session": done}))
		}},
		{"failed and again", widget.Options{}, func(s *script) {
			s.loaded(pending).on("opened", "", 0, "").on("frame", "", 0, frame(t, refused)).on("answer", "load", 200, answer(t, refused)).
				on("choose", "card_eur_hpp", 0, "").on("submit", "", 0, "")
		}},
		{"another amount", widget.Options{Selected: "card"}, func(s *script) {
			v := open()
			v.Amount, v.Revision = checkout.MustAmount("99"), 2
			s.loaded(open()).on("opened", "", 0, "").on("frame", "", 0, frame(t, v)).on("answer", "load", 200, answer(t, v))
		}},
		{"expired", widget.Options{}, func(s *script) {
			s.loaded(at(checkout.StatusExpired, 2, nil)).on("act", "restart", 0, "")
		}},
		{"not loaded", widget.Options{}, func(s *script) {
			s.on("load", "", 0, "").on("act", "retry", 0, "").on("answer", "load", 502, "<html>").on("act", "retry", 0, "").
				on("answer", "load", 401, `{"code":"token_expired"}`).on("act", "reload", 0, "")
		}},
		{"token ends", widget.Options{Selected: "card"}, func(s *script) {
			s.loaded(open()).on("opened", "", 0, "").on("closed", "", 4502, "").on("online", "", 0, "")
		}},
		{"status token", widget.Options{}, func(s *script) {
			s.on("load", "", 200, encode(t, map[string]any{"session": pending})).on("submit", "", 0, "").on("act", "continue", 0, "").
				on("opened", "", 0, "").on("frame", "", 0, frame(t, done))
		}},
		{"other session", widget.Options{}, func(s *script) {
			v := open()
			v.ID = "cs_2"
			fill(s.loaded(done)).on("update", "", 0, `{"session":"other","colour":"red","appearance":{"theme":"dark"}}`).on("answer", "load", 200, answer(t, v))
		}},
		{"no methods", widget.Options{}, func(s *script) {
			s.on("load", "", 200, encode(t, map[string]any{"session": open(), "services": []int{}, "methods": map[string]int{}}))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := play(t, c.o)
			c.run(s)
			golden(t, "update/"+strings.ReplaceAll(c.name, " ", "-")+".txt", s.log.String())
		})
	}
}

// The line to the BFF: every close code, and what follows from it.
func TestUpdate_Line(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code  int
		again bool
	}{
		{1000, true},
		{1001, true},
		{1006, true},
		{1011, true},
		{4000, true},
		{4001, true},
		{4499, true},
		{4501, false},
		{4502, false},
		{4503, false},
		{4777, false},
		{4999, false},
	} {
		s := play(t, widget.Options{}).loaded(open()).on("opened", "", 0, "")
		s.log.Reset()
		s.on("closed", "", c.code, "").on("timer", "line", 0, "")
		if got := strings.Contains(s.log.String(), "socket · /v1/checkout/ws"); got != c.again {
			t.Errorf("after close code %d the page connects again: %v, want %v", c.code, got, c.again)
		}
	}
	s := play(t, widget.Options{}).loaded(open())
	for range 3 {
		s.on("closed", "", 1006, "").on("timer", "line", 0, "")
	}
	s.after(25_000).on("answer", "poll", 204, "").after(5).on("answer", "poll", 204, "").on("timer", "line", 0, "").
		on("answer", "poll", 200, encode(t, map[string]any{"type": "session", "revision": 2, "session": at(checkout.StatusPaid, 2, invoice("processed", "ok"))})).
		on("answer", "poll", 502, "").on("timer", "line", 0, "").on("hidden", "", 0, "").after(60_000).on("visible", "", 0, "").
		after(10_000).on("timer", "line", 0, "").on("closed", "", 4500, "").on("online", "", 0, "").on("opened", "", 0, "").after(30_000).on("closed", "", 4001, "")
	golden(t, "update/line.txt", s.log.String())
}

// FuzzUpdate plays any events to a widget. Whatever comes: no panic; the patches make
// the document that is drawn; no redirect without a submission, none twice; each status
// is told once; a success that was shown stays; and a fresh module goes on from there.
func FuzzUpdate(f *testing.F) {
	f.Add([]byte("\x00\x05\x06\x08\x20\x21\x0a\x0b\x0c\x0d"))
	f.Add([]byte{0, 7, 8, 10, 17, 18, 12, 13, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43})
	f.Add([]byte{0, 5, 10, 13, 24, 25, 26, 11, 9, 9, 4, 22, 23, 3, 14, 15, 16, 1, 2, 0, 20, 19})
	services, methods := catalogue()
	few := services[:1]
	v := func(status checkout.Status, revision int64, w string) checkout.Session {
		return at(status, revision, invoice(w, "ok"))
	}
	list := []checkout.Session{
		open(), v(checkout.StatusPending, 3, "process_pending"), v(checkout.StatusFailed, 4, "process_failed"),
		v(checkout.StatusPending, 5, "process_pending"), v(checkout.StatusPaid, 6, "processed"), v(checkout.StatusOpen, 7, "created"),
		v(checkout.StatusExpired, 8, "expired"), v(checkout.StatusRefunded, 9, "refunded"), at(checkout.StatusCreating, 2, nil),
	}
	type event struct {
		kind, name string
		code       int
		text       string
	}
	events := []event{
		{"load", "", 200, encode(f, map[string]any{"session": open(), "services": services, "methods": methods})},
		{"load", "", 503, ""},
		{"load", "", 200, encode(f, map[string]any{"session": list[1]})},
		{"answer", "load", 200, encode(f, map[string]any{"session": list[2], "services": few, "methods": methods, "locale": "uk", "texts": widget.Texts("uk")})},
		{"answer", "load", 401, "{}"},
		{"choose", "card_eur_hpp", 0, ""},
		{"choose", "sepa_eur_hpp", 0, ""},
		{"choose", "none", 0, ""},
		{"input", "field.sepa_eur_hpp.payer_name", 0, "Ada"},
		{"input", "field.sepa_eur_hpp.iban_number", 0, "DE89370400440532013000"},
		{"submit", "", 0, ""},
		{"submit", "", 0, ""},
		{"answer", "pay", 201, paid(f, list[1])},
		{"answer", "pay", 200, paid(f, list[4])},
		{"answer", "pay", 0, ""},
		{"answer", "pay", 409, encode(f, map[string]any{"session": list[3]})},
		{"answer", "pay", 422, `{"errors":{"payer_name":{"code":"refused"}}}`},
		{"opened", "", 0, ""},
		{"closed", "", 1006, ""},
		{"closed", "", 4502, ""},
		{"closed", "", 4000, ""},
		{"timer", "line", 0, ""},
		{"timer", "news", 0, ""},
		{"timer", "leave", 0, ""},
		{"act", "continue", 0, ""},
		{"act", "retry", 0, ""},
		{"act", "restart", 0, ""},
		{"answer", "poll", 204, ""},
		{"answer", "check", 200, encode(f, list[4])},
		{"online", "", 0, ""},
		{"hidden", "", 0, ""},
		{"visible", "", 0, ""},
		{"show", "", 0, ""},
		{"input", "query", 0, "bank"},
		{"input", "query", 0, ""},
		{"blur", "field.sepa_eur_hpp.payer_name", 0, ""},
		{"update", "", 0, `{"appearance":{"theme":"dark","layout":"grid"}}`},
	}
	for _, s := range list {
		events = append(events, event{"frame", "", 0, frame(f, s)})
	}
	f.Fuzz(func(t *testing.T, plan []byte) {
		if len(plan) > 200 {
			return
		}
		h := widget.NewHost(func(string) string { return "" })
		redirect := [...]string{"self", "popup", "manual"}[len(plan)%3]
		h.Dispatch("1\nmount\n0\n0\n\n0\n{\"base\":\"" + base + "\",\"session\":\"t\",\"redirect\":\"" + redirect + "\"}\n<div\n/")
		doc := &document{root: &widget.Node{Tag: "div"}}
		asked, redirects, status, success := 0, 0, "open", false
		for i, b := range plan {
			e := events[int(b)%len(events)]
			out := h.Dispatch(fmt.Sprintf("1\n%s\n%d\n%d\n%s\n%d\n%s\n", e.kind, 1000*i, 12345*int(b), e.name, e.code, e.text))
			for _, command := range strings.Split(out, "\x1e") {
				verb, rest, _ := strings.Cut(command, "\n")
				switch {
				case verb == "patch":
					doc.apply(t, rest)
				case strings.HasPrefix(command, "fetch\npay\n"):
					asked++
				case strings.HasPrefix(command, "host\nredirect\n"):
					redirects++
				case strings.HasPrefix(command, "host\nstatus\n"):
					got := widget.ParseJSON(strings.TrimPrefix(command, "host\nstatus\n")).Get("status").String()
					if got == status {
						t.Fatalf("status %q is told twice", got)
					}
					status = got
				}
			}
			if redirects > asked {
				t.Fatalf("%d redirects after %d submissions", redirects, asked)
			}
			if !equal(doc.root, h.Drawn(0)) {
				t.Fatalf("after %v the document is\n%s\nwant\n%s", e, widget.HTML(doc.root), widget.HTML(h.Drawn(0)))
			}
			shown := strings.Contains(widget.HTML(doc.root), `data-tone="good"`)
			if success && !checkout.Status(status).Settled() {
				t.Fatalf("after a success the status is %q", status)
			}
			if success && strings.Contains(widget.HTML(doc.root), `class="form"`) {
				t.Fatalf("after a success the list is shown")
			}
			success = success || shown
			if b%16 == 0 {
				fresh := widget.NewHost(func(string) string { return "" })
				fresh.Restore(h.Save())
				if !equal(fresh.Drawn(0), h.Drawn(0)) {
					t.Fatalf("a fresh module draws\n%s\nwant\n%s", widget.HTML(fresh.Drawn(0)), widget.HTML(h.Drawn(0)))
				}
				if fresh.Save() != h.Save() {
					t.Fatalf("a fresh module saves\n%q\nwant\n%q", fresh.Save(), h.Save())
				}
				h = fresh
			}
		}
	})
}

// FuzzDiff: the ops turn one document into the other.
func FuzzDiff(f *testing.F) {
	f.Add("<div\n<p\n@data-k=a\n'x\n/\n<p\n@data-k=b\n/\n/", "<div\n<p\n@data-k=b\n@hidden\n/\n<p\n@data-k=a\n'y\n/\n<i\n/\n/")
	f.Add("<div\n'a\n<b\n/\n'c\n/", "<div\n<b\n'a\n/\n/")
	f.Fuzz(func(t *testing.T, a, b string) {
		from, to := widget.ParseTree(a), widget.ParseTree(b)
		if from == nil || to == nil || from.Tag != to.Tag || !fair(from) || !fair(to) {
			return
		}
		doc := &document{root: clone(from)}
		doc.apply(t, widget.Diff(from, to))
		if !equal(doc.root, to) {
			t.Fatalf("Diff(%q, %q) = %q, which makes %q", a, b, widget.Diff(from, to), widget.HTML(doc.root))
		}
	})
}

// fair tells whether a tree could be one of ours: names are names, no attribute is twice.
func fair(n *widget.Node) bool {
	if n.Tag == "" && n.Text == "" {
		return false
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Attrs); i += 2 {
		if n.Attrs[i] == "" || seen[n.Attrs[i]] {
			return false
		}
		seen[n.Attrs[i]] = true
	}
	for _, k := range n.Kids {
		if !fair(k) {
			return false
		}
	}
	return true
}

// The page's types name exactly the codes that the widget tells.
func TestCodes_Documented(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("js", "checkout.d.ts"))
	if err != nil {
		t.Fatal(err)
	}
	_, union, _ := strings.Cut(string(b), "export type ErrorCode =\n")
	union, _, _ = strings.Cut(union, ";\n\n")
	entries := map[string]string{} // code → what is said of it
	var told string
	for _, part := range strings.SplitAfter(union, "*/") {
		if code, more, is := strings.Cut(strings.TrimPrefix(part, "\n\t| \""), "\""); is && strings.HasPrefix(part, "\n\t| ") {
			entries[code], part = told, more
		}
		told = part
	}
	for _, code := range widget.Codes {
		text, listed := entries[code]
		if !listed {
			t.Errorf("checkout.d.ts does not list the code %q", code)
		} else if what, shown, _ := strings.Cut(text, "@example"); strings.Trim(what, "/* \t\n") == "" || !strings.Contains(shown, `"`+code+`"`) {
			t.Errorf("checkout.d.ts does not explain the code %q: %s", code, text)
		}
		delete(entries, code)
	}
	if len(entries) > 0 {
		t.Errorf("checkout.d.ts lists codes that are never told: %v", entries)
	}
}

// Every text that the code asks for is there.
func TestTexts_Asked(t *testing.T) {
	t.Parallel()
	asked := regexp.MustCompile(`(?:\.t\(|texts\.get\(|action\(|fact\(|u\.notice = |m\.notice = |broke\(\w+, |trouble\(\w+, |fail\(\w+, )"([a-z._]+)"`)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range asked.FindAllStringSubmatch(string(b), -1) {
			if strings.HasSuffix(m[1], ".") {
				continue
			}
			n++
			if widget.T("en", m[1]) == "" {
				t.Errorf("%s asks for the text %q, which is not there", file, m[1])
			}
		}
	}
	if n < 30 {
		t.Errorf("found %d texts that the code asks for, want all of them", n)
	}
}

func TestNegotiate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		wanted []string
		want   string
	}{
		{nil, "en"},
		{[]string{""}, "en"},
		{[]string{"uk-UA"}, "uk"},
		{[]string{"", "xx", "ru"}, "ru"},
		{[]string{"UK"}, "uk"},
		{[]string{"de;q=0.5, uk;q=0.9, en;q=0.1"}, "uk"},
		{[]string{"xx, *;q=0.5"}, "en"},
		{[]string{"uk;q=0, de"}, "de"},
		{[]string{"../../etc"}, "en"},
	} {
		if got := widget.Negotiate(c.wanted...); got != c.want {
			t.Errorf("Negotiate(%q) = %q, want %q", c.wanted, got, c.want)
		}
	}
}
