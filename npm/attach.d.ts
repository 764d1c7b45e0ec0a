import type { Checkout, Options } from "./checkout.js";

/** What every wrapper takes: the options of `mount()`, and where the widget comes from. */
export interface CheckoutProps extends Omit<Options, "session"> {
	/** `BFF_PUBLIC_URL`, e.g. `https://pay.shop.example`. */
	base: string | null | undefined;
	/** The session's token; nothing is shown until it is there. */
	session: string | null | undefined;
}

/** What a component gives through its `ref`. */
export interface CheckoutHandle {
	/** What the pay button does. */
	submit(): void;
	/** As `state` of `mount()`; null while the widget is being loaded. */
	readonly state: Checkout["state"] | null;
}
