package demo

import "wzrdcheckout/internal/markup"

// checkoutPage is the shop's one page: what is bought, the one script tag of the widget,
// and what the shop's server hears.
type checkoutPage struct {
	Order  *order
	Widget string // public plane as the browser sees it
	Token  string // of the session
	Hosted string // the session's page without JavaScript
	Theme  string // auto, light or dark
}

// The builder's words, short: the page below is little else.
var (
	el   = markup.Element
	text = markup.Text
	attr = markup.Attr
	flag = markup.Flag
)

func (p checkoutPage) document() string {
	const lamp = "/shop/page/lamp.svg"
	return markup.Document(el("html", attr("lang", p.Order.Locale), attr("data-theme", p.Theme),
		el("head",
			el("meta", attr("charset", "utf-8")),
			el("meta", attr("name", "viewport"), attr("content", "width=device-width, initial-scale=1")),
			el("title", text("Kobza Lamps · checkout")),
			el("link", attr("rel", "stylesheet"), attr("href", "/shop/page/shop.css")),
			el("link", attr("rel", "icon"), attr("href", lamp), attr("type", "image/svg+xml"))),
		el("body",
			el("header",
				el("a", attr("class", "brand"), attr("href", "/"), picture(lamp, "", "28"), text(" Kobza Lamps")),
				el("nav", attr("aria-label", "Try the demo with"),
					el("span", markup.Each([]string{"EUR", "USD", "UAH"}, func(currency string) markup.Node {
						return p.choice(currency, currency, p.Order.Locale, currency == p.Order.Product.Currency)
					})), text("\n"),
					el("span", markup.Each([]string{"en", "uk", "ru"}, func(locale string) markup.Node {
						return p.choice(locale, p.Order.Product.Currency, locale, locale == p.Order.Locale)
					})))),
			el("main",
				el("section", attr("class", "product"), attr("aria-labelledby", "product"),
					el("div", attr("class", "picture"), picture(lamp, "A table lamp with a linen shade on an oak foot", "220")),
					el("h1", attr("id", "product"), text("Lamp “Kobza”")),
					el("p", text("Oak and linen, warm white, 31 cm. Made in Lviv.")),
					el("dl",
						el("div", el("dt", text("Order")), el("dd", text(p.Order.Reference))),
						el("div", el("dt", text("Total")), el("dd", attr("class", "price"), text(p.Order.Product.Price))))),
				el("section", attr("class", "pay"), attr("aria-labelledby", "how"),
					el("h2", attr("id", "how"), text("Payment")),
					el("div", attr("id", "pay")),
					el("script", flag("async"), attr("src", p.Widget+"/widget/v1/checkout.js"),
						attr("data-session", p.Token), attr("data-target", "#pay"), attr("data-theme", p.Theme)),
					el("noscript", el("p", text("Your browser runs no JavaScript: "), el("a", attr("href", p.Hosted), text("pay on the payment page")), text(".")))),
				el("aside", attr("aria-labelledby", "behind"),
					el("h2", attr("id", "behind"), text("What you are looking at")),
					el("p", text("This page is the shop: its server opened a checkout session for the order with one call, and put one script tag into the page. The payment form is the widget; it talks to the BFF only, and the BFF alone holds the keys to WZRDPAY, which is played here by a sandbox with play money. Pay, and the signed callback is stored, pushed to the form above and sent on to the shop, where it appears below.")),
					el("h3", text("What the shop's server has heard")),
					el("ol", attr("id", "heard"), attr("data-order", p.Order.Reference), attr("aria-live", "polite"),
						el("li", attr("class", "none"), text("Nothing yet: no payment was started."))))),
			el("script", attr("src", "/shop/page/shop.js"), flag("defer")))))
}

// choice leads to the same page with another currency or locale.
func (p checkoutPage) choice(shown, currency, locale string, current bool) markup.Node {
	return el("a", attr("href", "/?currency="+currency+"&locale="+locale+"&theme="+p.Theme), markup.When(current, attr("aria-current", "true")), text(shown))
}

func picture(src, alt, size string) markup.Node {
	return el("img", attr("src", src), attr("alt", alt), attr("width", size), attr("height", size))
}
