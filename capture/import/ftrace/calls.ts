import { opCode, type OpName } from '../../../native/index.ts';
import { ioctlOf, type FileKind, type Ioctl } from '../ioctls.ts';
import type { RowSink } from '../row-sink.ts';
import { CLOSED_WITH_A_ROW, kindOfPath, vcpuOfPath, type Kind, type OpenFile } from '../strace/files.ts';
import type { Troubles } from '../troubles.ts';
import type { OpenCall } from './open-call.ts';
import { hasSizeOf, ioasOf, STRUCTS } from './requests.ts';
import type { Thread } from './threads.ts';

const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;
const MAP_SHARED = 1;
const MAP_TYPE = 0xf;
const NS_PER_S = 1_000_000_000;
const TWO_TO_32 = 0x1_0000_0000;
const PAGE_BYTES = 4096;

/** The highest errno that a system call returns. */
const MAX_ERRNO = 4095;

/** errno of a call that failed, from a probe on a function of the C library, which returns -1 and keeps errno elsewhere. */
export const UNKNOWN_ERRNO = 0xffff;

/** How a call ended. `errno` is 0 if it did not fail. */
export interface CallEnd {
  /** False: the log ends, or goes on, without the call's end. */
  known: boolean;
  errno: number;
  /** What it returned, two's complement. */
  lo: number;
  hi: number;
  hasTime: boolean;
  seconds: number;
  nanoseconds: number;
}

export const KVM_RUN = 0xae80;
const KVM_SET_MEMORY_ATTRIBUTES2_ON_VM = 0xc040aed6;

/** madvise(2): what gives memory back, gets it, or changes its pages' size. */
const ADVICE_OF_INTEREST: ReadonlySet<number> = new Set([4, 8, 9, 14, 15, 22, 23, 24]);

/** Requests with a number that other files than these have too (0x3b70 to 0x3b72: PCI hot reset and graphics planes of a VFIO device). */
const AMBIGUOUS: ReadonlySet<OpName> = new Set<OpName>(['vfio_iommu_get_info', 'vfio_map_dma', 'vfio_unmap_dma']);

/** Requests whose argument is a number, and the column that it belongs to. */
const ATTRS_ARGUMENT: ReadonlySet<OpName> = new Set<OpName>(['kvm_create_vm', 'kvm_create_vcpu']);

/** What an ioctl returns that makes a file. */
const MAKES: Partial<Record<string, FileKind>> = {
  KVM_CREATE_VM: 'vm',
  KVM_CREATE_VCPU: 'vcpu',
  KVM_CREATE_GUEST_MEMFD: 'guest-memfd',
  VFIO_GROUP_GET_DEVICE_FD: 'vfio-device',
};

const CODES = {
  close: opCode('close'),
  gmemAllocate: opCode('gmem_allocate'),
  gmemPunchHole: opCode('gmem_punch_hole'),
  ramAllocate: opCode('ram_allocate'),
  ramPunchHole: opCode('ram_punch_hole'),
  ramMadvise: opCode('ram_madvise'),
  mmap: opCode('mmap'),
  munmap: opCode('munmap'),
  iommufdOpen: opCode('iommufd_open'),
};

/** IOAS that have a number, over the whole import. */
const MAX_IOAS = 64 * 1024;

/** Makes rows of system calls that have ended, and learns from them what descriptors are. */
export class Calls {
  readonly #sink: RowSink;
  readonly #troubles: Troubles;
  /** Who opened a descriptor of a process whose number is unknown. */
  readonly #openers = new Map<number, number>();
  /** By the iommufd's number and its own id. */
  readonly #ioas = new Map<number, number>();
  readonly #codes = new Map<OpName, number>();
  #files = 0;

  constructor(sink: RowSink, troubles: Troubles) {
    this.#sink = sink;
    this.#troubles = troubles;
  }

