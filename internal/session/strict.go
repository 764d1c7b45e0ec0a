package session

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"wzrdcheckout/internal/checkout"
)

// form reads one JSON object strictly: every member that is unknown, repeated or of a
// wrong type is noted under its dotted name. Absent and null are the same.
type form struct {
	prefix  string
	members map[string]json.RawMessage
	errs    *[]checkout.FieldError
}

// openForm splits body, which has to be one JSON object with members of known.
// The error is malformed_json when the body is no JSON at all.
func openForm(body []byte, known ...string) (form, error) {
	if !json.Valid(body) || !utf8.Valid(body) {
		return form{}, &checkout.Error{Kind: checkout.ErrInvalid, Code: "malformed_json", Detail: "the body is not valid JSON"}
	}
	f := form{errs: new([]checkout.FieldError)}
	if !isObject(body) {
		return f, checkout.Invalid(checkout.FieldError{Field: "body", Code: "type", Message: "must be a JSON object"})
	}
	f.split(body, known)
	return f, nil
}

func isObject(raw []byte) bool {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	return len(raw) > 0 && raw[0] == '{'
}

// split fills members from an object that is known to be valid JSON.
func (f *form) split(raw []byte, known []string) {
	f.members = map[string]json.RawMessage{}
	each(raw, func(name string, value json.RawMessage) {
		_, again := f.members[name]
		switch {
		case again:
			f.note(name, "duplicate", "is given twice")
		case !slices.Contains(known, name):
			f.note(name, "unknown", "is not a known member")
		case string(value) != "null":
			f.members[name] = value
			return
		}
		f.members[name] = nil // seen
	})
}

// each calls f for every member of a valid JSON object, in order. The values share raw's
// memory.
func each(raw []byte, f func(name string, value json.RawMessage)) {
	i := blank(raw, 0)
	if i >= len(raw) || raw[i] != '{' {
		return
	}
	for i = blank(raw, i+1); i < len(raw) && raw[i] == '"'; i = blank(raw, i+1) {
		end := over(raw, i)
		name := string(raw[i+1 : end-1])
		if strings.ContainsRune(name, '\\') && json.Unmarshal(raw[i:end], &name) != nil {
			return
		}
		i = blank(raw, blank(raw, end)+1) // over the colon
		end = over(raw, i)
		f(name, raw[i:end:end])
		if i = blank(raw, end); i >= len(raw) || raw[i] != ',' {
			return
		}
	}
}

// blank gives the first place from i on that is no white space.
func blank(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\t' || raw[i] == '\n' || raw[i] == '\r') {
		i++
	}
	return i
}

// over gives the end of the value that begins at i.
func over(raw []byte, i int) int {
	depth := 0
	for ; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			for i++; i < len(raw) && raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return min(i+1, len(raw))
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
		}
	}
	return len(raw)
}

func (f *form) note(name, code, message string) {
	if len(*f.errs) < 100 {
		*f.errs = append(*f.errs, checkout.FieldError{Field: f.prefix + clip(name), Code: code, Message: message})
	}
}

// clip keeps a hostile member's name short and printable.
func clip(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, name)
	if len(name) <= 64 {
		return name
	}
	n := 64
	for !utf8.RuneStart(name[n]) {
		n--
	}
	return name[:n] + "…"
}

func (f *form) err() error {
	if len(*f.errs) == 0 {
		return nil
	}
	return checkout.Invalid(*f.errs...)
}

func (f *form) has(name string) bool { return f.members[name] != nil }

func (f *form) require(names ...string) {
	for _, name := range names {
		if !f.has(name) && !f.noted(name) {
			f.note(name, "required", "is required")
		}
	}
}

func (f *form) noted(name string) bool {
	return slices.ContainsFunc(*f.errs, func(e checkout.FieldError) bool { return e.Field == f.prefix+name })
}

func (f *form) text(name string) string {
	raw := f.members[name]
	if raw == nil {
		return ""
	}
	var s string
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		f.note(name, "type", "must be a string")
	}
	return s
}

func (f *form) textPointer(name string) *string {
	if !f.has(name) {
		return nil
	}
	s := f.text(name)
	return &s
}

