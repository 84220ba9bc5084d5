/**
 * Tables that the walk over a trace fills: what was live from one row to another. SQL cannot compute them in bounded time, because each row's effect
 * depends on all before it; the views of `sql/` read them as they read `events`. Spans begin with row `from_seq` and end before row `past_seq`
 * (null: they last to the end of the trace); `*_ns` are the times of these rows.
 */

/** A column and its DuckDB type. */
export type TableColumn = readonly [name: string, type: 'uinteger' | 'ubigint' | 'bigint' | 'boolean' | 'varchar'];

const SPAN: readonly TableColumn[] = [
  ['from_seq', 'ubigint'],
  ['past_seq', 'ubigint'],
  ['from_ns', 'ubigint'],
  ['past_ns', 'ubigint'],
];

const PLACE: readonly TableColumn[] = [
  ['trace', 'uinteger'],
  ['vm', 'uinteger'],
  ['gpa', 'ubigint'],
  ['len', 'ubigint'],
];

export const STATE_TABLES = {
  _memslots: [
    ...PLACE,
    ['slot', 'ubigint'],
    ['hva', 'ubigint'],
    ['gmem', 'uinteger'],
    ['gmem_offset', 'ubigint'],
    ['flags', 'ubigint'],
    ...SPAN,
  ],
  // Where rows that name a file offset, an hva or an iova were in the guest, through the slots that were live then: one row per piece.
  _places: [...PLACE, ['seq', 'ubigint']],
  // Which side memory was on, from the conversion that brought it there to the one that took it away.
  _sides: [...PLACE, ['is_private', 'boolean'], ...SPAN],
  // What was held (allocated) on a side.
  _holds: [...PLACE, ['is_private', 'boolean'], ...SPAN],
  _mappings: [
    ['trace', 'uinteger'],
    ['api', 'varchar'],
    ['obj', 'uinteger'],
    ['iova', 'ubigint'],
    ['len', 'ubigint'],
    ['gpa', 'ubigint'],
    ['hva', 'ubigint'],
    ['map_seq', 'ubigint'],
    ['unmap_seq', 'ubigint'],
    ['map_ns', 'ubigint'],
    ['unmap_ns', 'ubigint'],
    ['ended_by', 'varchar'],
  ],
  _memory: [
    ['trace', 'uinteger'],
    ['seq', 'ubigint'],
    ['ts_ns', 'ubigint'],
    ['private_bytes', 'ubigint'],
    ['shared_bytes', 'ubigint'],
    ['private_held_bytes', 'ubigint'],
    ['shared_held_bytes', 'ubigint'],
    ['doubly_held_bytes', 'ubigint'],
    ['dma_mapped_bytes', 'ubigint'],
    ['pinned_bytes', 'ubigint'],
    ['live_mappings', 'ubigint'],
  ],
  // Per exit and per attribute call outside exits: how much of its range a slot had, and how much of it really changed sides (bytes).
  _requests: [
    ['trace', 'uinteger'],
    ['seq', 'ubigint'],
    ['vm', 'uinteger'],
    ['slot_bytes', 'ubigint'],
    ['changed_bytes', 'ubigint'],
  ],
  _vaddr_windows: [
    ['trace', 'uinteger'],
    ['obj', 'uinteger'],
    ['iova', 'ubigint'],
    ['len', 'ubigint'],
    ['matched', 'boolean'],
    ...SPAN,
  ],
  _hazards: [
    ['trace', 'uinteger'],
    ['kind', 'varchar'],
    ['severity', 'varchar'],
    ['seq', 'ubigint'],
    ['ts_ns', 'ubigint'],
    ['vm', 'uinteger'],
    ['obj', 'uinteger'],
    ['gpa', 'ubigint'],
    ['iova', 'ubigint'],
    ['len', 'ubigint'],
    ['count', 'ubigint'],
    ['age_ns', 'bigint'],
    ['proof', 'varchar'],
    ['explanation', 'varchar'],
  ],
} as const satisfies Readonly<Record<string, readonly TableColumn[]>>;

export type StateTable = keyof typeof STATE_TABLES;

/** SQL that makes the empty tables. */
export function stateTableSql(): string {
  return Object.entries(STATE_TABLES)
    .map(
      ([name, columns]) =>
        `create table ${name} (${columns.map(([column, type]) => `"${column}" ${type}`).join(', ')});`,
    )
    .join('\n');
}
