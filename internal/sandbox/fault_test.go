package sandbox_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"wzrdcheckout/internal/sandbox"
)

// TestFaults shows each fault of an answer, and whether the invoice was made.
func TestFaults(t *testing.T) {
	t.Parallel()
	has := func(parts ...string) func(response) bool {
		return func(r response) bool {
			for _, p := range parts {
				if !bytes.Contains(r.body, []byte(p)) {
					return false
				}
			}
			return r.err == nil
		}
	}
	code := func(codes ...int) func(response) bool {
		return func(r response) bool { return r.err == nil && slices.Contains(codes, r.code) }
	}
	rich := fields{"metadata": fields{}, "description": "d"}
	tests := []struct {
		fault sandbox.Fault
		set   sandbox.Faults
		made  bool
		seen  func(response) bool
	}{
		{sandbox.FaultPHPEmpties, sandbox.Faults{Seed: 1}, true, func(r response) bool {
			return r.code == 201 && (bytes.Contains(r.body, []byte(`"metadata":[]`)) || bytes.Contains(r.body, []byte(`"metadata":null`)))
		}},
		{sandbox.FaultMixedCase, sandbox.Faults{Seed: 5}, true, func(r response) bool {
			return bytes.Contains(r.body, []byte(`"resolution":"OK"`)) || bytes.Contains(r.body, []byte(`"status":"PROCESS_PENDING"`))
		}},
		{sandbox.FaultStringNumbers, sandbox.Faults{}, true, has(`"amount":"123.45000000"`)},
		{sandbox.FaultExponentNumbers, sandbox.Faults{}, true, has(`"amount":1.2345e+2`)},
		{sandbox.FaultOmitOptional, sandbox.Faults{Seed: 2}, true, func(r response) bool {
			a, _ := r.at("data/attributes").(map[string]any)
			gone := 0
			for _, k := range []string{"serial_number", "source", "callback_logs", "descriptor", "rrn", "approval_code", "hpp_url"} {
				if _, there := a[k]; !there {
					gone++
				}
			}
			return r.code == 201 && gone > 0 && a["reference_id"] != nil && a["flow_data"] != nil
		}},
		{sandbox.FaultExtraKeys, sandbox.Faults{}, true, has(`"x_future"`)},
		{sandbox.FaultNewerKeys, sandbox.Faults{}, true, has(`"exchange_rate":1`, `"active-payment"`, `"refunds":[]`)},
		{sandbox.FaultSlow, sandbox.Faults{SlowForMS: 5}, true, code(201)},
		{sandbox.FaultTooMany, sandbox.Faults{RetryAfter: 7}, false, func(r response) bool { return r.code == 429 && r.header.Get("Retry-After") == "7" }},
		{sandbox.FaultErrorBefore, sandbox.Faults{}, false, code(500, 502, 503, 504)},
		{sandbox.FaultRedirect, sandbox.Faults{RedirectTo: "https://other.example"}, false, func(r response) bool {
			return r.code == 307 && r.header.Get("Location") == "https://other.example/api/payment-invoices"
		}},
		{sandbox.FaultErrorAfter, sandbox.Faults{}, true, code(500, 502, 503, 504)},
		{sandbox.FaultBadRequestAfter, sandbox.Faults{}, true, code(400)},
		{sandbox.FaultLostAnswer, sandbox.Faults{}, true, func(r response) bool { return errors.Is(r.err, io.EOF) || r.err != nil && r.code == 0 }},
		{sandbox.FaultTruncated, sandbox.Faults{}, true, func(r response) bool {
			return r.err == nil && r.code == 201 && len(r.body) > 0 && !json.Valid(r.body)
		}},
		{sandbox.FaultHTML, sandbox.Faults{}, true, func(r response) bool {
			return r.err == nil && r.code/100 == 2 && strings.HasPrefix(r.header.Get("Content-Type"), "text/html")
		}},
		{sandbox.FaultHuge, sandbox.Faults{HugeBytes: 3_000_000}, true, func(r response) bool { return r.code == 201 && len(r.body) > 3_000_000 }},
	}
	for i, tt := range tests {
		t.Run(string(tt.fault), func(t *testing.T) {
			t.Parallel()
			s := open(t, func(c *sandbox.Config) { c.Faults = tt.set; c.CallbackURL = "" })
			if err := s.sb.FailNext("create", tt.fault, 1); err != nil {
				t.Fatal(err)
			}
			ref := fmt.Sprintf("fault-%d", i)
			r := s.do("POST", "/api/payment-invoices", jsonType, private(with(card(ref), rich)), true)
			_, made := s.sb.Invoice(ref)
			if !tt.seen(r) || made != tt.made {
				t.Errorf("create with %s = %d %v %.600s, made %v; want the fault and made %v", tt.fault, r.code, r.err, r.body, made, tt.made)
			}
			history := s.sb.Requests()
			if len(history) != 1 || !slices.Equal(history[0].Faults, []sandbox.Fault{tt.fault}) || history[0].Status != r.code && r.err == nil || r.err != nil && history[0].Status != 0 {
				t.Errorf("history = %+v, want one request with the fault and status %d", history, r.code)
			}
			// It was ordered once: the next call is well.
			r = s.do("POST", "/api/payment-invoices", jsonType, private(card(ref)), true)
			if want := map[bool]int{true: 409, false: 201}[tt.made]; r.code != want {
				t.Errorf("create after %s = %d %.200s, want %d", tt.fault, r.code, r.body, want)
			}
		})
	}
}

