/**
 * Writes deterministic rows until it is killed, or --rows of them; says on stdout how many rows are flushed, one number a line.
 * Usage: node write-rows.mjs DIST PATH ROWS_PER_APPEND [MAX_ROWS]
 */
import { writeSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { batchAt } from './deterministic-rows.mjs';

const [dist, path, perAppend, maxRows] = process.argv.slice(2);
const { TraceWriter } = await import(pathToFileURL(`${dist}/capture/trace/writer.js`).href);
const metadata = {
  format: { major: 1, minor: 0 },
  tool: { name: 'cvmtrace', version: 'test' },
  source: 'generated',
  command: [],
  clock: { name: 'none', baseNs: null, wallOffsetNs: null },
  host: null,
  guest: { memoryBytes: null, vcpus: null, vmType: null, requests: null, slots: [] },
  leftOut: [],
};

try {
  const writer = TraceWriter.create(path, metadata);
  const rows = Number(perAppend);
  while (writer.rows < Number(maxRows ?? Infinity)) {
    writer.append(batchAt(writer.rows, rows));
    writer.flush();
    writeSync(1, `${writer.rows}\n`);
  }
  await writer.finish({ exitStatus: 0, lostEvents: 0 });
} catch (error) {
  writeSync(1, `${JSON.stringify({ code: error.code, message: error.message, hint: error.hint })}\n`);
  process.exitCode = 1;
}
