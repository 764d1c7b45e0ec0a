// The border of the module that TinyGo makes (wasm/edge_tinygo.go): text in, text out.
const connect = async (response, ask) => {
	const encoder = new TextEncoder(), decoder = new TextDecoder();
	let out;
	const bytes = (at, n) => new Uint8Array(out.memory.buffer, at >>> 0, n);
	const get = (at, n) => decoder.decode(bytes(at, n));
	const put = (text) => {
		const b = encoder.encode(text);
		bytes(out.room(b.length), b.length).set(b);
		return b.length;
	};
	const imports = {
		env: { ask: (at, n) => put(ask(get(at, n))) },
		wasi_snapshot_preview1: { random_get: (at, n) => (crypto.getRandomValues(bytes(at, n)), 0) },
	};
	const call = (message) => {
		const n = out.dispatch(put(message));
		return get(out.output(), n);
	};
	const start = (instance) => {
		out = instance.exports;
		out._initialize();
	};
	const { module, instance } = await WebAssembly.instantiate(await (await response).arrayBuffer(), imports);
	start(instance);
	let most = 12e6, renewing; // bytes; the module collects no garbage, it is started afresh instead
	return (message) => {
		const answer = call(message);
		if (out.memory.buffer.byteLength > most && !renewing) {
			renewing = WebAssembly.instantiate(module, imports).then((fresh) => {
				const saved = call("save");
				start(fresh);
				call("restore\n" + saved);
				most = out.memory.buffer.byteLength + 12e6;
				renewing = null;
			});
		}
		return answer;
	};
};
