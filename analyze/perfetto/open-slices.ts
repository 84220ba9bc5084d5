/**
 * Slices of a Perfetto track must be nested like the calls of a stack: the last one begun is the first to end. Calls that overlap otherwise (two
 * threads that work for one vCPU, a call that outlasts its exit) need a track of their own beside it.
 */

/** A row of slices, each inside the one before. */
interface Lane {
  readonly uuid: number;
  readonly stack: OpenSlice[];
}

/** What has begun and not ended. */
export interface OpenSlice {
  readonly lane: Lane;
  readonly startNs: number;
  readonly endNs: number;
  /** How many slices were begun before. */
  readonly order: number;
}

/** A track with as many lanes as its slices need. */
export class SliceTrack {
  readonly #lanes: Lane[] = [];
  readonly #addLane: (lane: number) => number;

  /** @param addLane describes the track, or one beside it, and returns its uuid */
  constructor(addLane: (lane: number) => number) {
    this.#addLane = addLane;
  }

  /** The uuid of the first lane. */
  get uuid(): number {
    return (this.#lanes[0] ?? this.#add()).uuid;
  }

  /** The lane at this place; undefined if the track has as many as it may. */
  lane(index: number): Lane | undefined {
    return this.#lanes[index] ?? (index < MAX_LANES ? this.#add() : undefined);
  }

  #add(): Lane {
    const lane = { uuid: this.#addLane(this.#lanes.length), stack: [] };
    this.#lanes.push(lane);
    return lane;
  }
}

/** More calls at once than a track is searched for room for. Only made-up traces have them. */
export const MAX_LANES = 64;

/** The slices that are open, on all tracks. Times never go down. */
export class OpenSlices {
  /** A heap: each entry ends before the two at 2i + 1 and 2i + 2. Has slices that ended already, until they come up. */
  readonly #heap: OpenSlice[] = [];
  readonly #end: (laneUuid: number, endNs: number) => void;
  #begun = 0;

  /** @param end is called for each slice that ends, in the order of their ends; inner ones before those around them */
  constructor(end: (laneUuid: number, endNs: number) => void) {
    this.#end = end;
  }

  /** Ends all slices that end before `tsNs`. */
  advance(tsNs: number): void {
    for (let first = this.#heap[0]; first && first.endNs < tsNs; first = this.#heap[0]) {
      this.#pop();
      this.#close(first);
    }
  }

  /**
   * Opens a slice where it fits: inside `within` if that is given and it does, else inside the last open slice of the first lane that has one
   * around it or is free. Undefined: no lane has room.
   */
  open(track: SliceTrack, startNs: number, endNs: number, within?: OpenSlice): OpenSlice | undefined {
    if (within && this.#hasRoom(within.lane, startNs, endNs, within)) return this.#push(within.lane, startNs, endNs);
    for (let index = 0; ; index++) {
      const lane = track.lane(index);
      if (!lane) return undefined;
      if (lane !== within?.lane && this.#hasRoom(lane, startNs, endNs)) return this.#push(lane, startNs, endNs);
    }
  }

  /** Ends what is still open. */
  closeAll(): void {
    this.advance(Infinity);
  }

  /** Ends what ends by `startNs` on the lane, but not `within`, which is empty itself if it ends there. */
  #hasRoom({ stack }: Lane, startNs: number, endNs: number, within?: OpenSlice): boolean {
    let top = stack.at(-1);
    for (; top && top.endNs <= startNs && top !== within; top = stack.at(-1)) this.#close(top);
    return top === undefined ? within === undefined : top.endNs >= endNs;
  }

  #push(lane: Lane, startNs: number, endNs: number): OpenSlice {
    const slice = { lane, startNs, endNs, order: this.#begun++ };
    lane.stack.push(slice);
    const heap = this.#heap;
    let at = heap.length;
    for (let above = (at - 1) >> 1; at > 0; above = (at - 1) >> 1) {
      const parent = heap[above];
      if (!parent || !endsBefore(slice, parent)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = slice;
    return slice;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (!last || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      let child = heap[below];
      const right = heap[below + 1];
      if (child && right && endsBefore(right, child)) {
        child = right;
        below++;
      }
      if (!child || !endsBefore(child, last)) break;
      heap[at] = child;
      at = below;
    }
    heap[at] = last;
  }

  /** The end of a slice that `#hasRoom` ended already is not told again. */
  #close(slice: OpenSlice): void {
    const { lane, endNs } = slice;
    if (lane.stack.at(-1) !== slice) return;
    lane.stack.pop();
    this.#end(lane.uuid, endNs);
  }
}

function endsBefore(one: OpenSlice, other: OpenSlice): boolean {
  return one.endNs < other.endNs || (one.endNs === other.endNs && one.order > other.order);
}
