import type { ImportFormat } from './format.ts';
import { qemuLogFormat } from './qemu/qemu-log.ts';

/** All formats that can be imported. */
export const FORMATS: readonly ImportFormat[] = [qemuLogFormat];
