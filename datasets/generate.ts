/**
 * datasets/: small real traces with their origin, and this generator of traces of any length for benchmarks and tests. What it writes looks like
 * the conversions of a guest's boot, but nothing was executed: every number is made up from the seed, and `source` says generated.
 */
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { BATCH_ROWS } from '../capture/trace/batch.ts';
import { FORMAT_VERSION, type TraceMetadata } from '../capture/trace/metadata.ts';
import { TraceWriter, type WriterOptions, type WrittenTrace } from '../capture/trace/writer.ts';
import { opCode } from '../native/index.ts';
import { RowBuffer } from './row-buffer.ts';

export interface GenerateOptions extends Pick<WriterOptions, 'force'> {
  /** Rows of the trace, with the marks and `trace_end`; at least 1. */
  readonly rows: number;
  readonly seed: number;
  /** Guest memory, bytes; a multiple of 2 MiB, at most 256 GiB. Default 4 GiB. */
  readonly memoryBytes?: number;
  /** Default 4. */
  readonly vcpus?: number;
}

const PAGE = 4096;
const HUGE_PAGE = 2 * 1024 * 1024;
const GIB = 1024 ** 3;

/** Objects: the VM, the shared side's file, the guest_memfd. */
const OBJ = { vm: 1, shared: 2, private: 3 } as const;

const PID = 4242;
const FIRST_VCPU_TID = 4300;

/** To private: bit 4 in a hypercall's attributes, bit 3 in a VM's. */
const MAP_GPA_PRIVATE = 0x10;
const MEMORY_PRIVATE = 0x8;

/** FALLOC_FL_PUNCH_HOLE with FALLOC_FL_KEEP_SIZE. */
const PUNCH_HOLE = 3;

const CODE = {
  mark: opCode('mark'),
  exit: opCode('exit_map_gpa_range'),
  attributes: opCode('kvm_set_memory_attributes'),
  punchPrivate: opCode('gmem_punch_hole'),
  punchShared: opCode('ram_punch_hole'),
  allocatePrivate: opCode('gmem_allocate'),
  touchPrivate: opCode('gmem_touch'),
  touchShared: opCode('ram_touch'),
} as const;

const PHASES = ['firmware', 'kernel', 'userspace'] as const;

/** Rows that one step of the generator can add: an exit with three operations, and touches after it. */
const MAX_STEP_ROWS = 8;

/**
 * Writes a generated trace: same seed and options, same rows. Exits come every 6 rows or so, each with the operations that its duration covers;
 * a range goes to the side on which its first page is not.
 * @throws CvmtraceError IO as the writer does.
 */
export async function generateTrace(path: string, options: GenerateOptions): Promise<WrittenTrace> {
  const { rows, seed, memoryBytes = 4 * GIB, vcpus = 4 } = options;
  if (!Number.isSafeInteger(rows) || rows < 1) throw new RangeError(`${rows} rows`);
  if (memoryBytes <= 0 || memoryBytes % HUGE_PAGE !== 0 || memoryBytes > 256 * GIB)
    throw new RangeError(`memory of ${memoryBytes} bytes`);
  const writer = TraceWriter.create(path, metadataOf(rows, seed, memoryBytes, vcpus), options);
  try {
    const guest = new GeneratedGuest(seed, memoryBytes, vcpus);
    const buffer = new RowBuffer(BATCH_ROWS);
    const body = rows - 1;
    const phaseStarts = PHASES.map((_, phase) => Math.floor((body * phase) / PHASES.length));
    let phase = 0;
    for (let written = 0; written < body;) {
      while (written + buffer.rows < body && buffer.rows + MAX_STEP_ROWS < buffer.capacity) {
        const name = PHASES[phase];
        if (name !== undefined && written + buffer.rows >= (phaseStarts[phase] ?? 0)) {
          guest.mark(buffer, name);
          phase++;
        } else if (body - written - buffer.rows >= MAX_STEP_ROWS) guest.convert(buffer);
        else guest.touch(buffer);
      }
      written += buffer.rows;
      writer.append(buffer.batch(PID));
      buffer.clear();
    }
    return await writer.finish({ exitStatus: 0, lostEvents: 0, tsNs: BigInt(guest.nowNs) });
  } catch (error) {
    writer.discard();
    throw error;
  }
}

/** A guest whose state is which pages are private (all at first), and the time. */
class GeneratedGuest {
  nowNs = 1000;
  readonly #random: ReturnType<typeof xoroshiro128plus>;
  readonly #isPrivate: Uint8Array;
  readonly #vcpus: number;

  constructor(seed: number, memoryBytes: number, vcpus: number) {
    this.#random = xoroshiro128plus(seed);
    this.#isPrivate = new Uint8Array(memoryBytes / PAGE).fill(1);
    this.#vcpus = vcpus;
  }

  mark(buffer: RowBuffer, name: string): void {
    const nothing = { vcpu: NaN, obj: NaN, gpa: NaN, offset: NaN, len: NaN, attrs: NaN, flags: NaN, result: NaN };
    const row = buffer.push({ op: CODE.mark, tsNs: this.nowNs, durNs: 0, tid: PID, ...nothing });
    buffer.setDetail(row, name);
    this.nowNs += 1000;
  }

