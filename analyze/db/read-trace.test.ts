import { copyFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { OPS } from '../../native/index.ts';
import { BodyBuilder, asBytes, encodeOps } from '../../capture/trace/encode.ts';
import { TraceFile } from '../../capture/trace/reader.ts';
import { COLUMNS, WIDTH_BYTES } from '../../capture/trace/schema.ts';
import { craftFile, expectedRow, testFolder, writeTrace } from '../../capture/trace/testing/sample.ts';
import { rejectedBy } from '../testing/rejected-by.ts';
import type { Analysis } from './analysis.ts';
import type { Value } from './chunk.ts';
import { openAnalysis } from './open-analysis.ts';

const folder = testFolder();

/** Every value of every row, against the rows that were written; `trace_end` is left out. */
async function expectDeterministicRows(analysis: Analysis, rows: number, trace = 0): Promise<void> {
  const names = COLUMNS.map(({ name }) => name);
  const { rows: actual } = await analysis.query(
    `select "${names.join('", "')}" from events where trace = ${trace} and seq < ${rows} order by seq`,
  );
  expect(actual.length).toBe(rows);
  actual.forEach((row, seq) => {
    const wanted: Readonly<Record<string, unknown>> = expectedRow(seq);
    names.forEach((name, i) => {
      const value = row[i];
      // Small integers come as number from DuckDB and from the reader; an expect for each value would take minutes.
      if (value !== (wanted[name] ?? null))
        expect({ seq, name, value }).toEqual({ seq, name, value: wanted[name] ?? null });
    });
  });
}

/** A trace of two rows with these names in the dictionary, and these indices. */
function craftOps(path: string, names: readonly string[], indices: readonly number[]): void {
  const body = new BodyBuilder(2);
  for (const { name, type, nullable } of COLUMNS) {
    if (name === 'lag_ns') continue;
    if (type === 'utf8') body.addUtf8(new Int32Array(3), new Uint8Array(), new Uint8Array(1), 2);
    else if (name === 'op') body.addFixed(Uint8Array.from(indices));
    else if (name === 'seq') body.addFixed(asBytes(BigUint64Array.of(0n, 1n)));
    else if (!nullable) body.addFixed(new Uint8Array(4));
    else body.addNulls(WIDTH_BYTES[type]);
  }
  craftFile(path, { dictionaries: [encodeOps(names)], batches: [body.recordBatch()] });
}

const opsOf = async (analysis: Analysis, trace: number): Promise<Value[]> =>
  (await analysis.query(`select op from events where trace = ${trace} order by seq`)).rows.flat();

describe('values', () => {
  test.each([
    ['one batch shorter than a vector', 100, 100],
    ['batches that end inside a vector, and empty tails', 9_001, 3_000],
    ['a batch of many vectors', 30_000, 30_000],
  ])('%s', async (_, rows, perBatch) => {
    const path = join(folder, `values-${rows}.arrow`);
    await writeTrace(path, rows, perBatch);
    await using analysis = await openAnalysis([path], { threads: 2 });
    expect(analysis.traces).toMatchObject([{ path, kind: 'arrow', rows: rows + 1, complete: true }]);
    await expectDeterministicRows(analysis, rows);
  });

  test('a trace without batches has no rows', async () => {
    const path = join(folder, 'empty.arrow');
    craftFile(path, { dictionaries: [encodeOps(OPS)] });
    await using analysis = await openAnalysis([path]);
    expect((await analysis.query('select * from events')).rows).toEqual([]);
    expect((await analysis.query('select count(*) from read_trace(' + `'${path}')`)).rows).toEqual([[0n]]);
  });

  test('lag_ns is there in a paced trace and null in another', async () => {
    const paced = join(folder, 'paced.arrow');
    const unpaced = join(folder, 'unpaced.arrow');
    await writeTrace(paced, 10, 10, { paced: true });
    await writeTrace(unpaced, 10);
    await using analysis = await openAnalysis([paced, unpaced]);
    const { rows } = await analysis.query(
      'select trace, count(*), count(lag_ns) from events group by trace order by trace',
    );
    expect(rows).toEqual([
      [0, 11n, 0n],
      [1, 11n, 0n],
    ]);
  });

  test("quotes in a trace's name", async () => {
    const path = join(folder, 'it\'s a "trace".arrow');
    await writeTrace(path, 3);
    await using analysis = await openAnalysis([path]);
    expect((await analysis.query('select count(*) from events')).rows).toEqual([[4n]]);
    expect((await analysis.query('select path from traces')).rows).toEqual([[path]]);
  });
});

describe('op', () => {
  test('traces with different dictionaries have one type, with names that this version does not know', async () => {
    const own = join(folder, 'own.arrow');
    const foreign = join(folder, 'foreign.arrow');
    await writeTrace(own, OPS.length);
    craftOps(foreign, ['gmem_touch', 'from_the_future', 'mark'], [1, 0]);
    await using analysis = await openAnalysis([own, foreign]);
    expect(await opsOf(analysis, 1)).toEqual(['from_the_future', 'gmem_touch']);
    expect(await opsOf(analysis, 0)).toEqual([...OPS.keys()].map((seq) => expectedRow(seq).op).concat('mark'));
  });

  test('more names than fit in a byte', async () => {
    const paths = ['a', 'b'].map((letter) => {
      const path = join(folder, `many-${letter}.arrow`);
      craftOps(
        path,
        Array.from({ length: 200 }, (_, i) => `${letter}_${i}`),
        [199, 0],
      );
      return path;
    });
    const own = join(folder, 'many-own.arrow');
    await writeTrace(own, OPS.length);
    await using analysis = await openAnalysis([...paths, own]);
    expect(await opsOf(analysis, 0)).toEqual(['a_199', 'a_0']);
    expect(await opsOf(analysis, 1)).toEqual(['b_199', 'b_0']);
    expect(await opsOf(analysis, 2)).toEqual([...OPS.keys()].map((seq) => expectedRow(seq).op).concat('mark'));
  });
});

describe('only what is asked for', () => {
  test('a damaged column fails the queries that read it, with our words, and no other', async () => {
    const path = join(folder, 'damaged.arrow');
    await writeTrace(path, 5_000, 2_500);
    const file = TraceFile.open(path);
    const { bodyOffset, buffers } = file.batch(1);
    file.close();
    const bytes = readFileSync(path);
    bytes[bodyOffset + (buffers.get('op')?.data.offset ?? 0) + 7] = 200;
    writeFileSync(path, bytes);
    await using analysis = await openAnalysis([path]);
    expect((await analysis.query('select count(*), max(seq) from events')).rows).toEqual([[5_001n, 5_000n]]);
    const error = await rejectedBy(() => analysis.query('select op, count(*) from events group by op'), 'BAD_INPUT');
    expect(error.message).toContain('index 200');
    expect(error.message).toContain(path);
    // And the analysis works on.
    expect((await analysis.query('select min(errno) from events')).rows).toEqual([[0]]);
  });
});

describe('files', () => {
  test('a torn file is read to its last whole batch and flagged', async () => {
    const whole = join(folder, 'whole.arrow');
    const torn = join(folder, 'torn.arrow.partial');
    await writeTrace(whole, 3_000, 1_000);
    copyFileSync(whole, torn);
    const file = TraceFile.open(whole);
    const { block } = file.batch(2);
    file.close();
    truncateSync(torn, block.offset + block.metadataLength + 10);
    await using analysis = await openAnalysis([torn]);
    expect(analysis.traces).toMatchObject([{ rows: 2_000, complete: false }]);
    expect((await analysis.query('select complete from traces')).rows).toEqual([[false]]);
    await expectDeterministicRows(analysis, 2_000);
  });

  test('several traces, the same twice, and Parquet among them', async () => {
    const arrow = join(folder, 'several.arrow');
    const parquet = join(folder, 'several.parquet');
    await writeTrace(arrow, 5_000, 2_000);
    {
      await using analysis = await openAnalysis([arrow]);
      const metadata = JSON.stringify(analysis.traces[0]?.metadata);
      await analysis.copyTo('select * exclude (trace) from events', 'parquet', parquet, {
        metadata: { cvmtrace: metadata },
      });
    }
    await using analysis = await openAnalysis([arrow, parquet, arrow]);
    expect(analysis.traces.map(({ kind, rows, complete }) => [kind, rows, complete])).toEqual([
      ['arrow', 5_001, true],
      ['parquet', 5_001, true],
      ['arrow', 5_001, true],
    ]);
    expect(analysis.traces[1]?.metadata).toEqual(analysis.traces[0]?.metadata);
    for (const trace of [0, 1, 2]) await expectDeterministicRows(analysis, 5_000, trace);
  });

  test('what is missing or no trace is refused', async () => {
    const garbage = join(folder, 'garbage');
    writeFileSync(garbage, 'PAR1 and no more');
    expect((await rejectedBy(() => openAnalysis([garbage]), 'BAD_INPUT')).message).toContain(garbage);
    expect((await rejectedBy(() => openAnalysis([join(folder, 'none')]), 'NO_INPUT')).message).toContain('none');
    await using analysis = await openAnalysis([]);
    const foreign = join(folder, 'foreign.parquet');
    await analysis.copyTo('select 1 as x', 'parquet', foreign);
    expect((await rejectedBy(() => openAnalysis([foreign]), 'BAD_INPUT')).message).toContain('not a trace');
  });

  test('read_trace opens the given traces only, unless files are allowed', async () => {
    const given = join(folder, 'given.arrow');
    const other = join(folder, 'other.arrow');
    await writeTrace(given, 10);
    await writeTrace(other, 20);
    const sql = `select count(*) from read_trace('${other}')`;
    {
      await using analysis = await openAnalysis([given]);
      const error = await rejectedBy(() => analysis.query(sql), 'USAGE');
      expect(error.message).toContain('not one of the traces');
      expect(error.hint).toContain('--allow-files');
    }
    await using analysis = await openAnalysis([given], { allowFiles: true });
    expect((await analysis.query(sql)).rows).toEqual([[21n]]);
    await rejectedBy(() => analysis.query("from read_trace('/nowhere/x.arrow')"), 'NO_INPUT');
  });
});
