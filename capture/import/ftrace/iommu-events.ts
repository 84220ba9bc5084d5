import { opCode } from '../../../native/index.ts';
import { bytesOf, wordHash } from '../cursor.ts';
import type { EventHandler } from './event.ts';

/**
 * Events of include/trace/events/iommu.h. There are three spellings of a mapping's range: with its end (exclusive) since Linux 5.15, without it before,
 * and with the device in front in some vendors' kernels. The size is in all of them.
 */

const OP = {
  map: opCode('iommu_map'),
  unmap: opCode('iommu_unmap'),
  fault: opCode('iommu_fault'),
};

const KEY = {
  iova: wordHash('iova'),
  size: wordHash('size'),
  unmappedSize: wordHash('unmapped_size'),
  flags: wordHash('flags'),
  dev: wordHash('dev'),
};

const IOMMU = bytesOf('IOMMU:');
const SPACE = 0x20;

/** IOMMU: iova=0x0000000000000000 - 0x0000000000002000 paddr=0x0000000000bfc000 size=8192 */
export const iommuMap: EventHandler = (event) => {
  const { fields, cursor, sink } = event;
  fields.begin();
  if (!fields.hex(KEY.iova)) return 'unusable';
  const { lo, hi } = cursor;
  if (!fields.number(KEY.size)) return 'unusable';
  event.row(OP.map);
  sink.iova(lo, hi);
  sink.len(cursor.lo, cursor.hi);
  device(event);
  return 'used';
};

/** IOMMU: iova=0x0000000000000000 - 0x0000000000001000 size=4096 unmapped_size=4096 */
export const iommuUnmap: EventHandler = (event) => {
  const { fields, cursor, sink } = event;
  fields.begin();
  if (!fields.hex(KEY.iova)) return 'unusable';
  const { lo, hi } = cursor;
  if (!fields.number(KEY.size)) return 'unusable';
  event.row(OP.unmap);
  sink.iova(lo, hi);
  sink.len(cursor.lo, cursor.hi);
  if (fields.number(KEY.unmappedSize)) sink.result(cursor.lo, cursor.hi);
  device(event);
  return 'used';
};

/** IOMMU:mtk-iommu 10205000.iommu iova=0x00000000ebede003 flags=0x0001: driver, device. */
export const ioPageFault: EventHandler = (event) => {
  const { fields, cursor, sink } = event;
  cursor.spaces();
  const start = cursor.skip(IOMMU) ? cursor.at : -1;
  fields.begin();
  if (start < 0 || !fields.find(KEY.iova)) return 'unusable';
  const names = cursor.text(start, cursor.at - 'iova='.length).trim();
  if (!fields.hex(KEY.iova)) return 'unusable';
  const { lo, hi } = cursor;
  if (!fields.hex(KEY.flags)) return 'unusable';
  event.row(OP.fault);
  sink.iova(lo, hi);
  sink.flags(cursor.lo, cursor.hi);
  sink.detail(names.slice(names.lastIndexOf(' ') + 1));
  return 'used';
};

function device({ fields, cursor, sink }: Parameters<EventHandler>[0]): void {
  if (!fields.find(KEY.dev)) return;
  const start = cursor.at;
  if (cursor.find(SPACE)) sink.detail(cursor.text(start, cursor.at));
}
