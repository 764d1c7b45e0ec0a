package e2e_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wzrdcheckout/internal/app"
	"wzrdcheckout/internal/sandbox"
)

// exampleShop is one of the shop servers in examples/, run as its users run it.
type exampleShop struct {
	t       *testing.T
	home    string // its address
	secret  string // of its webhooks
	output  *transcript
	orders  string // the folder with its orders
	command func() *exec.Cmd
}

// transcript keeps what a process prints.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *transcript) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// ports counts what freePort gave.
var ports atomic.Int64

// freePort is a port that nobody has just now, and that nobody gets who asks for any:
// systems give those from above 32767.
func freePort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		port := strconv.FormatInt(20_000+(int64(os.Getpid())*17+ports.Add(1))%10_000, 10)
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no port from 20000 to 29999 is free")
	return ""
}

// start starts the shop and waits until it listens; the returned function ends it.
func (s *exampleShop) start() (stop func()) {
	s.t.Helper()
	cmd := s.command()
	cmd.Stdout, cmd.Stderr = s.output, s.output
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // php's workers outlive their parent
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
			select {
			case <-ended:
			case <-time.After(20 * time.Second):
				s.t.Error("the shop did not end on SIGTERM")
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
				<-ended
			}
		})
	}
	s.t.Cleanup(stop)
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		res, err := http.Get(s.home + "/orders/none")
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusNotFound {
				return stop
			}
			s.t.Fatalf("GET /orders/none: %s", res.Status)
		}
		select {
		case err := <-ended:
			ended <- err
			s.t.Fatalf("the shop ended: %v\n%s", err, s.output)
		default:
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the shop does not listen after %v: %v\n%s", patience, err, s.output)
		}
	}
}

// realBFF is BFF and sandbox, with webhooks that go to the shop.
func realBFF(t *testing.T, shop, secret, key string) *app.App {
	t.Helper()
	watch := &logWatch{t: t, quiet: []string{"this is a sandbox of WZRDPAY"}}
	logger := slog.New(slog.NewTextHandler(watch, &slog.HandlerOptions{Level: slog.LevelWarn}))
	keys := sandbox.DemoCredentials()
	psp, err := sandbox.New(sandbox.Config{Credentials: keys, CallbackRetry: 200 * time.Millisecond, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	if err := psp.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	public, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	private, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := app.Default()
	c.PublicListener, c.PrivateListener = public, private
	c.PublicURL, c.AllowedOrigins = "http://"+public.Addr().String(), []string{shop}
	c.DataDir, c.Version, c.Logger = t.TempDir(), "e2e", logger
	c.MerchantKeys, c.SessionKeys = []string{key}, []string{"e2e:" + base64.StdEncoding.EncodeToString([]byte(rand.Text()+rand.Text()))}
	c.WebhookURL, c.WebhookSecrets = shop+"/webhook", []string{secret}
	c.WZRD.PublicAPI, c.WZRD.PrivateAPI, c.WZRD.HPPURL = psp.URL()+"/public-api", psp.URL()+"/api", psp.URL()
	c.WZRD.PublicKey, c.WZRD.AccountID, c.WZRD.APIKey, c.WZRD.SigningKeys = keys.PublicKeys[0], keys.AccountID, keys.APIKey, keys.SigningKeys
	bff, err := app.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := bff.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := bff.Stop(ctx); err != nil {
			t.Errorf("stop BFF: %v", err)
		}
		if err := psp.Stop(ctx); err != nil {
			t.Errorf("stop sandbox: %v", err)
		}
	})
	return bff
}

