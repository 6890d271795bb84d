/** How the screens are built: hashed files under assets/, nothing inline, and a stand-in server for working on them alone. */
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';
import { standIn } from './dev/stand-in.mjs';

/** `VIGIE_URL=http://127.0.0.1:8080 npm run dev` works against a running program; without it, a stand-in answers. */
const program = process.env.VIGIE_URL;

export default defineConfig({
  plugins: [svelte(), ...(program ? [] : [standIn()])],
  build: {
    target: 'es2023',
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    // Everything is a file of its own: a data: address would need a wider policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
    reportCompressedSize: true,
  },
  server: {
    fs: { allow: ['..'] },
    ...(program && { proxy: Object.fromEntries(['/api', '/publish', '/analytics'].map((path) => [path, { target: program, headers: { origin: program } }])) }),
  },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
