/** Where a payment stands: the session's status (GET /v1/sessions). */
export type Status =
	| "open" | "creating" | "pending" | "paid" | "partially_paid" | "failed" | "expired" | "verified"
	| "refunding" | "refunded" | "partially_refunded" | "charged_back";

/** One observation of the WZRDPAY invoice; amounts are in major units, times Unix seconds. */
export interface Invoice {
	id: string;
	reference_id: string;
	service: string;
	status: string;
	resolution: string;
	amount: number;
	payment_amount: number | null;
	processed_amount: number | null;
	refunded_amount: number | null;
	currency: string;
	created: number;
	updated: number;
	expires_at?: number;
}

/** The checkout session as the page may see it: no customer, no metadata. */
export interface Session {
	id: string;
	status: Status;
	/** Grows by one with every change. */
	revision: number;
	reference_id: string;
	amount: number;
	currency: string;
	/** Decimals to show amounts with. */
	digits: number;
	test_mode: boolean;
	flow: "charge" | "verify";
	description: string;
	locale?: string;
	created_at: number;
	expires_at: number;
	invoice: Invoice | null;
	attempts: { number: number; reference_id: string; service: string; created_at: number; invoice: Invoice | null }[];
}

/** What `onError` can say; the list is closed. The shopper sees a calm text in each case. */
export type ErrorCode =
	/**
	 * No answer from the BFF; the shopper sees "try again".
	 * @example
	 * mount("#pay", { session: token, onError: ({ code }) => {
	 *   if (code === "network") setStatus("The connection is slow, please try again.");
	 * } });
	 */
	| "network"
	/**
	 * The BFF answered, but not with a session.
	 * @example
	 * mount("#pay", { session: token, onError: ({ code }) => {
	 *   if (code === "load_failed") report("the checkout did not load");
	 * } });
	 */
	| "load_failed"
	/**
	 * The token is not valid here, or may not pay.
	 * @example
	 * const checkout = mount("#pay", { session: token, onError: async ({ code }) => {
	 *   if (code === "session_invalid") checkout.update({ session: await newToken() });
	 * } });
	 */
	| "session_invalid"
	/**
	 * The token or the session has ended. The "start again" button says it too: call
	 * `preventDefault()` on the `wzrd-error` event to handle it, else the page is loaded again.
	 * @example
	 * const checkout = mount("#pay", { session: token, onError: async ({ code }) => {
	 *   if (code === "session_expired") checkout.update({ session: await newToken() });
	 * } });
	 */
	| "session_expired"
	/**
	 * The page's origin is not in BFF_ALLOWED_ORIGINS.
	 * @example
	 * mount("#pay", { session: token, onError: ({ code }) => {
	 *   if (code === "origin_not_allowed") report("add " + location.origin + " to BFF_ALLOWED_ORIGINS");
	 * } });
	 */
	| "origin_not_allowed"
	/**
	 * Nothing can pay this amount in this currency.
	 * @example
	 * mount("#pay", { session: token, onError: ({ code }) => {
	 *   if (code === "no_methods") setStatus("Please ask us for an invoice.");
	 * } });
	 */
	| "no_methods"
	/**
	 * Submitted without a choice.
	 * @example
	 * mount("#pay", { session: token, onError: ({ code }) => {
	 *   if (code === "service_required") setStatus("Choose how to pay first.");
	 * } });
	 */
	| "service_required"
	/**
	 * A service field is wrong; `field` is the key of the first one.
	 * @example
	 * mount("#pay", { session: token, onError: ({ code, field }) => {
	 *   if (code === "field_invalid") report("wrong field: " + field);
	 * } });
	 */
	| "field_invalid"
	/**
	 * The chosen service can not be used any more; the list is loaded again.
	 * @example
	 * mount("#pay", { session: token, onError: ({ code }) => {
	 *   if (code === "service_unavailable") setStatus("Please choose another way to pay.");
	 * } });
	 */
	| "service_unavailable"
	/**
	 * Another attempt is under way.
	 * @example
	 * mount("#pay", { session: token, onError: ({ code }) => {
	 *   if (code === "payment_in_progress") setStatus("A payment is under way already.");
	 * } });
	 */
	| "payment_in_progress"
	/**
	 * Too many tries.
	 * @example
	 * mount("#pay", { session: token, onError: ({ code }) => {
	 *   if (code === "rate_limited") setStatus("Please wait a minute.");
	 * } });
	 */
	| "rate_limited"
	/**
	 * The payment could not be started.
	 * @example
	 * mount("#pay", { session: token, onError: ({ code, message }) => {
	 *   if (code === "payment_failed") report("the payment did not start: " + message);
	 * } });
	 */
	| "payment_failed"
	/**
	 * The BFF named an address that no browser should go to.
	 * @example
	 * mount("#pay", { session: token, onError: ({ code }) => {
	 *   if (code === "redirect_invalid") report("the provider sent a bad address");
	 * } });
	 */
	| "redirect_invalid"
	/**
	 * `mount()` or `update()` got an option that does not exist; `field` names it.
	 * @example
	 * mount("#pay", { session: token, onError: ({ code, field }) => {
	 *   if (code === "unknown_option") report("no such option: " + field);
	 * } });
	 */
	| "unknown_option"
	/**
	 * The module could not run; the plain form goes on working.
	 * @example
	 * mount("#pay", { session: token, onError: ({ code, message }) => {
	 *   if (code === "widget_failed") report("is 'wasm-unsafe-eval' in the page's policy? " + message);
	 * } });
	 */
	| "widget_failed";

