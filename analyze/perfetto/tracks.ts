import { SliceTrack, type OpenSlice } from './open-slices.ts';
import type { TrackDescription } from './packets.ts';

/** A thread of the VMM, with the exit that it handles. */
export interface Thread {
  /** Calls outside of every exit. */
  readonly track: SliceTrack;
  exit: { readonly slice: OpenSlice; readonly track: SliceTrack; readonly seq: number } | undefined;
}

/** One order for what belongs to a process: vCPUs by number, then what is beside them. */
const AFTER_VCPUS = 0x1_0000;

/**
 * The tracks of a trace, made when the first row asks for one: a process for each guest, in it a track for each vCPU and the threads of its VMM.
 * Rows that do not name their process or thread have tracks of their own beside them.
 */
export class TraceTracks {
  readonly #describe: (track: TrackDescription) => void;
  readonly #words: string;
  readonly #processes = new Map<number | undefined, number>();
  readonly #threads = new Map<string, Thread>();
  readonly #vcpus = new Map<string, SliceTrack>();
  #uuids = 0;
  #lost: SliceTrack | undefined;
  // Nearly all rows are of the thread, and of the vCPU, of the row before.
  #last: { pid: number | undefined; tid: number | undefined; thread: Thread } | undefined;

  /**
   * @param describe writes the descriptor of a track, before the first event on it
   * @param words what belongs beside every time of the trace ("emulated"); empty if nothing
   */
  constructor(describe: (track: TrackDescription) => void, words: readonly string[]) {
    this.#describe = describe;
    this.#words = words.length > 0 ? ` (${words.join(', ')})` : '';
  }

  /** Makes a track that belongs to no process, and returns its uuid. */
  add(track: Omit<TrackDescription, 'uuid'>): number {
    const uuid = ++this.#uuids;
    this.#describe({ uuid, ...track });
    return uuid;
  }

  vcpu(pid: number | undefined, vcpu: number): SliceTrack {
    const key = `${pid} ${vcpu}`;
    let track = this.#vcpus.get(key);
    if (!track) {
      // Lanes have one name, so that Perfetto shows them as one track with overlapping slices below each other.
      const name = `vCPU ${vcpu}`;
      track = new SliceTrack(() => this.add({ parentUuid: this.#process(pid), name, rank: vcpu }));
      this.#vcpus.set(key, track);
    }
    return track;
  }

  thread(pid: number | undefined, tid: number | undefined): Thread {
    const last = this.#last;
    if (last && last.tid === tid && last.pid === pid) return last.thread;
    const key = `${pid} ${tid}`;
    let thread = this.#threads.get(key);
    if (!thread) {
      thread = { track: new SliceTrack((lane) => this.#threadLane(thread?.track, lane, pid, tid)), exit: undefined };
      this.#threads.set(key, thread);
    }
    this.#last = { pid, tid, thread };
    return thread;
  }

  /** Where events are missing. */
  lost(): SliceTrack {
    this.#lost ??= new SliceTrack(() => this.add({ name: 'lost events' }));
    return this.#lost;
  }

  #process(pid: number | undefined): number {
    let uuid = this.#processes.get(pid);
    if (uuid === undefined) {
      const name = `guest${this.#words}`;
      uuid = this.add({ ranksChildren: true, ...(pid === undefined ? { name } : { process: { pid, name } }) });
      this.#processes.set(pid, uuid);
    }
    return uuid;
  }

  #threadLane(track: SliceTrack | undefined, lane: number, pid: number | undefined, tid: number | undefined): number {
    // The process first: its descriptor names it.
    const parentUuid = this.#process(pid);
    if (lane > 0 && track) return this.add({ parentUuid: track.uuid, name: 'overlapping calls' });
    if (pid !== undefined && tid !== undefined) return this.add({ thread: { pid, tid, name: 'VMM thread' } });
    const name = tid === undefined ? 'VMM, thread unknown' : `VMM thread ${tid}`;
    return this.add({ parentUuid, name, rank: AFTER_VCPUS });
  }
}
