import { defineConfig } from "vite";
import vue from "@vitejs/plugin-vue";

// The shop's server has the merchant key; the page asks it for a session.
const shop = process.env.SHOP_URL || "http://localhost:3000";

export default defineConfig({
	plugins: [vue()],
	server: { port: 5173, strictPort: true, proxy: { "/session": shop, "/orders": shop } },
});
