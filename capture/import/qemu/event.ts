import { bytesOf, wordHash } from '../cursor.ts';
import { EventForm } from './event-form.ts';
import type { EventRows } from './event-rows.ts';

/** An event of QEMU that becomes rows. */
export interface QemuEvent {
  readonly name: string;
  /** How its arguments are printed, the newest first; in the order of the event's arguments. */
  readonly forms: readonly EventForm[];
  /** Makes the rows of one event; its arguments are in `rows.args`. What is of no interest it counts. */
  readonly emit: (rows: EventRows) => void;
}

export function event(name: string, forms: string | readonly string[], emit: QemuEvent['emit']): QemuEvent {
  return { name, forms: [forms].flat().map((form) => new EventForm(form)), emit };
}

interface NamedEvent {
  readonly event: QemuEvent;
  readonly bytes: Uint8Array;
}

/** Events by the hash of their name. */
export class EventTable {
  readonly #byHash: ReadonlyMap<number, NamedEvent>;

  constructor(events: readonly QemuEvent[]) {
    this.#byHash = new Map(events.map((event) => [wordHash(event.name), { event, bytes: bytesOf(event.name) }]));
    if (this.#byHash.size !== events.length) throw new Error('two events with the same hash');
  }

  /** The event whose name is the cursor's last word. */
  find(hash: number, cursor: { wordIs(word: Uint8Array): boolean }): QemuEvent | undefined {
    const found = this.#byHash.get(hash);
    return found && cursor.wordIs(found.bytes) ? found.event : undefined;
  }
}
