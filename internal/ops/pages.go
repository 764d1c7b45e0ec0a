package ops

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/markup"
)

// The builder's words, short: the pages below are little else.
var (
	el    = markup.Element
	text  = markup.Text
	attr  = markup.Attr
	group = markup.Group
)

// document puts a page between the head and foot of all pages.
func (p *panel) document(v view) string {
	mode := "Test"
	if p.Live {
		mode = "Live"
	}
	const find = "Reference, session or invoice"
	return markup.Document(el("html", attr("lang", "en"),
		el("head",
			el("meta", attr("charset", "utf-8")),
			el("meta", attr("name", "viewport"), attr("content", "width=device-width, initial-scale=1")),
			markup.When(v.refresh > 0, el("meta", attr("http-equiv", "refresh"), attr("content", strconv.Itoa(v.refresh)))),
			el("title", text(v.title+" · checkout operations")),
			el("link", attr("rel", "stylesheet"), attr("href", "/ops/ops.css"))),
		el("body",
			el("header",
				el("a", attr("class", "home"), attr("href", "/ops/"), text("Checkout operations")), text("\n"),
				el("span", attr("class", "mode "+strings.ToLower(mode)), text(mode)), text("\n"),
				el("form", attr("class", "find"), attr("action", "/ops/find"), attr("role", "search"),
					el("input", attr("type", "search"), attr("name", "q"), attr("value", v.query), attr("maxlength", strconv.Itoa(maxQuery)), attr("placeholder", find), attr("aria-label", find)), text("\n"),
					el("button", text("Find"))),
				el("nav", link("/ops/dead", "Given up"), text(" "), link("/ops/unclaimed", "Unclaimed"), text(" "), link("/ops/counters", "Counters"))),
			el("main", el("h1", text(v.title)), v.content),
			el("footer", text("wzrdcheckout "+p.Version+" · times are UTC")))))
}

func link(to, words string) markup.Node { return el("a", attr("href", to), text(words)) }

func sentence(words string) markup.Node { return el("p", text(words)) }

func quiet(words string) markup.Node { return el("p", attr("class", "quiet"), text(words)) }

func code(name string) markup.Node { return el("code", text(name)) }

func badge(word any, shown string) markup.Node {
	return el("span", attr("class", "badge "+tone(word)), text(shown))
}

func cell(content ...markup.Node) markup.Node { return el("td", group(content...)) }

// row is a term of a list and what it says.
func row(term string, content markup.Node) markup.Node {
	return group(el("dt", text(term)), el("dd", content))
}

// table scrolls sideways by itself where it does not fit.
func table[T any](heads []string, rows []T, draw func(T) markup.Node) markup.Node {
	return el("div", attr("class", "wide"), el("table",
		el("thead", el("tr", markup.Each(heads, func(head string) markup.Node { return el("th", text(head)) }))),
		el("tbody", markup.Each(rows, draw))))
}

func nextPage(path, after string) markup.Node {
	return markup.When(after != "", el("p", link(path+"?after="+url.QueryEscape(after), "Next page")))
}

func sessionLink(id string) markup.Node {
	return el("a", attr("href", "/ops/sessions/"+url.PathEscape(id)), code(id))
}

func homePage(tiles []tile, api bool) markup.Node {
	return group(
		el("section", attr("class", "tiles"), markup.Each(tiles, func(t tile) markup.Node {
			class := "tile"
			if t.Bad {
				class = "tile bad"
			}
			return el("div", attr("class", class), el("b", text(t.Value)), el("span", text(t.Label)))
		})),
		el("p", text("Type a reference, a session ("), code("cs_…"), text(") or an invoice above to see everything that was heard of a payment and every webhook about it.")),
		el("ul",
			el("li", link("/ops/dead", "Webhooks given up"), text(": the shop's server refused them for three days.")),
			el("li", link("/ops/unclaimed", "Unclaimed callbacks"), text(": signed by WZRDPAY, and of no session here.")),
			el("li", link("/ops/counters", "Counters"), text(" of this replica since it started.")),
			markup.When(api, el("li", link("/ops/api", "API"), text(": both planes, every operation and object.")))))
}

// notFound says that a search has found nothing; "" = what was looked for is too long to repeat.
func notFound(query string) view {
	name := text("that")
	if query != "" {
		name = code(query)
	}
	return view{title: "No payment found", query: query, status: http.StatusNotFound, content: el("p",
		text("No session has "), name, text(" as its id, its reference or an invoice of its. References are compared whole, capitals included."))}
}

