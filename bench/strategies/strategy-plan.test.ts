import { describe, expect, it } from 'vitest';
import type { Backend, BackendAbilities } from '../../capture/backends/backend.ts';
import type { GuestRequest } from '../../capture/request.ts';
import type { SlotRange } from '../../capture/trace/metadata.ts';
import { makeTarget } from '../../capture/dma/target.ts';
import { OP_STRIDE, OpBatch, OPS } from '../../native/index.ts';
import { parseStrategy } from './presets.ts';
import { StrategyPlan, strategyInterface } from './strategy-plan.ts';

const K = 1024;
const M = 1024 * K;
const SLOT: readonly SlotRange[] = [{ gpa: 0, len: 64 * M, offset: 0 }];

type Changes = Partial<BackendAbilities> & Partial<Pick<Backend, 'dma' | 'guest'>>;

/** What a VFIO device maps at its own addresses. */
const DMA = makeTarget('type1', { name: '4', group: 4, cdev: null }, { text: '', iovaOf: ({ gpa }) => gpa }, []);

function backend({ dma = null, guest = null, ...abilities }: Changes = {}): Backend {
  return {
    name: 'fake',
    summary: '',
    standIn: false,
    vmType: null,
    guest,
    dma,
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
function planned(strategy: string, requests: readonly GuestRequest[], changes: Changes = {}, slots = SLOT): string[] {
  const plan = new StrategyPlan(parseStrategy(strategy).axes, backend(changes), slots);
  const batch = new OpBatch(1);
  for (const request of requests) plan.apply(request, batch);
  return described(batch);
}

function described(batch: OpBatch): string[] {
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

describe('DMA', () => {
  const there = convert(M, 12 * K, 'shared');
  const back = convert(M, 12 * K, 'private');
  /** The operations, without their ranges. */
  const names = (operations: readonly string[]): string[] => operations.map((text) => text.split(' ')[0] ?? '');

  it('maps after the attributes by 4K, and unmaps by the request', () => {
    expect(planned('qemu-10.1', [there, back], { dma: DMA })).toEqual([
      'exit_map_gpa_range 0x100000+0x3000 (5)',
      'kvm_set_memory_attributes 0x100000+0x3000',
      'vfio_map_dma 0x100000+0x1000@0x100000',
      'vfio_map_dma 0x101000+0x1000@0x101000',
      'vfio_map_dma 0x102000+0x1000@0x102000',
      'gmem_punch_hole 0x100000+0x3000@0x100000',
      'exit_map_gpa_range 0x100000+0x3000 (3)',
      'kvm_set_memory_attributes 0x100000+0x3000',
      'vfio_unmap_dma 0x100000+0x3000',
      'ram_punch_hole 0x100000+0x3000@0x100000',
    ]);
  });

  it('maps what changes, at the offsets of the slots', () => {
    const slots = [
      { gpa: 0, len: M, offset: 0 },
      { gpa: 4 * M, len: M, offset: M },
    ];
    const dma = (requests: readonly GuestRequest[]) =>
      planned('dma-request', requests, { dma: DMA }, slots).filter((text) => text.includes('dma'));
    expect(dma([convert(M - 4 * K, 4 * M, 'shared')])).toEqual([
      'vfio_map_dma 0xff000+0x1000@0xff000',
      'vfio_map_dma 0x400000+0xff000@0x100000',
    ]);
    // Shared already: nothing; partly: a page at a time.
    const first = convert(4 * M, 8 * K, 'shared');
    expect(dma([first, first])).toEqual(['vfio_map_dma 0x400000+0x2000@0x100000']);
    expect(dma([first, convert(4 * M, 16 * K, 'shared')]).slice(1)).toEqual([
      'vfio_map_dma 0x402000+0x1000@0x102000',
      'vfio_map_dma 0x403000+0x1000@0x103000',
    ]);
  });

  it('cuts mappings at the multiples of the granularity', () => {
    const maps = (strategy: string) =>
      planned(strategy, [convert(60 * K, 72 * K, 'shared')], { dma: DMA }).filter((text) => text.includes('map_dma'));
    expect(maps('qemu-10.1,dma=64k')).toEqual([
      'vfio_map_dma 0xf000+0x1000@0xf000',
      'vfio_map_dma 0x10000+0x10000@0x10000',
      'vfio_map_dma 0x20000+0x1000@0x20000',
    ]);
    expect(maps('dma-2m')).toEqual(['vfio_map_dma 0xf000+0x12000@0xf000']);
    expect(maps('qemu-10.1')).toHaveLength(18);
  });

  it('order says which comes first for what becomes private; what becomes shared is mapped last', () => {
    const order = (value: string) =>
      names(planned(`attributes-only,dma=request,order=${value}`, [there, back], { dma: DMA }));
    const exit = ['exit_map_gpa_range', 'kvm_set_memory_attributes', 'vfio_map_dma', 'exit_map_gpa_range'];
    expect(order('convert-unmap')).toEqual([...exit, 'kvm_set_memory_attributes', 'vfio_unmap_dma']);
    expect(order('unmap-convert')).toEqual([...exit, 'vfio_unmap_dma', 'kvm_set_memory_attributes']);
  });

  it('map-all maps every slot once, before anything runs', () => {
    const slots = [
      { gpa: 4 * M, len: M, offset: M },
      { gpa: 0, len: M, offset: 0 },
    ];
    const plan = new StrategyPlan(parseStrategy('cloud-hypervisor-53').axes, backend({ dma: DMA }), slots);
    const batch = new OpBatch();
    plan.setUp(batch);
    expect(described(batch)).toEqual(['vfio_map_dma 0x0+0x100000@0x0', 'vfio_map_dma 0x400000+0x100000@0x100000']);
    const after = new OpBatch();
    for (const request of [there, back]) plan.apply(request, after);
    expect(names(described(after)).filter((name) => name.includes('dma'))).toEqual([]);
  });

  it('map-shared maps nothing before, and none never', () => {
    for (const strategy of ['qemu-10.1', 'qemu-10.1,dma-policy=none']) {
      const batch = new OpBatch();
      new StrategyPlan(parseStrategy(strategy).axes, backend({ dma: DMA }), SLOT).setUp(batch);
      expect(batch.count).toBe(0);
    }
    expect(names(planned('qemu-10.1,dma-policy=none', [there, back], { dma: DMA }))).not.toContain('vfio_map_dma');
  });

  it("the VMM's own conversion to shared is mapped, too", () => {
    expect(names(planned('dma-request', [{ ...there, trigger: 'vmm' } as GuestRequest], { dma: DMA }))).toEqual([
      'kvm_set_memory_attributes',
      'vfio_map_dma',
    ]);
  });

  it('counts mappings among the calls that a request may take', () => {
    const slots = [{ gpa: 0, len: 2 ** 40, offset: 0 }];
    const request = convert(0, 20 * 2 ** 30, 'shared');
    expect(() => planned('qemu-10.1', [request], { dma: DMA }, slots)).toThrow(/would take about 5242883 calls/);
    expect(planned('qemu-10.1', [request], {}, slots)).toHaveLength(3);
  });

  it("the interface is the strategy's own, or what was given", () => {
    const chosen = (strategy: string, given?: string) => strategyInterface(parseStrategy(strategy), given);
    expect(chosen('qemu-10.1')).toBeUndefined();
    expect(chosen('qemu-10.1', 'type1')).toBe('type1');
    expect(chosen('qemu-10.1,interface=mock', 'type1')).toBe('mock');
    expect(chosen('qemu-10.1,dma-policy=none', 'type1')).toBeUndefined();
    expect(() => chosen('qemu-10.1', 'iomufd')).toThrow(/there is no DMA interface "iomufd"/);
  });
});

describe('in place', () => {
  it('is refused where the kernel cannot', () => {
    expect(() => planned('in-place', [])).toThrow(
      expect.objectContaining({
        code: 'UNAVAILABLE',
        message: 'backend fake cannot convert in place: this kernel has no KVM_SET_MEMORY_ATTRIBUTES2',
      }),
    );
  });

  it('unmaps, then converts the file; both sides are touched in it, and it is what is mapped', () => {
    const touch: GuestRequest = { kind: 'touch', gpa: 0, len: 4 * K, side: 'shared', write: true, paceNs: 0, vcpu: 0 };
    const requests = [convert(0, 8 * K, 'shared'), touch, convert(0, 8 * K, 'private')];
    expect(planned('in-place,dma=request,attributes=4k', requests, { inPlace: true, dma: DMA })).toEqual([
      'exit_map_gpa_range 0x0+0x2000 (3)',
      'kvm_set_memory_attributes2 0x0+0x1000@0x0',
      'kvm_set_memory_attributes2 0x1000+0x1000@0x1000',
      'vfio_map_dma 0x0+0x2000@0x0',
      'gmem_touch 0x0+0x1000@0x0',
      'exit_map_gpa_range 0x0+0x2000 (3)',
      'vfio_unmap_dma 0x0+0x2000',
      'kvm_set_memory_attributes2 0x0+0x1000@0x0',
      'kvm_set_memory_attributes2 0x1000+0x1000@0x1000',
    ]);
  });
});

describe('with a guest', () => {
  const guest = { vcpus: 2, programGpa: () => 2 ** 30 };

  it('it touches memory itself', () => {
    const touch: GuestRequest = { kind: 'touch', gpa: 0, len: 4 * K, side: 'private', write: true, paceNs: 0, vcpu: 0 };
    expect(planned('upm-eager', [touch], { guest })).toEqual(['guest_touch 0x0+0x1000@0x0']);
  });

  it('a fault brings the slot, with a number that no other vCPU takes', () => {
    const fault = (vcpu: number, gpa: number): GuestRequest => ({
      kind: 'convert',
      trigger: 'exit_memory_fault',
      gpa,
      len: 64 * K,
      to: 'private',
      paceNs: 0,
      vcpu,
    });
    const slotsOf = (vcpu: number): number[] => {
      const plan = new StrategyPlan(parseStrategy('upm-eager').axes, backend({ guest }), SLOT);
      const batch = new OpBatch();
      for (let chunk = 0; chunk < 4; chunk++) plan.apply(fault(vcpu, chunk * 64 * K), batch);
      return Array.from({ length: batch.count }, (_, row) => batch.words.subarray(row * OP_STRIDE))
        .filter(([code = 0]) => OPS[code] === 'kvm_set_user_memory_region2')
        .map(([, , , , , attrs = NaN]) => attrs % 2 ** 32);
    };
    expect(slotsOf(0)).toEqual([0, 2, 4, 6]);
    expect(slotsOf(1)).toEqual([1, 3, 5, 7]);
  });

  it('pre-faulting is on its vCPU, and refused without one', () => {
    const strategy = 'attributes-only,allocation=pre-fault';
    expect(planned(strategy, [convert(M, 8 * K, 'private')], { guest, preFault: true })).toEqual([
      'exit_map_gpa_range 0x100000+0x2000 (2)',
      'kvm_set_memory_attributes 0x100000+0x2000',
      'kvm_pre_fault_memory 0x100000+0x2000',
    ]);
    expect(() => planned(strategy, [], { preFault: true })).toThrow('backend fake cannot pre-fault without a vCPU');
    expect(() => planned(strategy, [], { guest })).toThrow(
      expect.objectContaining({ code: 'UNAVAILABLE', message: 'backend fake cannot pre-fault' }),
    );
  });
});
