import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { NativeSession } from './index.ts';
import {
  bindLabDevice,
  HAS_IOMMU,
  HAS_IOMMUFD,
  kernelWarned,
  outcomes,
  perform,
  type LabDevice,
} from './testing/lab.ts';
import { KIB, MIB, openSession } from './testing/rows.ts';

// Numbers of objects.
const [RAM, CONTAINER, IOMMUFD, IOAS, DEVICE, OTHER, HWPT] = [1, 2, 3, 4, 5, 6, 7] as const;
const MEMORY = 16 * MIB;
const BASE = 16 * MIB;
const [TYPE1, TYPE1V2] = [1, 3] as const;
const [READ_WRITE, VADDR, UNMAP_ALL] = [3, 4, 2] as const;
const IOAS_FIXED_READ_WRITE = 7;
const ENTRY_LIMIT = '/sys/module/vfio_iommu_type1/parameters/dma_entry_limit';

const map = (offset: number, len: number, flags: number = READ_WRITE) =>
  ['vfio_map_dma', { obj: CONTAINER, peer: RAM, offset, len, iova: BASE + offset, flags }] as const;
const unmap = (offset: number, len: number, flags = 0) =>
  ['vfio_unmap_dma', { obj: CONTAINER, iova: BASE + offset, len, flags }] as const;
const unmapAll = ['vfio_unmap_dma', { obj: CONTAINER, flags: UNMAP_ALL }] as const;
const available = ['vfio_iommu_get_info', { obj: CONTAINER }] as const;

