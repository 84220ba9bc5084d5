import { Bench } from 'tinybench';
import { type Backend, slotsEnd } from '../../capture/backends/backend.ts';
import { BACKENDS } from '../../capture/backends/index.ts';
import type { SlotRange } from '../../capture/trace/metadata.ts';
import { CvmtraceError, loadNative, OpBatch } from '../../native/index.ts';
import type { Metric, Suite } from './suite.ts';

const GUESTS: readonly (readonly [string, readonly SlotRange[]])[] = [
  ['1G, one slot', [{ gpa: 0, len: 2 ** 30, offset: 0 }]],
  ['64G, 32 slots', Array.from({ length: 32 }, (_, i) => ({ gpa: i * 2 ** 31, len: 2 ** 31, offset: i * 2 ** 31 }))],
];

export const replaySetUpSuite: Suite = {
  name: 'replay-set-up',
  summary: 'what a run costs before its first request: a session, its VM, memory and slots, and closing it all',
  async run({ quick, signal, onProgress }) {
    const native = loadNative();
    const bench = new Bench({ iterations: quick ? 10 : 50, time: 0, warmupIterations: 3, warmupTime: 0, signal });
    for (const kind of BACKENDS) {
      onProgress?.(kind.name);
      let backend: Backend;
      try {
        backend = await kind.open(native);
      } catch (error) {
        if (error instanceof CvmtraceError && error.code === 'UNAVAILABLE') continue;
        throw error;
      }
      for (const [guest, slots] of GUESTS) {
        const name = `${kind.name}${backend.standIn ? ' (stand-in)' : ''}, ${guest}`;
        bench.add(
          name,
          async () => {
            const session = native.createSession();
            const batch = new OpBatch();
            backend.setUp(batch, { slots });
            const { failures } = await session.execute(batch.words);
            await session.close();
            if (failures > 0) throw new Error(`the set-up of ${slotsEnd(slots)} bytes failed`);
          },
          { async: true },
        );
      }
    }
    const tasks = await bench.run();
    return {
      setup: `${quick ? 10 : 50} sessions each, median; memory is made and mapped, not touched`,
      metrics: tasks.map((task): Metric => {
        const { result } = task;
        if (result.state !== 'completed')
          throw new Error(`${task.name}: ${result.state}`, 'error' in result ? { cause: result.error } : {});
        return { metric: task.name, value: result.latency.p50 * 1e6, unit: 'ns', better: 'lower' };
      }),
    };
  },
};
