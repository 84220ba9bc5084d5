import { opCode } from '../../../native/index.ts';
import { MAP_GPA_PRIVATE } from '../../request.ts';
import { bytesOf, wordHash } from '../cursor.ts';
import type { EventHandler, Handled, KernelEvent } from './event.ts';

/**
 * Events of arch/x86/kvm/trace.h and include/trace/events/kvm.h, as the kernel prints them, and as trace-cmd's plugin for kvm does
 * ("reason EXIT_NPF rip 0x.. info 6 0").
 */

const PAGE_BITS = 12;
const KVM_HC_MAP_GPA_RANGE = 12;
const KVM_EXIT_HYPERCALL = 3;

/** GHCB MSR protocol: SNP page state change request; the page in bits 51:12, the operation in 55:52 (1 = private, 2 = shared). */
const GHCB_MSR_PSC_REQ = 0x014;
const PSC_PRIVATE = 1;
const PSC_SHARED = 2;

/** Error codes of a guest's own page tables (shadow paging) have bits below this; those of nested paging and EPT violations also higher ones. */
const FIRST_TWO_DIMENSIONAL_BIT = 0x80;

const OP = {
  mapGpaRange: opCode('exit_map_gpa_range'),
  exitOther: opCode('exit_other'),
  kvmExit: opCode('kvm_exit'),
  pageFault: opCode('kvm_page_fault'),
  setAttributes: opCode('kvm_set_memory_attributes'),
  unmapHva: opCode('kvm_unmap_hva_range'),
};

const KEY = {
  nr: wordHash('nr'),
  a0: wordHash('a0'),
  a1: wordHash('a1'),
  a2: wordHash('a2'),
  vcpu: wordHash('vcpu'),
  vcpuId: wordHash('vcpu_id'),
  reason: wordHash('reason'),
  address: wordHash('address'),
  faultAddress: wordHash('fault_address'),
  errorCode: wordHash('error_code'),
  gpa: wordHash('gpa'),
  ghcbGpa: wordHash('ghcb_gpa'),
  range: wordHash('range'),
  errno: wordHash('errno'),
  exitReason: wordHash('exit_reason'),
  start: wordHash('start'),
  end: wordHash('end'),
};

const RANGE_DASHES = bytesOf(' -- ');
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_PAREN = 0x28;
const ERROR = bytesOf('error');
const RESTART = bytesOf('restart');

/** Notes the vCPU that an event names as the one of its thread. */
function readVcpu({ fields, cursor, thread }: KernelEvent): void {
  if ((fields.number(KEY.vcpu) || fields.number(KEY.vcpuId)) && cursor.hi === 0 && cursor.lo <= 0xffff) {
    thread.vcpu = cursor.lo;
  }
}

/** nr 0xc a0 0x100000 a1 0x200 a2 0x10 a3 0x0 */
export const kvmHypercall: EventHandler = (event) => {
  const { fields, cursor, sink, thread } = event;
  fields.begin();
  if (!fields.hex(KEY.nr)) return 'unusable';
  if (cursor.hi !== 0 || cursor.lo !== KVM_HC_MAP_GPA_RANGE) return 'skipped';
  if (!fields.hex(KEY.a0)) return 'unusable';
  const { lo, hi } = cursor;
  if (!fields.hex(KEY.a1)) return 'unusable';
  const pagesLo = cursor.lo;
  const pagesHi = cursor.hi;
  if (!fields.hex(KEY.a2)) return 'unusable';
  event.row(OP.mapGpaRange);
  sink.gpa(lo, hi);
  // A number of pages whose bytes pass 64 bits is refused by KVM; the length then stays unknown.
  if (pagesHi < 2 ** (32 - PAGE_BITS)) sink.len(bytesLo(pagesLo), bytesHi(pagesLo, pagesHi));
  sink.attrs(cursor.lo, cursor.hi);
  event.begin(thread.userExit);
  thread.isConverting = true;
  return 'used';
};

