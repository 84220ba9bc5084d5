import { describe, expect, it } from 'vitest';
import { ObjectNumber } from '../../capture/backends/backend.ts';
import { OpBatch, type OpName, type Operands } from '../../native/index.ts';
import { MemoryModel } from './memory-model.ts';

const K = 1024;
const { private: PRIVATE, shared: SHARED } = ObjectNumber;

function modelOf(stateFromAttributes: boolean, ...operations: readonly (readonly [OpName, Operands])[]): MemoryModel {
  const batch = new OpBatch();
  for (const [op, operands] of operations) batch.push(op, operands);
  const model = new MemoryModel(stateFromAttributes);
  model.applyPlanned(batch);
  return model;
}

describe('MemoryModel', () => {
  it('takes the side of an address from exits, the last one wins', () => {
    const model = modelOf(
      false,
      ['exit_map_gpa_range', { gpa: 0, len: 16 * K, attrs: 0x10 }],
      ['exit_memory_fault', { gpa: 4 * K, len: 4 * K, flags: 0 }],
      ['kvm_set_memory_attributes', { obj: 1, gpa: 0, len: 16 * K, attrs: 0 }],
    );
    expect([...model.state]).toEqual([
      { start: 0, end: 4 * K, value: 'private' },
      { start: 4 * K, end: 8 * K, value: 'shared' },
      { start: 8 * K, end: 16 * K, value: 'private' },
    ]);
  });

  it('takes it from attribute calls instead where there are any', () => {
    const model = modelOf(
      true,
      ['exit_map_gpa_range', { gpa: 0, len: 16 * K, attrs: 0 }],
      ['kvm_set_memory_attributes', { obj: 1, gpa: 0, len: 8 * K, attrs: 8 }],
    );
    expect([...model.state]).toEqual([{ start: 0, end: 8 * K, value: 'private' }]);
  });

  it('counts what is held, and what is held twice, once per byte', () => {
    const model = modelOf(
      false,
      ['gmem_touch', { obj: PRIVATE, gpa: 0, len: 8 * K, flags: 1 }],
      ['gmem_allocate', { obj: PRIVATE, gpa: 4 * K, len: 8 * K }],
      ['ram_touch', { obj: SHARED, gpa: 8 * K, len: 8 * K, flags: 0 }],
    );
    expect(model.heldBytes).toEqual({ private: 12 * K, shared: 8 * K, both: 4 * K });
    expect(model.peakBytes).toBe(20 * K);
  });

  it('remembers the peak when memory was given back', () => {
    const model = modelOf(
      false,
      ['ram_allocate', { obj: SHARED, gpa: 0, len: 16 * K }],
      ['ram_allocate', { obj: PRIVATE, gpa: 0, len: 16 * K }],
      ['ram_punch_hole', { obj: SHARED, gpa: 0, len: 12 * K }],
      ['ram_madvise', { obj: PRIVATE, gpa: 0, len: 4 * K, flags: 4 }],
      ['ram_madvise', { obj: PRIVATE, gpa: 0, len: 4 * K, flags: 14 }],
    );
    expect(model.heldBytes).toEqual({ private: 12 * K, shared: 4 * K, both: 4 * K });
    expect(model.peakBothBytes).toBe(16 * K);
    expect([...model.held('shared')]).toMatchObject([{ start: 12 * K, end: 16 * K }]);
  });
});
