import { opCode } from '../../../native/index.ts';
import type { RowSink } from '../row-sink.ts';
import { CLOSED_WITH_A_ROW, fileOfPath, UNNUMBERED, type Kind, type OpenFile } from '../processes/files.ts';
import type { Troubles } from '../troubles.ts';
import { ioctl } from './ioctl-call.ts';
import { fallocate, madvise, mmap, munmap } from './memory-calls.ts';
import type { Thread } from './threads.ts';

const NS_PER_S = 1_000_000_000;
const TWO_TO_32 = 0x1_0000_0000;

/** The highest errno that a system call returns. */
const MAX_ERRNO = 4095;

/** errno of a call that failed, from a probe on a function of the C library, which returns -1 and keeps errno elsewhere. */
export const UNKNOWN_ERRNO = 0xffff;

/** Descriptors of unknown processes whose openers are remembered, and address spaces of iommufds that have a number. */
const MAX_OPENERS = 64 * 1024;
const MAX_IOAS = 64 * 1024;

const CLOSE = opCode('close');
const IOMMUFD_OPEN = opCode('iommufd_open');

/** How a call ended. */
export interface CallEnd {
  /** False: the log ends, or goes on, without the call's end. */
  known: boolean;
  /** 0 if it did not fail. */
  errno: number;
  /** What it returned, two's complement. */
  lo: number;
  hi: number;
  hasTime: boolean;
  seconds: number;
  nanoseconds: number;
}

/** Makes rows of system calls that have ended, and learns from them what descriptors are. */
export class Calls {
  readonly sink: RowSink;
  readonly troubles: Troubles;
  /** Who opened a descriptor of a process whose number is unknown. */
  readonly #openers = new Map<number, number>();
  /** By the iommufd's number and its own id. */
  readonly #ioas = new Map<number, number>();
  #files = 0;

  constructor(sink: RowSink, troubles: Troubles) {
    this.sink = sink;
    this.troubles = troubles;
  }

  /** Puts the call that `thread` is in into rows, if it is of interest; the thread is then in none. */
  finish(thread: Thread, end: CallEnd): void {
    const { syscall, path } = thread.call;
    thread.call.syscall = undefined;
    switch (syscall) {
      case 'ioctl':
        ioctl(this, thread, end);
        break;
      case 'fallocate':
        fallocate(this, thread, end);
        break;
      case 'madvise':
        madvise(this, thread, end);
        break;
      case 'mmap':
        mmap(this, thread, end);
        break;
      case 'munmap':
        munmap(this, thread, end);
        break;
      case 'close':
        this.#close(thread, end);
        break;
      case 'open':
      case 'openat':
        this.#opened(thread, end, path);
        break;
      case 'memfd_create':
        if (succeeded(end)) this.open(thread, end.lo, 'memory');
        break;
      case undefined:
        break;
    }
  }

  /** A log that prints what descriptors are of: "18<anon_inode:[kvm-gmem]>". What calls said before is surer: perf keeps old names. */
  describe(thread: Thread, fd: number, path: string): void {
    if (thread.process.descriptors.has(fd)) return;
    const { kind, index } = fileOfPath(path);
    this.open(thread, fd, kind, index);
  }

  /**
   * What a descriptor of the thread's process stands for from now on.
   * @param index of a vCPU, or N of /dev/vfio/devices/vfioN; -1 for others, and if it is not known
   */
  open(thread: Thread, fd: number, kind: Kind, index = -1): OpenFile {
    const object = UNNUMBERED.has(kind) ? 0 : this.sink.object(`file ${++this.#files}`);
    const vcpu = kind === 'vcpu' ? index : -1;
    const file: OpenFile =
      kind === 'vfio-device' && index >= 0 ? { kind, object, vcpu, device: index } : { kind, object, vcpu };
    thread.process.open(fd, file, false);
    if (thread.process.pid === 0) {
      if (this.#openers.size >= MAX_OPENERS) this.#openers.clear();
      this.#openers.set(fd, thread.tid);
    }
    return file;
  }

  /** Begins the row of the call that the thread was in. */
  row(thread: Thread, op: number, end: CallEnd): RowSink {
    const { call } = thread;
    const { sink } = this;
    sink.row(op);
    if (call.hasTime) sink.time(call.seconds, call.nanoseconds);
    if (call.hasTime && end.known && end.hasTime) {
      sink.durNs((end.seconds - call.seconds) * NS_PER_S + (end.nanoseconds - call.nanoseconds));
    }
    if (thread.pid >= 0) sink.pid(thread.pid);
    if (thread.tid >= 0) sink.tid(thread.tid);
    if (thread.vcpu >= 0) sink.vcpu(thread.vcpu);
    if (end.known) sink.errno(end.errno);
    if (end.errno === UNKNOWN_ERRNO) sink.detail('failed, and the log does not say with which errno');
    return sink;
  }

  /** Number of an IOAS by its id in an iommufd. */
  ioas(iommufd: number, id: number): number {
    const key = iommufd * TWO_TO_32 + id;
    let number = this.#ioas.get(key);
    if (number === undefined) {
      number = this.sink.object(`ioas ${id} of ${iommufd}`);
      if (this.#ioas.size < MAX_IOAS) this.#ioas.set(key, number);
    }
    return number;
  }

  #opened(thread: Thread, end: CallEnd, path: string | undefined): void {
    if (!succeeded(end)) return;
    const { kind, index } = path === undefined ? { kind: 'other' as const, index: -1 } : fileOfPath(path);
    // Most of what is opened is of no interest; it only matters that the number stands for something else now.
    if (kind === 'other') {
      if (this.#isOf(thread, end.lo)) thread.process.close(end.lo);
      return;
    }
    const file = this.open(thread, end.lo, kind, index);
    if (kind === 'iommufd') succeededRow(this.row(thread, IOMMUFD_OPEN, end), file.object);
  }

  #close(thread: Thread, end: CallEnd): void {
    const { process, call } = thread;
    const fd = call.arguments.has(0) ? call.arguments.number(0) : -1;
    if (!succeeded(end) || !this.#isOf(thread, fd)) return;
    const closed = process.close(fd);
    if (!closed?.last || !CLOSED_WITH_A_ROW.has(closed.file.kind)) return;
    succeededRow(this.row(thread, CLOSE, end), closed.file.object);
  }

  /** Threads of any process may hide behind an unknown one: then only who opened a descriptor surely means the same. */
  #isOf(thread: Thread, fd: number): boolean {
    return thread.process.pid > 0 || this.#openers.get(fd) === thread.tid;
  }
}

/** The call has returned a value, or a descriptor. */
export function succeeded(end: CallEnd): boolean {
  return end.known && end.errno === 0;
}

function succeededRow(sink: RowSink, object: number): void {
  sink.resultNumber(0);
  sink.obj(object);
}

/** Puts what a system call returned into `end`: a value, or the negative errno. */
export function endWith(end: CallEnd, lo: number, hi: number): void {
  const isError = hi === 0xffff_ffff && lo >= TWO_TO_32 - MAX_ERRNO;
  end.known = true;
  end.errno = isError ? TWO_TO_32 - lo : 0;
  end.lo = lo;
  end.hi = hi;
}
