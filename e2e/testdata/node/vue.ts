import { h } from "vue";
import { Checkout, type CheckoutHandle } from "@wzrdcheckout/widget/vue";

export const tree = h(Checkout, {
	base: "https://pay.shop.example",
	session: "token",
	locale: "uk",
	layout: "list",
	appearance: { theme: "dark" },
	redirect: "self",
	selected: "payment_card_eur_hpp",
	first: ["payment_card_eur_hpp"],
	hide: [],
	onReady: ({ session }) => console.log(session.id),
	onStatus: ({ status }) => console.log(status === "paid"),
	onError: ({ code, field }) => console.log(code === "network", field),
});

// What a template's ref="pay" gives.
export function submit(pay: InstanceType<typeof Checkout>) {
	const handle: CheckoutHandle = pay;
	handle.submit();
	return pay.state?.step;
}

// @ts-expect-error no such layout
h(Checkout, { base: "https://pay.shop.example", session: "token", layout: "carousel" });
// @ts-expect-error no such status
h(Checkout, { base: "https://pay.shop.example", session: "token", onStatus: ({ status }) => status === "payed" });
