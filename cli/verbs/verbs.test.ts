import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectGolden } from '../testing/golden.ts';
import { runCli, type CliRun } from '../testing/run-cli.ts';
import { SAMPLE_METADATA, writeSampleTrace } from '../testing/sample-trace.ts';

let folder: string;
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'cvmtrace-test-'));
  await writeSampleTrace(at('boot.arrow'));
  await writeSampleTrace(at('stand-in.arrow'), {
    ...SAMPLE_METADATA,
    backend: { name: 'two-memfd', standIn: true },
    ...(SAMPLE_METADATA.host && { host: { ...SAMPLE_METADATA.host, emulated: true } }),
  });
  copyFileSync(at('boot.arrow'), at('torn.arrow'));
  truncateSync(at('torn.arrow'), statSync(at('torn.arrow')).size - 100);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The temporary folder has another name in each run. */
function inFolder(text: string): string {
  return text.replaceAll(folder, 'DIR');
}

async function golden(name: string, argv: readonly string[], status = 0): Promise<CliRun> {
  const run = await runCli(argv);
  expectGolden(name, run, inFolder);
  expect(run.status).toBe(status);
  return run;
}

describe('info', () => {
  test('says what a trace is', () => golden('info', ['info', at('boot.arrow')]));
  test('says stand-in and emulated beside the times', () => golden('info-stand-in', ['info', at('stand-in.arrow')]));
  test('says that a trace is truncated', () => golden('info-truncated', ['info', at('torn.arrow')]));
  test('has a document for several', () =>
    golden('info-json', ['info', '--json', at('boot.arrow'), at('stand-in.arrow')]));
});

describe('verify', () => {
  test('a sound trace', () => golden('verify', ['verify', at('boot.arrow')]));
  test('a sound and a torn one', () => golden('verify-torn', ['verify', at('boot.arrow'), at('torn.arrow')], 65));
  test('its document', () => golden('verify-json', ['verify', '--json', at('torn.arrow')], 65));

  test('goes on after one that is not there', async () => {
    const run = await golden('verify-missing', ['verify', at('gone.arrow'), at('boot.arrow')], 66);
    expect(run.stdout).toContain('sound');
  });
});

describe('recover', () => {
  test('makes a trace that is read, and says what it dropped', async () => {
    await golden('recover', ['recover', at('torn.arrow'), '-o', at('recovered.arrow')]);
    const [torn, recovered] = await Promise.all(
      ['torn', 'recovered'].map((name) =>
        runCli(['sql', at(`${name}.arrow`), 'select count(*), sum(dur_ns) from events']),
      ),
    );
    expect(recovered?.stdout).toBe(torn?.stdout);
  });
});

