import { describe, expect, it } from 'vitest';
import type { LineFormat } from '../format.ts';
import { perfScriptFormat } from '../perf/perf-script.ts';
import { perfTraceFormat } from '../perf/perf-trace.ts';
import { fixturesOf } from '../testing/check-format.ts';
import { importBytes } from '../testing/import-bytes.ts';
import { ftraceFormat, traceCmdFormat } from './ftrace.ts';

const FORMATS: readonly LineFormat[] = [ftraceFormat, traceCmdFormat, perfScriptFormat, perfTraceFormat];

/** Bytes that mean something to a parser. */
const SPECIAL = Buffer.from('\n\0 -:.,()[]<>/=x0f9"\xff', 'latin1');

describe.each(FORMATS)('$name', (format) => {
  it('takes damaged input without throwing, and counts what it does not use', () => {
    const random = generator(7);
    for (const { bytes } of fixturesOf(format.name)) {
      for (let round = 0; round < 20; round++) {
        const damaged = Uint8Array.from(bytes);
        for (let i = 0; i < 30; i++) damaged[random() % damaged.length] = SPECIAL[random() % SPECIAL.length] ?? 0;
        const { rows, troubles } = importBytes(format, damaged);
        expect(rows.length + troubles.length).toBeGreaterThan(0);
      }
    }
  });

  it('takes numbers of any length', () => {
    const digits = '9'.repeat(400);
    for (const { bytes } of fixturesOf(format.name)) {
      const text = Buffer.from(bytes).toString('latin1');
      for (const longer of [text.replace(/\d+/g, digits), text.replace(/0x[0-9a-f]+/g, `0x${'f'.repeat(400)}`)])
        expect(() => importBytes(format, Buffer.from(longer, 'latin1'))).not.toThrow();
    }
  });
});

describe('ftrace', () => {
  it('follows a bounded number of threads, and says so', () => {
    const line = (tid: number, text: string): string => ` vmm-${tid} [000] ..... 1.000001: ${text}\n`;
    const lines = Array.from({ length: 20_000 }, (_, i) => line(i + 1, 'sys_munmap(addr: 0x1000, len: 0x1000)'));
    const { troubles } = importBytes(ftraceFormat, lines.join(''));
    expect(troubles[0]).toMatchObject({ kind: 'more threads at a time than are followed', skipped: false, count: 1 });
  });

  it('gives an exit no duration if 64 Ki rows came in between', () => {
    const at = (seconds: number, tid: number, text: string): string =>
      ` vmm-${tid} [000] ..... ${seconds}.000000: ${text}\n`;
    const exit = at(1, 1, 'kvm_exit: vcpu 0 reason npf rip 0x1000 info1 0x0');
    const entry = at(3, 1, 'kvm_entry: vcpu 0, rip 0x1000');
    const others = (count: number): string => at(2, 2, 'tracing_mark_write: x').repeat(count);
    expect(importBytes(ftraceFormat, exit + others(10) + entry).rows[0]).toContain('dur_ns=2000000000');
    const { rows, troubles } = importBytes(ftraceFormat, exit + others(70_000) + entry);
    expect(rows[0]).not.toContain('dur_ns');
    expect(troubles.map(({ kind }) => kind)).toContain('end of an exit too far from its beginning');
  });

  it('names the clock that the user says, before the one that the file says', () => {
    const text = '# clockid: monotonic (1)\n vmm 1 [000] 1.000001: kvm:kvm_userspace_exit: reason KVM_EXIT_IO (2)\n';
    expect(importBytes(perfScriptFormat, text).clock).toBe('CLOCK_MONOTONIC');
    expect(importBytes(perfScriptFormat, text, { sourceClock: 'boot' }).clock).toBe('CLOCK_BOOTTIME');
    expect(importBytes(ftraceFormat, '').clock).toBe('ftrace local');
    expect(importBytes(ftraceFormat, '', { sourceClock: 'mono' }).clock).toBe('CLOCK_MONOTONIC');
  });
});

/** Numbers from 0 to 2^31 - 1 that are the same in every run. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state >>> 1;
  };
}
