import { expect, it } from 'vitest';
import { convert, mark, onVcpu, write } from './requests.ts';

it('a vCPU has its part of memory, and marks are those of the first', () => {
  const range = { gpa: 4096, len: 8192 };
  const stream = [mark('firmware'), convert(range, 'shared', 7), write(range, 'shared')];
  expect([...onVcpu(stream, 0, 0)]).toEqual(stream);
  expect([...onVcpu(stream, 3, 2 ** 30)]).toEqual([
    { ...convert(range, 'shared', 7), gpa: 2 ** 30 + 4096, vcpu: 3 },
    { ...write(range, 'shared'), gpa: 2 ** 30 + 4096, vcpu: 3 },
  ]);
});
