package wzrd

import (
	"context"
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"net/url"
	"strconv"
	"strings"

	"wzrdcheckout/internal/checkout"
)

// cursor is a place in one of the vendor's lists. Both of its paging styles are walked
// the same way: the query of links.next, and nothing else of that link, so that neither
// its prefix ("/api") nor a host in it leads anywhere.
//
// pages counts the pages walked and mark remembers the query at the last power of two
// (Brent's cycle detection): a list that links back to any earlier page is found out
// without keeping a list of the pages seen.
type cursor struct {
	query string
	skip  int // rows of the page already handed out
	pages uint32
	mark  uint32
}

// maxQuery bounds a link's query.
const maxQuery = 2000

// String is the cursor as it is handed out: opaque, fit for a query.
func (p cursor) String() string {
	if p.query == "" && p.skip == 0 {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "1.%d.%d.%x.%s", p.skip, p.pages, p.mark, p.query))
}

// parseCursor reads what String wrote; "" is the beginning.
func parseCursor(text string) (cursor, error) {
	bad := checkout.Invalid(checkout.FieldError{Field: "after", Code: "cursor", Message: "This is no cursor that a list handed out."})
	if text == "" {
		return cursor{}, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) > maxQuery+64 {
		return cursor{}, bad
	}
	parts := strings.SplitN(string(raw), ".", 5)
	if len(parts) != 5 || parts[0] != "1" {
		return cursor{}, bad
	}
	skip, err1 := strconv.ParseUint(parts[1], 10, 16)
	pages, err2 := strconv.ParseUint(parts[2], 10, 32)
	mark, err3 := strconv.ParseUint(parts[3], 16, 32)
	if err1 != nil || err2 != nil || err3 != nil || !plainQuery(parts[4]) {
		return cursor{}, bad
	}
	return cursor{query: parts[4], skip: int(skip), pages: uint32(pages), mark: uint32(mark)}, nil
}

// plainQuery tells whether text can stand in an address as it is.
func plainQuery(text string) bool {
	if len(text) > maxQuery {
		return false
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] >= 0x7f || text[i] == '#' {
			return false
		}
	}
	return true
}

// next reads links.next of an answer; an empty query is the end. A link back to a page
// that was walked is refused, and so is one that leads to another list.
func (p cursor) next(k call, a answer) (cursor, error) {
	link := a.doc.get("links", "next")
	if link.kind() == '{' {
		link = link.get("href")
	}
	text := strings.TrimSpace(stringOf(link))
	if text == "" {
		return cursor{}, nil
	}
	u, err := url.Parse(text)
	if err != nil || !strings.HasSuffix(strings.TrimRight(u.Path, "/"), k.path) && u.Path != "" {
		return cursor{}, k.unusable(a.status, codeUnusable, "the list's next link can not be read")
	}
	// The vendor writes brackets as they are; re-encoding makes one form of all.
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil || len(values) == 0 {
		return cursor{}, k.unusable(a.status, codeUnusable, "the list's next link can not be read")
	}
	q := values.Encode()
	if !plainQuery(q) {
		return cursor{}, k.unusable(a.status, codeUnusable, "the list's next link can not be read")
	}
	n := cursor{query: q, pages: p.pages + 1, mark: p.mark}
	if p.pages == 0 {
		n.mark = digest(p.query)
	}
	if digest(q) == n.mark || q == p.query {
		return cursor{}, k.unusable(a.status, codeLoop, "the list links back to itself")
	}
	if n.pages&(n.pages-1) == 0 {
		n.mark = digest(q)
	}
	return n, nil
}

func digest(query string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(query))
	return h.Sum32()
}

// maxPage is the largest page asked for.
const maxPage = 100

// page fetches the page at after and cuts it to limit; what is cut off begins the next.
func page[T any](ctx context.Context, c *Client, k call, after string, limit int, decode func(call, answer) ([]T, error)) ([]T, string, error) {
	at, err := parseCursor(after)
	if err != nil {
		return nil, "", err
	}
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	if at.query == "" {
		// A page of the vendor's is never cut off in the middle for want of a size: the
		// same size is asked for again with the rest of a page.
		at.query = url.Values{"page[size]": {strconv.Itoa(limit)}}.Encode()
	}
	k.query = at.query
	a, err := c.do(ctx, k)
	if err != nil {
		return nil, "", err
	}
	list, err := decode(k, a)
	if err != nil {
		return nil, "", err
	}
	list = list[min(at.skip, len(list)):]
	if len(list) > limit {
		rest := at
		rest.skip += limit
		return list[:limit], rest.String(), nil
	}
	next, err := at.next(k, a)
	if err != nil {
		return nil, "", err
	}
	return list, next.String(), nil
}
