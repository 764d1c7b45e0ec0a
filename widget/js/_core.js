// What both entries share: the document, the network, the clock. No decisions: those are
// in the module, which is asked with text and answers with text (widget/host.go).

%%include:wasm_exec.js%%

// ---- the document -------------------------------------------------------------------

const svg = "http://www.w3.org/2000/svg";
const marks = /[\u202a-\u202e\u2066-\u2069\ufeff]/g; // would turn the direction of what follows

const make = (tag, members) => Object.assign(document.createElement(tag), members);

const typed = (e) => e.localName == "input" && e.type != "radio" && e.type != "hidden";

const set = (e, pair) => {
	const i = pair.indexOf("="), name = i < 0 ? pair : pair.slice(0, i), value = i < 0 ? "" : pair.slice(i + 1);
	if (name == "value" && typed(e)) {
		if (e.value != value) e.value = value;
	} else if (name == "checked") e.checked = true;
	else e.setAttribute(name, value);
};

const unset = (e, name) => {
	if (name == "value" && typed(e)) e.value = "";
	else if (name == "checked") e.checked = false;
	else e.removeAttribute(name);
};

// build makes the tree, or the text, that begins at lines[at.i].
const build = (lines, at, parent) => {
	const first = lines[at.i++], tag = first.slice(1);
	if (first[0] == "'") return document.createTextNode(tag.replace(marks, ""));
	const e = document.createElementNS(tag == "svg" ? svg : (parent || document.documentElement).namespaceURI, tag);
	for (; at.i < lines.length;) {
		const line = lines[at.i];
		if (line[0] == "<" || line[1] && line[0] == "'") {
			e.append(build(lines, at, e));
			continue;
		}
		at.i++;
		if (line == "/") break;
		if (line[0] == "@") set(e, line.slice(1));
	}
	return e;
};

// patch applies the ops of widget.Diff with a cursor that starts at the root.
const patch = (e, lines) => {
	const up = [];
	for (const at = { i: 0 }; at.i < lines.length;) {
		const line = lines[at.i++], rest = line.slice(1);
		switch (line[0]) {
			case ">": up.push(e); e = e.childNodes[rest]; break;
			case "^": e = up.pop(); break;
			case "@": set(e, rest); break;
			case "-": unset(e, rest); break;
			case "'": e.data = rest.replace(marks, ""); break;
			case "x": e.childNodes[rest].remove(); break;
			case "+": e.insertBefore(build(lines, at, e), e.childNodes[rest] || null);
		}
	}
};

// read writes down what stands in the document, with what was chosen and typed.
const read = (e, out) => {
	out.push("<" + e.localName);
	for (const a of e.attributes) if (a.name != "checked" && a.name != "open" && !(a.name == "value" ? typed(e) : a.name == "hidden" && e.localName == "img")) out.push("@" + a.name + "=" + line(a.value));
	if (typed(e) && e.value) out.push("@value=" + line(e.value));
	if (e.checked) out.push("@checked");
	for (const k of e.childNodes) k.localName ? read(k, out) : out.push("'" + line(k.data));
	out.push("/");
	return out;
};

const line = (text) => String(text).replace(/[\0-\x1f]+/g, " ");

