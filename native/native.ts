/**
 * The typed contract of the addon (`native/binding/`). Everything that runs or times a kernel call is behind it.
 */

/** Flags of `ram_create`: what the mapping is made of. */
export const RamFlag = {
  /** memfd_create(2), mapped MAP_SHARED. Without it: anonymous memory, MAP_PRIVATE. */
  memfd: 1,
  /** madvise(MADV_HUGEPAGE) on the mapping. */
  thp: 2,
  /** Huge pages of 2 MiB from hugetlbfs (MFD_HUGETLB or MAP_HUGETLB). */
  hugetlb2m: 4,
} as const;

/** Validity bitmaps (Arrow layout: bit i of byte i/8, 1 = valid) of the columns that have nulls; a column without nulls has none. */
export type Validity = Partial<Record<keyof NullableColumns, Uint8Array>>;

/** Columns that may be null in a row. */
export interface NullableColumns {
  readonly ts_ns: BigUint64Array;
  readonly dur_ns: BigUint64Array;
  readonly vcpu: Uint16Array;
  readonly obj: Uint32Array;
  readonly gpa: BigUint64Array;
  readonly hva: BigUint64Array;
  readonly iova: BigUint64Array;
  readonly offset: BigUint64Array;
  readonly len: BigUint64Array;
  readonly attrs: BigUint64Array;
  readonly flags: BigUint64Array;
  readonly result: BigInt64Array;
  readonly lag_ns: BigUint64Array;
}

/**
 * What the executor returns for a batch: one row per executed operation, in order, as columns of the trace (buffers of the native side, no
 * copy per row).
 */
export interface ExecutedBatch {
  /** Rows; fewer than the batch's operations if it was cancelled or stopped at a failure. */
  readonly rows: number;
  readonly op: Uint8Array;
  readonly errno: Uint16Array;
  /**
   * result is null for an operation that failed, except touches (pages touched before) and exits (what the guest is told: 0, EINVAL or EAGAIN
   * as positive numbers; null if the batch was cancelled inside it, as is then dur_ns). dur_ns is 0 for what is no kernel call.
   * lag_ns is there only if the batch was paced: how late the operation started; null where paceNs is 0.
   * All arrays share one ArrayBuffer, which can be copied but not transferred to another thread.
   */
  readonly columns: Omit<NullableColumns, 'lag_ns'> & Partial<Pick<NullableColumns, 'lag_ns'>>;
  readonly validity: Validity;
  /** Thread that executed it. */
  readonly tid: number;
  readonly failures: number;
  /** True if not all operations ran, because of `cancel` or `stopAtFailure`. */
  readonly stopped: boolean;
}

export interface ExecuteOptions {
  /** Stop after the first operation that fails; default is to go on. */
  readonly stopAtFailure?: boolean;
  /**
   * `asap` (default) ignores paceNs; `absolute` starts an operation at paceNs * factor after the session's first batch with that pacing began;
   * `relative` pauses before it, counted from the end of the operation before. In both 0 means at once.
   */
  readonly pace?: 'asap' | 'absolute' | 'relative';
  /** Multiplies paceNs; 2 is half speed. Default 1. */
  readonly paceFactor?: number;
}

/**
 * What the vCPUs of a VM are to do in one go. Before it, with `execute`: the VM; `ram_create` of {@link Native.guestMemoryBytes} bytes, and a slot
 * of the VM for it (`kvm_set_user_memory_region`) at `memory.gpa`, above all memory that the guest is to touch; a `kvm_create_vcpu` each.
 */
export interface GuestPlan {
  /** Object number of the VM. */
  readonly vm: number;
  /** The memory of the guest program: number of its ram object, and where the VM has it. What it holds is made anew for each run. */
  readonly memory: { readonly obj: number; readonly gpa: number };
  /** Object number of each vCPU, and the batch that it performs. */
  readonly vcpus: readonly { readonly obj: number; readonly words: Float64Array }[];
}

/** Why a guest run ended before its time. `code` is errno's name if a system call failed (then with `errno` and `syscall`), else ERR_GUEST. */
export interface GuestError extends Error {
  readonly code: string;
  /** Rows until then, as `runGuest` would have returned them. */
  readonly batches: readonly ExecutedBatch[];
}

