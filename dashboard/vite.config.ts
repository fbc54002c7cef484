import { defineConfig } from "vite";

// Served by ingest under /dashboard. For work on it: a stack is up, and `vite` passes /v1 on to it.
export default defineConfig({
  base: "/dashboard/",
  build: { target: "es2023", modulePreload: { polyfill: false }, assetsInlineLimit: 0 },
  server: { proxy: { "/v1": "http://127.0.0.1:18080" } },
});
