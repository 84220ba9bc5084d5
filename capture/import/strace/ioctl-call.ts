import { opCode } from '../../../native/index.ts';
import { IOCTLS, ioctlOf, type FileKind, type Ioctl } from '../ioctls.ts';
import type { Call } from './call.ts';
import type { OpenFile } from '../processes/files.ts';
import { readRequest } from './ioctl-request.ts';
import { readStruct } from './structs.ts';

const EBADF = 9;
const ENOTTY = 25;
const VFIO_GROUP_GET_DEVICE_FD = 0x3b6a;

const EXIT_OTHER = opCode('exit_other');

/** Codes of the rows by request. */
const CODES: ReadonlyMap<number, number> = new Map(
  IOCTLS.flatMap(({ request, op }): [number, number][] => (op ? [[request, opCode(op)]] : [])),
);

/** Makes the row of an ioctl, and learns from it what descriptors stand for. */
export function ioctl(call: Call): void {
  const { args, troubles, outcome } = call;
  const asKnown = call.descriptor();
  // Logs cut down by hand leave the descriptor out.
  if (!call.next() && call.fd >= 0) {
    troubles.add('cut line');
    return;
  }
  const from = args.at;
  const request = ioctlOf(readRequest(args));
  if (!request) {
    troubles.skip('ioctl of another interface');
    return;
  }
  const to = args.at;
  if (asKnown && !takes(asKnown, request)) {
    troubles.skip('ioctl on a file that does not take it');
    return;
  }
  const file = asKnown ?? adopt(call, request);
  if (request.request === VFIO_GROUP_GET_DEVICE_FD && outcome.succeeded) call.open(outcome.fd, 'vfio-device');
  const code = CODES.get(request.request);
  if (code === undefined) {
    troubles.skip('ioctl that changes no memory');
    return;
  }
  call.next();
  makeRow(call, request, code, file);
  // Which of the requests with this number it is depends on the kind of file.
  if (!file && request.on.includes('vfio-container')) call.sink.detail(args.text(from, to));
}

function takes({ kind }: OpenFile, { on }: Ioctl): boolean {
  return (on as readonly string[]).includes(kind);
}

/** A file that was opened where the log does not show it: what it is asked for says what it is, unless it refuses. */
function adopt(call: Call, { on }: Ioctl): OpenFile | undefined {
  const { outcome, fd } = call;
  const [kind] = on;
  const refused = !outcome.known || outcome.errno === ENOTTY || outcome.errno === EBADF;
  return on.length > 1 || kind === undefined || refused || fd < 0 ? undefined : call.open(fd, kind);
}

function makeRow(call: Call, { op }: Ioctl, code: number, file: OpenFile | undefined): void {
  const { args } = call;
  switch (op) {
    case 'kvm_create_vm': {
      const type = args.number();
      const sink = call.row(code);
      if (type) sink.attrs(args.lo, args.hi);
      made(call, 'vm');
      return;
    }
    case 'kvm_create_vcpu': {
      const index = args.number() ? args.safe() : -1;
      const sink = call.row(code);
      if (index >= 0) sink.vcpu(index);
      made(call, 'vcpu', index);
      return;
    }
    case 'kvm_create_guest_memfd':
      call.row(code);
      readStruct(call);
      {
        made(call, 'guest-memfd');
        return;
      }
    case 'kvm_run': {
      run(call, code, file);
      return;
    }
    case 'vfio_set_iommu': {
      const type = args.number();
      const sink = call.row(code);
      if (type) sink.flags(args.lo, args.hi);
      of(call, file);
      call.result();
      return;
    }
    case 'vfio_device_bind_iommufd':
      call.row(code);
      of(call, file);
      if (file?.device !== undefined) call.sink.attrs(file.device, 0);
      call.result();
      return;
    // About an address space or a page table of the iommufd, which the struct says.
    case 'iommufd_destroy':
    case 'iommufd_ioas_alloc':
    case 'iommufd_ioas_map':
    case 'iommufd_ioas_map_file':
    case 'iommufd_ioas_copy':
    case 'iommufd_option':
    case 'iommufd_hwpt_alloc':
    case 'iommufd_fault_queue_alloc':
    case 'iommufd_viommu_alloc':
    case 'iommufd_vdevice_alloc':
      call.row(code);
      readStruct(call);
      call.result();
      return;
    // Moreover, what they wrote back, their result, is not in the log.
    case 'iommufd_ioas_unmap':
    case 'iommufd_hwpt_invalidate':
      call.row(code);
      readStruct(call);
      return;
    case 'vfio_unmap_dma':
    case 'kvm_pre_fault_memory':
    case 'vfio_iommu_get_info':
      call.row(code);
      of(call, file);
      readStruct(call);
      return;
    default:
      call.row(code);
      of(call, file);
      readStruct(call);
      {
        call.result();
      }
  }
}

/** The file that the request is made to. */
function of({ sink }: Call, file: OpenFile | undefined): void {
  if (!file) return;
  sink.obj(file.object);
  if (file.vcpu >= 0) sink.vcpu(file.vcpu);
}

/** The row begun is of a call that makes a file. */
function made(call: Call, kind: FileKind, vcpu = -1): void {
  const { outcome, sink } = call;
  if (!outcome.succeeded) return;
  call.result();
  sink.obj(call.open(outcome.fd, kind, vcpu).object);
}

/** One entry of a guest per row, while a recording sums up those of a period. */
function run(call: Call, code: number, file: OpenFile | undefined): void {
  const { outcome } = call;
  const sink = call.row(code);
  of(call, file);
  if (outcome.succeeded) sink.resultNumber(1);
  if (outcome.exitReason < 0) return;
  // How long the vCPU stays out is not known yet.
  call.rowAtEnd(EXIT_OTHER);
  of(call, file);
  sink.attrs(outcome.exitReason, 0);
  sink.resultNumber(1);
}
