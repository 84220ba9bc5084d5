import { type Backend, ObjectNumber } from '../../capture/backends/backend.ts';
import { slotOperands } from '../../capture/backends/gmem-vm.ts';
import { parseDmaInterface } from '../../capture/dma/open.ts';
import type { DmaInterface, DmaTarget, MemoryPart } from '../../capture/dma/target.ts';
import type { Plan } from '../../capture/plan.ts';
import {
  type ConvertRequest,
  type GuestRequest,
  MAP_GPA_PRIVATE,
  MEMORY_PRIVATE,
  type Side,
  type TouchRequest,
} from '../../capture/request.ts';
import type { WorkloadRun } from '../../capture/run-workload.ts';
import type { SlotRange } from '../../capture/trace/metadata.ts';
import { CvmtraceError, type OpBatch } from '../../native/index.ts';
import { cut } from '../dma/cut.ts';
import { PageTracker } from '../dma/page-tracker.ts';
import type { Axes, Discard } from './axes.ts';
import { describeStrategy, type Strategy } from './presets.ts';
import { PendingDiscards } from './pending-discards.ts';

/** Most operations in one request: 80 bytes each on the way in, and the executor runs a request without a pause. */
const MAX_OPS_PER_REQUEST = 4_000_000;

/** MADV_DONTNEED of madvise(2): how anonymous memory is given back. */
const MADV_DONTNEED = 4;
/** MADV_POPULATE_WRITE of madvise(2): how anonymous memory is allocated. */
const MADV_POPULATE_WRITE = 23;

/**
 * Answers requests as the axes say, with what the backend can do. The order is QEMU's (kvm_convert_memory): attributes, DMA, discard of the other
 * side, allocation; with order=unmap-convert what becomes private is unmapped first.
 */
export class StrategyPlan implements Plan {
  readonly #axes: Axes;
  readonly #backend: Backend;
  readonly #slots: readonly SlotRange[];
  readonly #dma: DmaTarget | null;
  /** What devices may use: nothing at first. */
  readonly #tracker = new PageTracker();
  #slotsAdded = 0;
  /** Memory by the side that it is on, of ranges that are on the other side now. */
  readonly #pending = { private: new PendingDiscards(), shared: new PendingDiscards() };

  constructor(axes: Axes, backend: Backend, slots: readonly SlotRange[]) {
    this.#axes = axes;
    this.#backend = backend;
    this.#slots = [...slots].sort((a, b) => a.gpa - b.gpa);
    assertSupported(axes, backend);
    this.#dma = axes.dmaPolicy === 'none' ? null : backend.dma;
  }

