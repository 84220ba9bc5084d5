/** Sequences of packets. Within each, times never go down; Perfetto sorts between them. */
export const SEQUENCE = { tracks: 1, phases: 2, memory: 3, events: 4 } as const;