func TestFaults_Switches(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	id := s.create(card("switch"))
	s.faults(sandbox.Faults{ForbidPublicCreation: true, ForbidPrivateAPI: true})
	public := encode(fields{"public_key": s.creds.PublicKeys[0], "service": "payment_card_usd_hpp", "currency": "USD", "amount": 5})
	for path, body := range map[string]string{"/public-api/payment-invoices": public, "/api/payment-invoices": private(card("other"))} {
		r := s.do("POST", path, jsonType, body, true)
		if r.code != 403 || r.at("errors/0/status") != "Forbidden" {
			t.Errorf("POST %s = %d %s, want 403", path, r.code, r.body)
		}
	}
	if r := s.get("/api/payment-invoices/" + id); r.code != 403 {
		t.Errorf("private get = %d, want 403", r.code)
	}
	if r := s.do("GET", "/public-api/payment-invoices/"+id, "", "", false); r.code != 200 {
		t.Errorf("public get = %d, want 200", r.code)
	}
}

func TestFaults_500Body(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *sandbox.Config) { c.Faults = sandbox.Faults{ErrorBefore: 1} })
	want, err := os.ReadFile(filepath.Join("testdata", "error_500.json"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for i := 0; i < 200 && len(seen) < 4; i++ {
		r := s.get(fmt.Sprintf("/api/payment-invoices/cpi_%d", i))
		seen[r.code] = true
		if r.code == 500 && compact(t, r.body) != compact(t, want) {
			t.Errorf("500 = %s, want %s", r.body, want)
		}
	}
	if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, []int{500, 502, 503, 504}) {
		t.Errorf("errors seen = %v, want all four", got)
	}
}

