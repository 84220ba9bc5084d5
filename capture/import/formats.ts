import type { ImportFormat } from './format.ts';
import { qemuLogFormat } from './qemu/qemu-log.ts';
import { simpletraceFormat } from './qemu/simpletrace.ts';

/** All formats that can be imported. */
export const FORMATS: readonly ImportFormat[] = [qemuLogFormat, simpletraceFormat];
