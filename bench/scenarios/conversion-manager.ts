import { type Backend, ObjectNumber } from '../../capture/backends/backend.ts';
import type { DmaTarget, MemoryPart } from '../../capture/dma/target.ts';
import type { StepRow } from '../../capture/record-steps.ts';
import { MAP_GPA_PRIVATE, MEMORY_PRIVATE, PAGE_BYTES, type Side } from '../../capture/request.ts';
import { OpBatch } from '../../native/index.ts';
import { cut, type Section } from '../dma/cut.ts';
import type { Answer, MappingModel } from '../dma/mapping-model.ts';
import type { PageTracker } from '../dma/page-tracker.ts';
import type { Stage } from './stage.ts';

/** What a manager did, and how long the kernel took for the DMA part of it. */
export interface ManagerCounts {
  requests: number;
  /** Requests that the guest was told have failed. */
  refused: number;
  notifications: number;
  maps: number;
  failedMaps: number;
  unmaps: number;
  failedUnmaps: number;
  rolledBackBytes: number;
  /** ns in mapping and unmapping calls. */
  dmaNs: number;
  /** How often each errno came, of maps and unmaps. */
  readonly errnos: Map<string, number>;
}

interface ManagerParts {
  readonly memoryBytes: number;
  readonly tracker: PageTracker;
  readonly model: MappingModel;
  /** Most bytes per mapping; Infinity: a section as it is. */
  readonly granularity: number;
}

type Planned = { readonly kind: 'map' | 'unmap'; readonly part: Section; readonly section: Section } | undefined;

/**
 * Answers conversions as QEMU does for a guest with an assigned device: attributes, then DMA mappings of what became shared, then the discard of the
 * other side. An unmap that fails is reported and no more; a map that fails takes back what its section had mapped, and the guest is told.
 */
export class ConversionManager {
  readonly tracker: PageTracker;
  readonly model: MappingModel;
  readonly counts: ManagerCounts = {
    requests: 0,
    refused: 0,
    notifications: 0,
    maps: 0,
    failedMaps: 0,
    unmaps: 0,
    failedUnmaps: 0,
    rolledBackBytes: 0,
    dmaNs: 0,
    errnos: new Map(),
  };
  /** Calls that the kernel answered otherwise than the interface's rules. */
  readonly surprises: string[] = [];
  readonly #stage: Stage;
  readonly #backend: Backend;
  readonly #target: DmaTarget;
  readonly #memoryBytes: number;
  readonly #granularity: number;

  constructor(
    stage: Stage,
    backend: Backend,
    target: DmaTarget,
    { memoryBytes, tracker, model, granularity }: ManagerParts,
  ) {
    this.#stage = stage;
    this.#backend = backend;
    this.#target = target;
    this.#memoryBytes = memoryBytes;
    this.tracker = tracker;
    this.model = model;
    this.#granularity = granularity;
  }

  /** Converts a range that the guest asked for; whether the guest is told that it worked. */
  async convert(range: Section, to: Side): Promise<boolean> {
    const sections = this.tracker.changes(range, to);
    this.counts.requests++;
    this.counts.notifications += sections.length;
    const batch = new OpBatch();
    const planned: Planned[] = [];
    const exit = batch.push('exit_map_gpa_range', { ...range, attrs: to === 'private' ? MAP_GPA_PRIVATE : 0, vcpu: 0 });
    this.#pushAttributes(batch, range, to);
    while (planned.length < batch.count) planned.push(undefined);
    for (const section of sections) {
      const parts = to === 'shared' ? cut(section, this.#granularity) : [section];
      for (const part of parts) {
        if (to === 'shared') this.#target.map(batch, located(part), ObjectNumber.shared, 0);
        else this.#target.unmap(batch, located(part), 0);
        planned.push({ kind: to === 'shared' ? 'map' : 'unmap', part, section });
      }
    }
    if (sections.length > 0) this.#pushDiscard(batch, range, to);
    batch.closeExit(exit);

    const rows = await this.#stage.recorder.step(batch, { stopAtFailure: to === 'shared' });
    const failed = rows.findIndex((row, index) => this.#account(row, planned[index]) === 'map failed');
    if (failed < 0) {
      for (const section of sections) this.tracker.set(section, to);
      return true;
    }
    this.counts.refused++;
    const culprit = planned[failed];
    if (culprit) await this.#rollBack(culprit, sections);
    return false;
  }

  /** Unmaps everything, and holds the bytes against the rules. */
  async clear(): Promise<void> {
    const expected = this.model.clear();
    const type1 = this.#target.interface === 'type1' || this.#target.interface === 'iommufd-compat';
    const row = type1
      ? await this.#stage.one('vfio_unmap_dma', { obj: ObjectNumber.dma, iova: 0, len: 0, flags: UNMAP_ALL })
      : await this.#stage.one('iommufd_ioas_unmap', { obj: ObjectNumber.dma });
    if (row.errno !== 0 || row.result !== expected)
      this.surprises.push(`unmapping all gave ${row.errnoName || `${row.result ?? 0} bytes`}, not ${expected} bytes`);
  }

  /** Bytes that are private and yet mapped. */
  get staleBytes(): number {
    return this.#countPages((mapped, shared) => mapped && !shared);
  }

  /** Bytes that are shared and not mapped. */
  get missingBytes(): number {
    return this.#countPages((mapped, shared) => !mapped && shared);
  }

  #countPages(matches: (mapped: boolean, shared: boolean) => boolean): number {
    let bytes = 0;
    for (let gpa = 0; gpa < this.#memoryBytes; gpa += PAGE_BYTES) {
      const shared = this.tracker.sharedBytes({ gpa, len: PAGE_BYTES }) > 0;
      if (matches(this.model.sizeAt(gpa) > 0, shared)) bytes += PAGE_BYTES;
    }
    return bytes;
  }

  #account(row: StepRow, planned: Planned): 'map failed' | undefined {
    if (!planned) return undefined;
    const { kind, part } = planned;
    const { counts } = this;
    counts.dmaNs += row.durNs;
    if (kind === 'map') counts.maps++;
    else counts.unmaps++;
    const answer = kind === 'map' ? this.model.map(part.gpa, part.len) : this.model.unmap(part.gpa, part.len);
    this.#compare(row, answer, part);
    if (row.errno === 0) return undefined;
    counts.errnos.set(row.errnoName, (counts.errnos.get(row.errnoName) ?? 0) + 1);
    if (kind === 'unmap') counts.failedUnmaps++;
    else counts.failedMaps++;
    return kind === 'map' ? 'map failed' : undefined;
  }

