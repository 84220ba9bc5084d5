import { PAGE_BYTES, type Side } from '../../capture/request.ts';
import { RangeMap } from '../range-map.ts';

/**
 * Which memory devices may use, by page: private at first. As QEMU's RamBlockAttributes: what is in the wanted state already causes nothing, a
 * uniform range one notification, and a mixed range one per page that changes.
 */
export class DmaTracker {
  readonly #shared = new RangeMap<true>();

  /** The ranges to be mapped (to shared) or unmapped (to private), in order; they count as such from now on. */
  change(gpa: number, len: number, to: Side): { readonly gpa: number; readonly len: number }[] {
    const end = gpa + len;
    const isShared = (value: true | undefined): boolean => value === true;
    const toChange = [...this.#shared.parts(gpa, end)].filter((part) => isShared(part.value) !== (to === 'shared'));
    if (to === 'shared') this.#shared.assign(gpa, end, true);
    else this.#shared.delete(gpa, end);
    const changing = toChange.reduce((bytes, part) => bytes + part.end - part.start, 0);
    if (changing === len) return [{ gpa, len }];
    return toChange.flatMap((part) =>
      Array.from({ length: (part.end - part.start) / PAGE_BYTES }, (_, page) => ({
        gpa: part.start + page * PAGE_BYTES,
        len: PAGE_BYTES,
      })),
    );
  }
}
