/** QEMU's accel/kvm, target/i386 and system trace events that become rows. */
import { opCode } from '../../../native/index.ts';
import { bytesOf } from '../cursor.ts';
import { ioctlOf } from '../ioctls.ts';
import { slot } from './event-args.ts';
import type { EventRows } from './event-rows.ts';
import { event, type QemuEvent } from './event.ts';

const OP = {
  mapGpa: opCode('exit_map_gpa_range'),
  memoryFault: opCode('exit_memory_fault'),
  exitOther: opCode('exit_other'),
  run: opCode('kvm_run'),
  createVcpu: opCode('kvm_create_vcpu'),
  convert: opCode('kvm_convert_memory'),
  region: opCode('kvm_set_user_memory_region'),
  region2: opCode('kvm_set_user_memory_region2'),
  stateChange: opCode('ram_block_attributes_state_change'),
  punch: opCode('ram_punch_hole'),
  madvise: opCode('ram_madvise'),
  encrypt: opCode('kvm_memory_encrypt_op'),
  register: opCode('kvm_memory_encrypt_reg_region'),
  unregister: opCode('kvm_memory_encrypt_unreg_region'),
};

const SLOT = {
  to: slot('to'),
  from: slot('from'),
  space: slot('space'),
  slot: slot('slot'),
  gmem: slot('gmem'),
  gmemOffset: slot('gmemOffset'),
  request: slot('request'),
  reason: slot('reason'),
  name: slot('name'),
  hva: slot('hva'),
  len: slot('len'),
  madvise: slot('madvise'),
  fallocate: slot('fallocate'),
  ret: slot('ret'),
};

/** KVM_MEMORY_ATTRIBUTE_PRIVATE. */
const PRIVATE = 8;

/** Commands of KVM_MEMORY_ENCRYPT_OP (linux/kvm.h, enum sev_cmd_id). */
const SEV = { launchUpdateData: 3, snpLaunchStart: 100, snpLaunchUpdate: 101, snpLaunchFinish: 102 };

const SHARED_TO_PRIVATE = bytesOf('shared_to_private');
const DISCARDED = bytesOf('discarded');
const POPULATED = bytesOf('populated');

const ONE = (rows: EventRows): void => rows.sink.resultNumber(1);

export const KVM_EVENTS: readonly QemuEvent[] = [
  event('kvm_hc_map_gpa_range', 'gpa {gpa:x} size {len:x} attributes {attrs:x} flags {flags:x}', plain(OP.mapGpa)),
  event('kvm_memory_fault', 'start {gpa:x} size {len:x} flags {flags:x}', plain(OP.memoryFault)),
  event('kvm_convert_memory', 'start {gpa:x} size {len:x} {to:shared_to_private|private_to_shared}', (rows) => {
    rows.begin(OP.convert);
    rows.columns();
    rows.sink.attrs(rows.args.textIs(SLOT.to, SHARED_TO_PRIVATE) ? PRIVATE : 0, 0);
  }),
  event(
    'kvm_set_user_memory',
    [
      'AddrSpace#{space:d} Slot#{slot:d} flags={flags:x} gpa={gpa:x} size={len:x} ua={hva:x} guest_memfd={gmem:d} guest_memfd_offset={gmemOffset:x} ret={ret:d}',
      'Slot#{slot:d} flags={flags:x} gpa={gpa:x} size={len:x} ua={hva:x} ret={ret:d}',
    ],
    setUserMemory,
  ),
  event('kvm_ioctl', 'type {request:x}, arg {start:x}', ioctl),
  event('kvm_vm_ioctl', 'type {request:x}, arg {start:x}', ioctl),
  event('kvm_vcpu_ioctl', 'cpu_index {vcpu:d}, type {request:x}, arg {start:x}', ioctl),
  event('kvm_run_exit', 'cpu_index {vcpu:d}, reason {reason:d}', (rows) => {
    rows.begin(OP.exitOther);
    rows.columns();
    rows.sink.attrs(rows.args.low(SLOT.reason), 0);
    ONE(rows);
  }),
  event('kvm_create_vcpu', 'index: {start:d}, id: {vcpu:d}, kvm fd: {fd:d}', (rows) => {
    rows.beginCall(OP.createVcpu);
    rows.columns();
  }),
  event('ram_block_attributes_state_change', "offset {offset:x} size {len:x} from '{from:s}' to '{to:s}'", stateChange),
  ...['ram_block_discard_range', 'ram_block_discard_shared_range'].map((name) =>
    event(name, '{name:s}@{hva:x} + {len:x}: madvise: {madvise:d} fallocate: {fallocate:d} ret: {ret:d}', discardRange),
  ),
  event('kvm_sev_snp_launch_start', 'policy {start:x} gosvw {name:s}', encrypt(SEV.snpLaunchStart)),
  event('kvm_sev_snp_launch_update', 'src {hva:x} gpa {gpa:x} len {len:x} ({name:s} page)', (rows) => {
    encrypt(SEV.snpLaunchUpdate)(rows);
    rows.sink.detail(`${rows.args.text(SLOT.name)} page`);
  }),
  event(
    'kvm_sev_snp_launch_finish',
    'id_block {name:s} id_auth {start:s} host_data {fd:s}',
    encrypt(SEV.snpLaunchFinish),
  ),
  event('kvm_sev_launch_update_data', 'addr {hva:x} len {len:x}', encrypt(SEV.launchUpdateData)),
  event('kvm_memcrypt_register_region', 'addr {hva:x} len {len:x}', plain(OP.register)),
  event('kvm_memcrypt_unregister_region', 'addr {hva:x} len {len:x}', plain(OP.unregister)),
];

