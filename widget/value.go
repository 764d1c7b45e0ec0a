package widget

import "strings"

// Value is a JSON value to read from; nil is a missing one, and reads as null. Numbers keep the text they were written with, so that an amount is
// never a float64; objects keep theirs, so that they can be handed on as they came.
type Value struct {
	kind byte   // one of `{["0tfn`, 0 for a missing value
	text string // string: decoded; number, object, array: as written
	keys []string
	list []*Value
}

// maxDepth bounds the nesting of a JSON text; ours needs six.
const maxDepth = 32

// ParseJSON reads one JSON text; nil when it is not one.
func ParseJSON(text string) *Value {
	p := &parser{s: text}
	v := p.value(0)
	p.space()
	if p.bad || p.i != len(text) {
		return nil
	}
	return v
}

// Get gives an object's member.
func (v *Value) Get(key string) *Value {
	if v == nil {
		return nil
	}
	for i, k := range v.keys {
		if k == key {
			return v.list[i]
		}
	}
	return nil
}

// Keys gives an object's member names in the order of the text.
func (v *Value) Keys() []string {
	if v == nil {
		return nil
	}
	return v.keys
}

// Len is the number of members or elements.
func (v *Value) Len() int {
	if v == nil {
		return 0
	}
	return len(v.list)
}

// Index gives an array's element or an object's i-th member.
func (v *Value) Index(i int) *Value {
	if i < 0 || i >= v.Len() {
		return nil
	}
	return v.list[i]
}

// IsNull tells whether the value is null or missing.
func (v *Value) IsNull() bool { return v.is(0) || v.is('n') }

func (v *Value) is(kind byte) bool {
	if v == nil {
		return kind == 0
	}
	return v.kind == kind
}

// String gives a string's content, "" for anything else.
func (v *Value) String() string {
	if v.is('"') {
		return v.text
	}
	return ""
}

// Number gives a number's text, "" for anything else.
func (v *Value) Number() string {
	if v.is('0') {
		return v.text
	}
	return ""
}

// Bool tells whether the value is true.
func (v *Value) Bool() bool { return v.is('t') }

// Raw gives the text of an object, array or number as it was written.
func (v *Value) Raw() string {
	if v.is('{') || v.is('[') || v.is('0') {
		return v.text
	}
	return ""
}

type parser struct {
	s   string
	i   int
	bad bool
}

func (p *parser) space() {
	for p.i < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.i]) >= 0 {
		p.i++
	}
}

func (p *parser) next() byte {
	p.space()
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

func (p *parser) fail() *Value {
	p.bad = true
	p.i = len(p.s)
	return nil
}

func (p *parser) word(w string) *Value {
	if !strings.HasPrefix(p.s[p.i:], w) {
		return p.fail()
	}
	p.i += len(w)
	return &Value{kind: w[0]}
}

func (p *parser) value(depth int) *Value {
	c := p.next()
	start := p.i
	switch {
	case depth > maxDepth:
		return p.fail()
	case c == '{' || c == '[':
		v := &Value{kind: c}
		end := c + 2 // '}' and ']' in ASCII
		p.i++
		if p.next() == end {
			p.i++
		} else {
			for !p.bad {
				if c == '{' {
					if p.next() != '"' {
						return p.fail()
					}
					v.keys = append(v.keys, p.str())
					if p.next() != ':' {
						return p.fail()
					}
					p.i++
				}
				v.list = append(v.list, p.value(depth+1))
				d := p.next()
				p.i++
				if d == end {
					break
				}
				if d != ',' {
					return p.fail()
				}
			}
		}
		if p.bad {
			return nil
		}
		v.text = p.s[start:p.i]
		return v
	case c == '"':
		return &Value{kind: '"', text: p.str()}
	case c == 't':
		return p.word("true")
	case c == 'f':
		return p.word("false")
	case c == 'n':
		return p.word("null")
	case c == '-' || c >= '0' && c <= '9':
		for p.i < len(p.s) && strings.IndexByte("+-.eE0123456789", p.s[p.i]) >= 0 {
			p.i++
		}
		return &Value{kind: '0', text: p.s[start:p.i]}
	}
	return p.fail()
}

// str reads a string whose opening quote is at p.i.
func (p *parser) str() string {
	p.i++
	start := p.i
	for p.i < len(p.s) && p.s[p.i] != '"' && p.s[p.i] != '\\' {
		p.i++
	}
	if p.i < len(p.s) && p.s[p.i] == '"' {
		p.i++
		return p.s[start : p.i-1]
	}
	w := (&writer{}).w(p.s[start:p.i])
	for p.i < len(p.s) {
		c := p.s[p.i]
		p.i++
		if c == '"' {
			return string(w.out)
		}
		if c != '\\' {
			w.w(p.s[p.i-1 : p.i])
			continue
		}
		if p.i >= len(p.s) {
			break
		}
		c = p.s[p.i]
		p.i++
		switch c {
		case 'u':
			r := p.hex()
			if r >= 0xD800 && r < 0xDC00 && strings.HasPrefix(p.s[p.i:], `\u`) {
				p.i += 2
				if low := p.hex(); low >= 0xDC00 && low < 0xE000 {
					r = (r-0xD800)<<10 + low - 0xDC00 + 0x10000
				} else {
					r = 0xFFFD
				}
			}
			w.w(string(max(r, ' ')))
		case 'n':
			w.w("\n")
		case 't', 'r', 'b', 'f':
			w.w(" ")
		default:
			w.w(p.s[p.i-1 : p.i])
		}
	}
	p.fail()
	return ""
}

func (p *parser) hex() (r rune) {
	for range 4 {
		if p.i >= len(p.s) {
			p.bad = true
			return 0
		}
		c := p.s[p.i]
		d := strings.IndexByte("0123456789abcdef", c|0x20)
		if c < '0' || d < 0 {
			p.bad = true
			return 0
		}
		r = r<<4 | rune(d) //nolint:gosec // at most 15
		p.i++
	}
	return r
}

// digits writes a whole number.
func digits(n int64) string {
	var b [20]byte
	i := len(b)
	negative := n < 0
	if negative {
		n = -n
	}
	for n > 0 || i == len(b) {
		i--
		b[i] = byte('0' + n%10)
		n /= 10
	}
	if negative {
		i--
		b[i] = '-'
	}
	return string(b[i:])
}

// number reads a whole number, 0 for anything else. Package strconv's reader would
// bring its errors with it, a tenth of the module.
func number(s string) (n int64) {
	negative := s != "" && s[0] == '-'
	if negative {
		s = s[1:]
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' || n > 1<<59 {
			return 0
		}
		n = n*10 + int64(s[i]-'0')
	}
	if negative {
		return -n
	}
	return n
}
