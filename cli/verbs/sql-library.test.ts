/** `sql --list`, `--describe` and `--query`: what there is to ask. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { library, libraryQueries } from '../../analyze/index.ts';
import { PACKAGE_ROOT } from '../../native/index.ts';
import { runCli } from '../testing/run-cli.ts';

const TRACE = join(PACKAGE_ROOT, 'datasets', 'record-qemu-vfio.parquet');

/** Nothing is wrapped or coloured. */
const WIDE = { terminalColumns: 400, env: { NO_COLOR: '1' } };

interface Document {
  readonly schema: string;
  readonly library: readonly { readonly name: string; readonly columns: readonly { readonly name: string }[] }[];
}

describe('sql --list', () => {
  test('names everything once, with its sentence', async () => {
    const { status, stdout, stderr } = await runCli(['sql', '--list'], WIDE);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const lines = stdout.split('\n');
    for (const { signature, summary } of library()) {
      expect(lines.filter((line) => line.startsWith(`  ${signature} `) && line.endsWith(` ${summary}`))).toHaveLength(
        1,
      );
    }
  });

  test('has a document', async () => {
    const { stdout } = await runCli(['sql', '--list', '--json']);
    const document = JSON.parse(stdout) as Document;
    expect(document.schema).toBe('cvmtrace.sql-library/1');
    expect(document.library).toEqual(JSON.parse(JSON.stringify(library())));
  });
});

describe('sql --describe', () => {
  test('says what a view is, its columns and an example', async () => {
    const { stdout } = await runCli(['sql', '--describe', 'dma_live'], WIDE);
    const lines = stdout.split('\n');
    const [live] = library().filter(({ name }) => name === 'dma_live');
    expect(stdout).toContain('dma_live (view, analyze/sql/dma_live.sql)\n');
    for (const { name, meaning } of live?.columns ?? []) {
      expect(lines.filter((line) => line.startsWith(`  ${name} `) && line.endsWith(` ${meaning}`))).toHaveLength(1);
    }
    expect(stdout).toContain(`\n  ${live?.example}\n`);
  });

  test('says what a query reads, and what the data cannot say', async () => {
    const { stdout } = await runCli(['sql', '--describe', 'shared-gib-blocks'], WIDE);
    expect(stdout).toContain('reads\n  page_state_at_seq\n');
    expect(stdout).toMatch(/cannot say\n {2}How long RMPOPT takes/);
  });

  test('suggests the name that was meant', async () => {
    const run = await runCli(['sql', '--describe', 'dma-live']);
    expect(run).toMatchObject({ status: 2, stdout: '' });
    expect(run.stderr).toContain('did you mean dma_live?');
  });
});

describe('sql --query', () => {
  test('runs a documented query', async () => {
    const { status, stdout } = await runCli(['sql', TRACE, '--query', 'dma-headroom', '--format', 'csv', '-q']);
    expect(status).toBe(0);
    expect(stdout.split('\n').slice(0, 2)).toEqual([
      'trace,api,obj,peak_mappings,peak_bytes,peak_seq,peak_ns,entry_limit,headroom,refused',
      '0,type1,6,9,268972032,75,3788533881,65535,65526,0',
    ]);
  });

  test('what does not go together is refused', async () => {
    for (const argv of [
      ['--list', TRACE],
      ['--list', '--describe', 'events'],
      [TRACE, '--query', 'dma-headroom', '-f', 'x.sql'],
      ['--query', 'dma-headroom'],
      [TRACE, '--query', 'nothing-like-it'],
      [],
    ]) {
      expect(await runCli(['sql', ...argv])).toMatchObject({ status: 2, stdout: '' });
    }
  });

  test('its name is in no other query', () => {
    const names = libraryQueries().map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });
});
