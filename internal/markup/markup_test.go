package markup_test

import (
	"html"
	"reflect"
	"strings"
	"testing"

	. "wzrdcheckout/internal/markup"
)

const evil = `"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;` + "`\x00\xff\r\n"

func TestElement(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		node Node
		want string
	}{
		{"nothing", Node{}, ""},
		{"text", Text(`a < b & "c" > 'd'`), `a &lt; b &amp; &#34;c&#34; &gt; &#39;d&#39;`},
		{"hostile text", Element("b", Text(evil)), `<b>&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x onerror=&#39;alert(2)&#39;&gt;&amp;amp;` + "`\uFFFD\uFFFD&#13;\n</b>"},
		{"hostile attribute", Element("b", Attr("title", evil)), `<b title="&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x onerror=&#39;alert(2)&#39;&gt;&amp;amp;` + "`\uFFFD\uFFFD&#13;\n" + `"></b>`},
		{"order is kept", Element("a", Text("x"), Attr("id", "1"), Element("b", Text("y")), Attr("class", "c"), Text("z")), `<a id="1" class="c">x<b>y</b>z</a>`},
		{"empty attribute", Element("img", Attr("alt", "")), `<img alt="">`},
		{"flag", Element("input", Attr("name", "n"), Flag("required")), `<input name="n" required>`},
		{"void", Element("br"), "<br>"},
		{"line", Element("p", Text("x")), "<p>x</p>\n"},
		{"script", Element("script", Flag("async"), Attr("src", "/a.js")), "<script async src=\"/a.js\"></script>\n"},
		{"preformatted", Element("pre", Text("x\n y")), "<pre>x\n y</pre>\n"},
		{"preformatted line break", Element("pre", Text("\nx")), "<pre>\n\nx</pre>\n"},
		{"group", Group(Text("a"), Node{}, Element("b")), "a<b></b>"},
		{"each", Each([]string{"<", "b"}, func(s string) Node { return Element("i", Text(s)) }), "<i>&lt;</i><i>b</i>"},
		{"when", Element("b", When(true, Attr("id", "x")), When(false, Attr("class", "y")), When(false, Text("z")), When(true, Text("w"))), `<b id="x">w</b>`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := row.node.String(); got != row.want {
				t.Errorf("written = %q, want %q", got, row.want)
			}
		})
	}
	if got, want := Document(Element("html", Attr("lang", "en"))), "<!DOCTYPE html>\n<html lang=\"en\"></html>\n"; got != want {
		t.Errorf("Document = %q, want %q", got, want)
	}
}

func TestAttr_Addresses(t *testing.T) {
	t.Parallel()
	attributes := map[string]func(string) Attribute{
		"href":       func(v string) Attribute { return Attr("href", v) },
		"src":        func(v string) Attribute { return Attr("src", v) },
		"action":     func(v string) Attribute { return Attr("action", v) },
		"formaction": func(v string) Attribute { return Attr("formaction", v) },
	}
	for value, ok := range map[string]bool{
		"": true, "#webhooks": true, "/ops/": true, "x/y": true, "?a=b:c": true, "/a:b": true, "#a:b": true, "//shop.example/": true,
		"http://shop.example/": true, "HTTPS://shop.example/?q=\"": true, "http:x": true,
		"javascript:alert(1)": false, "JavaScript:alert(1)": false, " javascript:alert(1)": false, "\x01javascript:alert(1)": false,
		"java\nscript:alert(1)": false, "java\tscript:alert(1)": false, "data:text/html,x": false, "vbscript:x": false, "blob:x": false,
		"mailto:a@b": false, ":": false, "\x00:": false, "https\x00:": false, "file:///etc/passwd": false, "/ok\r\n": false,
	} {
		for name, attr := range attributes {
			want := "<b></b>"
			if ok {
				want = `<b ` + name + `="` + html.EscapeString(value) + `"></b>`
			}
			if got := Element("b", attr(value)).String(); got != want {
				t.Errorf("%s=%q = %s, want %s", name, value, got, want)
			}
		}
	}
	if got := Element("b", Attr("title", "javascript:x")).String(); got != `<b title="javascript:x"></b>` {
		t.Errorf("title = %s, want any text: it is no address", got)
	}
}

func TestPanics(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(){
		"text in a script":    func() { Element("script", Text("x")) },
		"text in a style":     func() { Element("style", Text("x")) },
		"text in a frame":     func() { Element("iframe", Text("x")) },
		"content of br":       func() { Element("br", Element("b")) },
		"event handler":       func() { Attr("onclick", "x") },
		"style":               func() { Attr("style", "x") },
		"document in a value": func() { Attr("srcdoc", "x") },
		"empty name":          func() { Element("") },
		"markup in a name":    func() { Element("b><b") },
		"capital":             func() { Element("B") },
		"space in a name":     func() { Attr("a b", "x") },
		"digit first":         func() { Flag("1a") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if recover() == nil {
					t.Error("no panic, want one: the source is wrong")
				}
			}()
			make()
		})
	}
}

