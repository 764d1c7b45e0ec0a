package metrics_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"wzrdcheckout/internal/metrics"
	"wzrdcheckout/internal/push"
	"wzrdcheckout/internal/session"
	"wzrdcheckout/internal/webhook"
)

// What app hands over fits what the parts declare.
var (
	_ session.Observer = (*metrics.Session)(nil)
	_ push.Observer    = (*metrics.Push)(nil)
	_ webhook.Observer = (*metrics.Webhook)(nil)
	_ interface {      // wzrd.Observer
		Call(operation, outcome string, took time.Duration)
		Cache(result string)
		Breaker(api, state string)
		Pattern(pattern string)
	} = (*metrics.Wzrd)(nil)
	_ interface { // httpapi.Observer
		Request(route, method string, status int, took time.Duration)
	} = (*metrics.HTTP)(nil)
	_ interface { // callback.Observer, its outcome as a word
		Accepted(outcome string, took time.Duration)
		Packed(stream, records, bytes int, took time.Duration)
		Switched(from int)
		Applied(stream, records int, took time.Duration)
		Unreadable(stream int)
		Retried(stream int, reason string)
		Lag(stream int, lag time.Duration)
	} = (*metrics.Callback)(nil)
)

func full() *metrics.Registry {
	r := metrics.New("1.2.3")
	r.Store(func() metrics.StoreStats {
		return metrics.StoreStats{Queued: 3, Commits: 11, Groups: 5, Conflicts: 1, Retries: 2, CacheHits: 7, CacheMisses: 4, CacheBytes: 99, Changes: 6, Gaps: 8}
	})
	return r
}

func use(r *metrics.Registry) {
	r.Wzrd.Call("POST /payment-invoices", "ok", 80*time.Millisecond)
	r.Wzrd.Call("POST /payment-invoices", "timeout", 15*time.Second)
	r.Wzrd.Cache("fresh")
	r.Wzrd.Breaker("public", "closed")
	r.Wzrd.Breaker("private", "open")
	r.Wzrd.Pattern("[")
	r.Session.Session("opened")
	r.Session.Attempt("created")
	r.Session.Invoice("callback", "applied")
	r.Callback.Accepted("stored", 3*time.Millisecond)
	r.Callback.Accepted("full", time.Millisecond)
	r.Callback.Packed(0, 20, 80_000, 2*time.Millisecond)
	r.Callback.Switched(1)
	r.Callback.Applied(0, 20, 4*time.Millisecond)
	r.Callback.Unreadable(0)
	r.Callback.Retried(0, "conflict")
	r.Callback.Lag(2, 1500*time.Millisecond)
	r.Push.SocketOpened()
	r.Push.SocketOpened()
	r.Push.SocketClosed(4001)
	r.Push.SocketOpened()
	r.Push.SocketClosed(4321)
	r.Push.SocketOpened()
	r.Push.SocketClosed(4002)
	r.Push.Pushed(time.Millisecond)
	r.Webhook.WebhookAttempt("delivered", 30*time.Millisecond)
	r.Webhook.WebhookAttempt("http_5xx", 30*time.Millisecond)
	r.Webhook.WebhookDelivered(2 * time.Second)
	r.Webhook.WebhookDead()
	r.Webhook.WebhookPending(9, time.Minute)
	r.HTTP.Request("GET /v1/checkout", "GET", 200, time.Millisecond)
	r.HTTP.Request("GET /v1/checkout", "BREW", 405, time.Millisecond)
	r.HTTP.Request("GET /v1/checkout/ws", "GET", 101, time.Hour)
	connections := r.HTTP.Connections("public")
	for _, state := range []http.ConnState{http.StateNew, http.StateActive, http.StateIdle, http.StateNew, http.StateClosed, http.StateNew, http.StateHijacked} {
		connections(nil, state)
	}
}

