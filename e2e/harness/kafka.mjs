/** A real Apache Kafka for a test file, by dev/kafka.sh; ended with it. */
import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const SCRIPT = path.join(import.meta.dirname, '..', '..', 'dev', 'kafka.sh');
const run = promisify(execFile);

/** Whether Kafka can run here. In continuous integration it must. */
export function kafkaIsMissing() {
  const found = spawnSync('java', ['-version']).status === 0;
  if (!found && process.env.CI === 'true') throw new Error('Java is needed for the tests with Apache Kafka');
  return found ? false : 'no Java on this machine, so no Apache Kafka';
}

const nodes = new Map();

/** The address of a node for this data folder, started when it is asked for first; it ends with this process. */
export function kafkaOf(data) {
  if (!nodes.has(data)) nodes.set(data, startFor());
  return nodes.get(data);
}

async function startFor() {
  const dir = await mkdtemp(path.join(tmpdir(), 'vigie-kafka-'));
  const args = ['start', '--dir', dir, '--quick', '--heap', '384m', '--owner', String(process.pid)];
  const { stdout } = await run(SCRIPT, args, { timeout: 180_000 });
  return `kafka://${stdout.match(/^bootstrap=(.*)$/m)[1]}`;
}

/** One node, started before the tests of the file and ended after them. */
export function withKafka(suite, options = []) {
  const state = {};
  suite.before(async () => {
    state.dir = await mkdtemp(path.join(tmpdir(), 'vigie-kafka-'));
    const args = ['start', '--dir', state.dir, '--quick', '--owner', String(process.pid), ...options];
    const { stdout } = await run(SCRIPT, args, { timeout: 180_000 });
    state.bootstrap = stdout.match(/^bootstrap=(.*)$/m)[1];
    state.url = `kafka://${state.bootstrap}`;
    /** One of Kafka's own programs; `input` is what it reads. Gives what it printed. */
    state.tool = (name, args, input) =>
      new Promise((resolve, reject) => {
        const child = execFile(SCRIPT, ['tool', name, ...args, '--dir', state.dir], { timeout: 90_000 }, (error, stdout, stderr) =>
          error && !stdout ? reject(new Error(`${name}: ${error.message}\n${stderr}`)) : resolve(stdout),
        );
        child.stdin.end(input ?? '');
      });
  });
  suite.after(async () => {
    await run(SCRIPT, ['stop', '--dir', state.dir]).catch(() => {});
    await rm(state.dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  });
  return state;
}
