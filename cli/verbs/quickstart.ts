import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { analyzeTrace, openAnalysis } from '../../analyze/index.ts';
import { replay } from '../../bench/replay/replay.ts';
import { parseStrategies, parseStrategy } from '../../bench/strategies/presets.ts';
import { underStrategy } from '../../bench/strategies/strategy-plan.ts';
import { openBackend } from '../../capture/backends/index.ts';
import { readHostInfo } from '../../capture/host/host-info.ts';
import { runWorkload } from '../../capture/run-workload.ts';
import { formatSize } from '../../capture/size.ts';
import { findWorkload } from '../../capture/workloads/registry.ts';
import { countRequests } from '../../capture/workloads/workload.ts';
import { loadNative } from '../../native/index.ts';
import { ExitStatus } from '../exit-status.ts';
import { formatReport } from '../format-report.ts';
import { claimOutputFolder } from '../output-folder.ts';
import { startProgress } from '../progress.ts';
import { formatReplay } from '../replay-tables.ts';
import { writeReplayReport } from '../replay-report-file.ts';
import { defineVerb, type VerbContext } from '../verb.ts';

interface QuickstartOptions {
  readonly dir?: string;
  readonly force: boolean;
}

const FOLDER = 'cvmtrace-quickstart';
const STRATEGIES = 'upm-eager,upm-no-shared-discard,lazy-discard,attributes-only';
const ROUNDS = 5;
/** Guest memory: the published case's, or what a small host can give. The boot's parts need 256 MiB. */
const MEMORY_BYTES = 2 ** 30;
const LEAST_MEMORY_BYTES = 2 ** 28;

const DETAILS = `\
Says what this host can do, runs the workload boot on the best backend, analyses its trace, and replays it under four strategies. The question is
that of a published case: an SNP guest booted in 32 s, in 103 s once conversions went through guest_memfd with every page discarded on its way,
and in 68 s when shared pages were kept (M. Roth, 2022-06-23). What do those choices, and a lazy discard, cost on this kernel?`;

export const quickstartVerb = defineVerb<QuickstartOptions>({
  name: 'quickstart',
  summary: 'the main job on this host in a minute: run, trace, analyse, replay, compare',
  details: DETAILS,
  examples: [['cvmtrace quickstart', `everything into a new folder ${FOLDER}`]],
  declare: (command) =>
    command
      .option(
        '--dir <dir>',
        `where the traces go (default: ${FOLDER}, or the first of ${FOLDER}-2, -3 ... that is free)`,
      )
      .option('--force', 'overwrite what is in DIR', false),
  run: quickstart,
});

async function quickstart(context: VerbContext, _: readonly string[], options: QuickstartOptions): Promise<number> {
  const { output, style, signal } = context;
  const native = loadNative();
  const backend = await openBackend('auto', native);
  const folder = await claimFolder(options);
  const trace = join(folder, 'boot.arrow');
  const runs = join(folder, 'runs');
  const command = ['cvmtrace', ...context.argv];
  const memoryBytes = guestMemory();

  const host = readHostInfo();
  const standIn = backend.standIn ? ' (stand-in)' : '';
  const heading = (text: string): Promise<void> =>
    context.json ? Promise.resolve() : output.write(`\n${style.heading(text)}\n`);
  if (!context.json) {
    await output.write(
      `${style.heading('1. This host')}\nLinux ${host.kernel.release} on ${host.cpu.logical} x ${host.cpu.model}${host.emulated ? ' (emulated)' : ''}; ` +
        `backend ${backend.name}${standIn}: ${backend.summary}\n` +
        backend.leftOut
          .map((step) => `left out: ${step.step}${step.errno ? ` (${step.errno})` : ''}: ${step.reason}\n`)
          .join(''),
    );
  }

  const workload = findWorkload('boot');
  const strategy = parseStrategy('upm-eager');
  const settings = { memoryBytes, seed: 1 };
  const requests = countRequests(workload, settings);
  const progress = startProgress(context, 1, 'running boot');
  let report;
  let comparison;
  try {
    // Shares of the time that each part takes, roughly.
    const summary = await runWorkload({
      native,
      backend,
      workload,
      settings,
      ...underStrategy(strategy),
      pacing: { pace: 'relative' },
      out: trace,
      force: options.force,
      command,
      signal,
      onProgress: (done) => progress.update((0.3 * done) / requests, 'running boot'),
    });
    signal.throwIfAborted();
    if (summary.failures > 0) output.warn(`${summary.failures} operations of the boot failed`);
    progress.update(0.3, 'analysing boot.arrow');
    await using analysis = await openAnalysis([trace]);
    report = await analyzeTrace(analysis);
    await claimOutputFolder(runs, options);
    comparison = await replay({
      native,
      backend,
      trace,
      strategies: parseStrategies(STRATEGIES),
      rounds: ROUNDS,
      pacing: { pace: 'asap' },
      folder: runs,
      force: options.force,
      command,
      signal,
      onProgress: (share, what) => progress.update(0.35 + 0.65 * share, what),
    });
    await writeReplayReport(join(runs, 'replay.json'), comparison, options.force);
  } finally {
    progress.stop();
  }

  const next = [
    `npx cvmtrace sql ${trace} "from conversions order by stall_ns desc limit 10"`,
    `npx cvmtrace replay ${trace} --strategy upm-eager,upm-eager,discard=4k --pace recorded`,
    `npx cvmtrace run ovmf-flip --memory 512M -o ${join(folder, 'flips.arrow')}`,
  ];
  const files = [trace, ...comparison.strategies.flatMap((result) => result.traces), join(runs, 'replay.json')];
  if (context.json) {
    await output.result({ host, folder, files, report, replay: comparison, next }, () => '');
    return ExitStatus.done;
  }
  await heading(`2. A boot of ${formatSize(memoryBytes)}, as it ran on ${backend.name}${standIn}`);
  await output.write(formatReport(report, style));
  await heading('3. The same boot under four strategies');
  await output.write(formatReplay(comparison, style));
  await heading('4. What is left, and where to go on');
  await output.write(
    `${trace}  the boot; ${runs}/  a trace of each replay, and replay.json\n` +
      next.map((line) => `  ${line}\n`).join(''),
  );
  return ExitStatus.done;
}

/** The folder to write to, made. Without --dir a new one, so that the command can be repeated. */
async function claimFolder({ dir, force }: QuickstartOptions): Promise<string> {
  let folder = dir ?? FOLDER;
  for (let number = 2; dir === undefined && existsSync(folder); number++) folder = `${FOLDER}-${number}`;
  await claimOutputFolder(folder, { force });
  return folder;
}

/** The largest power of two up to 1 GiB that is at most a quarter of the host's available memory; both sides of the boot are held at times. */
function guestMemory(): number {
  const quarter = process.availableMemory() / 4;
  let bytes = MEMORY_BYTES;
  while (bytes > quarter && bytes > LEAST_MEMORY_BYTES) bytes /= 2;
  return bytes;
}
