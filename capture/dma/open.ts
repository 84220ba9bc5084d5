import { CvmtraceError, type Native } from '../../native/index.ts';
import type { Backend } from '../backends/backend.ts';
import { tryOperations } from '../backends/trial.ts';
import { claimDevice } from './device.ts';
import { formatSize } from '../size.ts';
import type { SlotRange } from '../trace/metadata.ts';
import { unknownName } from '../unknown-name.ts';
import {
  addressingFor,
  DMA_INTERFACES,
  type DmaInterface,
  makeTarget,
  MOCK_BYTES,
  setUpOperations,
  type VfioDevice,
} from './target.ts';

const MISSING: Readonly<Record<string, string>> = {
  ENOENT:
    'the device file is not there: load vfio-pci and iommufd; cvmtrace probe says more, cvmtrace lab has them all',
  ENODEV:
    'the device file is not there: load vfio-pci and iommufd; cvmtrace probe says more, cvmtrace lab has them all',
  EACCES: 'run it as root, or as the owner of the device file',
  EPERM: 'VFIO refuses an IOMMU without interrupt remapping (allow_unsafe_interrupts), and other users; try as root',
  ENOTTY: 'this kernel is too old for it, or was built without it (CONFIG_IOMMUFD, CONFIG_IOMMUFD_TEST)',
  EBUSY: 'something else has the device or its group open: a VMM, or another cvmtrace',
  EINVAL:
    'is everything in its group bound to vfio-pci? For the mock: is another IOMMU in use (lab run --iommu virtio or none)?',
};

export function parseDmaInterface(text: string): DmaInterface {
  const found = DMA_INTERFACES.find((name) => name === text);
  if (found === undefined) throw unknownName('DMA interface', text, DMA_INTERFACES);
  return found;
}

export interface DmaOptions {
  /** Absent: no DMA. */
  readonly dma: DmaInterface | undefined;
  /** PCI address or IOMMU group. */
  readonly device?: string;
  readonly bindDevice: boolean;
  readonly slots: readonly SlotRange[];
}

/** The backend with its DMA target, and the device for as long as this is not disposed of. */
export interface OpenedDma extends Disposable {
  readonly backend: Backend;
}

/**
 * Claims the device that an interface needs and opens it.
 * @throws CvmtraceError USAGE, UNAVAILABLE as of `claimDevice` and `withDma`
 */
export async function openWithDma(backend: Backend, native: Native, options: DmaOptions): Promise<OpenedDma> {
  const { dma, slots } = options;
  if (dma === undefined) return { backend, [Symbol.dispose]: () => undefined };
  const device = dma === 'mock' ? null : claimDevice(options.device, options.bindDevice);
  try {
    return {
      backend: await withDma(backend, native, dma, device, slots),
      [Symbol.dispose]: () => device?.[Symbol.dispose](),
    };
  } catch (error) {
    device?.[Symbol.dispose]();
    throw error;
  }
}

/**
 * The backend with memory mapped for a device through `dma`: opened once, to see that it works.
 * @param device needed by all but the mock
 * @throws CvmtraceError UNAVAILABLE with the call that failed, or if guest memory does not fit
 */
export async function withDma(
  backend: Backend,
  native: Native,
  dma: DmaInterface,
  device: VfioDevice | null,
  slots: readonly SlotRange[],
): Promise<Backend> {
  if (dma === 'iommufd' && device?.cdev === null) {
    throw new CvmtraceError('UNAVAILABLE', `device ${device.name} has no character device of its own`, {
      hint: 'that needs CONFIG_VFIO_DEVICE_CDEV (Linux 6.6); --dma iommufd-compat and type1 work through its group',
    });
  }
  const addressing = addressingFor(dma, slots);
  if (addressing === undefined) {
    throw new CvmtraceError('UNAVAILABLE', `this guest's memory does not fit into the mock domain`, {
      hint: `it maps ${formatSize(MOCK_BYTES)}: choose a --memory of 1G or less`,
    });
  }
  const target = makeTarget(dma, device, addressing, [
    ...(dma === 'mock'
      ? [
          {
            step: 'iommu-hardware',
            reason: 'mappings go into the mock page table of iommufd: no IOTLB, no hardware walk',
          },
        ]
      : []),
    { step: 'device-dma', reason: 'the device does no DMA of its own: what is measured is mapping and unmapping' },
  ]);
  // Opened, but nothing mapped: a run maps only what its trace has, so that a count from outside is the same.
  const opening = setUpOperations(dma, device);
  const tried = await tryOperations(native, opening);
  const failed = tried.findIndex(({ errno }) => errno !== 0);
  const failure = tried[failed];
  if (failure) {
    throw new CvmtraceError('UNAVAILABLE', `--dma ${dma}: ${opening[failed]?.[0] ?? ''}: ${failure.errnoName}`, {
      hint: MISSING[failure.errnoName] ?? 'cvmtrace probe says what this host can do',
    });
  }
  return {
    ...backend,
    dma: target,
    leftOut: [...backend.leftOut, ...target.leftOut],
    setUp(batch, layout) {
      backend.setUp(batch, layout);
      target.setUp(batch);
    },
  };
}
