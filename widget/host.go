package widget

import "strings"

// Ask puts a question to the page that has its answer at once; its words are one a line:
//
//	money amount currency digits locale   the amount as Intl writes it
//	plural n locale                       its plural category
//	fold text                             in small letters
//	match pattern value                   "1", "0", or "" when the browser can not compile the pattern
type Ask func(question string) string

// Host joins the widgets of one page to its edge. Messages are words, one a line:
//
//	id kind now random name code text…
//
// and the answer is a list of commands, each after a 0x1e, of words, one a line: "patch"
// with the ops of Diff, then the effects. All is text: no reference to anything of the
// page stays behind in the module.
type Host struct {
	ask     Ask
	widgets []*placed // few
}

type placed struct {
	id    string
	model *Model
	tree  *Node // what stands in the document
}

// NewHost makes a Host whose questions go to ask.
func NewHost(ask Ask) *Host { return &Host{ask: ask} }

// Dispatch handles one message and gives the commands that follow. A message for a
// widget that is not there, or that can not be read, gives none.
//
// "mount" makes a widget: text is the options as JSON, the words after it are what
// already stands in the document. It draws nothing yet: "load" follows.
func (h *Host) Dispatch(message string) string {
	r := &reader{text: message}
	word := func() string {
		r.next()
		return r.line
	}
	id := word()
	ev := &Event{Kind: word(), Now: number(word()), Random: int(number(word())), Name: word(), Code: int(number(word())), Text: word()}
	switch ev.Kind {
	case "load", "answer", "frame", "update", "mount":
		ev.Body = ParseJSON(ev.Text)
	}
	if ev.Kind == "mount" {
		return h.mount(id, ev, r.text)
	}
	i := 0
	for i < len(h.widgets) && h.widgets[i].id != id {
		i++
	}
	if i == len(h.widgets) {
		return ""
	}
	if ev.Kind == "unmount" {
		h.widgets = append(h.widgets[:i], h.widgets[i+1:]...)
		return ""
	}
	w := h.widgets[i]
	u := step(w.model, ev)
	tree := View(&u.Model)
	out := string(u.out)
	if ops := Diff(w.tree, tree); ops != "" {
		out = opRecord + "patch\n" + ops + out
	}
	w.model, w.tree = &u.Model, tree
	return out
}

func (h *Host) mount(id string, ev *Event, document string) string {
	o, unknown := h.options(ev.Body)
	m := New(o)
	tree := parseTree(document, nil)
	if tree == nil {
		tree = &Node{Tag: "div"}
	}
	m.adopt(tree)
	u := &update{Model: *m}
	for _, name := range unknown {
		u.unknown(name)
	}
	h.widgets = append(h.widgets, &placed{id: id, model: &u.Model, tree: tree})
	return string(u.out)
}

// adopt keeps what was chosen and typed before the module was there.
func (m *Model) adopt(n *Node) {
	if n.Tag == "input" {
		name, _ := n.attr("name")
		value, _ := n.attr("value")
		if _, on := n.attr("checked"); on && name == "service" {
			m.chosen = value
		} else if strings.HasPrefix(name, "field.") && value != "" {
			m.typed(name, value)
		}
	}
	for _, k := range n.Kids {
		m.adopt(k)
	}
}

// options reads what mount() was given; what is not known is named.
func (h *Host) options(v *Value) (o Options, unknown []string) {
	for i, key := range v.Keys() {
		e := v.Index(i)
		switch key {
		case "base":
			o.Base = e.String()
		case "session":
			o.Token = e.String()
		case "locale":
			o.Locale = e.String()
		case "layout":
			o.Layout = e.String()
		case "hosted":
			o.Hosted = true
		case "selected":
			o.Selected = e.String()
		case "first":
			o.First = list(e)
		case "hide":
			o.Hide = list(e)
		case "redirect":
			o.Redirect = e.String()
			if s := o.Redirect; s != "" && s != "self" && s != "popup" && s != "tab" && s != "manual" {
				unknown = append(unknown, "redirect: "+s)
				o.Redirect = ""
			}
		case "appearance":
			for j, k := range e.Keys() {
				switch k {
				case "theme":
					o.Theme = e.Index(j).String()
				case "layout":
					o.Layout = e.Index(j).String()
				case "variables":
				default:
					unknown = append(unknown, "appearance."+k)
				}
			}
		default:
			unknown = append(unknown, key)
		}
	}
	h.serve(&o)
	return o, unknown
}

// serve lets a widget ask the page.
func (h *Host) serve(o *Options) {
	o.Matcher = asker(h.ask)
	o.Money = func(locale, amount, currency string, decimals int) string {
		return h.ask("money\n" + amount + "\n" + oneLine(currency) + "\n" + digits(int64(decimals)) + "\n" + locale)
	}
	o.Plural = func(locale string, n int) string { return h.ask("plural\n" + digits(int64(n)) + "\n" + locale) }
	o.Fold = func(s string) string { return h.ask("fold\n" + oneLine(s)) }
}

func list(v *Value) []string {
	var out []string
	for i := range v.Len() {
		out = append(out, v.Index(i).String())
	}
	return out
}

// asker matches patterns with the browser's RegExp: a hint, the BFF decides. (A function
// and not a struct: an interface that holds a struct keeps the names of all its members.)
type asker Ask

func (a asker) Match(pattern, value string) (ok, usable bool) {
	s := a("match\n" + oneLine(pattern) + "\n" + oneLine(value))
	return s == "1", s != ""
}
