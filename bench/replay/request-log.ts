import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { GuestRequest } from '../../capture/request.ts';

const WORDS = 6;
const CHUNK_REQUESTS = 65_536;
const CHUNK_BYTES = CHUNK_REQUESTS * WORDS * 8;

/** Kinds of requests in the file, by number. */
const KINDS = ['exit_map_gpa_range', 'exit_memory_fault', 'vmm', 'touch', 'mark'] as const;

function kindNumber(kind: (typeof KINDS)[number]): number {
  return KINDS.indexOf(kind);
}

/**
 * The requests of a trace in a file of float64 words, so that each run reads them again in bounded memory without a query engine at work beside the
 * operations that are timed. The file has no name once it is open; closing frees it.
 */
export class RequestLog implements Disposable {
  readonly #fd: number;
  readonly #chunk = new Float64Array(CHUNK_REQUESTS * WORDS);
  readonly #names: string[] = [];
  #inChunk = 0;
  #count = 0;

  /** @param folder where the file is made: as many bytes as 48 times the requests */
  constructor(folder: string) {
    const path = join(folder, `.requests-${process.pid}`);
    this.#fd = openSync(path, 'wx+', 0o600);
    unlinkSync(path);
  }

  get count(): number {
    return this.#count;
  }

  append(request: GuestRequest): void {
    const words = this.#chunk;
    const at = this.#inChunk * WORDS;
    words[at + 1] = request.paceNs;
    words[at + 2] = request.vcpu;
    switch (request.kind) {
      case 'convert':
        words[at] = kindNumber(request.trigger);
        words[at + 3] = request.gpa;
        words[at + 4] = request.len;
        words[at + 5] = request.to === 'private' ? 1 : 0;
        break;
      case 'touch':
        words[at] = kindNumber('touch');
        words[at + 3] = request.gpa;
        words[at + 4] = request.len;
        words[at + 5] = (request.side === 'private' ? 1 : 0) + (request.write ? 2 : 0);
        break;
      case 'mark':
        words[at] = kindNumber('mark');
        words[at + 3] = this.#names.push(request.name) - 1;
    }
    this.#count++;
    if (++this.#inChunk === CHUNK_REQUESTS) this.#flush();
  }

  /** All requests in order, from the start. Appending after this has begun is an error. */
  *[Symbol.iterator](): Generator<GuestRequest> {
    this.#flush();
    const words = new Float64Array(CHUNK_REQUESTS * WORDS);
    const bytes = new Uint8Array(words.buffer);
    for (let done = 0; done < this.#count;) {
      const here = Math.min(CHUNK_REQUESTS, this.#count - done);
      readFully(this.#fd, bytes.subarray(0, here * WORDS * 8), done * WORDS * 8);
      for (let i = 0; i < here; i++) yield this.#request(words.subarray(i * WORDS, (i + 1) * WORDS));
      done += here;
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }

  #request(words: Float64Array): GuestRequest {
    const [number = NaN, paceNs = NaN, vcpu = NaN, gpa = NaN, len = NaN, bits = NaN] = words;
    const kind = KINDS[number] ?? 'mark';
    switch (kind) {
      case 'exit_map_gpa_range':
      case 'exit_memory_fault':
      case 'vmm':
        return { kind: 'convert', trigger: kind, gpa, len, to: bits === 1 ? 'private' : 'shared', paceNs, vcpu };
      case 'touch': {
        const side = (bits & 1) === 1 ? 'private' : 'shared';
        return { kind, gpa, len, side, write: (bits & 2) === 2, paceNs, vcpu };
      }
      case 'mark':
        return { kind, name: this.#names[gpa] ?? '', paceNs, vcpu };
    }
  }

  #flush(): void {
    const bytes = new Uint8Array(this.#chunk.buffer, 0, this.#inChunk * WORDS * 8);
    const chunkStart = Math.floor((this.#count - this.#inChunk) / CHUNK_REQUESTS) * CHUNK_BYTES;
    for (let done = 0; done < bytes.length;)
      done += writeSync(this.#fd, bytes, done, bytes.length - done, chunkStart + done);
    this.#inChunk = this.#inChunk === CHUNK_REQUESTS ? 0 : this.#inChunk;
  }
}

function readFully(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length;) {
    const read = readSync(fd, bytes, done, bytes.length - done, position + done);
    if (read === 0) throw new Error('the request log is shorter than what was written');
    done += read;
  }
}
