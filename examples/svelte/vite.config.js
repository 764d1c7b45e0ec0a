import { defineConfig } from "vite";
import { svelte } from "@sveltejs/vite-plugin-svelte";

// The shop's server has the merchant key; the page asks it for a session.
const shop = process.env.SHOP_URL || "http://localhost:3000";

export default defineConfig({
	plugins: [svelte()],
	server: { port: 5173, strictPort: true, proxy: { "/session": shop, "/orders": shop } },
});
