import type { Troubles } from '../troubles.ts';
import { OF_A_VMM, type OpenFile } from './files.ts';
import { Mappings } from './mappings.ts';

/** A log that does not say which thread. */
export const NO_TID = -1;

/** Bounds of what is kept, whatever a log says; beyond them descriptors are unknown, and threads are the first process's. */
const MAX_DESCRIPTORS = 64 * 1024;
const MAX_THREADS = 64 * 1024;
const MAX_COPIED = 256 * 1024;

export interface Descriptor {
  readonly file: OpenFile;
  closeOnExec: boolean;
}

/** Threads that share descriptors and memory. */
export class Process {
  /** 0: not known. */
  pid: number;
  readonly descriptors: Map<number, Descriptor>;
  readonly mappings: Mappings;
  /** A VM, a container, a device or an iommufd was open in it. */
  isVmm: boolean;
  threads = 0;

  constructor(pid = 0, parent?: Process) {
    this.pid = pid;
    this.descriptors = new Map();
    for (const [fd, { file, closeOnExec }] of parent?.descriptors ?? [])
      this.descriptors.set(fd, { file, closeOnExec });
    this.mappings = new Mappings(parent?.mappings);
    this.isVmm = parent?.isVmm ?? false;
  }

  /** What a descriptor stands for from now on. */
  open(fd: number, file: OpenFile, closeOnExec: boolean): void {
    if (fd < 0 || (this.descriptors.size >= MAX_DESCRIPTORS && !this.descriptors.has(fd))) return;
    this.descriptors.set(fd, { file, closeOnExec });
    if (OF_A_VMM.has(file.kind)) this.isVmm = true;
  }

  /** Forgets a descriptor; true if it was the last of its file here. */
  close(fd: number): { readonly file: OpenFile; readonly last: boolean } | undefined {
    const closed = this.descriptors.get(fd);
    if (!closed) return undefined;
    this.descriptors.delete(fd);
    for (const { file } of this.descriptors.values()) if (file === closed.file) return { file, last: false };
    return { file: closed.file, last: true };
  }

  /** A new program: what was to be closed then is, and the memory is gone. */
  exec(): void {
    for (const [fd, { closeOnExec }] of this.descriptors) if (closeOnExec) this.descriptors.delete(fd);
    this.mappings.clear();
    this.isVmm = [...this.descriptors.values()].some(({ file }) => OF_A_VMM.has(file.kind));
  }
}

/** A call that began in one line and ends in another. */
export interface OpenCall {
  text: Uint8Array;
  length: number;
  /** 0 if none is open; else its place in the order of beginnings. */
  order: number;
  seconds: number;
  nanoseconds: number;
  timed: boolean;
  fine: boolean;
  /** What a close that has begun took away: the number may be used again before its end is logged. */
  closing: { readonly file: OpenFile; readonly last: boolean } | undefined;
}

export class Thread {
  tid: number;
  process: Process;
  readonly open: OpenCall = {
    ...{ text: new Uint8Array(0), length: 0, order: 0, seconds: 0, nanoseconds: 0, timed: false, fine: false },
    closing: undefined,
  };
  /** It has begun to make another thread (2) or process (1) whose number is not known yet. */
  making: 0 | 1 | 2 = 0;
  /** The number of that one, seen before the call ended. */
  made = 0;
  /** It has run a new program, and so is the one that gives its process its number. */
  isLeader = false;

  constructor(tid: number, process: Process) {
    this.tid = tid;
    this.process = process;
    process.threads++;
  }

  moveTo(process: Process): void {
    this.process.threads--;
    this.process = process;
    process.threads++;
  }
}

/**
 * Which thread is of which process. clone, fork and vfork say it where they are logged. Without them (`-e trace=ioctl`, `-p`) all threads are taken as
 * one process's, which is right for a VMM, and nearly right for its children, which inherit its descriptors.
 */
export class Processes {
  readonly #troubles: Troubles;
  readonly #threads = new Map<number, Thread>();
  readonly #first: Process = new Process();
  #current: Thread | undefined;
  /** The thread of lines without a number, before its number is known. */
  #unnamed: Thread | undefined;
  #copied = 0;
  /** Threads that are making others whose number was not seen yet. */
  readonly #makers = new Set<Thread>();

