package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/webhook"
)

const (
	secretA = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	secretB = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

// visit is one request that reached the shop.
type visit struct {
	at     time.Time
	id     string
	header http.Header
	body   []byte
}

// shop answers instead of the network. answer gets each visit; 0 = hang until the caller
// gives up.
type shop struct {
	mu     sync.Mutex
	visits []visit
	now    int
	most   int
	answer func(v visit) int
}

func (s *shop) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	v := visit{time.Now(), r.Header.Get("webhook-id"), r.Header, body}
	s.mu.Lock()
	s.visits = append(s.visits, v)
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.now--
		s.mu.Unlock()
	}()
	status := 204
	if s.answer != nil {
		status = s.answer(v)
	}
	if status == 0 {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("thanks")), Request: r}, nil
}

func (s *shop) all() []visit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.visits)
}

// busiest is how many requests there were at once.
func (s *shop) busiest() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

func (s *shop) ids() []string {
	var ids []string
	for _, v := range s.all() {
		ids = append(ids, v.id)
	}
	return ids
}

func config(store webhook.Store, transport http.RoundTripper) webhook.Config {
	return webhook.Config{
		URL: "https://shop.example/hook", Secrets: []string{secretA}, Version: "1.2.3",
		Store: store, Log: slog.New(slog.DiscardHandler), Transport: transport,
	}
}

