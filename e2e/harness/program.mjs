/**
 * The program under test: `vigie demo` on a free port and a data folder of its own.
 *
 * Each test file starts its own and ends it by process id. What it printed is kept and shown when a start fails,
 * so that a red test says why.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import { kafkaOf } from './kafka.mjs';

const READY_WITHIN_MS = 60_000;
const STOP_WITHIN_MS = 15_000;

/** Where the development build is, as dev/env.sh says it. */
export function binary() {
  if (process.env.VIGIE_BIN) return process.env.VIGIE_BIN;
  const cache = process.env.XDG_CACHE_HOME ?? path.join(homedir(), '.cache');
  const target = process.env.CARGO_TARGET_DIR ?? path.join(process.env.VIGIE_CACHE ?? path.join(cache, 'vigie'), 'target');
  return path.join(target, 'debug', 'vigie');
}

/** Waits until `probe` returns something that is not false, null or undefined; says what it waited for when it gives up. */
export async function until(what, probe, { withinMs = 20_000, everyMs = 100 } = {}) {
  const end = Date.now() + withinMs;
  let last;
  for (;;) {
    try {
      const found = await probe();
      if (found !== false && found !== null && found !== undefined) return found;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) {
      throw new Error(`after ${withinMs} ms still not: ${what}${last ? ` (${last.message})` : ''}`);
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

/** A folder that is removed when the test file ends. */
export async function folder(t) {
  const dir = await mkdtemp(path.join(tmpdir(), 'vigie-e2e-'));
  t.after(() => rm(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 }));
  return dir;
}

export class Program {
  #child;
  #exit;
  #output = '';
  #log = [];

  constructor(data, args) {
    this.data = data;
    this.args = args;
  }

  /** Starts `vigie demo` and waits until it says that it is ready. `args` are added to the command line. */
  static async start({ data, port = 0, args = [] }) {
    const program = new Program(data, args);
    // The same tests on the other log: VIGIE_E2E_LOG=kafka. A data folder has a log of its own, as it has when the log is embedded.
    if (process.env.VIGIE_E2E_LOG === 'kafka' && !args.includes('--log')) program.#log = ['--log', await kafkaOf(data)];
    await program.#run(port);
    return program;
  }

  async #run(port) {
    const args = ['demo', '--port', String(port), '--data', this.data, '--seed', '7', ...this.#log, ...this.args];
    this.#output = '';
    const child = spawn(binary(), args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    this.#exit = new Promise((resolve) => {
      child.on('exit', (code, signal) => resolve({ code, signal }));
      child.on('error', (error) => resolve({ error }));
    });
    let ended;
    this.#exit.then((how) => (ended = how));
    const keep = (chunk) => (this.#output = (this.#output + chunk).slice(-200_000));
    let stdout = '';
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
      keep(chunk);
    });
    child.stderr.on('data', keep);
    try {
      this.address = await until(
        'an address on standard output',
        () => {
          if (ended) throw new Error(`the program ended: ${JSON.stringify(ended)}`);
          return stdout.match(/http:\/\/(?:127\.0\.0\.1|localhost):\d+/)?.[0];
        },
        { withinMs: READY_WITHIN_MS, everyMs: 20 },
      );
      await until('/readyz answers 200', async () => (await fetch(`${this.address}/readyz`)).ok, {
        withinMs: READY_WITHIN_MS,
        everyMs: 50,
      });
    } catch (error) {
      child.kill('SIGKILL');
      throw new Error(`${error.message}\n--- what vigie ${args.join(' ')} printed:\n${this.#output.slice(-4000)}`);
    }
  }

  get pid() {
    return this.#child.pid;
  }

  get port() {
    return Number(new URL(this.address).port);
  }

  /** All that the program printed since its last start (the last 200,000 characters). */
  get output() {
    return this.#output;
  }

  /** Asks it to end, as Ctrl-C or a service manager would, and returns how it ended. */
  async stop() {
    this.#child.kill('SIGTERM');
    const how = await Promise.race([this.#exit, new Promise((r) => setTimeout(r, STOP_WITHIN_MS, undefined))]);
    if (how) return how;
    this.#child.kill('SIGKILL');
    await this.#exit;
    throw new Error(`vigie did not end within ${STOP_WITHIN_MS} ms of SIGTERM`);
  }

  /** Kills it without a chance to clean up. */
  async kill() {
    this.#child.kill('SIGKILL');
    return this.#exit;
  }

  /** Starts it again on the same data and port. */
  async restart({ args = this.args } = {}) {
    this.args = args;
    await this.#run(this.port);
  }

  url(path) {
    return this.address + path;
  }

  /** The answer's JSON; an answer other than 2xx is an error that shows its body. */
  async json(path, options = {}) {
    const { body, ...rest } = options;
    const response = await fetch(this.url(path), {
      ...rest,
      ...(body === undefined
        ? {}
        : { method: rest.method ?? 'POST', headers: { 'content-type': 'application/json', ...rest.headers }, body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text.slice(0, 400)}`);
    return JSON.parse(text);
  }
}

/** A program for one test file: started before its tests, ended after them. */
export function withProgram(suite, options = {}) {
  const state = {};
  suite.before(async () => {
    const { mkdtemp } = await import('node:fs/promises');
    state.data = await mkdtemp(path.join(tmpdir(), 'vigie-e2e-'));
    state.program = await Program.start({ data: state.data, ...options });
  });
  suite.after(async () => {
    try {
      await state.program?.stop();
    } finally {
      await rm(state.data, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    }
  });
  return state;
}
