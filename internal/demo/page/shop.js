// Shows the webhooks of this order as the shop's server receives them.
const list = document.getElementById("heard");
new EventSource("/shop/heard?order=" + encodeURIComponent(list.dataset.order)).onmessage = (message) => {
	const { at, type, id } = JSON.parse(message.data);
	list.querySelector(".none")?.remove();
	const row = document.createElement("li");
	for (const [name, text] of [["time", at], ["code", type], ["small", id]]) {
		const part = document.createElement(name);
		part.textContent = text;
		row.append(part, " ");
	}
	row.dataset.type = type;
	list.append(row);
};
