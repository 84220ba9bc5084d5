import { Process } from '../processes/process.ts';
import type { Troubles } from '../troubles.ts';
import { OpenCall } from './open-call.ts';

/** Threads and processes that are followed at a time; with more, what was known of them is forgotten. */
const MAX_THREADS = 16 * 1024;
const MAX_PROCESSES = 4096;

/** A vCPU's exit whose row waits for the time when the vCPU runs again. */
export interface OpenExit {
  /** `RowSink.rows` with its row; 0: none is open. */
  row: number;
  seconds: number;
  nanoseconds: number;
}

/** What is known of a thread from earlier lines. */
export interface Thread {
  readonly tid: number;
  /** -1: unknown. */
  vcpu: number;
  /** -1: unknown. */
  pid: number;
  process: Process;
  readonly call: OpenCall;
  /** From guest to kernel (kvm_exit), until it is in the guest again. */
  readonly kernelExit: OpenExit;
  /** From kernel to user space, or a request to convert memory, until the vCPU runs again. */
  readonly userExit: OpenExit;
  /** The open user exit is a request to convert memory that has its row. */
  isConverting: boolean;
  /** Of the name that was looked at; a thread often gets its own only after it began. -1: none was. */
  nameLength: number;
}

/** Threads and processes by number. Bounded, whatever a file says. */
export class Threads {
  readonly #troubles: Troubles;
  readonly #threads = new Map<number, Thread>();
  readonly #processes = new Map<number, Process>();
  /** Most lines come from the same thread as the one before. */
  #last: Thread | undefined;

  constructor(troubles: Troubles) {
    this.#troubles = troubles;
  }

  /**
   * The thread of a line.
   * @param pid its process, -1 if the line does not say: all threads whose process is unknown then count as one process, since descriptors that one
   * thread opens are used by others
   */
  of(tid: number, pid: number): Thread {
    let thread = this.#last?.tid === tid ? this.#last : this.#threads.get(tid);
    if (!thread) {
      if (this.#threads.size >= MAX_THREADS) {
        this.#troubles.add('more threads at a time than are followed');
        this.#threads.clear();
      }
      thread = {
        tid,
        vcpu: -1,
        pid,
        process: this.#process(pid),
        call: new OpenCall(),
        kernelExit: { row: 0, seconds: 0, nanoseconds: 0 },
        userExit: { row: 0, seconds: 0, nanoseconds: 0 },
        isConverting: false,
        nameLength: -1,
      };
      this.#threads.set(tid, thread);
    } else if (pid >= 0 && pid !== thread.pid) {
      thread.pid = pid;
      thread.process = this.#process(pid);
    }
    this.#last = thread;
    return thread;
  }

  all(): Iterable<Thread> {
    return this.#threads.values();
  }

  #process(pid: number): Process {
    let process = this.#processes.get(pid);
    if (!process) {
      if (this.#processes.size >= MAX_PROCESSES) {
        this.#troubles.add('more processes at a time than are followed');
        this.#processes.clear();
      }
      process = new Process(Math.max(0, pid));
      this.#processes.set(pid, process);
    }
    return process;
  }
}