export interface ReadyDetail { session: Session }
export interface ChangeDetail { service: string; complete: boolean }
export interface SubmitDetail { service: string }
export interface RedirectDetail { method: "GET" | "POST"; url: string; params: Record<string, string> }
export interface StatusDetail { status: Status; revision: number; session: Session }
export interface ErrorDetail { code: ErrorCode; message: string; retryable: boolean; field?: string }

/** Names of the custom properties, without `--wzrd-`, that give the widget its look. */
export type Variable =
	| "accent" | "accent-text" | "text" | "muted" | "surface" | "field" | "line" | "line-strong" | "tint"
	| "danger" | "success" | "warning" | "radius" | "width" | "font" | "font-size";

export interface Appearance {
	/**
	 * `auto` (the default) follows the shopper's system.
	 * @example
	 * mount("#pay", { session: token, appearance: { theme: "dark" } });
	 */
	theme?: "light" | "dark" | "auto";
	/**
	 * `list` (the default), `grid` of tiles, `accordion` of separate cards.
	 * @example
	 * mount("#pay", { session: token, appearance: { layout: "accordion" } });
	 */
	layout?: "list" | "grid" | "accordion";
	/**
	 * Custom properties without their `--wzrd-`.
	 * @example
	 * mount("#pay", { session: token, appearance: { variables: { accent: "#0a7d5a", radius: "4px" } } });
	 */
	variables?: Partial<Record<Variable, string>>;
}

/**
 * @example
 * mount("#pay", { session: token, locale: "uk", onStatus: ({ status }) => status === "paid" && thankYou() });
 */
export interface Options {
	/**
	 * The session's token, from `POST /v1/sessions` on the shop's server.
	 * @example
	 * mount("#pay", { session: await newToken() });
	 */
	session: string;
	/**
	 * BCP 47; by default the session's, then the browser's language.
	 * @example
	 * mount("#pay", { session: token, locale: "de-AT" });
	 */
	locale?: string;
	/**
	 * Theme, layout and colours.
	 * @example
	 * mount("#pay", { session: token, appearance: { theme: "auto", layout: "grid", variables: { "font-size": "18px" } } });
	 */
	appearance?: Appearance;
	/**
	 * The same as `appearance.layout`.
	 * @example
	 * mount("#pay", { session: token, layout: "grid" });
	 */
	layout?: Appearance["layout"];
	/**
	 * Where the provider's page opens: in this page (`self`, the default), beside it, or `manual`:
	 * the page does it in `onRedirect`. A window that is blocked becomes `self`.
	 * @example
	 * mount("#pay", { session: token, redirect: "popup" });
	 */
	redirect?: "self" | "popup" | "tab" | "manual";
	/**
	 * Code of the service or method that is chosen at first.
	 * @example
	 * mount("#pay", { session: token, selected: "payment_card" });
	 */
	selected?: string;
	/**
	 * Codes of services or methods to put first, in this order.
	 * @example
	 * mount("#pay", { session: token, first: ["sepa_transfer", "payment_card"] });
	 */
	first?: string[];
	/**
	 * Codes of services or methods not to show.
	 * @example
	 * mount("#pay", { session: token, hide: ["bitcoin"] });
	 */
	hide?: string[];
	/**
	 * The list is there. Once per session.
	 * @example
	 * mount("#pay", { session: token, onReady: ({ session }) => setStatus("ready for " + session.reference_id) });
	 */
	onReady?(detail: ReadyDetail): void;
	/**
	 * Another service was chosen, or its fields became right or wrong.
	 * @example
	 * mount("#pay", { session: token, onChange: ({ service, complete }) => setStatus(complete ? service : "") });
	 */
	onChange?(detail: ChangeDetail): void;
	/**
	 * The BFF is asked to pay now.
	 * @example
	 * mount("#pay", { session: token, onSubmit: ({ service }) => report("pays with " + service) });
	 */
	onSubmit?(detail: SubmitDetail): void;
	/**
	 * The shopper is sent to the provider; with `redirect: "manual"` it is on the page to do it.
	 * @example
	 * mount("#pay", { session: token, redirect: "manual", onRedirect({ method, url, params }) {
	 *   if (method === "GET") openPage(url);
	 *   else report("POST " + Object.keys(params).join(", ") + " to " + url);
	 * } });
	 */
	onRedirect?(detail: RedirectDetail): void;
	/**
	 * At mount when the session is not `open`, then once per change. Deliver goods on the webhook, never on this.
	 * @example
	 * mount("#pay", { session: token, onStatus: ({ status }) => status === "paid" ? thankYou() : setStatus(status) });
	 */
	onStatus?(detail: StatusDetail): void;
	/**
	 * Something went wrong; each code of `ErrorCode` has an example of its own.
	 * @example
	 * mount("#pay", { session: token, onError: ({ code, message, retryable, field }) => report([code, message, retryable, field].join(" ")) });
	 */
	onError?(detail: ErrorDetail): void;
}

