import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { GuestRequest } from '../../capture/request.ts';
import { RequestLog } from './request-log.ts';

const folder = mkdtempSync(join(tmpdir(), 'cvmtrace-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Every kind in turn, with values that tell one request from the next. */
function* requests(count: number): Generator<GuestRequest> {
  const triggers = ['exit_map_gpa_range', 'exit_memory_fault', 'vmm'] as const;
  for (let i = 0; i < count; i++) {
    const timed = { paceNs: i * 1.5, vcpu: i % 4 };
    const range = { gpa: 2 ** 51 + i * 4096, len: 4096 * (1 + (i % 3)) };
    const trigger = triggers[i % 5];
    if (trigger) yield { kind: 'convert', trigger, ...range, to: i % 2 === 0 ? 'private' : 'shared', ...timed };
    else if (i % 5 === 3)
      yield { kind: 'touch', ...range, side: i % 2 === 0 ? 'private' : 'shared', write: i % 3 === 0, ...timed };
    else yield { kind: 'mark', name: `mark ${i}`, ...timed };
  }
}

describe('RequestLog', () => {
  it.each([0, 1, 65_535, 65_536, 65_537, 140_000])('gives %d requests back, twice', (count) => {
    using log = new RequestLog(folder);
    for (const request of requests(count)) log.append(request);
    expect(log.count).toBe(count);
    for (let pass = 0; pass < 2; pass++) {
      const expected = requests(count);
      let same = 0;
      for (const request of log) if (JSON.stringify(request) === JSON.stringify(expected.next().value)) same++;
      expect(same).toBe(count);
    }
    expect(readdirSync(folder)).toEqual([]);
  });
});
