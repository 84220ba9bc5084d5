import { describe, expect, it } from 'vitest';
import { opCode } from '../../native/index.ts';
import type { TraceBatch } from '../trace/batch.ts';
import { isValid } from '../trace/bitmap.ts';
import { RowSink, type RowSinkOptions } from './row-sink.ts';
import { Troubles } from './troubles.ts';

const MARK = opCode('mark');

interface Taken {
  readonly sink: RowSink;
  readonly troubles: Troubles;
  /** ts_ns of all rows. */
  readonly times: (bigint | null)[];
  readonly batches: number[];
  readonly columns: Set<string>;
}

function take(options: Partial<RowSinkOptions> = {}): Taken {
  const times: (bigint | null)[] = [];
  const batches: number[] = [];
  const columns = new Set<string>();
  const troubles = new Troubles();
  const consume = (batch: TraceBatch): void => {
    batches.push(batch.rows);
    for (const name of Object.keys(batch.columns)) columns.add(name);
    for (let row = 0; row < batch.rows; row++) {
      const { ts_ns: ts } = batch.columns;
      times.push(ts && isValid(batch.validity.ts_ns, row) ? (ts[row] ?? null) : null);
    }
  };
  return { sink: new RowSink({ consume, troubles, batchRows: 8, ...options }), troubles, times, batches, columns };
}

describe('RowSink', () => {
  it('counts times from the earliest of the first batch', () => {
    const { sink, times, troubles } = take();
    for (const [seconds, ns] of [
      [100, 500],
      [99, 999_999_999],
      [100, 0],
    ] as const) {
      sink.row(MARK);
      sink.time(seconds, ns);
    }
    sink.row(MARK);
    sink.finish();
    expect(times).toEqual([501n, 0n, 1n, null]);
    expect(sink.baseNs).toBe(99_999_999_999n);
    expect(troubles.kinds()).toEqual([]);
  });

  it('gives no time to what is before the base, and says so', () => {
    const { sink, times, troubles, batches } = take();
    for (let i = 0; i < 8; i++) {
      sink.row(MARK);
      sink.time(10, i);
    }
    sink.row(MARK);
    sink.time(9, 0);
    sink.row(MARK);
    sink.time(200 * 86_400, 1);
    sink.finish();
    expect(batches).toEqual([8, 2]);
    expect(times.slice(8)).toEqual([null, 200n * 86_400n * 1_000_000_000n + 1n - 10_000_000_000n]);
    expect(troubles.kinds().map(({ kind }) => kind)).toEqual(["time before the trace's base"]);
  });

  it('takes a base from elsewhere, after the offset', () => {
    const chosen: [string, bigint][] = [];
    const { sink, times, troubles } = take({
      clockOffsetNs: -1_000n,
      chooseBase: (clock, earliestNs) => {
        chosen.push([clock, earliestNs]);
        return 5_000_000_000n;
      },
    });
    sink.clock = 'CLOCK_MONOTONIC';
    for (const ns of [1_500, 500, 2_000]) {
      sink.row(MARK);
      sink.time(5, ns);
    }
    sink.finish();
    expect(chosen).toEqual([['CLOCK_MONOTONIC', 4_999_999_500n]]);
    expect(times).toEqual([500n, null, 1_000n]);
    expect(sink.baseNs).toBe(5_000_000_000n);
    expect(troubles.kinds()).toHaveLength(1);
  });

  it('takes a row back without a trace of it', () => {
    const { sink, times, columns } = take();
    sink.row(MARK);
    sink.gpa(1, 2);
    sink.detail('gone');
    sink.dropRow();
    sink.row(MARK);
    sink.finish();
    expect(times).toEqual([null]);
    expect(sink.rows).toBe(1);
    expect([...columns]).toEqual(['gpa']);
  });

  it('keeps what a column cannot hold out of it', () => {
    const { sink, columns, troubles } = take();
    sink.row(MARK);
    sink.vcpu(65_536);
    sink.pid(2 ** 32);
    sink.tid(-1);
    sink.obj(0);
    sink.durNs(-1);
    sink.durNs(NaN);
    sink.errno(65_536);
    sink.time(2 ** 60, 0);
    sink.finish();
    expect([...columns]).toEqual([]);
    expect(troubles.kinds().map(({ kind }) => kind)).toEqual(['errno out of range', 'time out of range']);
  });

  it('numbers objects from 1, by name, and not without end', () => {
    const { sink, troubles } = take();
    expect([sink.object('vm 3'), sink.object('vm 4'), sink.object('vm 3')]).toEqual([1, 2, 1]);
    for (let i = 0; i < 1024 * 1024; i++) sink.object(`ioas ${i}`);
    expect(sink.object('one more')).toBe(0);
    expect(sink.object('vm 4')).toBe(2);
    expect(troubles.kinds()[0]?.kind).toBe('more objects than can be numbered');
  });
});