export interface Checkout {
	/**
	 * What can change while it is mounted; what was typed stays. An `appearance` takes the place of the whole one before:
	 * what it does not name goes back.
	 * @example
	 * const checkout = mount("#pay", { session: token });
	 * checkout.update({ locale: "uk", appearance: { theme: "dark" } });
	 */
	update(change: { session?: string; locale?: string; appearance?: Appearance }): void;
	/**
	 * What the pay button does.
	 * @example
	 * const checkout = mount("#pay", { session: token });
	 * document.querySelector("#buy")?.addEventListener("click", () => checkout.submit());
	 */
	submit(): void;
	/**
	 * Where it stands.
	 * @example
	 * const { step, service, complete } = mount("#pay", { session: token }).state;
	 * if (step === "ready" && complete) report(service);
	 */
	readonly state: {
		step: "loading" | "error" | "ready" | "sending" | "redirecting";
		status: Status | "";
		revision: number;
		/** Code of the chosen service, "" without a choice. */
		service: string;
		/** The chosen service's fields are right. */
		complete: boolean;
		session: Session | null;
	};
	/**
	 * Takes everything away: nodes, listeners, socket, timers.
	 * @example
	 * mount("#pay", { session: token }).unmount();
	 */
	unmount(): void;
}

/**
 * Shows the checkout inside `target`, a selector or an element. A second call on the same
 * target replaces the first. Throws a TypeError when there is no such element or no session.
 * @example
 * mount(document.body, { session: token });
 */
export declare function mount(target: string | Element, options: Options): Checkout;

declare const api: { mount: typeof mount };
export default api;

/** `<wzrd-checkout session="…" locale="uk">`; `checkout` is there once it is connected. */
export interface WzrdCheckoutElement extends HTMLElement {
	session: string | null;
	locale: string | null;
	readonly checkout: Checkout | undefined;
}

declare global {
	interface Window {
		WzrdCheckout: { mount: typeof mount };
	}
	interface HTMLElementTagNameMap {
		"wzrd-checkout": WzrdCheckoutElement;
	}
	/** Heard on the element, and on all around it: the events bubble out of shadow roots. */
	interface GlobalEventHandlersEventMap {
		/**
		 * What `onReady` is called with.
		 * @example
		 * document.addEventListener("wzrd-ready", ({ detail }) => setStatus(detail.session.currency));
		 */
		"wzrd-ready": CustomEvent<ReadyDetail>;
		/**
		 * What `onChange` is called with.
		 * @example
		 * document.addEventListener("wzrd-change", ({ detail }) => setStatus(detail.service));
		 */
		"wzrd-change": CustomEvent<ChangeDetail>;
		/**
		 * What `onSubmit` is called with.
		 * @example
		 * document.addEventListener("wzrd-submit", ({ detail }) => report(detail.service));
		 */
		"wzrd-submit": CustomEvent<SubmitDetail>;
		/**
		 * What `onRedirect` is called with.
		 * @example
		 * document.addEventListener("wzrd-redirect", ({ detail }) => report(detail.url));
		 */
		"wzrd-redirect": CustomEvent<RedirectDetail>;
		/**
		 * What `onStatus` is called with.
		 * @example
		 * document.addEventListener("wzrd-status", ({ detail }) => detail.status === "paid" && thankYou());
		 */
		"wzrd-status": CustomEvent<StatusDetail>;
		/**
		 * What `onError` is called with.
		 * @example
		 * document.addEventListener("wzrd-error", (event) => {
		 *   if (event.detail.code !== "session_expired") return report(event.detail.message);
		 *   event.preventDefault(); // else the page is loaded again
		 * });
		 */
		"wzrd-error": CustomEvent<ErrorDetail>;
	}
}
