import { Cursor } from '../cursor.ts';
import { ERRNO_NUMBERS } from '../errno-numbers.ts';
import { NameTable } from '../name-table.ts';

const SPACE = 0x20;
const EQUALS = 0x3d;
const CLOSE_PAREN = 0x29;
const OPEN_PAREN = 0x28;
const LESS = 0x3c;
const GREATER = 0x3e;
const QUESTION = 0x3f;
const DOT = 0x2e;
const NS_PER_S = 1_000_000_000;

const ERRNO = new NameTable<number>(ERRNO_NUMBERS);

/** KVM_EXIT_* of linux/kvm.h: what `-e kvm=vcpu` puts behind the result of KVM_RUN. */
const EXIT_REASONS = new NameTable<number>(
  Object.entries({
    UNKNOWN: 0,
    EXCEPTION: 1,
    IO: 2,
    HYPERCALL: 3,
    DEBUG: 4,
    HLT: 5,
    MMIO: 6,
    IRQ_WINDOW_OPEN: 7,
    SHUTDOWN: 8,
    FAIL_ENTRY: 9,
    INTR: 10,
    SET_TPR: 11,
    TPR_ACCESS: 12,
    NMI: 16,
    INTERNAL_ERROR: 17,
    OSI: 18,
    SYSTEM_EVENT: 24,
    IOAPIC_EOI: 26,
    HYPERV: 27,
    ARM_NISV: 28,
    X86_RDMSR: 29,
    X86_WRMSR: 30,
    DIRTY_RING_FULL: 31,
    AP_RESET_HOLD: 32,
    X86_BUS_LOCK: 33,
    XEN: 34,
    NOTIFY: 37,
    MEMORY_FAULT: 39,
    TDX: 40,
  }).map(([name, number]): [string, number] => [`KVM_EXIT_${name}`, number]),
);

/** What a line says of how a call ended: "= 0", "= -1 ENOTTY (Inappropriate ioctl for device) <0.000051>", "= 5<anon_inode:kvm-vm>", "= ?". */
export class Outcome {
  /** Where the arguments end: at their closing parenthesis, or where the line does. */
  argumentsEnd = 0;
  /** There is one, even if it is "?". */
  known = false;
  /** It has a value: the call succeeded. */
  succeeded = false;
  /** The value, as two unsigned halves. */
  lo = 0;
  hi = 0;
  /** 0 if it did not fail, -1 if it failed with a name that Linux does not have. */
  errno = 0;
  /** Of `-T`, ns; -1 if it is not there. */
  durNs = -1;
  /** Of a KVM_RUN; -1 if it is not said. */
  exitReason = -1;
  readonly #cursor = new Cursor();

  /** The value as a file descriptor. */
  get fd(): number {
    return this.hi === 0 ? this.lo : -1;
  }

  /** Reads it at the end of bytes[start, end); `cut`: the line may go on. */
  read(bytes: Uint8Array, start: number, end: number, cut: boolean): void {
    this.known = false;
    this.succeeded = false;
    this.errno = 0;
    this.durNs = -1;
    this.exitReason = -1;
    this.argumentsEnd = end;
    const cursor = this.#cursor;
    cursor.openEnd = cut;
    // From the end: texts among the arguments may look like a result.
    for (let at = end - 2; at > start; at--) {
      if (bytes[at] !== EQUALS || bytes[at + 1] !== SPACE || bytes[at - 1] !== SPACE) continue;
      let paren = at - 2;
      while (paren > start && bytes[paren] === SPACE) paren--;
      if (paren < start || bytes[paren] !== CLOSE_PAREN) continue;
      cursor.reset(bytes, at + 2, end);
      if (!this.#value(cursor)) continue;
      this.known = true;
      this.argumentsEnd = paren;
      this.durNs = durationAtEnd(bytes, cursor.at, end);
      return;
    }
  }

  /** False if this is no result. */
  #value(cursor: Cursor): boolean {
    if (cursor.skipByte(QUESTION)) {
      if (cursor.skipByte(SPACE)) this.errno = ERRNO.read(cursor) ?? 0;
      return true;
    }
    if (!cursor.number()) return false;
    this.lo = cursor.lo;
    this.hi = cursor.hi;
    const next = cursor.peek();
    if (next !== SPACE && next !== LESS && next !== -1) return false;
    this.succeeded = true;
    if (next !== SPACE) return true;
    cursor.at++;
    if (this.lo === 0xffff_ffff) return this.#failure(cursor);
    if (cursor.skipByte(OPEN_PAREN)) this.exitReason = EXIT_REASONS.read(cursor) ?? -1;
    return true;
  }

  #failure(cursor: Cursor): boolean {
    const errno = ERRNO.read(cursor);
    // The value of a call that has the bits of -1, not followed by a name, is a value.
    if (cursor.wordEnd === cursor.wordStart) return this.hi !== 0xffff_ffff;
    this.succeeded = false;
    this.errno = errno ?? -1;
    return true;
  }
}

/** ns of "<0.000306>" at the end; -1 if there is none. */
function durationAtEnd(bytes: Uint8Array, from: number, end: number): number {
  if (bytes[end - 1] !== GREATER) return -1;
  let seconds = 0;
  let ns = 0;
  let unit = 0;
  let at = end - 2;
  while (at >= from && bytes[at] !== LESS) at--;
  if (at < from) return -1;
  for (at++; at < end - 1; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === DOT && unit === 0) unit = NS_PER_S;
    else if (byte < 0x30 || byte > 0x39) return -1;
    else if (unit === 0) seconds = seconds * 10 + byte - 0x30;
    else {
      unit /= 10;
      ns += (byte - 0x30) * unit;
    }
  }
  const total = seconds * NS_PER_S + ns;
  return Number.isSafeInteger(total) ? total : -1;
}