  /** Puts the call that `thread` is in into rows, if it is of interest; the thread is then in none. */
  finish(thread: Thread, end: CallEnd): void {
    const { call } = thread;
    const { syscall } = call;
    call.syscall = undefined;
    switch (syscall) {
      case 'ioctl':
        this.#ioctl(thread, end);
        break;
      case 'fallocate':
        this.#fallocate(thread, end);
        break;
      case 'madvise':
        this.#madvise(thread, end);
        break;
      case 'mmap':
        this.#mmap(thread, end);
        break;
      case 'munmap':
        this.#munmap(thread, end);
        break;
      case 'close':
        this.#close(thread, end);
        break;
      case 'open':
      case 'openat':
        this.#opened(thread, end, call.path === undefined ? 'other' : kindOfPath(call.path));
        break;
      case 'memfd_create':
        this.#opened(thread, end, 'memory');
        break;
      case undefined:
        break;
    }
  }

  /** A log that prints what descriptors are of: "18<anon_inode:[kvm-gmem]>". What calls said before is surer: perf keeps old names. */
  describe(thread: Thread, fd: number, path: string): void {
    if (!thread.process.descriptors.has(fd)) this.#open(thread, fd, kindOfPath(path), vcpuOfPath(path));
  }

  #ioctl(thread: Thread, end: CallEnd): void {
    const { call } = thread;
    const ioctl = call.arguments.has(1) && call.arguments.hi(1) === 0 ? ioctlOf(call.arguments.lo(1)) : undefined;
    if (!ioctl) {
      this.#troubles.skip('ioctl that is no row');
      return;
    }
    const fd = call.arguments.has(0) ? call.arguments.lo(0) : -1;
    const known = thread.process.descriptors.get(fd)?.file;
    const { op } = ioctl;
    const isAmbiguous = op !== undefined && AMBIGUOUS.has(op) && !known && !hasSizeOf(op, call.words);
    if (known && known.kind !== 'other' && !ioctl.on.some((kind) => kind === known.kind)) {
      // It has this number on another kind of file, or descriptors were exchanged unseen; the number tells which, if no other request has it.
      if (op === undefined || AMBIGUOUS.has(op)) {
        this.#troubles.skip('ioctl that is no row');
        return;
      }
    }
    const file = this.#fileOf(thread, fd, ioctl, known, isAmbiguous);
    if (op === undefined) this.#troubles.skip('ioctl that is no row');
    else this.#ioctlRow(thread, end, op, file, isAmbiguous);
    const makes = MAKES[ioctl.name];
    if (makes) this.#opened(thread, end, makes, call.arguments.has(2) ? call.arguments.lo(2) : -1);
  }

  #ioctlRow(thread: Thread, end: CallEnd, op: OpName, file: OpenFile | undefined, isAmbiguous: boolean): void {
    const { call } = thread;
    const sink = this.#sink;
    this.#row(thread, this.#code(op), end);
    if (file) {
      const ioas = ioasOf(op, call.words);
      sink.obj(ioas >= 0 ? this.#ioasNumber(file.object, ioas) : file.object);
      if (file.vcpu >= 0) sink.vcpu(file.vcpu);
    }
    if (isAmbiguous)
      sink.detail(`fd ${call.arguments.number(0)} may be another file than a container, and this another request`);
    this.#ioctlColumns(call, op);
    if (!end.known || end.errno !== 0) return;
    if (op === 'kvm_run') sink.resultNumber(1);
    else sink.result(end.lo, end.hi);
  }

  #ioctlColumns(call: OpenCall, op: OpName): void {
    const sink = this.#sink;
    if (ATTRS_ARGUMENT.has(op) && call.arguments.has(2)) sink.attrs(call.arguments.lo(2), call.arguments.hi(2));
    if (op === 'vfio_set_iommu' && call.arguments.has(2)) sink.flags(call.arguments.lo(2), call.arguments.hi(2));
    const isOnVm = call.arguments.lo(1) === KVM_SET_MEMORY_ATTRIBUTES2_ON_VM;
    STRUCTS[isOnVm ? 'kvm_set_memory_attributes' : op]?.(sink, call.words);
    if (op !== 'kvm_set_memory_attributes' || !call.told.any) return;
    sink.gpa(call.told.lo(0), call.told.hi(0));
    sink.len(call.told.lo(1), call.told.hi(1));
    sink.attrs(call.told.lo(2), call.told.hi(2));
  }

  /** The file that an ioctl was called on: known, or known from now on by the request that it takes. */
  #fileOf(
    thread: Thread,
    fd: number,
    ioctl: Ioctl,
    known: OpenFile | undefined,
    isAmbiguous: boolean,
  ): OpenFile | undefined {
    if (known && ioctl.on.some((kind) => kind === known.kind)) return known;
    const [kind] = ioctl.on;
    if (fd < 0 || isAmbiguous || kind === undefined) return undefined;
    return this.#open(thread, fd, kind, kind === 'vcpu' ? thread.vcpu : -1);
  }

  #fallocate(thread: Thread, end: CallEnd): void {
    const { call } = thread;
    const fd = call.arguments.has(0) ? call.arguments.number(0) : -1;
    const mode = call.arguments.has(1) ? call.arguments.number(1) : -1;
    const isPunch = mode === (FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE);
    const file = thread.process.descriptors.get(fd)?.file;
    if ((!isPunch && mode !== 0 && mode !== FALLOC_FL_KEEP_SIZE) || file?.kind === 'other') {
      this.#troubles.skip('fallocate that is no row');
      return;
    }
    const isPrivate = file?.kind === 'guest-memfd';
    if (isPrivate) this.#row(thread, isPunch ? CODES.gmemPunchHole : CODES.gmemAllocate, end);
    else this.#row(thread, isPunch ? CODES.ramPunchHole : CODES.ramAllocate, end);
    const sink = this.#sink;
    if (file) sink.obj(file.object);
    else sink.detail(`what fd ${fd} is of is not known`);
    if (call.arguments.has(2)) sink.offset(call.arguments.lo(2), call.arguments.hi(2));
    if (call.arguments.has(3)) sink.len(call.arguments.lo(3), call.arguments.hi(3));
    sink.flags(mode, 0);
    if (end.known && end.errno === 0) sink.result(end.lo, end.hi);
  }

  #madvise(thread: Thread, end: CallEnd): void {
    const { call } = thread;
    const advice = call.arguments.has(2) ? call.arguments.number(2) : -1;
    if (!thread.process.isVmm || !ADVICE_OF_INTEREST.has(advice) || call.arguments.number(1) < PAGE_BYTES) {
      this.#troubles.skip('madvise that is no row');
      return;
    }
    this.#row(thread, CODES.ramMadvise, end);
    const sink = this.#sink;
    sink.hva(call.arguments.lo(0), call.arguments.hi(0));
    sink.len(call.arguments.lo(1), call.arguments.hi(1));
    sink.flags(advice, 0);
    if (end.known && end.errno === 0) sink.result(end.lo, end.hi);
  }

  #mmap(thread: Thread, end: CallEnd): void {
    const { call } = thread;
    const file = call.arguments.has(4) ? thread.process.descriptors.get(call.arguments.lo(4))?.file : undefined;
    const isShared = call.arguments.has(3) && (call.arguments.lo(3) & MAP_TYPE & ~2) === MAP_SHARED;
    if ((file?.kind !== 'memory' && file?.kind !== 'guest-memfd') || !isShared || !end.known) {
      this.#troubles.skip('mmap that is no row');
      return;
    }
    this.#row(thread, CODES.mmap, end);
    const sink = this.#sink;
    sink.obj(file.object);
    sink.len(call.arguments.lo(1), call.arguments.hi(1));
    if (call.arguments.has(5)) sink.offset(call.arguments.lo(5), call.arguments.hi(5));
    if (end.errno !== 0) return;
    sink.hva(end.lo, end.hi);
    const start = end.hi * TWO_TO_32 + end.lo;
    const { object } = file;
    const offset = call.arguments.number(5);
    thread.process.mappings.add({ start, end: start + call.arguments.number(1), object, offset });
  }

  #munmap(thread: Thread, end: CallEnd): void {
    const { call } = thread;
    const start = call.arguments.number(0);
    const past = start + call.arguments.number(1);
    const mapping = thread.process.mappings.find(start, past);
    if (!mapping) {
      this.#troubles.skip('munmap that is no row');
      return;
    }
    if (end.known && end.errno === 0) thread.process.mappings.remove(start, past);
    this.#row(thread, CODES.munmap, end);
    this.#sink.obj(mapping.object);
    this.#sink.hva(call.arguments.lo(0), call.arguments.hi(0));
    this.#sink.len(call.arguments.lo(1), call.arguments.hi(1));
  }

  #close(thread: Thread, end: CallEnd): void {
    const { process, call } = thread;
    const fd = call.arguments.has(0) ? call.arguments.number(0) : -1;
    // Threads of any process may hide behind an unknown one: only who opened a descriptor surely closes the same.
    const isOurs = process.pid > 0 || this.#openers.get(fd) === thread.tid;
    if (!isOurs || !end.known || end.errno !== 0) return;
    const closed = process.close(fd);
    if (!closed?.last || !CLOSED_WITH_A_ROW.has(closed.file.kind)) return;
    this.#row(thread, CODES.close, end);
    this.#sink.obj(closed.file.object);
  }

  #opened(thread: Thread, end: CallEnd, kind: Kind, vcpu = -1): void {
    if (!end.known || end.errno !== 0 || end.hi !== 0) return;
    // Most of what is opened is of no interest; it only matters that the number stands for something else now.
    if (kind === 'other') {
      if (thread.process.pid > 0 || this.#openers.get(end.lo) === thread.tid) thread.process.close(end.lo);
      return;
    }
    const file = this.#open(thread, end.lo, kind, kind === 'vcpu' ? vcpu : -1);
    if (kind !== 'iommufd') return;
    this.#row(thread, CODES.iommufdOpen, end);
    this.#sink.obj(file.object);
  }

  #open(thread: Thread, fd: number, kind: Kind, vcpu: number): OpenFile {
    const isNumbered = kind !== 'other' && kind !== 'kvm' && kind !== 'vcpu';
    const object = isNumbered ? this.#sink.object(`file ${++this.#files}`) : 0;
    const file: OpenFile = { kind, object, vcpu };
    thread.process.open(fd, file, false);
    if (thread.process.pid === 0) this.#openers.set(fd, thread.tid);
    return file;
  }

  #ioasNumber(iommufd: number, id: number): number {
    const key = iommufd * TWO_TO_32 + id;
    let number = this.#ioas.get(key);
    if (number === undefined) {
      number = this.#sink.object(`ioas ${id} of ${iommufd}`);
      if (this.#ioas.size < MAX_IOAS) this.#ioas.set(key, number);
    }
    return number;
  }

  #row(thread: Thread, op: number, end: CallEnd): void {
    const { call } = thread;
    const sink = this.#sink;
    sink.row(op);
    if (call.hasTime) sink.time(call.seconds, call.nanoseconds);
    if (call.hasTime && end.known && end.hasTime) {
      sink.durNs((end.seconds - call.seconds) * NS_PER_S + (end.nanoseconds - call.nanoseconds));
    }
    if (thread.pid >= 0) sink.pid(thread.pid);
    sink.tid(thread.tid);
    if (thread.vcpu >= 0) sink.vcpu(thread.vcpu);
    if (!end.known) return;
    sink.errno(end.errno);
    if (end.errno === UNKNOWN_ERRNO) sink.detail('failed, and the log does not say with which errno');
  }

  #code(op: OpName): number {
    let code = this.#codes.get(op);
    if (code === undefined) {
      code = opCode(op);
      this.#codes.set(op, code);
    }
    return code;
  }
}

/** Puts what a system call returned into `end`: a value, or the negative errno. */
export function endWith(end: CallEnd, lo: number, hi: number): void {
  const isError = hi === 0xffff_ffff && lo >= TWO_TO_32 - MAX_ERRNO;
  end.known = true;
  end.errno = isError ? TWO_TO_32 - lo : 0;
  end.lo = lo;
  end.hi = hi;
}