  constructor(troubles: Troubles) {
    this.#troubles = troubles;
  }

  /** The thread of a line; `ending`: the line is the end of a call, and so the thread's first line was before it. */
  thread(tid: number, ending = false): Thread {
    if (this.#current?.tid === tid) return this.#current;
    const thread = tid === NO_TID ? this.#withoutNumber() : (this.#threads.get(tid) ?? this.#appeared(tid, ending));
    this.#current = thread;
    return thread;
  }

  *threads(): Iterable<Thread> {
    if (this.#unnamed) yield this.#unnamed;
    yield* this.#threads.values();
  }

  /** strace leaves the number out as long as there is one thread only. */
  #withoutNumber(): Thread {
    if (this.#threads.size === 1) for (const only of this.#threads.values()) return only;
    return (this.#unnamed ??= new Thread(NO_TID, this.#first));
  }

  #appeared(tid: number, ending: boolean): Thread {
    const maker = ending ? undefined : this.#soleMaker();
    if (maker) {
      maker.made = tid;
      this.#makers.delete(maker);
      return this.#add(tid, maker.making === 2 ? maker.process : this.#copy(maker.process, tid));
    }
    if (this.#unnamed) {
      const named = this.#unnamed;
      this.#unnamed = undefined;
      named.tid = tid;
      if (named.isLeader) named.process.pid = tid;
      this.#threads.set(tid, named);
      return named;
    }
    return this.#add(tid, this.#first);
  }

  /** A thread has begun to make another one, of its own process or of a new one. */
  making(maker: Thread, sameProcess: boolean): void {
    this.#makers.add(maker);
    maker.making = sameProcess ? 2 : 1;
    maker.made = 0;
  }

  /** Whose a line is that is of no other interest: the first of a new thread tells which of the threads has made it. */
  note(tid: number, ending: boolean): void {
    if (this.#makers.size > 0) this.thread(tid, ending);
  }

  /** The one thread that is making another: with two, which of them made this one is known when their calls end. */
  #soleMaker(): Thread | undefined {
    if (this.#makers.size !== 1) return undefined;
    for (const maker of this.#makers) return maker;
    return undefined;
  }

  #add(tid: number, process: Process): Thread {
    if (this.#threads.size >= MAX_THREADS) {
      this.#troubles.add('more threads than can be told apart');
      return (this.#unnamed ??= new Thread(NO_TID, this.#first));
    }
    const thread = new Thread(tid, process);
    this.#threads.set(tid, thread);
    return thread;
  }

  #copy(parent: Process, pid: number): Process {
    this.#copied += parent.descriptors.size;
    if (this.#copied <= MAX_COPIED) return new Process(pid, parent);
    this.#troubles.add('more processes than can be told apart');
    return parent;
  }

  /** A thread has made another of number `tid`: one of its own process, or a process with a copy of what it has. */
  made(maker: Thread, tid: number, sameProcess: boolean): void {
    const already = maker.made === tid;
    this.#makers.delete(maker);
    maker.making = 0;
    maker.made = 0;
    if (already || tid <= 0) return;
    const thread = this.#threads.get(tid);
    const process = sameProcess ? maker.process : this.#copy(maker.process, tid);
    if (thread) thread.moveTo(process);
    else this.#add(tid, process);
  }

  /** A thread runs a new program, and is the only one of its process from then on. */
  exec(thread: Thread): void {
    if (thread.process.threads > 1) thread.moveTo(this.#copy(thread.process, 0));
    thread.isLeader = true;
    if (thread.tid !== NO_TID) thread.process.pid = thread.tid;
    thread.process.exec();
  }

  exit(tid: number): void {
    const thread = this.#threads.get(tid);
    if (!thread) return;
    this.#threads.delete(tid);
    this.#makers.delete(thread);
    if (this.#current === thread) this.#current = undefined;
    const { process } = thread;
    if (--process.threads === 0) this.#copied = Math.max(0, this.#copied - process.descriptors.size);
  }
}
