/** What the documents say is there: links, paths, crates, dependencies behind their walls, named tests, configuration. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Program, binary, folder } from '../harness/program.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (file) => readFileSync(path.join(root, file), 'utf8');
const files = (pattern) =>
  execFileSync('git', ['-c', `safe.directory=${root.replace(/\/$/, '')}`, 'ls-files', '--', pattern], { cwd: root, encoding: 'utf8' }).split('\n').filter(Boolean);
const crates = readdirSync(path.join(root, 'crates')).filter((name) => existsSync(path.join(root, 'crates', name, 'Cargo.toml')));

test('every relative link leads somewhere', () => {
  const dead = files('*.md').flatMap((file) =>
    [...read(file).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
      .map(([, target]) => target)
      .filter((target) => !/^[a-z]+:/.test(target) && !existsSync(path.join(root, path.dirname(file), target)))
      .map((target) => `${file}: ${target}`),
  );
  assert.deepEqual(dead, []);
});

test('every path that the documents name exists', () => {
  const missing = files('*.md').flatMap((file) =>
    [...read(file).matchAll(/`((?:crates|ui|e2e|dev|docs|data|examples)\/[\w./-]*)`/g)]
      .map(([, named]) => named)
      // ui/dist is made by the build.
      .filter((named) => named !== 'ui/dist' && !existsSync(path.join(root, named)))
      .map((named) => `${file}: ${named}`),
  );
  assert.deepEqual(missing, []);
});

test('the code map of ARCHITECTURE.md is the crates that there are', () => {
  const map = [...read('ARCHITECTURE.md').matchAll(/^ {4}crates\/([\w-]+) /gm)].map(([, name]) => name);
  assert.deepEqual(map.toSorted(), crates.toSorted());
});

test('a heavy dependency is named by its own crates only, as ARCHITECTURE.md says', () => {
  const rows = [...read('ARCHITECTURE.md').matchAll(/^\| (`[^|]+) \| ([^|]+) \| [^|]+ \|$/gm)];
  assert.ok(rows.length >= 10, `only ${rows.length} dependencies in the table`);
  for (const [, names, owners] of rows) {
    for (const [, dependency] of names.matchAll(/`([\w-]+)`/g)) {
      const found = crates.filter((name) => new RegExp(`^${dependency}(\\.workspace)?\\s*=`, 'm').test(read(`crates/${name}/Cargo.toml`)));
      const said = owners.replace(/\([^)]*\)/g, '').split(',').map((owner) => owner.trim());
      assert.deepEqual(found.toSorted(), said.toSorted(), dependency);
    }
  }
});

test('the book lists each of its chapters', () => {
  const listed = [...read('docs/SUMMARY.md').matchAll(/\]\(([^)]+)\)/g)].map(([, file]) => file);
  const there = files('docs/*.md').map((file) => path.relative('docs', file)).filter((file) => file !== 'SUMMARY.md');
  assert.deepEqual(listed.toSorted(), there.toSorted());
});

test('every test that SECURITY.md and the book name exists', () => {
  const sources = [...files('crates/*.rs'), ...files('e2e/tests/*.mjs')].map(read).join('\n');
  for (const file of ['SECURITY.md', 'docs/bad-input.md']) {
    const cells = [...read(file).matchAll(/^\|.*\| (.+) \|$/gm)].map(([, cell]) => cell).filter((cell) => cell.includes('`'));
    assert.ok(cells.length > 5, `${file} names no test`);
    const named = cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name));
    // A test in Rust is a function, one in the browser a sentence.
    assert.deepEqual(named.filter((name) => !(/^\w+$/.test(name) ? sources.includes(`fn ${name}(`) : sources.includes(`'${name.replaceAll("'", "\\'")}'`))), [], file);
  }
});

test('the configuration in the book is accepted, and it is the default one', async (t) => {
  const [, toml] = read('docs/configuration.md').match(/```toml\n(.*?)```/s);
  const dir = await folder(t);
  const check = (...args) => spawnSync(binary(), ['config', 'check', '--json', ...args], { encoding: 'utf8', env: { ...process.env, HOME: dir } });
  const file = path.join(dir, 'vigie.toml');
  await writeFile(file, toml);
  const said = check(file);
  assert.equal(said.status, 0, said.stderr);
  assert.deepEqual(JSON.parse(said.stdout), JSON.parse(check().stdout));

  // What is commented out is accepted as well, and a key that is wrong is found: otherwise the above says nothing.
  await writeFile(file, toml.replace(/^# (\w+ = )/gm, '$1'));
  assert.equal(check(file).status, 0, check(file).stderr);
  await writeFile(file, toml.replace('page_rate', 'page_rat'));
  const wrong = check(file);
  assert.notEqual(wrong.status, 0);
  assert.match(wrong.stderr + wrong.stdout, /page_rat\b[\s\S]*page_rate/);
});

test('the commands of the book run as they stand there', async (t) => {
  const dir = await folder(t);
  await symlink(path.resolve(binary()), path.join(dir, 'vigie'));
  await symlink(path.join(root, 'data'), path.join(dir, 'data'));
  const lines = [...read('docs/command-line.md').matchAll(/```console\n(.*?)```/gs)].flatMap(([, block]) => block.split('\n').filter((line) => line.startsWith('$ ')));
  assert.ok(lines.length > 8);
  for (const line of lines) {
    const run = spawnSync('bash', ['-euo', 'pipefail', '-c', line.slice(2)], {
      cwd: dir,
      encoding: 'utf8',
      env: { ...process.env, PATH: `${dir}:${process.env.PATH}`, VIGIE_DATA: path.join(dir, 'vigie-data') },
    });
    assert.equal(run.status, 0, `${line}\n${run.stdout}${run.stderr}`);
  }
  assert.equal(readFileSync(path.join(dir, 'scores.csv'), 'utf8').trim().split('\n').length, 7, 'a header and six customers');
});

test('the addresses of the book are those that the program describes', async (t) => {
  const program = await Program.start({ data: await folder(t) });
  t.after(() => program.kill());
  const { paths } = await program.json('/api/v1/openapi.json');
  const shape = (address) => address.replace(/\{\w+\}/g, '{}');
  const known = new Set(Object.keys(paths).map(shape));
  const named = [...read('docs/api.md').matchAll(/`(?:GET|POST) (\/[^`]+)`/g)].map(([, address]) => address);
  assert.deepEqual(named.filter((address) => !known.has(shape(address))), [], `the program knows ${[...known].join(' ')}`);
});

test('no file carries an address of a package registry or a path of one machine', () => {
  const found = spawnSync('git', ['-c', `safe.directory=${root.replace(/\/$/, '')}`, 'grep', '-nIE', '"resolved": "https?:|(^|[^A-Za-z0-9_./-])/(root|home/[a-z]+)/', '--', '.', ':!e2e/tests/documents.test.mjs', ':!.github'], { cwd: root, encoding: 'utf8' });
  assert.equal(found.stdout, '');
});