  #compare(row: StepRow, answer: Answer, { gpa, len }: Section): void {
    const unmapping = row.op === 'vfio_unmap_dma' || row.op === 'iommufd_ioas_unmap';
    const bytesDiffer = unmapping && row.errno === 0 && row.result !== answer.bytes;
    if (row.errnoName === answer.errno && !bytesDiffer) return;
    this.surprises.push(
      `${row.op} of ${len} bytes at ${gpa}: ${row.errnoName || `${row.result ?? 0} bytes`}, not ${answer.errno || `${answer.bytes} bytes`}`,
    );
  }

  async #rollBack({ part, section }: NonNullable<Planned>, sections: readonly Section[]): Promise<void> {
    const undone = sections.slice(sections.indexOf(section));
    for (const done of sections.slice(0, sections.indexOf(section))) this.tracker.set(done, 'shared');
    const batch = new OpBatch();
    const planned: Planned[] = [];
    const mapped = { gpa: section.gpa, len: part.gpa - section.gpa };
    if (mapped.len > 0) {
      this.#target.unmap(batch, located(mapped), 0);
      planned.push({ kind: 'unmap', part: mapped, section });
      this.counts.rolledBackBytes += mapped.len;
    }
    for (const range of merged(undone)) this.#pushAttributes(batch, range, 'private');
    if (batch.count === 0) return;
    const rows = await this.#stage.recorder.step(batch);
    rows.forEach((row, index) => this.#account(row, planned[index]));
  }

  #pushAttributes(batch: OpBatch, range: Section, to: Side): void {
    if (!this.#backend.abilities.attributes) return;
    const attrs = to === 'private' ? MEMORY_PRIVATE : 0;
    batch.push('kvm_set_memory_attributes', { obj: ObjectNumber.vm, ...range, attrs, flags: 0, vcpu: 0 });
  }

  #pushDiscard(batch: OpBatch, range: Section, to: Side): void {
    const leaves = to === 'private' ? 'shared' : 'private';
    const gmem = leaves === 'private' && this.#backend.abilities.privateKind === 'gmem';
    batch.push(gmem ? 'gmem_punch_hole' : 'ram_punch_hole', {
      obj: ObjectNumber[leaves],
      ...located(range),
      vcpu: 0,
    });
  }
}

/** VFIO_DMA_UNMAP_FLAG_ALL of linux/vfio.h. */
const UNMAP_ALL = 2;

/** The scenario's one slot begins at 0, in guest memory and in the file. */
function located(section: Section): MemoryPart {
  return { ...section, offset: section.gpa };
}

/** Sections in address order, with those that touch made one. */
function merged(sections: readonly Section[]): Section[] {
  const ranges: { gpa: number; len: number }[] = [];
  for (const { gpa, len } of sections) {
    const last = ranges.at(-1);
    if (last && last.gpa + last.len === gpa) last.len += len;
    else ranges.push({ gpa, len });
  }
  return ranges;
}
