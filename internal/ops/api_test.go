package ops_test

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"wzrdcheckout/internal/ops"
)

// TestAPI: every operation, status and object of the document is on the page, every link
// on it leads somewhere.
func TestAPI(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]struct {
			Summary   string
			Responses map[string]any
		}
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	c := config(&shop{})
	c.OpenAPI = text
	w := get(t, handler(t, c), "/ops/api")
	page := w.Body.String()
	if w.Code != http.StatusOK || strings.Contains(page, "<script") {
		t.Fatalf("GET /ops/api = %d", w.Code)
	}
	for path, methods := range doc.Paths {
		for method, o := range methods {
			name := strings.ToUpper(method) + " " + path
			_, part, ok := strings.Cut(page, "<code>"+name+"</code>")
			part, _, _ = strings.Cut(part, "</section>")
			if !ok {
				t.Errorf("the page has no %s", name)
			}
			for status := range o.Responses {
				if !strings.Contains(part, "<code>"+status+"</code>") {
					t.Errorf("%s: no status %s", name, status)
				}
			}
		}
	}
	for name, s := range doc.Components.Schemas {
		_, part, ok := strings.Cut(page, `id="schema-`+name+`"`)
		part, _, _ = strings.Cut(part, "</section>")
		if !ok {
			t.Errorf("the page has no object %s", name)
		}
		for member := range s.Properties {
			if !strings.Contains(part, "<code>"+member+"</code>") {
				t.Errorf("%s: no member %s", name, member)
			}
		}
	}
	links := regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(page, -1)
	if len(links) < 50 {
		t.Errorf("the page has %d links to its objects", len(links))
	}
	for _, m := range links {
		if !strings.Contains(page, `id="`+m[1]+`"`) {
			t.Errorf("#%s leads nowhere", m[1])
		}
	}
	if !strings.Contains(get(t, handler(t, c), "/ops/").Body.String(), `href="/ops/api"`) {
		t.Error("the first page does not lead to it")
	}

	c.OpenAPI = nil
	if w := get(t, handler(t, c), "/ops/api"); w.Code != http.StatusNotFound {
		t.Errorf("GET /ops/api without a document = %d, want 404", w.Code)
	}
	c.OpenAPI = []byte("{")
	if _, err := ops.New(c); err == nil || !strings.Contains(err.Error(), "OpenAPI") {
		t.Errorf("New(broken document) = %v, want an error that names it", err)
	}
}
