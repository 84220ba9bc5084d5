import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { TraceFile } from '../../capture/trace/reader.ts';
import { readRows, type TraceRow } from '../../capture/trace/rows.ts';
import { expectGolden } from '../testing/golden.ts';
import { runCli, type CliOptions, type CliRun } from '../testing/run-cli.ts';
import { writeSampleTrace } from '../testing/sample-trace.ts';

const folder = mkdtempSync(join(tmpdir(), 'cvmtrace-import-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const log = join(folder, 'qemu.log');
writeFileSync(
  log,
  `qemu-system-x86_64: warning: something
7@1800000000.000100:kvm_convert_memory start 0x40000000 size 0x200000 shared_to_private
7@1800000000.000200:flatview_new 0x1 (root (nil))
7@1800000000.000300:kvm_convert_memory start 0x40000000 si
7@1800000000.000400:iommufd_backend_unmap_dma  iommufd=3 ioas=1 iova=0x40000000 size=0x200000 (-2)
`,
);

const run = (argv: readonly string[], options?: CliOptions): Promise<CliRun> => runCli(['import', ...argv], options);
const golden = (name: string, result: CliRun): void =>
  // The file's size is that of the folder's name too, which is in the command.
  expectGolden(name, result, (text) =>
    text.replaceAll(folder, 'FOLDER').replace(/[\d.]+ KiB|(?<="sizeBytes": )\d+/g, 'SIZE'),
  );

function rows(path: string): TraceRow[] {
  const trace = TraceFile.open(path);
  try {
    return [...readRows(trace)];
  } finally {
    trace.close();
  }
}

describe('import', () => {
  it('says what it made and what it did not understand, and info says it again', async () => {
    const out = join(folder, 'qemu.arrow');
    const result = await run([log, '-o', out]);
    expect(result.status).toBe(0);
    golden('import', result);
    golden('import-info', await runCli(['info', out]));
  });

  it('reads standard input, and is one JSON document', async () => {
    const out = join(folder, 'stdin.arrow');
    const result = await run(['-', '-o', out, '--json'], { stdin: readFileSync(log, 'utf8') });
    expect(result.status).toBe(0);
    golden('import-json', result);
  });

  it('aligns to another trace by its clock', async () => {
    const recorded = join(folder, 'recorded.arrow');
    await writeSampleTrace(recorded);
    const out = join(folder, 'aligned.arrow');
    // The sample's base is 1750000001 s of wall time.
    const late = join(folder, 'late.log');
    writeFileSync(late, '7@1750000001.500000:kvm_memory_fault start 0x1000 size 0x1000 flags 0x8\n');
    expect((await run([late, '-o', out, '--align', recorded, '--clock-offset', '-1.5us'])).status).toBe(0);
    expect(rows(out)[0]).toMatchObject({ ts_ns: 499_998_500n });
    const both = await runCli([
      'sql',
      recorded,
      out,
      "select ts_ns from events where op = 'exit_memory_fault'",
      '--format',
      'csv',
    ]);
    expect(both.stdout).toBe('ts_ns\n499998500\n');
  });

  it.each(['csv', 'jsonl'])('makes of an exported %s the trace that it was', async (format) => {
    const original = join(folder, `${format}-original.arrow`);
    await writeSampleTrace(original);
    const exported = join(folder, `exported.${format}`);
    expect((await runCli(['export', original, '--to', format, '-o', exported])).status).toBe(0);
    const back = join(folder, `${format}-back.arrow`);
    expect((await run([exported, '-o', back])).stderr).toMatch(
      /^cvmtrace import: warning: the log says that 7 events were lost[^\n]*\n$/,
    );
    expect(rows(back)).toEqual(rows(original));
  });

  it('ends at an interrupt, with what was read by then', async () => {
    const out = join(folder, 'interrupted.arrow');
    const big = join(folder, 'big.log');
    writeFileSync(big, '7@1800000000.000100:kvm_memory_fault start 0x1000 size 0x1000 flags 0x8\n'.repeat(400_000));
    let timer: NodeJS.Timeout | undefined;
    const result = await run([big, '-o', out], {
      // Rows are there as soon as the file is.
      onStart: (send) => (timer = setInterval(() => existsSync(`${out}.partial`) && send('SIGINT'), 1)),
    });
    clearInterval(timer);
    expect(result.status).toBe(130);
    expect(result.stderr).toContain('what was read by then is a whole trace');
    const read = rows(out).length;
    expect(read).toBeGreaterThan(1000);
    expect(read).toBeLessThan(400_000);
  });

  it('has a status for each way to fail', async () => {
    const out = join(folder, 'never.arrow');
    const prose = join(folder, 'prose.txt');
    writeFileSync(prose, 'to be\nor not\n');
    expect((await run([prose, '-o', out])).status).toBe(65);
    expect((await run([join(folder, 'nowhere'), '-o', out])).status).toBe(66);
    expect((await run([log, '-o', out, '--format', 'parchment'])).status).toBe(2);
    expect((await run([log, '-o', '-'])).status).toBe(2);
    expect((await run([log, '-o', out, '--clock-offset', '1.5ns'])).status).toBe(2);
    expect((await run([log, '-o', out, '--align', join(folder, 'nowhere')])).status).toBe(66);
    expect((await run([log])).status).toBe(2);
  });
});
