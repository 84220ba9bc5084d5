/** What calls on memory are told by number, as all logs of system calls have it: linux/falloc.h, asm-generic/mman-common.h, linux/mman.h. */
import { opCode } from '../../native/index.ts';

/** Modes of fallocate(2). */
export const KEEP_SIZE = 1;
export const PUNCH_HOLE = 2;

const RAM_ALLOCATE = opCode('ram_allocate');
const RAM_PUNCH_HOLE = opCode('ram_punch_hole');
const GMEM_ALLOCATE = opCode('gmem_allocate');
const GMEM_PUNCH_HOLE = opCode('gmem_punch_hole');

/** Operation of a fallocate with this mode. */
export function fallocateOp(mode: number, ofGuestMemfd: boolean): number {
  if ((mode & PUNCH_HOLE) !== 0) return ofGuestMemfd ? GMEM_PUNCH_HOLE : RAM_PUNCH_HOLE;
  return ofGuestMemfd ? GMEM_ALLOCATE : RAM_ALLOCATE;
}

/** Whether the mode is the one that the operation's name says; another one is in the row's flags. */
export function isUsualMode(mode: number): boolean {
  return mode === ((mode & PUNCH_HOLE) !== 0 ? KEEP_SIZE | PUNCH_HOLE : KEEP_SIZE);
}

/** Advice that gives memory back or brings it in: DONTNEED, FREE, REMOVE, HUGEPAGE, NOHUGEPAGE, POPULATE_READ, POPULATE_WRITE, DONTNEED_LOCKED. */
export const RECORDED_ADVICE: ReadonlySet<number> = new Set([4, 8, 9, 14, 15, 22, 23, 24]);

export const PROT_WRITE = 2;

export const MAP_TYPE = 0xf;
export const MAP_SHARED = 1;
export const MAP_SHARED_VALIDATE = 3;
export const MAP_FIXED = 0x10;
export const MAP_ANONYMOUS = 0x20;

/** Whether mmap(2) with these flags maps a file for others to see. */
export function isSharedMapping(flags: number): boolean {
  const type = flags & MAP_TYPE;
  return (type === MAP_SHARED || type === MAP_SHARED_VALIDATE) && (flags & MAP_ANONYMOUS) === 0;
}
