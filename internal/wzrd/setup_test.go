package wzrd_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/wzrd"
)

const (
	publicKey  = "pk_test_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	accountID  = "coma_AbCdEfGhIjKlMnOp"
	apiKey     = "api-key-that-nobody-may-see"
	signingKey = "sk_test_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"
)

// psp is a scripted WZRDPAY under two different base paths, so that an address made
// without the configured base would be noticed. answer is called one request at a time.
type psp struct {
	t      *testing.T
	server *httptest.Server
	mu     sync.Mutex
	seen   []request
	answer func(n int, r request) reply // n counts from 1
}

type request struct {
	Method, Path, Query, Body string
	Header                    http.Header
	JSON                      map[string]any
}

type reply struct {
	status int
	body   string
	header map[string]string
	hijack func(http.ResponseWriter)
}

func ok(body string) reply { return reply{status: 200, body: body} }

func newPSP(t *testing.T, answer func(n int, r request) reply) *psp {
	t.Helper()
	p := &psp{t: t, answer: answer}
	p.server = httptest.NewServer(p)
	t.Cleanup(p.server.Close)
	return p
}

func (p *psp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	q := request{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Body: string(body), Header: r.Header}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &q.JSON); err != nil {
			p.t.Errorf("%s %s: the request is not JSON: %s", r.Method, r.URL.Path, body)
		}
	}
	private := strings.HasPrefix(r.URL.Path, "/corner/api/")
	login, password, _ := r.BasicAuth()
	switch {
	case private && (login != accountID || password != apiKey):
		p.t.Errorf("%s %s: wrong credentials", r.Method, r.URL.Path)
	case !private && !strings.HasPrefix(r.URL.Path, "/shop/public-api/"):
		p.t.Errorf("%s %s is below neither base", r.Method, r.URL.Path)
	case !private && r.Header.Get("Authorization") != "":
		p.t.Errorf("%s %s: the public API got the private API's credentials", r.Method, r.URL.Path)
	}
	p.mu.Lock()
	p.seen = append(p.seen, q)
	a := p.answer(len(p.seen), q)
	p.mu.Unlock()
	if a.hijack != nil {
		a.hijack(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

func (p *psp) requests() []request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]request(nil), p.seen...)
}

func (p *psp) config() wzrd.Config {
	return wzrd.Config{
		PublicAPI: p.server.URL + "/shop/public-api/", PrivateAPI: p.server.URL + "/corner/api", HPPURL: p.server.URL + "/hpp",
		PublicKey: publicKey, AccountID: accountID, APIKey: apiKey, SigningKeys: []wzrd.Secret{signingKey},
	}
}

func (p *psp) client(change ...func(*wzrd.Config)) *wzrd.Client {
	p.t.Helper()
	return newClient(p.t, p.config(), change...)
}

func newClient(t *testing.T, config wzrd.Config, change ...func(*wzrd.Config)) *wzrd.Client {
	t.Helper()
	for _, f := range change {
		f(&config)
	}
	c, err := wzrd.New(config)
	if err != nil {
		t.Fatalf("New = %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := c.Stop(ctx); err != nil {
			t.Errorf("Stop = %v", err)
		}
	})
	return c
}

func sample(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// upstream gives the UpstreamError of err or ends the test.
func upstream(t *testing.T, err error) *checkout.UpstreamError {
	t.Helper()
	var up *checkout.UpstreamError
	if !errors.As(err, &up) {
		t.Fatalf("error = %v, want an UpstreamError", err)
	}
	for _, secret := range []string{apiKey, signingKey, accountID, "http://", "https://"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("error %q shows %q", err, secret)
		}
	}
	return up
}

func amount(text string) *checkout.Amount {
	a := checkout.MustAmount(text)
	return &a
}

// tally counts what the observer hears.
type tally struct {
	mu    sync.Mutex
	calls map[string]int
	cache map[string]int
	lines []string
}

func newTally() *tally { return &tally{calls: map[string]int{}, cache: map[string]int{}} }

func (o *tally) Call(operation, outcome string, _ time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls[operation+" "+outcome]++
}

func (o *tally) Cache(result string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cache[result]++
}

func (o *tally) Breaker(api, state string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, api+" "+state)
}

func (o *tally) Pattern(pattern string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, "pattern "+pattern)
}

func (o *tally) heard() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.lines...)
}

// transport answers without a network, for tests on a synthetic clock.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func respond(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

func logger(w io.Writer) *slog.Logger { return slog.New(slog.NewJSONHandler(w, nil)) }
