import { bytesOf } from '../cursor.ts';
import type { Call } from './call.ts';

const FLAGS = bytesOf('flags=');
const CLONE_FILES_WORD = bytesOf('CLONE_FILES');
const CLONE_FILES = 0x400;

/** 2: the new one shares the descriptors of the old, as a thread does; 1: it has a copy of them. */
export function sharing(call: Call): 1 | 2 {
  const { args } = call;
  const start = args.at;
  const shares =
    args.findPast(FLAGS) && (args.number() ? (args.lo & CLONE_FILES) !== 0 : args.findPast(CLONE_FILES_WORD));
  args.at = start;
  return shares ? 2 : 1;
}

/** The beginning of clone, clone3, fork or vfork: lines of the new one may come before its end. */
export function making(call: Call): void {
  call.processes.making(call.thread, sharing(call) === 2);
}

/** clone(child_stack=..., flags=...), clone3({flags=...}), fork(), vfork(). */
export function make(call: Call): void {
  const { outcome, processes, thread } = call;
  if (outcome.known) processes.made(thread, outcome.succeeded ? outcome.fd : 0, sharing(call) === 2);
}

export function execve(call: Call): void {
  if (call.outcome.succeeded) call.processes.exec(call.thread);
}
