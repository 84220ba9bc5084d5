import { opCode } from '../../../native/index.ts';
import {
  fallocateOp,
  isSharedMapping,
  isUsualMode,
  KEEP_SIZE,
  MAP_FIXED,
  PROT_WRITE,
  PUNCH_HOLE,
  RECORDED_ADVICE,
} from '../memory-abi.ts';
import { succeeded, type CallEnd, type Calls } from './calls.ts';
import type { Thread } from './threads.ts';

const RAM_MADVISE = opCode('ram_madvise');
const MMAP = opCode('mmap');
const MUNMAP = opCode('munmap');

const PAGE_BYTES = 4096;
const TWO_TO_32 = 0x1_0000_0000;

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
  const sink = calls.row(thread, fallocateOp(mode, file?.kind === 'guest-memfd'), end);
  if (file) sink.obj(file.object);
  // Kernel events do not say what a descriptor is of, and it is often opened before a trace begins.
  else sink.detail('the log does not say which file it is: it may be a guest_memfd');
  sink.offset(args.lo(2), args.hi(2));
  sink.len(args.lo(3), args.hi(3));
  // The name says the mode; another one is in the flags.
  if (!isUsualMode(mode)) sink.flags(mode, 0);
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
  if (!RECORDED_ADVICE.has(advice) || len < PAGE_BYTES) {
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
  const { mappings } = thread.process;
  const start = end.hi * TWO_TO_32 + end.lo;
  const past = start + Math.ceil(args.number(1) / PAGE_BYTES) * PAGE_BYTES;
  if (succeeded(end) && args.has(1) && args.has(3) && (args.lo(3) & MAP_FIXED) !== 0) mappings.remove(start, past);
  const isShared = args.has(3) && isSharedMapping(args.lo(3));
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
  mappings.add({ start, end: past, object: file.object, offset: args.number(5) });
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
