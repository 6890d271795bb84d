/** A model tried in shadow and put in service, managers edited, the audit, what outcomes say: by the screens, as people do it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { openTab, withBrowser } from '../harness/browser.mjs';
import { binary, until, withProgram } from '../harness/program.mjs';

const suite = { before, after };
const running = withProgram(suite);
const chrome = withBrowser(suite);
const api = (where, options) => running.program.json(`/api/v1${where}`, options);
const root = path.resolve(import.meta.dirname, '../..');

test('a model is tried in shadow, put in service and taken back on the Model page', async (t) => {
  const dir = mkdtempSync(path.join(tmpdir(), 'vigie-model-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const file = path.join(dir, 'new.vigie');
  execFileSync(binary(), ['train', path.join(root, 'data/customer_churn.csv'), '--target', 'Churn', '--columns', 'Years,Num_Sites', '--out', file]);
  const first = (await api('/models')).champion.version;

  const { page, watched, go } = await openTab(t, chrome.browser, running.program);
  await go('/model?lang=en');
  await page.locator('[data-models]').waitFor();
  await page.locator('#model-file').setInputFiles(file);
  await page.getByRole('button', { name: 'Try in shadow' }).click();
  await page.getByRole('group', { name: 'Challenger beside champion' }).waitFor();
  const { shadow } = await api('/models');
  assert.ok(shadow && shadow.version !== first);
  await until('both models have scored somebody', async () => (await api('/models')).comparison.customers > 0, { withinMs: 60_000 });

  await page.getByRole('button', { name: 'Put in service without waiting' }).click();
  await until('it is in service', async () => (await api('/models')).champion.version === shadow.version);
  await page.getByRole('button', { name: `Back to ${first.slice(0, 8)}` }).click();
  await until('the first one is in service again', async () => (await api('/models')).champion.version === first);
  await page.locator('[data-audit]').getByText('went back to an earlier model').first().waitFor();
  watched.clean();
});

test('what outcomes say is on the Model page, in both languages', async (t) => {
  const report = await until('outcomes are known', async () => {
    const found = await api('/learning');
    return found.inputs.length > 0 && found;
  });
  assert.equal(report.trial.length, 2);
  assert.ok(report.retraining.reasons.length > 0 && report.retraining.reasons.every((r) => r.fr && r.en));
  const { page, watched, go } = await openTab(t, chrome.browser, running.program);
  for (const [lang, title] of [['en', 'Do the probabilities hold?'], ['fr', 'Les probabilités tiennent-elles ?']]) {
    await go(`/model?lang=${lang}`);
    await page.locator('[data-learning]').getByRole('heading', { name: title }).waitFor();
  }
  watched.clean();
});

test('a manager is added, changed and removed on the Queue page, with the keyboard, and the audit says who', async (t) => {
  const { page, watched, go } = await openTab(t, chrome.browser, running.program);
  await go('/queue?lang=en');
  const add = page.getByRole('button', { name: 'Add a manager' });
  await add.waitFor();
  await add.focus();
  await page.keyboard.press('Enter');
  const form = page.getByRole('form', { name: 'Add a manager' });
  await form.locator('[name=name]').fill('Noa Petit');
  await form.locator('[name=id]').fill('m77');
  await form.locator('[name=capacity]').fill('3');
  await form.locator('[name=skills]').fill('large accounts');
  await page.keyboard.press('Enter');
  const added = await until('the manager is there', async () => (await api('/managers')).find((m) => m.id === 'm77'));
  assert.deepEqual([added.name, added.capacity, added.skills], ['Noa Petit', 3, ['large accounts']]);
  await page.getByRole('button', { name: 'Edit Noa Petit' }).click();
  await page.getByRole('form', { name: 'Edit Noa Petit' }).locator('[name=capacity]').fill('0');
  await page.getByRole('button', { name: 'Save' }).click();
  await until('the capacity is changed', async () => (await api('/managers')).find((m) => m.id === 'm77')?.capacity === 0);
  await page.getByRole('button', { name: 'Remove Noa Petit' }).click();
  await until('the manager is gone', async () => !(await api('/managers')).some((m) => m.id === 'm77'));
  const told = await until('the audit has all three', async () => {
    const { items } = await api('/audit?subject=m77');
    return items.length === 3 && items.map((entry) => entry.action);
  });
  assert.deepEqual(told, ['manager.removed', 'manager.changed', 'manager.added']);
  watched.clean();
});

test('customers who left count nowhere as present, and their page says so', async () => {
  await until('somebody left', async () => (await api('/customers?status=left&limit=1')).total > 0, { withinMs: 90_000 });
  const { items } = await api('/customers?status=left&limit=500');
  assert.ok(items.every((row) => row.outcome?.churned));
  const found = await api(`/customers/${encodeURIComponent(items[0].customer_id)}`);
  assert.equal(found.outcome.churned, true);
  await until('overview and list agree', async () => {
    const [overview, here, left, risk] = await Promise.all([
      api('/overview'), api('/customers?limit=1'), api('/customers?status=left&limit=1'), api('/customers?risk=high&limit=1'),
    ]);
    return overview.customers === here.total && overview.left === left.total && overview.at_risk === risk.total;
  }, { withinMs: 60_000 });
});
