export type ProblemKind =
  /** Not an Arrow file, not a trace, another version, damaged flatbuffers. */
  | 'structure'
  /** No footer. */
  | 'truncated'
  /** The footer lists other messages than the file has. */
  | 'footer'
  /** Buffers or values of a batch are not what they must be. */
  | 'batch'
  /** `seq` is not dense from 0: rows are missing, or there twice. */
  | 'seq'
  /** The count of nulls differs from the bitmap. */
  | 'nulls'
  /** The last row is not `trace_end`. */
  | 'end'
  /** Start times of a thread go back. */
  | 'time';

export interface Problem {
  readonly kind: ProblemKind;
  /** A warning is something that a good capture can have; an error is not. */
  readonly severity: 'error' | 'warning';
  readonly message: string;
  /** Number of the row in the file. */
  readonly row?: number;
}
