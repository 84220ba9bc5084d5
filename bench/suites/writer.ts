import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { opCode, OPS } from '../../native/index.ts';
import { FORMAT_VERSION, type TraceMetadata } from '../../capture/trace/metadata.ts';
import type { TraceBatch } from '../../capture/trace/batch.ts';
import { TraceWriter } from '../../capture/trace/writer.ts';
import { PACKAGE_VERSION } from '../../native/index.ts';
import { meanInterval } from '../stats/interval.ts';
import { type Metric, type Suite, withInterval } from './suite.ts';

const BATCH_ROWS = 65_536;

export const writerSuite: Suite = {
  name: 'writer',
  summary: 'rows per second into a trace, from the columns that the executor returns',
  async run({ quick, folder, signal, onProgress }) {
    const rows = quick ? 1_000_000 : 10_000_000;
    const rounds = quick ? 3 : 5;
    const path = join(folder, 'writer.arrow');
    const rates: number[] = [];
    let bytes = 0;
    const batch = batchOf(BATCH_ROWS);
    for (let round = 0; round <= rounds; round++) {
      signal.throwIfAborted();
      onProgress?.(`round ${round} of ${rounds}`);
      rmSync(path, { force: true });
      const start = process.hrtime.bigint();
      const writer = TraceWriter.create(path, METADATA);
      for (let written = 0; written < rows; written += BATCH_ROWS) writer.append(batch);
      // finish() also waits for the disk; the rate is what a recording must keep up with.
      const elapsedNs = Number(process.hrtime.bigint() - start);
      const { rows: total } = await writer.finish({ exitStatus: 0, lostEvents: 0 });
      bytes = statSync(path).size / total;
      if (round > 0) rates.push((total / elapsedNs) * 1e9);
    }
    rmSync(path, { force: true });
    const metrics: Metric[] = [
      {
        metric: 'rows per second',
        ...withInterval(meanInterval(rates)),
        unit: 'rows/s',
        better: 'higher',
        limit: { op: '>=', value: 5e6 },
      },
      { metric: 'bytes per row', value: bytes, unit: 'bytes', better: 'lower' },
    ];
    return {
      setup: `${rows} rows in batches of ${BATCH_ROWS}, ${rounds} rounds; into the page cache, the flush at the end is not in it`,
      metrics,
    };
  },
};

/** A batch as the executor returns it: the same columns, one row in three with nulls in some. */
function batchOf(rows: number): TraceBatch {
  const u64 = (value: (row: number) => number): BigUint64Array =>
    BigUint64Array.from({ length: rows }, (_, row) => BigInt(value(row)));
  const validity = new Uint8Array(rows / 8).fill(0b11011011);
  return {
    rows,
    op: Uint8Array.from({ length: rows }, (_, row) =>
      row % 3 === 0 ? opCode('exit_map_gpa_range') : row % OPS.length,
    ),
    errno: new Uint16Array(rows),
    columns: {
      ts_ns: u64((row) => row * 1000),
      dur_ns: u64((row) => 500 + (row % 100)),
      vcpu: new Uint16Array(rows),
      obj: new Uint32Array(rows).fill(3),
      gpa: u64((row) => row * 4096),
      offset: u64((row) => row * 4096),
      len: u64(() => 4096),
      attrs: u64((row) => (row % 2) * 16),
      flags: u64(() => 0),
      result: BigInt64Array.from({ length: rows }, () => 0n),
    },
    validity: { obj: validity, offset: validity },
    pid: 1,
    tid: 1,
  };
}

const METADATA: TraceMetadata = {
  format: FORMAT_VERSION,
  tool: { name: 'cvmtrace', version: PACKAGE_VERSION },
  source: 'generated',
  command: [],
  clock: { name: 'unknown', baseNs: null, wallOffsetNs: null },
  host: null,
  guest: { memoryBytes: null, vcpus: null, vmType: null, requests: null, slots: [] },
  leftOut: [],
};