  /** An exit, what the VMM does about it, and 1 to 3 accesses after it. */
  convert(buffer: RowBuffer): void {
    const vcpu = this.#below(this.#vcpus);
    const pages = this.#below(16) === 0 ? HUGE_PAGE / PAGE : 1 + this.#below(8);
    const first = this.#alignedPage(pages);
    const toPrivate = this.#isPrivate[first] === 0;
    this.#isPrivate.fill(toPrivate ? 1 : 0, first, first + pages);
    const start = this.nowNs;
    const exit = buffer.push({
      op: CODE.exit,
      tsNs: start,
      durNs: 0,
      tid: FIRST_VCPU_TID + vcpu,
      vcpu,
      obj: NaN,
      gpa: first * PAGE,
      offset: NaN,
      len: pages * PAGE,
      attrs: toPrivate ? MAP_GPA_PRIVATE : 0,
      flags: NaN,
      result: 0,
    });
    this.nowNs += 200;
    this.#setAttributes(buffer, vcpu, first, pages, toPrivate);
    if (toPrivate) {
      this.#fallocate(buffer, CODE.allocatePrivate, OBJ.private, vcpu, first, pages, 700 + pages * 250);
      this.#fallocate(buffer, CODE.punchShared, OBJ.shared, vcpu, first, pages, 600 + pages * 90);
    } else {
      this.#fallocate(buffer, CODE.punchPrivate, OBJ.private, vcpu, first, pages, 800 + pages * 110);
    }
    this.nowNs += 150;
    buffer.setDuration(exit, this.nowNs - start);
    this.nowNs += this.#below(20_000);
    for (let touches = 1 + this.#below(3); touches > 0; touches--)
      this.#touch(buffer, vcpu, first, 1 + this.#below(pages));
  }

  /** An access to any page. */
  touch(buffer: RowBuffer): void {
    this.#touch(buffer, this.#below(this.#vcpus), this.#alignedPage(1), 1);
  }

  #setAttributes(buffer: RowBuffer, vcpu: number, first: number, pages: number, toPrivate: boolean): void {
    const costNs = 900 + pages * 20;
    const durNs = costNs + this.#below(costNs);
    buffer.push({
      op: CODE.attributes,
      tsNs: this.nowNs,
      durNs,
      tid: FIRST_VCPU_TID + vcpu,
      vcpu,
      obj: OBJ.vm,
      gpa: first * PAGE,
      offset: NaN,
      len: pages * PAGE,
      attrs: toPrivate ? MEMORY_PRIVATE : 0,
      flags: 0,
      result: 0,
    });
    this.nowNs += durNs + 50;
  }

  #fallocate(
    buffer: RowBuffer,
    op: number,
    obj: number,
    vcpu: number,
    first: number,
    pages: number,
    costNs: number,
  ): void {
    const durNs = costNs + this.#below(costNs);
    buffer.push({
      op,
      tsNs: this.nowNs,
      durNs,
      tid: FIRST_VCPU_TID + vcpu,
      vcpu,
      obj,
      gpa: first * PAGE,
      offset: first * PAGE,
      len: pages * PAGE,
      attrs: NaN,
      flags: op === CODE.allocatePrivate ? 0 : PUNCH_HOLE,
      result: 0,
    });
    this.nowNs += durNs + 50;
  }

  #touch(buffer: RowBuffer, vcpu: number, page: number, pages: number): void {
    const durNs = 150 * pages + this.#below(400);
    const isPrivate = this.#isPrivate[page] === 1;
    buffer.push({
      op: isPrivate ? CODE.touchPrivate : CODE.touchShared,
      tsNs: this.nowNs,
      durNs,
      tid: FIRST_VCPU_TID + vcpu,
      vcpu,
      obj: isPrivate ? OBJ.private : OBJ.shared,
      gpa: page * PAGE,
      offset: page * PAGE,
      len: pages * PAGE,
      attrs: NaN,
      flags: 1,
      result: 0,
    });
    this.nowNs += durNs + this.#below(3000);
  }

  /** A page that starts a range of so many pages, all within memory and within 2 MiB. */
  #alignedPage(pages: number): number {
    const hugePages = (this.#isPrivate.length * PAGE) / HUGE_PAGE;
    const inHugePage = HUGE_PAGE / PAGE;
    return this.#below(hugePages) * inHugePage + (pages === inHugePage ? 0 : this.#below(inHugePage - pages));
  }

  /** 0 to limit - 1. The bias of the multiplication is far below what a synthetic trace needs. */
  #below(limit: number): number {
    return Math.floor(((this.#random.next() >>> 0) / 0x1_0000_0000) * limit);
  }
}

function metadataOf(rows: number, seed: number, memoryBytes: number, vcpus: number): TraceMetadata {
  return {
    format: FORMAT_VERSION,
    tool: { name: 'cvmtrace', version: 'datasets/generate' },
    source: 'generated',
    command: [],
    clock: { name: 'generated', baseNs: '0', wallOffsetNs: null },
    host: null,
    guest: {
      memoryBytes,
      vcpus,
      vmType: null,
      requests: 'generated',
      slots: [{ gpa: 0, len: memoryBytes, offset: 0 }],
    },
    workload: { name: 'synthetic', seed, parameters: { rows } },
    leftOut: [],
  };
}