/** vcpu 0, ghcb_gpa 0010000100000014: an SNP guest asks for one page. Other requests of the protocol are not of interest. */
export const kvmVmgexitMsrProtocol: EventHandler = (event) => {
  const { fields, cursor, sink, thread } = event;
  fields.begin();
  readVcpu(event);
  if (!fields.hex(KEY.ghcbGpa)) return 'unusable';
  const { lo, hi } = cursor;
  const operation = (hi >>> 20) & 0xf;
  if ((lo & 0xfff) !== GHCB_MSR_PSC_REQ || (operation !== PSC_PRIVATE && operation !== PSC_SHARED)) return 'skipped';
  event.row(OP.mapGpaRange);
  sink.gpa((lo & ~0xfff) >>> 0, hi & 0xf_ffff);
  sink.len(2 ** PAGE_BITS, 0);
  sink.attrs(operation === PSC_PRIVATE ? MAP_GPA_PRIVATE : 0, 0);
  event.begin(thread.userExit);
  thread.isConverting = true;
  return 'used';
};

/** "reason KVM_EXIT_IO (2)", "reason restart (4)" and "reason error (14)", whose numbers are errnos. */
export const kvmUserspaceExit: EventHandler = (event) => {
  const { fields, cursor } = event;
  fields.begin();
  if (fields.number(KEY.errno)) return rawUserspaceExit(event);
  if (!fields.find(KEY.reason)) return 'unusable';
  const failed = cursor.looking(ERROR) || cursor.looking(RESTART);
  if (!cursor.find(OPEN_PAREN)) return 'unusable';
  cursor.at++;
  if (!cursor.decimal() || cursor.hi !== 0 || cursor.peek() !== 0x29) return 'unusable';
  return userspaceExit(event, cursor.lo, failed);
};

/** reason=2 errno=0, with trace-cmd's -R; an errno is negative. */
function rawUserspaceExit(event: KernelEvent): Handled {
  const { fields, cursor } = event;
  const errno = -cursor.signed();
  if (!fields.number(KEY.reason) || cursor.hi !== 0) return 'unusable';
  return errno > 0 ? userspaceExit(event, errno, true) : userspaceExit(event, cursor.lo, false);
}

function userspaceExit(event: KernelEvent, number: number, failed: boolean): Handled {
  const { sink, thread } = event;
  const isOfConversion = thread.isConverting && thread.userExit.row !== 0 && !failed && number === KVM_EXIT_HYPERCALL;
  thread.isConverting = false;
  // The request itself is the row.
  if (isOfConversion) return 'skipped';
  event.row(OP.exitOther);
  if (failed) sink.errno(number);
  else sink.attrs(number, 0);
  event.begin(thread.userExit);
  return 'used';
}

/** vcpu 0 reason npf rip 0x4000022d info1 0x6 info2 0x40002000 ... */
export const kvmExit: EventHandler = (event) => {
  const { fields, cursor, sink, thread } = event;
  fields.begin();
  readVcpu(event);
  if (!fields.find(KEY.reason) && !fields.find(KEY.exitReason)) return 'unusable';
  const name = cursor.word() === 0 ? '' : cursor.text(cursor.wordStart, cursor.wordEnd);
  event.row(OP.kvmExit);
  if (name !== '') sink.detail(name);
  event.begin(thread.kernelExit);
  return 'used';
};

/** vcpu 0, rip 0x4000022d: no row, but the end of the exit before. */
export const kvmEntry: EventHandler = (event) => {
  event.fields.begin();
  readVcpu(event);
  event.end(event.thread.kernelExit);
  event.end(event.thread.userExit);
  event.thread.isConverting = false;
  return 'skipped';
};

