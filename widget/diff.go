package widget

// Diff gives the writes that turn the document of one tree into that of another, whose
// root is the same element. The edge keeps no table of nodes: it holds a cursor, which
// starts at the root.
//
//	>2        go to child 2
//	^         go back up
//	@id=x     set an attribute
//	-id       remove an attribute
//	'hello    set the text of a text node
//	x2        remove child 2
//	+2 <…/    insert the tree that follows as child 2
func Diff(from, to *Node) string {
	w := &writer{}
	w.diff(from, to)
	return string(w.out)
}

func (w *writer) diff(from, to *Node) {
	if from == to {
		return
	}
	if to.Tag == "" {
		if from.Text != to.Text {
			w.tree(to)
		}
		return
	}
	for i := 0; i+1 < len(to.Attrs); i += 2 {
		name, value := to.Attrs[i], to.Attrs[i+1]
		if old, ok := from.attr(name); !ok || old != value {
			w.attr(name, value)
		}
	}
	for i := 0; i+1 < len(from.Attrs); i += 2 {
		if _, ok := to.attr(from.Attrs[i]); !ok {
			w.w("-").w(from.Attrs[i]).w("\n")
		}
	}
	w.kids(from.Kids, to.Kids)
}

func same(a, b *Node) bool { return a == b || a.Tag == b.Tag && a.key() == b.key() }

// kids walks both lists once. An element that is in both, in the same order, stays
// the element it is, with what was typed into it and the focus in it.
func (w *writer) kids(from, to []*Node) {
	old := 0
	for at, k := range to {
		// Does k still come in the old list? Then what stands before it has gone. But what
		// the new list wants later is not given up for one that merely jumped ahead.
		match := seek(from, old, k)
		for j := old; j < match; j++ {
			if seek(to, at+1, from[j]) < len(to) {
				match = len(from)
			}
		}
		if match == len(from) {
			w.op("+", at).tree(k)
			continue
		}
		for ; old < match; old++ {
			w.op("x", at)
		}
		before := len(w.out)
		w.op(">", at)
		inside := len(w.out)
		w.diff(from[old], k)
		if len(w.out) == inside {
			w.out = w.out[:before]
		} else {
			w.w("^\n")
		}
		old++
	}
	for ; old < len(from); old++ {
		w.op("x", len(to))
	}
}

func (w *writer) op(name string, n int) *writer { return w.w(name).n(int64(n)).w("\n") }

// seek is where an element is in a list from i on; the list's length if it is not.
func seek(list []*Node, i int, n *Node) int {
	for ; i < len(list); i++ {
		if same(list[i], n) {
			break
		}
	}
	return i
}
