import type { CacheEntry } from '../../analyze/index.ts';
import { ageOption, formatAge } from '../age-option.ts';
import { cacheOf } from '../cache-option.ts';
import { ExitStatus } from '../exit-status.ts';
import { formatBytes } from '../format-bytes.ts';
import { formatCount, formatCountOf } from '../format-count.ts';
import { formatTable } from '../format-table.ts';
import { defineGroup, defineVerb, type VerbContext } from '../verb.ts';

interface ClearOptions {
  readonly olderThan?: number;
}

/** A trace in the cache, as the verbs say it. */
interface Listed {
  /** Where it was last seen; null if that is not known any more. */
  readonly path: string | null;
  readonly rows: number;
  readonly bytes: number;
  /** ISO 8601, UTC. */
  readonly used: string;
  /** Beside the rows. */
  readonly has: readonly ('tables' | 'report')[];
  /** This version of cvmtrace made it, and reads it. */
  readonly current: boolean;
  readonly folder: string;
}

const listVerb = defineVerb({
  name: 'list',
  summary: 'the traces in the cache, last used first, and their room on disk',
  examples: [
    ['cvmtrace cache list', 'what there is'],
    ["cvmtrace cache list --json | jq '[.traces[].bytes] | add'", 'how much room it takes'],
  ],
  declare: () => undefined,
  async run(context) {
    const cache = cacheOf(context);
    const traces = cache.list().map(listed);
    const bytes = traces.reduce((sum, trace) => sum + trace.bytes, 0);
    const { folder, limitBytes } = cache;
    await context.output.result({ folder, limitBytes, bytes, traces }, () => {
      if (traces.length === 0) return `no trace is in the cache, ${folder}`;
      const table = formatTable(
        [
          { title: 'TRACE', width: 60 },
          { title: 'ROWS', align: 'right' },
          { title: 'ON DISK', align: 'right' },
          { title: 'USED' },
          { title: 'HAS' },
        ],
        traces.map((trace) => [
          trace.path ?? '?',
          formatCount(trace.rows),
          formatBytes(trace.bytes),
          formatAge(Date.now() - Date.parse(trace.used)),
          trace.current ? ['rows', ...trace.has].join(', ') : 'of another version',
        ]),
      );
      return `${table}\n${formatBytes(bytes)} of at most ${formatBytes(limitBytes)} in ${folder}`;
    });
    return ExitStatus.done;
  },
});

const clearVerb = defineVerb<ClearOptions>({
  name: 'clear',
  summary: 'delete what is in the cache: it is made again when it is needed',
  examples: [
    ['cvmtrace cache clear', 'all of it'],
    ['cvmtrace cache clear --older-than 30d', 'what was not used for 30 days'],
  ],
  declare: (command) =>
    command.option('--older-than <age>', 'only what was not used for so long: 12h, 30d, 4w', ageOption('--older-than')),
  run: clear,
});

export const cacheVerb = defineGroup({
  name: 'cache',
  summary: 'what was made of large traces, kept so that the next question is fast',
  members: [listVerb, clearVerb],
});

async function clear(context: VerbContext, _positionals: readonly string[], options: ClearOptions): Promise<number> {
  const cache = cacheOf(context);
  const before = options.olderThan === undefined ? Infinity : Date.now() - options.olderThan;
  const doomed = cache.list().filter(({ usedMs }) => usedMs < before);
  const traces = doomed.map(listed);
  const bytes = traces.reduce((sum, trace) => sum + trace.bytes, 0);
  cache.clear(before);
  await context.output.result(
    { folder: cache.folder, bytes, traces },
    () => `${formatCountOf(traces.length, 'trace')} deleted, ${formatBytes(bytes)}`,
  );
  return ExitStatus.done;
}

function listed(entry: CacheEntry): Listed {
  const { description, places, usedMs, bytes, folder, isCurrent } = entry;
  return {
    path: places[0]?.path ?? null,
    rows: description.rows,
    bytes,
    used: new Date(usedMs).toISOString(),
    has: [...(entry.hasTables ? (['tables'] as const) : []), ...(entry.hasReport ? (['report'] as const) : [])],
    current: isCurrent,
    folder,
  };
}
