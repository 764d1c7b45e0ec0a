package wzrd

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"wzrdcheckout/internal/checkout"
)

// node is one value inside a valid JSON text, without the space around it; nil = absent.
// It is walked in place, so that a callback's hundred members cost one pass over the
// bytes and nothing that is not asked for is decoded. Every reader of a node is tolerant:
// a value of another type reads as absent, and the caller refuses what it can not do without.
type node []byte

// parse checks a whole JSON text (its nesting is bounded by encoding/json) and gives its
// value; false = not JSON.
func parse(body []byte) (node, bool) {
	if !json.Valid(body) {
		return nil, false
	}
	return node(bytes.TrimSpace(body)), true
}

// kind is the first byte of the value: { [ " t f n, 0 for a number, 'n' when absent too.
func (n node) kind() byte {
	if len(n) == 0 {
		return 'n'
	}
	if c := n[0]; c != '-' && (c < '0' || c > '9') {
		return c
	}
	return '0'
}

// some tells whether there is a value at all: not absent and not null.
func (n node) some() bool { return n.kind() != 'n' }

// each calls f for the members of an object, in the order of the text; for anything else
// ([] for an empty map, null) it does nothing.
func (n node) each(f func(key string, value node)) {
	if n.kind() != '{' {
		return
	}
	for i := skipSpace(n, 1); n[i] != '}'; {
		end := skipValue(n, i)
		key := unquote(n[i:end])
		i = skipSpace(n, skipSpace(n, end)+1) // over the colon
		end = skipValue(n, i)
		f(key, n[i:end])
		if i = skipSpace(n, end); n[i] == ',' {
			i = skipSpace(n, i+1)
		}
	}
}

// items calls f for the elements of an array. PHP writes an array with holes as an
// object, so the values of an object count as well.
func (n node) items(f func(value node)) {
	if n.kind() == '{' {
		n.each(func(_ string, v node) { f(v) })
		return
	}
	if n.kind() != '[' {
		return
	}
	for i := skipSpace(n, 1); n[i] != ']'; {
		end := skipValue(n, i)
		f(n[i:end])
		if i = skipSpace(n, end); n[i] == ',' {
			i = skipSpace(n, i+1)
		}
	}
}

// get follows members down; of a repeated key the last counts, as with encoding/json.
func (n node) get(keys ...string) node {
	for _, key := range keys {
		var found node
		n.each(func(k string, v node) {
			if k == key {
				found = v
			}
		})
		n = found
	}
	return n
}

// text is a string's value, or a number's or boolean's text (an id may come as a number).
func (n node) text() string {
	switch n.kind() {
	case '"':
		return unquote(n)
	case '0', 't', 'f':
		return string(n)
	}
	return ""
}

// word is a status or resolution: lower-cased, as the two APIs differ ("OK", "ok").
func (n node) word() string {
	if n.kind() != '"' {
		return ""
	}
	return strings.ToLower(strings.TrimSpace(unquote(n)))
}

// amount reads a number, or a string that holds one; nil = absent or not an amount.
func (n node) amount() *checkout.Amount {
	text := ""
	switch n.kind() {
	case '0':
		text = string(n)
	case '"':
		text = strings.TrimSpace(unquote(n))
	default:
		return nil
	}
	a, err := checkout.ParseAmount(text)
	if err != nil {
		return nil
	}
	return &a
}

// whole reads a whole number in any of a number's forms; false = none.
func (n node) whole() (int64, bool) {
	negative := len(n) > 1 && n[0] == '-'
	if negative {
		n = n[1:]
	}
	a := n.amount()
	if a == nil || a.Digits() > 0 {
		return 0, false
	}
	var v int64
	for _, c := range a.String() {
		v = v*10 + int64(c-'0') // at most 18 digits: no overflow
	}
	if negative {
		v = -v
	}
	return v, true
}

// seconds is a moment as Unix seconds: a number (the vendor's form) or RFC 3339; 0 = not
// known. A fraction is cut.
func (n node) seconds() int64 {
	if a := n.amount(); a != nil {
		text, _, _ := strings.Cut(a.String(), ".")
		v, _ := node(text).whole()
		return v
	}
	if n.kind() == '"' {
		if at, err := time.Parse(time.RFC3339, unquote(n)); err == nil && at.Unix() > 0 {
			return at.Unix()
		}
	}
	return 0
}

// truth reads true, 1, "1", "true"; said tells whether it was any form of yes or no.
func (n node) truth() (yes, said bool) {
	switch strings.ToLower(n.text()) {
	case "true", "1":
		return true, true
	case "false", "0":
		return false, true
	}
	return false, false
}

// texts is a text in languages; a plain string is English (older answers).
func (n node) texts() checkout.Text {
	if n.kind() == '"' {
		if s := unquote(n); s != "" {
			return checkout.Text{"en": s}
		}
		return nil
	}
	var t checkout.Text
	n.each(func(language string, v node) {
		if v.kind() != '"' {
			return
		}
		if t == nil {
			t = checkout.Text{}
		}
		t[language] = unquote(v)
	})
	return t
}

// skipSpace gives the index of the first byte at or after i that is no white space.
func skipSpace(n node, i int) int {
	for i < len(n) && (n[i] == ' ' || n[i] == '\t' || n[i] == '\n' || n[i] == '\r') {
		i++
	}
	return i
}

// skipValue gives the index after the value that begins at i, in a valid text.
func skipValue(n node, i int) int {
	depth := 0
	for ; i < len(n); i++ {
		switch n[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			for i++; n[i] != '"'; i++ {
				if n[i] == '\\' {
					i++
				}
			}
		default:
			if depth > 0 {
				continue
			}
			for i < len(n) && !ends(n[i]) {
				i++
			}
			return i
		}
		if depth == 0 {
			return i + 1
		}
	}
	return i
}

// ends tells whether c stands after a number or a literal.
func ends(c byte) bool {
	switch c {
	case ',', ']', '}', ' ', '\t', '\r', '\n':
		return true
	}
	return false
}

// unquote gives the text of a JSON string, broken UTF-8 replaced as encoding/json does.
func unquote(n node) string {
	inner := n[1 : len(n)-1]
	for _, c := range inner {
		if c == '\\' || c >= 0x80 {
			var s string
			_ = json.Unmarshal(n, &s) // a valid text's string can not fail
			return s
		}
	}
	return string(inner)
}
