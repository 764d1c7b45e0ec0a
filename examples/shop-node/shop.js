// A shop's server on Node: opens checkout sessions, shows a page with the widget, hears
// webhooks and fulfils each order exactly once.
import { createServer } from "node:http";
import { randomBytes } from "node:crypto";
import { mkdir, open, readFile, rename } from "node:fs/promises";
import { Webhook } from "standardwebhooks";

const { BFF_API, BFF_PUBLIC_URL, MERCHANT_KEY, WEBHOOK_SECRET, PORT = "3000", ORDERS = "orders" } = process.env;
for (const [name, value] of Object.entries({ BFF_API, BFF_PUBLIC_URL, MERCHANT_KEY, WEBHOOK_SECRET })) {
	if (!value) throw new Error(name + " is not set");
}
const home = process.env.SHOP_URL || "http://localhost:" + PORT;
const webhook = new Webhook(WEBHOOK_SECRET);

// ---- orders: one file each, replaced as a whole; a shop has a database

const path = (reference) => `${ORDERS}/${reference}.json`;

async function load(reference) {
	if (!/^[A-Za-z0-9._-]{1,64}$/.test(reference)) return null;
	try {
		return JSON.parse(await readFile(path(reference), "utf8"));
	} catch (err) {
		if (err.code === "ENOENT") return null;
		throw err;
	}
}

async function save(order) {
	const file = await open(path(order.reference) + ".new", "w");
	try {
		await file.writeFile(JSON.stringify(order));
		await file.sync();
	} finally {
		await file.close();
	}
	await rename(path(order.reference) + ".new", path(order.reference));
}

// One change of orders at a time: each waits for the one before.
let turn = Promise.resolve();
function change(work) {
	const mine = turn.then(work);
	turn = mine.catch(() => {});
	return mine;
}

async function newOrder() {
	const order = { reference: "order-" + randomBytes(8).toString("hex"), amount: 39.0, currency: "EUR", status: "open", revision: 0, fulfilled: 0, events: [] };
	await change(() => save(order));
	return order;
}

// ---- the BFF

// openSession is safe to repeat: the same reference and body give the same session.
async function openSession(order) {
	const response = await fetch(BFF_API + "/v1/sessions", {
		method: "POST",
		headers: { Authorization: "Bearer " + MERCHANT_KEY, "Content-Type": "application/json" },
		body: JSON.stringify({
			reference_id: order.reference,
			amount: order.amount,
			currency: order.currency,
			description: "Lamp Kobza",
			return_url: `${home}/?order=${order.reference}`,
		}),
		signal: AbortSignal.timeout(10_000),
	});
	if (!response.ok) throw new Error(`open session: ${response.status} ${await response.text()}`);
	return response.json();
}

// hear applies one webhook. What the event does and that it was heard are written in one
// step, so that it counts once, however often it comes and wherever the shop crashes.
function hear(id, event) {
	return change(async () => {
		const order = await load(event.data.reference_id);
		if (!order || order.events.includes(id)) return;
		order.events.push(id);
		if (event.data.revision > order.revision) {
			order.revision = event.data.revision;
			order.status = event.data.status;
		}
		if (event.type === "session.paid" && !order.fulfilled) {
			order.fulfilled++; // whoever packs lamps reads this
			console.log("fulfil " + order.reference);
		}
		await save(order);
	});
}

// ---- HTTP

async function body(request) {
	const chunks = [];
	let size = 0;
	for await (const chunk of request) {
		size += chunk.length;
		if (size > 1 << 20) throw new Error("body too large");
		chunks.push(chunk);
	}
	return Buffer.concat(chunks).toString("utf8");
}

const escape = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt()};`);

function page(order, session) {
	return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Lamp shop</title>
<h1>Lamp “Kobza”, €39.00</h1>
<p>Order ${escape(order.reference)}: ${escape(order.status)}</p>
<div id="pay"></div>
<script async src="${escape(BFF_PUBLIC_URL)}/widget/v1/checkout.js" data-session="${escape(session.token)}" data-target="#pay"></script>
</html>`;
}

async function answer(request, response) {
	const url = new URL(request.url, home);
	const send = (status, type, text) => response.writeHead(status, { "Content-Type": type, "Cache-Control": "no-store" }).end(text);
	const json = (value) => send(200, "application/json", JSON.stringify(value));
	switch (request.method + " /" + url.pathname.split("/")[1]) {
	case "GET /": {
		const order = await load(url.searchParams.get("order") ?? "") ?? await newOrder();
		return send(200, "text/html; charset=utf-8", page(order, await openSession(order)));
	}
	case "POST /session": { // for pages built apart: examples/react, vue, svelte, html
		const order = await newOrder();
		return json({ order: order.reference, base: BFF_PUBLIC_URL, session: (await openSession(order)).token });
	}
	case "GET /orders": {
		const order = await load(url.pathname.split("/")[2] ?? "");
		return order ? json({ order: order.reference, status: order.status, fulfilled: order.fulfilled }) : send(404, "text/plain", "no such order\n");
	}
	case "POST /webhook": {
		const text = await body(request);
		let event;
		try {
			event = webhook.verify(text, request.headers);
		} catch {
			return send(401, "text/plain", "not signed by the BFF\n");
		}
		await hear(request.headers["webhook-id"], event); // throws → 500 → the BFF sends it again
		return send(204, "text/plain");
	}
	}
	send(404, "text/plain", "not found\n");
}

await mkdir(ORDERS, { recursive: true });
const server = createServer((request, response) => {
	answer(request, response).catch((err) => {
		console.error(err.message);
		if (!response.headersSent) response.writeHead(500, { "Content-Type": "text/plain" });
		response.end("the shop has a problem\n");
	});
});
server.listen(PORT, () => console.log("shop on " + home));
process.on("SIGTERM", () => server.close(() => process.exit(0)));
