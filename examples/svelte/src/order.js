// openOrder asks the shop's server for an order and its checkout session. The price is
// the server's: the browser never names an amount.
export async function openOrder() {
	const response = await fetch("/session", { method: "POST" });
	if (!response.ok) throw new Error("the shop could not open a session: " + response.status);
	return response.json(); // { order, base, session }
}
