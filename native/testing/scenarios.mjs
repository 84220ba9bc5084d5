// What has to be seen from a process or a worker thread of its own: `node [--expose-gc] scenarios.mjs NAME` prints JSON. Plain JavaScript,
// as Node 20 does not run TypeScript.
import { readdirSync, readlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

const native = createRequire(import.meta.url)('../build/cvmtrace.node');
const MIB = 2 ** 20;
const HOUR_NS = 3600e9;

function words(operations) {
  const fields = ['obj', 'gpa', 'offset', 'len', 'attrs', 'flags', 'paceNs', 'peer', 'vcpu', 'iova'];
  return Float64Array.from(
    operations.flatMap(([name, operands = {}]) => [
      native.ops.indexOf(name),
      ...fields.map((field) => operands[field] ?? (field === 'paceNs' || field === 'peer' ? 0 : NaN)),
    ]),
  );
}

const memfd = (obj) => ['ram_create', { obj, len: MIB, flags: 1 }];
const pause = ['mark', { paceNs: HOUR_NS }];

function openMemfds() {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).includes('memfd:cvmtrace');
    } catch {
      return false;
    }
  }).length;
}

const scenarios = {
  /** Nothing is pending: the loaded addon and its idle thread do not keep the process. */
  async idle() {
    const session = native.createSession();
    const executed = await session.execute(words([memfd(1)]));
    return { rows: executed.rows };
  },

  /** The batch is still running when the script has nothing more to do: the process waits for it. */
  async waits() {
    const session = native.createSession();
    void session.execute(words([memfd(1), ['mark', { paceNs: 50e6 }]]), { pace: 'relative' }).then((executed) => {
      console.log(JSON.stringify({ rows: executed.rows }));
    });
  },

  /** process.exit in the middle of a batch. */
  async exits() {
    const session = native.createSession();
    void session.execute(words([memfd(1), pause]), { pace: 'relative' });
    console.log(JSON.stringify({ exiting: true }));
    process.exit(0);
  },

  /** Sessions that nobody closed are collected, and what they had open with them. */
  async collected() {
    for (let i = 0; i < 20; i++) await native.createSession().execute(words([memfd(1), memfd(2)]));
    const before = openMemfds();
    for (let i = 0; i < 100 && openMemfds() > 0; i++) {
      globalThis.gc();
      await setImmediate();
    }
    return { before, after: openMemfds() };
  },

  /** A running batch holds its session: it is not collected under it. */
  async held() {
    let executed = native.createSession().execute(words([memfd(1), ['mark', { paceNs: 30e6 }]]), { pace: 'relative' });
    for (let i = 0; i < 5; i++) {
      globalThis.gc();
      await setImmediate();
    }
    executed = await executed;
    globalThis.gc();
    return { rows: executed.rows, len: Number(executed.columns.len[0]) };
  },

  /** Worker threads: one that ends by itself, and one that is terminated in the middle of a batch. */
  async workers() {
    const results = [];
    for (const name of ['ends', 'pending']) {
      const worker = new Worker(fileURLToPath(import.meta.url), { workerData: name });
      results.push(await new Promise((resolve) => worker.once('message', resolve)));
      const during = openMemfds();
      if (name === 'pending') await worker.terminate();
      else await new Promise((resolve) => worker.once('exit', resolve));
      results.push(during, openMemfds());
    }
    return results;
  },

  /** Several sessions at once, here and in two workers. */
  async parallel() {
    const workers = [0, 1].map(() => new Worker(fileURLToPath(import.meta.url), { workerData: 'ends' }));
    const sessions = Array.from({ length: 8 }, () => native.createSession());
    const executed = await Promise.all(sessions.map((session) => session.execute(words([memfd(1), memfd(2)]))));
    await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve))));
    const during = openMemfds();
    await Promise.all(sessions.map((session) => session.close()));
    return { tids: new Set(executed.map((batch) => batch.tid)).size, during, after: openMemfds() };
  },

  /** For strace: 1000 allocations and 500 punches, a third of them refused by the kernel. */
  async counted() {
    const session = native.createSession();
    const operations = [memfd(1)];
    for (let i = 0; i < 1000; i++)
      operations.push(['ram_allocate', { obj: 1, offset: (i % 256) * 4096, len: i % 3 ? 4096 : 0 }]);
    for (let i = 0; i < 500; i++)
      operations.push(['ram_punch_hole', { obj: 1, offset: (i % 256) * 4096, len: i % 3 ? 4096 : 0 }]);
    const executed = await session.execute(words(operations));
    await session.close();
    return { rows: executed.rows, failures: executed.failures };
  },
};

const workerScenarios = {
  async ends() {
    const session = native.createSession();
    parentPort.postMessage((await session.execute(words([memfd(1)]))).rows);
  },
  async pending() {
    const session = native.createSession();
    const made = await session.execute(words([memfd(1)]));
    void session.execute(words([pause]), { pace: 'relative' });
    parentPort.postMessage(made.rows);
  },
};

if (isMainThread) {
  const result = await scenarios[process.argv[2]]();
  if (result !== undefined) console.log(JSON.stringify(result));
} else {
  await workerScenarios[workerData]();
}