  setUp(batch: OpBatch): void {
    const dma = this.#dma;
    if (this.#axes.dmaPolicy !== 'map-all' || !dma) return;
    for (const slot of this.#slots) dma.map(batch, slot, this.#shared, 0);
  }

  /** Number of the object that holds shared memory. */
  get #shared(): number {
    return this.#axes.backing === 'in-place' ? ObjectNumber.private : ObjectNumber.shared;
  }

  /** Bytes of a side that wait to be given back. */
  pendingBytes(side: Side): number {
    return this.#pending[side].bytes;
  }

  apply(request: GuestRequest, batch: OpBatch): void {
    switch (request.kind) {
      case 'convert':
        this.#convert(request, batch);
        break;
      case 'touch':
        this.#touch(request, batch);
        break;
      case 'mark':
        batch.push('mark', { paceNs: request.paceNs, vcpu: request.vcpu }, request.name);
    }
  }

  #convert(request: ConvertRequest, batch: OpBatch): void {
    const { gpa, len, to, vcpu } = request;
    const mappings = this.#dma && this.#axes.dmaPolicy === 'map-shared' ? len / Math.min(this.#axes.dma, len) : 0;
    const calls = len / Math.min(this.#axes.attributes, len) + (2 * len) / Math.min(this.#axes.discard, len) + mappings;
    if (calls > MAX_OPS_PER_REQUEST) {
      throw new CvmtraceError('USAGE', `a request of ${len} bytes would take about ${Math.ceil(calls)} calls`, {
        hint: `one request may take ${MAX_OPS_PER_REQUEST}; choose a coarser granularity, 2m or request`,
      });
    }
    const toPrivate = to === 'private';
    if (request.trigger === 'vmm') {
      this.#setAttributes(request, batch);
      this.#mapOrUnmap(request, batch);
      return;
    }
    const exit = batch.push(request.trigger, {
      gpa,
      len,
      ...(request.trigger === 'exit_map_gpa_range'
        ? { attrs: toPrivate ? MAP_GPA_PRIVATE : 0 }
        : { flags: toPrivate ? MEMORY_PRIVATE : 0 }),
      paceNs: request.paceNs,
      vcpu,
    });
    if (request.trigger === 'exit_memory_fault' && this.#backend.guest) this.#addSlot(request, batch);
    const first = toPrivate && this.#axes.order === 'unmap-convert';
    if (first) this.#mapOrUnmap(request, batch);
    this.#setAttributes({ ...request, paceNs: 0 }, batch);
    if (!first) this.#mapOrUnmap(request, batch);
    const from: Side = toPrivate ? 'shared' : 'private';
    this.#discard(from, gpa, len, vcpu, batch);
    this.#pending[to].withdraw(gpa, gpa + len);
    this.#allocate(request, batch);
    batch.closeExit(exit);
  }

  /** A guest's fault where it has no slot yet. */
  #addSlot({ gpa, len, vcpu }: ConvertRequest, batch: OpBatch): void {
    for (const part of this.#inSlots(gpa, len)) {
      // Numbers of slots are the VM's, so that plans of several vCPUs count in steps of their number.
      const number = this.#slotsAdded++ * (this.#backend.guest?.vcpus ?? 1) + vcpu;
      batch.push('kvm_set_user_memory_region2', { ...slotOperands(part, number), vcpu });
    }
  }

  #mapOrUnmap({ gpa, len, to, vcpu }: ConvertRequest, batch: OpBatch): void {
    const dma = this.#dma;
    if (!dma || this.#axes.dmaPolicy !== 'map-shared') return;
    for (const part of this.#inSlots(gpa, len)) {
      const changes = this.#tracker.changes(part, to);
      this.#tracker.set(part, to);
      for (const range of changes) {
        const changed = { ...range, offset: part.offset + range.gpa - part.gpa };
        if (to === 'private') {
          dma.unmap(batch, changed, vcpu);
          continue;
        }
        for (const piece of cut(range, this.#axes.dma))
          dma.map(batch, { ...piece, offset: changed.offset + piece.gpa - range.gpa }, this.#shared, vcpu);
      }
    }
  }

  #allocate({ gpa, len, to, vcpu }: ConvertRequest, batch: OpBatch): void {
    if (this.#axes.allocation === 'fault') return;
    for (const part of this.#inSlots(gpa, len)) {
      if (this.#axes.allocation === 'allocate') this.#call('allocate', to, part, vcpu, batch);
      else batch.push('kvm_pre_fault_memory', { obj: ObjectNumber.vcpu + vcpu, gpa: part.gpa, len: part.len, vcpu });
    }
  }

  #setAttributes({ gpa, len, to, vcpu, paceNs }: ConvertRequest, batch: OpBatch): void {
    const attrs = to === 'private' ? MEMORY_PRIVATE : 0;
    let pauseNs = paceNs;
    if (this.#axes.backing === 'in-place') {
      for (const part of this.#inSlots(gpa, len)) {
        for (const piece of cut(part, this.#axes.attributes)) {
          const offset = part.offset + piece.gpa - part.gpa;
          batch.push('kvm_set_memory_attributes2', {
            obj: ObjectNumber.private,
            ...piece,
            offset,
            attrs,
            flags: 0,
            vcpu,
            paceNs: pauseNs,
          });
          pauseNs = 0;
        }
      }
      return;
    }
    if (!this.#backend.abilities.attributes) return;
    for (const piece of cut({ gpa, len }, this.#axes.attributes)) {
      batch.push('kvm_set_memory_attributes', {
        obj: ObjectNumber.vm,
        ...piece,
        attrs,
        flags: 0,
        vcpu,
        paceNs: pauseNs,
      });
      pauseNs = 0;
    }
  }

  #discard(side: Side, gpa: number, len: number, vcpu: number, batch: OpBatch): void {
    const policy: Discard = side === 'shared' ? this.#axes.discardShared : this.#axes.discardPrivate;
    if (policy.kind === 'never') return;
    if (policy.kind === 'eager') {
      for (const part of this.#inSlots(gpa, len)) this.#call('discard', side, part, vcpu, batch);
      return;
    }
    const pending = this.#pending[side];
    for (const part of this.#inSlots(gpa, len)) pending.add(part.gpa, part.gpa + part.len);
    if (pending.bytes <= policy.limitBytes) return;
    for (const range of pending.takeUntil(policy.limitBytes - policy.batchBytes)) {
      for (const part of this.#inSlots(range.start, range.end - range.start))
        this.#call('discard', side, part, vcpu, batch);
    }
  }

  #call(what: 'discard' | 'allocate', side: Side, part: MemoryPart, vcpu: number, batch: OpBatch): void {
    const { abilities } = this.#backend;
    const gmem = side === 'private' && abilities.privateKind === 'gmem';
    const file = side === 'private' || abilities.sharedFile;
    for (const piece of cut(part, this.#axes.discard)) {
      const operands = { obj: ObjectNumber[side], ...piece, offset: part.offset + piece.gpa - part.gpa, vcpu };
      if (gmem) batch.push(what === 'discard' ? 'gmem_punch_hole' : 'gmem_allocate', operands);
      else if (file) batch.push(what === 'discard' ? 'ram_punch_hole' : 'ram_allocate', operands);
      else batch.push('ram_madvise', { ...operands, flags: what === 'discard' ? MADV_DONTNEED : MADV_POPULATE_WRITE });
    }
  }

  #touch(request: TouchRequest, batch: OpBatch): void {
    const { abilities, guest } = this.#backend;
    if (request.side === 'private' && !abilities.privateTouch) return;
    const inGmem =
      this.#axes.backing === 'in-place' || (request.side === 'private' && abilities.privateKind === 'gmem');
    const op = guest ? 'guest_touch' : inGmem ? 'gmem_touch' : 'ram_touch';
    let paceNs = request.paceNs;
    for (const part of this.#inSlots(request.gpa, request.len)) {
      batch.push(op, {
        obj: request.side === 'shared' ? this.#shared : ObjectNumber.private,
        ...part,
        flags: request.write ? 1 : 0,
        paceNs,
        vcpu: request.vcpu,
      });
      paceNs = 0;
    }
  }

  /** The parts of a range that are in slots: a request may cover MMIO or a hole, where there is nothing to discard or allocate. */
  *#inSlots(gpa: number, len: number): Generator<MemoryPart> {
    for (const slot of this.#slots) {
      if (slot.gpa >= gpa + len) return;
      const start = Math.max(gpa, slot.gpa);
      const end = Math.min(gpa + len, slot.gpa + slot.len);
      if (start < end) yield { gpa: start, len: end - start, offset: slot.offset + start - slot.gpa };
    }
  }
}

/** @throws CvmtraceError UNAVAILABLE for what the backend cannot do */
function assertSupported(axes: Axes, backend: Backend): void {
  if (axes.backing === 'in-place' && !backend.abilities.inPlace) {
    throw new CvmtraceError(
      'UNAVAILABLE',
      `backend ${backend.name} cannot convert in place: this kernel has no KVM_SET_MEMORY_ATTRIBUTES2`,
      {
        hint: 'it is a proposal that no release has; run --scenario in-place shows what can be had without it',
      },
    );
  }
  if (axes.allocation === 'pre-fault' && !(backend.abilities.preFault && backend.guest)) {
    throw new CvmtraceError(
      'UNAVAILABLE',
      `backend ${backend.name} cannot pre-fault${backend.abilities.preFault ? ' without a vCPU' : ''}`,
      {
        hint: 'KVM_PRE_FAULT_MEMORY needs Linux 6.11, two-dimensional paging and a vCPU: --backend sw-protected --guest',
      },
    );
  }
}

/** What maps for DMA under a strategy: its own interface, or what --dma says. */
export function strategyInterface(strategy: Strategy, given: string | undefined): DmaInterface | undefined {
  const { interface: own, dmaPolicy } = strategy.axes;
  if (dmaPolicy === 'none') return undefined;
  if (own !== 'given') return own;
  return given === undefined ? undefined : parseDmaInterface(given);
}

/** What `runWorkload` needs of a strategy: its plans, and its name and axes for the metadata. */
export function underStrategy(strategy: Strategy): Pick<WorkloadRun, 'plan' | 'strategy'> {
  return {
    plan: (backend, slots) => new StrategyPlan(strategy.axes, backend, slots),
    strategy: describeStrategy(strategy),
  };
}
