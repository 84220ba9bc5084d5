import { ERRNO_NUMBERS } from '../../capture/import/errno-numbers.ts';
import { isValid } from '../../capture/trace/index.ts';
import type { Chunk, ColumnValues } from '../db/chunk.ts';
import type { PacketWriter } from './packets.ts';

/** What becomes arguments of a row's event, and how Perfetto shows it: a number, in hexadecimal (pointer), signed, by errno's name, text. */
const ARGUMENTS = [
  ['seq', 'uint'],
  ['tid', 'uint'],
  ['obj', 'uint'],
  ['gpa', 'pointer'],
  ['hva', 'pointer'],
  ['iova', 'pointer'],
  ['offset', 'pointer'],
  ['len', 'uint'],
  ['attrs', 'pointer'],
  ['flags', 'pointer'],
  ['result', 'int'],
  ['errno', 'errno'],
  ['detail', 'text'],
  ['lag_ns', 'uint'],
  ['sum_ns', 'uint'],
] as const;

/** The names, in the order in which a sequence numbers them. */
export const ARGUMENT_NAMES: readonly string[] = ARGUMENTS.map(([name]) => name);

/** A select list of the arguments, all numbers 64 bits wide. `sum_ns` is the time of rows that stand for many calls (`sums`, an SQL condition). */
export function argumentColumns(sums: string): string {
  return ARGUMENTS.map(([name, kind]) => {
    if (kind === 'text') return `"${name}"`;
    if (kind === 'errno') return `nullif(errno, 0) as errno`;
    const value = name === 'sum_ns' ? `case when ${sums} then dur_ns end` : `"${name}"`;
    return `${value}::${kind === 'int' ? 'bigint' : 'ubigint'} as "${name}"`;
  }).join(', ');
}

/** The first name of each number: later ones are other names for it. */
const ERRNO_NAMES: ReadonlyMap<number, string> = new Map(
  [...ERRNO_NUMBERS].reverse().map(([name, number]) => [number, name]),
);

/** The arguments of a chunk's rows. */
export class ChunkArguments {
  readonly #columns: readonly {
    readonly kind: (typeof ARGUMENTS)[number][1];
    readonly iid: number;
    readonly validity: Uint8Array | undefined;
    readonly values: ColumnValues;
    readonly halves: Uint32Array;
  }[];

  /** @param first place of the first column of `argumentColumns` in the chunk */
  constructor(chunk: Chunk, first: number) {
    this.#columns = ARGUMENTS.flatMap(([, kind], i) => {
      const column = chunk.columns[first + i];
      if (!column) throw new Error(`a chunk without the column of argument ${i}`);
      const { values } = column;
      const halves =
        values instanceof BigUint64Array || values instanceof BigInt64Array
          ? new Uint32Array(values.buffer)
          : NO_HALVES;
      return [{ kind, iid: i + 1, validity: column.validity ?? undefined, values, halves }];
    });
  }

  /** Writes those of one row; what is null is left out. */
  write(packets: PacketWriter, row: number): void {
    for (const { kind, iid, validity, values, halves } of this.#columns) {
      if (!isValid(validity, row)) continue;
      if (kind === 'text' || kind === 'errno') {
        const value = values[row];
        if (typeof value === 'string') packets.stringAnnotation(iid, value);
        else if (typeof value === 'number') packets.stringAnnotation(iid, ERRNO_NAMES.get(value) ?? String(value));
      } else {
        packets.numberAnnotation(iid, kind, halves[2 * row] ?? 0, halves[2 * row + 1] ?? 0);
      }
    }
  }
}

const NO_HALVES = new Uint32Array(0);
