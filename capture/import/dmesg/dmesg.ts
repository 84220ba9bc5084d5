import { opCode } from '../../../native/index.ts';
import type { SecondsAndNs } from '../calendar.ts';
import type { ImportContext, LineFormat, LineParser } from '../format.ts';
import { highHalf, lowHalf } from '../halves.ts';
import { headLines } from '../head-lines.ts';
import { readLineTime } from './line-time.ts';
import { readMessage, type Message } from './messages.ts';

const MARK = opCode('mark');
const IOMMU_MAP = opCode('iommu_map');
const IOMMU_UNMAP = opCode('iommu_unmap');
const IOMMU_FAULT = opCode('iommu_fault');

const EINVAL = 22;

/** printk's lines are shorter (LOG_LINE_MAX), and no longer one has a message of interest. */
const MAX_BYTES = 4096;

/** An unmapping whose parts are being printed. */
interface Unmapping {
  readonly iova: bigint;
  readonly size: bigint;
  readonly time: SecondsAndNs | undefined;
  done: bigint;
}

/** Messages of the kernel: the debug prints of its IOMMU core, IOMMU faults, and what says how a guest's or a VMM's memory is set up. */
class DmesgParser implements LineParser {
  readonly #context: ImportContext;
  #clock = 'unknown';
  #unmapping: Unmapping | undefined;

  constructor(context: ImportContext) {
    this.#context = context;
  }

  line(bytes: Uint8Array, start: number, end: number): void {
    const { troubles } = this.#context;
    if (end - start > MAX_BYTES) {
      troubles.skip('another message');
      return;
    }
    const line = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1');
    const { clock, time, message } = readLineTime(line);
    const read = readMessage(message);
    if (!read) {
      troubles.skip('another message');
      return;
    }
    this.#message(read, this.#onClock(clock, time));
  }

  /** The number or text at its end may go on. */
  openLine(): void {
    this.#context.troubles.add('last line without a newline');
  }

  /** A log has one clock: that of its first line with a time. */
  #onClock(clock: string, time: SecondsAndNs | undefined): SecondsAndNs | undefined {
    if (!time) return undefined;
    if (this.#clock === 'unknown') {
      this.#clock = clock;
      this.#context.sink.clock = clock;
    }
    if (clock === this.#clock) return time;
    this.#context.troubles.add('time of another clock');
    return undefined;
  }

  #message(message: Message, time: SecondsAndNs | undefined): void {
    const { troubles } = this.#context;
    switch (message.kind) {
      case 'unmapped':
        this.#unmapped(bytesOfHex(message.iova), bytesOfHex(message.size), time);
        return;
      case 'step':
        troubles.skip('step of a mapping');
        return;
      case 'unmap':
        this.#settle(true);
        this.#unmapping = { iova: bytesOfHex(message.iova), size: bytesOfHex(message.size), time, done: 0n };
        return;
      case 'map':
        this.#settle(true);
        this.#range(IOMMU_MAP, bytesOfHex(message.iova), bytesOfHex(message.size), time);
        return;
      case 'unaligned':
        this.#settle(true);
        this.#range(
          message.op === 'map' ? IOMMU_MAP : IOMMU_UNMAP,
          bytesOfHex(message.iova),
          bytesOfHex(message.size),
          time,
        );
        // iommu_unmap() returns how much it has unmapped, not an error.
        if (message.op === 'map') this.#context.sink.errno(EINVAL);
        else this.#context.sink.resultNumber(0);
        return;
      case 'fault':
        this.#fault(message, time);
        return;
      case 'mark':
        this.#begin(MARK, time);
        this.#context.sink.detail(message.text);
        return;
    }
  }

  /** A part of what is being unmapped, or all of it where the request itself is not printed. */
  #unmapped(iova: bigint, size: bigint, time: SecondsAndNs | undefined): void {
    const whole = this.#unmapping;
    if (whole?.iova !== undefined && iova === BigInt.asUintN(64, whole.iova + whole.done)) {
      whole.done += size;
      if (whole.done >= whole.size) this.#settle(true);
      return;
    }
    this.#settle(true);
    this.#range(IOMMU_UNMAP, iova, size, time);
    this.#result(size);
  }

  /** The row of an unmapping; `over`: nothing more comes of it. */
  #settle(over: boolean): void {
    const whole = this.#unmapping;
    if (!whole) return;
    this.#unmapping = undefined;
    this.#range(IOMMU_UNMAP, whole.iova, whole.size, whole.time);
    if (over) this.#result(whole.done);
  }

  #fault(fault: Extract<Message, { kind: 'fault' }>, time: SecondsAndNs | undefined): void {
    const { sink } = this.#context;
    const iova = bytesOfHex(fault.iova);
    this.#begin(IOMMU_FAULT, time);
    sink.iova(lowHalf(iova), highHalf(iova));
    if (fault.flags !== undefined) sink.flags(lowHalf(bytesOfHex(fault.flags)), highHalf(bytesOfHex(fault.flags)));
    if (fault.device !== '') sink.detail(fault.device);
  }

  #range(op: number, iova: bigint, size: bigint, time: SecondsAndNs | undefined): void {
    const { sink } = this.#context;
    this.#begin(op, time);
    sink.iova(lowHalf(iova), highHalf(iova));
    sink.len(lowHalf(size), highHalf(size));
  }

  #result(bytes: bigint): void {
    this.#context.sink.result(lowHalf(bytes), highHalf(bytes));
  }

  #begin(op: number, time: SecondsAndNs | undefined): void {
    const { sink } = this.#context;
    sink.row(op);
    if (time) sink.time(time.seconds, time.nanoseconds);
  }

  end(): void {
    this.#settle(false);
  }
}

const bytesOfHex = (digits: string): bigint => BigInt(`0x${digits}`);

export const dmesgFormat: LineFormat = {
  kind: 'lines',
  name: 'dmesg',
  summary: "the kernel's messages: IOMMU debug prints, IOMMU faults, a guest's memory encryption",
  madeBy: "dmesg, with 'file drivers/iommu/* +p' in dynamic_debug/control",
  detect(head) {
    const lines = headLines(head).filter((line) => line !== '');
    const read = lines.map((line) => readLineTime(line));
    const ofInterest = read.filter(({ message }) => readMessage(message) !== undefined).length;
    const ofPrintk = read.filter(({ clock }) => clock !== 'unknown' && clock !== 'CLOCK_REALTIME').length;
    if (ofInterest > 0) return ofPrintk > 0 ? 90 : 75;
    return ofPrintk * 2 > lines.length ? 60 : 0;
  },
  open: (context) => new DmesgParser(context),
};