describe('sql', () => {
  const QUERY =
    'select op, count(*) as calls, sum(dur_ns) as total_ns, max(detail) as detail from events group by op order by op::varchar';

  test.each(['table', 'csv', 'json', 'jsonl'])('writes %s', async (format) => {
    await golden(`sql-${format}`, ['sql', at('boot.arrow'), QUERY, '--format', format]);
  });

  test('several traces', () =>
    golden('sql-several', [
      'sql',
      at('boot.arrow'),
      at('stand-in.arrow'),
      'select trace, count(*) as events from events group by trace order by trace',
    ]));

  test('--json is --format json', async () => {
    const run = await runCli(['sql', at('boot.arrow'), QUERY, '--json']);
    expect(run.stdout).toBe((await runCli(['sql', at('boot.arrow'), QUERY, '--format', 'json'])).stdout);
  });

  test('a table that is cut says so', () =>
    golden('sql-cut', ['sql', at('boot.arrow'), 'select seq, op from events', '--max-rows', '3']));

  test.each([
    ['standard input', ['-'], 'select 40 + 2 as n'],
    ['a file', ['-f', 'query.sql'], ''],
    ['a file that is standard input', ['-f', '-'], 'select 42 as n'],
  ])('a query from %s', async (_where, argv, stdin) => {
    writeFileSync(at('query.sql'), 'select 42 as n; -- the answer');
    const files = argv.map((argument) => (argument.endsWith('.sql') ? at(argument) : argument));
    const run = await runCli(['sql', at('boot.arrow'), ...files, '--format', 'csv'], { stdin });
    expect(run).toMatchObject({ status: 0, stdout: 'n\n42\n', stderr: '' });
  });

  test.each([
    ['arrow', 'ARROW1'],
    ['parquet', 'PAR1'],
  ])('%s to standard output and to a file is the same', async (format, magic) => {
    const query = 'select seq, op, len from events';
    const run = await runCli(['sql', at('boot.arrow'), query, '--format', format]);
    expect(run.bytes.subarray(0, magic.length).toString()).toBe(magic);
    await runCli(['sql', at('boot.arrow'), query, '--format', format, '-o', at(`out.${format}`)]);
    expect(readFileSync(at(`out.${format}`)).equals(run.bytes)).toBe(true);
  });

  test('only --allow-files reads another file', async () => {
    const query = `select count(*) as n from read_csv('${at('numbers.csv')}')`;
    writeFileSync(at('numbers.csv'), 'a\n1\n2\n');
    expect(await runCli(['sql', at('boot.arrow'), query])).toMatchObject({ status: 2, stdout: '' });
    const allowed = await runCli(['sql', at('boot.arrow'), query, '--allow-files', '--format', 'csv']);
    expect(allowed).toMatchObject({ status: 0, stdout: 'n\n2\n' });
  });
});

describe('export', () => {
  test('says what it wrote', () =>
    golden('export-csv', ['export', at('boot.arrow'), '--to', 'csv', '-o', at('boot.csv')]));

  test.each([
    [
      'csv',
      [
        'seq,ts_ns,dur_ns,pid,tid,vcpu,op,obj,gpa,hva,iova,offset,len,attrs,flags,result,errno,detail',
        '0,1000,900000,100,101,,kvm_create_vm,1,,,,,,0,,,0,',
      ],
    ],
    [
      'jsonl',
      [
        '{"seq":"0","ts_ns":"1000","dur_ns":"900000","pid":100,"tid":101,"vcpu":null,"op":"kvm_create_vm","obj":1,"gpa":null,"hva":null,' +
          '"iova":null,"offset":null,"len":null,"attrs":"0","flags":null,"result":null,"errno":0,"detail":null}',
      ],
    ],
  ])('%s to standard output and to a file is the same', async (to, first) => {
    const run = await runCli(['export', at('boot.arrow'), '--to', to, '-o', '-']);
    expect(run.stdout.split('\n').slice(0, first.length)).toEqual(first);
    await runCli(['export', at('boot.arrow'), '--to', to, '-o', at(`same.${to}`)]);
    expect(readFileSync(at(`same.${to}`), 'utf8')).toBe(run.stdout);
  });

  test.each(['parquet', 'arrow'])('%s is a trace with the same numbers', async (to) => {
    const copy = at(`copy.${to}`);
    expect(await runCli(['export', at('boot.arrow'), '--to', to, '-o', copy])).toMatchObject({ status: 0, stderr: '' });
    for (const verb of ['info', 'analyze']) {
      const of = async (path: string) => {
        const run = await runCli([verb, '--json', path]);
        expect(run).toMatchObject({ status: 0, stderr: '' });
        return run.stdout.replaceAll(path, 'TRACE').replace(/"kind": .*|"sizeBytes": .*/g, '');
      };
      expect(await of(copy)).toBe(await of(at('boot.arrow')));
    }
    expect(await runCli(['verify', copy])).toMatchObject({ status: 0, stderr: '' });
  });
});

describe('analyze', () => {
  test('reports a trace', () => golden('analyze', ['analyze', at('boot.arrow')]));
  test('says stand-in, emulated and generated where the times are', () =>
    golden('analyze-stand-in', ['analyze', at('stand-in.arrow')]));
  test('has a document', () => golden('analyze-json', ['analyze', '--json', at('boot.arrow')]));
});
