import { defineComponent, h, onActivated, onBeforeUnmount, onDeactivated, onMounted, ref, watch } from "vue";
import { attach } from "./attach.js";

const names = ["base", "session", "locale", "appearance", "layout", "redirect", "selected", "first", "hide"];
const events = ["ready", "change", "submit", "redirect", "status", "error"];

export const Checkout = defineComponent({
	name: "WzrdCheckout",
	props: {
		base: String, session: String, locale: String, appearance: Object, layout: String, redirect: String,
		selected: String, first: Array, hide: Array,
	},
	emits: events,
	setup(props, { emit, expose }) {
		const place = ref(null);
		let widget = null;
		const now = () => {
			const all = Object.fromEntries(names.map((name) => [name, props[name]]));
			for (const name of events) all["on" + name[0].toUpperCase() + name.slice(1)] = (detail) => emit(name, detail);
			return all;
		};
		const begin = () => {
			widget ??= attach(place.value);
			widget.set(now());
		};
		const end = () => {
			widget?.end();
			widget = null;
		};
		onMounted(begin);
		onActivated(begin); // inside <KeepAlive>
		onDeactivated(end);
		onBeforeUnmount(end);
		watch(props, () => widget?.set(now()), { deep: true, flush: "post" });
		expose({
			submit: () => widget?.submit(),
			get state() {
				return widget?.state ?? null;
			},
		});
		return () => h("div", { ref: place });
	},
});
