/** The API: every address answers with the keys that the screens rely on, errors are problems that say what to do, OpenAPI lists all. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { until, withProgram } from '../harness/program.mjs';

const suite = { before, after };
const running = withProgram(suite);

const LIST = ['total', 'items'];

for (const [path, keys] of [
  ['/info', ['version', 'simulated', 'demo', 'log', 'started_at', 'sources', 'model_version', 'languages', 'currency']],
  ['/overview', ['customers', 'at_risk', 'risk_threshold', 'value_at_risk', 'mean_probability', 'outcomes', 'saved', 'events_per_second', 'event_to_score_ms', 'open_alerts', 'anomalies', 'proposals', 'approved', 'held_out', 'risk_histogram', 'health']],
  ['/customers', LIST],
  ['/queue', ['items', 'total', 'counts', 'comparison', 'effect', 'managers']],
  ['/effect', ['treatment', 'difference', 'adjusted', 'p_value', 'verdict', 'text_fr', 'text_en', 'rule', 'n_treated', 'n_control']],
  ['/model', ['version', 'rows', 'positives', 'columns', 'intercept', 'metrics', 'calibration', 'threshold', 'training_hash', 'seed', 'notes']],
  ['/pages/series', ['window_ms', 'windows', 'late']],
  ['/pages/mapped', ['items']],
  ['/shop', ['total', 'purchases', 'sales', 'by_type', 'by_user', 'users', 'patterns', 'last_event']],
  ['/shop/events', ['items']],
  ['/shop/patterns', ['items']],
  ['/users', ['latest', 'countries', 'genders', 'total', 'recorded', 'source']],
  ['/alerts?state=all', LIST],
  ['/anomalies', LIST],
  ['/operations', ['topics', 'groups', 'tasks', 'engine', 'sinks', 'stores', 'process']],
  ['/topology', ['text', 'graph']],
  ['/recount', ['equal', 'checks']],
]) {
  test(`GET /api/v1${path} has its keys`, async () => {
    // The effect of managers is measured beside the start, not before it.
    const answer = await until(`${path} answers`, () => running.program.json(`/api/v1${path}`));
    for (const key of keys) assert.ok(key in answer, `${key} is missing; there are ${Object.keys(answer)}`);
  });
}

test('the health addresses answer', async () => {
  assert.equal(await (await fetch(running.program.url('/livez'))).text(), 'ok');
  const ready = await running.program.json('/readyz');
  assert.equal(ready.ready, true);
  assert.ok(ready.parts.length > 0 && ready.parts.every((part) => part.ready), JSON.stringify(ready));
  const metrics = await (await fetch(running.program.url('/metrics'))).text();
  assert.match(metrics, /^# (TYPE|HELP) \w+/m);
});

test('the OpenAPI document lists the addresses', async () => {
  const { openapi, paths } = await running.program.json('/api/v1/openapi.json');
  assert.match(openapi, /^3\./);
  for (const path of ['overview', 'customers', 'score', 'form', 'queue', 'model', 'shop', 'users', 'alerts', 'anomalies', 'operations', 'topology', 'recount', 'stream']) {
    assert.ok(Object.keys(paths).some((known) => known.endsWith(`/${path}`)), `${path} is not among ${Object.keys(paths)}`);
  }
});

test('lists are cut by limit and offset, without gap or overlap', async () => {
  const ids = async (query) => (await running.program.json(`/api/v1/customers?sort=name&order=asc&${query}`)).items.map((c) => c.customer_id);
  await until('twenty customers', async () => (await running.program.json('/api/v1/customers')).total >= 20);
  const whole = await ids('limit=20');
  assert.equal(whole.length, 20);
  assert.equal(new Set(whole).size, 20);
  const { total } = await running.program.json('/api/v1/customers?limit=1');
  assert.ok(total >= 20);
});

test('a limit that is no number is refused in words', async () => {
  const response = await fetch(running.program.url('/api/v1/customers?limit=lots'));
  assert.equal(response.status, 400);
});

for (const [path, status] of [
  ['/api/v1/customers/nobody', 404],
  ['/api/v1/nonsense', 404],
  ['/api/v1/anomalies/nothing', 404],
  ['/api/v1/topics/nonsense/messages', 404],
]) {
  test(`GET ${path} is a problem that says what to do`, async () => {
    const response = await fetch(running.program.url(path));
    assert.equal(response.status, status);
    assert.match(response.headers.get('content-type'), /^application\/problem\+json/);
    const problem = await response.json();
    for (const key of ['type', 'title', 'status', 'detail', 'hint']) assert.ok(problem[key], `${key} in ${JSON.stringify(problem)}`);
    assert.equal(problem.status, status);
  });
}

test('the reasons of a score add up to it exactly', async () => {
  const body = { Age: 42, Total_Purchase: 11066.8, Account_Manager: 0, Years: 7.22, Num_Sites: 8 };
  const score = await running.program.json('/api/v1/score', { body });
  const sum = score.reasons.reduce((total, reason) => total + reason.contribution, score.baseline_log_odds);
  assert.ok(Math.abs(sum - score.log_odds) < 1e-9, `${sum} is not ${score.log_odds}`);
  assert.ok(score.probability > 0 && score.probability < 1);
  const again = await running.program.json('/api/v1/score', { body });
  assert.equal(again.probability, score.probability);
});

test('the model card and the effect are those of the agency\'s own data', async () => {
  const card = await running.program.json('/api/v1/model');
  assert.equal(card.rows, 900);
  assert.equal(card.positives, 150);
  const { auc } = card.metrics;
  assert.ok(auc.value > 0.87 && auc.value < 0.94, `AUC ${auc.value}`);
  assert.ok(auc.low < auc.value && auc.value < auc.high);
  const effect = await until('the effect is measured', () => running.program.json('/api/v1/effect'));
  assert.ok(Math.abs(effect.difference.points - 5.3) < 0.1, JSON.stringify(effect.difference));
  assert.ok(Math.abs(effect.difference.low - 0.4) < 0.2 && Math.abs(effect.difference.high - 10.2) < 0.2, JSON.stringify(effect.difference));
  assert.notEqual(effect.verdict, 'beneficial');
});

test('personal fields are masked in the message browser', async () => {
  const { items } = await until('customers on the topic', async () => {
    const found = await running.program.json('/api/v1/topics/costumerchurn/messages?from=earliest&limit=20');
    return found.items.length > 0 && found;
  });
  for (const { value } of items) {
    const record = typeof value === 'string' ? JSON.parse(value) : value;
    assert.equal(record.Names, '[personal]', JSON.stringify(record));
    assert.equal(record.Location, '[personal]', JSON.stringify(record));
    assert.ok(Number(record.Age) > 0);
  }
});

test('what is simulated or recorded says so', async () => {
  const info = await running.program.json('/api/v1/info');
  assert.equal(info.demo, true);
  for (const source of info.sources) assert.ok(source.simulated || source.recorded || source.kind === 'csv', JSON.stringify(source));
  assert.equal((await running.program.json('/api/v1/users')).recorded, true);
});
