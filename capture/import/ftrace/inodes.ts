import type { RowSink } from '../row-sink.ts';

/** Numbers of the files whose pages an event is about. Pages mostly come in runs of one file, so the last one is kept. */
export class Inodes {
  #major = -1;
  #minor = -1;
  #lo = -1;
  #hi = -1;
  #object = 0;

  /** @param lo, hi halves of the inode's number */
  of(sink: RowSink, major: number, minor: number, lo: number, hi: number): number {
    if (lo !== this.#lo || hi !== this.#hi || minor !== this.#minor || major !== this.#major) {
      this.#object = sink.object(`inode ${hi * 0x1_0000_0000 + lo} of ${major}:${minor}`);
      this.#lo = lo;
      this.#hi = hi;
      this.#minor = minor;
      this.#major = major;
    }
    return this.#object;
  }
}
