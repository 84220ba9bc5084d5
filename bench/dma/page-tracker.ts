/**
 * Which memory of a guest is shared, and so for devices, as QEMU's RamBlockAttributes keeps it by page of 4 KiB: all private at first.
 */
import { PAGE_BYTES, type Side } from '../../capture/request.ts';
import { RangeMap } from '../range-map.ts';
import type { Section } from './cut.ts';

export class PageTracker {
  readonly #shared = new RangeMap<true>();

  /**
   * The sections that a conversion has to tell its listeners of, in order: none if all of it is there already, the whole range if none of it is,
   * else each page that changes by itself. Nothing changes before `set`.
   */
  changes({ gpa, len }: Section, to: Side): Section[] {
    const changing = [...this.#shared.parts(gpa, gpa + len)].filter(
      (part) => (part.value === true) !== (to === 'shared'),
    );
    const bytes = changing.reduce((sum, part) => sum + part.end - part.start, 0);
    if (bytes === len) return [{ gpa, len }];
    return changing.flatMap((part) =>
      Array.from({ length: (part.end - part.start) / PAGE_BYTES }, (_, page) => ({
        gpa: part.start + page * PAGE_BYTES,
        len: PAGE_BYTES,
      })),
    );
  }

  set({ gpa, len }: Section, to: Side): void {
    if (to === 'shared') this.#shared.assign(gpa, gpa + len, true);
    else this.#shared.delete(gpa, gpa + len);
  }

  /** Bytes of the range that are shared. */
  sharedBytes({ gpa, len }: Section): number {
    let bytes = 0;
    for (const part of this.#shared.parts(gpa, gpa + len)) if (part.value) bytes += part.end - part.start;
    return bytes;
  }
}