// The shop servers of examples/: the same checks for all, whatever they are written in.
func TestShopServers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T) (dir string, command []string)
	}{
		{"go", func(t *testing.T) (string, []string) {
			path := filepath.Join(t.TempDir(), "shop")
			if out, err := run(t, "../examples/shop-go", nil, "go", "build", "-o", path, "."); err != nil {
				t.Fatalf("build: %v\n%s", err, out)
			}
			return "", []string{path}
		}},
		{"node", func(t *testing.T) (string, []string) {
			return npm(t, "examples/shop-node"), []string{"node", "shop.js"}
		}},
		{"php", func(t *testing.T) (string, []string) {
			need(t, "CHECKOUT_PHP", "php")
			return "../examples/shop-php", []string{"php", "-S", "127.0.0.1:$PORT", "shop.php"}
		}},
		{"python", func(t *testing.T) (string, []string) {
			need(t, "CHECKOUT_PYTHON", "python3")
			return "../examples/shop-python", []string{"python3", "-B", "shop.py"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir, command := c.prepare(t)
			port := freePort(t)
			for i := range command {
				command[i] = strings.ReplaceAll(command[i], "$PORT", port)
			}
			home := "http://127.0.0.1:" + port
			secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte(rand.Text()))
			key := "mk_" + rand.Text()
			bff := realBFF(t, home, secret, key)
			public := "http://" + bff.Addr()
			s := &exampleShop{t: t, home: home, secret: secret, output: &transcript{}, orders: filepath.Join(t.TempDir(), "orders")}
			s.command = func() *exec.Cmd {
				cmd := exec.CommandContext(context.Background(), command[0], command[1:]...)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "BFF_API=http://"+bff.PrivateAddr(), "BFF_PUBLIC_URL="+public, "MERCHANT_KEY="+key,
					"WEBHOOK_SECRET="+secret, "PORT="+port, "SHOP_URL="+home, "ORDERS="+s.orders, "PHP_CLI_SERVER_WORKERS=4")
				return cmd
			}
			stop := s.start()
			paid := s.sells(public)
			s.hearsOnce(paid)
			s.refusesForgeries()
			stop()
			s.start()
			s.remembers(paid)
			if strings.Contains(s.output.String(), key) || strings.Contains(s.output.String(), secret) {
				t.Error("the shop prints a secret")
			}
		})
	}
}

var (
	orderOf = regexp.MustCompile(`Order ([A-Za-z0-9._-]+): ([a-z_]+)`)
	tagOf   = regexp.MustCompile(`<script async src="([^"]+)/widget/v1/checkout\.js" data-session="([^"]+)" data-target="#pay"></script>`)
)

// sells goes the shopper's way without a browser: the shop's page with the tag, the
// plain form, WZRDPAY's page, back to the shop; the BFF's own webhook makes it fulfilled.
// It gives the order's reference.
func (s *exampleShop) sells(public string) string {
	t := s.t
	t.Helper()
	text := s.get(s.home + "/")
	order, tag := orderOf.FindStringSubmatch(text), tagOf.FindStringSubmatch(text)
	if order == nil || order[2] != "open" || tag == nil || tag[1] != public {
		t.Fatalf("the shop's page has order %q and tag %q, want an open order and a tag of %s:\n%s", order, tag, public, text)
	}
	if got := s.order(order[1]); got.Status != "open" || got.Fulfilled != 0 {
		t.Fatalf("a new order is %+v, want open", got)
	}

	// The tag's token opens the checkout of that order.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, public+"/v1/checkout", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+tag[2])
	req.Header.Set("Origin", s.home)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var checkout struct {
		Session struct {
			ID          string
			ReferenceID string `json:"reference_id"`
			Amount      json.Number
			Currency    string
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&checkout); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("GET /v1/checkout: %s: %v", res.Status, err)
	}
	amount, err := checkout.Session.Amount.Float64()
	if s := checkout.Session; err != nil || s.ReferenceID != order[1] || amount != 39 || s.Currency != "EUR" {
		t.Fatalf("the tag's session is %+v, want order %s over 39 EUR", s, order[1])
	}

	// The same order again is the same session.
	again := tagOf.FindStringSubmatch(s.get(s.home + "/?order=" + order[1]))
	if again == nil || subject(t, again[2]) != subject(t, tag[2]) {
		t.Errorf("the order's page has the tag %q, want the same session", again)
	}

	back := s.pay(public+"/checkout/"+checkout.Session.ID, order[1])
	if got := orderOf.FindStringSubmatch(back); got == nil || got[1] != order[1] {
		t.Errorf("the shopper comes back to %q, want the page of order %s", back, order[1])
	}
	s.await("the order to be paid and fulfilled", func() bool {
		got := s.order(order[1])
		return got.Status == "paid" && got.Fulfilled == 1
	})
	if got := orderOf.FindStringSubmatch(s.get(s.home + "/?order=" + order[1])); got == nil || got[2] != "paid" {
		t.Errorf("the order's page says %q, want paid", got)
	}
	return order[1]
}

