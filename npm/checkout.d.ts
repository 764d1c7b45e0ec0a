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

/**
 * What `onError` can say; the list is closed.
 *
 * - `network`: no answer from the BFF; the shopper sees "try again".
 * - `load_failed`: the BFF answered, but not with a session.
 * - `session_invalid`: the token is not valid here, or may not pay.
 * - `session_expired`: the token or the session has ended; open a new session. The "start again"
 *   button says it too: call `preventDefault()` on the `wzrd-error` event to handle it, else the page reloads.
 * - `origin_not_allowed`: the page's origin is not in BFF_ALLOWED_ORIGINS.
 * - `no_methods`: nothing can pay this amount in this currency.
 * - `service_required`: submitted without a choice.
 * - `field_invalid`: a service field is wrong; `field` is the key of the first one.
 * - `service_unavailable`: the chosen service can not be used any more.
 * - `payment_in_progress`: another attempt is under way.
 * - `rate_limited`: too many tries.
 * - `payment_failed`: the payment could not be started.
 * - `redirect_invalid`: the BFF named an address that no browser should go to.
 * - `unknown_option`: `mount()` or `update()` got an option that does not exist; `field` names it.
 * - `widget_failed`: the module could not run; the plain form goes on working.
 */
export type ErrorCode =
	| "network" | "load_failed" | "session_invalid" | "session_expired" | "origin_not_allowed" | "no_methods"
	| "service_required" | "field_invalid" | "service_unavailable" | "payment_in_progress" | "rate_limited"
	| "payment_failed" | "redirect_invalid" | "unknown_option" | "widget_failed";

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
	/** `auto` (the default) follows the shopper's system. */
	theme?: "light" | "dark" | "auto";
	/** `list` (the default), `grid` of tiles, `accordion` of separate cards. */
	layout?: "list" | "grid" | "accordion";
	/** `{ accent: "#0a7d5a", radius: "4px" }` sets `--wzrd-accent` and `--wzrd-radius`. */
	variables?: Partial<Record<Variable, string>>;
}

/**
 * @example
 * mount("#pay", { session: token, locale: "uk", onStatus: ({ status }) => status === "paid" && thankYou() });
 */
export interface Options {
	/** The session's token, from `POST /v1/sessions` on the shop's server. */
	session: string;
	/** BCP 47; by default the session's, then the browser's language. */
	locale?: string;
	appearance?: Appearance;
	layout?: Appearance["layout"];
	/** Where the provider's page opens. `manual`: the page does it in `onRedirect`. */
	redirect?: "self" | "popup" | "tab" | "manual";
	/** Code of the service or method that is chosen at first. */
	selected?: string;
	/** Codes of services or methods to put first, in this order. */
	first?: string[];
	/** Codes of services or methods not to show. */
	hide?: string[];
	/** The list is there. Once per session. */
	onReady?(detail: ReadyDetail): void;
	/** Another service was chosen, or its fields became right or wrong. */
	onChange?(detail: ChangeDetail): void;
	/** The BFF is asked to pay now. */
	onSubmit?(detail: SubmitDetail): void;
	/** The shopper is sent to the provider; with `redirect: "manual"` it is on the page to do it. */
	onRedirect?(detail: RedirectDetail): void;
	/** At mount when the session is not `open`, then once per change. */
	onStatus?(detail: StatusDetail): void;
	onError?(detail: ErrorDetail): void;
}

export interface Checkout {
	/** What can change while it is mounted; what was typed stays. */
	update(change: { session?: string; locale?: string; appearance?: Appearance }): void;
	/** What the pay button does. */
	submit(): void;
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
	/** Takes everything away: nodes, listeners, socket, timers. */
	unmount(): void;
}

/**
 * Shows the checkout inside `target`, a selector or an element. A second call on the same
 * target replaces the first. Throws a TypeError when there is no such element or no session.
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
	interface HTMLElementEventMap {
		"wzrd-ready": CustomEvent<ReadyDetail>;
		"wzrd-change": CustomEvent<ChangeDetail>;
		"wzrd-submit": CustomEvent<SubmitDetail>;
		"wzrd-redirect": CustomEvent<RedirectDetail>;
		"wzrd-status": CustomEvent<StatusDetail>;
		"wzrd-error": CustomEvent<ErrorDetail>;
	}
}