/** One set of kernel objects and the thread that works on them. Everything opened is closed by `close`, by the collector and at exit. */
export interface NativeSession {
  /**
   * Queues a batch (words as of `OpBatch`) and returns its rows when it has run. Batches run in order on one thread without a pause while the
   * queue is not empty. Failures are rows. Rejects only for malformed words or options (TypeError) or a closed
   * session (`code` ERR_SESSION_CLOSED).
   */
  execute(words: Float64Array, options?: ExecuteOptions): Promise<ExecutedBatch>;
  /**
   * Lets a guest perform batches, one per vCPU, each on a thread of its own; queued in order with `execute`. Resolves with the rows of each vCPU
   * in its batch's order.
   *
   * The guest itself performs `exit_map_gpa_range` (the hypercall KVM_HC_MAP_GPA_RANGE; attrs are its third argument), `exit_memory_fault` (it writes to
   * each page of the range, and the first must fault), `guest_touch` {gpa, len, flags 1 = write} (each page that the range overlaps; a write
   * leaves the page's gpa + 1 in its first 8 bytes), and the waiting of paceNs, by its TSC. The `peer` operations after an exit answer it,
   * on the vCPU's thread; if one fails the guest is told so. Operations outside of exits are the VMM's own: the guest stops meanwhile. Those
   * that make or destroy objects are rows with EINVAL.
   *
   * An exit's row starts when KVM_RUN returns, and its dur_ns ends where KVM_RUN is entered again. Its gpa, len and attrs or flags are what
   * the exit carried, which is checked against the batch. KVM reports a memory fault page by page: `len` stays that of the request, the
   * exit's own size is in `attrs`, and a flags operand that is absent takes the exit's. After an answer that failed the access is given up. A
   * touch that faults is a row with EFAULT and the pages touched before. Its times are the guest's TSC put on the trace's clock, between a
   * reading of both at the run's start and one at its end.
   *
   * Rejects as `execute` does, and with a {@link GuestError} for what a batch cannot say: an exit that was not planned, a planned one
   * that does not happen, an exception in the guest, an access to where no slot is, an error of KVM. All vCPUs stop then.
   * `cancel` and `stopAtFailure` stop all, too; an exit that was not answered has no result and no dur_ns, and a touch under way is no row.
   */
  runGuest(plan: GuestPlan, options?: ExecuteOptions): Promise<ExecutedBatch[]>;
  /** Stops the running batch at the next operation (or pause, or 2 MiB of a touch, which is then an EINTR row) and drops the queued ones, guest runs too: they resolve with 0 rows. */
  cancel(): void;
  /** ns of CLOCK_MONOTONIC that ts_ns counts from. */
  readonly clockBaseNs: bigint;
  /**
   * Which pages of the object's file are in memory, by cachestat(2) (Linux 6.5): bitmap, one bit per 4 KiB page. Throws an Error with `code`
   * ENOSYS where the kernel has no cachestat, and EOPNOTSUPP for hugetlb.
   */
  residentPages(obj: number): Uint8Array;
  /** Bytes of the object's file in memory, by one cachestat(2). Same errors. */
  residentBytes(obj: number): number;
  /** Live objects: fds and mappings that close() would release. */
  readonly openObjects: number;
  /** Cancels, joins the thread, closes every object. Idempotent. */
  close(): Promise<void>;
}

/** Outcome of trying one thing on the host. */
export interface Attempt {
  /** 0 = worked; else the errno of `call`. */
  readonly errno: number;
  /** The call that failed, or the one that worked last, as a person would look it up: "ioctl(KVM_CREATE_VM, 1)". */
  readonly call: string;
  /** What it returned or found (a capability's value, a bitmap); absent if it failed. */
  readonly value?: number;
}

/** Facts about the host that only system calls tell. Nothing is changed; all that is opened is closed. */
export interface HostFacts {
  /**
   * Stable keys; one is absent if what it needs had failed before.
   * - `kvm.open`, `kvm.api_version`; `kvm.cap.C` for C of vm_types, exit_hypercall, user_memory2, memory_fault_info, memory_attributes,
   *   guest_memfd, pre_fault_memory, guest_memfd_flags: the value of the capability on /dev/kvm.
   * - `kvm.vm.N`: a VM of type N (0 to 5) was made. On it `kvm.vm.N.cap.C` for C of memory_attributes, guest_memfd, guest_memfd_flags, and
   *   `kvm.vm.N.set_memory_attributes`: the ioctl itself, to private.
   * - `gmem.create.F` for flags F of 0, 1 (mmap), 3 (mmap, initially shared); with the first `gmem.slot`, `gmem.allocate`, `gmem.cachestat` (value:
   *   pages seen after allocating 512), `gmem.punch_hole`; with the last that was made `gmem.mmap`, `gmem.touch` (EFAULT is SIGBUS). All on a VM
   *   of type 0; for the other types the same as `kvm.vm.N.gmem.*`.
   * - `memory.memfd`, `memory.thp`, `memory.hugetlb_2m` (of 2 MiB, first page written), `memory.cachestat`.
   * - `vfio.open`, `vfio.api_version`, `vfio.ext.E` for E of type1, type1v2, unmap_all, update_vaddr (value 1: the container offers it; one
   *   that has no group, as here, does not offer update_vaddr even where it has it).
   * - `iommufd.open`, `iommufd.test` (the kernel has IOMMU_TEST_CMD), `iommufd.fault_queue_alloc`, `iommufd.ioas_alloc`; in that IOAS
   *   `iommufd.ioas_map_file` (a page of a memfd) and, with IOMMU_TEST_CMD, `iommufd.mock` (a mock device's page table held a page while it was
   *   mapped; `call` is the step that failed); `iommufd.destroy`.
   */
  readonly attempts: Readonly<Record<string, Attempt>>;
}

