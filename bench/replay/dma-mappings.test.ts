import { expect, it } from 'vitest';
import { type ExecutedBatch, opCode, type OpName } from '../../native/index.ts';
import { DmaMappings } from './dma-mappings.ts';

const K = 1024;
const [EEXIST, EINVAL, ENOENT] = [17, 22, 2];

function rowsOf(rows: readonly (readonly [OpName, iova: number, len: number, errno?: number])[]): ExecutedBatch {
  const columns = {
    iova: BigUint64Array.from(rows, ([, iova]) => BigInt(iova)),
    len: BigUint64Array.from(rows, ([, , len]) => BigInt(len)),
  };
  return {
    rows: rows.length,
    op: Uint8Array.from(rows, ([op]) => opCode(op)),
    errno: Uint16Array.from(rows, ([, , , errno = 0]) => errno),
    columns: columns as ExecutedBatch['columns'],
    validity: {},
    tid: 1,
    failures: 0,
    stopped: false,
  };
}

it('counts mappings that live, and not those that failed', () => {
  const dma = new DmaMappings('type1');
  dma.applyRows(
    rowsOf([
      ['vfio_map_dma', 0, 4 * K],
      ['vfio_map_dma', 4 * K, 64 * K],
      ['vfio_map_dma', 0, 4 * K, EEXIST],
      ['vfio_unmap_dma', 0, 8 * K, EINVAL],
      ['kvm_set_memory_attributes', 0, 4 * K],
    ]),
  );
  expect([dma.peak, dma.live]).toEqual([2, { entries: 2, bytes: 68 * K }]);
  dma.applyRows(rowsOf([['vfio_unmap_dma', 0, 68 * K]]));
  expect([dma.peak, dma.live]).toEqual([2, { entries: 0, bytes: 0 }]);
});

it('knows what a failed unmap of iommufd took with it', () => {
  const dma = new DmaMappings('mock');
  dma.applyRows(
    rowsOf([
      ['iommufd_ioas_map', 0, 4 * K],
      ['iommufd_ioas_map', 4 * K, 64 * K],
      ['iommufd_ioas_unmap', 0, 8 * K, ENOENT],
    ]),
  );
  expect(dma.live).toEqual({ entries: 1, bytes: 64 * K });
});
