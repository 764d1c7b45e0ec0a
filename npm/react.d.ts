import type { CSSProperties, DetailedHTMLProps, ForwardRefExoticComponent, HTMLAttributes, RefAttributes } from "react";
import type { CheckoutHandle, CheckoutProps } from "./attach.js";
import type { WzrdCheckoutElement } from "./checkout.js";

export type { CheckoutHandle } from "./attach.js";

export interface ReactCheckoutProps extends CheckoutProps {
	id?: string;
	className?: string;
	style?: CSSProperties;
}

/**
 * @example
 * <Checkout base="https://pay.shop.example" session={token} locale="uk" onStatus={({ status }) => setStatus(status)} />
 */
export declare const Checkout: ForwardRefExoticComponent<ReactCheckoutProps & RefAttributes<CheckoutHandle>>;

declare module "react" {
	namespace JSX {
		interface IntrinsicElements {
			"wzrd-checkout": DetailedHTMLProps<HTMLAttributes<WzrdCheckoutElement>, WzrdCheckoutElement> & {
				session?: string; locale?: string; theme?: string; layout?: string; redirect?: string;
				selected?: string; first?: string; hide?: string;
			};
		}
	}
}