// start runs a service until the test ends.
func start(t testing.TB, c webhook.Config) *webhook.Service {
	t.Helper()
	s, err := webhook.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t testing.TB, s *webhook.Service) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func event(t testing.TB, s *webhook.Service, id string) webhook.Event {
	t.Helper()
	e, err := s.Event(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func state(t testing.TB, s *webhook.Service, id string) webhook.State {
	t.Helper()
	return event(t, s, id).State
}

func TestNew(t *testing.T) {
	t.Parallel()
	secrets := []string{secretA}
	for _, row := range []struct {
		name, url string
		secrets   []string
		live      bool
		want      string // in the error, "" = none
	}{
		{"nothing", "", nil, true, ""},
		{"https", "https://shop.example/hook", secrets, true, ""},
		{"two secrets", "https://shop.example/hook", []string{secretA, secretB}, true, ""},
		{"loopback with test keys", "http://127.0.0.1:9000/hook", secrets, false, ""},
		{"localhost with test keys", "http://localhost/hook", secrets, false, ""},
		{"IPv6 loopback", "http://[::1]:9000/hook", secrets, false, ""},
		{"loopback with live keys", "http://127.0.0.1:9000/hook", secrets, true, "BFF_WEBHOOK_URL"},
		{"http elsewhere", "http://shop.example/hook", secrets, false, "BFF_WEBHOOK_URL"},
		{"loopback look-alike", "http://127.0.0.1.shop.example/hook", secrets, false, "BFF_WEBHOOK_URL"},
		{"other scheme", "ftp://localhost/hook", secrets, false, "BFF_WEBHOOK_URL"},
		{"relative", "/hook", secrets, false, "BFF_WEBHOOK_URL"},
		{"no host", "https:///hook", secrets, false, "BFF_WEBHOOK_URL"},
		{"password", "https://a:b@shop.example/hook", secrets, false, "BFF_WEBHOOK_URL"},
		{"fragment", "https://shop.example/hook#x", secrets, false, "BFF_WEBHOOK_URL"},
		{"no secret", "https://shop.example/hook", nil, false, "BFF_WEBHOOK_SECRETS"},
		{"no URL", "", secrets, false, "BFF_WEBHOOK_URL"},
		{"no prefix", "https://shop.example/hook", []string{secretA[6:]}, false, "BFF_WEBHOOK_SECRETS"},
		{"not base64", "https://shop.example/hook", []string{"whsec_!!!!"}, false, "BFF_WEBHOOK_SECRETS"},
		{"short", "https://shop.example/hook", []string{secretA, "whsec_AAAA"}, false, "BFF_WEBHOOK_SECRETS"},
		{"long", "https://shop.example/hook", []string{"whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 65))}, false, "BFF_WEBHOOK_SECRETS"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := config(newMemory().replica("a"), nil)
			c.URL, c.Secrets, c.Live = row.url, row.secrets, row.live
			_, err := webhook.New(c)
			if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.HasPrefix(err.Error(), row.want)) {
				t.Errorf("New(%q, %d secrets, live %v) = %v, want an error that begins with %q", row.url, len(row.secrets), row.live, err, row.want)
			}
			for _, secret := range row.secrets {
				if err != nil && strings.Contains(err.Error(), strings.TrimPrefix(secret, "whsec_")) {
					t.Errorf("New error holds a secret: %v", err)
				}
			}
		})
	}
}

// TestDeliver_signature posts over a real connection and checks what arrives three ways:
// the library's verifier, the scheme worked out by hand, and the published verifier for
// Python, each with each secret.
func TestDeliver_signature(t *testing.T) {
	t.Parallel()
	got := make(chan visit, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.Path != "/shop/hook" {
			t.Errorf("request = %s %s, want POST /shop/hook", r.Method, r.URL.Path)
		}
		got <- visit{time.Now(), r.Header.Get("webhook-id"), r.Header.Clone(), body}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	store := newMemory()
	c := config(store.replica("a"), nil)
	c.URL, c.Secrets = server.URL+"/shop/hook", []string{secretA, secretB}
	start(t, c)
	id := store.happen(t, "cs_Zx_9-a", 1)
	v := <-got

	if v.id != id {
		t.Errorf("webhook-id = %q, want %q", v.id, id)
	}
	for name, want := range map[string]string{"Content-Type": "application/json", "User-Agent": "wzrdcheckout/1.2.3"} {
		if v.header.Get(name) != want {
			t.Errorf("%s = %q, want %q", name, v.header.Get(name), want)
		}
	}
	var body map[string]json.RawMessage
	if err := json.Unmarshal(v.body, &body); err != nil {
		t.Fatal(err)
	}
	if len(body) != 3 || string(body["type"]) != `"session.paid"` || !strings.Contains(string(body["data"]), `"amount":10.50`) {
		t.Errorf("body = %s, want type, timestamp and the session as data", v.body)
	}
	var at time.Time
	if err := json.Unmarshal(body["timestamp"], &at); err != nil {
		t.Errorf("timestamp %s: %v", body["timestamp"], err)
	}
	signatures := strings.Split(v.header.Get("webhook-signature"), " ")
	for i, secret := range c.Secrets {
		t.Run("secret "+strconv.Itoa(i+1), func(t *testing.T) {
			t.Parallel()
			verifier, err := standardwebhooks.NewWebhook(secret)
			if err != nil {
				t.Fatal(err)
			}
			if err := verifier.Verify(v.body, v.header); err != nil {
				t.Errorf("Verify() = %v", err)
			}
			if err := verifier.Verify(append([]byte(" "), v.body...), v.header); err == nil {
				t.Error("Verify(another body) = nil, want an error")
			}

			key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
			if err != nil {
				t.Fatal(err)
			}
			mac := hmac.New(sha256.New, key)
			fmt.Fprintf(mac, "%s.%s.%s", id, v.header.Get("webhook-timestamp"), v.body)
			want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
			if len(signatures) != 2 || signatures[i] != want {
				t.Errorf("webhook-signature = %q, want %q at %d", signatures, want, i)
			}

			python(t, secret, v)
		})
	}
}

// python runs the Python verifier that the Standard Webhooks project publishes; it is in
// the module that this package signs with.
func python(t *testing.T, secret string, v visit) {
	interpreter, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("the verifier for another language needs python3")
	}
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/standard-webhooks/standard-webhooks/libraries").Output()
	if err != nil || len(dir) < 2 {
		t.Skip("the verifier for another language needs the go command and its module cache")
	}
	headers, err := json.Marshal(map[string]string{
		"webhook-id": v.id, "webhook-timestamp": v.header.Get("webhook-timestamp"), "webhook-signature": v.header.Get("webhook-signature"),
	})
	if err != nil {
		t.Fatal(err)
	}
	const script = `
import importlib.util, json, os, sys
spec = importlib.util.spec_from_file_location("webhooks", os.environ["VERIFIER"])
module = importlib.util.module_from_spec(spec)
sys.dont_write_bytecode = True
spec.loader.exec_module(module)
body = sys.stdin.buffer.read()
headers = json.loads(os.environ["HEADERS"])
verifier = module.Webhook(os.environ["SECRET"])
print(verifier.verify(body, headers)["type"])
try:
    verifier.verify(body + b" ", headers)
    print("accepted a changed body")
except module.WebhookVerificationError:
    print("refused a changed body")
`
	command := exec.CommandContext(t.Context(), interpreter, "-c", script)
	command.Env = append(os.Environ(), "SECRET="+secret, "HEADERS="+string(headers),
		"VERIFIER="+strings.TrimSpace(string(dir))+"/python/standardwebhooks/webhooks.py")
	command.Stdin = strings.NewReader(string(v.body))
	out, err := command.CombinedOutput()
	if want := "session.paid\nrefused a changed body\n"; err != nil || string(out) != want {
		t.Errorf("python verifier = %q, %v, want %q", out, err, want)
	}
}

func TestDeliver_schedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		first := ""
		healed := atomic.Bool{}
		to := &shop{answer: func(v visit) int {
			if v.id == first && !healed.Load() {
				return 500
			}
			return 200
		}}
		first = store.happen(t, "cs_a", 1)
		second := store.happen(t, "cs_a", 2)
		seen := &counts{}
		c := config(store.replica("a"), to)
		c.Observer = seen
		s := start(t, c)
		time.Sleep(time.Second)
		if got := state(t, s, first); got != webhook.Pending {
			t.Errorf("state after one failure = %s, want pending", got)
		}
		if e := event(t, s, first); e.NextAt == nil || *e.NextAt < time.Now().Unix()+3 || len(e.Attempts) != 1 || e.Attempts[0].Status != 500 {
			t.Errorf("event after one failure = %+v, want one attempt with status 500 and the next in about 5 s", e)
		}
		time.Sleep(73 * time.Hour)

		var times []time.Time
		for _, v := range to.all() {
			if v.id == first {
				times = append(times, v.at)
			}
		}
		delays := []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour}
		for i := 1; i < len(times)-1; i++ {
			want := 6 * time.Hour
			if i <= len(delays) {
				want = delays[i-1]
			}
			if got := times[i].Sub(times[i-1]); got < want || got > want+want/10+time.Second {
				t.Errorf("pause after attempt %d = %v, want %v and up to a tenth more", i, got, want)
			}
		}
		last := len(times) - 1
		if got := times[last].Sub(times[0]); got != 72*time.Hour {
			t.Errorf("last attempt after %v, want 72h", got)
		}
		if got := state(t, s, first); got != webhook.Dead {
			t.Errorf("state after three days = %s, want dead", got)
		}
		if got := state(t, s, second); got != webhook.Delivered {
			t.Errorf("state of the next event = %s, want delivered", got)
		}
		ids := to.ids()
		if i := slices.Index(ids, second); i != len(times) {
			t.Errorf("the next event was sent at %d of %v, want after %d attempts of the first", i, ids, len(times))
		}
		dead, next, err := s.Dead(t.Context(), "", 0)
		if err != nil || next != "" || len(dead) != 1 || dead[0].ID != first || len(dead[0].Attempts) > 20 {
			t.Errorf("Dead() = %v, %q, %v, want the first event", dead, next, err)
		}
		if seen.dead.Load() != 1 || seen.delivered.Load() != 1 {
			t.Errorf("observed %d dead, %d delivered, want 1, 1", seen.dead.Load(), seen.delivered.Load())
		}

		healed.Store(true)
		if err := s.Redeliver(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if got := state(t, s, first); got != webhook.Delivered {
			t.Errorf("state after Redeliver = %s, want delivered", got)
		}
		if dead, _, err := s.Dead(t.Context(), "", 0); err != nil || len(dead) != 0 {
			t.Errorf("Dead() after Redeliver = %v, %v, want none", dead, err)
		}
		before := len(to.all())
		if err := s.Redeliver(t.Context(), second); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if ids := to.ids(); len(ids) != before+1 || ids[before] != second {
			t.Errorf("sent after Redeliver of a delivered event: %v, want %s once", ids[before:], second)
		}
		if err := s.Redeliver(t.Context(), "evt_a_3"); !errors.Is(err, checkout.ErrNotFound) {
			t.Errorf("Redeliver(unknown) = %v, want ErrNotFound", err)
		}
	})
}