/** How a recording is set up. */
export interface RecorderOptions {
  /** Bytes of each thread's ring, from 4096; rounded up to a power of two. A row takes 128. Memory is taken as rings are used. */
  readonly ringBytes: number;
  /** What a recorded thread does whose ring is full: wait for the recorder, or go on and count. */
  readonly onFull: 'block' | 'drop';
  /** How often the counters of the vCPUs become rows. Default 500. */
  readonly counterPeriodMs?: number;
}

/** Rows of a recording, in their order: columns of the trace (buffers of the native side). A column that no row has is absent. */
export interface RecordedBatch {
  /** At most 65536; 0 if nothing happened for a while. */
  readonly rows: number;
  readonly op: Uint8Array;
  readonly errno: Uint16Array;
  /** ts_ns counts from `clockBaseNs`. All arrays share one ArrayBuffer, which cannot be transferred to another thread. */
  readonly columns: Partial<Omit<NullableColumns, 'lag_ns'>> & {
    readonly pid?: Uint32Array;
    readonly tid?: Uint32Array;
  };
  readonly validity: Partial<Record<keyof RecordedBatch['columns'], Uint8Array>>;
  /** Text by row. */
  readonly detail: ReadonlyMap<number, string>;
}

/** What a recording has come to so far. */
export interface RecorderTotals {
  /** Processes that loaded the library and found the recording. */
  readonly processes: number;
  /** Of those that made a row, how many have not ended. */
  readonly liveProcesses: number;
  /** Threads that made a row. */
  readonly threads: number;
  readonly vcpus: number;
  /** Rows, with those of counters, marks and losses. */
  readonly rows: number;
  /** Calls that are no rows: their ring was full; too many threads at once; the struct or the kind of fd could not be read; nonsense in the ring. */
  readonly dropped: number;
  readonly droppedWithoutSlot: number;
  readonly unreadable: number;
  readonly damaged: number;
  /** ns that recorded threads waited for room, summed over threads. */
  readonly blockedNs: number;
  /** Exits written without dur_ns because what was done inside did not fit into memory. */
  readonly longExits: number;
}

/**
 * The memory into which recorded processes write, and the thread that takes their rows out of it (`native/core/recorder.h`). A process is
 * recorded if the preload library (`native/preload/`) is in it and finds `path` in the environment variable CVMTRACE_RECORD.
 *
 * Rows come in the order in which calls began, as far as they were over when they were taken (at most 20 ms later): an exit before the calls
 * made for it, the calls of a thread in their order.
 */
export interface NativeRecorder {
  /** "/proc/PID/fd/N" of this process. */
  readonly path: string;
  /** ns of CLOCK_MONOTONIC that ts_ns counts from. */
  readonly clockBaseNs: bigint;
  /**
   * The next rows. Waits about 100 ms at most, and then resolves with what there is, which may be 0 rows; with null when the recording is stopped
   * and all was returned, or it is closed. What is not asked for waits in memory, up to 2 Mi rows; then recorded threads wait (or drop).
   */
  next(): Promise<RecordedBatch | null>;
  /** Adds a `mark` row. @param tsNs CLOCK_MONOTONIC; brought between the recording's start and now */
  mark(name: string, tsNs: bigint): void;
  /** Takes what there is and tells recorded processes to go on without recording. Idempotent. */
  stop(): void;
  /** Final when `next` has resolved with null. */
  totals(): RecorderTotals;
  /** Stops at once, loses what was not asked for, and takes the memory away. Idempotent. */
  close(): void;
}

export interface Native {
  /** Names of operations in the order of their codes; equals `OPS`. */
  readonly ops: readonly string[];
  createSession(): NativeSession;
  probeHost(): HostFacts;
  /**
   * Begins a recording: nothing is recorded before a process is started with the library and `path`.
   * @throws TypeError for options that are none; an Error with `code`, `errno` and `syscall` where the memory cannot be made.
   */
  createRecorder(options: RecorderOptions): NativeRecorder;
  /**
   * What would make the kernel run the program in secure-execution mode, in which the dynamic linker ignores LD_PRELOAD (ld.so(8)): "setuid",
   * "setgid" or "capabilities"; "" for nothing, also if the file cannot be looked at.
   */
  secureExecution(path: string): 'setuid' | 'setgid' | 'capabilities' | '';
  /** Bytes of memory that the guest program needs at `gpa` for that many vCPUs (4 KiB per GiB below its end, 68 KiB per vCPU); 0 if it cannot be there. */
  guestMemoryBytes(gpa: number, vcpus: number): number;
  /** errno's name, e.g. "ENOTTY". */
  errnoName(errno: number): string;
}
