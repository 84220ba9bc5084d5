import { opCode } from '../../../native/index.ts';
import { succeeded, type CallEnd, type Calls } from './calls.ts';
import type { Thread } from './threads.ts';

const RAM_ALLOCATE = opCode('ram_allocate');
const RAM_PUNCH_HOLE = opCode('ram_punch_hole');
const RAM_MADVISE = opCode('ram_madvise');
const GMEM_ALLOCATE = opCode('gmem_allocate');
const GMEM_PUNCH_HOLE = opCode('gmem_punch_hole');
const MMAP = opCode('mmap');
const MUNMAP = opCode('munmap');

const PAGE_BYTES = 4096;
const TWO_TO_32 = 0x1_0000_0000;

/** linux/falloc.h */
const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;

/** Advice that gives memory back or brings it in: DONTNEED, FREE, REMOVE, HUGEPAGE, NOHUGEPAGE, POPULATE_READ, POPULATE_WRITE, DONTNEED_LOCKED. */
const ADVICE: ReadonlySet<number> = new Set([4, 8, 9, 14, 15, 22, 23, 24]);

/** asm-generic/mman-common.h */
const PROT_WRITE = 2;
const MAP_TYPE = 0xf;
const MAP_SHARED = 1;
const MAP_SHARED_VALIDATE = 3;
const MAP_ANONYMOUS = 0x20;

/** fallocate(fd, mode, offset, len) */
export function fallocate(calls: Calls, thread: Thread, end: CallEnd): void {
  const { troubles } = calls;
  const { arguments: args } = thread.call;
  if (!args.has(1) || !args.has(2) || !args.has(3)) {
    troubles.add('fallocate without all of its arguments');
    return;
  }
  const file = args.has(0) ? thread.process.descriptors.get(args.lo(0))?.file : undefined;
  const mode = args.number(1);
  if (mode !== (mode & (KEEP_SIZE | PUNCH_HOLE))) {
    troubles.skip('fallocate that neither allocates nor punches');
    return;
  }
  if (file && file.kind !== 'guest-memfd' && file.kind !== 'memory') {
    troubles.skip('fallocate of another file');
    return;
  }
  const isPunch = (mode & PUNCH_HOLE) !== 0;
  const ofGmem = file?.kind === 'guest-memfd';
  const op = ofGmem ? (isPunch ? GMEM_PUNCH_HOLE : GMEM_ALLOCATE) : isPunch ? RAM_PUNCH_HOLE : RAM_ALLOCATE;
  const sink = calls.row(thread, op, end);
  if (file) sink.obj(file.object);
  // Kernel events do not say what a descriptor is of, and it is often opened before a trace begins.
  else sink.detail('the log does not say which file it is: it may be a guest_memfd');
  sink.offset(args.lo(2), args.hi(2));
  sink.len(args.lo(3), args.hi(3));
  // The name says the mode; another one is in the flags.
  if (mode !== (isPunch ? KEEP_SIZE | PUNCH_HOLE : KEEP_SIZE)) sink.flags(mode, 0);
  if (succeeded(end)) sink.resultNumber(0);
}

/** madvise(addr, len, advice): of a VMM only, and not of less than a page. */
export function madvise(calls: Calls, thread: Thread, end: CallEnd): void {
  const { troubles } = calls;
  const { process, call } = thread;
  const { arguments: args } = call;
  if (!process.isVmm) {
    troubles.skip('madvise in a process without a VM');
    return;
  }
  if (!args.has(0) || !args.has(1)) {
    troubles.add('madvise without all of its arguments');
    return;
  }
  const advice = args.has(2) ? args.number(2) : -1;
  const len = args.number(1);
  if (!ADVICE.has(advice) || len < PAGE_BYTES) {
    troubles.skip('madvise of another kind, or of less than a page');
    return;
  }
  const sink = calls.row(thread, RAM_MADVISE, end);
  const start = args.number(0);
  const mapping = process.mappings.find(start, start + len);
  if (mapping && mapping.start <= start) {
    const offset = mapping.offset + start - mapping.start;
    sink.obj(mapping.object);
    sink.offset(offset, offset / TWO_TO_32);
  }
  sink.hva(args.lo(0), args.hi(0));
  sink.len(args.lo(1), args.hi(1));
  sink.flags(advice, 0);
  if (succeeded(end)) sink.resultNumber(0);
}

/** mmap(addr, length, prot, flags, fd, offset): shared mappings of what guest memory may lie in. */
export function mmap(calls: Calls, thread: Thread, end: CallEnd): void {
  const { arguments: args } = thread.call;
  const type = args.lo(3) & MAP_TYPE;
  const isShared =
    args.has(3) && (type === MAP_SHARED || type === MAP_SHARED_VALIDATE) && (args.lo(3) & MAP_ANONYMOUS) === 0;
  let file = args.has(4) ? thread.process.descriptors.get(args.lo(4))?.file : undefined;
  // A file of any file system is memory if somebody maps it to write to it.
  if (isShared && file?.kind === 'file' && succeeded(end) && (args.lo(2) & PROT_WRITE) !== 0)
    file = calls.open(thread, args.lo(4), 'memory');
  if (!isShared || (file?.kind !== 'memory' && file?.kind !== 'guest-memfd')) {
    calls.troubles.skip('another mapping');
    return;
  }
  if (!args.has(1) || !args.has(2) || !args.has(5)) {
    calls.troubles.add('mmap without all of its arguments');
    return;
  }
  const sink = calls.row(thread, MMAP, end);
  sink.obj(file.object);
  sink.len(args.lo(1), args.hi(1));
  sink.offset(args.lo(5), args.hi(5));
  sink.attrs(args.lo(2), args.hi(2));
  sink.flags(args.lo(3), args.hi(3));
  if (!succeeded(end)) return;
  sink.resultNumber(0);
  sink.hva(end.lo, end.hi);
  const start = end.hi * TWO_TO_32 + end.lo;
  const length = Math.ceil(args.number(1) / PAGE_BYTES) * PAGE_BYTES;
  thread.process.mappings.add({ start, end: start + length, object: file.object, offset: args.number(5) });
}

/** munmap(addr, length): a row for each such mapping in the range, of the part that is in it. */
export function munmap(calls: Calls, thread: Thread, end: CallEnd): void {
  const { arguments: args } = thread.call;
  const { mappings } = thread.process;
  const start = args.number(0);
  const past = start + Math.ceil(args.number(1) / PAGE_BYTES) * PAGE_BYTES;
  const parts = args.has(0) && args.has(1) ? mappings.within(start, past) : [];
  if (parts.length === 0) calls.troubles.skip('munmap of another mapping');
  for (const part of parts) {
    const bytes = part.end - part.start;
    const sink = calls.row(thread, MUNMAP, end);
    sink.obj(part.object);
    sink.hva(part.start, part.start / TWO_TO_32);
    sink.len(bytes, bytes / TWO_TO_32);
    sink.offset(part.offset, part.offset / TWO_TO_32);
    if (succeeded(end)) sink.resultNumber(0);
  }
  if (succeeded(end)) mappings.remove(start, past);
}