// pay pays a session by the hosted page's form, with JavaScript off, and gives the page
// that comes in the end.
func (s *exampleShop) pay(hosted, reference string) string {
	t := s.t
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	shopper := &http.Client{Jar: jar, Timeout: patience}
	post := func(address string, form url.Values) (string, *url.URL) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := shopper.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("POST %s: %s: %v\n%s", address, res.Status, err, text)
		}
		return string(text), res.Request.URL
	}
	text, at := post(hosted+"/pay", url.Values{"service": {sepa}, "field." + sepa + ".payer_name": {"Olena Demo"}, "field." + sepa + ".iban_number": {goodIBAN}})
	form := regexp.MustCompile(`<form method="post" action="([^"]+)">\s*<input type="hidden" name="cpi" value="([^"]+)">`).FindStringSubmatch(text)
	if form == nil {
		t.Fatalf("after paying %s the shopper is at %s, want WZRDPAY's page:\n%s", reference, at, text)
	}
	action, err := at.Parse(form[1])
	if err != nil {
		t.Fatal(err)
	}
	text, _ = post(action.String(), url.Values{"cpi": {form[2]}, "action": {"pay"}})
	return text
}

// subject is the session that a token is for.
func subject(t *testing.T, token string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no token", token)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct{ Sub string }
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	return claims.Sub
}

// hearsOnce delivers the same webhook again and again, at once and one after another.
func (s *exampleShop) hearsOnce(paid string) {
	t := s.t
	t.Helper()
	// An order opened as the pages built apart do it.
	var opened struct{ Order, Base, Session string }
	res, err := http.Post(s.home+"/session", "application/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&opened); err != nil || opened.Order == "" || opened.Base == "" || subject(t, opened.Session) == "" {
		t.Fatalf("POST /session: %s %+v: %v", res.Status, opened, err)
	}
	pending := s.sign("evt_1", "session.pending", opened.Order, "pending", 2)
	done := s.sign("evt_2", "session.paid", opened.Order, "paid", 3)
	if code := s.deliver(pending); code/100 != 2 {
		t.Errorf("session.pending is answered %d, want 2xx", code)
	}
	if got := s.order(opened.Order); got.Status != "pending" || got.Fulfilled != 0 {
		t.Errorf("after session.pending the order is %+v, want pending and not fulfilled", got)
	}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			if code := s.deliver(done); code/100 != 2 {
				t.Errorf("session.paid is answered %d, want 2xx", code)
			}
		})
	}
	wait.Wait()
	for _, w := range []signed{
		done,    // again
		pending, // late
		s.sign("evt_3", "session.paid", opened.Order, "paid", 3),       // the same news under another id
		s.sign("evt_4", "session.pending", opened.Order, "pending", 2), // old news under another id
		s.sign("evt_5", "session.paid", "order-of-another-shop", "paid", 3),
		s.sign("evt_6", "session.paid", "../../etc/passwd", "paid", 3),
		s.rotated(s.sign("evt_7", "session.paid", paid, "paid", 3)),
	} {
		if code := s.deliver(w); code/100 != 2 {
			t.Errorf("%s is answered %d, want 2xx", w.id, code)
		}
	}
	for _, reference := range []string{opened.Order, paid} {
		if got := s.order(reference); got.Status != "paid" || got.Fulfilled != 1 {
			t.Errorf("order %s is %+v, want paid and fulfilled once", reference, got)
		}
		if n := strings.Count(s.output.String(), "fulfil "+reference); n != 1 {
			t.Errorf("order %s was fulfilled %d times, want 1", reference, n)
		}
	}
}

