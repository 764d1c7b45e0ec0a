package callback_test

import (
	"encoding/json"
	"strings"
	"testing"

	"wzrdcheckout/internal/callback"
)

// mode is what readMode should say, the slow way.
func mode(body []byte) string {
	raw := json.RawMessage(body)
	for _, name := range []string{"data", "attributes", "test_mode"} {
		var v map[string]json.RawMessage
		if json.Unmarshal(raw, &v) != nil {
			return ""
		}
		raw = v[name]
	}
	switch string(raw) {
	case "true", "1", `"1"`, `"true"`:
		return "test"
	case "false", "0", `"0"`, `"false"`:
		return "live"
	}
	return ""
}

var bodies = []string{
	`{"data":{"attributes":{"test_mode":true}}}`,
	" {\r\n\t\"data\" : { \"id\":\"x\", \"attributes\" : { \"a\":[1,{\"test_mode\":false}], \"test_mode\" : 0 } } } ",
	`{"data":{"attributes":{"test_mode":"1"},"attributes":{}}}`,
	`{"data":{"attributes":{"test_mode":1,"test_mode":"x"}}}`,
	`{"data":{"attributes":{"test_mode":1}},"data":[1]}`,
	`{"data":{"attributes":{"test_mode":{"test_mode":1}}}}`,
	`{"data":{"attributes":{"t\u0065st_mode":"false","Test_Mode":true}}}`,
	`{"attributes":{"test_mode":true},"data":{"test_mode":true,"meta":{"attributes":{"test_mode":true}}}}`,
	`{"data":[{"attributes":{"test_mode":true}}]}`,
	`{"data":{"attributes":{"test_mode":tru}}}`, `{"data":{"attributes":{"test_mode":true}}`, `{"data":{"attributes":{"test_mode":01}}}`,
	``, ` `, `null`, `nul`, `tru`, `1`, `-`, `-0`, `01`, `1.`, `.5`, `1.5e`, `1e+`, `1E-7`, `"`, `"\"`, `"\x"`, `"\u12g4"`, `"\u12"`, "\"\x1f\"", "\"\xff\"",
	`[`, `[]`, `[1,]`, `[1 2]`, `{`, `{}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{"a":1 "b":2}`, `{} {}`, `{}x`, "\ufeff{}",
	strings.Repeat("[", 10000) + strings.Repeat("]", 10000), strings.Repeat("[", 10001) + strings.Repeat("]", 10001),
	strings.Repeat(`{"a":`, 10000) + "1" + strings.Repeat("}", 10000), strings.Repeat(`{"a":`, 10001) + "1" + strings.Repeat("}", 10001),
}

func FuzzReadMode(f *testing.F) {
	for _, b := range bodies {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, ok := callback.ReadMode(body)
		if valid := json.Valid(body); ok != valid {
			t.Fatalf("ReadMode(%.200q) says JSON: %v, want %v", body, ok, valid)
		}
		if want := mode(body); ok && got != want {
			t.Errorf("ReadMode(%.200q) = %q, want %q", body, got, want)
		}
	})
}
