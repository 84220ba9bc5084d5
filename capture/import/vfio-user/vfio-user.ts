import { opCode } from '../../../native/index.ts';
import { secondsOf } from '../calendar.ts';
import { Cursor, bytesOf } from '../cursor.ts';
import type { ImportContext, LineFormat, LineParser } from '../format.ts';
import { highHalf, lowHalf } from '../halves.ts';
import { headLines } from '../head-lines.ts';

const MAP = opCode('vfio_user_dma_map');
const UNMAP = opCode('vfio_user_dma_unmap');

const VFIO_DMA_UNMAP_FLAG_ALL = 2;
const EINVAL = 22;

/** What strerror(3) says of the errors that a server has when it adds or removes a region. */
const ERRNO_BY_TEXT: ReadonlyMap<string, number> = new Map([
  ['Operation not permitted', 1],
  ['No such file or directory', 2],
  ['Bad file descriptor', 9],
  ['Cannot allocate memory', 12],
  ['Permission denied', 13],
  ['File exists', 17],
  ['No such device', 19],
  ['Invalid argument', EINVAL],
  ['No space left on device', 28],
]);
/** As in logs of other tools that do not say which. */
const UNKNOWN_ERRNO = 0xffff;

/** "[2026-05-04 10:20:30.123456] file.c: 12:function: *DEBUG*: ": SPDK's, in local time. */
const SPDK_HEAD = /^\[(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{1,9})\] (?:\S+: *\d+:\w+: )?(?:\*\w+\*: )?/;

/** What libvfio-user says when a client maps or unmaps: lib/libvfio-user.c, handle_dma_map() and handle_dma_unmap(), and lib/dma.c. */
const REGION = /(?:^|[: ])(adding|removing|failed to add|failed to remove) DMA region (?:fd=-?\d+ path=\S* )?/;

const KNOWN_AS = /^(?:(.{1,200}?): )?(?:adding|removing|failed to (?:add|remove)) DMA region /;

/** A longer line is not libvfio-user's. */
const MAX_BYTES = 4096;

/** A region as its line says it, kept until the next line of a region: an error is a line of its own. */
interface Region {
  op: number;
  object: number;
  name: string | undefined;
  timed: boolean;
  seconds: number;
  nanoseconds: number;
  hasRange: boolean;
  start: bigint;
  end: bigint;
  offset: bigint | undefined;
  flags: bigint | undefined;
  errno: number;
}

/** How the C library prints a null pointer. */
const NIL = '(nil)';

const numberAt = (text: string, pattern: RegExp): bigint | undefined => {
  const found = pattern.exec(text)?.[1];
  if (found === NIL) return 0n;
  if (found === undefined || found.length > 18) return undefined;
  return BigInt(/^0x/i.test(found) ? found : `0x${found}`);
};

class VfioUserParser implements LineParser {
  readonly #context: ImportContext;
  readonly #cursor = new Cursor();
  readonly #seen = new Set<number>();
  #waiting: Region | undefined;

  constructor(context: ImportContext) {
    this.#context = context;
  }

  line(bytes: Uint8Array, start: number, end: number): void {
    const { troubles } = this.#context;
    const cursor = this.#cursor.reset(bytes, start, end);
    if (end - start > MAX_BYTES || !cursor.findPast(DMA_REGION)) {
      troubles.skip('other output');
      return;
    }
    const line = cursor.text(start, end);
    const head = SPDK_HEAD.exec(line);
    const message = line.slice(head?.[0].length ?? 0);
    const region = REGION.exec(message);
    if (!region) {
      troubles.skip('other message about a region');
      return;
    }
    const what = region[1] ?? '';
    const rest = message.slice(region.index + region[0].length);
    if (what.startsWith('failed')) this.#failed(what, rest);
    else this.#began(what, message, rest, head);
  }

  /** What comes behind may change what it says. */
  openLine(): void {
    this.#context.troubles.add('last line without a newline');
  }

