import { PAGE_BYTES, type GuestRequest } from '../../request.ts';

/** What a page is before anyone asked for it, and after. */
export type PageState = 'unaccepted' | 'private' | 'shared';

/**
 * An executable statement of what a workload may ask: the state of every page, checked and changed by each request. KVM calls an unaccepted page
 * shared, as it is on no private side yet; here it is told apart, so that a guest's use of memory that it never asked for is found.
 */
export class PageStates {
  readonly #pages: PageState[];

  constructor(memoryBytes: number) {
    this.#pages = new Array<PageState>(memoryBytes / PAGE_BYTES).fill('unaccepted');
  }

  /** @throws Error naming the rule that the request breaks. */
  apply(request: GuestRequest): void {
    if (request.kind === 'mark') return;
    const { gpa, len } = request;
    const inside = gpa >= 0 && len > 0 && gpa + len <= this.#pages.length * PAGE_BYTES;
    if (!inside || gpa % PAGE_BYTES !== 0 || len % PAGE_BYTES !== 0) throw this.#error(request, 'is no range of pages');
    for (let page = gpa / PAGE_BYTES; page < (gpa + len) / PAGE_BYTES; page++) {
      const state = this.#pages[page];
      if (request.kind === 'touch') {
        if (state !== request.side) throw this.#error(request, `touches page ${page}, which is ${state ?? 'nowhere'}`);
        continue;
      }
      if (state === request.to) throw this.#error(request, `converts page ${page}, which is so already`);
      if (state === 'unaccepted' && request.to === 'shared')
        throw this.#error(request, `shares unaccepted page ${page}`);
      this.#pages[page] = request.to;
    }
  }

  /** Bytes in a state. */
  bytes(state: PageState): number {
    return this.#pages.filter((page) => page === state).length * PAGE_BYTES;
  }

  #error(request: GuestRequest, rule: string): Error {
    return new Error(`${JSON.stringify(request)} ${rule}`);
  }
}
