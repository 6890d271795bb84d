/**
 * The scripts behind `make`: what they say when a prerequisite is missing or too old, and how they count tests.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmod, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { folder } from '../harness/program.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Runs dev/prerequisites.sh on a machine that has only the basic tools and those named in `programs` (name -> what it prints). */
async function prerequisites(t, mode, programs, env = {}) {
  const bin = await folder(t);
  for (const tool of ['bash', 'sort', 'sed', 'grep', 'head', 'dirname', 'cat']) {
    await symlink(execFileSync('which', [tool], { encoding: 'utf8' }).trim(), path.join(bin, tool));
  }
  for (const [name, prints] of Object.entries(programs)) {
    const file = path.join(bin, name);
    await writeFile(file, `#!${path.join(bin, 'bash')}\nprintf '%s\\n' '${prints}'\n`);
    await chmod(file, 0o755);
  }
  const run = spawnSync(path.join(bin, 'bash'), ['dev/prerequisites.sh', mode], {
    cwd: root,
    env: { PATH: bin, ...env },
    encoding: 'utf8',
  });
  return { code: run.status, said: run.stderr + run.stdout };
}

const COMPLETE = { cargo: 'cargo 1.99.0', rustc: 'rustc 1.99.0 (abc 2026-01-01)', node: 'v22.12.0', npm: '11.0.0', cc: 'cc 12', make: 'GNU Make 4.4' };

test('a machine with the prerequisites passes in silence', async (t) => {
  assert.deepEqual(await prerequisites(t, 'build', COMPLETE), { code: 0, said: '' });
});

test('each missing prerequisite is named with the way to get it, all at once', async (t) => {
  const { code, said } = await prerequisites(t, 'build', {});
  assert.equal(code, 1);
  for (const part of ['Rust', 'rustup', 'Node.js', 'npm', 'C compiler', 'apt-get install build-essential', 'make']) {
    assert.ok(said.includes(part), `${part} is not in:\n${said}`);
  }
});

for (const [name, programs, expect] of [
  ['old Rust', { rustc: 'rustc 1.70.0 (abc 2023-06-01)' }, /Rust [\d.]+ or newer \(found 1\.70\.0\)\n.*rustup update/],
  ['old Node.js', { node: 'v18.20.0' }, /Node\.js 20\.19, 22\.12 or newer \(found 18\.20\.0\)/],
  ['Node.js 21, which Vite does not support', { node: 'v21.7.0' }, /found 21\.7\.0/],
]) {
  test(`${name} is refused with the version found`, async (t) => {
    const { code, said } = await prerequisites(t, 'build', { ...COMPLETE, ...programs });
    assert.equal(code, 1);
    assert.match(said, expect);
  });
}

test('continuous integration also needs a JDK, Maven and Go', async (t) => {
  const local = await prerequisites(t, 'test', COMPLETE);
  assert.equal(local.code, 0, local.said);
  const { code, said } = await prerequisites(t, 'test', { ...COMPLETE, javac: 'javac 11.0.2' }, { CI: 'true' });
  assert.equal(code, 1);
  for (const part of ['JDK, version 17', 'Maven', 'Go']) assert.ok(said.includes(part), `${part} is not in:\n${said}`);
});

for (const [runner, printed, expect] of [
  ['cargo', 'test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s', '12 0'],
  ['cargo', 'test result: ok. 2 passed; 0 failed; 0 ignored\nx\ntest result: FAILED. 3 passed; 4 failed; 0 ignored', '5 4'],
  ['vitest', '      Tests  11 passed (11)', '11 0'],
  ['vitest', ' Test Files  1 failed (1)\n      Tests  \x1b[31m1 failed\x1b[39m | 11 passed (12)', '11 1'],
  ['node', 'ℹ tests 7\nℹ pass 5\nℹ fail 2', '5 2'],
  ['node', '# pass 5\n# fail 0\n# cancelled 1', '5 1'],
  ['node', 'test result: ok. 12 passed; 0 failed', '0 0'],
]) {
  test(`counts ${expect} in what ${runner} prints: ${JSON.stringify(printed.slice(0, 40))}`, () => {
    const run = spawnSync('awk', ['-v', `runner=${runner}`, '-f', 'dev/count.awk'], { cwd: root, input: `${printed}\n`, encoding: 'utf8' });
    assert.equal(run.stdout.trim(), expect, run.stderr);
  });
}

test('make help lists every command of the Makefile', () => {
  const help = execFileSync('make', ['help'], { cwd: root, encoding: 'utf8' });
  for (const command of ['run', 'test', 'check', 'bench', 'docs', 'deny', 'help']) assert.match(help, new RegExp(`make ${command}\\b`));
});

test('an unknown step is refused with the list of steps', () => {
  const run = spawnSync('dev/test.sh', ['nonsense'], { cwd: root, encoding: 'utf8' });
  assert.equal(run.status, 1);
  assert.match(run.stderr, /no step is called 'nonsense': ui fmt clippy unit rust rustdoc e2e/);
});
