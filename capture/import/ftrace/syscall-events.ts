import { bytesOf, wordHash } from '../cursor.ts';
import { endWith, type CallEnd } from './calls.ts';
import type { Handled, KernelEvent } from './event.ts';
import { KVM_RUN } from './ioctl-call.ts';
import type { Syscall } from './open-call.ts';

/**
 * Events of system calls. ftrace prints those of `syscalls` as "sys_ioctl(fd: 5, cmd: ae80, arg: 0)" and "sys_ioctl -> 0x0", perf and trace-cmd as
 * "sys_enter_ioctl: fd: 0x05, cmd: 0xae80, arg: 0x0" and "sys_exit_ioctl: 0x0"; `raw_syscalls` are "sys_enter: NR 16 (5, ae80, 0, 0, 0, 0)" and
 * "sys_exit: NR 16 = 0". All numbers are hexadecimal, with 0x or without, except NR and what follows "=".
 */

interface KnownSyscall {
  readonly name: Syscall;
  readonly bytes: Uint8Array;
  /** On x86-64. */
  readonly number: number;
  /** In order, as the kernel calls them. */
  readonly keys: readonly number[];
}

const KNOWN: readonly KnownSyscall[] = [
  known('ioctl', 16, 'fd', 'cmd', 'arg'),
  known('fallocate', 285, 'fd', 'mode', 'offset', 'len'),
  known('madvise', 28, 'start', 'len_in', 'behavior'),
  known('mmap', 9, 'addr', 'len', 'prot', 'flags', 'fd', 'off'),
  known('munmap', 11, 'addr', 'len'),
  known('close', 3, 'fd'),
  known('open', 2),
  known('openat', 257),
  known('memfd_create', 319),
];

function known(name: Syscall, number: number, ...keys: string[]): KnownSyscall {
  return { name, bytes: bytesOf(name), number, keys: keys.map(wordHash) };
}

const BY_NUMBER: ReadonlyMap<number, KnownSyscall> = new Map(KNOWN.map((syscall) => [syscall.number, syscall]));

/** By name, for the event table. */
export const SYSCALLS: readonly KnownSyscall[] = KNOWN;
export type { KnownSyscall };

const OPEN_PAREN = 0x28;
const COMMA = 0x2c;
const QUOTE = 0x22;
const EQUALS = 0x3d;
const NR = wordHash('NR');
const RET = wordHash('ret');
const ARROW = bytesOf('-> ');
const SYSCALL_NR = bytesOf('__syscall_nr=');
const FD_ARGUMENTS: ReadonlySet<Syscall> = new Set<Syscall>(['ioctl', 'fallocate', 'close', 'mmap']);

const UNKNOWN_END: CallEnd = {
  ...{ known: false, errno: 0, lo: 0, hi: 0, hasTime: false, seconds: 0, nanoseconds: 0 },
};

/** What follows "sys_NAME": "(..." for a beginning, " -> ..." for an end. */
export function sysEvent(event: KernelEvent, syscall: KnownSyscall): Handled {
  const { cursor } = event;
  if (cursor.peek() === OPEN_PAREN) return enterByName(event, syscall);
  cursor.spaces();
  return cursor.skip(ARROW) ? exit(event, syscall) : 'unusable';
}

/** What follows "sys_enter_NAME:". */
export function enterByName(event: KernelEvent, syscall: KnownSyscall): Handled {
  const { fields, cursor } = event;
  // Arguments that are not there yet change what a call is.
  if (cursor.openEnd) return 'unusable';
  const { at } = cursor;
  fields.begin();
  const call = begin(event, syscall);
  for (let i = 0; i < syscall.keys.length; i++) {
    if (fields.hex(syscall.keys[i] ?? 0)) setArgument(event, syscall, i);
  }
  // Some kernels and perf have the path behind its pointer.
  if (syscall.name === 'open' || syscall.name === 'openat') {
    cursor.at = at;
    if (cursor.find(QUOTE)) {
      const start = ++cursor.at;
      if (cursor.find(QUOTE)) call.path = cursor.text(start, cursor.at);
    }
  }
  begun(event);
  return 'used';
}

