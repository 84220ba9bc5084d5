import type { Cursor } from '../cursor.ts';
import { ERRNO_NUMBERS } from '../errno-numbers.ts';
import type { CallEnd } from '../ftrace/calls.ts';
import { NameTable } from '../name-table.ts';

const EQUALS = 0x3d;
const ALL_ONES = 0xffff_ffff;

const ERRNO = new NameTable<number>(ERRNO_NUMBERS);

/** Reads "= 0", "= 0x7ff7057de000" or "= -1 ENOTTY (Inappropriate ioctl for device)". False if the line does not say how the call ended. */
export function readResult(cursor: Cursor, end: CallEnd): boolean {
  cursor.spaces();
  if (!cursor.skipByte(EQUALS)) return false;
  cursor.spaces();
  if (!cursor.number()) return false;
  end.known = true;
  end.errno = 0;
  end.lo = cursor.lo;
  end.hi = cursor.hi;
  if (cursor.hi !== ALL_ONES || cursor.lo !== ALL_ONES) return true;
  cursor.spaces();
  const errno = ERRNO.read(cursor);
  if (errno === undefined) return false;
  end.errno = errno;
  return true;
}
