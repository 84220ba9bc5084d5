import { opCode } from '../../../native/index.ts';
import type { Call } from './call.ts';
import {
  fallocateOp,
  isSharedMapping,
  isUsualMode,
  KEEP_SIZE,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_SHARED,
  MAP_SHARED_VALIDATE,
  PROT_WRITE,
  PUNCH_HOLE,
  RECORDED_ADVICE,
} from '../memory-abi.ts';
import { NameTable, readFlags } from '../name-table.ts';

const RAM_MADVISE = opCode('ram_madvise');
const MMAP = opCode('mmap');
const MUNMAP = opCode('munmap');

const PAGE = 4096;
const TWO_TO_32 = 0x1_0000_0000;

/** linux/falloc.h. */
const MODES = new NameTable(
  Object.entries({
    FALLOC_FL_KEEP_SIZE: KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE: PUNCH_HOLE,
    FALLOC_FL_NO_HIDE_STALE: 4,
    FALLOC_FL_COLLAPSE_RANGE: 8,
    FALLOC_FL_ZERO_RANGE: 0x10,
    FALLOC_FL_INSERT_RANGE: 0x20,
    FALLOC_FL_UNSHARE_RANGE: 0x40,
  }),
);

/** Advice that gives memory back or brings it in (asm-generic/mman-common.h). */
const ADVICE = new NameTable(
  Object.entries({
    MADV_DONTNEED: 4,
    MADV_FREE: 8,
    MADV_REMOVE: 9,
    MADV_HUGEPAGE: 14,
    MADV_NOHUGEPAGE: 15,
    MADV_POPULATE_READ: 22,
    MADV_POPULATE_WRITE: 23,
    MADV_DONTNEED_LOCKED: 24,
  }),
);

const PROTECTION = new NameTable(Object.entries({ PROT_NONE: 0, PROT_READ: 1, PROT_WRITE, PROT_EXEC: 4, PROT_SEM: 8 }));

/** asm-generic/mman.h and linux/mman.h. */
const MAP_FLAGS = new NameTable(
  Object.entries({
    MAP_SHARED,
    MAP_PRIVATE: 2,
    MAP_SHARED_VALIDATE,
    MAP_FIXED,
    MAP_ANONYMOUS,
    MAP_32BIT: 0x40,
    MAP_GROWSDOWN: 0x100,
    MAP_DENYWRITE: 0x800,
    MAP_EXECUTABLE: 0x1000,
    MAP_LOCKED: 0x2000,
    MAP_NORESERVE: 0x4000,
    MAP_POPULATE: 0x8000,
    MAP_NONBLOCK: 0x1_0000,
    MAP_STACK: 0x2_0000,
    MAP_HUGETLB: 0x4_0000,
    MAP_SYNC: 0x8_0000,
    MAP_FIXED_NOREPLACE: 0x10_0000,
  }),
);

/** fallocate(fd, mode, offset, len). */
export function fallocate(call: Call): void {
  const { args, troubles } = call;
  const file = call.descriptor();
  if (!file) {
    troubles.add('fallocate of a file of unknown kind (strace -y shows it)');
    return;
  }
  if (file.kind !== 'guest-memfd' && file.kind !== 'memory') {
    troubles.skip('fallocate of another file');
    return;
  }
  if (!call.next()) {
    troubles.add('cut line');
    return;
  }
  const mode = readFlags(args, MODES);
  if (mode < 0) {
    troubles.add('unknown mode of fallocate');
    return;
  }
  if (mode !== (mode & (KEEP_SIZE | PUNCH_HOLE))) {
    troubles.skip('fallocate that neither allocates nor punches');
    return;
  }
  if (!call.next() || !args.number()) {
    troubles.add('cut line');
    return;
  }
  const { lo, hi } = args;
  if (!call.next() || !args.number()) {
    troubles.add('cut line');
    return;
  }
  const sink = call.row(fallocateOp(mode, file.kind === 'guest-memfd'));
  sink.obj(file.object);
  sink.offset(lo, hi);
  sink.len(args.lo, args.hi);
  // The name says the mode; another one is in the flags.
  if (!isUsualMode(mode)) sink.flags(mode, 0);
  call.result();
}

