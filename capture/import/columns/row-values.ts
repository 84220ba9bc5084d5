import { CvmtraceError, OPS, opCode } from '../../../native/index.ts';
import { COLUMNS, TRACE_END } from '../../trace/schema.ts';
import type { Cursor } from '../cursor.ts';
import type { ImportContext } from '../format.ts';

const CODES: ReadonlyMap<string, number> = new Map(OPS.map((name, code) => [name, code]));
const MARK = opCode('mark');

/** A column of our own format that a row can be given: all but `seq`, which the trace counts itself, and `lag_ns`, which only replays have. */
const NAMES = COLUMNS.map(({ name }) => name).filter((name) => name !== 'seq' && name !== 'lag_ns');

export type ValueName = (typeof NAMES)[number];

/** The column of this name, in upper or lower case; null for one that rows are not given. */
export function valueName(text: string): ValueName | null {
  const lower = text.trim().toLowerCase();
  return NAMES.find((name) => name === lower) ?? null;
}

/** Whether names are those of columns, so far that it is no chance: `op`, and most others. From 0 to 100. */
export function likeness(names: readonly string[]): number {
  const known = names.filter((name) => valueName(name) !== null || ['seq', 'lag_ns', 'trace'].includes(name)).length;
  if (!names.some((name) => valueName(name) === 'op') || known < 2) return 0;
  return known === names.length ? 100 : known * 2 > names.length ? 70 : 20;
}

/**
 * The values of one row, given by column in any order. They stay in typed places until the row is complete: only then it is known whether its
 * operation is one of ours.
 */
export class RowValues {
  readonly #context: ImportContext;
  readonly #lo = new Uint32Array(NAMES.length);
  readonly #hi = new Uint32Array(NAMES.length);
  readonly #has = new Uint8Array(NAMES.length);
  #op = '';
  #detail: string | null = null;

  constructor(context: ImportContext) {
    this.#context = context;
  }

  clear(): void {
    this.#has.fill(0);
    this.#op = '';
    this.#detail = null;
  }

  text(name: 'op' | 'detail', text: string): void {
    if (name === 'op') this.#op = text;
    else this.#detail = text;
  }

  /** A number at the cursor, up to its end: decimal, or hexadecimal after 0x. */
  number(name: ValueName, cursor: Cursor): void {
    const negative = cursor.peek() === 0x2d;
    if (!cursor.number() || cursor.at !== cursor.end || (negative && name !== 'result')) {
      this.#context.troubles.add(`bad number in ${name}`);
      return;
    }
    const index = NAMES.indexOf(name);
    this.#lo[index] = cursor.lo;
    this.#hi[index] = cursor.hi;
    this.#has[index] = 1;
  }

  /** Puts the values into a row. */
  emit(): void {
    const { sink, troubles } = this.#context;
    const code = CODES.get(this.#op);
    if (code === undefined) {
      troubles.add(this.#op === '' ? 'row without an op' : 'unknown op');
      return;
    }
    if (code === MARK && this.#detail === TRACE_END) {
      this.#traceEnd();
      return;
    }
    sink.row(code);
    for (const [index, name] of NAMES.entries()) {
      if (this.#has[index] === 1) this.#put(name, this.#lo[index] ?? 0, this.#hi[index] ?? 0);
    }
    if (this.#detail !== null) sink.detail(this.#detail);
  }

  #put(name: ValueName, lo: number, hi: number): void {
    const { sink, troubles } = this.#context;
    switch (name) {
      case 'ts_ns':
        sink.tsNs(lo, hi);
        return;
      case 'gpa':
      case 'hva':
      case 'iova':
      case 'offset':
      case 'len':
      case 'attrs':
      case 'flags':
      case 'result':
        sink[name](lo, hi);
        return;
      case 'dur_ns':
        sink.dur(lo, hi);
        return;
      case 'pid':
      case 'tid':
      case 'obj':
      case 'vcpu':
      case 'errno':
        if (hi > 0 || lo > LIMITS[name]) troubles.add(`${name} out of range`);
        else sink[name](lo);
        return;
      case 'op':
      case 'detail':
        throw new CvmtraceError('BAD_INPUT', `${name} is no number`);
    }
  }

  /** The trace gets a row of its own that says this. */
  #traceEnd(): void {
    const value = (name: ValueName): bigint | undefined => {
      const index = NAMES.indexOf(name);
      return this.#has[index] === 1 ? (BigInt(this.#hi[index] ?? 0) << 32n) | BigInt(this.#lo[index] ?? 0) : undefined;
    };
    const result = value('result');
    const tsNs = value('ts_ns');
    this.#context.sink.end = {
      exitStatus: result === undefined ? null : Number(BigInt.asIntN(64, result)),
      lostEvents: Number(value('len') ?? 0n),
      ...(tsNs === undefined ? {} : { tsNs }),
    };
  }
}

const LIMITS = { pid: 0xffff_ffff, tid: 0xffff_ffff, obj: 0xffff_ffff, vcpu: 0xffff, errno: 0xffff };
