import type { TraceBatch } from '../batch.ts';

export interface DeterministicRow extends Record<string, bigint | number | string | null> {
  readonly op: number;
}

export function rowAt(seq: number): DeterministicRow;
export function batchAt(first: number, rows: number): TraceBatch;
