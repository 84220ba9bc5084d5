import { bytesOf, type Cursor } from '../cursor.ts';
import { IOCTLS } from '../ioctls.ts';
import { NameTable, readFlags, skipComment } from '../name-table.ts';

const COMMA = bytesOf(', ');
const OR = bytesOf(' or ');
const IOC = bytesOf('_IOC(');
const CLOSE_PAREN = 0x29;

/** Other names that strace has for the numbers of our requests; those that share a number are joined with " or ", in any order. */
const ALIASES = {
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO: 0x3b70,
  VFIO_DEVICE_PCI_HOT_RESET: 0x3b71,
  VFIO_DEVICE_QUERY_GFX_PLANE: 0x3b72,
  // strace 6.1 has these POWER names where x86 has requests of VFIO devices that are newer.
  VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY: 0x3b76,
  VFIO_IOMMU_SPAPR_TCE_CREATE: 0x3b77,
  VFIO_IOMMU_SPAPR_TCE_REMOVE: 0x3b78,
};

const NAMES = new NameTable<number>(
  // A name that stands for two requests, of which one is history, stands for the first.
  new Map([
    ...Object.entries(ALIASES),
    ...IOCTLS.toReversed().map(({ name, request }): [string, number] => [name, request]),
  ]),
);

const DIRECTIONS = new NameTable(Object.entries({ _IOC_NONE: 0, _IOC_WRITE: 1, _IOC_READ: 2 }));

/**
 * Reads the request of an ioctl: a name, names joined with " or ", `_IOC(_IOC_WRITE, 0xae, 0xd2, 0x20)`, or a number (`-X raw`) with or without the name as
 * a comment (`-X verbose`). Returns the 32-bit number, -1 for names that are not ours and for what is no request.
 */
export function readRequest(cursor: Cursor): number {
  if (cursor.skip(IOC)) return readIoc(cursor);
  if (cursor.number()) {
    const request = cursor.hi === 0 ? cursor.lo : -1;
    skipComment(cursor);
    return request;
  }
  let request = -1;
  do {
    const named = NAMES.read(cursor);
    if (named !== undefined) request = named;
  } while (cursor.skip(OR));
  return request;
}

function readIoc(cursor: Cursor): number {
  const direction = readFlags(cursor, DIRECTIONS);
  const type = readByte(cursor);
  const number = readByte(cursor);
  if (direction < 0 || direction > 3 || type < 0 || type > 0xff || number < 0 || number > 0xff) return -1;
  const size = readByte(cursor);
  if (size < 0 || size > 0x3fff || !cursor.skipByte(CLOSE_PAREN)) return -1;
  return ((direction << 30) | (size << 16) | (type << 8) | number) >>> 0;
}

function readByte(cursor: Cursor): number {
  return cursor.skip(COMMA) && cursor.number() && cursor.hi === 0 ? cursor.lo : -1;
}
