package wzrd_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"wzrdcheckout/internal/checkout"
)

// pages serves a list in one of the vendor's two paging styles, with links as it writes them.
func pages(t *testing.T, total, size int, cursors bool) *psp {
	return newPSP(t, func(_ int, r request) reply {
		q, err := url.ParseQuery(r.Query)
		if err != nil {
			t.Errorf("query %q: %v", r.Query, err)
		}
		first := 0
		if n, err := strconv.Atoi(q.Get("page[number]")); err == nil {
			first = (n - 1) * size
		}
		if n, err := strconv.Atoi(q.Get("older_than")); err == nil {
			first = n
		}
		next, rows := "", []string{}
		for i := first; i < min(first+size, total); i++ {
			row := fmt.Sprintf(`{"type":"payment-services","id":"comcps_%d","attributes":{"service":"s%d"}}`, i, i)
			if cursors {
				row = fmt.Sprintf(`{"type":"payment-invoices","id":"cpi_%d","attributes":{"status":"created","amount":1,"currency":"EUR"}}`, i)
			}
			rows = append(rows, row)
		}
		if last := first + size; last < total {
			next = fmt.Sprintf(`/api/payment-services?page[number]=%d&page[size]=%d`, last/size+1, size)
			if cursors {
				next = fmt.Sprintf(`http://other-host.example/very/other/prefix/payment-invoices?older_than=%d`, last)
			}
		}
		return ok(fmt.Sprintf(`{"links":{"next":%q},"data":[%s]}`, next, strings.Join(rows, ",")))
	})
}

func TestPages(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name        string
		cursors     bool
		total, size int
		limit       int
	}{
		{"page numbers", false, 45, 20, 100},
		{"page numbers, cut", false, 45, 20, 7},
		{"cursors", true, 45, 20, 100},
		{"cursors, cut", true, 45, 20, 7},
		{"one row at a time", true, 5, 3, 1},
		{"full last page", false, 40, 20, 20},
		{"nothing", false, 0, 20, 20},
		{"many", true, 300, 1, 100},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := pages(t, row.total, row.size, row.cursors)
			c := p.client(fast)
			var got []string
			after := ""
			for n := 0; ; n++ {
				var next string
				var err error
				before := len(got)
				if row.cursors {
					var list []checkout.Invoice
					list, next, err = c.Invoices(t.Context(), after, row.limit)
					for _, v := range list {
						got = append(got, strings.TrimPrefix(v.ID, "cpi_"))
					}
				} else {
					var list []checkout.AccountService
					list, next, err = c.Services(t.Context(), after, row.limit)
					for _, s := range list {
						got = append(got, strings.TrimPrefix(s.ID, "comcps_"))
					}
				}
				if err != nil || len(got)-before > row.limit {
					t.Fatalf("page %d has %d rows, %v; want at most %d", n, len(got)-before, err, row.limit)
				}
				if raw, _ := base64.RawURLEncoding.DecodeString(next); strings.Contains(string(raw), "other-host") || strings.Contains(string(raw), "/") {
					t.Errorf("the cursor carries more than the link's query: %s", raw)
				}
				if next == "" {
					break
				}
				if n > 2*row.total {
					t.Fatal("no end")
				}
				after = next
			}
			var want []string
			for i := range row.total {
				want = append(want, strconv.Itoa(i))
			}
			if !slices.Equal(got, want) {
				t.Errorf("rows = %v, want %v", got, want)
			}
		})
	}
}

func TestPages_LimitAsked(t *testing.T) {
	t.Parallel()
	p := pages(t, 3, 20, true)
	c := p.client()
	for _, limit := range []int{0, -1, 5, 100, 1000} {
		if _, _, err := c.Invoices(t.Context(), "", limit); err != nil {
			t.Fatal(err)
		}
	}
	var sizes []string
	for _, r := range p.requests() {
		q, _ := url.ParseQuery(r.Query)
		sizes = append(sizes, q.Get("page[size]"))
	}
	if want := []string{"100", "100", "5", "100", "100"}; !slices.Equal(sizes, want) {
		t.Errorf("sizes asked for = %v, want %v", sizes, want)
	}
}

// A cursor comes back from outside: anything that was not handed out is refused before a call.
func TestPages_ForgedCursor(t *testing.T) {
	t.Parallel()
	p := pages(t, 3, 20, true)
	c := p.client()
	forged := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for _, after := range []string{
		"x", "cpi_1", "%%%", forged("page=2"), forged("1.0.0.0"), forged("2.0.1.0.a=b"), forged("1.-1.0.0.a=b"), forged("1.0.0.zz.a=b"),
		forged("1.0.0.0.a=b\r\nHost: evil"), forged("1.0.0.0.a b"), forged("1.0.0.0.a=b#c"), forged("1.99999999.0.0.a"), forged("1.0.0.0." + strings.Repeat("a", 3000)),
	} {
		_, _, err := c.Invoices(t.Context(), after, 10)
		var e *checkout.Error
		if !errors.As(err, &e) || !errors.Is(err, checkout.ErrInvalid) || len(e.Fields) != 1 || e.Fields[0].Field != "after" {
			t.Errorf("Invoices(after %.40q) = %v, want ErrInvalid of after", after, err)
		}
	}
	if n := len(p.requests()); n != 0 {
		t.Errorf("%d calls, want none", n)
	}
}