// counts is an Observer.
type counts struct{ dead, delivered, attempts, most atomic.Int64 }

func (c *counts) WebhookAttempt(string, time.Duration) { c.attempts.Add(1) }
func (c *counts) WebhookDelivered(time.Duration)       { c.delivered.Add(1) }
func (c *counts) WebhookDead()                         { c.dead.Add(1) }
func (c *counts) WebhookPending(n int, _ time.Duration) {
	c.most.Store(max(c.most.Load(), int64(n)))
}

// TestDeliver_order lets half of all attempts fail in every way, while events go on being
// stored and the loader may hold few of them: the shop accepts each event once, and those
// of one session in order.
func TestDeliver_order(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const sessions, events = 60, 5
		store := newMemory()
		var mu sync.Mutex
		random := rand.New(rand.NewPCG(1, 2))
		accepted := map[string][]int{}
		sent := map[string]int{} // the greatest number sent so far
		to := &shop{}
		to.answer = func(v visit) int {
			mu.Lock()
			defer mu.Unlock()
			session, n, ok := webhook.NameOf(v.id)
			if !ok {
				t.Errorf("webhook-id = %q", v.id)
			}
			if n < sent[session] {
				t.Errorf("%s: event %d sent after %d", session, n, sent[session])
			}
			sent[session] = n
			switch random.IntN(8) {
			case 0:
				return 500
			case 1:
				return 404
			case 2:
				return 302
			case 3:
				return 0
			}
			accepted[session] = append(accepted[session], n)
			return 200
		}
		s := start(t, config(store.replica("a"), to))
		webhook.Hold(s, 40)
		for n := 1; n <= events; n++ {
			for i := range sessions {
				store.happen(t, fmt.Sprintf("cs_%d", i), n)
			}
			time.Sleep(20 * time.Second)
			if held := webhook.Held(s); held > 40 {
				t.Errorf("held %d events, want at most 40", held)
			}
		}
		time.Sleep(71 * time.Hour)
		mu.Lock()
		defer mu.Unlock()
		for i := range sessions {
			if got := accepted[fmt.Sprintf("cs_%d", i)]; !slices.Equal(got, []int{1, 2, 3, 4, 5}) {
				t.Errorf("session %d accepted %v, want 1 to 5", i, got)
			}
		}
		if most := to.busiest(); most > 16 {
			t.Errorf("%d requests at once, want at most 16", most)
		}
	})
}

