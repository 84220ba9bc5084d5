/** What a tale is, and what tales are told with. */
import { HIGH, PAGE, type StoryOptions, type StoryRow, type VmmStory } from './vmm-story.ts';

/** What a faulty tale is found to be. What is absent is not told. */
export interface Finding {
  readonly severity?: 'error' | 'warning' | 'note';
  readonly at?: StoryRow | undefined;
  /** Rows that must be among its proof. */
  readonly proof?: readonly (StoryRow | undefined)[];
  readonly gpa?: number;
  readonly iova?: number;
  readonly len?: number;
  readonly count?: number;
  /** Only where the trace has times. */
  readonly ageNs?: number;
}

export interface Tale {
  readonly kind: string;
  readonly title: string;
  /** Forms in which it makes sense; all if absent. */
  readonly only?: Partial<Pick<StoryOptions, 'shape' | 'api' | 'sharedFile'>> & { readonly times?: boolean };
  /** It counts what the whole trace has: nobody else may do anything. Or it is about events that name no container. */
  readonly alone?: true;
  /** Also set for the stories of it. */
  readonly with?: Partial<Pick<StoryOptions, 'sharedFile' | 'slotBytes'>>;
  readonly tell: (vmm: VmmStory, faulty: boolean) => Finding;
}

export const ERRNO = { ENOENT: 2, EIO: 5, EAGAIN: 11, ENOMEM: 12, EEXIST: 17, EINVAL: 22, ENOSPC: 28 } as const;
export const TWO_M = 2 ** 21;
export const A = HIGH + 16 * PAGE;

/** Two pages that the guest shares, mapped page by page. */
export function share(vmm: VmmStory, gpa = A, len = 2 * PAGE, vcpu = 0): StoryRow[] {
  let maps: StoryRow[] = [];
  vmm.exit(vcpu, 'shared', gpa, len, () => {
    vmm.attributes('shared', gpa, len);
    maps = vmm.mapPages(gpa, len);
    vmm.discard('private', gpa, len);
  });
  return maps;
}

/** The same as one mapping. */
export function shareWhole(vmm: VmmStory, gpa: number, len: number, vcpu = 0): StoryRow {
  let map: StoryRow | undefined;
  vmm.exit(vcpu, 'shared', gpa, len, () => {
    vmm.attributes('shared', gpa, len);
    map = vmm.map(gpa, len);
    vmm.discard('private', gpa, len);
  });
  if (!map) throw new Error('the body of an exit runs at once');
  return map;
}
