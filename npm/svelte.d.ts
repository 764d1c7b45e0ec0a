import type { CheckoutProps } from "./attach.js";

export type { CheckoutProps } from "./attach.js";

/**
 * A Svelte action.
 *
 * @example
 * <div use:checkout={{ base: "https://pay.shop.example", session: token, locale: "uk", onStatus: ({ status }) => show(status) }}></div>
 */
export declare function checkout(node: HTMLElement, props: CheckoutProps): {
	update(props: CheckoutProps): void;
	destroy(): void;
};