/** What follows "sys_exit_NAME:", or "->". */
export function exit(event: KernelEvent, syscall: KnownSyscall): Handled {
  const { cursor, fields } = event;
  cursor.spaces();
  if (cursor.looking(SYSCALL_NR)) {
    fields.begin();
    if (!fields.hex(RET)) return 'unusable';
  } else if (!cursor.hex()) return 'unusable';
  return ended(event, syscall);
}

/** NR 16 (5, ae80, 0, 0, 0, 0) */
export function rawEnter(event: KernelEvent): Handled {
  const { fields, cursor } = event;
  fields.begin();
  if (cursor.openEnd || !fields.number(NR)) return 'unusable';
  const syscall = cursor.hi === 0 ? BY_NUMBER.get(cursor.lo) : undefined;
  if (!syscall) {
    settle(event);
    return 'skipped';
  }
  cursor.spaces();
  if (!cursor.skipByte(OPEN_PAREN)) return 'unusable';
  begin(event, syscall);
  for (let i = 0; i < syscall.keys.length && cursor.hex(); i++) {
    setArgument(event, syscall, i);
    cursor.skipByte(COMMA);
    cursor.spaces();
  }
  begun(event);
  return 'used';
}

/** NR 16 = -25 */
export function rawExit(event: KernelEvent): Handled {
  const { fields, cursor } = event;
  fields.begin();
  if (!fields.number(NR)) return 'unusable';
  const syscall = cursor.hi === 0 ? BY_NUMBER.get(cursor.lo) : undefined;
  if (!syscall) return 'skipped';
  cursor.spaces();
  if (!cursor.skipByte(EQUALS)) return 'unusable';
  cursor.spaces();
  return cursor.number() ? ended(event, syscall) : 'unusable';
}

function begin(event: KernelEvent, syscall: KnownSyscall): KernelEvent['thread']['call'] {
  const { thread, head } = event;
  const { call } = thread;
  // A probe in the C library may have told of the same call already, with more than the kernel's event says.
  if (call.syscall === 'ioctl' && call.isFromProbe && syscall.name === 'ioctl') return call;
  settle(event);
  call.begin(syscall.name, head.hasTime, head.seconds, head.nanoseconds);
  return call;
}

/** File descriptors and requests are ints: the kernel prints their registers, whose upper half can be anything. */
function setArgument(event: KernelEvent, syscall: KnownSyscall, index: number): void {
  const { cursor, thread } = event;
  const isInt =
    (FD_ARGUMENTS.has(syscall.name) && index === (syscall.name === 'mmap' ? 4 : 0)) ||
    (syscall.name === 'ioctl' && index === 1);
  thread.call.arguments.set(index, cursor.lo, isInt ? 0 : cursor.hi);
}

/** A vCPU that is about to run has done with its exit. */
export function begun(event: KernelEvent): void {
  const { call, userExit } = event.thread;
  if (call.syscall !== 'ioctl' || !call.arguments.has(1) || call.arguments.lo(1) !== KVM_RUN) return;
  event.end(userExit);
  event.thread.isConverting = false;
}

function ended(event: KernelEvent, syscall: KnownSyscall): Handled {
  const { cursor, thread, calls } = event;
  // The beginning was before the log's, or was lost.
  if (thread.call.syscall !== syscall.name) return 'skipped';
  endWith(event.callEnd, cursor.lo, cursor.hi);
  setTime(event);
  calls.finish(thread, event.callEnd);
  return 'used';
}

/** The end of a call that a probe saw. */
export function endedWith(event: KernelEvent, errno: number, lo: number, hi: number): void {
  const { callEnd } = event;
  callEnd.known = true;
  callEnd.errno = errno;
  callEnd.lo = lo;
  callEnd.hi = hi;
  setTime(event);
  event.calls.finish(event.thread, callEnd);
}

function setTime({ head, callEnd }: KernelEvent): void {
  callEnd.hasTime = head.hasTime;
  callEnd.seconds = head.seconds;
  callEnd.nanoseconds = head.nanoseconds;
}

/** A call whose end was not logged: its row has none. */
export function settle(event: KernelEvent): void {
  if (event.thread.call.syscall !== undefined) event.calls.finish(event.thread, UNKNOWN_END);
}

/** At the end of the log. */
export function settleAll(event: KernelEvent): void {
  for (const thread of event.threads.all()) {
    if (thread.call.syscall !== undefined) event.calls.finish(thread, UNKNOWN_END);
  }
}
