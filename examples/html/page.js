// A page without a framework and without a build: the widget comes from the BFF as a module.
const at = (id) => document.getElementById(id);

try {
	// The price is the server's: the browser never names an amount.
	const response = await fetch("/session", { method: "POST" });
	if (!response.ok) throw new Error("the shop could not open a session: " + response.status);
	const { order, base, session } = await response.json();
	at("order").textContent = order;

	const { mount } = await import(/* @vite-ignore */ base + "/widget/v1/checkout.mjs");
	let checkout;
	const show = () => {
		checkout = mount("#pay", {
			session,
			locale: at("language").value,
			onStatus: ({ status }) => at("status").textContent = status,
			onError: ({ message }) => at("problem").textContent = message,
		});
	};
	show();

	at("language").addEventListener("change", (e) => checkout?.update({ locale: e.target.value }));
	at("toggle").addEventListener("click", () => {
		if (checkout) {
			checkout.unmount();
			checkout = null;
		} else show();
		at("toggle").textContent = checkout ? "Pay later" : "Pay now";
	});
} catch (err) {
	at("problem").textContent = err.message;
}