// TestDeliver_crash loses the note of a delivery: the next start sends it again, with the
// same id.
func TestDeliver_crash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		to := &shop{}
		first := store.replica("a")
		first.refuse = func(writes []checkout.Write) error {
			if strings.HasPrefix(writes[0].Key, "delivery.") {
				return checkout.ErrUnavailable
			}
			return nil
		}
		s, err := webhook.New(config(first, to))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		id := store.happen(t, "cs_a", 1)
		time.Sleep(time.Second)
		now, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Stop(now); err != nil {
			t.Fatal(err)
		}
		if got := to.ids(); !slices.Equal(got, []string{id}) {
			t.Fatalf("sent before the crash: %v, want %s", got, id)
		}

		again := start(t, config(store.replica("a"), to))
		time.Sleep(30 * time.Second)
		if got := to.ids(); !slices.Equal(got, []string{id, id}) {
			t.Errorf("sent = %v, want %s twice", got, id)
		}
		if got := state(t, again, id); got != webhook.Delivered {
			t.Errorf("state = %s, want delivered", got)
		}
	})
}

// TestDeliver_takeover: one replica sends; when it loses the store the other goes on, with
// the retries that the first one had begun; when it is back nothing is sent twice.
func TestDeliver_takeover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		var broken atomic.Bool
		answer := func(visit) int {
			if broken.Load() {
				return 503
			}
			return 200
		}
		one, two := &shop{answer: answer}, &shop{answer: answer}
		a, b := store.replica("a"), store.replica("b")
		first := start(t, config(a, one))
		time.Sleep(time.Second)
		second := start(t, config(b, two))
		id := store.happen(t, "cs_a", 1)
		time.Sleep(time.Minute)
		if x, y := len(one.all()), len(two.all()); x != 1 || y != 0 {
			t.Errorf("first sent %d, second %d, want 1, 0", x, y)
		}
		broken.Store(true)
		failing := store.happen(t, "cs_b", 1)
		time.Sleep(time.Minute)
		a.mu.Lock()
		a.down = true
		a.mu.Unlock()
		time.Sleep(time.Minute)
		broken.Store(false)
		later := store.happen(t, "cs_a", 2)
		time.Sleep(4 * time.Hour)
		for _, want := range []string{id, failing, later} {
			if got := state(t, second, want); got != webhook.Delivered {
				t.Errorf("state of %s = %s, want delivered", want, got)
			}
		}
		if e := event(t, second, failing); len(e.Attempts) < 3 {
			t.Errorf("attempts = %v, want those of both replicas", e.Attempts)
		}
		sent := len(two.all())
		a.mu.Lock()
		a.down = false
		a.mu.Unlock()
		b.mu.Lock()
		b.down = true
		b.mu.Unlock()
		before := len(one.all())
		time.Sleep(time.Hour)
		if x, y := len(one.all()), len(two.all()); x != before || y != sent {
			t.Errorf("after the lease went back: first sent %d more, second %d, want none", x-before, y-sent)
		}
		last := store.happen(t, "cs_b", 2)
		time.Sleep(time.Minute)
		if got := state(t, first, last); got != webhook.Delivered {
			t.Errorf("state after the lease went back = %s, want delivered", got)
		}
	})
}