  #began(what: string, message: string, rest: string, head: RegExpExecArray | null): void {
    const { sink, troubles } = this.#context;
    const range = RANGE.exec(rest);
    const start = numberAt(range?.[1] ?? '', ANY);
    const end = numberAt(range?.[2] ?? '', ANY);
    if (start === undefined || end === undefined || end < start) {
      troubles.add('region without a range');
      return;
    }
    const name = KNOWN_AS.exec(message)?.[1];
    // One of all that go; without such a request before, because the client has gone.
    if (PART.test(rest) && this.#waiting?.op === UNMAP && !this.#waiting.hasRange && this.#waiting.name === name) {
      troubles.skip('part of what is removed');
      return;
    }
    this.#flush();
    const [, year = '', month = '', day = '', hour = '', minute = '', second = '', fraction] = head ?? [];
    const time = head ? secondsOf({ year, month, day, hour, minute, second, fraction }) : undefined;
    if (time && sink.clock === 'unknown') sink.clock = 'local time';
    const flags = numberAt(rest, FLAGS);
    const op = what === 'adding' ? MAP : UNMAP;
    // Everything, wherever it is.
    const all = op === UNMAP && flags === BigInt(VFIO_DMA_UNMAP_FLAG_ALL);
    this.#waiting = {
      ...{ op, name, flags, start, end, errno: 0 },
      object: name === undefined ? 0 : sink.object(`vfio-user ${name}`),
      timed: time !== undefined,
      seconds: time?.seconds ?? 0,
      nanoseconds: time?.nanoseconds ?? 0,
      hasRange: !all,
      offset: numberAt(rest, OFFSET),
    };
  }

  /** "failed to add DMA region [...) ...: reason", of the region before. */
  #failed(what: string, rest: string): void {
    const region = this.#waiting;
    const range = RANGE.exec(rest);
    const op = what.endsWith('add') ? MAP : UNMAP;
    const same =
      region?.op === op &&
      numberAt(range?.[1] ?? '', ANY) === region.start &&
      numberAt(range?.[2] ?? '', ANY) === region.end;
    if (!same) {
      this.#context.troubles.add('failure of a region that was not named before');
      return;
    }
    region.errno = ERRNO_BY_TEXT.get(/: ([^:]+)$/.exec(rest)?.[1] ?? '') ?? UNKNOWN_ERRNO;
    this.#flush();
  }

  #flush(): void {
    const region = this.#waiting;
    if (!region) return;
    this.#waiting = undefined;
    const { sink } = this.#context;
    sink.row(region.op);
    if (region.timed) sink.time(region.seconds, region.nanoseconds);
    if (region.object > 0) sink.obj(region.object);
    if (region.hasRange) {
      sink.iova(lowHalf(region.start), highHalf(region.start));
      sink.len(lowHalf(region.end - region.start), highHalf(region.end - region.start));
    }
    if (region.offset !== undefined) sink.offset(lowHalf(region.offset), highHalf(region.offset));
    if (region.flags !== undefined) sink.flags(lowHalf(region.flags), highHalf(region.flags));
    if (region.errno !== 0) sink.errno(region.errno);
    // Which device a number stands for is said once.
    if (region.object === 0 || region.name === undefined || this.#seen.has(region.object)) return;
    this.#seen.add(region.object);
    sink.detail(region.name);
  }

  end(): void {
    this.#flush();
  }
}

const DMA_REGION = bytesOf(' DMA region ');
const ANY = /^(?:0x)?([0-9a-f]+|\(nil\))$/i;
/** "[0xc0000, 0xd0000)" or "0xc0000-0xd0000": the end is exclusive. */
const RANGE = /^(?:iova=)?\[?((?:0x)?[0-9a-f]+|\(nil\))(?:, |-)((?:0x)?[0-9a-f]+)(?:\)|$| )/i;
/** What the list of regions prints when all go. */
const PART = /^iova=\[.* mapping=\[/;
const OFFSET = / offset=((?:0x)?[0-9a-f]+)(?: |$|:)/i;
const FLAGS = / flags=((?:0x)?[0-9a-f]+)(?: |$|:)/i;

export const vfioUserFormat: LineFormat = {
  kind: 'lines',
  name: 'vfio-user',
  summary: "log of a vfio-user device server: libvfio-user's, SPDK's",
  madeBy: "the device server's debug log",
  detect(head) {
    const lines = headLines(head);
    const regions = lines.filter((line) => REGION.test(line) && / DMA region \S*[[0-9]/.test(line)).length;
    if (regions > 0) return 90;
    return lines.some((line) => SPDK_HEAD.test(line) && /vfio_user/.test(line)) ? 70 : 0;
  },
  open: (context) => new VfioUserParser(context),
};
