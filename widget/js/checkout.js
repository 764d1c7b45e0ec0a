// The script tag: <script async src="…/widget/v1/checkout.js" data-session="…" data-target="#pay">.
// With data-session it mounts there; always it defines <wzrd-checkout> and window.WzrdCheckout.
(() => {
	const script = document.currentScript || [...document.scripts].find((s) => /\/widget\/v1\/checkout\.js/.test(s.src));
	const home = script.src;

	%%include:_core.js%%

	const api = window.WzrdCheckout ||= { mount };
	define();

	const given = new URL(home).searchParams.get("session");
	const data = self.WzrdCheckoutData?.[given];
	const options = settings((name) => script.dataset[name] ?? null);
	options.session ||= data?.token;
	if (!options.session) return;
	const start = () => {
		const { target } = script.dataset;
		const waiting = target ? document.querySelector(target) : document.querySelector(tag + ":not([session])");
		if (target && !waiting) {
			if (document.readyState == "loading") return document.addEventListener("DOMContentLoaded", start, { once: true });
			console.error("wzrd-checkout: data-target: there is no element " + target);
			return;
		}
		let place = waiting;
		if (!place) script.after(place = document.createElement("div"));
		api.mount(place, options, data);
	};
	start();
})();
