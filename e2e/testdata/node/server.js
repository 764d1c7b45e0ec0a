// What a server that renders pages does with the package; it has no window.
import { strict as assert } from "node:assert";
import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { createSSRApp, h } from "vue";
import { renderToString as renderVue } from "vue/server-renderer";
import { loadCheckout } from "@wzrdcheckout/widget";
import { Checkout as ReactCheckout } from "@wzrdcheckout/widget/react";
import { checkout } from "@wzrdcheckout/widget/svelte";
import { Checkout as VueCheckout } from "@wzrdcheckout/widget/vue";
import api, { mount } from "./checkout.mjs";

assert.equal(typeof window, "undefined");
assert.equal(typeof document, "undefined");

// The loader: nothing is fetched, and only mount() is refused.
globalThis.fetch = () => assert.fail("something was fetched");
const { mount: nowhere } = await loadCheckout("https://pay.shop.example");
assert.throws(() => nowhere("#pay", { session: "token" }), /needs a document/);
await assert.rejects(loadCheckout(undefined), /base must be/);
await assert.rejects(loadCheckout(null), /base must be/);
await assert.rejects(loadCheckout("pay.shop.example"), /base must be/);

// Without base and session, and with them, a place for the widget is all there is.
const props = { base: "https://pay.shop.example", session: "token" };
assert.equal(renderToString(createElement(ReactCheckout, { id: "pay", ...props })), '<div id="pay"></div>');
assert.equal(renderToString(createElement(ReactCheckout, { base: undefined, session: null })), "<div></div>");
assert.equal(await renderVue(createSSRApp({ render: () => h(VueCheckout, props) })), "<div></div>");
assert.equal(typeof checkout, "function");

// The module of the BFF itself.
assert.equal(typeof mount, "function");
assert.equal(api.mount, mount);

console.log("all of it");
