/**
 * A VMM without faults that answers random requests under a random policy, and one fault put into it. What the fault touched is left alone after it,
 * so that nothing else follows from it.
 */
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { HIGH, merged, PAGE, VmmStory, type Side, type StoryOptions, type StoryRow } from './vmm-story.ts';

/** What can be done wrong, once. */
export const FAULTS = {
  'an unmap is left out': 'stale_mapping',
  'an unmap ends too early': 'stale_mapping',
  'memory is given back before the unmap': 'discarded_while_mapped',
  'private memory is mapped by the way': 'mapped_while_private',
  'a map is made twice': 'double_mapping',
  'an unmap is made twice': 'unmap_no_match',
  'a page of a larger mapping is unmapped': 'unmap_left_piece',
  'the attribute call fails after the unmap': 'conversion_failed',
  'the attribute call fails and the guest is told of success': 'conversion_failed',
  'a discard fails': 'discard_failed',
  'a map finds no entry left': 'dma_entry_limit',
  'the guest does not ask first': 'implicit_conversion',
  'the IOMMU unmaps late': 'kernel_mapped_longer',
  'a device goes on after the unmap': 'access_after_unmap',
  'an address is not given back in a live update': 'vaddr_window',
} as const;

export type Fault = keyof typeof FAULTS;

export interface Policy extends StoryOptions {
  /** One mapping per page, or one per request. */
  readonly dma: 'page' | 'request';
  readonly order: 'convert-unmap' | 'unmap-convert';
  readonly discard: 'eager' | 'lazy' | 'never';
  readonly times: boolean;
  readonly kernelEvents: boolean;
  readonly vcpus: number;
  readonly inPlace: boolean;
}

export interface RandomTrace {
  readonly policy: Policy;
  readonly rows: readonly StoryRow[];
  /** How often each fault could have been made. */
  readonly chances: Readonly<Partial<Record<Fault, number>>>;
  /** Row that the fault is found at; undefined without a fault. */
  readonly at: StoryRow | undefined;
}

export interface Injection {
  readonly fault: Fault;
  /** Which of the chances is taken, from 0. */
  readonly chance: number;
}

type Random = (limit: number) => number;

const AREA_PAGES = 32;
const STEPS = 14;
const REQUEST_PAGES = 4;

export function randomTrace(seed: number, injection?: Injection): RandomTrace {
  // Small seeds are alike at first.
  const generator = xoroshiro128plus(Math.imul(seed, 0x9e37_79b1));
  for (let i = 0; i < 8; i++) generator.next();
  const random: Random = (limit) => Math.floor(((generator.next() >>> 0) / 2 ** 32) * limit);
  const of = <T>(...choices: readonly T[]): T => choices[random(choices.length)] as T;
  const policy: Policy = {
    shape: of('own', 'recorded'),
    api: of('type1', 'iommufd'),
    sharedFile: of(true, false),
    dma: of('page', 'request'),
    order: of('convert-unmap', 'unmap-convert'),
    discard: of('eager', 'lazy', 'never'),
    times: of(true, false),
    kernelEvents: of(true, false),
    vcpus: 1 + random(3),
    inPlace: random(4) === 0,
  };
  const faults = new FaultPlan(injection);
  const opened = new VmmStory(policy).open();
  const rows: StoryRow[][] = [opened.rows];
  for (let vcpu = 0; vcpu < policy.vcpus; vcpu++) {
    const thread = new RandomThread(policy, vcpu, random, faults);
    thread.story.nowNs = opened.nowNs + random(500);
    for (let step = 0; step < STEPS; step++) thread.step();
    thread.end();
    rows.push(thread.story.rows);
  }
  return { policy, rows: merged(...rows), chances: Object.fromEntries(faults.chances), at: faults.at };
}

/** Counts the chances for faults, and says which is taken. */
class FaultPlan {
  readonly chances = new Map<Fault, number>();
  readonly #injection: Injection | undefined;
  at: StoryRow | undefined;

  constructor(injection: Injection | undefined) {
    this.#injection = injection;
  }

  take(fault: Fault): boolean {
    const before = this.chances.get(fault) ?? 0;
    this.chances.set(fault, before + 1);
    return this.#injection?.fault === fault && this.#injection.chance === before;
  }
}

/** A range that was shared by one request. */
interface Shared {
  readonly gpa: number;
  readonly len: number;
}

