import { opCode } from '../../../native/index.ts';
import { bytesOf, wordHash } from '../cursor.ts';
import type { EventHandler, Handled, KernelEvent } from './event.ts';
import { ioPageFault, iommuMap, iommuUnmap } from './iommu-events.ts';
import {
  kvmEntry,
  kvmExit,
  kvmHypercall,
  kvmPageFault,
  kvmRmpFault,
  kvmSetMemAttributes,
  kvmUnmapHvaRange,
  kvmUserspaceExit,
  kvmVmgexitMsrProtocol,
} from './kvm-events.ts';
import { addToPageCache, deleteFromPageCache } from './page-cache-events.ts';
import { isProbe, probeEvent } from './probe-events.ts';
import { enterByName, exit, rawEnter, rawExit, sysEvent, SYSCALLS } from './syscall-events.ts';

const COLON = 0x3a;
const MARK = opCode('mark');
const LOST = opCode('lost');
const TRACING_MARK_WRITE = bytesOf('tracing_mark_write: ');
const LOST_COUNT = wordHash('lost');

/** Names of events without a handler that are kept, to count what is skipped by name. */
const MAX_NAMES = 4096;

interface Known {
  readonly bytes: Uint8Array;
  readonly handle: EventHandler | undefined;
  /** How it is counted when it gives no row, and when its text cannot be used. */
  readonly skipped: string;
  readonly unusable: string;
}

const HANDLERS: Readonly<Record<string, EventHandler>> = {
  kvm_hypercall: kvmHypercall,
  kvm_userspace_exit: kvmUserspaceExit,
  kvm_exit: kvmExit,
  kvm_entry: kvmEntry,
  kvm_page_fault: kvmPageFault,
  kvm_rmp_fault: kvmRmpFault,
  kvm_vmgexit_msr_protocol_enter: kvmVmgexitMsrProtocol,
  kvm_vm_set_mem_attributes: kvmSetMemAttributes,
  kvm_unmap_hva_range: kvmUnmapHvaRange,
  map: iommuMap,
  unmap: iommuUnmap,
  io_page_fault: ioPageFault,
  mm_filemap_add_to_page_cache: addToPageCache,
  mm_filemap_delete_from_page_cache: deleteFromPageCache,
  sys_enter: rawEnter,
  sys_exit: rawExit,
  tracing_mark_write: mark,
  print: mark,
  PERF_RECORD_LOST: lost,
  ...Object.fromEntries(SYSCALLS.map((syscall) => [`sys_${syscall.name}`, (event) => sysEvent(event, syscall)])),
  ...Object.fromEntries(
    SYSCALLS.map((syscall) => [`sys_enter_${syscall.name}`, (event) => enterByName(event, syscall)]),
  ),
  ...Object.fromEntries(SYSCALLS.map((syscall) => [`sys_exit_${syscall.name}`, (event) => exit(event, syscall)])),
} satisfies Record<string, EventHandler>;

/** Events whose rows mean something without the thread that they happened in. */
const BARE: ReadonlySet<EventHandler> = new Set([iommuMap, iommuUnmap, ioPageFault, kvmSetMemAttributes]);

/** What is done with events by their names. */
export class EventTable {
  readonly #known = new Map<number, Known>();

  constructor() {
    for (const [name, handle] of Object.entries(HANDLERS)) this.#known.set(wordHash(name), knownAs(name, handle));
  }

  /** Handles the event at the cursor, "NAME: TEXT" or "SUBSYSTEM:NAME: TEXT". */
  handle(event: KernelEvent): void {
    const { cursor } = event;
    let hash = cursor.word();
    if (hash === 0) {
      event.troubles.add('no event behind the time');
      return;
    }
    let hasColon = cursor.skipByte(COLON);
    if (hasColon && isInWord(cursor.peek())) {
      hash = cursor.word();
      hasColon = cursor.skipByte(COLON);
    }
    let known = this.#known.get(hash);
    if (!known || !cursor.wordIs(known.bytes)) known = this.#meet(event, hash);
    if (hasColon) cursor.spaces();
    // ftrace alone prints system calls without a colon.
    const { handle } = known;
    const handled = handle ? handle(event) : isProbe(event) && hasColon ? probeEvent(event) : 'skipped';
    this.#count(event, known, handled);
  }

  /** Handles an event without a thread and a time, as people paste them. False if it is none that can be told by its text alone. */
  handleBare(event: KernelEvent): boolean {
    const { cursor } = event;
    const known = this.#known.get(cursor.word());
    if (!known?.handle || !BARE.has(known.handle) || !cursor.wordIs(known.bytes)) return false;
    if (!cursor.skipByte(COLON)) return false;
    cursor.spaces();
    const handled = known.handle(event);
    this.#count(event, known, handled);
    return true;
  }

  #count({ troubles }: KernelEvent, known: Known, handled: Handled): void {
    if (handled === 'skipped') troubles.skip(known.skipped);
    else if (handled === 'unusable') troubles.add(known.unusable);
  }

  /** An event whose name is new. */
  #meet({ cursor }: KernelEvent, hash: number): Known {
    const known = knownAs(cursor.text(cursor.wordStart, cursor.wordEnd), undefined);
    if (this.#known.size < MAX_NAMES && !this.#known.has(hash)) this.#known.set(hash, known);
    return known;
  }
}

function knownAs(name: string, handle: EventHandler | undefined): Known {
  return {
    bytes: bytesOf(name),
    handle,
    skipped: `event ${name} that is no row`,
    unusable: `text of event ${name} not understood`,
  };
}

function isInWord(byte: number): boolean {
  return byte > 0x20;
}

/** What a user wrote into trace_marker. */
function mark(event: KernelEvent): Handled {
  const { cursor, sink } = event;
  cursor.skip(TRACING_MARK_WRITE);
  // Who knows how the text went on.
  if (cursor.openEnd) return 'unusable';
  event.row(MARK);
  sink.detail(Buffer.from(cursor.text(cursor.at, cursor.end), 'latin1').toString('utf8').trim());
  return 'used';
}

/** PERF_RECORD_LOST lost 12; perf does not always know when and in which thread, and prints zeros. */
function lost({ fields, cursor, sink, head }: KernelEvent): Handled {
  fields.begin();
  if (!fields.number(LOST_COUNT)) return 'unusable';
  sink.row(LOST);
  if (head.hasTime && head.seconds > 0) sink.time(head.seconds, head.nanoseconds);
  sink.len(cursor.lo, cursor.hi);
  return 'used';
}
