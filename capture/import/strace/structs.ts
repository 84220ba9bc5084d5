import { bytesOf, type Cursor } from '../cursor.ts';
import type { Call } from './call.ts';
import { NameTable, readFlags } from '../name-table.ts';

const OPEN_BRACE = 0x7b;
const EQUALS = 0x3d;
const COMMA = bytesOf(', ');
const COMMA_BYTE = 0x2c;
const CLOSE_BRACE = 0x7d;

type Field = 'slot' | 'gpa' | 'hva' | 'iova' | 'offset' | 'len' | 'attrs' | 'flags' | 'guest-memfd';

/** Fields of the structs of linux/kvm.h, vfio.h and iommufd.h that are columns. strace 6.1 prints those of KVM_SET_USER_MEMORY_REGION only. */
const FIELDS = new NameTable<Field>(
  Object.entries({
    slot: 'slot',
    flags: 'flags',
    guest_phys_addr: 'gpa',
    memory_size: 'len',
    userspace_addr: 'hva',
    guest_memfd_offset: 'offset',
    guest_memfd: 'guest-memfd',
    address: 'gpa',
    gpa: 'gpa',
    size: 'len',
    attributes: 'attrs',
    vaddr: 'hva',
    user_va: 'hva',
    iova: 'iova',
    length: 'len',
  } as const),
);

const FLAGS = new NameTable(
  Object.entries({
    KVM_MEM_LOG_DIRTY_PAGES: 1,
    KVM_MEM_READONLY: 2,
    KVM_MEM_GUEST_MEMFD: 4,
    VFIO_DMA_MAP_FLAG_READ: 1,
    VFIO_DMA_MAP_FLAG_WRITE: 2,
    VFIO_DMA_MAP_FLAG_VADDR: 4,
    GUEST_MEMFD_FLAG_MMAP: 1,
    GUEST_MEMFD_FLAG_INIT_SHARED: 2,
  }),
);

/** Puts the fields of a struct that strace has printed into the row. A pointer is none, and so all stays null. */
export function readStruct(call: Call): void {
  const { args, sink } = call;
  if (!args.skipByte(OPEN_BRACE)) return;
  let slot = -1;
  let guestMemfd = 0;
  do {
    const field = FIELDS.read(args);
    if (!args.skipByte(EQUALS)) break;
    if (field === 'flags') {
      const flags = readFlags(args, FLAGS);
      if (flags >= 0) sink.flags(flags, 0);
      else skipValue(args);
    } else if (field === undefined || !args.number()) {
      skipValue(args);
    } else if (field === 'slot') {
      slot = args.lo;
    } else if (field === 'guest-memfd') {
      guestMemfd = call.process.descriptors.get(args.safe())?.file.object ?? 0;
      skipValue(args);
    } else {
      sink[field](args.lo, args.hi);
    }
  } while (args.skip(COMMA));
  if (slot >= 0) sink.attrs(slot, guestMemfd);
}

function skipValue(args: Cursor): void {
  const { bytes, end } = args;
  while (args.at < end && bytes[args.at] !== COMMA_BYTE && bytes[args.at] !== CLOSE_BRACE) args.at++;
}
