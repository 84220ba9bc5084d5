/** QEMU's hw/vfio and backends (iommufd) trace events that become rows, and the error messages of its DMA calls. */
import { opCode } from '../../../native/index.ts';
import { slot } from './event-args.ts';
import type { EventRows } from './event-rows.ts';
import { event, type QemuEvent } from './event.ts';

const OP = {
  regionAdd: opCode('vfio_listener_region_add'),
  regionDel: opCode('vfio_listener_region_del'),
  vfioMap: opCode('vfio_map_dma'),
  vfioUnmap: opCode('vfio_unmap_dma'),
  bind: opCode('vfio_device_bind_iommufd'),
  attach: opCode('vfio_attach_iommufd_pt'),
  detach: opCode('vfio_detach_iommufd_pt'),
  map: opCode('iommufd_ioas_map'),
  mapFile: opCode('iommufd_ioas_map_file'),
  unmap: opCode('iommufd_ioas_unmap'),
  ioasAlloc: opCode('iommufd_ioas_alloc'),
  hwptAlloc: opCode('iommufd_hwpt_alloc'),
  invalidate: opCode('iommufd_hwpt_invalidate'),
  destroy: opCode('iommufd_destroy'),
  viommuAlloc: opCode('iommufd_viommu_alloc'),
  vdeviceAlloc: opCode('iommufd_vdevice_alloc'),
  changeProcess: opCode('iommufd_ioas_change_process'),
};

const SLOT = {
  iova: slot('iova'),
  last: slot('last'),
  iommufd: slot('iommufd'),
  id: slot('id'),
  device: slot('device'),
  readonly: slot('readonly'),
  start: slot('start'),
  name: slot('name'),
  done: slot('done'),
  attrs: slot('attrs'),
  ret: slot('ret'),
};

const ENOENT = 2;

/** Of IOMMU_IOAS_MAP; QEMU sets the first two always. */
const MAP_FLAGS = { fixedIova: 1, readable: 4, writeable: 2 };

export const DMA_EVENTS: readonly QemuEvent[] = [
  event('vfio_listener_region_add_ram', 'region_add [ram] {iova:x} - {last:x} [{hva:x}]', region(OP.regionAdd)),
  event('vfio_listener_region_del', 'region_del {iova:x} - {last:x}', region(OP.regionDel)),
  // Error messages: the only trace that a failed map or unmap of a container leaves. The first of them says the errno, the second also the range.
  event('VFIO_MAP_DMA', 'failed: {name:s}', refused(OP.vfioMap)),
  event('VFIO_UNMAP_DMA', 'failed: {name:s}', refused(OP.vfioUnmap)),
  ...['vfio_dma_map', 'vfio_container_dma_map'].map((name) =>
    event(name, '({start:x}, {iova:x}, {len:x}, {hva:x}) = {ret:d}', failed(OP.vfioMap)),
  ),
  ...['vfio_dma_unmap', 'vfio_container_dma_unmap'].map((name) =>
    event(name, '({start:x}, {iova:x}, {len:x}) = {ret:d}', failed(OP.vfioUnmap)),
  ),
  event(
    'iommufd_backend_map_dma',
    'iommufd={iommufd:d} ioas={id:d} iova={iova:x} size={len:x} addr={hva:x} readonly={readonly:d} ({ret:d})',
    (rows) => map(rows, OP.map),
  ),
  event(
    'iommufd_backend_map_file_dma',
    'iommufd={iommufd:d} ioas={id:d} iova={iova:x} size={len:x} fd={fd:d} start={offset:d} readonly={readonly:d} ({ret:d})',
    (rows) => map(rows, OP.mapFile),
  ),
  event(
    'iommufd_backend_unmap_dma',
    'iommufd={iommufd:d} ioas={id:d} iova={iova:x} size={len:x} ({ret:d})',
    inIommufd(OP.unmap),
  ),
  event(
    'iommufd_backend_unmap_dma_non_exist',
    'Unmap nonexistent mapping: iommufd={iommufd:d} ioas={id:d} iova={iova:x} size={len:x} ({ret:d})',
    (rows) => {
      // The event is there for this errno only; what it prints is what ioctl(2) returned.
      rows.args.setNumber(SLOT.ret, -ENOENT >>> 0, 0xffff_ffff);
      inIommufd(OP.unmap)(rows);
    },
  ),
  event('iommufd_backend_alloc_ioas', 'iommufd={iommufd:d} ioas={id:d}', inIommufd(OP.ioasAlloc, true)),
  event(
    'iommufd_backend_alloc_hwpt',
    'iommufd={iommufd:d} dev_id={device:d} pt_id={parent:d} flags={flags:x} hwpt_type={attrs:d} len={fd:d} data_ptr={start:x} out_hwpt={id:d} ({ret:d})',
    (rows) => {
      inIommufd(OP.hwptAlloc, true)(rows);
      // As the executor's rows have it: the data type, and above it the device's number.
      const { args } = rows;
      rows.sink.attrs(args.low(SLOT.attrs), rows.iommufdObject(args.int(SLOT.iommufd), args.low(SLOT.device)));
    },
  ),
  event('iommufd_backend_free_id', 'iommufd={iommufd:d} id={id:d} ({ret:d})', inIommufd(OP.destroy)),
  event(
    'iommufd_backend_invalidate_cache',
    'iommufd={iommufd:d} id={id:d} data_type={attrs:d} entry_len={fd:d} entry_num={parent:d} done_num={done:d} data_ptr={start:x} ({ret:d})',
    (rows) => {
      inIommufd(OP.invalidate)(rows);
      if (rows.args.int(SLOT.ret) >= 0) rows.sink.resultNumber(rows.args.low(SLOT.done));
    },
  ),
  // QEMU prints dev_id and type under each other's name; neither is a column.
  event(
    'iommufd_backend_alloc_viommu',
    'iommufd={iommufd:d} type={device:d} dev_id={fd:d} hwpt_id={parent:d} viommu_id={id:d} ({ret:d})',
    inIommufd(OP.viommuAlloc, true),
  ),
  event(
    'iommufd_backend_alloc_vdev',
    'iommufd={iommufd:d} dev_id={device:d} viommu_id={parent:d} virt_id={start:x} vdev_id={id:d} ({ret:d})',
    inIommufd(OP.vdeviceAlloc, true),
  ),
  event('iommufd_change_process', 'fd={iommufd:d} ({done:d})', (rows) => {
    rows.begin(OP.changeProcess);
    // 1 is success.
    if (rows.args.low(SLOT.done) === 0) rows.returned(-1);
  }),
  event(
    'iommufd_cdev_connect_and_bind',
    '[iommufd={iommufd:d}] Successfully bound device {name:s} (fd={fd:d}): output devid={id:d}',
    ofDevice(OP.bind),
  ),
  event(
    'iommufd_cdev_attach_ioas_hwpt',
    '[iommufd={iommufd:d}] Successfully attached device {name:s} ({fd:d}) to id={parent:d}',
    ofDevice(OP.attach),
  ),
  event('iommufd_cdev_detach_ioas_hwpt', '[iommufd={iommufd:d}] Successfully detached {name:s}', ofDevice(OP.detach)),
];