/** One vCPU's thread, with an area of memory that only its requests concern. */
class RandomThread {
  readonly story: VmmStory;
  readonly #policy: Policy;
  readonly #vcpu: number;
  readonly #random: Random;
  readonly #faults: FaultPlan;
  readonly #area: number;
  /** Pages as their number in the area: shared, or not to be touched any more. */
  readonly #used = new Set<number>();
  readonly #shared: Shared[] = [];
  readonly #lazy: Shared[] = [];

  constructor(policy: Policy, vcpu: number, random: Random, faults: FaultPlan) {
    this.#policy = policy;
    this.#vcpu = vcpu;
    this.#random = random;
    this.#faults = faults;
    this.story = new VmmStory(policy);
    this.#area = HIGH + vcpu * AREA_PAGES * PAGE;
  }

  step(): void {
    const what = this.#random(10);
    if (what < 4 || this.#shared.length === 0) this.#share();
    else if (what < 8) this.#unshare();
    else if (what === 8) this.#liveUpdate();
    else this.#giveBackLazily();
    this.story.nowNs += 50 + this.#random(2000);
  }

  end(): void {
    while (this.#lazy.length > 0) this.#giveBackLazily();
  }

  #share(): void {
    const range = this.#unusedRange();
    if (!range) return;
    const { gpa, len } = range;
    const { story, vcpu } = { story: this.story, vcpu: this.#vcpu };
    const noEntry = this.#policy.api === 'type1' && this.#faults.take('a map finds no entry left');
    const body = (): void => {
      this.#attributes('shared', range);
      if (noEntry) this.#faults.at = story.map(gpa, this.#policy.dma === 'page' ? PAGE : len, { errno: 28 });
      else this.#mapRange(range);
      this.#discard('private', range);
    };
    if (this.#faults.take('the guest does not ask first'))
      this.#faults.at = story.fault(vcpu, 'shared', gpa, len, body);
    else story.exit(vcpu, 'shared', gpa, len, body);
    this.#use(range);
    if (noEntry) return;
    if (this.#faults.take('a map is made twice')) {
      this.#faults.at = story.map(gpa, PAGE, { errno: 17 });
      return;
    }
    this.#shared.push(range);
  }

  #unshare(): void {
    const range = this.#takeShared();
    if (!range) return;
    const { story } = this;
    const { gpa, len } = range;
    if (this.#policy.dma === 'request' && len > PAGE && this.#faults.take('a page of a larger mapping is unmapped')) {
      const part = { gpa, len: PAGE };
      story.exit(this.#vcpu, 'private', gpa, PAGE, () => {
        this.#attributes('private', part);
        this.#faults.at = story.unmap(gpa, PAGE, { errno: this.#policy.api === 'type1' ? 22 : 2 });
        if (this.#policy.discard === 'eager') this.#discard('shared', part);
      });
      return;
    }
    const first = this.#policy.order === 'unmap-convert' || this.#policy.inPlace;
    const fails = first && this.#faults.take('the attribute call fails after the unmap');
    const lies = this.#faults.take('the attribute call fails and the guest is told of success');
    const forgets = this.#faults.take('an unmap is left out');
    const short = this.#policy.dma === 'page' && len > PAGE && this.#faults.take('an unmap ends too early');
    const early =
      this.#policy.discard === 'eager' &&
      !this.#policy.inPlace &&
      this.#faults.take('memory is given back before the unmap');
    const unmap = (): void => {
      if (!forgets) this.#unmapRange(short ? { gpa, len: len - PAGE } : range);
    };
    const exit = story.exit(
      this.#vcpu,
      'private',
      gpa,
      len,
      () => {
        // It gives up when the call fails: without an unmap before it, nothing has changed.
        if (lies || fails) {
          if (fails) unmap();
          this.#attributes('private', range, 12);
          return;
        }
        if (first && !early) unmap();
        this.#attributes('private', range);
        if (early) this.#faults.at = story.discard('shared', gpa, len);
        if (!first || early) unmap();
        // What is given back later, still mapped, would be a consequence.
        const leftMapped = forgets || short;
        if (!early && !(leftMapped && this.#policy.discard === 'lazy')) this.#discard('shared', range);
      },
      fails ? { result: 22 } : {},
    );
    if (fails || lies || forgets || short) {
      this.#faults.at = exit;
      return;
    }
    if (early) return;
    if (this.#faults.take('an unmap is made twice')) {
      this.#faults.at = story.unmapNothing(gpa, len);
      return;
    }
    if (this.#faults.take('a device goes on after the unmap')) {
      this.#faults.at = story.kernel({ op: 'iommu_fault', iova: gpa + 8 }, 0);
      return;
    }
    if (this.#faults.take('private memory is mapped by the way')) {
      this.#faults.at = story.map(gpa, PAGE);
      // To give it back later, mapped, would be a consequence.
      this.#withdraw(range);
      return;
    }
    for (let page = gpa; page < gpa + len; page += PAGE) this.#used.delete((page - this.#area) / PAGE);
  }

  /** Type1: each mapping gets a new host address. */
  #liveUpdate(): void {
    if (this.#policy.api !== 'type1') return;
    const mappings = this.#shared.flatMap((range) => this.#mappingsOf(range));
    const open = mappings.map(({ gpa, len }) => this.story.unmapVaddr(gpa, len));
    mappings.forEach(({ gpa, len }, i) => {
      if (this.#faults.take('an address is not given back in a live update')) {
        this.#faults.at = open[i];
        // Its window stays open to the end: nothing in it is unmapped.
        this.#shared.length = 0;
      } else this.story.mapVaddr(gpa, len);
    });
  }

  #giveBackLazily(): void {
    const range = this.#lazy.shift();
    if (range) this.story.discard('shared', range.gpa, range.len);
  }

  #attributes(to: Side, { gpa, len }: Shared, errno?: number): void {
    const outcome = errno === undefined ? {} : { errno };
    if (this.#policy.inPlace) this.story.attributes2(to, gpa, len, outcome);
    else this.story.attributes(to, gpa, len, outcome);
  }

  #mappingsOf({ gpa, len }: Shared): Shared[] {
    if (this.#policy.dma === 'request') return [{ gpa, len }];
    return Array.from({ length: len / PAGE }, (_, page) => ({ gpa: gpa + page * PAGE, len: PAGE }));
  }

  #mapRange(range: Shared): void {
    for (const { gpa, len } of this.#mappingsOf(range)) {
      const map = (): StoryRow => this.story.map(gpa, len);
      if (this.#policy.kernelEvents)
        this.story.around(map, () => this.story.kernel({ op: 'iommu_map', iova: gpa, len }));
      else map();
    }
  }

  #unmapRange({ gpa, len }: Shared): void {
    const unmap = (): StoryRow => this.story.unmap(gpa, len);
    if (!this.#policy.kernelEvents) {
      unmap();
      return;
    }
    const late = this.#faults.take('the IOMMU unmaps late');
    const event = (): StoryRow => this.story.kernel({ op: 'iommu_unmap', iova: gpa, len, result: len });
    const row = this.story.around(unmap, () => (late ? undefined : event()));
    if (!late) return;
    this.#faults.at = row;
    // After another call of the thread, so that also without times it is not inside.
    this.story.call({ op: 'kvm_check_extension', obj: this.story.vm, attrs: 1, result: 1 });
    event();
  }

  #discard(side: Side, range: Shared): void {
    const { discard, inPlace } = this.#policy;
    if (inPlace || discard === 'never') return;
    if (side === 'shared' && discard === 'lazy') {
      this.#lazy.push(range);
      return;
    }
    const fails = this.#faults.take('a discard fails');
    const row = this.story.discard(side, range.gpa, range.len, fails ? { errno: 5 } : {});
    if (fails) this.#faults.at = row;
  }

  #unusedRange(): Shared | undefined {
    const pages = 1 + this.#random(REQUEST_PAGES);
    const first = this.#random(AREA_PAGES - pages);
    for (let page = first; page < first + pages; page++) if (this.#used.has(page)) return undefined;
    const range = { gpa: this.#area + first * PAGE, len: pages * PAGE };
    this.#withdraw(range);
    return range;
  }

  /** What is shared again is not given back. */
  #withdraw(range: Shared): void {
    for (let i = this.#lazy.length - 1; i >= 0; i--)
      if (overlap(this.#lazy[i] as Shared, range)) this.#lazy.splice(i, 1);
  }

  #use({ gpa, len }: Shared): void {
    for (let page = gpa; page < gpa + len; page += PAGE) this.#used.add((page - this.#area) / PAGE);
  }

  #takeShared(): Shared | undefined {
    return this.#shared.splice(this.#random(this.#shared.length), 1)[0];
  }
}

function overlap(a: Shared, b: Shared): boolean {
  return a.gpa < b.gpa + b.len && b.gpa < a.gpa + a.len;
}
