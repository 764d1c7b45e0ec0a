package callback

import "encoding/json"

// said is what a body tells of its mode.
type said uint8

const (
	saidNothing said = iota
	saidTest
	saidLive
)

// maxDepth is how deep JSON may nest, as encoding/json has it.
const maxDepth = 10_000

// modePath is where a callback tells its mode.
var modePath = [...]string{"data", "attributes", "test_mode"}

// readMode reads data.attributes.test_mode and tells whether the body is JSON at all,
// both in one pass without a copy: it runs for every callback before the answer. Of
// members with one name the last counts. A body of another shape says nothing: the
// worker keeps it for the operator.
func readMode(body []byte) (mode said, ok bool) {
	s := scanner{b: body}
	s.space()
	if !s.value(0, true) {
		return saidNothing, false
	}
	s.space()
	return s.mode, s.i == len(body)
}

// scanner goes over JSON text; its methods are false where the text is none.
type scanner struct {
	b     []byte
	i     int
	depth int
	mode  said
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// value goes over one value; level is how many names of modePath lead to it when on.
func (s *scanner) value(level int, on bool) bool {
	if s.i >= len(s.b) {
		return false
	}
	from := s.i
	ok := false
	switch s.b[s.i] {
	case '{':
		if on && level == len(modePath) {
			on = false
		}
		return s.object(level, on)
	case '[':
		return s.array()
	case '"':
		ok = s.text()
	case 't':
		ok = s.word("true")
	case 'f':
		ok = s.word("false")
	case 'n':
		ok = s.word("null")
	default:
		ok = s.number()
	}
	if on && level == len(modePath) {
		switch string(s.b[from:s.i]) {
		case "true", "1", `"1"`, `"true"`:
			s.mode = saidTest
		case "false", "0", `"0"`, `"false"`:
			s.mode = saidLive
		}
	}
	return ok
}

func (s *scanner) object(level int, on bool) bool {
	if s.depth++; s.depth > maxDepth {
		return false
	}
	s.i++
	s.space()
	if s.next('}') {
		s.depth--
		return true
	}
	for {
		from := s.i
		if s.i >= len(s.b) || s.b[s.i] != '"' || !s.text() {
			return false
		}
		wanted := on && isName(s.b[from:s.i], modePath[level])
		if wanted {
			s.mode = saidNothing // whatever an earlier member of the name said
		}
		s.space()
		if !s.next(':') {
			return false
		}
		s.space()
		if !s.value(level+1, wanted) {
			return false
		}
		s.space()
		if s.next('}') {
			s.depth--
			return true
		}
		if !s.next(',') {
			return false
		}
		s.space()
	}
}

func (s *scanner) array() bool {
	if s.depth++; s.depth > maxDepth {
		return false
	}
	s.i++
	s.space()
	if s.next(']') {
		s.depth--
		return true
	}
	for {
		if !s.value(0, false) {
			return false
		}
		s.space()
		if s.next(']') {
			s.depth--
			return true
		}
		if !s.next(',') {
			return false
		}
		s.space()
	}
}

// next goes over one byte when it is c.
func (s *scanner) next(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

func (s *scanner) word(w string) bool {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		return false
	}
	s.i += len(w)
	return true
}

// text goes over a string, its quotes included.
func (s *scanner) text() bool {
	b := s.b
	for i := s.i + 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			s.i = i + 1
			return true
		case c < ' ':
			return false
		case c == '\\':
			if i++; i >= len(b) {
				return false
			}
			switch b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				for range 4 {
					if i++; i >= len(b) || !hex(b[i]) {
						return false
					}
				}
			default:
				return false
			}
		}
	}
	return false
}

func hex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func (s *scanner) number() bool {
	s.next('-')
	if !s.next('0') && !s.digits() {
		return false
	}
	if s.next('.') && !s.digits() {
		return false
	}
	if s.next('e') || s.next('E') {
		if !s.next('+') {
			s.next('-')
		}
		return s.digits()
	}
	return true
}

func (s *scanner) digits() bool {
	from := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > from
}

// isName tells whether a quoted string, escapes or not, is name.
func isName(quoted []byte, name string) bool {
	if plain := quoted[1 : len(quoted)-1]; len(plain) <= len(name) {
		return string(plain) == name
	}
	for _, c := range quoted {
		if c == '\\' {
			var text string
			return json.Unmarshal(quoted, &text) == nil && text == name
		}
	}
	return false
}
