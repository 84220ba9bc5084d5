import type { ImportFormat } from './format.ts';

/** All formats that can be imported. */
export const FORMATS: readonly ImportFormat[] = [];
