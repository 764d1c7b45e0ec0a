package sandbox

import "net/http"

// DecodeForm and Flatten are the two directions of bracket keys, for the fuzz
// test.
func DecodeForm(body string) (map[string]any, error) { return decodeForm(body) }

// Flatten writes a decoded form back as names and values.
func Flatten(m map[string]any) [][2]string {
	var out [][2]string
	for _, d := range flatten("", m) {
		out = append(out, [2]string{d.Name, d.Value})
	}
	return out
}

// Exponent and Plain are the number forms of the faults.
func Exponent(text string) string { return string(money(text).asExponent()) }

// Quoted is a number as old fixtures write it.
func Quoted(text string) string { return money(text).asString() }

// Plain is an amount in plain notation, "" when text is none.
func Plain(text string) string {
	r, ok := parseAmount(text)
	if !ok {
		return ""
	}
	return plain(r)
}

// SetTransport replaces the way to the merchant, for tests on synctest's time.
func (s *Server) SetTransport(rt http.RoundTripper) { s.client.Transport = rt }
