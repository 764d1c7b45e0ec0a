package wzrd_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/wzrd"
)

// table is the vendor's page "HTTP status codes used in responses" and what the BFF does,
// in the test's own words: (create's directive, create's kind, tries of a read).
var table = []struct {
	status    int
	directive checkout.Directive
	kind      error
	reads     int
}{
	{400, checkout.LookUp, checkout.ErrUpstream, 1},
	{401, checkout.NotCreated, checkout.ErrUpstream, 1},
	{403, checkout.NotCreated, checkout.ErrUpstream, 1},
	{404, checkout.NotCreated, checkout.ErrUpstream, 1},
	{405, checkout.NotCreated, checkout.ErrUpstream, 1},
	{409, checkout.AlreadyThere, checkout.ErrConflict, 1},
	{422, checkout.NotCreated, checkout.ErrInvalid, 1},
	{429, checkout.Later, checkout.ErrUnavailable, 3},
	{500, checkout.LookUp, checkout.ErrUpstream, 3},
	{502, checkout.LookUp, checkout.ErrUpstream, 3},
	{503, checkout.LookUp, checkout.ErrUnavailable, 3},
	{504, checkout.LookUp, checkout.ErrTimeout, 3},
	// Not on the page: the outcome is unknown.
	{408, checkout.LookUp, checkout.ErrUpstream, 1},
	{413, checkout.LookUp, checkout.ErrUpstream, 1},
	{418, checkout.LookUp, checkout.ErrUpstream, 1},
	{302, checkout.LookUp, checkout.ErrUpstream, 1},
	{599, checkout.LookUp, checkout.ErrUpstream, 3},
}

func TestCodes_Create(t *testing.T) {
	t.Parallel()
	for _, row := range table {
		for name, create := range map[string]func(*wzrd.Client) (checkout.Invoice, error){
			"private": func(c *wzrd.Client) (checkout.Invoice, error) { return c.CreateInvoice(t.Context(), atlas) },
			"public":  func(c *wzrd.Client) (checkout.Invoice, error) { return c.CreateInvoicePublic(t.Context(), atlas) },
		} {
			t.Run(fmt.Sprint(row.status, " ", name), func(t *testing.T) {
				t.Parallel()
				p := newPSP(t, func(int, request) reply {
					return reply{status: row.status, body: `{"errors":[{"status":"x","code":"x"}]}`, header: map[string]string{"Location": "/elsewhere"}}
				})
				v, err := create(p.client())
				up := upstream(t, err)
				if up.Directive != row.directive || !errors.Is(err, row.kind) || up.Status != row.status || v.ID != "" {
					t.Errorf("create answered %d = %v: %v %v, want %v %v", row.status, err, up.Directive, up.Kind, row.directive, row.kind)
				}
				if n := len(p.requests()); n != 1 {
					t.Errorf("create answered %d was sent %d times, want once", row.status, n)
				}
			})
		}
	}
}

func TestCodes_Read(t *testing.T) {
	t.Parallel()
	for _, row := range table {
		t.Run(fmt.Sprint(row.status), func(t *testing.T) {
			t.Parallel()
			p := newPSP(t, func(int, request) reply {
				return reply{status: row.status, body: `{}`, header: map[string]string{"Location": "/elsewhere"}}
			})
			_, err := p.client().Invoice(t.Context(), "cpi_1")
			up := upstream(t, err)
			// "Not created" is the vendor's word about a create only; a 404 is the one answer that settles a question.
			wantKind, wantDirective := row.kind, row.directive
			if row.status == 404 {
				wantKind = checkout.ErrNotFound
			} else if wantDirective != checkout.Later {
				wantDirective = checkout.LookUp
			}
			if !errors.Is(err, wantKind) || up.Directive != wantDirective {
				t.Errorf("read answered %d = %v: %v, want %v %v", row.status, err, up.Directive, wantDirective, wantKind)
			}
			if n := len(p.requests()); n != row.reads {
				t.Errorf("read answered %d was made %d times, want %d", row.status, n, row.reads)
			}
		})
	}
}

// docs/wzrdpay-codes.md is the same table for people; it must say what the code does.
func TestCodes_Documented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "wzrdpay-codes.md"))
	if err != nil {
		t.Fatal(err)
	}
	words := map[checkout.Directive]string{
		checkout.NotCreated: "not created", checkout.LookUp: "unknown: look it up", checkout.AlreadyThere: "already there", checkout.Later: "later",
	}
	rows := regexp.MustCompile(`(?m)^\| (\d{3}) [^|]*\| ([^|]+) \| .(\w+). \|`).FindAllStringSubmatch(string(text), -1)
	documented := map[string][2]string{}
	for _, r := range rows {
		documented[r[1]] = [2]string{strings.TrimSpace(r[2]), r[3]}
	}
	for _, c := range wzrd.Codes() {
		status := fmt.Sprint(c.Status)
		if got, want := documented[status], [2]string{words[c.Directive], c.Name}; got != want {
			t.Errorf("docs/wzrdpay-codes.md says %q of %s, want %q", got, status, want)
		}
		delete(documented, status)
	}
	for status := range documented {
		if status != "200" && status != "201" {
			t.Errorf("docs/wzrdpay-codes.md has %s, the code has not", status)
		}
	}
}