/** vcpu 0 rip 0x4000022d address 0x0000000040002000 error_code 0x200000006 */
export const kvmPageFault: EventHandler = (event) => {
  const { fields, cursor, sink } = event;
  fields.begin();
  readVcpu(event);
  if (!fields.hex(KEY.address) && !fields.hex(KEY.faultAddress)) return 'unusable';
  const { lo, hi } = cursor;
  if (!fields.hex(KEY.errorCode)) return 'unusable';
  event.row(OP.pageFault);
  // With shadow paging it is the guest's virtual address, for which a trace has no column.
  if (cursor.hi !== 0 || cursor.lo >= FIRST_TWO_DIMENSIONAL_BIT) sink.gpa(lo, hi);
  sink.flags(cursor.lo, cursor.hi);
  return 'used';
};

/** vcpu 0 gpa 0000000000100000 pfn 0x1234 error_code 0x500000007 rmp_level 1 psmash_ret 0: a fault of the RMP (SNP). */
export const kvmRmpFault: EventHandler = (event) => {
  const { fields, cursor, sink } = event;
  fields.begin();
  readVcpu(event);
  if (!fields.hex(KEY.gpa)) return 'unusable';
  const { lo, hi } = cursor;
  if (!fields.hex(KEY.errorCode)) return 'unusable';
  event.row(OP.pageFault);
  sink.gpa(lo, hi);
  sink.flags(cursor.lo, cursor.hi);
  sink.detail('RMP');
  return 'used';
};

/** "0x000000000000100 -- 0x000000000000200 [0x8]": page frames, the end exclusive. */
export const kvmSetMemAttributes: EventHandler = (event) => {
  const { cursor, sink, thread } = event;
  cursor.spaces();
  if (!cursor.hex()) return 'unusable';
  const { lo, hi } = cursor;
  if (!cursor.skip(RANGE_DASHES) || !cursor.hex()) return 'unusable';
  const pagesHi = cursor.hi - hi - (cursor.lo < lo ? 1 : 0);
  const pagesLo = (cursor.lo - lo) >>> 0;
  const isRange = pagesHi >= 0 && cursor.hi < 2 ** (32 - PAGE_BITS);
  cursor.spaces();
  if (!isRange || !cursor.skipByte(OPEN_BRACKET) || !cursor.hex() || cursor.peek() !== CLOSE_BRACKET) return 'unusable';
  const { call } = thread;
  if (call.syscall === 'ioctl') {
    // It is told from within the call, which is the row.
    call.told.set(0, bytesLo(lo), bytesHi(lo, hi));
    call.told.set(1, bytesLo(pagesLo), bytesHi(pagesLo, pagesHi));
    call.told.set(2, cursor.lo, cursor.hi);
    return 'used';
  }
  event.row(OP.setAttributes);
  sink.gpa(bytesLo(lo), bytesHi(lo, hi));
  sink.len(bytesLo(pagesLo), bytesHi(pagesLo, pagesHi));
  sink.attrs(cursor.lo, cursor.hi);
  return 'used';
};

/** mmu notifier unmap range: 0x007fb058000000 -- 0x007fb058200000, the end exclusive. */
export const kvmUnmapHvaRange: EventHandler = (event) => {
  const { fields, cursor, sink } = event;
  fields.begin();
  const isRaw = fields.hex(KEY.start);
  if (!isRaw && !fields.hex(KEY.range)) return 'unusable';
  const { lo, hi } = cursor;
  if (isRaw ? !fields.hex(KEY.end) : !cursor.skip(RANGE_DASHES) || !cursor.hex()) return 'unusable';
  const lenHi = cursor.hi - hi - (cursor.lo < lo ? 1 : 0);
  if (lenHi < 0) return 'unusable';
  event.row(OP.unmapHva);
  sink.hva(lo, hi);
  sink.len((cursor.lo - lo) >>> 0, lenHi);
  return 'used';
};

function bytesLo(pagesLo: number): number {
  return (pagesLo << PAGE_BITS) >>> 0;
}

function bytesHi(pagesLo: number, pagesHi: number): number {
  return ((pagesHi << PAGE_BITS) | (pagesLo >>> (32 - PAGE_BITS))) >>> 0;
}
