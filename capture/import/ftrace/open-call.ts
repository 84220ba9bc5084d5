/** System calls that are looked at. The ones without a row of their own say what a descriptor is. */
export type Syscall =
  'ioctl' | 'fallocate' | 'madvise' | 'mmap' | 'munmap' | 'close' | 'open' | 'openat' | 'memfd_create';

/** Words of the struct behind an ioctl's pointer that a probe can record. */
export const MAX_WORDS = 8;
const MAX_ARGUMENTS = 6;

/** 64-bit values of which some are known, as halves of 32 bits. */
export class Values {
  readonly #halves: Uint32Array;
  #known = 0;

  constructor(count: number) {
    this.#halves = new Uint32Array(count * 2);
  }

  clear(): void {
    this.#known = 0;
  }

  set(index: number, lo: number, hi: number): void {
    this.#halves[index * 2] = lo;
    this.#halves[index * 2 + 1] = hi;
    this.#known |= 1 << index;
  }

  forget(index: number): void {
    this.#known &= ~(1 << index);
  }

  has(index: number): boolean {
    return ((this.#known >> index) & 1) === 1;
  }

  get any(): boolean {
    return this.#known !== 0;
  }

  lo(index: number): number {
    return this.#halves[index * 2] ?? 0;
  }

  hi(index: number): number {
    return this.#halves[index * 2 + 1] ?? 0;
  }

  /** Exact below 2^53. */
  number(index: number): number {
    return this.hi(index) * 0x1_0000_0000 + this.lo(index);
  }
}

/** A system call that a thread is in. One per thread, used again for each of its calls. */
export class OpenCall {
  /** undefined: the thread is in none that is looked at. */
  syscall: Syscall | undefined;
  readonly arguments = new Values(MAX_ARGUMENTS);
  /** For an ioctl: the first words of what its argument points to, as they were when it began. */
  readonly words = new Values(MAX_WORDS);
  /** Range in bytes and attributes that the tracepoint inside KVM_SET_MEMORY_ATTRIBUTES told: gpa, len, attributes. */
  readonly told = new Values(3);
  /** What a file's name says of the descriptor to come: for open and openat. */
  path: string | undefined;
  /** A probe told of it. */
  isFromProbe = false;
  hasTime = false;
  seconds = 0;
  nanoseconds = 0;

  begin(syscall: Syscall, hasTime: boolean, seconds: number, nanoseconds: number): void {
    this.syscall = syscall;
    this.arguments.clear();
    this.words.clear();
    this.told.clear();
    this.path = undefined;
    this.isFromProbe = false;
    this.hasTime = hasTime;
    this.seconds = seconds;
    this.nanoseconds = nanoseconds;
  }
}
