package session_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/session"
)

func TestPage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, value string
		revision    int64
		page        string // "" = an error
	}{
		{"as it is written", `{"id":"cs_a","revision":7,"session":{"id":"cs_a","metadata":{}},"metadata":{"a":1},"setup":{}}`, 7, `{"id":"cs_a","metadata":{}}`},
		{"braces and quotes in strings", `{"id":"cs_a","revision":1,"session":{"d":"a}\"}{\\","n":{"x":{}}},"metadata":{}}`, 1, `{"d":"a}\"}{\\","n":{"x":{}}}`},
		{"another order", `{"session":{"a":1},"revision":3,"id":"cs_a"}`, 3, `{"a":1}`},
		{"blanks", `{ "id": "cs_a", "revision": 3, "session": {"a":1} }`, 3, `{"a":1}`},
		{"an id with an escape", `{"id":"c\"s","revision":4,"session":{}}`, 4, `{}`},
		{"no session", `{"id":"cs_a","revision":1}`, 0, ""},
		{"cut off", `{"id":"cs_a","revision":1,"session":{"a":"}`, 0, ""},
		{"no record", `[]`, 0, ""},
		{"nothing", ``, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			revision, page, err := session.Page([]byte(c.value))
			if (err != nil) != (c.page == "") || revision != c.revision || string(page) != c.page {
				t.Errorf("Page(%s) = %d, %s, %v, want %d, %s", c.value, revision, page, err, c.revision, c.page)
			}
		})
	}
}

// What a page gets never holds the merchant's metadata, and is what the record says.
func TestPage_Stored(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.service(t)
	n := order("order")
	n.Description = `a "b" }{ \ c`
	n.Metadata = checkout.JSON(`{"cart":"<7>"}`)
	v := create(t, s, n)
	e, err := w.store.Get(t.Context(), "session."+v.ID)
	if err != nil {
		t.Fatal(err)
	}
	revision, page, err := session.Page(e.Value)
	if err != nil || revision != v.Revision || !strings.HasSuffix(string(page), `"metadata":{}}`) || !json.Valid(page) {
		t.Errorf("Page() = %d, %s, %v", revision, page, err)
	}
}

func FuzzPage(f *testing.F) {
	f.Add([]byte(`{"id":"cs_a","revision":7,"session":{"id":"cs_a","x":[{"a":"}"}],"metadata":{}},"metadata":{"a":1}}`))
	f.Add([]byte(`{"id":"cs_a","revision":-0,"session":{},"metadata":{},"session":{"twice":1}}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		revision, page, err := session.Page(value)
		if err != nil || !json.Valid(value) {
			return
		}
		var v struct {
			Revision int64           `json:"revision"`
			Session  json.RawMessage `json:"session"`
		}
		twice := bytes.Count(value, []byte(`"session"`)) > 1 || bytes.Count(value, []byte(`"revision"`)) > 1
		if json.Unmarshal(value, &v) != nil || twice || bytes.ContainsAny(value, "SRſ") || bytes.Contains(value, []byte(`\u`)) {
			return // a name twice, or in another spelling: no record of ours
		}
		if revision != v.Revision || !bytes.Equal(page, v.Session) {
			t.Errorf("Page(%s) = %d, %s, want %d, %s", value, revision, page, v.Revision, v.Session)
		}
	})
}

func BenchmarkPage(b *testing.B) {
	value := []byte(`{"id":"cs_BkDYW5VH5yHgyCVc-HUW5A","revision":4,"session":{"id":"cs_BkDYW5VH5yHgyCVc-HUW5A","pad":"` + strings.Repeat("x", 700) + `","metadata":{}},"metadata":{},"history":"` + strings.Repeat("y", 900) + `"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := session.Page(value); err != nil {
			b.Fatal(err)
		}
	}
}
