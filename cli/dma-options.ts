import type { Command } from 'commander';
import { DMA_INTERFACES, type DmaInterface } from '../capture/dma/target.ts';
import { CvmtraceError } from '../native/index.ts';

/** What the user said about DMA. */
export interface DmaOptions {
  readonly dma?: string;
  readonly device?: string;
  readonly bindDevice: boolean;
}

/** Declares the options of a verb that maps memory for a device. */
export function declareDmaOptions(command: Command): Command {
  return command
    .option('--dma <dma>', `map what is shared for a device: ${DMA_INTERFACES.join(', ')}`)
    .option('--device <device>', 'the device for --dma, as PCI address or IOMMU group; bound to vfio-pci')
    .option('--bind-device', 'bind the device to vfio-pci for as long as this runs, and give it back', false);
}

/**
 * A device that nothing uses is a mistake: --dma is missing, or is the mock.
 * @param interfaces what each run maps through; undefined: nothing
 * @throws CvmtraceError USAGE
 */
export function assertDeviceUsed(
  { device, bindDevice }: DmaOptions,
  interfaces: readonly (DmaInterface | undefined)[],
): void {
  if (device === undefined && !bindDevice) return;
  if (interfaces.some((dma) => dma !== undefined && dma !== 'mock')) return;
  throw new CvmtraceError('USAGE', `${device === undefined ? '--bind-device' : '--device'} without a use for it`, {
    hint: `say how memory is mapped for it: --dma ${DMA_INTERFACES.filter((dma) => dma !== 'mock').join(', ')}`,
  });
}
