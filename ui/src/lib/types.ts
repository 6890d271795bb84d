/** The JSON of the program's interface, as the screens use it. Times are ms since the epoch, probabilities 0 to 1. */

export type Lang = 'fr' | 'en';

/** A sentence that the program made in both languages. Older answers may hold a plain text. */
export type Words = string | { fr: string; en: string };

export interface Page<T> {
  total: number;
  items: T[];
}

export interface Origin {
  topic: string;
  partition: number;
  offset: number;
}

export type Verdict = 'will_churn' | 'will_stay';

export interface Reason {
  feature: string;
  value: number;
  baseline: number;
  contribution: number;
  text_fr: string;
  text_en: string;
}

export interface WhatIf {
  probability: number;
  log_odds: number;
  baseline_log_odds: number;
  verdict: Verdict;
  reasons: Reason[];
  features: Record<string, number>;
  model_version: string;
  threshold?: number;
}

export interface Score extends WhatIf {
  customer_id: string;
  features_hash: string;
  event_time: number;
  scored_at: number;
  origin: Origin;
  published_at?: number;
  correlation_id?: string;
}

export interface Source {
  name: string;
  kind: string;
  simulated: boolean;
  recorded: boolean;
  rate_per_s: number | null;
  running: boolean;
  published: number;
  last_error: string | null;
}

export interface Info {
  version: string;
  simulated: boolean;
  demo: boolean;
  log: string;
  started_at: number;
  sources: Source[];
  model_version: string | null;
  languages: Lang[];
  currency: string;
}

export interface Health {
  name: string;
  ok: boolean;
  detail: Words;
}

export interface Overview {
  customers: number;
  left?: number;
  at_risk: number;
  risk_threshold: number;
  value_at_risk: number;
  mean_probability: number | null;
  outcomes: { churned: number; stayed: number };
  saved: { value: number; low: number; high: number; basis: Words } | null;
  events_per_second: number;
  event_to_score_ms: { p50: number; p99: number; samples: number } | null;
  open_alerts: number;
  anomalies: number;
  proposals: number;
  approved: number;
  held_out: number;
  risk_histogram: number[];
  health: Health[];
}

export type AssignmentState = 'proposed' | 'approved' | 'undone' | 'held_out';

export interface CustomerRow {
  customer_id: string;
  name: string;
  company: string;
  probability: number;
  verdict: Verdict;
  total_purchase: number;
  years: number;
  num_sites: number;
  account_manager: number;
  top_reason_fr: string | null;
  top_reason_en: string | null;
  scored_at: number;
  event_time: number;
  assignment: AssignmentState | null;
  outcome?: KnownOutcome | null;
}

/** A customer's record; the keys are the columns of the agency's file. */
export interface Customer {
  customer_id?: string;
  Names: string;
  Age: number;
  Total_Purchase: number;
  Account_Manager: number;
  Years: number;
  Num_Sites: number;
  Onboard_date: string;
  Location: string;
  Company: string;
  Churn?: number;
}

export interface HistoryPoint {
  event_time: number;
  probability: number;
  model_version: string;
  origin: Origin;
}

export interface ChangeReason {
  feature: string;
  from: number;
  to: number;
  contribution_change: number;
  text_fr: string;
  text_en: string;
}

export interface Change {
  event_time: number;
  from: number;
  to: number;
  reasons: ChangeReason[];
}

export type EventType = 'navigation' | 'achat' | 'recherche' | 'connexion' | 'deconnexion' | 'panier' | 'commentaire';

export interface ShopEvent {
  timestamp: string;
  user_id: string;
  event_type: EventType;
  session_id: string;
  name?: string | null;
  page?: string;
  product?: string;
  price?: number;
  query?: string;
  products?: string[];
  text?: string;
  origin?: Origin;
}

export interface Assignment {
  customer_id: string;
  manager_id?: string;
  state: AssignmentState;
  probability: number;
  value: number;
  expected_value_saved: number;
  effect_basis: string;
  model_version: string;
  updated_at: number;
  by: string;
  why_fr?: string;
  why_en?: string;
}

export interface Manager {
  id: string;
  name: string;
  capacity: number;
  locations: string[];
  skills?: string[];
  customers?: string[];
  assigned: number;
}