/** madvise(addr, len, advice): of a VMM only, and not of less than a page. */
export function madvise(call: Call): void {
  const { args, troubles } = call;
  if (!call.process.isVmm) {
    troubles.skip('madvise in a process without a VM');
    return;
  }
  if (!args.number()) {
    troubles.add('cut line');
    return;
  }
  const { lo, hi } = args;
  if (!call.next() || !args.number()) {
    troubles.add('cut line');
    return;
  }
  const lenLo = args.lo;
  const lenHi = args.hi;
  if (!call.next()) {
    troubles.add('cut line');
    return;
  }
  const advice = args.number() ? args.lo : (ADVICE.read(args) ?? -1);
  if (!RECORDED_ADVICE.has(advice)) {
    troubles.skip('madvise of another kind');
    return;
  }
  if (lenHi === 0 && lenLo < PAGE) {
    troubles.skip('madvise of less than a page');
    return;
  }
  const sink = call.row(RAM_MADVISE);
  const start = hi * TWO_TO_32 + lo;
  const mapping = call.process.mappings.find(start, start + lenHi * TWO_TO_32 + lenLo);
  if (mapping && mapping.start <= start) {
    sink.obj(mapping.object);
    putOffset(call, mapping.offset + start - mapping.start);
  }
  sink.hva(lo, hi);
  sink.len(lenLo, lenHi);
  sink.flags(advice, 0);
  call.result();
}

/** mmap(addr, length, prot, flags, fd, offset): shared mappings of what guest memory may lie in. */
export function mmap(call: Call): void {
  const { args, outcome, troubles, process } = call;
  if (!call.skipArgument() || !args.number()) {
    troubles.add('cut line');
    return;
  }
  const { lo, hi } = args;
  const len = args.safe();
  if (!call.next()) {
    troubles.add('cut line');
    return;
  }
  const protection = readFlags(args, PROTECTION);
  if (!call.next()) {
    troubles.add('unknown protection of mmap');
    return;
  }
  const flags = readFlags(args, MAP_FLAGS);
  if (flags < 0 || !call.next()) {
    troubles.add('unknown flags of mmap');
    return;
  }
  const start = outcome.hi * TWO_TO_32 + outcome.lo;
  if (outcome.succeeded && (flags & MAP_FIXED) !== 0) process.mappings.remove(start, start + roundUp(len));
  if (!isSharedMapping(flags)) {
    troubles.skip('another mapping');
    return;
  }
  let file = call.descriptor();
  // A file of any file system is memory if somebody maps it to write to it.
  if (file?.kind === 'file' && outcome.succeeded && (protection & PROT_WRITE) !== 0)
    file = call.open(call.fd, 'memory');
  if (file?.kind !== 'memory' && file?.kind !== 'guest-memfd') {
    troubles.skip('another mapping');
    return;
  }
  if (!call.next() || !args.number()) {
    troubles.add('cut line');
    return;
  }
  const sink = call.row(MMAP);
  sink.obj(file.object);
  sink.len(lo, hi);
  sink.offset(args.lo, args.hi);
  sink.attrs(protection, 0);
  sink.flags(flags, 0);
  call.result();
  if (!outcome.succeeded) return;
  sink.hva(outcome.lo, outcome.hi);
  process.mappings.add({ start, end: start + roundUp(len), object: file.object, offset: args.safe() });
}

/** munmap(addr, length): a row for each such mapping in the range, of the part that is in it. */
export function munmap(call: Call): void {
  const { args, outcome, troubles, process } = call;
  if (!args.number()) {
    troubles.add('cut line');
    return;
  }
  const start = args.safe();
  if (!call.next() || !args.number()) {
    troubles.add('cut line');
    return;
  }
  const end = start + roundUp(args.safe());
  const mappings = process.mappings.within(start, end);
  if (mappings.length === 0) {
    troubles.skip('another mapping');
    return;
  }
  for (const mapping of mappings) {
    const sink = call.row(MUNMAP);
    sink.obj(mapping.object);
    sink.hva(mapping.start >>> 0, Math.floor(mapping.start / TWO_TO_32));
    const bytes = mapping.end - mapping.start;
    sink.len(bytes >>> 0, Math.floor(bytes / TWO_TO_32));
    putOffset(call, mapping.offset);
    call.result();
  }
  if (outcome.succeeded) process.mappings.remove(start, end);
}

function putOffset({ sink }: Call, offset: number): void {
  sink.offset(offset >>> 0, Math.floor(offset / TWO_TO_32));
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / PAGE) * PAGE;
}
