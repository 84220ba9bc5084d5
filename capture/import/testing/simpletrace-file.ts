/** An argument as QEMU's simple backend writes it: texts with their length, all else as 64 bits. */
export type SimpleArg = bigint | number | string;

/** Builds simpletrace files record by record, as trace/simple.c does. */
export class SimpletraceFile {
  readonly #chunks: Buffer[] = [];
  readonly #version: number;
  readonly #little: boolean;

  constructor(version = 4, byteOrder: 'little' | 'big' = 'little') {
    this.#version = version;
    this.#little = byteOrder === 'little';
    this.#add(this.#u64(0xffffffffffffffffn), this.#u64(0xf2b177cb0aa429b4n), this.#u64(BigInt(version)));
  }

  mapping(id: number, name: string): this {
    return this.#add(this.#u64(0n), this.#u64(BigInt(id)), this.#u32(name.length), Buffer.from(name));
  }

  event(id: number | bigint, timeNs: bigint, args: readonly SimpleArg[], pid = 77): this {
    const body = Buffer.concat(
      args.flatMap((arg) =>
        typeof arg === 'string' ? [this.#u32(arg.length), Buffer.from(arg)] : [this.#u64(BigInt(arg))],
      ),
    );
    if (this.#version >= 4) this.#add(this.#u64(1n));
    return this.#add(this.#u64(BigInt(id)), this.#u64(timeNs), this.#u32(24 + body.length), this.#u32(pid), body);
  }

  dropped(timeNs: bigint, events: number): this {
    return this.event(0xfffffffffffffffen, timeNs, [events]);
  }

  raw(bytes: Uint8Array): this {
    return this.#add(Buffer.from(bytes));
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  #add(...chunks: Buffer[]): this {
    this.#chunks.push(...chunks);
    return this;
  }

  #u64(value: bigint): Buffer {
    const bytes = Buffer.alloc(8);
    const unsigned = BigInt.asUintN(64, value);
    if (this.#little) bytes.writeBigUInt64LE(unsigned);
    else bytes.writeBigUInt64BE(unsigned);
    return bytes;
  }

  #u32(value: number): Buffer {
    const bytes = Buffer.alloc(4);
    if (this.#little) bytes.writeUInt32LE(value);
    else bytes.writeUInt32BE(value);
    return bytes;
  }
}
