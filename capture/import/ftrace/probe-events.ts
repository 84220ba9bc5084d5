import { bytesOf, isWordByte, wordHash } from '../cursor.ts';
import { UNKNOWN_ERRNO } from './calls.ts';
import type { Handled, KernelEvent } from './event.ts';
import { MAX_WORDS } from './open-call.ts';
import { begun, endedWith, settle } from './syscall-events.ts';

/**
 * Events of probes that users define (Documentation/trace/uprobetracer.rst, kprobetrace.rst): how the ranges of an ioctl are recorded without anything
 * of ours in the VMM. Their names are free; they are known by their fields:
 *
 *     ioc: (0x7f3eeff1bd30) fd=19 cmd=0x4020aed2 a0=0x0 a1=0x1000 a2=0x8 a3=0x0       a0 = +0(%dx):x64, a1 = +8(%dx):x64 ...
 *     iocr: (0x7f3eec561c79 <- 0x7f3eeff1bd30) ret=-1                                 ret = $retval
 *
 * Where fd and cmd have other names, or a value is missing, they cannot be used.
 */

const KEY = {
  fd: wordHash('fd'),
  cmd: wordHash('cmd'),
  arg: wordHash('arg'),
  ret: wordHash('ret'),
  retval: wordHash('retval'),
  arg1: wordHash('arg1'),
};
const WORD_KEYS = Array.from({ length: MAX_WORDS }, (_, i) => wordHash(`a${i}`));

const OPEN_PAREN = 0x28;
const CLOSE_PAREN = 0x29;
const ZERO = 0x30;
const LEFT_ARROW = bytesOf('<- ');

const ALL_ONES = 0xffff_ffff;
const MAX_ERRNO = 4095;
const EPERM = 1;

/** Text that begins with the place of a probe: any event's, whatever its name. */
export function isProbe({ cursor }: KernelEvent): boolean {
  return cursor.peek() === OPEN_PAREN;
}

/** What follows the probe's name and colon. */
export function probeEvent(event: KernelEvent): Handled {
  const { cursor } = event;
  const start = cursor.at;
  if (!cursor.find(CLOSE_PAREN)) return 'unusable';
  const past = ++cursor.at;
  const { end } = cursor;
  cursor.at = start + 1;
  cursor.end = past;
  const isReturn = cursor.findPast(LEFT_ARROW);
  const ofKernel = isReturn && isSymbol(event);
  cursor.end = end;
  cursor.at = past;
  return isReturn ? returned(event, ofKernel) : entered(event);
}

/** Kernel functions are printed by name, those of programs by address. */
function isSymbol({ cursor }: KernelEvent): boolean {
  const byte = cursor.peek();
  return isWordByte(byte) && (byte < ZERO || byte > ZERO + 9) && !cursor.hex();
}

function entered(event: KernelEvent): Handled {
  const { fields, cursor, thread, head } = event;
  fields.begin();
  if (cursor.openEnd) return 'unusable';
  if (!fields.number(KEY.cmd)) return 'skipped';
  const request = cursor.lo;
  const { call } = thread;
  // A probe inside the kernel, in a call that has been seen to begin, only adds to it.
  if (call.syscall !== 'ioctl' || call.isFromProbe || call.arguments.lo(1) !== request) {
    settle(event);
    call.begin('ioctl', head.hasTime, head.seconds, head.nanoseconds);
    call.isFromProbe = true;
    call.arguments.set(1, request, 0);
    if (fields.number(KEY.fd)) call.arguments.set(0, cursor.lo, 0);
    if (fields.number(KEY.arg)) call.arguments.set(2, cursor.lo, cursor.hi);
  }
  for (let i = 0; i < MAX_WORDS; i++) {
    if (fields.number(WORD_KEYS[i] ?? 0)) call.words.set(i, cursor.lo, cursor.hi);
  }
  begun(event);
  return 'used';
}

function returned(event: KernelEvent, ofKernel: boolean): Handled {
  const { fields, cursor, thread } = event;
  fields.begin();
  if (thread.call.syscall !== 'ioctl' || !thread.call.isFromProbe) return 'skipped';
  if (!fields.number(KEY.ret) && !fields.number(KEY.retval) && !fields.number(KEY.arg1)) return 'skipped';
  // An int may be printed as 32 bits: ret=0xffffffff.
  const isNegative = cursor.hi === ALL_ONES || cursor.hi === 0;
  const negated = isNegative && cursor.lo > ALL_ONES - MAX_ERRNO ? ALL_ONES - cursor.lo + 1 : 0;
  if (negated === 0) endedWith(event, 0, cursor.lo, cursor.hi);
  else if (negated === EPERM && !ofKernel) endedWith(event, UNKNOWN_ERRNO, 0, 0);
  else endedWith(event, negated, 0, 0);
  return 'used';
}
