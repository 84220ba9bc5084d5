import { describe, expect, it } from 'vitest';
import { checkFormat } from '../testing/check-format.ts';
import { checkDamage } from '../testing/damage.ts';
import { importBytes } from '../testing/import-bytes.ts';
import { OTHER_FILE } from '../processes/files.ts';
import { Process } from '../processes/process.ts';
import { straceFormat } from './strace.ts';

const importText = (lines: readonly string[]): ReturnType<typeof importBytes> =>
  importBytes(straceFormat, `${lines.join('\n')}\n`);

describe('strace', () => {
  checkFormat(straceFormat);
  checkDamage(straceFormat);

  it('does not take the table of -c, or a program with no calls, for a log', () => {
    const table = `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 43.08    0.001631          33        49        43 ioctl
 12.01    0.000455          21        21           mmap
------ ----------- ----------- --------- --------- ----------------
100.00    0.003786          35       107        45 total
`;
    expect(straceFormat.detect(Buffer.from(table))).toBe(0);
    expect(straceFormat.detect(Buffer.from('main(argc, argv)\nreturn f(x) == 3;\n'))).toBe(0);
  });

  it('takes time from the two halves of a call if no duration is printed, and only from fine time stamps', () => {
    const halves = (from: string, to: string): readonly string[] => [
      `[pid 7] ${from} ioctl(5, KVM_RUN <unfinished ...>`,
      `[pid 8] ${from} ioctl(6, KVM_RUN, 0) = 0`,
      `[pid 7] ${to} <... ioctl resumed>, 0) = 0`,
    ];
    expect(importText(halves('10:00:00.000001', '10:00:01.000003')).rows).toEqual([
      'kvm_run time=36000.000001000 tid=8 obj=1 result=1',
      'kvm_run time=36000.000001000 dur_ns=1000002000 tid=7 obj=2 result=1',
    ]);
    expect(importText(halves('10:00:00', '10:00:01')).rows).toEqual([
      'kvm_run time=36000.000000000 tid=8 obj=1 result=1',
      'kvm_run time=36000.000000000 tid=7 obj=2 result=1',
    ]);
  });

  it('leaves out what looks like a call but has no time where all calls have one', () => {
    const { rows, troubles } = importText([
      '1800000000.000001 ioctl(5<anon_inode:kvm-vcpu:0>, KVM_RUN, 0) = 0',
      'ioctl(5<anon_inode:kvm-vcpu:0>, KVM_RUN, 0) = 0',
    ]);
    expect(rows).toHaveLength(1);
    expect(troubles).toEqual([{ kind: 'other output', skipped: true, count: 1, lines: [2] }]);
  });

  it('is bounded in what it remembers of threads, open calls and text', () => {
    const many = 70_000;
    const threads = Array.from({ length: many }, (_, i) => `[pid ${i + 1}] ioctl(5, KVM_RUN <unfinished ...>`);
    const { rows, troubles } = importText(threads);
    const kinds = new Map(troubles.map(({ kind, count }) => [kind, count]));
    expect(rows.length).toBeLessThanOrEqual(4096);
    expect(rows.length).toBeGreaterThan(0);
    expect((kinds.get('too much open at once') ?? 0) + (kinds.get('call without an end') ?? 0)).toBeGreaterThan(
      many - 4096 - 1,
    );
    expect(kinds.get('more threads than can be told apart')).toBeGreaterThan(0);
    expect(importText([`[pid 1] ioctl(5, KVM_RUN${' '.repeat(5000)} <unfinished ...>`]).troubles).toEqual([]);
    expect(importText([`[pid 1] ioctl(5, KVM_RUN${'x'.repeat(5000)} <unfinished ...>`]).troubles).toMatchObject([
      { kind: 'too much open at once', skipped: false },
    ]);
  });

  it('keeps no more descriptors than there can be', () => {
    const process = new Process();
    for (let fd = 0; fd < 70_000; fd++) process.open(fd, OTHER_FILE, true);
    expect(process.descriptors.size).toBe(65_536);
  });
});
