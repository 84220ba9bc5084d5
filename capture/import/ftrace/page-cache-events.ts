import { opCode } from '../../../native/index.ts';
import { wordHash } from '../cursor.ts';
import type { EventHandler, KernelEvent } from './event.ts';

/** Events of include/trace/events/filemap.h: pages of a file come and go; a guest_memfd's are guest memory that is allocated and freed. */

const ADD = opCode('mm_filemap_add_to_page_cache');
const DELETE = opCode('mm_filemap_delete_from_page_cache');

const KEY = {
  dev: wordHash('dev'),
  ino: wordHash('ino'),
  ofs: wordHash('ofs'),
  order: wordHash('order'),
};

const COLON = 0x3a;
const PAGE_BYTES = 4096;
const MAX_ORDER = 18;

/** dev 0:18 ino 79041 pfn=0x2538 ofs=4096 order=0: the inode in hexadecimal, the rest decimal, ofs in bytes. */
export const addToPageCache: EventHandler = (event) => filePages(event, ADD);
export const deleteFromPageCache: EventHandler = (event) => filePages(event, DELETE);

function filePages(event: KernelEvent, op: number): 'used' | 'unusable' {
  const { fields, cursor, sink } = event;
  fields.begin();
  if (!fields.find(KEY.dev) || !cursor.decimal()) return 'unusable';
  const major = cursor.lo;
  if (!cursor.skipByte(COLON) || !cursor.decimal()) return 'unusable';
  const minor = cursor.lo;
  if (!fields.hex(KEY.ino)) return 'unusable';
  const inodeLo = cursor.lo;
  const inodeHi = cursor.hi;
  if (!fields.number(KEY.ofs)) return 'unusable';
  const { lo, hi } = cursor;
  event.row(op);
  sink.obj(event.inodes.of(sink, major, minor, inodeLo, inodeHi));
  sink.offset(lo, hi);
  // Kernels before 6.3 do not print it: then a page can be any size.
  if (fields.number(KEY.order) && cursor.hi === 0 && cursor.lo <= MAX_ORDER) sink.len(PAGE_BYTES * 2 ** cursor.lo, 0);
  return 'used';
}