/** The memory API's sections; QEMU prints the last byte. */
function region(op: number): QemuEvent['emit'] {
  return (rows) => {
    rows.begin(op);
    rows.columns();
    if (rows.args.has(SLOT.last)) rows.lengthTo(SLOT.iova, SLOT.last);
  };
}

function failed(op: number): QemuEvent['emit'] {
  return (rows) => {
    rows.beginCall(op);
    rows.columns();
  };
}

/** strerror(3) of glibc for what maps and unmaps fail with. */
const ERRNO_OF_TEXT: ReadonlyMap<string, number> = new Map([
  ['Operation not permitted', 1],
  ['No such file or directory', 2],
  ['Resource temporarily unavailable', 11],
  ['Cannot allocate memory', 12],
  ['Bad address', 14],
  ['Device or resource busy', 16],
  ['File exists', 17],
  ['No such device', 19],
  ['Invalid argument', 22],
  ['Inappropriate ioctl for device', 25],
  ['No space left on device', 28],
  ['Value too large for defined data type', 75],
]);

function refused(op: number): QemuEvent['emit'] {
  return (rows) => {
    const errno = ERRNO_OF_TEXT.get(rows.args.text(SLOT.name).trim());
    if (errno === undefined) {
      rows.troubles.add('error in other words');
      return;
    }
    rows.announce(op, errno);
  };
}

/** A call on an object of an iommufd; one that failed to make it has none. */
function inIommufd(op: number, makes = false): QemuEvent['emit'] {
  return (rows) => {
    rows.begin(op);
    rows.columns();
    if (rows.args.has(SLOT.id) && !(makes && rows.args.has(SLOT.ret) && rows.args.int(SLOT.ret) < 0)) {
      rows.sink.obj(rows.iommufdObject(rows.args.int(SLOT.iommufd), rows.args.low(SLOT.id)));
    }
  };
}

function map(rows: EventRows, op: number): void {
  inIommufd(op)(rows);
  const writeable = rows.args.low(SLOT.readonly) === 0 ? MAP_FLAGS.writeable : 0;
  rows.sink.flags(MAP_FLAGS.fixedIova | MAP_FLAGS.readable | writeable, 0);
}

/** Of a device, which is known by its name; its number in the iommufd is said when it is bound. */
function ofDevice(op: number): QemuEvent['emit'] {
  return (rows) => {
    const { args, sink } = rows;
    const name = args.text(SLOT.name);
    rows.begin(op);
    const bound = args.has(SLOT.id);
    sink.obj(bound ? rows.bindDevice(args.int(SLOT.iommufd), args.low(SLOT.id), name) : sink.object(`device ${name}`));
    sink.detail(name);
  };
}
