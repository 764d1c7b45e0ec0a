package widget_test

import (
	"encoding/json"
	"strings"
	"testing"

	"wzrdcheckout/widget"
)

func TestParseJSON(t *testing.T) {
	t.Parallel()
	v := widget.ParseJSON(` {"a":[1,-2.50,1e-08,true,null],"b":{"c":"\u00e9\ud83d\ude00\n\"x\\"},"a2":""} `)
	for _, c := range []struct{ name, got, want string }{
		{"number keeps its text", v.Get("a").Index(1).Number(), "-2.50"},
		{"exponent", v.Get("a").Index(2).Number(), "1e-08"},
		{"string", v.Get("b").Get("c").String(), "é😀\n\"x\\"},
		{"raw", v.Get("b").Raw(), `{"c":"\u00e9\ud83d\ude00\n\"x\\"}`},
		{"missing", v.Get("no").Get("x").Index(3).String(), ""},
		{"other kind", v.Get("a").String(), ""},
		{"keys", strings.Join(v.Keys(), " "), "a b a2"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.name, c.got, c.want)
		}
	}
	if !v.Get("a").Index(3).Bool() || !v.Get("a").Index(4).IsNull() || !v.Get("zz").IsNull() || v.Get("a").Len() != 5 {
		t.Errorf("ParseJSON() lost a kind or a length")
	}
	for _, bad := range []string{"", "{", `{"a"}`, `{"a":1,}`, "[1", "[1,]", "tru", `"x`, `"\u12"`, "1 2", strings.Repeat("[", 100) + strings.Repeat("]", 100)} {
		if widget.ParseJSON(bad) != nil {
			t.Errorf("ParseJSON(%q) is a value, want nil", bad)
		}
	}
}

// Whatever encoding/json accepts reads the same here, nesting apart.
func FuzzParseJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,"x",{"b":null}],"c":1e-8}`, `"\ud800x"`, `[[[]]]`, `{"a":1,"a":2}`, "\"\x01\"", `"\/"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v := widget.ParseJSON(s)
		d := json.NewDecoder(strings.NewReader(s))
		d.UseNumber()
		var want any
		if d.Decode(&want) != nil || d.More() || !json.Valid([]byte(s)) || v == nil {
			return
		}
		compare(t, v, want)
	})
}

func compare(t *testing.T, v *widget.Value, want any) {
	switch w := want.(type) {
	case json.Number:
		if v.Number() != w.String() {
			t.Errorf("number %q, want %q", v.Number(), w)
		}
	case bool:
		if v.Bool() != w {
			t.Errorf("bool %v, want %v", v.Bool(), w)
		}
	case []any:
		if v.Len() != len(w) {
			t.Fatalf("length %d, want %d", v.Len(), len(w))
		}
		for i := range w {
			compare(t, v.Index(i), w[i])
		}
	}
}
