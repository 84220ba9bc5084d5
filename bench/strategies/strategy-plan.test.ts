import { describe, expect, it } from 'vitest';
import type { Backend, BackendAbilities } from '../../capture/backends/backend.ts';
import type { GuestRequest } from '../../capture/request.ts';
import type { SlotRange } from '../../capture/trace/metadata.ts';
import { OP_STRIDE, OpBatch, OPS } from '../../native/index.ts';
import { parseStrategy } from './presets.ts';
import { StrategyPlan } from './strategy-plan.ts';

const K = 1024;
const M = 1024 * K;
const SLOT: readonly SlotRange[] = [{ gpa: 0, len: 64 * M, offset: 0 }];

function backend(abilities: Partial<BackendAbilities> = {}): Backend {
  return {
    name: 'fake',
    summary: '',
    standIn: false,
    vmType: null,
    guest: null,
    dma: null,
    abilities: {
      attributes: true,
      inPlace: false,
      preFault: false,
      privateTouch: true,
      privateKind: 'gmem',
      sharedFile: true,
      ...abilities,
    },
    leftOut: [],
    setUp: () => undefined,
  };
}

function convert(gpa: number, len: number, to: 'private' | 'shared'): GuestRequest {
  return { kind: 'convert', trigger: 'exit_map_gpa_range', gpa, len, to, paceNs: 7, vcpu: 1 };
}

/** What a strategy plans, as "op gpa+len@offset", with the number of operations inside an exit behind it. */
function planned(
  strategy: string,
  requests: readonly GuestRequest[],
  abilities: Partial<BackendAbilities> = {},
  slots = SLOT,
): string[] {
  const plan = new StrategyPlan(parseStrategy(strategy).axes, backend(abilities), slots);
  const batch = new OpBatch(1);
  for (const request of requests) plan.apply(request, batch);
  const hex = (value: number): string => `0x${value.toString(16)}`;
  return Array.from({ length: batch.count }, (_, i) => {
    const [code = 0, , gpa = NaN, offset = NaN, len = NaN, , , , peer = 0] = batch.words.subarray(i * OP_STRIDE);
    const name = OPS[code] ?? '';
    const range = Number.isNaN(gpa) ? '' : ` ${hex(gpa)}+${hex(len)}`;
    return `${name}${range}${Number.isNaN(offset) ? '' : `@${hex(offset)}`}${name.startsWith('exit') ? ` (${peer})` : ''}`;
  });
}

describe('StrategyPlan', () => {
  it('sets attributes and discards the side that is left', () => {
    expect(planned('upm-eager', [convert(M, 8 * K, 'shared'), convert(M, 8 * K, 'private')])).toEqual([
      'exit_map_gpa_range 0x100000+0x2000 (2)',
      'kvm_set_memory_attributes 0x100000+0x2000',
      'gmem_punch_hole 0x100000+0x2000@0x100000',
      'exit_map_gpa_range 0x100000+0x2000 (2)',
      'kvm_set_memory_attributes 0x100000+0x2000',
      'ram_punch_hole 0x100000+0x2000@0x100000',
    ]);
  });

  it('leaves out what the backend cannot do', () => {
    const touch: GuestRequest = { kind: 'touch', gpa: 0, len: 4 * K, side: 'private', write: true, paceNs: 0, vcpu: 0 };
    const abilities = { attributes: false, privateTouch: false, sharedFile: false };
    expect(planned('upm-eager', [convert(0, 4 * K, 'private'), touch], abilities)).toEqual([
      'exit_map_gpa_range 0x0+0x1000 (1)',
      'ram_madvise 0x0+0x1000@0x0',
    ]);
  });

  it('keeps shared memory under upm-no-shared-discard, and both under attributes-only', () => {
    const requests = [convert(0, 4 * K, 'private'), convert(0, 4 * K, 'shared')];
    const counts = (strategy: string) => planned(strategy, requests).filter((op) => op.includes('punch'));
    expect(counts('upm-no-shared-discard')).toEqual(['gmem_punch_hole 0x0+0x1000@0x0']);
    expect(counts('attributes-only')).toEqual([]);
  });

  it('cuts calls at the multiples of the granularity, unaligned edges included', () => {
    expect(planned('upm-eager,attributes=64k,discard=2m', [convert(60 * K, 2 * M, 'private')])).toEqual([
      `exit_map_gpa_range 0xf000+0x200000 (35)`,
      'kvm_set_memory_attributes 0xf000+0x1000',
      ...Array.from({ length: 31 }, (_, i) => `kvm_set_memory_attributes 0x${((i + 1) * 64 * K).toString(16)}+0x10000`),
      'kvm_set_memory_attributes 0x200000+0xf000',
      'ram_punch_hole 0xf000+0x1f1000@0xf000',
      'ram_punch_hole 0x200000+0xf000@0x200000',
    ]);
  });

  it('allocates on the side that the range goes to', () => {
    expect(
      planned('attributes-only,allocation=allocate', [convert(0, 4 * K, 'private'), convert(0, 4 * K, 'shared')]),
    ).toEqual([
      'exit_map_gpa_range 0x0+0x1000 (2)',
      'kvm_set_memory_attributes 0x0+0x1000',
      'gmem_allocate 0x0+0x1000@0x0',
      'exit_map_gpa_range 0x0+0x1000 (2)',
      'kvm_set_memory_attributes 0x0+0x1000',
      'ram_allocate 0x0+0x1000@0x0',
    ]);
  });

  it('does not discard or touch outside the slots, and follows their offsets', () => {
    const slots = [
      { gpa: 4 * M, len: M, offset: M },
      { gpa: 0, len: M, offset: 0 },
    ];
    expect(planned('upm-eager', [convert(0, 8 * M, 'private')], {}, slots)).toEqual([
      'exit_map_gpa_range 0x0+0x800000 (3)',
      'kvm_set_memory_attributes 0x0+0x800000',
      'ram_punch_hole 0x0+0x100000@0x0',
      'ram_punch_hole 0x400000+0x100000@0x100000',
    ]);
  });

  it('is lazy until more than the limit waits, then gives the oldest back, in as few calls as they have ranges', () => {
    const strategy = 'attributes-only,discard-shared=lazy:12K/8K';
    const punches = (requests: readonly GuestRequest[]) =>
      planned(strategy, requests, { attributes: false }).filter((op) => op.includes('punch'));
    const away = [0, 1, 2].map((page) => convert(page * 4 * K, 4 * K, 'private'));
    expect(punches(away)).toEqual([]);
    expect(punches([...away, convert(12 * K, 4 * K, 'private')])).toEqual(['ram_punch_hole 0x0+0x3000@0x0']);
    // A page that comes back is not given back, and makes room.
    expect(punches([...away, convert(0, 4 * K, 'shared'), convert(12 * K, 4 * K, 'private')])).toEqual([]);
  });

  it("answers the VMM's own conversion with the attribute call alone, outside any exit", () => {
    const request: GuestRequest = {
      kind: 'convert',
      trigger: 'vmm',
      gpa: 0,
      len: M,
      to: 'private',
      paceNs: 0,
      vcpu: 0,
    };
    expect(planned('upm-eager', [request])).toEqual(['kvm_set_memory_attributes 0x0+0x100000']);
    expect(planned('upm-eager', [request], { attributes: false })).toEqual([]);
  });

  it('refuses a request that would take millions of calls', () => {
    const slots = [{ gpa: 0, len: 2 ** 40, offset: 0 }];
    expect(() => planned('upm-eager,discard=4k', [convert(0, 400 * 2 ** 30, 'private')], {}, slots)).toThrow(/calls/);
  });
});