// TestRedeliver_elsewhere asks a replica that does not hold the lease, about an event
// that the holder tries only every six hours.
func TestRedeliver_elsewhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		var fine atomic.Bool
		to := &shop{answer: func(visit) int {
			if fine.Load() {
				return 200
			}
			return 500
		}}
		start(t, config(store.replica("a"), to))
		time.Sleep(time.Second)
		other := start(t, config(store.replica("b"), to))
		id := store.happen(t, "cs_a", 1)
		next := store.happen(t, "cs_a", 2)
		time.Sleep(30 * time.Hour)
		fine.Store(true)
		if err := other.Redeliver(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		for _, id := range []string{id, next} {
			if got := state(t, other, id); got != webhook.Delivered {
				t.Errorf("state of %s = %s, want delivered", id, got)
			}
		}
		// A redelivery that fails stands in nobody's way.
		fine.Store(false)
		if err := other.Redeliver(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		fine.Store(true)
		third := store.happen(t, "cs_a", 3)
		time.Sleep(time.Second)
		if got := state(t, other, third); got != webhook.Delivered {
			t.Errorf("state of a new event behind a failing redelivery = %s, want delivered", got)
		}
	})
}

func TestDeliver_gone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		to := &shop{answer: func(v visit) int {
			if strings.HasSuffix(v.id, "_1") {
				return 410
			}
			return 200
		}}
		s := start(t, config(store.replica("a"), to))
		first, second := store.happen(t, "cs_a", 1), store.happen(t, "cs_a", 2)
		time.Sleep(80 * time.Hour)
		if got := to.ids(); !slices.Equal(got, []string{first, second}) {
			t.Errorf("sent = %v, want each once", got)
		}
		if a, b := state(t, s, first), state(t, s, second); a != webhook.Gone || b != webhook.Delivered {
			t.Errorf("states = %s, %s, want gone, delivered", a, b)
		}
	})
}