describe.skipIf(!HAS_IOMMU)('a device behind an IOMMU', () => {
  let device: LabDevice;
  beforeAll(() => {
    device = bindLabDevice();
  });
  afterAll(() => {
    expect(kernelWarned()).toBe(false);
  });

  /** A container of the device's group, and 16 MiB that can be mapped. */
  async function openContainer(type: number = TYPE1V2): Promise<NativeSession> {
    const session = openSession();
    expect(
      await outcomes(session, [
        ['ram_create', { obj: RAM, len: MEMORY, flags: 1 }],
        ['vfio_set_iommu', { obj: CONTAINER, attrs: device.group, flags: type }],
      ]),
    ).toEqual(['ok', 'ok']);
    return session;
  }

  describe('type1', () => {
    test('a container needs a group that is there, free, and a type that is known', async () => {
      const session = await openContainer();
      const set = (attrs: number | undefined, flags: number) =>
        ['vfio_set_iommu', { obj: OTHER, ...(attrs === undefined ? {} : { attrs }), flags }] as const;
      expect(
        await outcomes(session, [set(undefined, TYPE1V2), set(99999, TYPE1V2), set(device.group, TYPE1V2)]),
      ).toEqual(['EINVAL', 'ENOENT', 'EBUSY']);
      await session.close();
      // What failed half-way left nothing behind, nor did close().
      const next = openSession();
      expect(await outcomes(next, [set(device.group, 7), set(device.group, TYPE1V2)])).toEqual(['ENODEV', 'ok']);
    });

    test('a partial unmap is EINVAL and changes nothing; holes and several mappings are one unmap', async () => {
      const session = await openContainer();
      const rows = await perform(session, [
        map(0, MIB),
        map(MIB, MIB),
        map(4 * KIB, 4 * KIB),
        unmap(4 * KIB, 4 * KIB),
        unmap(0, MIB + 4 * KIB),
        unmap(0, 8 * MIB),
        unmap(0, 8 * MIB),
        map(MIB, MIB, 0),
        ['vfio_map_dma', { obj: CONTAINER, peer: RAM, offset: 0, len: MIB, iova: BASE + 1, flags: READ_WRITE }],
      ]);
      expect(rows.map(({ outcome, result }) => [outcome, result])).toEqual([
        ['ok', 0],
        ['ok', 0],
        ['EEXIST', null],
        ['EINVAL', null],
        ['EINVAL', null],
        ['ok', 2 * MIB],
        ['ok', 0],
        ['EINVAL', null],
        ['EINVAL', null],
      ]);
    });

    test('version 1 unmaps the whole of a mapping whose first byte is in the range', async () => {
      const session = await openContainer(TYPE1);
      const rows = await perform(session, [map(0, MIB), unmap(4 * KIB, 4 * KIB), unmap(0, 4 * KIB), unmap(0, MIB)]);
      expect(rows.map(({ outcome, result }) => [outcome, result])).toEqual([
        ['ok', 0],
        ['ok', 0],
        ['ok', MIB],
        ['ok', 0],
      ]);
    });

    test('dma_entry_limit: ENOSPC when it is reached, and what is left is told before', async () => {
      const before = readFileSync(ENTRY_LIMIT, 'utf8');
      onTestFinished(() => {
        writeFileSync(ENTRY_LIMIT, before);
      });
      writeFileSync(ENTRY_LIMIT, '8');
      const session = await openContainer();
      const maps = Array.from({ length: 10 }, (_, i) => map(i * 4 * KIB, 4 * KIB));
      const rows = await perform(session, [available, ...maps, available, unmap(0, 4 * KIB), available, unmapAll]);
      expect(rows.slice(1, 11).map(({ outcome }) => outcome)).toEqual([
        ...Array.from({ length: 8 }, () => 'ok'),
        ...['ENOSPC', 'ENOSPC'],
      ]);
      expect([rows[0], rows[11], rows[13], rows[14]].map((row) => row?.result)).toEqual([8, 0, 1, 28 * KIB]);
    });

    test('an address is given up and given anew, one by one and all at once', async () => {
      const session = await openContainer();
      const rows = await perform(session, [
        map(0, MIB),
        map(MIB, MIB),
        unmap(0, MIB, VADDR),
        map(0, MIB, VADDR | READ_WRITE),
        map(0, MIB, VADDR),
        map(0, MIB, VADDR),
        map(8 * MIB, MIB, VADDR),
        ['vfio_unmap_dma', { obj: CONTAINER, flags: VADDR | UNMAP_ALL }],
        map(0, MIB, VADDR),
        map(MIB, MIB, VADDR),
        unmapAll,
      ]);
      expect(rows.map(({ outcome }) => outcome)).toEqual([
        ...['ok', 'ok', 'ok', 'EINVAL', 'ok', 'EINVAL', 'ENOENT', 'ok', 'ok', 'ok', 'ok'],
      ]);
      expect([rows[2], rows[7], rows[10]].map((row) => row?.result)).toEqual([MIB, 2 * MIB, 2 * MIB]);
    });
  });

  describe.skipIf(!HAS_IOMMUFD)('iommufd', () => {
    test('the compatibility mode attaches the device; type 1 cuts mappings, type 1v2 does not, and no limit counts', async () => {
      for (const [type, cuts] of [
        [TYPE1, true],
        [TYPE1V2, false],
      ] as const) {
        const session = openSession();
        const rows = await perform(session, [
          ['ram_create', { obj: RAM, len: MEMORY, flags: 1 }],
          ['iommufd_open', { obj: IOMMUFD }],
          ['vfio_set_iommu', { obj: CONTAINER, peer: IOMMUFD, attrs: device.group, flags: type }],
          map(0, MIB),
          unmap(4 * KIB, 4 * KIB),
          available,
          unmap(0, MIB, VADDR),
          unmapAll,
          // In the range that the IOMMU keeps for interrupts: refused once a device is attached.
          ['vfio_map_dma', { obj: CONTAINER, peer: RAM, offset: 0, len: MIB, iova: 0xfee00000, flags: READ_WRITE }],
          ['vfio_device_bind_iommufd', { obj: DEVICE, peer: IOMMUFD, attrs: device.cdev }],
        ]);
        expect(rows.slice(2).map(({ outcome }) => outcome)).toEqual([
          ...['ok', 'ok', cuts ? 'ok' : 'ENOENT', 'ok', 'EINVAL', 'ok', 'EINVAL', 'EBUSY'],
        ]);
        expect([rows[4], rows[5], rows[7]].map((row) => row?.result)).toEqual([
          ...[cuts ? 4 * KIB : null, 2 ** 32 - 1, cuts ? MIB - 4 * KIB : MIB],
        ]);
        await session.close();
      }
    });

    test('by its own file it is bound, attached, moved and detached', async () => {
      const session = openSession();
      const mapIoas = (obj: number, iova: number) =>
        ['iommufd_ioas_map', { obj, peer: RAM, offset: 0, len: MIB, iova, flags: IOAS_FIXED_READ_WRITE }] as const;
      const attach = (peer: number) => ['vfio_attach_iommufd_pt', { obj: DEVICE, peer }] as const;
      const rows = await perform(session, [
        ['ram_create', { obj: RAM, len: MEMORY, flags: 1 }],
        ['iommufd_open', { obj: IOMMUFD }],
        ['iommufd_ioas_alloc', { obj: IOAS, peer: IOMMUFD }],
        ['iommufd_ioas_alloc', { obj: OTHER, peer: IOMMUFD }],
        ['vfio_device_bind_iommufd', { obj: DEVICE, peer: IOMMUFD, attrs: 99999 }],
        ['vfio_device_bind_iommufd', { obj: DEVICE, peer: IOMMUFD, attrs: device.cdev }],
        mapIoas(IOAS, BASE),
        attach(IOAS),
        mapIoas(IOAS, BASE + MIB),
        mapIoas(IOAS, 0xfee00000),
        ['iommufd_ioas_unmap', { obj: IOAS, iova: BASE, len: 4 * KIB }],
        attach(OTHER),
        ['iommufd_destroy', { obj: OTHER }],
        ['iommufd_ioas_unmap', { obj: IOAS }],
        ['iommufd_hwpt_alloc', { obj: HWPT, peer: IOAS, attrs: DEVICE * 2 ** 32, flags: 0 }],
        attach(HWPT),
        ['iommufd_destroy', { obj: HWPT }],
        ['vfio_detach_iommufd_pt', { obj: DEVICE }],
        ['iommufd_destroy', { obj: HWPT }],
        ['iommufd_destroy', { obj: OTHER }],
        ['iommufd_destroy', { obj: DEVICE }],
      ]);
      expect(rows.slice(4).map(({ outcome }) => outcome)).toEqual([
        ...['ENOENT', 'ok', 'ok', 'ok', 'ok', 'EINVAL', 'ENOENT', 'ok', 'EBUSY', 'ok', 'ok', 'ok', 'EBUSY', 'ok', 'ok'],
        ...['ok', 'EBADF'],
      ]);
      expect(rows[13]?.result).toBe(2 * MIB);
    });

    test('a PASID is attached where the kernel knows them, or refused with EINVAL', async () => {
      const session = openSession();
      const rows = await perform(session, [
        ['iommufd_open', { obj: IOMMUFD }],
        ['iommufd_ioas_alloc', { obj: IOAS, peer: IOMMUFD }],
        ['vfio_device_bind_iommufd', { obj: DEVICE, peer: IOMMUFD, attrs: device.cdev }],
        ['vfio_attach_iommufd_pt', { obj: DEVICE, peer: IOAS, flags: 1, attrs: 5 }],
      ]);
      expect(rows.slice(0, 3).map(({ outcome }) => outcome)).toEqual(['ok', 'ok', 'ok']);
      // The e1000e has no PASIDs, so that a kernel which knows them refuses too.
      expect(['EINVAL', 'EOPNOTSUPP']).toContain(rows[3]?.outcome);
    });

    test('the mock is refused beside it', async () => {
      const session = openSession();
      expect(
        await outcomes(session, [
          ['iommufd_open', { obj: IOMMUFD }],
          ['iommufd_ioas_alloc', { obj: IOAS, peer: IOMMUFD }],
          ['iommufd_test_mock_domain', { obj: DEVICE, peer: IOAS }],
        ]),
      ).toEqual(['ok', 'ok', 'EINVAL']);
    });
  });
});
