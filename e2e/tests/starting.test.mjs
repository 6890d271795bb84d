/** Starting the program where it cannot start: it says what is wrong, where, and what to do, and ends with a code that scripts can tell apart. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { Program, binary, folder } from '../harness/program.mjs';

/** Runs `vigie` to its end and returns its exit code and what it said. */
async function vigie(args, { env = {}, withinMs = 20_000 } = {}) {
  const child = spawn(binary(), args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  let said = '';
  child.stdout.on('data', (chunk) => (said += chunk));
  child.stderr.on('data', (chunk) => (said += chunk));
  const timer = setTimeout(() => child.kill('SIGKILL'), withinMs);
  const [code, signal] = await once(child, 'close');
  clearTimeout(timer);
  assert.equal(signal, null, `vigie ${args.join(' ')} did not end within ${withinMs} ms; it said:\n${said}`);
  return { code, said };
}

test('a port that is taken is named, with the way out', async (t) => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.after(() => other.close());
  const { port } = other.address();
  const { code, said } = await vigie(['demo', '--port', String(port), '--data', await folder(t)]);
  assert.notEqual(code, 0);
  assert.ok(said.includes(String(port)), said);
  assert.match(said, /--port/);
  assert.doesNotMatch(said, /panicked|backtrace/i);
});

test('a second instance on the same data is told who has it, and the first goes on', async (t) => {
  const data = await folder(t);
  const first = await Program.start({ data });
  t.after(() => first.kill());
  const { code, said } = await vigie(['demo', '--port', '0', '--data', data]);
  assert.notEqual(code, 0);
  assert.ok(said.includes(data) && said.includes(String(first.pid)), said);
  assert.doesNotMatch(said, /panicked|backtrace/i);
  assert.equal((await first.json('/readyz')).ready, true);
});

test('a data folder that is a file is refused by its name', async (t) => {
  const file = path.join(await folder(t), 'not-a-folder');
  await writeFile(file, 'x');
  const { code, said } = await vigie(['demo', '--port', '0', '--data', file]);
  assert.notEqual(code, 0);
  assert.ok(said.includes(file), said);
  assert.doesNotMatch(said, /panicked|backtrace/i);
});

test('a wrong configuration is refused with its line and what was meant', async (t) => {
  const dir = await folder(t);
  const file = path.join(dir, 'vigie.toml');
  await writeFile(file, '[server]\nprot = 8081\n');
  const { code, said } = await vigie(['demo', '--config', file, '--data', path.join(dir, 'data')]);
  assert.notEqual(code, 0);
  assert.ok(said.includes(`${file}:2`), said);
  assert.match(said, /prot\b[\s\S]*port/);
});

test('SIGTERM ends it in order: code 0, and the next start goes on', async (t) => {
  const data = await folder(t);
  const program = await Program.start({ data });
  t.after(() => program.kill());
  const before = (await program.json('/api/v1/customers')).total;
  assert.deepEqual(await program.stop(), { code: 0, signal: null });
  await program.restart();
  assert.ok((await program.json('/api/v1/customers')).total >= before);
});

test('every command explains itself, with an example', () => {
  const help = (args) => {
    const run = spawnSync(binary(), [...args, '--help'], { encoding: 'utf8' });
    assert.equal(run.status, 0, run.stderr);
    return run.stdout;
  };
  const top = help([]);
  for (const command of ['demo', 'run', 'topics', 'produce', 'consume', 'import', 'train', 'score', 'config', 'doctor']) {
    assert.match(top, new RegExp(`^\\s+${command}\\b`, 'm'), `${command} is not in --help`);
    assert.match(help([command]), /Usage:/, command);
  }
});
