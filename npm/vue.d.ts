import type { DefineComponent } from "vue";
import type { CheckoutHandle, CheckoutProps } from "./attach.js";
import type { ChangeDetail, ErrorDetail, ReadyDetail, RedirectDetail, StatusDetail, SubmitDetail } from "./checkout.js";

export type { CheckoutHandle } from "./attach.js";

/** The options of `mount()` without its callbacks, which are events here. */
export type VueCheckoutProps = Omit<CheckoutProps, "onReady" | "onChange" | "onSubmit" | "onRedirect" | "onStatus" | "onError">;

export type VueCheckoutEmits = {
	ready: (detail: ReadyDetail) => void;
	change: (detail: ChangeDetail) => void;
	submit: (detail: SubmitDetail) => void;
	redirect: (detail: RedirectDetail) => void;
	status: (detail: StatusDetail) => void;
	error: (detail: ErrorDetail) => void;
};

/**
 * @example
 * <Checkout base="https://pay.shop.example" :session="token" locale="uk" @status="({ status }) => show(status)" />
 */
export declare const Checkout: DefineComponent<VueCheckoutProps, CheckoutHandle, {}, {}, {}, {}, {}, VueCheckoutEmits>;