// TestDeliver_hanging: an endpoint that never answers for most sessions holds neither the
// others nor more than its share of connections.
func TestDeliver_hanging(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		to := &shop{answer: func(v visit) int {
			if strings.HasPrefix(v.id, "evt_hang") {
				return 0
			}
			return 200
		}}
		s := start(t, config(store.replica("a"), to))
		hanging := ""
		for i := range 2000 {
			hanging = store.happen(t, fmt.Sprintf("cs_hang%d", i), 1)
		}
		time.Sleep(time.Hour)
		if e := event(t, s, hanging); e.State != webhook.Pending || len(e.Attempts) == 0 || e.Attempts[0].Error != "no answer in 10s" || e.Attempts[0].MS != 10_000 {
			t.Errorf("hanging event = %+v, want pending, no answer in 10s", e)
		}
		begun := time.Now()
		for i := range 100 {
			store.happen(t, fmt.Sprintf("cs_fine%d", i), 1)
		}
		time.Sleep(10 * time.Second)
		for i := range 100 {
			id := fmt.Sprintf("evt_fine%d_1", i)
			if got := state(t, s, id); got != webhook.Delivered {
				t.Errorf("state of %s = %s %v after it happened, want delivered", id, got, time.Since(begun))
			}
		}
		if most := to.busiest(); most > 16 {
			t.Errorf("%d requests at once, want at most 16", most)
		}
	})
}

// TestDeliver_network checks what only a real connection can show.
func TestDeliver_network(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	redirect := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer redirect.Close()
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	}))
	defer endless.Close()
	selfSigned := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	selfSigned.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	selfSigned.StartTLS()
	defer selfSigned.Close()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()

	for _, row := range []struct {
		name, url string
		status    int
		err       string
		state     webhook.State
	}{
		{"redirect", redirect.URL, 307, "", webhook.Pending},
		{"endless answer", endless.URL, 200, "", webhook.Delivered},
		{"unknown certificate", selfSigned.URL, 0, "certificate", webhook.Pending},
		{"refused", closed.URL, 0, "refused", webhook.Pending},
	} {
		t.Run(row.name, func(t *testing.T) {
			store := newMemory()
			c := config(store.replica("a"), nil)
			c.URL = row.url
			stored := make(chan struct{}, 1)
			stopWatch := store.replica("test").Watch("delivery.", func(checkout.Entry) {
				select {
				case stored <- struct{}{}:
				default:
				}
			})
			defer stopWatch()
			s := start(t, c)
			id := store.happen(t, "cs_a", 1)
			<-stored
			e := event(t, s, id)
			if e.State != row.state || len(e.Attempts) == 0 || e.Attempts[0].Status != row.status || !strings.Contains(e.Attempts[0].Error, row.err) {
				t.Errorf("event = %+v, want %s with status %d, error %q", e, row.state, row.status, row.err)
			}
		})
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests reached a server that was not to be asked", n)
	}
}