/** What became of a customer, where that is known. */
export interface KnownOutcome {
  churned: boolean;
  event_time: number;
  known_from: string;
}

export interface AuditEntry {
  id: string;
  at: number;
  by: string;
  action: string;
  subject: string;
  detail: Record<string, string>;
}

export interface ModelPlace {
  version: string;
  since: number;
  by: string;
  rows: number | null;
  auc: { value: number; low: number; high: number } | null;
  features: string[];
}

export interface ShadowComparison {
  customers: number;
  needed: number;
  ready: boolean;
  agreement: number | null;
  mean_shift: number | null;
  mean_distance: number | null;
  outcomes: number;
  champion_log_loss: number | null;
  challenger_log_loss: number | null;
  champion_brier: number | null;
  challenger_brier: number | null;
  words: Words;
}

export interface Models {
  champion: ModelPlace;
  shadow: ModelPlace | null;
  comparison: ShadowComparison | null;
  previous: ModelPlace[];
}

export type DriftVerdict = 'too_few' | 'stable' | 'changed' | 'drifted';

export interface LearningReport {
  model_version: string;
  outcomes: number;
  lead_days: number;
  calibration: { verdict: DriftVerdict; outcomes: number; expected: number; observed: number; difference: Interval | null; words: Words };
  compared: number;
  inputs: { feature: string; stability_index: number; p_value: number; verdict: DriftVerdict; words: Words }[];
  trial: { compares: Words; acted: number; held_out: number; effect: Interval | null; verdict: EffectReport['verdict']; words: Words }[];
  retraining: { proposed: boolean; reasons: Words[] };
}

export type AlertState = 'open' | 'acknowledged' | 'snoozed' | 'resolved';

export interface Alert {
  id: string;
  rule: string;
  subject: string;
  /** The customer's, where the program knows one. */
  name?: string | null;
  window_start: number;
  window_end: number;
  value: number;
  threshold: number;
  evidence: { origin: Origin; event_time: number }[];
  state: AlertState;
  updated_at: number;
  by?: string;
  snoozed_until?: number;
}

export interface SmallestChange {
  feature: string;
  from: number;
  to: number;
  probability: number;
  text_fr: string;
  text_en: string;
}

export interface FormAnswer {
  correlation_id: string;
  score: Score;
  smallest_change: SmallestChange | null;
}

export interface CustomerDetail {
  customer: Customer;
  score: Score;
  history: HistoryPoint[];
  changes: Change[];
  events: ShopEvent[];
  assignment: (Assignment & { manager_name?: string | null }) | null;
  alerts: Alert[];
  outcome?: KnownOutcome | null;
  smallest_change: SmallestChange | null;
}

export interface Interval {
  points: number;
  low: number;
  high: number;
}

export interface EffectReport {
  treatment: string;
  difference: Interval;
  adjusted: Interval | null;
  p_value: number | null;
  verdict: 'beneficial' | 'no_measurable_effect' | 'harmful';
  text_fr: string;
  text_en: string;
  rule: Words;
  n_treated: number;
  n_control: number;
}

export interface QueueItem extends Assignment {
  name: string;
  company: string;
  manager_name: string | null;
  top_reason_fr: string | null;
  top_reason_en: string | null;
}

export interface Queue extends Page<QueueItem> {
  counts: Record<AssignmentState, number>;
  comparison: { this_order: number; risk_order: number; random_order: number; basis: Words } | null;
  effect: EffectReport | null;
  managers: Manager[];
}

export type Metric = number | { value?: number; estimate?: number; low: number; high: number };

export interface ModelCard {
  version: string;
  rows: number;
  positives: number;
  columns: { name: string; role: string; reason: Words; coefficient: number | null; mean: number | null }[];
  intercept: number;
  metrics: Record<string, Metric | null>;
  calibration: { predicted: number; observed: number; low: number; high: number; count: number }[];
  gains: { share: number; found: { value: number; low: number; high: number } }[];
  candidates: { name: Words; log_loss: number; behind: number; standard_error: number }[];
  importance: { name: string; mean_size: { value: number; low: number; high: number } }[];
  threshold: number;
  training_hash: string;
  trained_at?: number | null;
  seed: number;
  notes: Words[];
}

export interface PageWindow {
  start: number;
  end: number;
  counts: Record<string, number>;
  closed: boolean;
}

