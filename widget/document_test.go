package widget_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"wzrdcheckout/widget"
)

// document is what a browser makes of the edge's patches: the ops of widget.Diff, applied
// one by one to a tree of its own, as widget/js/_core.js does.
type document struct{ root *widget.Node }

func clone(n *widget.Node) *widget.Node {
	c := &widget.Node{Tag: n.Tag, Text: n.Text, Attrs: append([]string(nil), n.Attrs...)}
	for _, k := range n.Kids {
		c.Kids = append(c.Kids, clone(k))
	}
	return c
}

func (d *document) apply(t *testing.T, ops string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(ops, "\n"), "\n")
	at, up := d.root, []*widget.Node(nil)
	for i := 0; i < len(lines) && lines[i] != ""; i++ {
		op, rest := lines[i][0], lines[i][1:]
		n, _ := strconv.Atoi(rest)
		switch op {
		case '>':
			up, at = append(up, at), at.Kids[n]
		case '^':
			at, up = up[len(up)-1], up[:len(up)-1]
		case '@':
			name, value, _ := strings.Cut(rest, "=")
			unset(at, name)
			at.Attrs = append(at.Attrs, name, value)
		case '-':
			unset(at, rest)
		case '\'':
			if at.Tag != "" {
				t.Fatalf("op %q at <%s>, want it at a text", lines[i], at.Tag)
			}
			at.Text = rest
		case 'x':
			at.Kids = append(at.Kids[:n:n], at.Kids[n+1:]...)
		case '+':
			size := subtree(lines[i+1:])
			k := &widget.Node{Text: lines[i+1][1:]}
			if lines[i+1][0] == '<' {
				if k = widget.ParseTree(strings.Join(lines[i+1:i+1+size], "\n")); k == nil {
					t.Fatalf("op %q: %q is no tree", lines[i], lines[i+1:i+1+size])
				}
			}
			at.Kids = append(at.Kids[:n:n], append([]*widget.Node{k}, at.Kids[n:]...)...)
			i += size
		default:
			t.Fatalf("unknown op %q", lines[i])
		}
	}
	if len(up) != 0 {
		t.Fatalf("ops %q end %d levels deep, want 0", ops, len(up))
	}
}

func subtree(lines []string) int {
	depth := 0
	for i, l := range lines {
		switch l[0] {
		case '<':
			depth++
		case '/':
			depth--
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(lines)
}

func unset(n *widget.Node, name string) {
	for i := 0; i < len(n.Attrs); i += 2 {
		if n.Attrs[i] == name {
			n.Attrs = append(n.Attrs[:i:i], n.Attrs[i+2:]...)
			return
		}
	}
}

// equal compares trees; the order of attributes means nothing.
func equal(a, b *widget.Node) bool {
	if a.Tag != b.Tag || a.Text != b.Text || len(a.Attrs) != len(b.Attrs) || len(a.Kids) != len(b.Kids) {
		return false
	}
	have := map[string]string{}
	for i := 0; i < len(a.Attrs); i += 2 {
		have[a.Attrs[i]] = a.Attrs[i+1]
	}
	for i := 0; i < len(b.Attrs); i += 2 {
		if v, ok := have[b.Attrs[i]]; !ok || v != b.Attrs[i+1] {
			return false
		}
	}
	for i := range a.Kids {
		if !equal(a.Kids[i], b.Kids[i]) {
			return false
		}
	}
	return true
}

var (
	piece     = regexp.MustCompile(`<(/?)([a-z0-9]+)([^>]*)>|([^<]+)`)
	attribute = regexp.MustCompile(` ([a-zA-Z-]+)(?:="([^"]*)")?`)
	unescape  = strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">", "&#34;", `"`, "&#39;", "'")
)

// wire reads HTML the way the loader does and gives it in the wire's form.
func wire(html string) string {
	var out []string
	for _, m := range piece.FindAllStringSubmatch(html, -1) {
		switch {
		case m[4] != "":
			out = append(out, "'"+unescape.Replace(m[4]))
		case m[1] != "":
			out = append(out, "/")
		default:
			out = append(out, "<"+m[2])
			for _, a := range attribute.FindAllStringSubmatch(m[3], -1) {
				out = append(out, "@"+a[1]+"="+unescape.Replace(a[2]))
			}
			if m[2] == "input" || m[2] == "img" {
				out = append(out, "/")
			}
		}
	}
	return strings.Join(out, "\n")
}

// content is the text that a person sees in a tree.
func content(n *widget.Node) string {
	if n.Tag == "" {
		return n.Text
	}
	for i := 0; i < len(n.Attrs); i += 2 {
		if n.Attrs[i] == "hidden" || n.Attrs[i] == "class" && n.Attrs[i+1] == "said" {
			return ""
		}
	}
	var words []string
	for _, k := range n.Kids {
		if s := content(k); s != "" {
			words = append(words, s)
		}
	}
	return strings.Join(words, " | ")
}
