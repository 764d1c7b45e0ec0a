// What a page may write against checkout.d.ts, and what it may not.
import { mount, type Checkout, type ErrorCode, type Options, type Status, type WzrdCheckoutElement } from "./checkout.js";
import { loadCheckout } from "@wzrdcheckout/widget";

const all: Required<Options> = {
	session: "token",
	locale: "uk",
	appearance: { theme: "dark", layout: "grid", variables: { accent: "#0a7d5a", radius: "4px", "font-size": "18px" } },
	layout: "accordion",
	redirect: "manual",
	selected: "payment_card_eur_hpp",
	first: ["payment_card_eur_hpp"],
	hide: ["sepa_transfer_eur_hpp"],
	onReady: ({ session }) => console.log(session.amount.toFixed(session.digits), session.invoice?.status, session.attempts[0]?.service),
	onChange: ({ service, complete }) => console.log(service.length, complete === true),
	onSubmit: ({ service }) => console.log(service.length),
	onRedirect: ({ method, url, params }) => console.log(method === "GET", new URL(url), Object.keys(params)),
	onStatus: ({ status, revision, session }) => console.log(status === "paid", revision + session.revision),
	onError: ({ code, message, retryable, field }) => console.log(code === "network", message.length, retryable === true, field?.length),
};
const checkout: Checkout = mount("#pay", all);
checkout.update({ session: "other", locale: "en", appearance: { theme: "auto" } });
checkout.submit();
const step: "loading" | "error" | "ready" | "sending" | "redirecting" = checkout.state.step;
const status: Status | "" = checkout.state.status;
checkout.unmount();

mount(document.body, { session: "token" });
window.WzrdCheckout.mount("#pay", { session: "token" });

const { mount: loaded } = await loadCheckout("https://pay.shop.example");
loaded("#pay", { session: "token", onStatus: ({ status }) => console.log(status) });

const element: WzrdCheckoutElement = document.createElement("wzrd-checkout");
element.session = "token";
element.addEventListener("wzrd-status", (e) => console.log(e.detail.status));
element.addEventListener("wzrd-error", (e) => {
	if (e.detail.code === "session_expired") e.preventDefault();
});
element.checkout?.submit();

// Every code has an answer; a code that is new in the types makes this wrong.
export const answers: Record<ErrorCode, string> = {
	network: "", load_failed: "", session_invalid: "", session_expired: "", origin_not_allowed: "", no_methods: "",
	service_required: "", field_invalid: "", service_unavailable: "", payment_in_progress: "", rate_limited: "",
	payment_failed: "", redirect_invalid: "", unknown_option: "", widget_failed: "",
};

// @ts-expect-error a session is needed
mount("#pay", {});
// @ts-expect-error no such option
mount("#pay", { session: "token", theme: "dark" });
// @ts-expect-error no such layout
mount("#pay", { session: "token", layout: "carousel" });
// @ts-expect-error no such variable
mount("#pay", { session: "token", appearance: { variables: { acent: "red" } } });
// @ts-expect-error redirect is not for update()
checkout.update({ redirect: "tab" });
// @ts-expect-error state is to be read
checkout.state = null;
// @ts-expect-error no such status
export const wrong: Status = "payed";
// @ts-expect-error a base is needed
void loadCheckout();
export { step, status };
