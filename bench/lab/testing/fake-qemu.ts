import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

/** What every fake machine begins with: the ports as QEMU gets them, and where it notes what it was. */
const PORTS = `#!${process.execPath}
const net = require('node:net');
const fs = require('node:fs');
const [control, stdin, stdout, stderr] = [3, 4, 5, 6].map((fd) => new net.Socket({ fd, readable: true, writable: true }));
const lines = (texts) => texts.forEach((text) => control.write(text + '\\n'));
const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
fs.writeFileSync(__filename + '.pid', String(process.pid));
fs.writeFileSync(__filename + '.args', JSON.stringify(process.argv.slice(2)));
`;

/** A program in QEMU's place, which does what a script says: in JavaScript, with the four ports by their names. */
export class FakeQemu {
  readonly #folder = mkdtempSync(join(tmpdir(), 'cvmtrace-qemu-'));

  /** An environment whose PATH has it first. */
  get env(): Readonly<Record<string, string>> {
    return { PATH: `${this.#folder}${delimiter}${process.env['PATH'] ?? ''}`, HOME: '/root' };
  }

  /** What the next machines do, once they are started. */
  does(script: string): void {
    mkdirSync(this.#folder, { recursive: true });
    writeFileSync(this.#program, `${PORTS}(async () => {\n${script}\n})();\n`);
    chmodSync(this.#program, 0o755);
  }

  /** Arguments of the last machine. */
  get args(): string[] {
    return JSON.parse(readFileSync(`${this.#program}.args`, 'utf8')) as string[];
  }

  /** Whether the last machine is still there. */
  get runs(): boolean {
    const noted = `${this.#program}.pid`;
    if (!existsSync(noted)) return false;
    const pid = readFileSync(noted, 'utf8');
    return existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true });
  }

  get #program(): string {
    return join(this.#folder, 'qemu-system-x86_64');
  }
}
