// The border of the module that standard Go makes (wasm/edge_go.go), after Go's own
// runtime: it calls back with its dispatch function.
const connect = (response, ask) => new Promise((resolve, reject) => {
	globalThis.wzrdCheckoutEdge = { ask, ready: resolve };
	const go = new Go();
	response.then((r) => r.arrayBuffer()).then((b) => WebAssembly.instantiate(b, go.importObject)).then((m) => go.run(m.instance)).catch(reject);
});
