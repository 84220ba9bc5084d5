import { opCode } from '../../../native/index.ts';
import { IOCTLS, ioctlOf, type FileKind, type Ioctl } from '../ioctls.ts';
import type { OpenFile } from '../processes/files.ts';
import { succeeded, type CallEnd, type Calls } from './calls.ts';
import { hasSizeOf, IOAS_REQUESTS, ioasOf, RESULT_IN_STRUCT, STRUCTS } from './requests.ts';
import type { Thread } from './threads.ts';

const EBADF = 9;
const ENOTTY = 25;

export const KVM_RUN = 0xae80;
const KVM_CREATE_VM = 0xae01;
const KVM_CREATE_VCPU = 0xae41;
const KVM_CREATE_GUEST_MEMFD = 0xc040aed4;
const KVM_SET_MEMORY_ATTRIBUTES = 0x4020aed2;
const VFIO_SET_IOMMU = 0x3b66;
const VFIO_GROUP_GET_DEVICE_FD = 0x3b6a;

/** Codes of the rows by request. */
const CODES: ReadonlyMap<number, number> = new Map(
  IOCTLS.flatMap(({ request, op }): [number, number][] => (op ? [[request, opCode(op)]] : [])),
);

/** Requests that return the descriptor of a new file. */
const MAKES: ReadonlyMap<number, FileKind> = new Map([
  [KVM_CREATE_VM, 'vm'],
  [KVM_CREATE_VCPU, 'vcpu'],
  [KVM_CREATE_GUEST_MEMFD, 'guest-memfd'],
  [VFIO_GROUP_GET_DEVICE_FD, 'vfio-device'],
]);

/** Makes the row of an ioctl (fd, request, argument), and learns from it what descriptors stand for. */
export function ioctl(calls: Calls, thread: Thread, end: CallEnd): void {
  const { arguments: args } = thread.call;
  const request = args.has(1) && args.hi(1) === 0 ? ioctlOf(args.lo(1)) : undefined;
  if (!request) {
    calls.troubles.skip('ioctl of another interface');
    return;
  }
  const fd = args.has(0) ? args.lo(0) : -1;
  const asKnown = thread.process.descriptors.get(fd)?.file;
  const isRight = asKnown !== undefined && takes(asKnown, request);
  const file = isRight ? asKnown : adopt(calls, thread, end, fd, request);
  if (asKnown && !file) {
    calls.troubles.skip('ioctl on a file that does not take it');
    return;
  }
  const made = make(calls, thread, end, request);
  const code = CODES.get(request.request);
  if (code === undefined) calls.troubles.skip('ioctl that changes no memory');
  else row(calls, thread, end, request, code, file, made);
}

function takes({ kind }: OpenFile, { on }: Ioctl): boolean {
  return (on as readonly string[]).includes(kind);
}

/**
 * A file that was opened (or closed, and its number used again) where the log does not show it: what it is asked for says what it is, unless it
 * refuses.
 */
function adopt(calls: Calls, thread: Thread, end: CallEnd, fd: number, request: Ioctl): OpenFile | undefined {
  const [kind] = request.on;
  const refused = !end.known || end.errno === ENOTTY || end.errno === EBADF;
  const isAmbiguous = request.on.length > 1 && !isByStruct(thread, request);
  if (isAmbiguous || kind === undefined || refused || fd < 0) return undefined;
  return calls.open(thread, fd, kind, kind === 'vcpu' ? thread.vcpu : -1);
}

/** Numbers of requests to containers have other meanings on other files, but not with such a struct. */
function isByStruct({ call }: Thread, { op }: Ioctl): boolean {
  return op !== undefined && hasSizeOf(op, call.words);
}

function make(calls: Calls, thread: Thread, end: CallEnd, { request }: Ioctl): OpenFile | undefined {
  const kind = MAKES.get(request);
  if (!kind || !succeeded(end) || end.hi !== 0) return undefined;
  const { arguments: args } = thread.call;
  return calls.open(thread, end.lo, kind, kind === 'vcpu' && args.has(2) ? args.lo(2) : -1);
}

function row(
  calls: Calls,
  thread: Thread,
  end: CallEnd,
  ioctl: Ioctl,
  code: number,
  file: OpenFile | undefined,
  made: OpenFile | undefined,
): void {
  const { op, request } = ioctl;
  const { arguments: args, words, told } = thread.call;
  const sink = calls.row(thread, code, end);
  if (op === undefined) return;
  if (made) sink.obj(made.object);
  else if (IOAS_REQUESTS.has(op)) {
    const ioas = ioasOf(op, words);
    if (file && ioas >= 0) sink.obj(calls.ioas(file.object, ioas));
  } else if (file && !MAKES.has(request)) sink.obj(file.object);
  if (file && file.vcpu >= 0) sink.vcpu(file.vcpu);
  if (op === 'vfio_device_bind_iommufd' && file?.device !== undefined) sink.attrs(file.device, 0);
  if (args.has(2)) {
    if (request === KVM_CREATE_VM) sink.attrs(args.lo(2), args.hi(2));
    else if (request === KVM_CREATE_VCPU) sink.vcpu(args.lo(2));
    else if (request === VFIO_SET_IOMMU) sink.flags(args.lo(2), args.hi(2));
  }
  STRUCTS.get(request)?.(sink, words);
  if (request === KVM_SET_MEMORY_ATTRIBUTES && told.any) {
    sink.gpa(told.lo(0), told.hi(0));
    sink.len(told.lo(1), told.hi(1));
    sink.attrs(told.lo(2), told.hi(2));
  }
  if (!file && ioctl.on.length > 1 && !isByStruct(thread, ioctl)) {
    sink.detail('the log does not say what kind of file it is on: it may be another request of the same number');
  }
  if (!succeeded(end)) return;
  if (op === 'kvm_run') sink.resultNumber(1);
  else if (!RESULT_IN_STRUCT.has(op)) sink.resultNumber(0);
}
