import type { Action } from "svelte/action";
import { checkout, type CheckoutProps } from "@wzrdcheckout/widget/svelte";

// It is what use: takes.
export const action: Action<HTMLElement, CheckoutProps> = checkout;

const { update, destroy } = checkout(document.createElement("div"), { base: undefined, session: undefined });
update({ base: "https://pay.shop.example", session: "token", locale: "uk", onStatus: ({ status }) => console.log(status === "paid") });
destroy();

// @ts-expect-error a session is needed
update({ base: "https://pay.shop.example" });
// @ts-expect-error no such option
update({ base: "https://pay.shop.example", session: "token", theme: "dark" });