function plain(op: number): QemuEvent['emit'] {
  return (rows) => {
    rows.begin(op);
    rows.columns();
  };
}

function encrypt(command: number): QemuEvent['emit'] {
  return (rows) => {
    rows.begin(OP.encrypt);
    rows.columns();
    rows.sink.attrs(command, 0);
  };
}

/** As the executor's rows have it: attrs is the slot, with its address space, and above it the guest_memfd's number. */
function setUserMemory(rows: EventRows): void {
  const { args, sink } = rows;
  const gmem = args.has(SLOT.gmem) ? args.int(SLOT.gmem) : -1;
  rows.beginCall(gmem >= 0 ? OP.region2 : OP.region);
  rows.columns();
  const slotNumber = (args.low(SLOT.slot) | (args.has(SLOT.space) ? args.low(SLOT.space) << 16 : 0)) >>> 0;
  sink.attrs(slotNumber, gmem >= 0 ? sink.object(`guest_memfd ${gmem}`) : 0);
  if (gmem >= 0) sink.offset(args.low(SLOT.gmemOffset), args.high(SLOT.gmemOffset));
}

/** Only the request's number and a pointer: no range. KVM_RUN is one entry. */
function ioctl(rows: EventRows): void {
  const op = OP_OF_REQUEST.get(rows.args.low(SLOT.request));
  if (op === undefined) {
    rows.troubles.skip('other ioctl');
    return;
  }
  rows.announce(op);
  rows.columns();
  if (op === OP.run) ONE(rows);
}

const OP_OF_REQUEST = {
  known: new Map<number, number | undefined>(),
  get(request: number): number | undefined {
    if (this.known.has(request)) return this.known.get(request);
    const name = ioctlOf(request)?.op;
    const op = name && opCode(name);
    // As many as KVM has requests, whatever a file says.
    if (this.known.size < 1024) this.known.set(request, op);
    return op;
  },
};

/** attrs as KVM's: what is discarded is private. The offset is the RAMBlock's, no address. */
function stateChange(rows: EventRows): void {
  const { args, sink } = rows;
  const toPrivate = args.textIs(SLOT.to, DISCARDED);
  rows.begin(OP.stateChange);
  rows.columns();
  if (toPrivate || args.textIs(SLOT.to, POPULATED)) sink.attrs(toPrivate ? PRIVATE : 0, 0);
  sink.detail(`${args.text(SLOT.from)}->${args.text(SLOT.to)}`);
}

/** One event, and a row for each of the calls that it stands for. What it prints behind the address is the length. */
function discardRange(rows: EventRows): void {
  const { args, sink } = rows;
  const object = sink.object(`ram ${args.text(SLOT.name)}`);
  for (const [asked, op] of [
    [SLOT.fallocate, OP.punch],
    [SLOT.madvise, OP.madvise],
  ] as const) {
    if (args.low(asked) === 0) continue;
    rows.begin(op);
    rows.columns();
    sink.obj(object);
  }
}
