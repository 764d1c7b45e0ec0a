package sandbox

import (
	"html"
	"net/url"
	"strconv"
	"strings"
)

// markup is HTML of this source: only a constant converts to it by itself.
type markup string

// document is a page being written.
type document struct{ text strings.Builder }

// add writes markup. Each %s in it stands for a value, which is escaped; it stands in
// text or between the double quotes of an attribute, never in a bare one, a script or a
// style.
func (d *document) add(m markup, values ...string) {
	rest := string(m)
	for _, value := range values {
		before, after, _ := strings.Cut(rest, "%s")
		d.text.WriteString(before)
		d.text.WriteString(html.EscapeString(strings.ReplaceAll(strings.ToValidUTF8(value, "\uFFFD"), "\x00", "\uFFFD")))
		rest = after
	}
	d.text.WriteString(rest)
}

// page is the whole document: head, what body writes, foot.
func page(p pageData, body func(*document, pageData)) string {
	var d document
	d.add(`<!doctype html>
<html lang="%s">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>%s</title>
<link rel="stylesheet" href="%s/static/sandbox.css">
</head>
<body>
<p class="ribbon" role="note"><strong>Sandbox</strong> No real payment takes place here. Do not enter real card data.</p>
<main>
`, p.Lang, p.Title, p.Prefix)
	body(&d, p)
	d.add(`</main>
<footer>WZRDPAY sandbox: an emulator for development. <a href="%s/">What is this?</a></footer>
</body>
</html>
`, p.Prefix)
	return d.text.String()
}

// writeSum is what is paid to whom.
func writeSum(d *document, p pageData) {
	d.add(`<header class="sum">
<p class="shop">%s</p>
<p class="amount" id="amount">%s <span>%s</span></p>
`, p.Merchant, p.Amount, p.Currency)
	if p.ServiceAmount != "" {
		d.add(`<p class="other">You pay %s</p>
`, p.ServiceAmount)
	}
	if p.Description != "" {
		d.add(`<p class="about" id="description">%s</p>
`, p.Description)
	}
	d.add("</header>\n")
}

func writeDetails(d *document, details []detail) {
	if len(details) == 0 {
		return
	}
	d.add("<dl>")
	for _, line := range details {
		d.add("<dt>%s</dt><dd>%s</dd>", line.Name, line.Value)
	}
	d.add("</dl>\n")
}

// writePay is the page of an invoice.
func writePay(d *document, p pageData) {
	writeSum(d, p)
	d.add(`<p class="method"><img src="%s" alt="" width="32" height="32"><span><strong>%s</strong><small>%s</small></span>`, p.Logo, p.Method, p.Service)
	if p.Left != "" {
		d.add(`<span class="left" id="left">%s left</span>`, p.Left)
	}
	d.add("</p>\n")
	if p.Problem != "" {
		d.add(`<p class="problem" id="problem" role="alert">%s`, p.Problem)
		if p.Attempts > 0 && p.State != "done" {
			d.add(" Attempt %s of %s.", strconv.Itoa(p.Attempts), strconv.Itoa(p.Limit))
		}
		d.add("</p>\n")
	}
	writeDetails(d, p.Fields)
	switch p.State {
	case "done":
		writeResult(d, p)
	case "challenge":
		d.add(`<section>
<h1>Confirm with your bank</h1>
<p>This stands for the bank's 3-D Secure page. A real one would ask for a code or for your app.</p>
<form method="post" action="%s/redirect/hpp/" class="row">
<input type="hidden" name="cpi" value="%s">
<button name="action" value="confirm" id="confirm" class="primary">Confirm</button>
<button name="action" value="refuse" id="refuse">Refuse</button>
</form>
</section>
`, p.Prefix, p.Invoice)
	case "card":
		writeCard(d, p)
		writeDecide(d, p)
	default:
		writeDecide(d, p)
	}
	d.add(`<p class="id">Invoice <code>%s</code></p>
`, p.Invoice)
}

func writeResult(d *document, p pageData) {
	heading := map[string]string{"success": "Payment received", "fail": "Payment not completed"}[p.Outcome]
	if heading == "" {
		heading = "Payment in part"
	}
	d.add(`<section class="result %s" id="result" data-status="%s">
<h1>%s</h1>
<p>Status <code id="status">%s</code>, resolution <code id="resolution">%s</code>.</p>
`, p.Outcome, p.Status, heading, p.Status, p.Resolution)
	if followable(p.Return) {
		d.add(`<p><a class="button" id="return" href="%s">Back to %s</a></p>
`, p.Return, p.Merchant)
	}
	d.add("</section>\n")
}

// followable tells whether a merchant's address may become a link: http or https.
func followable(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https")
}

