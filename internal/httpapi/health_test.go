package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"wzrdcheckout/internal/httpapi"
)

// TestHealth: what the program is made of, and only what is known of it.
func TestHealth(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, version, commit, widget, want string
	}{
		{"all", "v1.2.3", "abc123", "tinygo 0.41.1", `{"status":"ok","version":"v1.2.3","commit":"abc123","widget":"tinygo 0.41.1"}`},
		{"nothing known", "", "", "", `{"status":"ok"}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := open(t, func(c *httpapi.Config) { c.Version, c.Commit, c.Widget = row.version, row.commit, row.widget })
			a := w.do(request{private: true, path: "/healthz"})
			if a.Code != http.StatusOK || strings.TrimSpace(a.text) != row.want {
				t.Errorf("GET /healthz = %d %s, want %s", a.Code, a.text, row.want)
			}
		})
	}
}