func TestGather(t *testing.T) {
	t.Parallel()
	r := full()
	use(r)
	got, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		want float64
	}{
		{"wzrdcheckout_wzrd_calls_total", 2},
		{`wzrdcheckout_wzrd_calls_total{operation="POST /payment-invoices",outcome="ok"}`, 1},
		{"wzrdcheckout_wzrd_call_seconds", 2},
		{`wzrdcheckout_wzrd_cache_total{result="fresh"}`, 1},
		{`wzrdcheckout_wzrd_breaker_state{api="private"}`, 2},
		{`wzrdcheckout_wzrd_breaker_state{api="public"}`, 0},
		{"wzrdcheckout_wzrd_bad_patterns_total", 1},
		{`wzrdcheckout_session_sessions_total{outcome="opened"}`, 1},
		{`wzrdcheckout_session_attempts_total{outcome="created"}`, 1},
		{`wzrdcheckout_session_observations_total{outcome="applied",source="callback"}`, 1},
		{`wzrdcheckout_callback_received_total{outcome="stored"}`, 1},
		{"wzrdcheckout_callback_received_total", 2},
		{"wzrdcheckout_callback_answer_seconds", 2},
		{"wzrdcheckout_callback_pack_records", 1},
		{"wzrdcheckout_callback_stored_bytes_total", 80_000},
		{"wzrdcheckout_callback_store_seconds", 1},
		{"wzrdcheckout_callback_switched_total", 1},
		{"wzrdcheckout_callback_applied_total", 20},
		{"wzrdcheckout_callback_apply_seconds", 1},
		{"wzrdcheckout_callback_unreadable_total", 1},
		{`wzrdcheckout_callback_retried_total{reason="conflict"}`, 1},
		{`wzrdcheckout_callback_lag_seconds{stream="2"}`, 1.5},
		{"wzrdcheckout_push_sockets", 1},
		{"wzrdcheckout_push_opened_total", 4},
		{`wzrdcheckout_push_closed_total{code="4001"}`, 1},
		{`wzrdcheckout_push_closed_total{code="4002"}`, 1},
		{`wzrdcheckout_push_closed_total{code="other"}`, 1},
		{"wzrdcheckout_push_latency_seconds", 1},
		{`wzrdcheckout_webhook_attempts_total{result="http_5xx"}`, 1},
		{"wzrdcheckout_webhook_attempt_seconds", 2},
		{"wzrdcheckout_webhook_delivered_seconds", 1},
		{"wzrdcheckout_webhook_dead_total", 1},
		{"wzrdcheckout_webhook_pending", 9},
		{"wzrdcheckout_webhook_oldest_seconds", 60},
		{`wzrdcheckout_http_requests_total{method="other",route="GET /v1/checkout",status="405"}`, 1},
		{"wzrdcheckout_http_requests_total", 3},
		{"wzrdcheckout_http_request_seconds", 2},
		{`wzrdcheckout_http_connections{plane="public"}`, 1},
		{"wzrdcheckout_store_queue", 3},
		{"wzrdcheckout_store_commits_total", 11},
		{"wzrdcheckout_store_groups_total", 5},
		{"wzrdcheckout_store_conflicts_total", 1},
		{"wzrdcheckout_store_retries_total", 2},
		{"wzrdcheckout_store_cache_hits_total", 7},
		{"wzrdcheckout_store_cache_misses_total", 4},
		{"wzrdcheckout_store_cache_bytes", 99},
		{"wzrdcheckout_store_changes_total", 6},
		{"wzrdcheckout_store_gaps_total", 8},
		{"wzrdcheckout_build_info", 1},
	} {
		if value, ok := got[row.name]; !ok || value != row.want {
			t.Errorf("Gather()[%s] = %v, %v, want %v", row.name, value, ok, row.want)
		}
	}
	for name := range got {
		if !strings.HasPrefix(name, "wzrdcheckout_") {
			t.Errorf("Gather() has %s, want our own only", name)
		}
	}
}

func TestHandler(t *testing.T) {
	t.Parallel()
	r := full()
	use(r)
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	body := w.Body.String()
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Errorf("GET /metrics = %d %s, want 200 text/plain", w.Code, w.Header().Get("Content-Type"))
	}
	for _, want := range []string{
		`wzrdcheckout_build_info{go="go1`, `version="1.2.3"} 1`, "\ngo_goroutines ", "\nprocess_start_time_seconds ",
		`wzrdcheckout_push_latency_seconds_bucket{le="0.001"} 1`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("GET /metrics lacks %q", want)
		}
	}
}

// TestNew_zeroes: what alerts count is there before it happened.
func TestNew_zeroes(t *testing.T) {
	t.Parallel()
	got, err := metrics.New("").Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"wzrdcheckout_webhook_dead_total", "wzrdcheckout_push_sockets", "wzrdcheckout_callback_switched_total", `wzrdcheckout_callback_received_total{outcome="full"}`, `wzrdcheckout_session_observations_total{outcome="unknown_status",source="callback"}`} {
		if value, ok := got[name]; !ok || value != 0 {
			t.Errorf("a new registry has %s = %v, %v, want 0", name, value, ok)
		}
	}
}

var metric = regexp.MustCompile(`\b(?:wzrdcheckout|go|process)_[a-z0-9_]+`)

// TestDocs: every metric that a dashboard or an alert names is one that the program has,
// and every one of ours that says something is on the dashboard.
func TestDocs(t *testing.T) {
	t.Parallel()
	r := full()
	use(r)
	names, err := metrics.Names(r)
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for file, expressions := range map[string][]string{
		"../../docs/grafana/dashboard.json": dashboard(t, "../../docs/grafana/dashboard.json"),
		"../../docs/alerts.yaml":            alerts(t, "../../docs/alerts.yaml"),
	} {
		if len(expressions) < 10 {
			t.Errorf("%s has %d expressions, want 10 or more", file, len(expressions))
		}
		for _, expression := range expressions {
			found := metric.FindAllString(expression, -1)
			if len(found) == 0 && !strings.HasPrefix(expression, "up{") {
				t.Errorf("%s: %q names no metric", file, expression)
			}
			for _, name := range found {
				base := name
				for _, suffix := range []string{"_bucket", "_sum", "_count"} {
					if trimmed := strings.TrimSuffix(name, suffix); names[trimmed] {
						base = trimmed
					}
				}
				if !names[base] {
					t.Errorf("%s names %s, which the program does not have", file, name)
				}
				used[base] = true
			}
		}
	}
	for name := range names {
		if strings.HasPrefix(name, "wzrdcheckout_") && !used[name] {
			t.Errorf("%s is neither on the dashboard nor in an alert", name)
		}
	}
}

// dashboard gives the expressions of a Grafana dashboard, wherever they stand.
func dashboard(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	var out []string
	var ids []float64
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if e, ok := v["expr"].(string); ok {
				out = append(out, e)
			}
			if q, ok := v["definition"].(string); ok {
				out = append(out, q)
			}
			if id, ok := v["id"].(float64); ok {
				if slices.Contains(ids, id) {
					t.Errorf("%s: two panels have the id %v", path, id)
				}
				ids = append(ids, id)
			}
			for _, x := range v {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(tree)
	return out
}

var expression = regexp.MustCompile(`(?m)^ +expr: (?:>-\n((?: {10}.*\n)+)|(.*)\n)`)

// alerts gives the expressions of a file of Prometheus rules.
func alerts(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range expression.FindAllStringSubmatch(string(text), -1) {
		out = append(out, m[1]+m[2])
	}
	if want := strings.Count(string(text), "- alert:"); len(out) != want {
		t.Errorf("%s: %d expressions of %d alerts", path, len(out), want)
	}
	return out
}
