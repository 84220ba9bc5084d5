/** What the host and the lab's process 1 (`native/lab/control.h`) say to each other through the port cvmtrace.control. */
import { StringDecoder } from 'node:string_decoder';
import type { Share } from './machine.ts';

export interface Command {
  /** PCI id "vendor:device" of what to give to vfio-pci inside, or "". */
  readonly bind: string;
  /** Run it on a terminal of its own. */
  readonly terminal: boolean;
  /** A script that becomes /usr/local/bin/cvmtrace inside, unless the host has one. */
  readonly script: string;
  readonly shares: readonly Share[];
  readonly folder: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
}

export type Message =
  | { readonly kind: 'alive' }
  | { readonly kind: 'started' }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'exit'; readonly status: number; readonly stdoutBytes: number; readonly stderrBytes: number };

/** The command as the guest reads it: texts that end with NUL, lists preceded by their length. */
export function encodeCommand(command: Command): Buffer {
  const list = (texts: readonly string[]): string[] => [String(texts.length), ...texts];
  const texts = [
    command.bind,
    command.terminal ? '1' : '0',
    command.script,
    ...list(command.shares.flatMap(({ tag, path }) => [tag, path])),
    command.folder,
    ...list(command.argv),
    ...list(Object.entries(command.env).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]))),
  ];
  return Buffer.from(texts.map((text) => `${text}\0`).join(''));
}

/** Cuts what arrives into messages. */
export class MessageReader {
  // A chunk may end inside a character.
  readonly #decoder = new StringDecoder('utf8');
  #rest = '';

  /** Messages that are complete with this chunk. */
  push(chunk: Buffer): Message[] {
    const lines = (this.#rest + this.#decoder.write(chunk)).split('\n');
    this.#rest = lines.pop() ?? '';
    return lines.map(parse);
  }
}

function parse(line: string): Message {
  const [word = '', ...rest] = line.split(' ');
  if (word === 'started') return { kind: 'started' };
  if (word === 'failed') return { kind: 'failed', reason: rest.join(' ') };
  const [status = NaN, stdoutBytes = NaN, stderrBytes = NaN] = rest.map(Number);
  if (word === 'exit') return { kind: 'exit', status, stdoutBytes, stderrBytes };
  return { kind: 'alive' };
}
