import { attach } from "./attach.js";

/** A Svelte action: `<div use:checkout={{ base, session }}></div>`. */
export function checkout(node, props) {
	const widget = attach(node);
	widget.set(props ?? {});
	return {
		update: (next) => widget.set(next ?? {}),
		destroy: () => widget.end(),
	};
}