// links.next in every form that is no next page.
func TestPages_Links(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, links string
		want        bool // a next cursor
		code        string
	}{
		{"empty", `{"next":""}`, false, ""},
		{"null", `{"next":null}`, false, ""},
		{"absent", `{}`, false, ""},
		{"no links", `[]`, false, ""},
		{"a JSON:API link object", `{"next":{"href":"/api/payment-services?page[number]=2"}}`, true, ""},
		{"without a prefix", `{"next":"/payment-services?page[number]=2"}`, true, ""},
		{"a query alone", `{"next":"?page[number]=2"}`, true, ""},
		{"another list", `{"next":"/api/payment-invoices?page[number]=2"}`, false, "unusable_answer"},
		{"no query", `{"next":"/api/payment-services"}`, false, "unusable_answer"},
		{"no address", `{"next":"http://%zz/"}`, false, "unusable_answer"},
		{"too long", `{"next":"/api/payment-services?a=` + strings.Repeat("x", 3000) + `"}`, false, "unusable_answer"},
		{"itself", `{"next":"/api/payment-services?page[size]=20"}`, false, "paging_loop"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newPSP(t, func(int, request) reply { return ok(`{"links":` + row.links + `,"data":[]}`) })
			_, next, err := p.client().Services(t.Context(), "", 20)
			if row.code != "" {
				if up := upstream(t, err); up.Code != row.code {
					t.Errorf("Services = %v, want %s", err, row.code)
				}
				return
			}
			if err != nil || (next != "") != row.want {
				t.Errorf("Services = %q, %v, want a next page %v", next, err, row.want)
			}
		})
	}
}

// Lists that run in a circle, of any length and with any way into it, come to an end,
// though each page is asked for by a fresh call with nothing but the cursor.
func TestPages_Loops(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ lead, circle int }{{0, 1}, {0, 2}, {0, 3}, {3, 1}, {5, 2}, {7, 13}, {40, 9}} {
		t.Run(fmt.Sprint(row.lead, "+", row.circle), func(t *testing.T) {
			t.Parallel()
			p := newPSP(t, func(_ int, r request) reply {
				q, _ := url.ParseQuery(r.Query)
				n, _ := strconv.Atoi(q.Get("p"))
				if n++; n >= row.lead+row.circle {
					n = row.lead
				}
				return ok(fmt.Sprintf(`{"links":{"next":"/api/payment-services?p=%d"},"data":[{"id":"comcps_1","attributes":{"service":"s"}}]}`, n))
			})
			c := p.client(fast)
			after := ""
			for range 10 * (row.lead + row.circle + 2) {
				_, next, err := c.Services(t.Context(), after, 20)
				if err != nil {
					if up := upstream(t, err); up.Code != "paging_loop" {
						t.Errorf("Services = %v, want paging_loop", err)
					}
					return
				}
				after = next
			}
			t.Error("the circle was never found out")
			_ = p
		})
	}
}

// Service walks all pages, and a circle ends it as well.
func TestService_Walk(t *testing.T) {
	t.Parallel()
	p := pages(t, 45, 20, false)
	c := p.client()
	if s, err := c.Service(t.Context(), "s44"); err != nil || s.ID != "comcps_44" {
		t.Errorf("Service(s44) = %+v, %v, want comcps_44", s, err)
	}
	if n := len(p.requests()); n != 3 {
		t.Errorf("%d calls, want 3", n)
	}
	loop := newPSP(t, func(int, request) reply {
		return ok(`{"links":{"next":"/api/payment-services?p=1"},"data":[{"id":"comcps_1","attributes":{"service":"s"}}]}`)
	})
	if _, err := loop.client().Service(t.Context(), "none"); upstream(t, err).Code != "paging_loop" {
		t.Errorf("Service in a circle = %v, want paging_loop", err)
	}
}

func TestService_Mode(t *testing.T) {
	t.Parallel()
	p := newPSP(t, func(int, request) reply {
		return ok(`{"data":[{"id":"comcps_1","attributes":{"service":"s","test_mode":false}},{"id":"comcps_2","attributes":{"service":"s","test_mode":true}},{"id":"comcps_3","attributes":{"service":"live","test_mode":false}}]}`)
	})
	c := p.client()
	for code, want := range map[string]string{"s": "comcps_2", "live": "comcps_3"} {
		if s, err := c.Service(t.Context(), code); err != nil || s.ID != want {
			t.Errorf("Service(%s) = %+v, %v, want %s", code, s, err, want)
		}
	}
}
