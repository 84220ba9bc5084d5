import type { ImportContext } from '../format.ts';
import type { RowSink } from '../row-sink.ts';
import type { Troubles } from '../troubles.ts';
import { EventArgs, slot } from './event-args.ts';

const ARGS = {
  gpa: slot('gpa'),
  hva: slot('hva'),
  iova: slot('iova'),
  offset: slot('offset'),
  len: slot('len'),
  attrs: slot('attrs'),
  flags: slot('flags'),
  vcpu: slot('vcpu'),
  ret: slot('ret'),
};

/** A failed call whose errno QEMU does not print: it prints what ioctl(2) returned. */
const NO_ERRNO = 'returned -1: which errno is not in the log';

/** Puts events into rows: what is known of the moment and the thread, and the arguments that are columns. */
export class EventRows {
  readonly args = new EventArgs();
  readonly sink: RowSink;
  readonly troubles: Troubles;
  hasTime = false;
  seconds = 0;
  nanoseconds = 0;
  /** -1: not known. */
  tid = -1;
  pid = -1;
  /** The last row is of an event that says that a call is made (kvm_vm_ioctl): the event after the call is the same row. */
  #announcedRow = -1;
  #announcedOp = -1;
  #announcedTid = -1;
  /** What it failed with; -1: the event does not say how it ends. */
  #announcedErrno = -1;
  readonly #objects = new Map<number, number>();
  #lastKey = -1;
  #lastObject = 0;

  constructor({ sink, troubles }: ImportContext) {
    this.sink = sink;
    this.troubles = troubles;
  }

  /** Begins a row of the current event. */
  begin(op: number): void {
    const { sink } = this;
    sink.row(op);
    if (this.hasTime) sink.time(this.seconds, this.nanoseconds);
    if (this.tid >= 0) sink.tid(this.tid);
    if (this.pid >= 0) sink.pid(this.pid);
    this.#announcedRow = -1;
  }

  /** Begins a row of a call that this event only says the number of; another event may say more of it. */
  announce(op: number, errno = -1): void {
    this.begin(op);
    if (errno >= 0) this.sink.errno(errno);
    this.#announcedErrno = errno;
    this.#announcedRow = this.sink.rows;
    this.#announcedOp = op;
    this.#announcedTid = this.tid;
  }

  /** Begins a row of a call, unless the row before was announced for it, and failed as it did: then that one is filled. */
  beginCall(op: number): void {
    const announced =
      this.#announcedRow === this.sink.rows &&
      this.#announcedOp === op &&
      this.#announcedTid === this.tid &&
      (this.#announcedErrno === -1 || this.#announcedErrno === -this.args.int(ARGS.ret));
    if (!announced) this.begin(op);
    this.#announcedRow = -1;
  }

  /** Puts those arguments into the row that are columns; `ret` becomes errno. */
  columns(): void {
    const { args, sink } = this;
    if (args.has(ARGS.gpa)) sink.gpa(args.low(ARGS.gpa), args.high(ARGS.gpa));
    if (args.has(ARGS.hva)) sink.hva(args.low(ARGS.hva), args.high(ARGS.hva));
    if (args.has(ARGS.iova)) sink.iova(args.low(ARGS.iova), args.high(ARGS.iova));
    if (args.has(ARGS.offset)) sink.offset(args.low(ARGS.offset), args.high(ARGS.offset));
    if (args.has(ARGS.len)) sink.len(args.low(ARGS.len), args.high(ARGS.len));
    if (args.has(ARGS.attrs)) sink.attrs(args.low(ARGS.attrs), args.high(ARGS.attrs));
    if (args.has(ARGS.flags)) sink.flags(args.low(ARGS.flags), args.high(ARGS.flags));
    if (args.has(ARGS.vcpu)) sink.vcpu(args.int(ARGS.vcpu));
    if (args.has(ARGS.ret)) this.returned(args.int(ARGS.ret));
  }

  /** What a call returned: -errno, or for some events the -1 of ioctl(2). */
  returned(ret: number): void {
    if (ret >= 0) return;
    this.sink.errno(-ret);
    if (ret === -1) this.sink.detail(NO_ERRNO);
  }

  /** len of the range from `from` to `last`, both inclusive. Nothing if it is empty, or all 2^64 bytes. */
  lengthTo(from: number, last: number): void {
    const { args } = this;
    const borrow = args.low(last) < args.low(from) ? 1 : 0;
    const hi = args.high(last) - args.high(from) - borrow;
    if (hi < 0) return;
    const lo = (args.low(last) - args.low(from)) >>> 0;
    const carry = lo === 0xffff_ffff ? 1 : 0;
    if (hi + carry > 0xffff_ffff) return;
    this.sink.len((lo + 1) >>> 0, hi + carry);
  }

  /** A device that was bound to the iommufd `fd` and got `id` there. */
  bindDevice(fd: number, id: number, name: string): number {
    const number = this.sink.object(`device ${name}`);
    if (number > 0) this.#objects.set(fd * 0x1_0000_0000 + id, number);
    this.#lastKey = -1;
    return number;
  }

  /** Number of the object `id` of the iommufd `fd` (IOAS, HWPT, device ...). */
  iommufdObject(fd: number, id: number): number {
    const key = fd * 0x1_0000_0000 + id;
    if (key === this.#lastKey) return this.#lastObject;
    let number = this.#objects.get(key);
    if (number === undefined) {
      number = this.sink.object(`iommufd ${fd}:${id}`);
      if (number > 0) this.#objects.set(key, number);
    }
    this.#lastKey = key;
    this.#lastObject = number;
    return number;
  }
}
