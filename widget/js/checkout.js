// The script tag: <script async src="…/widget/v1/checkout.js" data-session="…" data-target="#pay">.
// With data-session it mounts there; always it defines <wzrd-checkout> and window.WzrdCheckout.
(() => {
	const script = document.currentScript || document.querySelector('script[src*="/widget/v1/checkout.js"]');
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
		let place = document.querySelector(target || tag + ":not([session])");
		if (target && !place && document.readyState == "loading") return document.addEventListener("DOMContentLoaded", start, { once: true });
		if (!target && !place) script.after(place = make("div"));
		api.mount(place || target, options, data); // which says so when there is no such element
	};
	start();
})();
