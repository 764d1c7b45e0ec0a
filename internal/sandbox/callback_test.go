package sandbox_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wzrdcheckout/internal/sandbox"
)

func TestSign_Vectors(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"data":{"type":"payment-invoices","id":"cpi_TEST000000000001"}}`:            "4B+h0XWCcRfmNDQUOQDmDIs97FA=",
		`{"data":{"links":{"self":"\/api\/payment-invoices\/cpi_TEST000000000001"}}}`: "va/7PS4GT4ahUf6mC2WBpmZsdmA=",
	} {
		if got := sandbox.Sign("sk_test_example", []byte(body)); got != want {
			t.Errorf("Sign(%s) = %s, want %s", body, got, want)
		}
	}
}

func TestCallbacks(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	id := s.create(with(card("cb"), fields{
		"description": "Кава/coffee", "customer": fields{"reference_id": "c1", "name": "A B"}, "metadata": fields{"k": "v"},
	}))
	s.settle()
	if _, err := s.sb.Pay(id); err != nil {
		t.Fatal(err)
	}
	s.settle()
	got := s.hook.all()
	if want := []string{"process_pending", "processed"}; !slices.Equal(s.hook.statuses(), want) {
		t.Fatalf("callbacks = %v, want %v", s.hook.statuses(), want)
	}
	for _, r := range got {
		if r.header.Get("Content-Type") != "application/json" || r.header.Get("User-Agent") == "" || r.header.Get("Retry-Count") != "0" || !r.genuin {
			t.Errorf("callback headers = %v, want JSON, an agent, Retry-Count 0 and the signature", r.header)
		}
		if !bytes.Contains(r.body, []byte(`"self":"\/api\/payment-invoices\/`+id)) || !bytes.Contains(r.body, []byte(`\u041a\u0430\u0432\u0430\/coffee`)) {
			t.Errorf("callback body = %s, want PHP's escapes", r.body)
		}
		if !bytes.Contains(r.body, []byte(`"included":[{`)) || r.attributes()["metadata"].(map[string]any)["k"] != "v" {
			t.Errorf("callback body = %s, want the customer included and the metadata", r.body)
		}
	}
	if n, err := s.sb.ResendCallbacks(id); n != 1 || err != nil {
		t.Errorf("ResendCallbacks() = %d, %v, want 1", n, err)
	}
	s.settle()
	if got := s.hook.statuses(); len(got) != 3 || got[2] != "processed" {
		t.Errorf("callbacks after a resend = %v, want processed once more", got)
	}
	// The invoice shows what was delivered.
	logs, _ := s.get("/api/payment-invoices/" + id).at("data/attributes/callback_logs").(map[string]any)
	if len(logs) != 3 {
		t.Errorf("callback_logs = %v, want three", logs)
	}
	for _, l := range logs {
		if l.(map[string]any)["status"] != "done" {
			t.Errorf("callback log = %v, want done", l)
		}
	}
}

// TestCallbacks_Only200 shows that nothing but 200 ends the retries and that
// no redirect is followed.
func TestCallbacks_Only200(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	s.hook.answers = []int{500, 201, 204, 302, 404}
	s.create(card("retry"))
	s.settle()
	var codes, counts []string
	for _, d := range s.sb.Deliveries() {
		codes = append(codes, http.StatusText(d.Code))
	}
	for _, r := range s.hook.all() {
		counts = append(counts, r.header.Get("Retry-Count"))
	}
	want := []string{"Internal Server Error", "Created", "No Content", "Found", "Not Found", "OK"}
	if !slices.Equal(codes, want) || !slices.Equal(counts, []string{"0", "1", "2", "3", "4", "5"}) {
		t.Errorf("deliveries = %v with Retry-Count %v, want %v", codes, counts, want)
	}
}

func TestCallbacks_GivenUp(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *sandbox.Config) { c.CallbackAttempts = 3; c.CallbackURL = "http://127.0.0.1:1/nobody" })
	s.create(card("gone"))
	s.settle()
	if n := len(s.sb.Deliveries()); n != 4 {
		t.Errorf("deliveries to nobody = %d, want the first and 3 retries", n)
	}
}

func TestCallbacks_HoldMergesStates(t *testing.T) {
	t.Parallel()
	for _, every := range []bool{false, true} {
		s := open(t, func(c *sandbox.Config) { c.EveryCallback = every })
		s.sb.HoldCallbacks()
		id := s.create(card("hold"))
		if _, err := s.sb.Fail(id, "declined"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.sb.Pay(id); err != nil {
			t.Fatal(err)
		}
		if n := len(s.hook.all()); n != 0 {
			t.Errorf("callbacks while held = %d, want 0", n)
		}
		s.sb.ReleaseCallbacks()
		s.settle()
		want := []string{"processed"}
		if every {
			want = []string{"process_pending", "process_failed", "processed"}
		}
		if got := s.hook.statuses(); !slices.Equal(got, want) {
			t.Errorf("callbacks after the hold, every %v = %v, want %v", every, got, want)
		}
	}
}

func TestCallbacks_FinalOnlyAndOwnURL(t *testing.T) {
	t.Parallel()
	var own atomic.Int32
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { own.Add(1) }))
	defer receiver.Close()
	s := open(t, func(c *sandbox.Config) { c.FinalCallbacksOnly = true })
	a := s.create(card("account"))
	b := s.create(with(card("own"), fields{"callback_url": receiver.URL}))
	for _, id := range []string{a, b} {
		if _, err := s.sb.Pay(id); err != nil {
			t.Fatal(err)
		}
	}
	s.settle()
	if got := s.hook.statuses(); !slices.Equal(got, []string{"processed"}) || own.Load() != 1 {
		t.Errorf("callbacks = %v at the account's URL and %d at the invoice's, want processed at each", got, own.Load())
	}
}

func TestCallbackFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		faults sandbox.Faults
		want   []string // statuses of the genuine ones, in order of arrival
		forged int
	}{
		{"none", sandbox.NoFaults(), []string{"process_pending", "processed"}, 0},
		{"duplicates", sandbox.Faults{DuplicateCallbacks: 1}, []string{"process_pending", "process_pending", "processed", "processed"}, 0},
		{"disorder", sandbox.Faults{DisorderedCallbacks: 1, LateForMS: 60_000}, []string{"processed", "process_pending"}, 0},
		{"forged", sandbox.Faults{ForgedCallbacks: 1}, []string{"process_pending", "processed"}, 2},
		{"dropped", sandbox.Faults{DroppedCallbacks: 1}, nil, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, func(c *sandbox.Config) { c.Faults = tt.faults })
			id := s.create(card("fault"))
			if tt.name != "disorder" {
				s.settle()
			} else {
				// The first waits to be overtaken; the second does not.
				s.faults(sandbox.Faults{LateForMS: 60_000})
			}
			if _, err := s.sb.Pay(id); err != nil {
				t.Fatal(err)
			}
			s.settle()
			forged := 0
			for _, r := range s.hook.all() {
				if !r.genuin {
					forged++
				}
			}
			if got := s.hook.statuses(); !slices.Equal(got, tt.want) || forged != tt.forged {
				t.Errorf("callbacks = %v and %d forged, want %v and %d", got, forged, tt.want, tt.forged)
			}
		})
	}
}

// TestRetrySchedule: the n-th retry comes n units after the one before, and a
// newer state does not wait for the old one's turn. Time is synctest's, the
// receiver a transport in the process.
func TestRetrySchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var at []time.Duration
		fail := true
		sb, err := sandbox.New(sandbox.Config{CallbackURL: "http://shop.test/cb"})
		if err != nil {
			t.Fatal(err)
		}
		sb.SetTransport(roundTrip(func(r *http.Request) (*http.Response, error) {
			at = append(at, time.Since(start))
			code := http.StatusOK
			if fail {
				code = http.StatusInternalServerError
			}
			return &http.Response{StatusCode: code, Body: http.NoBody, Request: r}, nil
		}))
		call(sb, private(card("schedule")))
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		want := []time.Duration{0, time.Minute, 3 * time.Minute, 6 * time.Minute, 10 * time.Minute}
		if !slices.Equal(at, want) {
			t.Errorf("deliveries at %v, want %v", at, want)
		}
		fail = false
		if _, err := sb.Pay("schedule"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(at) != 6 || at[5] != 11*time.Minute {
			t.Errorf("deliveries at %v, want the new state at once (11 min)", at)
		}
		if err := sb.Stop(t.Context()); err != nil {
			t.Errorf("Stop() = %v", err)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// call creates an invoice without a network.
func call(sb *sandbox.Server, body string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	req := httptest.NewRequest("POST", "http://box.test/api/payment-invoices", strings.NewReader(body))
	req.SetBasicAuth(sb.Credentials().AccountID, sb.Credentials().APIKey)
	sb.Handler().ServeHTTP(rec, req)
	return rec
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sb, err := sandbox.New(sandbox.Config{})
		if err != nil {
			t.Fatal(err)
		}
		call(sb, private(card("default")))
		call(sb, private(with(card("longer"), fields{"expires": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})))
		call(sb, private(with(card("verify"), fields{"flow": "verify"})))
		status := func(ref string) string {
			inv, _ := sb.Invoice(ref)
			return inv.Status + " " + inv.Resolution
		}
		check := func(after time.Duration, want ...string) {
			t.Helper()
			for i, ref := range []string{"default", "longer", "verify"} {
				if got := status(ref); got != want[i] {
					t.Errorf("%s after %v = %s, want %s", ref, after, got, want[i])
				}
			}
		}
		time.Sleep(29 * time.Minute)
		check(29*time.Minute, "process_pending ok", "process_pending ok", "process_pending ok")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		check(31*time.Minute, "process_failed expired", "process_pending ok", "verify_failed expired")
		if err := sb.FailNext("expire", sandbox.FaultExpiredStatus, 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		check(91*time.Minute, "process_failed expired", "expired expired", "verify_failed expired")
		if _, err := sb.Pay("longer"); err != nil || status("longer") != "processed ok" {
			t.Errorf("late Pay() = %v, %s, want processed ok", err, status("longer"))
		}
		if err := sb.Stop(t.Context()); err != nil {
			t.Errorf("Stop() = %v", err)
		}
	})
}

// TestExpiry_OwnClock: a clock that jumps expires invoices at the next look.
func TestExpiry_OwnClock(t *testing.T) {
	t.Parallel()
	var offset atomic.Int64
	s := open(t, func(c *sandbox.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	})
	id := s.create(with(card("jump"), returns))
	offset.Store(int64(31 * time.Minute))
	if got := s.get("/api/payment-invoices/" + id).at("data/attributes/resolution"); got != "expired" {
		t.Errorf("resolution after the jump = %v, want expired", got)
	}
	if r := s.press(id, "action", "pay"); r.header.Get("Location") != "https://shop.example/no" || s.status(id) != "process_failed expired" {
		t.Errorf("Pay after the end = %s to %s, want process_failed expired and the fail URL", s.status(id), r.header.Get("Location"))
	}
}
