// The loader: no code of the widget is in this package. It comes from the shop's own BFF,
// so that widget and BFF are always of one build.

const loads = new Map(); // address of checkout.mjs → promise of the module
const pauses = [500, 2000]; // ms before the second and the third try

const nowhere = {
	mount() {
		throw new TypeError("wzrd-checkout: mount() needs a document");
	},
};

/** Loads `checkout.mjs` from a BFF, once per BFF. Nothing is fetched where there is no document. */
export function loadCheckout(base) {
	let address;
	try {
		address = resolve(base);
	} catch (err) {
		return Promise.reject(err);
	}
	if (typeof document == "undefined") return Promise.resolve(nowhere);
	let load = loads.get(address);
	if (!load) {
		load = attempt(address, 0);
		loads.set(address, load);
		load.catch(() => loads.delete(address)); // the next call tries again
	}
	return load;
}

function resolve(base) {
	const here = typeof document == "undefined" ? undefined : document.baseURI;
	let url;
	try {
		url = new URL("widget/v1/checkout.mjs", new URL(String(base).replace(/\/*$/, "/"), here));
	} catch { /* told below */ }
	// javascript: and data: would run what somebody else wrote.
	if (!base || !/^https?:$/.test(url?.protocol)) {
		throw Object.assign(new TypeError("wzrd-checkout: base must be the address of the BFF, got " + base), { code: "base" });
	}
	return url.href;
}

// Browsers may remember that an address could not be loaded, so every try has its own.
async function attempt(address, n) {
	try {
		return await import(/* @vite-ignore */ /* webpackIgnore: true */ /* turbopackIgnore: true */ n ? address + "?try=" + ++tries : address);
	} catch (err) {
		if (n == pauses.length) throw err;
		await new Promise((done) => setTimeout(done, pauses[n]));
		return attempt(address, n + 1);
	}
}

let tries = 0;
