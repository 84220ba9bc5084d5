import { describe, expect, it } from 'vitest';
import { CvmtraceError, loadNative, OP_STRIDE, OpBatch, OPS } from '../../native/index.ts';
import type { Backend } from '../backends/backend.ts';
import { openBackend } from '../backends/index.ts';
import { hostWith } from '../testing/fake-host.ts';
import { openWithDma, parseDmaInterface, withDma } from './open.ts';
import type { DmaInterface } from './target.ts';

const GIB = 2 ** 30;
const WORKING = hostWith(() => 0);
const DEVICE = { name: '0000:00:03.0', group: 4, cdev: 7 };
const SLOTS = [{ gpa: 0, len: GIB, offset: 0 }];

const standIn = (): Promise<Backend> => openBackend('two-memfd', loadNative());

/** On a host where one operation fails. */
async function refusal(dma: DmaInterface, fails: string, errnoName: string): Promise<CvmtraceError> {
  const host = hostWith((op) => (op === fails ? 1 : 0), { 1: errnoName });
  return refused(withDma(await standIn(), host, dma, dma === 'mock' ? null : DEVICE, SLOTS));
}

async function refused(opening: Promise<unknown>): Promise<CvmtraceError> {
  const error: unknown = await opening.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (error instanceof CvmtraceError) return error;
  throw new Error('it was not refused');
}

it.each(['type1', 'iommufd', 'iommufd-compat', 'mock'] as const)(
  '%s is opened after the memory, and the trace says what no device does',
  async (dma) => {
    const device = dma === 'mock' ? null : DEVICE;
    const backend = await withDma(await standIn(), WORKING, dma, device, SLOTS);
    expect(backend.dma).toMatchObject({ interface: dma, device: device?.name ?? null });
    const steps = backend.leftOut.map(({ step }) => step);
    expect(steps.includes('iommu-hardware')).toBe(dma === 'mock');
    expect(steps).toContain('device-dma');
    const batch = new OpBatch();
    backend.setUp(batch, { slots: SLOTS });
    const names = Array.from({ length: batch.count }, (_, row) => OPS[batch.words[row * OP_STRIDE] ?? 0] ?? '');
    const isDma = names.map((name) => /^(vfio|iommufd)_/.test(name));
    expect(isDma.slice(0, 2)).toEqual([false, false]);
    expect(isDma.lastIndexOf(false)).toBeLessThan(isDma.indexOf(true));
  },
);

describe('a host that cannot', () => {
  it.each([
    ['type1', 'vfio_set_iommu', 'EPERM', /allow_unsafe_interrupts/],
    ['type1', 'vfio_set_iommu', 'ENOMEM', /cvmtrace probe/],
    ['iommufd-compat', 'iommufd_open', 'ENOENT', /load vfio-pci and iommufd/],
    ['iommufd', 'vfio_device_bind_iommufd', 'EBUSY', /something else has the device/],
    ['iommufd', 'vfio_attach_iommufd_pt', 'EACCES', /as root/],
    ['mock', 'iommufd_test_mock_domain', 'ENOTTY', /CONFIG_IOMMUFD_TEST/],
    ['mock', 'iommufd_ioas_alloc', 'EINVAL', /lab run --iommu virtio or none/],
  ] as const)('%s: %s gives %s', async (dma, op, errno, hint) => {
    const error = await refusal(dma, op, errno);
    expect(error).toMatchObject({ code: 'UNAVAILABLE', message: `--dma ${dma}: ${op}: ${errno}` });
    expect(error.hint).toMatch(hint);
  });

  it('iommufd needs the device to have a file of its own', async () => {
    const backend = await standIn();
    const error = await refused(withDma(backend, WORKING, 'iommufd', { ...DEVICE, cdev: null }, SLOTS));
    expect(error.hint).toContain('iommufd-compat');
    await expect(withDma(backend, WORKING, 'type1', { ...DEVICE, cdev: null }, SLOTS)).resolves.toBeDefined();
  });

  it('the mock has no room for 2G', async () => {
    const slots = [{ gpa: 0, len: 2 * GIB, offset: 0 }];
    const error = await refused(withDma(await standIn(), WORKING, 'mock', null, slots));
    expect(error).toMatchObject({ code: 'UNAVAILABLE' });
    expect(error.hint).toContain('it maps 2032M');
  });
});

describe('options', () => {
  it('without --dma the backend is as it was', async () => {
    const backend = await standIn();
    using opened = await openWithDma(backend, WORKING, { dma: undefined, bindDevice: false, slots: SLOTS });
    expect(opened.backend).toBe(backend);
  });

  it('the mock needs no device', async () => {
    using opened = await openWithDma(await standIn(), WORKING, { dma: 'mock', bindDevice: false, slots: SLOTS });
    expect(opened.backend.dma?.interface).toBe('mock');
  });

  it('the others do, and it is not guessed', async () => {
    const opening = openWithDma(await standIn(), WORKING, { dma: 'type1', bindDevice: true, slots: SLOTS });
    expect((await refused(opening)).message).toBe('this --dma needs a device: --device PCI-ADDRESS or GROUP');
  });

  it('interfaces have names', () => {
    expect(parseDmaInterface('iommufd-compat')).toBe('iommufd-compat');
    expect(() => parseDmaInterface('type2')).toThrow(expect.objectContaining({ code: 'USAGE' }));
  });
});