// lines reads what widget.HTML writes, and nothing else. innerHTML would need a policy
// in pages with Trusted Types.
const lines = (html) => {
	const out = [], entity = { amp: "&", lt: "<", gt: ">", "#34": '"', "#39": "'" };
	const plain = (s) => line(s).replace(/&(amp|lt|gt|#34|#39);/g, (_, name) => entity[name]);
	for (const [, close, tag, attributes, text] of html.matchAll(/<(\/?)([a-z0-9]+)([^>]*)>|([^<]+)/g)) {
		if (text) out.push("'" + plain(text));
		else if (close) out.push("/");
		else {
			out.push("<" + tag);
			for (const [, name, value] of attributes.matchAll(/ ([a-zA-Z-]+)(?:="([^"]*)")?/g)) out.push("@" + name + "=" + plain(value || ""));
			if (/^(input|img)$/.test(tag)) out.push("/");
		}
	}
	return out;
};

// ---- the module ---------------------------------------------------------------------

const style = "%%text:widget.css%%";

const formats = {}; // each takes tens of milliseconds to make on a phone

const answers = {
	money(amount, currency, digits, locale) {
		const least = +digits, most = Math.max(least, (amount.split(".")[1] || "").length);
		const o = { style: "currency", currency };
		if (most) o.minimumFractionDigits = least || undefined, o.maximumFractionDigits = Math.max(most, 2);
		return (formats[[currency, least, most, locale]] ||= new Intl.NumberFormat(locale, o)).format(amount);
	},
	plural: (n, locale) => new Intl.PluralRules(locale).select(n),
	fold: (text) => text.trim().toLowerCase(),
	match(pattern, value) {
		if (/\([^)]*[+*}][^)]*\)[+*{]/.test(pattern)) return ""; // may take for ever; the BFF's engine can not
		return new RegExp(pattern, /\\p\{/.test(pattern) ? "u" : "").test(value) ? "1" : "0";
	},
};

const ask = (question) => {
	const [verb, ...words] = question.split("\n");
	try {
		return line(answers[verb](...words));
	} catch {
		return "";
	}
};

let engine; // one promise, and one module, for all widgets of the page

// ---- a widget -----------------------------------------------------------------------

const tag = "wzrd-checkout";
const base = new URL("../..", home).href.slice(0, -1);
const names = ["ready", "change", "submit", "redirect", "status", "error"];
const callback = (name) => "on" + name[0].toUpperCase() + name.slice(1);
const running = new Map(); // element → widget
let count = 0;

const create = (element, options, data) => {
	running.get(element)?.unmount();
	const module = engine ||= connect(fetch(new URL("%%asset:widget.wasm%%", home), { integrity: "%%integrity:widget.wasm%%" }), ask);
	module.catch(() => {}); // is looked at below
	const id = String(++count), ends = new AbortController(), fetches = {}, timers = {}, queue = [], early = [];
	let dispatch, token = options.session, socket, beside, skew = 0, left, word, heard, state = { step: "loading", status: "", revision: 0, service: "", complete: false, session: null }, done, handling;

	// The shadow root: declared in the markup, kept from a mount before, or new.
	const shadow = element.shadowRoot || element.attachShadow({ mode: "open" });
	let kept; // what the markup brought beside it: the answer of GET /v1/checkout when it was made
	for (const t of element.querySelectorAll(":scope > template")) t.hasAttribute("shadowrootmode") ? shadow.append(t.content) : kept = t.content.textContent, t.remove();
	const dressed = shadow.querySelector("link") || shadow.querySelector("style")?.sheet; // none where a policy forbids it
	let look = element.style; // of browsers that can not make style sheets
	try {
		const sheet = new CSSStyleSheet(), own = new CSSStyleSheet();
		own.insertRule(":host{}");
		if (!dressed) sheet.replaceSync(style);
		shadow.adoptedStyleSheets = [sheet, own];
		look = own.cssRules[0].style;
	} catch {
		if (!dressed) shadow.prepend(make("link", { rel: "stylesheet", href: new URL("%%name:widget.css%%", home) }));
	}
	let root = shadow.querySelector(".wz");
	const show = (list) => {
		const next = build(list, { i: 0 });
		root ? root.replaceWith(next) : shadow.append(next);
		root = next;
	};
	const bone = "<div\n@class=bone\n/\n";
	if (!root) show(("<div\n@class=wz\n@data-theme=" + line(options.appearance?.theme || "auto") + "\n<div\n@class=wait\n@aria-busy=true\n" + bone + bone + bone + bone + "/\n/").split("\n"));

	let worn = {};
	const variables = (v = {}) => {
		for (const name in worn) look.removeProperty("--wzrd-" + name);
		for (const name in worn = v) look.setProperty("--wzrd-" + name, v[name]);
	};
	variables(options.appearance?.variables);

	const tell = (name, detail, cancelable) => {
		const e = new CustomEvent("wzrd-" + name, { detail, bubbles: true, composed: true, cancelable });
		try {
			options[callback(name)]?.(detail);
		} catch (err) {
			setTimeout(() => { throw err; });
		}
		element.dispatchEvent(e);
		if (detail.code == "unknown_option") console.error("wzrd-checkout: " + detail.message);
		return !e.defaultPrevented;
	};

	// After a trap the module is of no use. What stands in the page is a form that works
	// without it, once nothing keeps it from being sent.
	const fall = (err) => {
		dispatch = null;
		done || stop();
		done = true;
		for (const e of shadow.querySelectorAll("[disabled],[aria-disabled]")) e.removeAttribute("disabled"), e.removeAttribute("aria-disabled");
		root.querySelector("form,.state") || show("<div\n@class=wz\n<p\n@class=none\n@role=alert\n'The checkout could not be loaded. Please reload the page.\n/\n/".split("\n"));
		console.error("wzrd-checkout:", err);
		tell("error", { code: "widget_failed", message: String(err), retryable: false });
	};

	// send hands one event to the module; what it answers is done after it has returned,
	// and events that this causes wait their turn.
	const send = (kind, name = "", code = 0, text = "", more = "") => {
		if (done) return;
		if (!dispatch) return void early.push([kind, name, code, text]); // update() and submit() before the module is here
		queue.push([id, kind, Date.now(), Math.random() * 0x7fffffff | 0, line(name), code, line(text)].join("\n") + "\n" + more);
		if (handling) return;
		handling = true;
		try {
			while (queue.length && !done) {
				for (const command of dispatch(queue.shift()).split("\x1e").slice(1)) {
					const [verb, ...words] = command.split("\n");
					verbs[verb](...words);
				}
			}
		} catch (err) {
			fall(err);
		}
		handling = false;
	};

	const request = (name, method, path, key, body) => {
		const controller = fetches[name] = new AbortController();
		const headers = { Authorization: "Bearer " + token };
		if (key) headers["Idempotency-Key"] = key;
		if (body) headers["Content-Type"] = "application/json";
		const late = setTimeout(() => controller.abort(), 40000);
		return fetch(base + path, { method, headers, body, signal: controller.signal, credentials: "omit", cache: "no-store" })
			.then(async (r) => {
				skew ||= Date.parse(r.headers.get("date")) - Date.now() || 0;
				return [r.status, await r.text()];
			}).catch(() => [0, ""])
			.then((answer) => {
				clearTimeout(late);
				if (fetches[name] == controller) return answer; // else it was given up
			});
	};

	const go = (target, method, url, params) => {
		if (method == "GET") return target ? target.location.replace(url) : location.assign(url);
		const form = make("form", { method: "post", action: url, hidden: true });
		if (target) form.target = "wzrd" + id;
		for (const [name, value] of Object.entries(JSON.parse(params))) form.append(make("input", { type: "hidden", name, value }));
		document.body.append(form);
		form.submit();
		form.remove();
	};

	const verbs = {
		patch(...ops) {
			const had = shadow.activeElement;
			patch(root, ops);
			tick(); // a countdown that came with it must not push the rest a second later
			if (had && !shadow.activeElement) shadow.getElementById("state")?.focus();
		},
		fetch(name, method, path, key, body) {
			verbs.abort(name);
			request(name, method, path, key, body).then((answer) => answer && send("answer", name, answer[0], answer[1]));
		},
		abort(name) {
			const controller = fetches[name];
			delete fetches[name];
			controller?.abort();
		},
		socket(path) {
			verbs.hang();
			let s;
			try {
				s = socket = new WebSocket(base.replace(/^http/, "ws") + path, "checkout.v1");
			} catch {
				return send("closed", "", 1006);
			}
			s.onopen = () => s == socket && send("opened");
			s.onmessage = (e) => s == socket && send("frame", "", 0, e.data);
			s.onclose = (e) => s == socket && (socket = null, send("closed", "", e.code));
		},
		send: (text) => socket?.readyState == 1 && socket.send(text),
		hang() {
			const s = socket;
			socket = null;
			s?.close();
		},
		timer(name, ms) {
			clearTimeout(timers[name]);
			if (ms >= 0) timers[name] = setTimeout(send, ms, "timer", name);
		},
		window(mode) {
			verbs.shut();
			beside = open("", "wzrd" + id, mode == "popup" ? "popup,width=480,height=760" : "");
		},
		shut() {
			beside?.close();
			beside = null;
		},
		redirect(mode, method, url, params) {
			const target = beside && !beside.closed ? beside : null; // blocked or closed: this page goes
			beside = null;
			if (target) target.opener = null;
			go(target, method, url, params);
		},
		host: (name, detail) => tell(name, JSON.parse(detail)),
		state: (detail) => state = JSON.parse(detail),
		focus(name) {
			const e = shadow.getElementById(name);
			e?.focus();
			reveal(e, ".field");
		},
		reload: () => location.reload(),
		restart: (detail) => tell("error", JSON.parse(detail), true) && location.reload(),
	};

	const reveal = (e, what) => e?.closest(what)?.scrollIntoView({ block: "nearest" });

	// How much time is left, by the BFF's clock.
	const tick = () => {
		for (const e of shadow.querySelectorAll("[data-end]")) {
			const s = Math.ceil(e.dataset.end - (Date.now() + skew) / 1000);
			const minute = s / 60 | 0, text = s > 0 && s < (e.closest(".state") ? 3600 : 900) ? e.dataset.text.replace("{time}", minute + ":" + `${s % 60}`.padStart(2, 0)) : "";
			e.textContent = text;
			if (text && minute != left && (minute == 4 || !minute)) send("say", "", 0, text); // heard twice, not each second
			left = minute;
		}
	};

	const stop = () => {
		ends.abort();
		verbs.hang();
		for (const name in timers) clearTimeout(timers[name]);
		for (const name in fetches) verbs.abort(name);
	};

	const listen = () => {
		const on = (target, kind, f, capture) => target.addEventListener(kind, f, { signal: ends.signal, capture });
		on(shadow, "change", (e) => {
			if (e.target.name != "service") return;
			send("choose", e.target.value);
			reveal(e.target, ".row");
		});
		on(shadow, "input", (e) => typed(e.target) && send("input", e.target.name, 0, e.target.value));
		on(shadow, "focusout", (e) => typed(e.target) && send("blur", e.target.name));
		on(shadow, "keydown", (e) => {
			const { name } = e.target, { key } = e;
			if (name == "query" && key == "Enter") e.preventDefault();
			if (name != "service" || key.length > 1 || key == " " || e.ctrlKey || e.metaKey || e.altKey) return;
			word = (e.timeStamp - heard < 1000 ? word : "") + key.toLowerCase(); // typing jumps to a name
			heard = e.timeStamp;
			for (const row of shadow.querySelectorAll(".row:not([hidden])")) if (row.querySelector(".name").textContent.toLowerCase().startsWith(word)) {
				row.firstChild.focus();
				row.firstChild.click();
				break;
			}
		});
		on(shadow, "submit", (e) => {
			e.preventDefault();
			e.target.className == "resume" ? send("act", "continue") : send("submit");
		});
		on(shadow, "click", (e) => {
			const button = e.target.closest?.("[data-act]");
			if (button) send("act", button.dataset.act);
		});
		on(document, "visibilitychange", () => send(document.visibilityState));
		on(window, "online", () => send("online"));
		on(window, "pageshow", (e) => e.persisted && send("show"));
	};
	// A picture that does not come leaves the sign that is drawn under it.
	shadow.addEventListener("error", (e) => e.target.hidden = true, { signal: ends.signal, capture: true });

	const plain = { ...options, base };
	for (const name of names) delete plain[callback(name)];
	const settings = JSON.stringify(plain, (_, v) => typeof v == "function" ? true : v);

	(async () => {
		const path = "/v1/checkout" + (options.locale ? "?locale=" + encodeURIComponent(options.locale) : "");
		if (data) kept = JSON.stringify(data);
		const answer = await (kept ? [200, kept] : request("load", "GET", path));
		if (done || !answer) return;
		try { // before the module is here
			const { html, session, locale } = JSON.parse(answer[1]);
			if (html && !root.querySelector("form")) show(lines(html));
			setTimeout(ask, 50, ["money", session.amount, session.currency, 2, locale].join("\n")); // after that is painted
		} catch { /* the module will say what is wrong */ }
		dispatch = await module;
		if (done) return;
		listen();
		send("mount", "", 0, settings, read(root, []).join("\n"));
		send("load", "", answer[0], answer[1]);
		for (const event of early) send(...event);
		if (kept && !data) timers.load = setTimeout(verbs.fetch, 500, "load", "GET", path); // the page may be older than it looks
		timers.tick = setInterval(tick, 1000);
		tick();
	})().catch((err) => done || fall(err));

	const widget = {
		update(change, more) {
			let { session, appearance } = change;
			if (session) token = session;
			if (appearance) {
				appearance = { theme: "", layout: options.layout || "", ...more && options.appearance, ...appearance };
				change = { ...change, appearance };
				variables(appearance.variables);
			}
			Object.assign(options, change);
			send("update", "", 0, JSON.stringify(change));
		},
		submit: () => send("submit"),
		get state() {
			return state;
		},
		unmount() {
			if (running.get(element) == widget) running.delete(element);
			if (dispatch && !done) try {
				dispatch(id + "\nunmount\n0\n0\n\n0\n");
			} catch { /* nothing of it is shown any more */ }
			if (!done) stop();
			done = true;
			shadow.replaceChildren();
			shadow.adoptedStyleSheets = [];
			if (element.localName != tag || element.dataset.mounted != null) element.remove();
		},
	};
	running.set(element, widget);
	return widget;
};

// ---- the doors ----------------------------------------------------------------------

const mount = (target, options = {}, data) => {
	const place = typeof target == "string" ? document.querySelector(target) : target;
	if (!place) throw new TypeError("WzrdCheckout.mount: there is no element " + target);
	if (!options.session) throw new TypeError("WzrdCheckout.mount: session is missing");
	define();
	if (place.localName == tag) return create(place, { ...options }, data);
	for (const old of place.children) running.get(old)?.unmount();
	const element = make(tag);
	element.dataset.mounted = "";
	place.replaceChildren(element);
	return create(element, { ...options }, data);
};

// define makes <wzrd-checkout>, once for all copies of this script.
const define = () => {
	if (customElements.get(tag)) return;
	customElements.define(tag, class extends HTMLElement {
		static observedAttributes = ["session", "locale", "theme", "layout"];

		connectedCallback() {
			this.on = true;
			if (this.dataset.mounted == null && !running.has(this) && this.getAttribute("session")) create(this, settings((name) => this.getAttribute(name)));
		}

		disconnectedCallback() {
			queueMicrotask(() => this.isConnected || running.get(this)?.unmount()); // not when it was only moved
		}

		attributeChangedCallback(name, old, value) {
			if (old == value || !this.on || !this.isConnected) return; // what the markup has, connectedCallback reads
			const widget = running.get(this), change = { [name]: value || "" };
			if (!widget) this.connectedCallback();
			else widget.update(name == "theme" || name == "layout" ? { appearance: change } : change, true);
		}

		get checkout() {
			return running.get(this);
		}

		get session() {
			return this.getAttribute("session");
		}

		set session(value) {
			this.setAttribute("session", value);
		}

		get locale() {
			return this.getAttribute("locale");
		}

		set locale(value) {
			this.setAttribute("locale", value);
		}
	});
};

// settings reads the options that can stand in markup: attributes of the element, data
// attributes of the script tag.
const settings = (get) => {
	const options = {}, appearance = {};
	for (const name of ["session", "locale", "redirect", "selected"]) if (get(name)) options[name] = get(name);
	for (const name of ["first", "hide"]) if (get(name)) options[name] = get(name).split(/[\s,]+/);
	for (const name of ["theme", "layout"]) if (get(name)) appearance[name] = get(name);
	if (get("hosted") != null) options.hosted = true;
	return { ...options, appearance };
};