// TestStart_cursor: a start does not read again what is done, nor lose what is not.
func TestStart_cursor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		stuck := store.happen(t, "cs_stuck", 1)
		var healed atomic.Bool
		to := &shop{answer: func(v visit) int {
			if v.id == stuck && !healed.Load() {
				return 500
			}
			return 200
		}}
		s, err := webhook.New(config(store.replica("a"), to))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range 1200 {
			store.happen(t, fmt.Sprintf("cs_%d", i), 1)
		}
		time.Sleep(time.Minute)
		stop(t, s)
		last := store.entries["event.cs_1199.1"].Version
		sent := len(to.all())

		healed.Store(true)
		r := store.replica("a")
		again := start(t, config(r, to))
		time.Sleep(time.Hour)
		r.mu.Lock()
		if len(r.lists) == 0 || r.lists[0] < last {
			t.Errorf("the second start listed events after %v, want after %d", r.lists, last)
		}
		r.mu.Unlock()
		if got := to.ids()[sent:]; !slices.Equal(got, []string{stuck}) {
			t.Errorf("the second start sent %v, want %s", got, stuck)
		}
		if got := state(t, again, stuck); got != webhook.Delivered {
			t.Errorf("state = %s, want delivered", got)
		}
	})
}

// TestStart_clock: what a clock that was two hours ahead has put off for seconds does not
// wait for two hours; what was put off by a right one keeps its time.
func TestStart_clock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		to := &shop{answer: func(visit) int { return 200 }}
		began := time.Now()
		put := func(session string, nextAt time.Time, tries int) (id string) {
			id = store.happen(t, session, 1)
			value := fmt.Appendf(nil, `{"state":"pending","attempts":[{"at":%d,"status":500}],"next_at":%d,"tries":%d,"since":%d}`,
				nextAt.Unix(), nextAt.Unix(), tries, nextAt.Unix())
			if _, err := store.replica("before").Commit(t.Context(), checkout.Write{Key: "delivery." + session + ".1", Value: value}); err != nil {
				t.Fatal(err)
			}
			return id
		}
		wrong := put("cs_wrong", began.Add(2*time.Hour), 1)
		right := put("cs_right", began.Add(20*time.Second), 2)
		late := put("cs_late", began.Add(2*time.Hour), 7)
		start(t, config(store.replica("a"), to))
		time.Sleep(3 * time.Hour)
		at := map[string]time.Duration{}
		for _, v := range to.all() {
			at[v.id] = v.at.Sub(began)
		}
		if len(at) != 3 || at[wrong] > 10*time.Second || at[right] < 20*time.Second || at[right] > 40*time.Second || at[late] < 2*time.Hour {
			t.Errorf("sent after %v, want %s at once, %s after 20 s, %s after 2 h", at, wrong, right, late)
		}
	})
}

// TestStart_backlog: more unfinished events than the cursor names and the memory holds.
func TestStart_backlog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		var healed atomic.Bool
		to := &shop{answer: func(visit) int {
			if healed.Load() {
				return 200
			}
			return 500
		}}
		const sessions = 1500
		for i := range sessions {
			store.happen(t, fmt.Sprintf("cs_%d", i), 1)
		}
		s, err := webhook.New(config(store.replica("a"), to))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		stop(t, s)
		healed.Store(true)
		again := start(t, config(store.replica("a"), to))
		webhook.Hold(again, 1100)
		time.Sleep(7 * time.Hour)
		for i := range sessions {
			if got := state(t, again, fmt.Sprintf("evt_%d_1", i)); got != webhook.Delivered {
				t.Errorf("state of %d = %s, want delivered", i, got)
			}
		}
		accepted := map[string]int{}
		for _, v := range to.all() {
			accepted[v.id]++
		}
		if len(accepted) != sessions {
			t.Errorf("%d events reached the shop, want %d", len(accepted), sessions)
		}
	})
}

