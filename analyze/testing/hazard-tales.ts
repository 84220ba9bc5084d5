/**
 * For each kind of hazard what a VMM does wrong, and the same without the fault: written from what the kernel's interfaces promise. A tale is told on
 * a VM that is open, with a slot at 0 and one at 4G; `faulty` says whether it goes wrong.
 */
import { CONVERSION_TALES } from './conversion-tales.ts';
import { DEVICE_TALES } from './device-tales.ts';
import { MAPPING_TALES } from './mapping-tales.ts';
import type { Tale } from './tale.ts';

export const TALES: readonly Tale[] = [...MAPPING_TALES, ...CONVERSION_TALES, ...DEVICE_TALES];
