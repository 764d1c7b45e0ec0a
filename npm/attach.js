// What the wrappers share: one widget in one element that follows a framework's props.
import { loadCheckout } from "./index.js";

const live = ["session", "locale", "appearance"]; // what update() takes
const text = (value) => JSON.stringify(value ?? null);

// What the widget is to look like, with a value for whatever update() could leave as it was.
const look = ({ appearance, layout }) => ({ theme: "", ...appearance, layout: appearance?.layout ?? layout ?? "" });

// A copy, because a framework may change its own objects in place.
const now = (props) => JSON.parse(JSON.stringify({ session: props.session, locale: props.locale ?? "", appearance: look(props) }));

// attach gives set(props), to be called with all props on every change; submit(), state and
// end(). There is no widget until base and session are there, and none after end(). What
// update() does not take (redirect, selected, first, hide) mounts anew when it changes.
export function attach(element) {
	let props = {}, shown = null, key = "", checkout = null;

	const clear = () => {
		checkout?.unmount();
		checkout = null;
	};

	const begin = async (mine) => {
		try {
			const { mount } = await loadCheckout(props.base);
			if (key != mine) return; // other props came meanwhile, or the end
			const options = {};
			for (const name in props) {
				// mount() names an option that it does not know; so everything is handed on.
				if (name != "base" && props[name] != null && typeof props[name] != "function") options[name] = props[name];
			}
			for (const name of ["Ready", "Change", "Submit", "Redirect", "Status", "Error"]) {
				options["on" + name] = (detail) => props["on" + name]?.(detail); // the callback of now, not of then
			}
			shown = now(props);
			checkout = mount(element, options);
		} catch (err) {
			if (key != mine) return;
			key = ""; // set() tries again
			const wrong = err?.code == "base";
			if (props.onError) props.onError({ code: wrong ? "load_failed" : "network", message: String(err?.message ?? err), retryable: !wrong });
			else console.error("wzrd-checkout:", err);
		}
	};

	const follow = () => {
		const next = now(props), change = {};
		for (const name of live) if (text(next[name]) != text(shown[name])) change[name] = next[name];
		if (!Object.keys(change).length) return;
		if (change.appearance) {
			// A variable that is not named any more goes back to the style sheet's value.
			const variables = {};
			for (const name in shown.appearance.variables) variables[name] = "";
			change.appearance = { ...change.appearance, variables: { ...variables, ...change.appearance.variables } };
		}
		shown = next;
		checkout.update(change);
	};

	return {
		set(next) {
			props = next;
			const { base, session, redirect, selected, first, hide } = props;
			const wanted = base && session ? text([base, redirect, selected, first, hide]) : "";
			if (wanted == key) {
				if (checkout) follow();
				return;
			}
			clear();
			key = wanted;
			if (key) begin(key);
		},
		submit: () => checkout?.submit(),
		get state() {
			return checkout?.state ?? null;
		},
		end() {
			key = "";
			props = {};
			clear();
		},
	};
}