// piece is an element or a text as a reader of the document sees it.
type piece struct {
	Name       string
	Attributes [][2]string
	Text       string
	Inside     []piece
}

// FuzzElement builds a tree of hostile values and reads it back: the same tree, and no
// piece more.
func FuzzElement(f *testing.F) {
	f.Add("abc", evil, "x", "/a")
	f.Add("aabbcd.p.", "</pre>", "' onclick='x", "javascript:x")
	f.Add("pct.t..i", "\n\n", `" a="b`, "https://x/?a=1&b=2&copy=3")
	f.Add("bcbb.", "<!--", "-->", "]]>")
	f.Add("pp", "&#60;b&#62; &lt;i&gt; &amp", "&quot", "//x")
	f.Fuzz(func(t *testing.T, shape, text, value, address string) {
		if len(shape) > 200 {
			return
		}
		nodes, want := build(&shape, text, value, address)
		got, rest := parse(t, Group(nodes...).String(), "")
		if rest != "" || !reflect.DeepEqual(got, want) {
			t.Errorf("written %s\nread %+v, rest %q\nwant %+v", Group(nodes...), got, rest, want)
		}
	})
}

// build follows the letters of shape: each opens an element, is a text, or ('.') ends one.
func build(shape *string, text, value, address string) ([]Node, []piece) {
	var nodes []Node
	var pieces []piece
	seen := strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	seenValue := strings.ReplaceAll(strings.ToValidUTF8(value, "\uFFFD"), "\x00", "\uFFFD")
	for *shape != "" {
		letter := (*shape)[0]
		*shape = (*shape)[1:]
		switch letter {
		case '.':
			return nodes, pieces
		case 'i':
			nodes = append(nodes, Element("input", Attr("value", value), Flag("required")))
			pieces = append(pieces, piece{Name: "input", Attributes: [][2]string{{"value", seenValue}, {"required", ""}}})
		case 'a', 'b', 'p':
			inside, read := build(shape, text, value, address)
			parts := []Part{Attr("title", value), Attr("href", address)}
			for _, n := range inside {
				parts = append(parts, n)
			}
			p := piece{Attributes: [][2]string{{"title", seenValue}}, Inside: read}
			if strings.Contains(Element("i", Attr("href", address)).String(), "href") {
				seenAddress := strings.ToValidUTF8(address, "\uFFFD")
				p.Attributes = append(p.Attributes, [2]string{"href", seenAddress})
			}
			switch letter {
			case 'a':
				nodes, p.Name = append(nodes, Element("a", parts...)), "a"
			case 'b':
				nodes, p.Name = append(nodes, Element("div", parts...)), "div"
			case 'p':
				nodes, p.Name = append(nodes, Element("pre", parts...)), "pre"
			}
			pieces = append(pieces, p)
		default:
			nodes = append(nodes, Text(text))
			switch n := len(pieces); {
			case seen == "":
			case n > 0 && pieces[n-1].Name == "":
				pieces[n-1].Text += seen
			default:
				pieces = append(pieces, piece{Text: seen})
			}
		}
	}
	return nodes, pieces
}

// parse reads as a browser does what this package may write, and fails on anything else.
func parse(t *testing.T, text, within string) (pieces []piece, rest string) {
	t.Helper()
	for text != "" {
		before, after, ok := strings.Cut(text, "<")
		if before != "" {
			if strings.ContainsAny(before, "\r\x00>\"'") {
				t.Fatalf("text %q is not escaped", before)
			}
			pieces = append(pieces, piece{Text: html.UnescapeString(before)})
		}
		if !ok {
			return pieces, ""
		}
		if tail, end := strings.CutPrefix(after, "/"+within+">"); end && within != "" {
			return pieces, tail
		}
		n := strings.IndexAny(after, " >")
		p := piece{Name: after[:n]}
		for text = after[n:]; text[0] == ' '; {
			n = strings.IndexAny(text, "=>")
			if text[n] == '>' || !strings.HasPrefix(text[n:], `="`) {
				p.Attributes, text = append(p.Attributes, [2]string{text[1:n], ""}), text[n:]
				continue
			}
			value, tail, _ := strings.Cut(text[n+2:], `"`)
			p.Attributes, text = append(p.Attributes, [2]string{text[1:n], html.UnescapeString(value)}), tail
		}
		text = text[1:]
		switch p.Name {
		case "input":
		case "pre":
			p.Inside, text = parse(t, strings.TrimPrefix(text, "\n"), p.Name)
			text = strings.TrimPrefix(text, "\n")
		case "a":
			p.Inside, text = parse(t, text, p.Name)
		case "div":
			p.Inside, text = parse(t, text, p.Name)
			text = strings.TrimPrefix(text, "\n")
		default:
			t.Fatalf("there is an element %q that nobody made", p.Name)
		}
		pieces = append(pieces, p)
	}
	return pieces, ""
}