func writeCard(d *document, p pageData) {
	d.add(`<section>
<h1>Pay by card</h1>
<form method="post" action="%s/redirect/hpp/" class="card" autocomplete="off">
<input type="hidden" name="cpi" value="%s">
<label class="wide">Card number <input name="number" id="number" inputmode="numeric" maxlength="23" required placeholder="5519 2838 1203 0000"></label>
<label>Expiry <input name="expiry" id="expiry" inputmode="numeric" maxlength="9" required placeholder="MM/YY"></label>
<label>CVV <input name="cvv" id="cvv" inputmode="numeric" maxlength="4" required placeholder="123"></label>
<label class="wide">Name on the card <input name="holder" id="holder" maxlength="100"></label>
<button name="action" value="card" id="pay-card" class="primary wide">Pay %s %s</button>
</form>
<details><summary>Test cards</summary>
<table><thead><tr><th>Number</th><th>3-D Secure</th><th>Outcome</th></tr></thead><tbody>
`, p.Prefix, p.Invoice, p.Amount, p.Currency)
	for _, card := range testCards {
		secure, outcome := "no", "refused, the expiry says why"
		if card.ThreeDS {
			secure = "yes"
		}
		if card.Good {
			outcome = "paid; expiry 07/77: stays pending"
		}
		d.add("<tr><td><code>%s</code></td><td>%s</td><td>%s</td></tr>\n", card.Number, secure, outcome)
	}
	d.add("</tbody></table>\n<p>Any CVV. Expiry dates of the refused cards: ")
	for i, trick := range expiryTricks {
		if i > 0 {
			d.add(", ")
		}
		d.add("<code>%s</code> %s", trick.Expiry, trick.Resolution)
	}
	d.add(`; any other: general_fatal_error. %s refused cards end the payment.</p>
</details>
</section>
`, strconv.Itoa(p.Limit))
}

// writeDecide is the form in which the tester decides what becomes of the payment.
func writeDecide(d *document, p pageData) {
	heading, pay := "Decide the outcome", "Pay"
	if p.State == "card" {
		heading = "Or decide the outcome"
	}
	if len(p.Details) > 0 {
		pay = "I have sent the money"
		d.add("<section><h1>Transfer details</h1>\n")
		writeDetails(d, p.Details)
		d.add("</section>\n")
	}
	d.add(`<section class="decide">
<h2>%s</h2>
<p class="hint">A provider's page would be here. In the sandbox you choose what happens.</p>
<form method="post" action="%s/redirect/hpp/">
<input type="hidden" name="cpi" value="%s">
<div class="row">
<button name="action" value="pay" id="pay" class="primary">%s</button>
<button name="action" value="pending" id="pending">Leave pending</button>
`, heading, p.Prefix, p.Invoice, pay)
	if p.Partly {
		d.add(`<button name="action" value="partial" id="partial">Pay a half</button>
`)
	}
	d.add(`</div>
<div class="row fail">
<label>Reason <select name="resolution" id="resolution">`)
	for _, resolution := range failResolutions {
		d.add("<option>%s</option>", resolution)
	}
	d.add(`</select></label>
<button name="action" value="fail" id="fail" class="danger">Fail</button>
</div>
</form>
</section>
`)
}

// writeOffers is the page on which the shopper chooses a service.
func writeOffers(d *document, p pageData) {
	writeSum(d, p)
	d.add("<h1>How do you want to pay?</h1>\n")
	if p.Problem != "" {
		d.add(`<p class="problem" id="problem" role="alert">%s</p>
`, p.Problem)
	}
	for _, o := range p.Offers {
		d.add(`<form method="post" action="%s/hpp/" class="offer">
`, p.Prefix)
		for _, hidden := range p.Hidden {
			d.add(`<input type="hidden" name="%s" value="%s">`, hidden.Name, hidden.Value)
		}
		d.add(`<input type="hidden" name="service" value="%s">
<p class="method"><img src="%s" alt="" width="32" height="32"><span><strong>%s</strong><small>%s</small></span><button class="primary" id="offer-%s">Choose</button></p>
`, o.Code, o.Logo, o.Method, o.Code, o.Code)
		for _, f := range o.Fields {
			star := ""
			if f.Required {
				star = " *"
			}
			d.add(`<label>%s%s <input name="service_fields[%s]" value="%s"`, f.Label[p.Lang], star, f.Key, o.Values[f.Key])
			if f.Required {
				d.add(" required")
			}
			d.add("><small>%s</small></label>\n", f.Hint[p.Lang])
		}
		d.add("</form>\n")
	}
}

// writeMessage says why there is nothing to pay.
func writeMessage(d *document, p pageData) {
	d.add(`<section class="result fail"><h1>%s</h1><p id="problem">%s</p></section>
`, p.Title, p.Problem)
}

// writeIndex is the first page of the server.
func writeIndex(d *document, p pageData) {
	d.add(`<h1>%s</h1>
<p>This server behaves like the WZRDPAY payment service, so that a checkout can be built and tested without an account. It keeps everything in memory, forgets it when it stops, and moves no money.</p>
<dl>
<dt>Public API</dt><dd><code>%s</code></dd>
<dt>Private API</dt><dd><code>%s</code></dd>
</dl>
`, p.Title, p.Public, p.Private)
	if len(p.Counts) > 0 {
		d.add("<h2>Requests so far</h2>\n<table><tbody>")
		for _, count := range p.Counts {
			name := count.Name
			if name == "" {
				name = "unknown route"
			}
			d.add("<tr><td>%s</td><td>%s</td></tr>", name, count.Value)
		}
		d.add("</tbody></table>\n")
	}
	d.add("<p>Invoices, history and misbehaviour are under <code>/_sandbox/</code> as JSON.</p>\n")
}
