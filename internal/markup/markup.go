// Package markup builds HTML documents as trees, so that no value can become markup: text
// and attributes are escaped where they are written, addresses are checked, and there is
// no way to write anything raw. It imports the standard library only, and no package that
// finds methods by name: html/template does, which keeps 3 MB of dead code in a binary.
package markup

import (
	"html"
	"strings"
)

// literal is a constant of the caller's source: no value of type string converts to it by
// itself, so that names of elements and attributes never come from outside.
type literal string

// Part is what an element is made of: a Node or an Attribute.
type Part interface{ part() }

// Node is an element, a text, or nothing: the zero Node writes nothing.
type Node struct{ written string }

func (Node) part() {}

// String is the node as HTML.
func (n Node) String() string { return n.written }

// Attribute is one name="value" of an element; the zero Attribute writes nothing.
type Attribute struct{ written string }

func (Attribute) part() {}

// Text is text and nothing else, whatever it holds.
func Text(text string) Node { return Node{escape(text)} }

// Group puts nodes side by side.
func Group(nodes ...Node) Node {
	var b strings.Builder
	for _, n := range nodes {
		b.WriteString(n.written)
	}
	return Node{b.String()}
}

// Each makes one node of every item.
func Each[T any](items []T, node func(T) Node) Node {
	var b strings.Builder
	for _, item := range items {
		b.WriteString(node(item).written)
	}
	return Node{b.String()}
}

// When is the part if ok holds, and nothing otherwise.
func When[P Part](ok bool, part P) P {
	if !ok {
		var nothing P
		return nothing
	}
	return part
}

var (
	// void elements have no content and no end.
	void = set("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
	// opaque elements hold something else than HTML, which escaping does not protect.
	opaque = set("iframe", "noembed", "noframes", "plaintext", "script", "style", "xmp")
	// lines end with a line break, for whoever reads the source: around these elements
	// white space means nothing.
	lines = set("html", "head", "meta", "link", "title", "script", "body", "header", "main", "footer", "section", "aside", "nav", "form",
		"h1", "h2", "h3", "p", "ul", "ol", "li", "dl", "dd", "table", "thead", "tbody", "tr", "div", "details", "pre")
	// addresses are the attributes that a browser follows.
	addresses = set("action", "cite", "data", "formaction", "href", "manifest", "ping", "poster", "src")
)

func set(names ...literal) map[literal]bool {
	m := make(map[literal]bool, len(names))
	for _, name := range names {
		m[name] = true
	}
	return m
}

// Element is an element with its attributes and content in the given order. It panics when
// the source, not a value, asks for what can not be written safely: content in an element
// that has none or whose content is no HTML (script, style).
func Element(name literal, parts ...Part) Node {
	mustBeName(name)
	var attributes, content strings.Builder
	for _, p := range parts {
		switch p := p.(type) {
		case Attribute:
			attributes.WriteString(p.written)
		case Node:
			content.WriteString(p.written)
		}
	}
	written, inside := "<"+string(name)+attributes.String()+">", content.String()
	switch {
	case inside != "" && (void[name] || opaque[name]):
		panic("markup: " + name + " can not have content")
	case strings.HasPrefix(inside, "\n") && (name == "pre" || name == "textarea"):
		written += "\n" // parsers leave out the first one
	}
	if !void[name] {
		written += inside + "</" + string(name) + ">"
	}
	if lines[name] {
		written += "\n"
	}
	return Node{written}
}

// Attr is an attribute. An address that leads elsewhere than http, https or the same host
// is left out, as if there was none. It panics for names whose values are programs or
// documents of their own: on…, style, srcdoc, srcset.
func Attr(name literal, value string) Attribute {
	mustBeName(name)
	switch {
	case strings.HasPrefix(string(name), "on"), name == "style", name == "srcdoc", name == "srcset":
		panic("markup: " + name + " can not be written safely")
	case addresses[name] && !isAddress(value):
		return Attribute{}
	}
	return Attribute{" " + string(name) + `="` + escape(value) + `"`}
}

// Flag is an attribute without a value, such as required.
func Flag(name literal) Attribute {
	mustBeName(name)
	return Attribute{" " + string(name)}
}

// Document is a whole page; root is its html element.
func Document(root Node) string { return "<!DOCTYPE html>\n" + root.written }

func mustBeName(name literal) {
	for i, r := range name {
		if (r < 'a' || r > 'z') && (i == 0 || r != '-' && (r < '0' || r > '9')) {
			panic("markup: " + name + " is no name")
		}
	}
	if name == "" {
		panic("markup: a name is empty")
	}
}

// escape fits text and quoted attributes. What HTML can not hold becomes U+FFFD; a carriage
// return is spelled out, for parsers make a line feed of it.
func escape(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	return strings.ReplaceAll(html.EscapeString(text), "\r", "&#13;")
}

// isAddress tells whether an address has the scheme http or https, or none. Browsers take
// control characters and leading spaces out before they look for the scheme; here nobody
// needs them.
func isAddress(value string) bool {
	if strings.HasPrefix(value, " ") || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return false
	}
	scheme, _, ok := strings.Cut(value, ":")
	return !ok || strings.ContainsAny(scheme, "/?#") || strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")
}
