package widget

import "strings"

// Node is an element, or a text where Tag is "". Attrs are names and values in turn; a
// boolean attribute has the value "". Nodes are not changed once they are built: a View
// may share them with the one before it.
type Node struct {
	Tag   string
	Text  string
	Attrs []string
	Kids  []*Node
}

// attr gives an attribute's value.
func (n *Node) attr(name string) (string, bool) {
	for i := 0; i+1 < len(n.Attrs); i += 2 {
		if n.Attrs[i] == name {
			return n.Attrs[i+1], true
		}
	}
	return "", false
}

// key tells siblings apart: elements of one tag and key are the same element, before
// and after.
func (n *Node) key() string {
	k, _ := n.attr("data-k")
	return k
}

// HTML writes the tree as HTML; all text is escaped.
func HTML(n *Node) string {
	var b strings.Builder
	writeHTML(&b, n)
	return b.String()
}

func writeText(b *strings.Builder, s string) {
	for i := range len(s) {
		switch s[i] {
		case '&':
			b.WriteString("&amp;")
		case '<':
			b.WriteString("&lt;")
		case '>':
			b.WriteString("&gt;")
		case '"':
			b.WriteString("&#34;")
		case '\'':
			b.WriteString("&#39;")
		default:
			b.WriteByte(s[i])
		}
	}
}

func writeHTML(b *strings.Builder, n *Node) {
	if n.Tag == "" {
		writeText(b, n.Text)
		return
	}
	b.WriteString("<" + n.Tag)
	for i := 0; i+1 < len(n.Attrs); i += 2 {
		b.WriteString(" " + n.Attrs[i])
		if v := n.Attrs[i+1]; v != "" {
			b.WriteString(`="`)
			writeText(b, v)
			b.WriteByte('"')
		}
	}
	b.WriteByte('>')
	if n.Tag == "input" || n.Tag == "img" || n.Tag == "link" {
		return
	}
	for _, k := range n.Kids {
		writeHTML(b, k)
	}
	b.WriteString("</" + n.Tag + ">")
}

// The wire: a tree is a list of tokens, one a line, each told by its first character.
//
//	<div         an element begins
//	@class=row   one of its attributes, before what it contains
//	'hello       a text
//	/            the element ends
//	&3           in a View: the cached node 3
const opRecord = "\x1e" // between commands

// writer collects text. A call a piece is the least code in the page.
type writer struct{ out []byte }

func (w *writer) w(s string) *writer {
	w.out = append(w.out, s...)
	return w
}

func (w *writer) n(n int64) *writer { return w.w(digits(n)) }

// q writes a JSON string.
func (w *writer) q(s string) *writer {
	w.w(`"`)
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ':
			w.w(" ")
		case c == '"' || c == '\\':
			w.w("\\")
			fallthrough
		default:
			w.w(s[i : i+1])
		}
	}
	return w.w(`"`)
}

func (w *writer) b(b bool) *writer {
	if b {
		return w.w("true")
	}
	return w.w("false")
}

// tree writes a tree in the wire's form.
func (w *writer) tree(n *Node) {
	if n.Tag == "" {
		w.w("'").w(n.Text).w("\n")
		return
	}
	w.w("<").w(n.Tag).w("\n")
	for i := 0; i+1 < len(n.Attrs); i += 2 {
		w.attr(n.Attrs[i], n.Attrs[i+1])
	}
	for _, k := range n.Kids {
		w.tree(k)
	}
	w.w("/\n")
}

func (w *writer) attr(name, value string) { w.w("@").w(name).w("=").w(value).w("\n") }

// parseTree reads one tree; nil when the text is none. Attributes without "=" and empty
// texts are as in HTML: "" and not there.
func parseTree(text string, cache []*Node) *Node {
	r := &reader{text: text, cache: cache}
	return r.node(0)
}

type reader struct {
	text  string
	line  string
	cache []*Node
}

// next takes a line off; false at the end.
func (r *reader) next() bool {
	if r.text == "" {
		return false
	}
	i := index(r.text, "\n")
	if i < 0 {
		r.line, r.text = r.text, ""
	} else {
		r.line, r.text = r.text[:i], r.text[i+1:]
	}
	return r.line != ""
}

func (r *reader) node(depth int) *Node {
	if depth > maxDepth || !r.next() || r.line[0] != '<' {
		return nil
	}
	n := &Node{Tag: r.line[1:]}
	for {
		ahead := r.text
		if !r.next() {
			return nil
		}
		switch rest := r.line[1:]; r.line[0] {
		case '@':
			i := index(rest, "=")
			name, value := rest, ""
			if i >= 0 {
				name, value = rest[:i], rest[i+1:]
			}
			n.Attrs = append(n.Attrs, name, value)
		case '\'':
			if rest != "" {
				n.Kids = append(n.Kids, &Node{Text: rest})
			}
		case '&':
			if i := int(number(rest)); i >= 0 && i < len(r.cache) {
				n.Kids = append(n.Kids, r.cache[i])
			}
		case '/':
			return n
		default:
			r.text = ahead
			k := r.node(depth + 1)
			if k == nil {
				return nil
			}
			n.Kids = append(n.Kids, k)
		}
	}
}

// index is strings.Index without what makes that one fast in long texts.
func index(s, part string) int {
	for i := 0; i+len(part) <= len(s); i++ {
		if s[i:i+len(part)] == part {
			return i
		}
	}
	return -1
}

// oneLine makes a value fit the wire: line breaks and other control characters become
// spaces.
func oneLine(s string) string {
	for i := range len(s) {
		if s[i] < ' ' {
			b := []byte(s)
			for i := range b {
				if b[i] < ' ' {
					b[i] = ' '
				}
			}
			return string(b)
		}
	}
	return s
}
