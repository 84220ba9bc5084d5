import { isWordByte, type Cursor } from '../cursor.ts';
import type { Syscall } from '../ftrace/open-call.ts';
import { IOCTLS } from '../ioctls.ts';
import { NameTable, readFlags } from '../name-table.ts';

const OPEN_PAREN = 0x28;
const CLOSE_PAREN = 0x29;
const COMMA = 0x2c;

/** Requests by name, and by what perf prints of one without a name: "(0xae, 0xd2, 0x1)", its type, number and direction. */
const REQUESTS = new NameTable<number>(
  new Map(IOCTLS.filter(({ request }) => request !== 0xc040aed6).map(({ name, request }) => [name, request])),
);
const BY_PARTS: ReadonlyMap<number, number> = new Map(IOCTLS.map(({ request }) => [partsOf(request), request]));

/** asm-generic/mman-common.h, without the beginning that perf leaves out. */
const ADVICE = new NameTable<number>(
  Object.entries({
    DONTNEED: 4,
    FREE: 8,
    REMOVE: 9,
    HUGEPAGE: 14,
    NOHUGEPAGE: 15,
    POPULATE_READ: 22,
    POPULATE_WRITE: 23,
    DONTNEED_LOCKED: 24,
  }).flatMap(([name, value]): [string, number][] => [
    [name, value],
    [`MADV_${name}`, value],
  ]),
);

const PROTECTION = new NameTable<number>(Object.entries({ NONE: 0, READ: 1, WRITE: 2, EXEC: 4, SEM: 8 }));
const MAP_FLAGS = new NameTable<number>(
  Object.entries({
    ...{ SHARED: 1, PRIVATE: 2, SHARED_VALIDATE: 3, FIXED: 0x10, ANONYMOUS: 0x20, '32BIT': 0x40, GROWSDOWN: 0x100 },
    ...{ DENYWRITE: 0x800, EXECUTABLE: 0x1000, LOCKED: 0x2000, NORESERVE: 0x4000, POPULATE: 0x8000 },
    ...{ NONBLOCK: 0x1_0000, STACK: 0x2_0000, HUGETLB: 0x4_0000, SYNC: 0x8_0000, FIXED_NOREPLACE: 0x10_0000 },
  }),
);
const FALLOC_FLAGS = new NameTable<number>(Object.entries({ KEEP_SIZE: 1, PUNCH_HOLE: 2, ZERO_RANGE: 0x10 }));

/** Reads an argument's value to the cursor's lo and hi: a number, or the names that perf has for it. */
export function readArgument(cursor: Cursor, syscall: Syscall, index: number): boolean {
  const { at } = cursor;
  if (cursor.number() && !isWordByte(cursor.peek())) return true;
  cursor.at = at;
  const value = named(cursor, syscall, index);
  if (value === undefined || value < 0) return false;
  cursor.lo = value;
  cursor.hi = 0;
  return true;
}

function named(cursor: Cursor, syscall: Syscall, index: number): number | undefined {
  if (syscall === 'ioctl' && index === 1) return request(cursor);
  if (syscall === 'madvise' && index === 2) return ADVICE.read(cursor);
  if (syscall === 'mmap' && index === 2) return readFlags(cursor, PROTECTION);
  if (syscall === 'mmap' && index === 3) return readFlags(cursor, MAP_FLAGS);
  if (syscall === 'fallocate' && index === 1) return readFlags(cursor, FALLOC_FLAGS);
  return undefined;
}

function request(cursor: Cursor): number | undefined {
  if (cursor.peek() !== OPEN_PAREN) return REQUESTS.read(cursor);
  cursor.at++;
  let parts = 0;
  for (let i = 0; i < 3; i++) {
    if (i > 0 && !cursor.skipByte(COMMA)) return undefined;
    cursor.spaces();
    if (!cursor.number() || cursor.hi !== 0 || cursor.lo > 0xff) return undefined;
    parts = parts * 0x100 + cursor.lo;
  }
  return cursor.skipByte(CLOSE_PAREN) ? BY_PARTS.get(parts) : undefined;
}

/** Type, number and direction (_IOC in asm-generic/ioctl.h), one byte each. */
function partsOf(request: number): number {
  return ((request >>> 8) & 0xff) * 0x1_0000 + (request & 0xff) * 0x100 + (request >>> 30);
}