func TestNoURL(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		to := &shop{}
		c := config(store.replica("a"), to)
		c.URL, c.Secrets = "", nil
		s := start(t, c)
		id := store.happen(t, "cs_a", 1)
		time.Sleep(time.Hour)
		if got := state(t, s, id); got != webhook.NotConfigured {
			t.Errorf("state = %s, want not_configured", got)
		}
		if err := s.Redeliver(t.Context(), id); !errors.Is(err, checkout.ErrConflict) {
			t.Errorf("Redeliver() = %v, want ErrConflict", err)
		}
		stop(t, s)
		// Once there is a URL, what was kept goes out.
		s = start(t, config(store.replica("a"), to))
		time.Sleep(time.Minute)
		if got := state(t, s, id); got != webhook.Delivered || len(to.all()) != 1 {
			t.Errorf("state = %s after %d requests, want delivered after 1", got, len(to.all()))
		}
	})
}

func TestEvents(t *testing.T) {
	t.Parallel()
	store := newMemory()
	c := config(store.replica("a"), nil)
	c.URL, c.Secrets = "", nil
	s, err := webhook.New(c)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 5 {
		want = append(want, store.happen(t, fmt.Sprintf("cs_%d", i), 1), store.happen(t, fmt.Sprintf("cs_%d", i), 2))
	}
	var got []string
	after, pages := "", 0
	for {
		data, next, err := s.Events(t.Context(), after, 4)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range data {
			got = append(got, e.ID)
		}
		pages++
		if after = next; after == "" {
			break
		}
	}
	if !slices.Equal(got, want) || pages != 3 {
		t.Errorf("Events() in %d pages = %v, want %v in 3", pages, got, want)
	}
	data, _, err := s.Events(t.Context(), "", 1)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(data[0])
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"id", "type", "timestamp", "session", "state", "attempts", "next_at", "data"} {
		if _, ok := members[name]; !ok {
			t.Errorf("event %s has no %q", text, name)
		}
	}
	if one, err := s.SessionEvents(t.Context(), "cs_3"); err != nil || len(one) != 2 || one[1].ID != "evt_3_2" {
		t.Errorf("SessionEvents(cs_3) = %v, %v, want two events", one, err)
	}
	for _, bad := range []struct {
		after string
		limit int
	}{{"x", 0}, {"-1", 0}, {"", -1}, {"", 201}} {
		if _, _, err := s.Events(t.Context(), bad.after, bad.limit); !errors.Is(err, checkout.ErrInvalid) {
			t.Errorf("Events(%q, %d) = %v, want ErrInvalid", bad.after, bad.limit, err)
		}
	}
}

// TestUnreadable: what is stored as an event and is none becomes a dead letter and does
// not hold the next one.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		to := &shop{}
		if _, err := store.replica("x").Commit(t.Context(), checkout.Write{Key: "event.cs_a.1", Value: []byte("{")}, checkout.Write{Key: "event.nonsense", Value: []byte("{")}); err != nil {
			t.Fatal(err)
		}
		id := store.happen(t, "cs_a", 2)
		s := start(t, config(store.replica("a"), to))
		time.Sleep(time.Minute)
		if got := state(t, s, id); got != webhook.Delivered {
			t.Errorf("state = %s, want delivered", got)
		}
		if _, err := store.replica("x").Get(t.Context(), "dead.cs_a.1"); err != nil {
			t.Errorf("dead letter: %v, want one", err)
		}
	})
}

func FuzzEventID(f *testing.F) {
	for _, seed := range []string{"evt_a_1", "evt_a-_b__12", "evt__1", "evt_a_01", "evt_a_0", "evt_a", "cs_a", "evt_a.b_1", "evt_a_1000000000"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		session, n, ok := webhook.NameOf(id)
		if !ok {
			return
		}
		back, ok := webhook.IDOf(fmt.Sprintf("event.%s.%d", session, n))
		if !ok || back != id {
			t.Errorf("IDOf(NameOf(%q)) = %q, %v, want the same", id, back, ok)
		}
	})
}
