/**
 * A stand-in for the program, for working on the screens alone (`npm run dev` without VIGIE_URL, or `node dev/stand-in.mjs` over a
 * build). Never shipped. It answers with the shapes of the interface; its customers are the rows of data/customer_churn.csv, its
 * scores the published logistic regression, everything else is drawn at random.
 */
import { createServer } from 'node:http';
import { readFileSync, existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import path from 'node:path';

const COEF = { Age: 0.0598069, Total_Purchase: 3.73129e-5, Account_Manager: 0.480954, Years: 0.565986, Num_Sites: 1.21157 };
const MEAN = { Age: 41.8, Total_Purchase: 10062.8, Account_Manager: 0.48, Years: 5.27, Num_Sites: 8.59 };
const CONSTANT = -19.3426;
const THRESHOLD = 0.5;
const NAMES = Object.keys(COEF);
const FR = { Age: 'L’âge', Total_Purchase: 'Le total des achats', Account_Manager: 'Le chargé de compte', Years: 'L’ancienneté', Num_Sites: 'Le nombre de sites' };
const TYPES = ['navigation', 'achat', 'recherche', 'connexion', 'deconnexion', 'panier', 'commentaire'];
const pick = (list) => list[Math.floor(Math.random() * list.length)];

export function standIn() {
  return {
    name: 'vigie-stand-in',
    apply: 'serve',
    configureServer(server) {
      const answer = makeAnswer();
      server.middlewares.use((request, response, next) => answer(request, response, next));
    },
  };
}

function csv(text) {
  return text
    .trim()
    .split(/\r?\n/)
    .slice(1)
    .map((line) => [...line.matchAll(/("([^"]*)"|[^,]*)(,|$)/g)].map((m) => m[2] ?? m[1]));
}

function score(features, id = 'x') {
  const reasons = NAMES.map((feature) => {
    const contribution = COEF[feature] * (features[feature] - MEAN[feature]);
    return {
      feature,
      value: features[feature],
      baseline: MEAN[feature],
      contribution,
      text_fr: `${FR[feature]} (${features[feature]}) ${contribution > 0 ? 'augmente' : 'réduit'} le risque`,
      text_en: `${feature} of ${features[feature]} ${contribution > 0 ? 'raises' : 'lowers'} the risk`,
    };
  }).sort((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution));
  const log_odds = CONSTANT + NAMES.reduce((sum, name) => sum + COEF[name] * features[name], 0);
  const probability = 1 / (1 + Math.exp(-log_odds));
  return {
    customer_id: id,
    probability,
    log_odds,
    baseline_log_odds: CONSTANT + NAMES.reduce((sum, name) => sum + COEF[name] * MEAN[name], 0),
    verdict: probability >= THRESHOLD ? 'will_churn' : 'will_stay',
    reasons,
    features,
    features_hash: 'a1b2',
    model_version: 'm-1f3a9c',
    event_time: Date.now() - 90_000,
    scored_at: Date.now() - 80_000,
    origin: { topic: 'costumerchurn', partition: 0, offset: 12 },
    threshold: THRESHOLD,
  };
}

function makeAnswer() {
  const root = fileURLToPath(new URL('../../data/', import.meta.url));
  const started = Date.now();
  const customers = csv(readFileSync(`${root}customer_churn.csv`, 'utf8')).map((row, i) => {
    const customer = { Names: row[0], Age: +row[1], Total_Purchase: +row[2], Account_Manager: +row[3], Years: +row[4], Num_Sites: +row[5], Onboard_date: row[6], Location: row[7], Company: row[8], Churn: +row[9] };
    const id = `c${i.toString(16).padStart(16, '0')}`;
    return { id, customer, score: score(Object.fromEntries(NAMES.map((name) => [name, customer[name]])), id) };
  });
  const managers = JSON.parse(readFileSync(`${root}managers.json`, 'utf8'));
  const event = (at = Date.now()) => {
    const event_type = pick(TYPES);
    return {
      timestamp: new Date(at).toISOString(),
      user_id: `user${1 + Math.floor(Math.random() * 5)}`,
      event_type,
      session_id: `s-${Math.floor(Math.random() * 900)}`,
      ...(event_type === 'achat' && { product: 'Bannière 728x90', price: Math.round(Math.random() * 99000) / 100 }),
      ...(event_type === 'navigation' && { page: '/campagnes' }),
      ...(event_type === 'recherche' && { query: 'affichage mobile' }),
      ...(event_type === 'panier' && { products: ['Bannière', 'Vidéo 15 s'] }),
      ...(event_type === 'commentaire' && { text: 'Très bien' }),
      origin: { topic: 'evenements', partition: 1, offset: Math.floor(Math.random() * 99999) },
    };
  };
  let total = 12_345;
  const alerts = Array.from({ length: 9 }, (_, i) => ({
    id: `a${i}`,
    rule: i % 3 ? 'large-purchase' : 'repeated-logins',
    subject: `user${(i % 5) + 1}`,
    window_start: started - i * 400_000,
    window_end: started - i * 400_000 + 9000,
    value: i % 3 ? 512.4 + i * 40 : 3,
    threshold: i % 3 ? 500 : 3,
    evidence: Array.from({ length: i % 3 ? 1 : 3 }, (_, n) => ({ origin: { topic: 'evenements', partition: n, offset: 100 + i }, event_time: started })),
    state: ['open', 'acknowledged', 'snoozed', 'resolved'][i % 4],
    updated_at: started,
    ...(i % 4 === 2 && { snoozed_until: started + 3_600_000, by: 'Marie' }),
  }));
  const anomalies = Array.from({ length: 6 }, (_, i) => ({
    id: `costumerchurn-0-${i}`,
    rule: i % 2 ? 'costumerchurn/Age/range' : 'evenements/json',
    reason: i % 2 ? 'Age is 4000; expected 0 to 150' : 'not JSON: expected value at line 1 column 1',
    field: 'Age',
    origin: { topic: i % 2 ? 'costumerchurn' : 'evenements', partition: 0, offset: i },
    key: 'k',
    raw: '{"Names":"X","Age":4000}',
    raw_encoding: 'utf-8',
    raw_bytes: 24,
    event_time: started - i * 60_000,
    detected_at: started - i * 60_000,
    status: i === 4 ? 'discarded' : 'open',
  }));
  const assignments = customers
    .filter((one) => one.score.probability > 0.2)
    .map((one, i) => {
      const value = one.customer.Total_Purchase;
      const held = i % 9 === 4;
      return {
        customer_id: one.id,
        ...(held ? {} : { manager_id: managers[i % 5].id }),
        state: held ? 'held_out' : i % 7 === 2 ? 'approved' : 'proposed',
        probability: one.score.probability,
        value,
        expected_value_saved: held ? 0 : one.score.probability * value * 0.12 - 40,
        effect_basis: 'assumed',
        model_version: 'm-1f3a9c',
        updated_at: started,
        by: 'planner',
        name: one.customer.Names,
        company: one.customer.Company,
        manager_name: held ? null : managers[i % 5].name,
        top_reason_fr: one.score.reasons[0].text_fr,
        top_reason_en: one.score.reasons[0].text_en,
      };
    })
    .sort((a, b) => b.expected_value_saved - a.expected_value_saved);
  const overview = () => {
    const high = customers.filter((one) => one.score.probability >= THRESHOLD);
    const bins = new Array(20).fill(0);
    for (const one of customers) bins[Math.min(19, Math.floor(one.score.probability * 20))] += 1;
    return {
      customers: customers.length,
      at_risk: high.length,
      risk_threshold: THRESHOLD,
      value_at_risk: high.reduce((sum, one) => sum + one.customer.Total_Purchase, 0),
      mean_probability: customers.reduce((sum, one) => sum + one.score.probability, 0) / customers.length,
      outcomes: { churned: 14, stayed: 33 },
      saved: null,
      events_per_second: 40 + Math.random() * 10,
      event_to_score_ms: { p50: 3.2, p99: 18.4, samples: 4120 },
      open_alerts: alerts.filter((one) => one.state === 'open').length,
      anomalies: anomalies.length,
      proposals: 60,
      approved: 12,
      held_out: 9,
      risk_histogram: bins,
      health: [
        { name: 'log', ok: true, detail: 'embedded, 14 topics' },
        { name: 'engine', ok: true, detail: 'running, lag 3 records' },
        { name: 'store', ok: false, detail: 'tables: retrying, last error: disk full' },
      ],
    };
  };
  const windows = () => {
    const last = Math.floor(Date.now() / 5000) * 5000;
    return Array.from({ length: 60 }, (_, i) => {
      const start = last - (59 - i) * 5000;
      return { start, end: start + 5000, counts: { P1: Math.round(24 + 9 * Math.sin(i / 5) + (i % 4)), P2: Math.round(22 + 8 * Math.cos(i / 4)) }, closed: i < 59 };
    });
  };
  const topics = ['costumerchurn', 'test3', 'customers', 'churn-scores', 'R1', 'R2', 'R3', 'R4', 'evenements', 'evenements-stats', 'session-patterns', 'alerts', 'anomalies', 'random_user_data', 'users', 'country-stats', 'assignments'];
  const sub = (id, from, to, stores) => ({
    id,
    nodes: [
      { name: `${from}-source`, kind: 'source', topics: [from], stores: [], successors: [`${from}-check`] },
      { name: `${from}-check`, kind: 'processor', topics: [], stores: [], successors: [`${from}-work`, `${from}-bad`] },
      { name: `${from}-work`, kind: 'processor', topics: [], stores, successors: to.map((one) => `${one}-sink`) },
      { name: `${from}-bad`, kind: 'sink', topics: ['anomalies'], stores: [], successors: [] },
      ...to.map((one) => ({ name: `${one}-sink`, kind: 'sink', topics: [one], stores: [], successors: [] })),
    ],
  });
  const user = (i) => ({ user_id: `u${i}`, full_name: pick(['Ms Ada Lovelace', 'Mr Leon Nichols', 'Mme Zoé Müller']), gender: i % 2 ? 'male' : 'female', age: 20 + i * 3, country: pick(['France', 'Canada', 'Norway']), city: 'Bendigo', email: 'x@example.com', phone: '1', nationality: 'FR', registered: '', picture: '', ingestion_time: Date.now() - i * 1000 });
  const row = (one) => ({
    customer_id: one.id, name: one.customer.Names, company: one.customer.Company, probability: one.score.probability, verdict: one.score.verdict, total_purchase: one.customer.Total_Purchase,
    years: one.customer.Years, num_sites: one.customer.Num_Sites, account_manager: one.customer.Account_Manager, top_reason_fr: one.score.reasons[0].text_fr, top_reason_en: one.score.reasons[0].text_en,
    scored_at: one.score.scored_at, event_time: one.score.event_time, assignment: assignments.find((a) => a.customer_id === one.id)?.state ?? null,
  });
  const page = (items, q) => ({ total: items.length, items: items.slice(Number(q.get('offset') ?? 0), Number(q.get('offset') ?? 0) + Number(q.get('limit') ?? 50)) });

  const routes = [
    [/^\/info$/, () => ({ version: '0.1.0', simulated: true, demo: true, log: 'embedded', started_at: started, sources: [{ name: 'page views', kind: 'generator', simulated: true, recorded: false, rate_per_s: 10, running: true, published: 4120, last_error: null }, { name: 'users', kind: 'http', simulated: false, recorded: true, rate_per_s: null, running: true, published: 40, last_error: null }], model_version: 'm-1f3a9c', languages: ['fr', 'en'], currency: 'EUR' })],
    [/^\/overview$/, overview],
    [/^\/customers$/, (_, q) => {
      const key = { probability: (c) => c.probability, value: (c) => c.total_purchase, name: (c) => c.name, updated: (c) => c.scored_at }[q.get('sort') ?? 'probability'];
      const sign = q.get('order') === 'asc' ? 1 : -1;
      const text = (q.get('search') ?? '').toLowerCase();
      const rows = customers.map(row).filter((c) => `${c.name} ${c.company}`.toLowerCase().includes(text)).filter((c) => (q.get('risk') === 'high' ? c.probability >= THRESHOLD : q.get('risk') === 'low' ? c.probability < THRESHOLD : true));
      return page(rows.sort((a, b) => (key(a) < key(b) ? -sign : sign)), q);
    }],
    [/^\/customers\/(.+)$/, ([, id]) => {
      const one = customers.find((c) => c.id === id);
      if (!one) return null;
      const history = Array.from({ length: 40 }, (_, i) => ({ event_time: started - (40 - i) * 3_600_000, probability: Math.min(0.99, Math.max(0.01, one.score.probability + 0.2 * Math.sin(i / 4) - 0.1)), model_version: 'm-1f3a9c', origin: one.score.origin }));
      return { customer: one.customer, score: one.score, history, changes: [{ event_time: started - 3_600_000, from: 0.42, to: 0.61, reasons: [{ feature: 'Num_Sites', from: 9, to: 11, contribution_change: 0.8, text_fr: 'Le nombre de sites est passé de 9 à 11', text_en: 'Number of sites went from 9 to 11' }] }], events: Array.from({ length: 14 }, (_, i) => event(started - i * 120_000)), assignment: assignments.find((a) => a.customer_id === id) ?? null, alerts: alerts.slice(0, 2), smallest_change: { feature: 'Num_Sites', from: one.customer.Num_Sites, to: one.customer.Num_Sites - 2, probability: 0.31, text_fr: 'Deux sites de moins', text_en: 'Two sites fewer' } };
    }],
    [/^\/score$/, (_, __, body) => score(body)],
    [/^\/form$/, (_, __, body) => ({ correlation_id: crypto.randomUUID(), score: score(Object.fromEntries(NAMES.map((name) => [name, body[name]])), customers[0].id) })],
    [/^\/queue$/, (_, q) => ({ ...page(assignments, q), counts: { proposed: 60, approved: 12, undone: 1, held_out: 9 }, comparison: { this_order: 48_210, risk_order: 41_020, random_order: 19_870, basis: { fr: 'effet supposé de 12 %', en: 'assumed effect of 12%' } }, effect: { treatment: 'Account_Manager', difference: { points: 5.3, low: 0.4, high: 10.2 }, adjusted: { points: 4.0, low: 0.3, high: 7.7 }, p_value: 0.04, verdict: 'no_measurable_effect', text_fr: 'Aucun effet bénéfique mesurable : les clients suivis partent plus.', text_en: 'No measurable benefit: customers with a manager leave more often.', rule: { fr: 'valeur espérée, effet supposé', en: 'expected value with an assumed effect' }, n_treated: 433, n_control: 467 }, managers: managers.map((one, i) => ({ ...one, assigned: 4 + i * 3 })) })],
    [/^\/queue\/propose$/, () => ({})],
    [/^\/assignments\/(.+)\/(approve|undo)$/, ([, id, action]) => {
      const one = assignments.find((a) => a.customer_id === id);
      one.state = action === 'approve' ? 'approved' : one.state === 'approved' ? 'proposed' : 'undone';
      return one;
    }],
    [/^\/model$/, () => ({ version: 'm-1f3a9c', rows: 900, positives: 150, columns: [...NAMES.map((name) => ({ name, role: 'number', reason: { fr: 'nombre, utilisé tel quel', en: 'a number, used as it is' }, coefficient: COEF[name], mean: MEAN[name] })), { name: 'Names', role: 'free_text', reason: { fr: 'texte libre', en: 'free text' }, coefficient: null, mean: null }], intercept: CONSTANT, metrics: { auc: { value: 0.904, low: 0.871, high: 0.937 }, log_loss: 0.269, brier: 0.0794, average_precision: 0.71, ece: 0.021, lift_top_decile: 4.6 }, calibration: Array.from({ length: 10 }, (_, i) => ({ predicted: (i + 0.5) / 10, observed: Math.min(1, Math.max(0, (i + 0.5) / 10 + 0.06 * Math.sin(i * 2))), count: Math.round(400 / (i + 1)) })), threshold: THRESHOLD, training_hash: '5fe2a9c1d0', seed: 7, notes: [{ fr: 'Les 900 lignes sont réelles.', en: 'The 900 rows are real.' }] })],
    [/^\/pages\/series$/, () => ({ window_ms: 5000, windows: windows(), late: 3 })],
    [/^\/pages\/mapped$/, () => page(Array.from({ length: 8 }, (_, i) => ({ name: 'L:2', user: 'UUUUUU', date: Date.now() - i * 900, duration: 900 * i, origin: { topic: 'R3', partition: 0, offset: i } })), new URLSearchParams())],
    [/^\/shop$/, () => ({ total, purchases: 1702, sales: 843_210.55, by_type: Object.fromEntries(TYPES.map((type, i) => [type, { count: Math.round(total / (3 + i)) }])), by_user: Array.from({ length: 5 }, (_, i) => ({ user: `user${i + 1}`, count: 2600 - i * 50, sales: 180_000 - i * 9000 })), users: 5, patterns: { PARCOURS_COMPLET: 120, PANIER_ABANDONNE: 340, CHERCHEUR_INTENSIF: 42 }, last_event: Date.now() })],
    [/^\/shop\/events$/, () => page(Array.from({ length: 50 }, (_, i) => event(Date.now() - i * 1000)), new URLSearchParams('limit=60'))],
    [/^\/shop\/patterns$/, () => page(Array.from({ length: 8 }, (_, i) => ({ id: `s${i}/P`, session_id: `s${i}`, user_id: `user${i % 5}`, pattern: ['PARCOURS_COMPLET', 'PANIER_ABANDONNE', 'CHERCHEUR_INTENSIF'][i % 3], session_start: started, at: started - i * 9000, events: 4 + i })), new URLSearchParams())],
    [/^\/users$/, () => ({ latest: Array.from({ length: 10 }, (_, i) => user(i)), countries: ['France', 'Canada', 'Norway', 'Australia', 'United States', 'Mexico', 'India', 'Iran', 'Spain', 'Germany', 'Brazil', 'Serbia', 'Turkey'].map((country, i) => ({ country, count_users: 40 - i * 2, avg_age: 35 + ((i * 7) % 20), last_update: Date.now() })), genders: [{ gender: 'female', count_users: 160, avg_age: 48.2 }, { gender: 'male', count_users: 151, avg_age: 46.1 }], total: 311, recorded: true, source: { url: 'http://127.0.0.1:9000/api/?results=10', last_status: 200, last_success: Date.now() - 4000, next_attempt: Date.now() + 6000, failures: 0 } })],
    [/^\/alerts$/, (_, q) => page(alerts.filter((one) => q.get('state') !== 'open' || one.state === 'open'), q)],
    [/^\/alerts\/(.+)\/(.+)$/, ([, id, action]) => Object.assign(alerts.find((one) => one.id === id), { state: { acknowledge: 'acknowledged', snooze: 'snoozed', resolve: 'resolved', reopen: 'open' }[action] })],
    [/^\/anomalies$/, (_, q) => page(anomalies.filter((one) => !q.get('rule') || one.rule === q.get('rule')), q)],
    [/^\/anomalies\/summary$/, () => [{ rule: 'costumerchurn/Age/range', topic: 'costumerchurn', count: 3, last: started }, { rule: 'evenements/json', topic: 'evenements', count: 3, last: started }]],
    [/^\/anomalies\/([^/]+)$/, ([, id]) => anomalies.find((one) => one.id === id)],
    [/^\/anomalies\/(.+)\/discard$/, ([, id]) => Object.assign(anomalies.find((one) => one.id === id), { status: 'discarded' })],
    [/^\/operations$/, () => ({ topics: topics.map((name, i) => ({ name, partitions: 3, records: 900 + i * 811, bytes: 70_000 * (i + 1), internal: false, retention_ms: i % 3 ? 604_800_000 : null, cleanup: i % 3 ? 'delete' : 'compact' })), groups: ['vigie', 'sink-tables', 'groupe-consommateur-1'].map((group) => ({ group, members: 1, lag: Math.floor(Math.random() * 40), lag_ms: 12, partitions: [0, 1, 2].map((partition) => ({ topic: 'evenements', partition, committed: 400, end: 404, lag: 4 })) })), tasks: Array.from({ length: 6 }, (_, i) => ({ id: `${Math.floor(i / 3)}_${i % 3}`, sub_topology: Math.floor(i / 3), partition: i % 3, stream_time: Date.now(), records: 4000, state: 'running' })), engine: { state: 'running', records_in: 40_120, records_out: 61_220, skipped: 3, late: 2, commits: 920, restore: null }, sinks: [{ name: 'tables', circuit: 'closed', written: 4000, retries: 0, lag: 3, last_error: null }, { name: 'documents', circuit: 'half_open', written: 900, retries: 4, lag: 120, last_error: 'documents.db: database is locked; retried in 2 s' }], stores: [{ name: 'page-count', kind: 'window', entries: 120, bytes: 12_000 }], process: { rss_bytes: 81_000_000, cpu_seconds: 12.3, uptime_ms: Date.now() - started + 3_700_000, threads: 14 } })],
    [/^\/topology$/, () => ({ text: 'Topologies:\n   Sub-topology: 0\n    Source: R2-source (topics: [R2])\n      --> R2-check', graph: { sub_topologies: [sub(0, 'costumerchurn', ['churn-scores', 'customers'], ['customers-store']), sub(1, 'R2', ['R3', 'R4'], ['page-count']), sub(2, 'evenements', ['evenements-stats', 'session-patterns', 'alerts'], ['stats', 'sessions', 'logins']), sub(3, 'random_user_data', ['users'], []), sub(4, 'users', ['country-stats'], ['countries']), sub(5, 'churn-scores', ['assignments'], ['queue'])] } })],
    [/^\/topics\/(.+)\/messages$/, () => page(Array.from({ length: 12 }, (_, i) => ({ partition: i % 3, offset: 40 + i, timestamp: Date.now() - i * 1000, key: `k${i}`, value: JSON.stringify({ Names: '[personal]', Age: 42, Total_Purchase: 11066.8, Years: 7.2, Num_Sites: 8 }), headers: { 'correlation-id': 'abc' }, truncated: false })), new URLSearchParams())],
    [/^\/recount$/, () => ({ equal: false, checks: [{ name: 'shop total', from_log: 12_345, from_store: 12_345, equal: true, in_flight: 0 }, { name: 'sales', from_log: 843_210.55, from_store: 843_100.55, equal: false, in_flight: 1 }, { name: 'users per country', from_log: 13, from_store: 12, equal: false, in_flight: 0 }] })],
  ];

  const stream = (request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    let id = 0;
    const rate = Number(process.env.STAND_IN_RATE ?? 10);
    const timer = setInterval(() => {
      const many = Math.max(1, Math.round(rate / 10));
      total += many;
      const scores = Array.from({ length: Math.max(1, Math.round(many / 4)) }, () => {
        const one = pick(customers);
        return { customer_id: one.id, name: one.customer.Names, probability: one.score.probability, previous: Math.max(0, one.score.probability - 0.03), verdict: one.score.verdict, event_time: Date.now(), scored_at: Date.now(), latency_ms: 2 + Math.random() * 9 };
      });
      const start = Math.floor(Date.now() / 5000) * 5000;
      const batch = { at: Date.now(), score: scores, shop: Array.from({ length: Math.min(20, many) }, () => event()), shop_total: total, pages: [{ page: 'P1', window_start: start, window_end: start + 5000, count: Math.floor((Date.now() - start) / 200) }, { page: 'P2', window_start: start, window_end: start + 5000, count: Math.floor((Date.now() - start) / 220) }], ...(id % 10 === 0 && { overview: overview() }) };
      response.write(`id: ${(id += 1)}\nevent: batch\ndata: ${JSON.stringify(batch)}\n\n`);
    }, 100);
    request.on('close', () => clearInterval(timer));
  };

  return async (request, response, next) => {
    const url = new URL(request.url, 'http://x');
    if (url.pathname === '/api/v1/stream') return stream(request, response);
    const publish = /^\/publish\/(R[12])\/(\w+)$/.exec(url.pathname);
    let found;
    if (publish) found = { name: publish[2], user: pick(['U1', 'U2']), date: Date.now(), duration: Math.floor(Math.random() * 9000) };
    else if (url.pathname.startsWith('/api/v1/')) {
      let text = '';
      for await (const chunk of request) text += chunk;
      for (const [pattern, make] of routes) {
        const match = pattern.exec(decodeURIComponent(url.pathname.slice(7)));
        if (match) found = make(match, url.searchParams, text ? JSON.parse(text) : undefined);
        if (match) break;
      }
    } else return next();
    const status = found === undefined || found === null ? 404 : 200;
    response.writeHead(status, { 'content-type': status === 200 ? 'application/json' : 'application/problem+json' });
    response.end(JSON.stringify(found ?? { type: 'about:blank', title: 'Not found', status, detail: `nothing at ${url.pathname}`, hint: 'go back to the list' }));
  };
}

/** `node dev/stand-in.mjs [PORT]`: the built screens, with the program's own policy. */
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const dist = fileURLToPath(new URL('../dist/', import.meta.url));
  const answer = makeAnswer();
  const kinds = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.html': 'text/html' };
  createServer((request, response) =>
    answer(request, response, () => {
      const wanted = path.join(dist, path.normalize(new URL(request.url, 'http://x').pathname));
      const file = existsSync(wanted) && path.extname(wanted) ? wanted : path.join(dist, 'index.html');
      response.writeHead(200, { 'content-type': kinds[path.extname(file)] ?? 'application/octet-stream', 'content-security-policy': "default-src 'self'; frame-ancestors 'none'; base-uri 'self'; object-src 'none'" });
      response.end(readFileSync(file));
    }),
  ).listen(Number(process.argv[2] ?? 8090), '127.0.0.1');
}
