package sandbox_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wzrdcheckout/internal/sandbox"
)

// open maps of the fixtures: their keys are somebody's choice.
var openMaps = []string{"services", "methods", "metadata", "callback_logs", "address"}

// shape writes the keys and JSON kinds of v, one path per line. Open maps and
// lists are shown by the shapes of their members.
func shape(v any, path string, into map[string]bool) {
	switch t := v.(type) {
	case map[string]any:
		last := path[strings.LastIndexByte(path, '.')+1:]
		if slices.Contains(openMaps, last) {
			into[path+": object of any keys"] = true
			for _, e := range t {
				shape(e, path+".*", into)
			}
			return
		}
		into[path+": object"] = true
		for k, e := range t {
			shape(e, path+"."+k, into)
		}
	case []any:
		into[path+": list"] = true
		for _, e := range t {
			shape(e, path+"[]", into)
		}
	case nil:
		into[path+": null"] = true
	case string:
		into[path+": string"] = true
	case bool:
		into[path+": bool"] = true
	default:
		into[path+": number"] = true
	}
}

func shapeOf(t *testing.T, raw []byte) map[string]bool {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("not JSON: %v: %.300s", err, raw)
	}
	into := map[string]bool{}
	shape(v, "", into)
	return into
}

// only lists the lines of a that b lacks.
func only(a, b map[string]bool) []string {
	var out []string
	for _, line := range slices.Sorted(maps.Keys(a)) {
		if !b[line] {
			out = append(out, line)
		}
	}
	return out
}

// TestFixtures holds the sandbox to the shape of the vendor's samples: the
// same keys, the same types, the same nulls.
func TestFixtures(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *sandbox.Config) { c.MerchantURL = "https://shop.example" })
	key := s.creds.PublicKeys[0]
	full := func(ref string) fields {
		return with(card(ref), fields{
			"description": "Two books", "flow": "charge", "metadata": fields{"shelf": "7"}, "return_url": "https://shop.example/",
			"callback_url": s.hook.url, "customer": fields{"reference_id": "r5", "name": "A Reader", "email": "reader@example.com", "phone": "+491700000000", "metadata": fields{"tier": "2"}, "address": fields{"country": "DE"}},
		})
	}
	// creation answers before its callback is logged
	s.sb.HoldCallbacks()
	publicCreate := s.do("POST", "/public-api/payment-invoices", jsonType, encode(fields{
		"public_key": key, "reference_id": "p", "service": "payment_card_usd_hpp", "currency": "USD", "amount": 5, "description": "x",
	}), false)
	privateCreate := s.do("POST", "/api/payment-invoices", jsonType, private(full("q")), true)
	s.sb.ReleaseCallbacks()
	s.settle()
	id := fmt.Sprint(privateCreate.at("data/id"))
	pay := url.Values{"cpi": {id}, "action": {"card"}, "number": {"5123817234060000"}, "expiry": {"10/31"}, "cvv": {"123"}}
	s.do("POST", "/redirect/hpp/", formType, pay.Encode(), false)
	s.do("POST", "/redirect/hpp/", formType, url.Values{"cpi": {id}, "action": {"confirm"}}.Encode(), false)
	s.settle()
	expired := s.create(full("list-b"))
	s.settle()
	if _, err := s.sb.Expire(expired); err != nil {
		t.Fatal(err)
	}
	s.settle()
	list := s.get("/api/payment-invoices?page[size]=2")
	// The oldest invoice was made without customer and URLs; the page of two holds the others.
	list.body = []byte(encode(map[string]any{"meta": list.at("meta"), "links": map[string]any{"prev": "", "next": ""}, "data": list.at("data")}))
	full2 := with(full("cb"), fields{"return_urls": fields{"success": "https://shop.example/s", "fail": "https://shop.example/f", "pending": "https://shop.example/p"}})
	cb := s.create(full2)
	s.settle()
	pay.Set("cpi", cb)
	pay.Set("holder", "A READER")
	s.do("POST", "/redirect/hpp/", formType, pay.Encode(), false)
	s.do("POST", "/redirect/hpp/", formType, url.Values{"cpi": {cb}, "action": {"confirm"}}.Encode(), false)
	s.settle()
	hooks := s.hook.all()
	last := hooks[len(hooks)-1]
	if last.attributes()["status"] != "processed" {
		t.Fatalf("last callback = %s, want a paid one", last.body)
	}
	services := s.get("/api/payment-services")

	tests := []struct {
		fixture string
		got     []byte
		// differs lists lines that may differ, each for a reason told beside it.
		differs []string
	}{
		{"prerequest.json", s.do("POST", "/public-api/payment-prerequest", jsonType, encode(fields{"public_key": key, "currency": "EUR"}), false).body, []string{
			".data.account.website: string",             // the sample's account has none
			".data.account.website: null",               //
			".data.methods.*.hide: bool",                // the sample hides no method
			".data.services.*.fields[].example: string", // nor has an example
		}},
		{"services.json", services.body, nil},
		{"service.json", s.get(fmt.Sprint("/api/payment-services/", services.at("data/0/id"))).body, nil},
		{"public_create.json", publicCreate.body, nil},
		{"public_get.json", s.do("GET", "/public-api/payment-invoices/"+id, "", "", false).body, nil},
		{"private_create.json", privateCreate.body, []string{
			".data.attributes.callback_logs: list", ".data.attributes.callback_logs: object of any keys", // the sandbox logs the callback it is about to send
			".data.attributes.callback_logs.*: object", ".data.attributes.callback_logs.*.processed: null", ".data.attributes.callback_logs.*.response_code: number",
			".data.attributes.callback_logs.*.status: string", ".data.attributes.callback_logs.*.transaction_status: string",
		}},
		{"private_get.json", s.get("/api/payment-invoices/" + id).body, nil},
		{"private_list.json", list.body, nil},
		{"callback.json", last.body, []string{
			// a callback's own log entry has not been processed yet
			".data.attributes.callback_logs.*.processed: null",
		}},
		{"error_401.json", s.do("GET", "/api/payment-invoices", "", "", false).body, nil},
		{"error_404.json", s.get("/api/payment-invoices/cpi_x").body, nil},
		{"error_405.json", s.do("PUT", "/api/payment-invoices", jsonType, "{}", true).body, nil},
		{"error_422.json", s.do("POST", "/api/payment-invoices", jsonType, private(with(card("zero"), fields{"amount": 0})), true).body, nil},
	}
	for _, tt := range tests {
		t.Run(tt.fixture, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join("testdata", tt.fixture))
			if err != nil {
				t.Fatal(err)
			}
			want, got := shapeOf(t, raw), shapeOf(t, tt.got)
			for _, d := range tt.differs {
				delete(want, d)
				delete(got, d)
			}
			if missing, extra := only(want, got), only(got, want); len(missing)+len(extra) > 0 {
				t.Errorf("shape of %s:\nmissing %s\nextra   %s", tt.fixture, strings.Join(missing, "\n        "), strings.Join(extra, "\n        "))
			}
		})
	}
	// The error bodies are the vendor's word for word.
	for _, tt := range tests {
		if !strings.HasPrefix(tt.fixture, "error_") {
			continue
		}
		raw, err := os.ReadFile(filepath.Join("testdata", tt.fixture))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := compact(t, tt.got), compact(t, raw); got != want {
			t.Errorf("%s = %s, want %s", tt.fixture, got, want)
		}
	}
}

// compact writes JSON with sorted keys and no spaces.
func compact(t *testing.T, raw []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("not JSON: %v: %s", err, raw)
	}
	return encode(v)
}
