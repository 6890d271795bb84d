/**
 * Takes the pictures of README and the book from a running demo: real pages with the data that they show.
 *   node dev/screenshot.mjs [SECONDS]   lets the demo run for SECONDS first (default 60), so that there is something to see
 * Needs VIGIE_BIN (dev/screenshots.sh sets it), the packages of e2e/ and Chromium.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { launch } from '../e2e/harness/browser.mjs';
import { Program } from '../e2e/harness/program.mjs';
import { allPages } from '../e2e/harness/site.mjs';

const seconds = Number(process.argv[2] ?? 60);
const images = fileURLToPath(new URL('../docs/img/', import.meta.url));
/** What README and the book show. More would only make the repository larger. */
const WANTED = ['overview', 'customer', 'queue'];

const data = await mkdtemp(path.join(tmpdir(), 'vigie-pictures-'));
const program = await Program.start({ data });
const browser = await launch();
try {
  await mkdir(images, { recursive: true });
  console.log(`the demo runs for ${seconds} s`);
  const context = await browser.newContext({ viewport: { width: 1280, height: 680 }, locale: 'en-US', colorScheme: 'light', reducedMotion: 'reduce' });
  const tab = await context.newPage();
  // The page is open meanwhile, so that its curves have a past.
  await tab.goto(program.url('/?lang=en'));
  await tab.waitForTimeout(seconds * 1000);
  for (const { path: address, page } of (await allPages(program)).filter(({ page }) => WANTED.includes(page))) {
    await tab.goto(program.url(`${address}?lang=en`));
    await tab.locator(`main[data-page="${page}"] h1`).waitFor();
    await tab.waitForTimeout(4000);
    const file = path.join(images, `${page}.png`);
    await tab.screenshot({ path: file });
    console.log(file);
  }
} finally {
  await browser.close();
  await program.stop().finally(() => rm(data, { recursive: true, force: true }));
}