// TestFaults_Seed: one seed gives one run, also when the calls are concurrent;
// another seed gives another.
func TestFaults_Seed(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) map[string]string {
		f := sandbox.Misbehaving(seed)
		f.SlowForMS, f.HugeBytes = 1, 1000
		s := open(t, func(c *sandbox.Config) { c.Faults = f; c.CallbackURL = "" })
		out := map[string]string{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := range 25 {
					ref := fmt.Sprintf("seed-%d-%d", w, i)
					r := s.do("POST", "/api/payment-invoices", jsonType, private(card(ref)), true)
					_, made := s.sb.Invoice(ref)
					mu.Lock()
					out[ref] = fmt.Sprint(r.code, r.err != nil, made)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		return out
	}
	a, b, c := run(1), run(1), run(2)
	if !maps.Equal(a, b) {
		t.Errorf("two runs with one seed differ: %v and %v", a, b)
	}
	if maps.Equal(a, c) {
		t.Error("two seeds gave the same run")
	}
}

// TestMisbehaving_EndsWell: whoever repeats and looks up gets one invoice for
// each reference.
func TestMisbehaving_EndsWell(t *testing.T) {
	t.Parallel()
	f := sandbox.Misbehaving(11)
	f.SlowForMS = 1
	s := open(t, func(c *sandbox.Config) { c.Faults = f })
	for i := range 60 {
		ref := fmt.Sprintf("chaos-%d", i)
		for n := 0; ; n++ {
			r := s.do("POST", "/api/payment-invoices", jsonType, private(card(ref)), true)
			if r.code == 409 {
				break
			}
			if n > 100 {
				t.Fatalf("create %s never reaches 409: %d %s", ref, r.code, r.body)
			}
		}
		if _, err := s.sb.Pay(ref); err != nil {
			t.Fatal(err)
		}
	}
	s.settle()
	if n := len(s.sb.Invoices()); n != 60 {
		t.Errorf("invoices = %d, want 60", n)
	}
	paid := map[string]bool{}
	forged := 0
	for _, r := range s.hook.all() {
		if !r.genuin {
			forged++
			continue
		}
		if a := r.attributes(); strings.EqualFold(fmt.Sprint(a["status"]), "processed") {
			paid[fmt.Sprint(a["reference_id"])] = true
		}
	}
	if len(paid) != 60 || forged == 0 {
		t.Errorf("paid by callback = %d with %d forged ones, want 60 and some", len(paid), forged)
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, plain, exponent, quoted string }{
		{"123.45", "123.45", "1.2345e+2", "123.45000000"},
		{"100", "100", "1e+2", "100.00000000"},
		{"0.01", "0.01", "1e-2", "0.01000000"},
		{"1e-05", "0.00001", "1e-5", "0.00001000"},
		{"0", "0", "0", "0.00000000"},
		{"9999999.99", "9999999.99", "9.99999999e+6", "9999999.99000000"},
		{"-5.5", "-5.5", "-5.5e+0", "-5.50000000"},
		{"0.123456789", "0.123456789", "1.23456789e-1", "0.123456789"},
		{"1e31", "", "1e31", "1e31"},
		{"0x10", "", "0x10", "0x10"},
		{"1_000", "", "1_000", "1_000"},
		{"NaN", "", "NaN", "NaN"},
		{"", "", "", ""},
	}
	for _, tt := range tests {
		if p, e, q := sandbox.Plain(tt.in), sandbox.Exponent(tt.in), sandbox.Quoted(tt.in); p != tt.plain || e != tt.exponent || q != tt.quoted {
			t.Errorf("%q = %q, %q, %q; want %q, %q, %q", tt.in, p, e, q, tt.plain, tt.exponent, tt.quoted)
		}
	}
}

func TestDecodeForm(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"a=1&b=2", `{"a":"1","b":"2"}`},
		{"customer[reference_id]=7&customer[address][city]=Kyiv+1", `{"customer":{"address":{"city":"Kyiv 1"},"reference_id":"7"}}`},
		{"customer%5Bname%5D=%D0%9E", `{"customer":{"name":"О"}}`},
		{"a[]=x&a[]=y", `{"a":{"0":"x","1":"y"}}`},
		{"a=1&a[b]=2", `{"a":{"b":"2"}}`},
		{"a[b]=2&a=1", `{"a":"1"}`},
		{"a[b=1", `{"a[b":"1"}`},
		{"&&a=", `{"a":""}`},
		{"", `{}`},
		{"=1", "error"},
		{"[a]=1", "error"},
		{"a=%zz", "error"},
		{"a" + strings.Repeat("[b]", 20) + "=1", "error"},
		{strings.Repeat("a=1&", 1001), "error"},
	}
	for _, tt := range tests {
		m, err := sandbox.DecodeForm(tt.in)
		got := "error"
		if err == nil {
			got = encode(m)
		}
		if got != tt.want {
			t.Errorf("decodeForm(%.60q) = %s, want %s", tt.in, got, tt.want)
		}
	}
}

// FuzzDecodeForm: no input panics, and what was decoded, written back as
// bracket keys and decoded again, is the same.
func FuzzDecodeForm(f *testing.F) {
	for _, seed := range []string{"a=1", "a[b][c]=1&a[b][d]=2", "a[]=1&a[]=2", "a[b=1", "a=1&a[b]=2", "%5B=1", "a%5B%5D=x", "a[b]c=1", "a]=1", "[", "a[[]=1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		first, err := sandbox.DecodeForm(in)
		if err != nil {
			return
		}
		var pairs []string
		for _, p := range sandbox.Flatten(first) {
			pairs = append(pairs, url.QueryEscape(p[0])+"="+url.QueryEscape(p[1]))
		}
		again, err := sandbox.DecodeForm(strings.Join(pairs, "&"))
		if err != nil || encode(again) != encode(first) {
			t.Errorf("decodeForm(%q) = %s, written back %s, %v", in, encode(first), encode(again), err)
		}
	})
}