func sessionPage(s checkout.Session, timeline []moment, events []event) markup.Node {
	mode, described := "live", ""
	if s.TestMode {
		mode = "test"
	}
	if s.Description != "" {
		described = " · " + s.Description
	}
	attempts := quiet("The shopper has not tried to pay.")
	if len(s.Attempts) > 0 {
		attempts = table([]string{"#", "Service", "Begun", "Invoice", "Status", "Resolution", "Updated"}, s.Attempts, attemptRow)
	}
	webhooks := quiet("There was nothing to tell the shop yet.")
	if len(events) > 0 {
		webhooks = table([]string{"Event", "State", "Attempts", "Next", ""}, events, func(e event) markup.Node {
			return el("tr", cell(text(e.Type), el("br"), code(e.ID)), cell(badge(e.State, title(e.State))), cell(sent(e.Attempts)), cell(text(utc(e.NextAt))), cell(again(e)))
		})
	}
	return group(
		el("p", attr("class", "lead"), badge(s.Status, title(s.Status)), text(" "), el("b", text(s.Amount.Format(s.Digits)+" "+s.Currency)), text(described)),
		el("dl",
			row("Session", code(s.ID)),
			row("Reference", code(s.ReferenceID)),
			row("Mode", text(mode)),
			row("Opened", text(utc(s.CreatedAt))),
			row("Ends", text(utc(s.ExpiresAt))),
			row("Revision", text(strconv.FormatInt(s.Revision, 10)))),
		el("section", el("h2", text("Attempts")), attempts),
		el("section", el("h2", text("Timeline")), el("ol", attr("class", "timeline"), markup.Each(timeline, func(m moment) markup.Node {
			tone := m.Tone
			if tone == "" {
				tone = "plain"
			}
			return el("li", attr("class", tone), el("time", text(utc(m.At))), text(" "), el("b", text(m.What)), text(" "), el("span", text(m.Detail)))
		}))),
		el("section", attr("id", "webhooks"), el("h2", text("Webhooks")), webhooks))
}

func attemptRow(a checkout.Attempt) markup.Node {
	begun := group(cell(text(strconv.Itoa(a.Number))), cell(text(a.Service)), cell(text(utc(a.CreatedAt))))
	if a.Invoice == nil {
		return el("tr", begun, el("td", attr("colspan", "4"), attr("class", "quiet"), text("being made")))
	}
	i := a.Invoice
	return el("tr", begun, cell(code(i.ID)), cell(badge(i.Status, i.Status)), cell(text(i.Resolution)), cell(text(utc(i.Updated))))
}

// sent lists the requests of a webhook.
func sent(attempts []Attempt) markup.Node {
	if len(attempts) == 0 {
		return quiet("none yet")
	}
	return el("ol", attr("class", "attempts"), markup.Each(attempts, func(a Attempt) markup.Node {
		return el("li", text(utc(a.At)+" · "+answer(a)+" · "+strconv.FormatInt(a.MS, 10)+" ms"))
	}))
}

// again is the form that sends a webhook once more.
func again(e event) markup.Node {
	return el("form", attr("method", "post"), attr("action", "/ops/events/"+url.PathEscape(e.ID)+"/redeliver"),
		el("input", attr("type", "hidden"), attr("name", "token"), attr("value", e.Token)),
		el("input", attr("type", "hidden"), attr("name", "session"), attr("value", e.Session)),
		el("button", text("Send again")))
}

func deadPage(events []event, next string) markup.Node {
	list := quiet("None. Every webhook was taken, or is still being tried.")
	if len(events) > 0 {
		list = table([]string{"Event", "Session", "Happened", "Attempts", ""}, events, func(e event) markup.Node {
			return el("tr", cell(text(e.Type), el("br"), code(e.ID)), cell(sessionLink(e.Session)), cell(text(e.Timestamp)), cell(sent(e.Attempts)), cell(again(e)))
		})
	}
	return group(list, nextPage("/ops/dead", next))
}

func unclaimedPage(claims []claim, next string) markup.Node {
	list := quiet("None.")
	if len(claims) > 0 {
		list = markup.Each(claims, claimBox)
	}
	return group(
		sentence("Signed callbacks that fit no session: another program uses the same account, or a session is older than the store keeps."),
		list, nextPage("/ops/unclaimed", next))
}

func claimBox(c claim) markup.Node {
	raw, mode := c.Raw, ""
	if c.Cut {
		raw += "\n…"
	}
	if c.Mode != "" {
		mode = " · " + c.Mode
	}
	return el("details",
		el("summary", code(c.Name), text(" "), el("span", attr("class", "badge mind"), text(title(c.Reason))), text(" "+utc(c.ReceivedAt)+mode)),
		markup.When(c.Session != "", el("p", text("It names the session "), sessionLink(c.Session), text("."))),
		markup.When(c.Problem != "", sentence(c.Problem)),
		el("pre", text(raw)))
}

func countersPage(groups []counters) markup.Node {
	return group(
		el("p", text("Of this replica, since it started; the page loads itself again every "+strconv.Itoa(countersRefresh)+" seconds. The same numbers, and histograms, are at "), code("/metrics"), text(".")),
		el("div", attr("class", "columns"), markup.Each(groups, func(g counters) markup.Node {
			return el("section", el("h2", text(title(g.Name))), el("table", markup.Each(g.Counters, func(c counter) markup.Node {
				return el("tr", el("th", attr("scope", "row"), text(c.Name), markup.When(c.Labels != "", group(text(" "), el("small", text(c.Labels))))), el("td", attr("class", "value"), text(c.Value)))
			})))
		})))
}
