import { opCode } from '../../../native/index.ts';
import { bytesOf } from '../cursor.ts';
import type { Call } from './call.ts';
import { CLOSED_WITH_A_ROW, type OpenFile } from '../processes/files.ts';
import { NameTable, readFlags } from '../name-table.ts';

const CLOSE = opCode('close');
const IOMMUFD_OPEN = opCode('iommufd_open');

const O_CLOEXEC = 0o2000000;
const COMMA = bytesOf(', ');
const CLOEXEC_WORD = bytesOf('_CLOEXEC');
const CLOSE_RANGE_CLOEXEC = 4;

const DUPLICATING = new NameTable(Object.entries({ F_DUPFD: 0, F_DUPFD_CLOEXEC: 1030 }));
const F_DUPFD = 0;
const F_DUPFD_CLOEXEC = 1030;

const CLOSE_RANGE_FLAGS = new NameTable(
  Object.entries({ CLOSE_RANGE_UNSHARE: 2, CLOSE_RANGE_CLOEXEC: CLOSE_RANGE_CLOEXEC }),
);

/** openat(dirfd, path, flags, mode). */
export function openat(call: Call): void {
  if (call.skipArgument()) open(call);
}

/** open(path, flags, mode). */
export function open(call: Call): void {
  const { outcome, args } = call;
  const found = call.path();
  if (!found) {
    call.troubles.add('cut line');
    return;
  }
  const iommufd = found.kind === 'iommufd';
  if (iommufd) call.row(IOMMUFD_OPEN);
  if (!outcome.succeeded) return;
  // The rest has no names but the flags'.
  const closeOnExec = args.findPast(CLOEXEC_WORD) || hasCloseOnExecBit(call);
  if (found.kind === 'other') {
    call.process.descriptors.delete(outcome.fd);
    return;
  }
  const file = call.open(outcome.fd, found.kind, found.index, closeOnExec);
  if (!iommufd) return;
  call.result();
  call.sink.obj(file.object);
}

function hasCloseOnExecBit({ args }: Call): boolean {
  return args.skip(COMMA) && args.number() && (args.lo & O_CLOEXEC) !== 0;
}

/** memfd_create(name, flags). */
export function memfdCreate(call: Call): void {
  const { outcome, args } = call;
  if (outcome.succeeded) call.open(outcome.fd, 'memory', -1, args.findPast(CLOEXEC_WORD));
}

/** dup(fd). */
export function dup(call: Call): void {
  duplicate(call, call.descriptor(), false);
}

/** dup2(from, to). */
export function dup2(call: Call): void {
  dupTo(call, false);
}

/** dup3(from, to, flags). */
export function dup3(call: Call): void {
  dupTo(call, call.args.text(call.args.at, call.args.end).includes('O_CLOEXEC'));
}

function dupTo(call: Call, closeOnExec: boolean): void {
  const file = call.descriptor();
  const from = call.fd;
  if (call.outcome.fd !== from) duplicate(call, file, closeOnExec);
}

function duplicate(call: Call, file: OpenFile | undefined, closeOnExec: boolean): void {
  const { outcome, process } = call;
  if (!outcome.succeeded) return;
  // What `to` stood for is closed.
  closeRow(call, process.close(outcome.fd));
  if (file && file.kind !== 'other') process.open(outcome.fd, file, closeOnExec);
}

/** fcntl(fd, command, ...): the duplicating ones. */
export function fcntl(call: Call): void {
  const { args } = call;
  const file = call.descriptor();
  if (!call.next()) return;
  const command = args.number() ? args.lo : DUPLICATING.read(args);
  if (command === F_DUPFD || command === F_DUPFD_CLOEXEC) duplicate(call, file, command === F_DUPFD_CLOEXEC);
}

/** The beginning of a close(fd): the number is free for others before the call's end is logged. */
export function closing(call: Call): void {
  call.descriptor();
  call.closing = call.process.close(call.fd);
}

/** close(fd). */
export function close(call: Call): void {
  const { outcome, process } = call;
  if (!call.closing) call.descriptor();
  const closed = call.closing ?? (outcome.known ? process.close(call.fd) : undefined);
  closeRow(call, closed);
}

/** A row for the last descriptor of an object that the process had. */
function closeRow(call: Call, closed: Call['closing']): void {
  if (!closed?.last || !CLOSED_WITH_A_ROW.has(closed.file.kind)) return;
  const { object, vcpu } = closed.file;
  const sink = call.row(CLOSE);
  sink.obj(object);
  if (vcpu >= 0) sink.vcpu(vcpu);
  if (call.outcome.known) sink.resultNumber(0);
}

/** close_range(first, last, flags). */
export function closeRange(call: Call): void {
  const { args, outcome, process } = call;
  if (!outcome.succeeded || !args.number()) return;
  const first = args.safe();
  if (!call.next() || !args.number()) return;
  const last = args.safe();
  const flags = call.next() ? readFlags(args, CLOSE_RANGE_FLAGS) : 0;
  for (const [fd, descriptor] of process.descriptors) {
    if (fd < first || fd > last) continue;
    if ((flags & CLOSE_RANGE_CLOEXEC) !== 0) descriptor.closeOnExec = true;
    else closeRow(call, process.close(fd));
  }
}
