import { unknownName } from '../unknown-name.ts';
import { accept } from './accept.ts';
import { boot } from './boot.ts';
import { dmaRing } from './dma-ring.ts';
import { firstTouch } from './first-touch.ts';
import { ovmfFlip } from './ovmf-flip.ts';
import { partial } from './partial.ts';
import { swiotlb } from './swiotlb.ts';
import type { Workload } from './workload.ts';

/** All workloads, in the order of lists. */
export const WORKLOADS: readonly Workload[] = [boot, ovmfFlip, swiotlb, accept, dmaRing, partial, firstTouch];

/**
 * The workload of that name.
 * @throws CvmtraceError USAGE listing the valid names.
 */
export function findWorkload(name: string): Workload {
  const found = WORKLOADS.find((workload) => workload.name === name);
  if (found) return found;
  throw unknownName(
    'workload',
    name,
    WORKLOADS.map((workload) => workload.name),
  );
}