// refusesForgeries delivers what the BFF did not sign.
func (s *exampleShop) refusesForgeries() {
	t := s.t
	t.Helper()
	reference := orderOf.FindStringSubmatch(s.get(s.home + "/"))[1]
	good := func() signed { return s.sign("evt_9", "session.paid", reference, "paid", 3) }
	for name, spoil := range map[string]func(*signed){
		"another secret": func(w *signed) {
			w.signature = signature("whsec_"+base64.StdEncoding.EncodeToString([]byte(rand.Text())), w.id, w.timestamp, w.body)
		},
		"another body":      func(w *signed) { w.body = strings.Replace(w.body, `"revision":3`, `"revision":4`, 1) },
		"another id":        func(w *signed) { w.id = "evt_10" },
		"another timestamp": func(w *signed) { w.timestamp = strconv.FormatInt(time.Now().Unix()+1, 10) },
		"an old one": func(w *signed) {
			w.timestamp = strconv.FormatInt(time.Now().Add(-10*time.Minute).Unix(), 10)
			w.signature = signature(s.secret, w.id, w.timestamp, w.body)
		},
		"one from the future": func(w *signed) {
			w.timestamp = strconv.FormatInt(time.Now().Add(10*time.Minute).Unix(), 10)
			w.signature = signature(s.secret, w.id, w.timestamp, w.body)
		},
		"no signature":       func(w *signed) { w.signature = "" },
		"no id":              func(w *signed) { w.id = "" },
		"no timestamp":       func(w *signed) { w.timestamp = "" },
		"no number":          func(w *signed) { w.timestamp = "soon" },
		"another version":    func(w *signed) { w.signature = strings.Replace(w.signature, "v1,", "v2,", 1) },
		"a part of it":       func(w *signed) { w.signature = w.signature[:len(w.signature)/2] },
		"no base64":          func(w *signed) { w.signature = "v1,%%%" },
		"letters of abroad":  func(w *signed) { w.signature = "v1,підпис" },
		"nothing but commas": func(w *signed) { w.signature = ",,, ,,," },
	} {
		w := good()
		spoil(&w)
		if code := s.deliver(w); code < 400 || code > 499 {
			t.Errorf("a webhook with %s is answered %d, want 4xx", name, code)
		}
	}
	if got := s.order(reference); got.Status != "open" || got.Fulfilled != 0 {
		t.Errorf("after forgeries the order is %+v, want open", got)
	}
	if code := s.deliver(good()); code/100 != 2 {
		t.Errorf("the same webhook unspoilt is answered %d, want 2xx", code)
	}
	if got := s.order(reference); got.Fulfilled != 1 {
		t.Errorf("the order is %+v, want fulfilled", got)
	}
}

// remembers holds that another run of the shop knows what the one before did.
func (s *exampleShop) remembers(paid string) {
	s.t.Helper()
	if code := s.deliver(s.sign("evt_20", "session.paid", paid, "paid", 3)); code/100 != 2 {
		s.t.Errorf("session.paid is answered %d, want 2xx", code)
	}
	if got := s.order(paid); got.Status != "paid" || got.Fulfilled != 1 {
		s.t.Errorf("after a restart the order is %+v, want paid and fulfilled once", got)
	}
	if n := strings.Count(s.output.String(), "fulfil "+paid); n != 1 {
		s.t.Errorf("order %s was fulfilled %d times, want 1", paid, n)
	}
}

type signed struct{ id, timestamp, signature, body string }

// sign makes a webhook as the BFF does.
func (s *exampleShop) sign(id, kind, reference, status string, revision int) signed {
	w := signed{id: id, timestamp: strconv.FormatInt(time.Now().Unix(), 10)}
	w.body = fmt.Sprintf(`{"type":%q,"timestamp":%q,"data":{"id":"cs_x","reference_id":%q,"status":%q,"revision":%d,"amount":39.00,"currency":"EUR"}}`,
		kind, time.Now().UTC().Format(time.RFC3339), reference, status, revision)
	w.signature = signature(s.secret, w.id, w.timestamp, w.body)
	return w
}

// rotated puts the signature of another secret before the right one.
func (s *exampleShop) rotated(w signed) signed {
	w.signature = signature("whsec_"+base64.StdEncoding.EncodeToString([]byte(rand.Text())), w.id, w.timestamp, w.body) + " " + w.signature
	return w
}

// signature is that of Standard Webhooks, written from its text and not with the library
// that the BFF signs with.
func signature(secret, id, timestamp, body string) string {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		panic(err)
	}
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, id+"."+timestamp+"."+body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// deliver sends a webhook and gives the answer's status; 0 when there is none.
func (s *exampleShop) deliver(w signed) int {
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.home+"/webhook", strings.NewReader(w.body))
	if err != nil {
		s.t.Error(err)
		return 0
	}
	req.Header.Set("Content-Type", "application/json")
	for name, value := range map[string]string{"webhook-id": w.id, "webhook-timestamp": w.timestamp, "webhook-signature": w.signature} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Error(err)
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

type exampleOrder struct {
	Order, Status string
	Fulfilled     int
}

func (s *exampleShop) order(reference string) exampleOrder {
	s.t.Helper()
	var o exampleOrder
	if err := json.Unmarshal([]byte(s.get(s.home+"/orders/"+reference)), &o); err != nil {
		s.t.Fatal(err)
	}
	return o
}

func (s *exampleShop) get(address string) string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.output)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("GET %s: %s: %v\n%s\n%s", address, res.Status, err, text, s.output)
	}
	return string(text)
}

func (s *exampleShop) await(what string, done func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if done() {
			return
		}
	}
	s.t.Fatalf("waited %v for %s\n%s", patience, what, s.output)
}
