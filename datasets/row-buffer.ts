import type { TraceBatch } from '../capture/trace/batch.ts';

/**
 * A row of a generated trace; NaN is null. All fields are there in each row, in this order: so that they have one shape, and a trace of 10^8
 * rows takes a minute and not five.
 */
export interface GeneratedRow {
  /** Code of `OPS`. */
  readonly op: number;
  readonly tsNs: number;
  readonly durNs: number;
  readonly tid: number;
  readonly vcpu: number;
  readonly obj: number;
  readonly gpa: number;
  readonly offset: number;
  readonly len: number;
  readonly attrs: number;
  readonly flags: number;
  readonly result: number;
}

/** 64-bit values, stored as two 32-bit words each: BigInts would be several times slower. */
class Words {
  readonly #words: Uint32Array;
  readonly values: BigUint64Array;
  readonly bits: Uint8Array;

  constructor(rows: number) {
    this.values = new BigUint64Array(rows);
    this.#words = new Uint32Array(this.values.buffer);
    this.bits = new Uint8Array(rows / 8);
  }

  set(row: number, value: number): void {
    markValid(this.bits, row, value);
    this.#words[row * 2] = value;
    this.#words[row * 2 + 1] = value / 0x1_0000_0000;
  }
}

/** Rows of a generated trace as columns, filled again and again. */
export class RowBuffer {
  readonly capacity: number;
  #rows = 0;
  readonly #op: Uint8Array;
  readonly #ts: Words;
  readonly #dur: Words;
  readonly #tid: Uint32Array;
  readonly #vcpu: Uint16Array;
  readonly #vcpuBits: Uint8Array;
  readonly #obj: Uint32Array;
  readonly #objBits: Uint8Array;
  readonly #gpa: Words;
  readonly #offset: Words;
  readonly #len: Words;
  readonly #attrs: Words;
  readonly #flags: Words;
  readonly #result: Words;
  readonly #details = new Map<number, string>();

  /** @param capacity rows, a multiple of 8 */
  constructor(capacity: number) {
    this.capacity = capacity;
    this.#op = new Uint8Array(capacity);
    this.#ts = new Words(capacity);
    this.#dur = new Words(capacity);
    this.#tid = new Uint32Array(capacity);
    this.#vcpu = new Uint16Array(capacity);
    this.#vcpuBits = new Uint8Array(capacity / 8);
    this.#obj = new Uint32Array(capacity);
    this.#objBits = new Uint8Array(capacity / 8);
    this.#gpa = new Words(capacity);
    this.#offset = new Words(capacity);
    this.#len = new Words(capacity);
    this.#attrs = new Words(capacity);
    this.#flags = new Words(capacity);
    this.#result = new Words(capacity);
  }

  get rows(): number {
    return this.#rows;
  }

  /** Appends a row and returns its index. */
  push(row: GeneratedRow): number {
    const at = this.#rows++;
    this.#op[at] = row.op;
    this.#ts.set(at, row.tsNs);
    this.#dur.set(at, row.durNs);
    this.#tid[at] = row.tid;
    this.#vcpu[at] = row.vcpu;
    markValid(this.#vcpuBits, at, row.vcpu);
    this.#obj[at] = row.obj;
    markValid(this.#objBits, at, row.obj);
    this.#gpa.set(at, row.gpa);
    this.#offset.set(at, row.offset);
    this.#len.set(at, row.len);
    this.#attrs.set(at, row.attrs);
    this.#flags.set(at, row.flags);
    this.#result.set(at, row.result);
    return at;
  }

  setDuration(row: number, durNs: number): void {
    this.#dur.set(row, durNs);
  }

  setDetail(row: number, text: string): void {
    this.#details.set(row, text);
  }

  /** The rows; views, valid until the next push. */
  batch(pid: number): TraceBatch {
    return {
      rows: this.#rows,
      op: this.#op,
      pid,
      columns: {
        ts_ns: this.#ts.values,
        dur_ns: this.#dur.values,
        tid: this.#tid,
        vcpu: this.#vcpu,
        obj: this.#obj,
        gpa: this.#gpa.values,
        offset: this.#offset.values,
        len: this.#len.values,
        attrs: this.#attrs.values,
        flags: this.#flags.values,
        result: new BigInt64Array(this.#result.values.buffer),
      },
      validity: {
        vcpu: this.#vcpuBits,
        obj: this.#objBits,
        gpa: this.#gpa.bits,
        offset: this.#offset.bits,
        len: this.#len.bits,
        attrs: this.#attrs.bits,
        flags: this.#flags.bits,
        result: this.#result.bits,
      },
      detail: this.#details,
    };
  }

  clear(): void {
    this.#rows = 0;
    this.#details.clear();
  }
}

/** Typed arrays turn NaN into 0, so that a null's value is always 0. */
function markValid(bits: Uint8Array, row: number, value: number): void {
  const bit = 1 << (row & 7);
  const byte = bits[row >> 3] ?? 0;
  bits[row >> 3] = Number.isNaN(value) ? byte & ~bit : byte | bit;
}
