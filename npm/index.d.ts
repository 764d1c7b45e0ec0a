import type { mount } from "./checkout.js";

export type {
	Appearance, ChangeDetail, Checkout, ErrorCode, ErrorDetail, Invoice, Options, ReadyDetail, RedirectDetail,
	Session, Status, StatusDetail, SubmitDetail, Variable, WzrdCheckoutElement,
} from "./checkout.js";

/** What `checkout.mjs` of the BFF exports. */
export interface CheckoutModule {
	mount: typeof mount;
}

/**
 * Loads the widget from your BFF: one promise per BFF, however often it is called. A load
 * that fails is tried three times, then rejects; the next call starts anew.
 *
 * Without a document, on a server, nothing is fetched and `mount()` throws.
 *
 * @param base `BFF_PUBLIC_URL`, e.g. `https://pay.shop.example`
 * @example
 * const { mount } = await loadCheckout("https://pay.shop.example");
 * const checkout = mount("#pay", { session: token });
 */
export declare function loadCheckout(base: string): Promise<CheckoutModule>;