func (f *form) amount(name string) *checkout.Amount {
	raw := f.members[name]
	if raw == nil {
		return nil
	}
	if raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		f.note(name, "type", "must be a JSON number")
		return nil
	}
	a, err := checkout.ParseAmount(string(raw))
	switch {
	case err != nil && raw[0] == '-':
		f.note(name, "minimum", "must be greater than 0")
	case err != nil:
		f.note(name, "amount", "needs more digits than an amount can have")
	}
	return &a
}

func (f *form) seconds(name string) int64 {
	raw := f.members[name]
	if raw == nil {
		return 0
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	switch {
	case err != nil:
		f.note(name, "type", "must be a whole number of seconds")
	case n == 0:
		f.note(name, "range", rangeExpires)
	}
	return n
}

func (f *form) texts(name string) []string {
	raw := f.members[name]
	if raw == nil {
		return nil
	}
	list := []*string{}
	if json.Unmarshal(raw, &list) != nil || slices.Contains(list, nil) {
		f.note(name, "type", "must be a list of strings")
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = *s
	}
	return out
}

// values reads an object of strings.
func (f *form) values(name string) map[string]string {
	raw := f.members[name]
	if raw == nil {
		return nil
	}
	if raw[0] != '{' {
		f.note(name, "type", "must be an object of strings")
		return nil
	}
	out := map[string]string{}
	inner := form{prefix: f.prefix + name + ".", errs: f.errs}
	each(raw, func(key string, value json.RawMessage) {
		var s string
		_, again := out[key]
		switch {
		case again:
			inner.note(key, "duplicate", "is given twice")
		case value[0] != '"' || json.Unmarshal(value, &s) != nil:
			inner.note(key, "type", "must be a string")
		}
		out[key] = s
	})
	return out
}

// object opens a nested form; ok is false when the member is absent.
func (f *form) object(name string, known ...string) (inner form, ok bool) {
	raw := f.members[name]
	inner = form{prefix: f.prefix + name + ".", errs: f.errs}
	if raw == nil {
		return inner, false
	}
	if raw[0] != '{' {
		f.note(name, "type", "must be an object")
		return inner, false
	}
	inner.split(raw, known)
	return inner, true
}

// free reads a JSON object of the merchant's own, compacted; empty = absent.
func (f *form) free(name string) checkout.JSON {
	raw := f.members[name]
	if raw == nil {
		return nil
	}
	if raw[0] != '{' {
		f.note(name, "type", "must be an object")
		return nil
	}
	if _, twice := canonical(raw); twice != "" {
		f.note(name+"."+twice, "duplicate", "is given twice")
		return nil
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil || b.String() == "{}" {
		return nil
	}
	return b.Bytes()
}

// canonical writes a valid JSON value so that equal meaning is equal text: members
// sorted, numbers without needless digits. twice is the name of a repeated member.
func canonical(raw json.RawMessage) (text []byte, twice string) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return []byte("null"), ""
	}
	switch raw[0] {
	case '{':
		members := map[string][]byte{}
		each(raw, func(name string, value json.RawMessage) {
			inner, deeper := canonical(value)
			if _, again := members[name]; again && twice == "" {
				twice = clip(name)
			}
			if deeper != "" && twice == "" {
				twice = clip(name) + "." + deeper
			}
			members[name] = inner
		})
		names := make([]string, 0, len(members))
		for name := range members {
			names = append(names, name)
		}
		slices.Sort(names)
		text = append(text, '{')
		for i, name := range names {
			if i > 0 {
				text = append(text, ',')
			}
			text = append(text, quote(name)...)
			text = append(append(text, ':'), members[name]...)
		}
		return append(text, '}'), twice
	case '[':
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			return raw, ""
		}
		text = append(text, '[')
		for i, value := range list {
			if i > 0 {
				text = append(text, ',')
			}
			inner, deeper := canonical(value)
			if deeper != "" && twice == "" {
				twice = strconv.Itoa(i) + "." + deeper
			}
			text = append(text, inner...)
		}
		return append(text, ']'), twice
	case '"':
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return raw, ""
		}
		return quote(s), ""
	case '-':
		if a, err := checkout.ParseAmount(string(raw[1:])); err == nil && !a.IsZero() {
			return append([]byte{'-'}, a.String()...), ""
		} else if err == nil {
			return []byte("0"), ""
		}
	case '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		if a, err := checkout.ParseAmount(string(raw)); err == nil {
			return []byte(a.String()), ""
		}
	}
	return raw, ""
}

func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil { // a string always marshals
		return []byte(`""`)
	}
	return b
}
