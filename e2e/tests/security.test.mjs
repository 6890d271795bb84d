/** What a hostile page in the user's own browser, or a hostile name server, must not get done. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, test } from 'node:test';
import { openTab, withBrowser } from '../harness/browser.mjs';
import { withProgram } from '../harness/program.mjs';
import { PAGES, customer } from '../harness/site.mjs';

const suite = { before, after };
const running = withProgram(suite);
const chrome = withBrowser(suite);

/** A request with headers that fetch would not let through, on a connection of its own. */
function raw(path, { method = 'GET', headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const sent = request(running.program.url(path), { method, headers, agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text }));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

test('every page has a policy that allows nothing from elsewhere and nothing inline', async () => {
  for (const { path } of PAGES) {
    const { headers, status } = await raw(path);
    assert.equal(status, 200, path);
    const policy = headers['content-security-policy'];
    assert.ok(policy, `${path} has no content-security-policy`);
    const directives = Object.fromEntries(policy.split(';').map((d) => d.trim().split(/\s+(.*)/s)).filter(([n]) => n));
    assert.equal(directives['default-src'], "'self'");
    assert.equal(directives['frame-ancestors'], "'none'");
    assert.doesNotMatch(policy, /unsafe-inline|unsafe-eval|https?:|\*/);
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.ok(headers['referrer-policy']);
  }
});

test('the policy holds in the browser: an inline script and a foreign image are stopped', async (t) => {
  const { page, go } = await openTab(t, chrome.browser, running.program);
  await go('/?lang=en');
  const stopped = await page.evaluate(async () => {
    const seen = [];
    document.addEventListener('securitypolicyviolation', (event) => seen.push(event.effectiveDirective));
    const script = document.createElement('script');
    script.textContent = 'window.taken = true';
    document.body.append(script);
    const image = document.createElement('img');
    image.src = 'http://127.0.0.1:9/beacon.png';
    document.body.append(image);
    await new Promise((resolve) => setTimeout(resolve, 500));
    return { seen, taken: globalThis.taken };
  });
  assert.equal(stopped.taken, undefined);
  assert.ok(stopped.seen.some((d) => d.startsWith('script-src')), String(stopped.seen));
  assert.ok(stopped.seen.some((d) => d.startsWith('img-src')), String(stopped.seen));
});

test('no page asks anything of anyone but the program', async (t) => {
  const { page, watched, go } = await openTab(t, chrome.browser, running.program);
  for (const { path, page: name } of PAGES) {
    await go(`${path}?lang=en`);
    await page.locator(`main[data-page="${name}"] h1`).waitFor();
  }
  watched.clean();
});

for (const [title, headers] of [
  ['a POST from a foreign Origin is refused', { origin: 'https://example.invalid' }],
  ['a POST from another port of this machine is refused', { origin: 'http://127.0.0.1:9' }],
  ['a POST with Origin null is refused', { origin: 'null' }],
  ['a POST with Sec-Fetch-Site cross-site is refused', { 'sec-fetch-site': 'cross-site' }],
]) {
  test(title, async () => {
    const { status } = await raw('/api/v1/form', {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(customer()),
    });
    assert.equal(status, 403);
  });
}

test('a POST from the program\'s own pages is accepted', async () => {
  const { status, text } = await raw('/api/v1/score', {
    method: 'POST',
    headers: { 'content-type': 'application/json', origin: running.program.address, 'sec-fetch-site': 'same-origin' },
    body: JSON.stringify({ Age: 40, Total_Purchase: 1, Account_Manager: 0, Years: 1, Num_Sites: 1 }),
  });
  assert.equal(status, 200, text);
});

test('a form of another page cannot post, since it cannot send JSON', async () => {
  const { status } = await raw('/api/v1/form', {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: 'Names=x',
  });
  assert.ok(status === 415 || status === 403, String(status));
});

test('a foreign Host is refused, so that a rebound name reads nothing', async () => {
  for (const path of ['/', '/api/v1/customers', '/analytics']) {
    assert.equal((await raw(path, { headers: { host: 'attacker.invalid' } })).status, 421, path);
  }
});

test('a body of more than a mebibyte is refused and the program goes on', async () => {
  const { status } = await raw('/api/v1/form', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(customer({ Names: 'x'.repeat(2 << 20) })),
  }).catch((error) => ({ status: error.code }));
  // The server may answer or hang up while the body is still being sent.
  assert.ok([413, 'ECONNRESET', 'EPIPE'].includes(status), String(status));
  assert.equal((await raw('/livez')).status, 200);
});

test('deeply nested JSON is refused and the program goes on', async () => {
  const depth = 100_000;
  const { status } = await raw('/api/v1/form', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '['.repeat(depth) + ']'.repeat(depth),
  });
  assert.ok(status >= 400 && status < 500, String(status));
  assert.equal((await raw('/livez')).status, 200);
});

test('paths do not lead out of the embedded screens', async () => {
  for (const path of ['/assets/../../../etc/passwd', '/%2e%2e/%2e%2e/etc/passwd', '/..%2f..%2fetc%2fpasswd']) {
    assert.doesNotMatch((await raw(path)).text, /root:/, path);
  }
});
