import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { PACKAGE_ROOT } from '../native/index.ts';

/** What each folder may import of the others (and always itself). Entries with a slash stand for that part of a folder only. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  native: [],
  capture: ['native'],
  analyze: ['capture', 'native'],
  // Benchmarks run on traces that datasets/ generates.
  bench: ['analyze', 'capture', 'datasets', 'native'],
  cli: ['analyze', 'bench', 'capture', 'datasets', 'native'],
  datasets: ['capture/trace', 'native'],
};

/** Files that are processes of their own and so may use `process.exit` and its streams outside cli/. */
const ENTRY_FILES = /[.-](child|worker)\.ts$|^native\/.*\.mjs$/;

const VAGUE_NAMES = /^(utils?|helpers?|common|misc|shared|lib)(\.ts)?$/;

interface Source {
  /** From the package's root, with forward slashes. */
  readonly path: string;
  readonly text: string;
  /** Names of the modules that it imports, types and dynamic imports included. */
  readonly imports: readonly string[];
}

function sources(): Source[] {
  return Object.keys(ALLOWED).flatMap((folder) => {
    const root = join(PACKAGE_ROOT, folder);
    return readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(ts|mts|mjs|js)$/.test(name) && !name.split(sep).includes('build'))
      .map((name) => {
        const text = readFileSync(join(root, name), 'utf8');
        const imports = ts.preProcessFile(text, true, true).importedFiles.map((file) => file.fileName);
        return { path: `${folder}/${name.split(sep).join('/')}`, text, imports };
      });
  });
}

const all = sources();
const product = all.filter(({ path }) => !/\.test\.ts$|\/(testing|testdata)\//.test(path));

test('the sources are found', () => {
  expect(all.length).toBeGreaterThan(20);
  expect(all.find(({ path }) => path === 'cli/program.ts')?.imports).toContain('./verb.ts');
});

test('imports run only in the direction that the architecture allows', () => {
  const wrong = all.flatMap((source) =>
    source.imports
      .filter((name) => name.startsWith('.'))
      .map((name) =>
        relative(PACKAGE_ROOT, resolve(PACKAGE_ROOT, dirname(source.path), name))
          .split(sep)
          .join('/'),
      )
      .filter((target) => !mayImport(source.path, target))
      .map((target) => `${source.path} imports ${target}`),
  );
  expect(wrong).toEqual([]);
});

test.each([
  ['analyze/db/open.ts', 'capture/trace/schema.ts', true],
  ['capture/run.ts', 'analyze/db/open.ts', false],
  ['native/index.ts', 'capture/request.ts', false],
  ['datasets/generate.ts', 'capture/trace/writer.ts', true],
  ['datasets/generate.ts', 'capture/workloads/boot.ts', false],
  ['bench/replay/run.ts', 'cli/output.ts', false],
  ['capture/run.ts', 'vitest.config.ts', false],
])('%s may import %s: %s', (from, target, allowed) => {
  expect(mayImport(from, target)).toBe(allowed);
});

function mayImport(from: string, target: string): boolean {
  const own = from.split('/')[0] ?? '';
  // Tests of a reader need traces; datasets/ makes them and knows nothing of their readers.
  if (from.endsWith('.test.ts') && target.startsWith('datasets/')) return true;
  return [own, ...(ALLOWED[own] ?? [])].some((prefix) => target.startsWith(`${prefix}/`));
}

test('DuckDB is used in analyze/db alone', () => {
  const users = product.filter(({ imports }) => imports.some((name) => name.startsWith('@duckdb/')));
  expect(users.map(({ path }) => path).filter((path) => !path.startsWith('analyze/db/'))).toEqual([]);
});

test('only cli prints and exits', () => {
  const printing = /\bconsole\s*\.|\bprocess\s*\.\s*(stdout|stderr|stdin|exit|exitCode)\b/;
  const printers = product.filter(({ path, text }) => printing.test(withoutComments(text)) && !ENTRY_FILES.test(path));
  expect(printers.map(({ path }) => path).filter((path) => !path.startsWith('cli/'))).toEqual([]);
});

/** A scanner for the whole grammar is not needed: what looks like a comment inside a string is no call either. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|(?<!:)\/\/.*$/gm, '');
}

test('no file or folder has a name that says nothing', () => {
  expect(all.map(({ path }) => path).filter((path) => path.split('/').some((part) => VAGUE_NAMES.test(part)))).toEqual(
    [],
  );
});
