import type { Call } from './call.ts';
import { close, closeRange, closing, dup, dup2, dup3, fcntl, memfdCreate, open, openat } from './file-calls.ts';
import { ioctl } from './ioctl-call.ts';
import { fallocate, madvise, mmap, munmap } from './memory-calls.ts';
import { NameTable } from '../name-table.ts';
import { execve, make, making } from './process-calls.ts';

export interface CallKind {
  /** The call is over, or (then its outcome is not known) has no end in the log. */
  readonly ended: (call: Call) => void;
  /** It has begun, and its end is in a later line. */
  readonly began?: (call: Call) => void;
}

/** The system calls that become rows, or say what descriptors and threads are. */
export const CALLS = new NameTable<CallKind>(
  Object.entries({
    ioctl: { ended: ioctl },
    fallocate: { ended: fallocate },
    madvise: { ended: madvise },
    mmap: { ended: mmap },
    mmap2: { ended: mmap },
    munmap: { ended: munmap },
    open: { ended: open },
    openat: { ended: openat },
    openat2: { ended: openat },
    memfd_create: { ended: memfdCreate },
    close: { ended: close, began: closing },
    close_range: { ended: closeRange },
    dup: { ended: dup },
    dup2: { ended: dup2 },
    dup3: { ended: dup3 },
    fcntl: { ended: fcntl },
    fcntl64: { ended: fcntl },
    clone: { ended: make, began: making },
    clone3: { ended: make, began: making },
    fork: { ended: make, began: making },
    vfork: { ended: make, began: making },
    execve: { ended: execve },
    execveat: { ended: execve },
  }),
);