export interface PageSeries {
  window_ms: number;
  windows: PageWindow[];
  late: number;
}

export interface PageCount {
  page: string;
  window_start: number;
  window_end: number;
  count: number;
}

export interface PageEvent {
  name: string;
  user: string;
  date: number;
  duration: number;
  origin?: Origin;
}

export interface Shop {
  total: number;
  purchases: number;
  sales: number;
  by_type: Partial<Record<EventType, { count: number }>>;
  by_user: { user: string; name?: string | null; count: number; sales: number }[];
  users: number;
  patterns: Record<string, number>;
  last_event: number | null;
}

export interface SessionPattern {
  id: string;
  session_id: string;
  user_id: string;
  name?: string | null;
  pattern: string;
  session_start: number;
  at: number;
  events: number;
}

export interface User {
  user_id: string;
  full_name: string;
  gender: string;
  age: number;
  country: string;
  city: string;
  email: string;
  phone: string;
  nationality: string;
  registered: string;
  ingestion_time: number;
}

export interface Users {
  latest: User[];
  countries: { country: string; count_users: number; avg_age: number; last_update: number }[];
  genders: { gender: string; count_users: number; avg_age: number }[];
  total: number;
  recorded: boolean;
  source: { url: string; last_status: number | string | null; last_success: number | null; next_attempt: number | null; failures: number } | null;
}

export interface Anomaly {
  id: string;
  rule: string;
  reason: Words;
  reason_fr?: string;
  field?: string;
  origin: Origin;
  key?: string;
  raw: string;
  raw_encoding: string;
  raw_bytes: number;
  event_time: number;
  detected_at: number;
  status: 'open' | 'discarded';
}

export interface AnomalySummary {
  rule: string;
  topic: string;
  count: number;
  last: number;
}

export interface Topic {
  name: string;
  partitions: number;
  records: number;
  bytes: number | null;
  internal: boolean;
  retention_ms: number | null;
  cleanup: string;
}

export interface Group {
  group: string;
  members: number;
  lag: number;
  lag_ms: number | null;
  partitions: { topic: string; partition: number; committed: number | null; end: number; lag: number }[];
}

export interface Operations {
  topics: Topic[];
  groups: Group[];
  tasks: { id: string; sub_topology: string | number; partition: number; stream_time: number | null; records: number; state: string }[];
  engine: {
    state: string;
    records_in: number;
    records_out: number;
    skipped: number;
    late: number;
    commits: number;
    restore: { done: number; total: number } | null;
  };
  sinks: { name: string; circuit: 'closed' | 'open' | 'half_open'; written: number; retries: number; lag: number; last_error: string | null }[];
  stores: { name: string; kind: string; entries: number | null; bytes: number | null }[];
  process: { rss_bytes: number; cpu_seconds: number; uptime_ms: number; threads: number };
}

export interface TopologyNode {
  name: string;
  kind: string;
  topics?: string[];
  stores?: string[];
  successors?: string[];
}

export interface Topology {
  text: string;
  graph: { sub_topologies: { id: string | number; nodes: TopologyNode[] }[] };
}

export interface Message {
  partition: number;
  offset: number;
  timestamp: number;
  key: unknown;
  value: unknown;
  headers: unknown;
  truncated: boolean;
}

export interface Recount {
  equal: boolean;
  checks: { name: string; from_log: number | string; from_store: number | string; equal: boolean; in_flight: number | boolean | null }[];
}

export interface LiveScore {
  customer_id: string;
  name: string;
  probability: number;
  previous: number | null;
  verdict: Verdict;
  event_time: number;
  scored_at: number;
  latency_ms: number | null;
  correlation_id?: string;
}

/** One message of the program's stream; a key is absent where there is nothing new. */
export interface Batch {
  at: number;
  score?: LiveScore[];
  shop?: ShopEvent[];
  shop_total?: number;
  pages?: PageCount[];
  alert?: Alert[];
  anomaly?: { id: string; rule: string; reason: string; origin: Origin }[];
  pattern?: SessionPattern[];
  user?: number;
  assignment?: Assignment[];
  outcome?: { customer_id: string; churned: boolean; event_time: number; known_from: string }[];
  overview?: Partial<Overview>;
}
