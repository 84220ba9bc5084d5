/**
 * capture/record/: runs a command with the preload library (`native/preload/`) in it and in what it starts, and writes what they do into a trace.
 * The library hands rows over through memory that both share; this side takes them out, and the target waits for it only if a ring is full.
 */
import { resolve } from 'node:path';
import { type Native, type NativeRecorder, PACKAGE_VERSION, type RecorderTotals } from '../../native/index.ts';
import { readHostInfo } from '../host/host-info.ts';
import { wallOffsetNs } from '../record-requests.ts';
import { FORMAT_VERSION, type LeftOutStep, type TraceMetadata } from '../trace/metadata.ts';
import { assertRecordable } from './assert-recordable.ts';
import { attachedProcesses } from './attached-processes.ts';
import { CONTROL_VARIABLE, type Environment, makeControlFolder } from './control-folder.ts';
import { type ControlServer, startControl } from './control.ts';
import { findCommand } from './find-command.ts';
import { inheritedDescriptors } from './inherited-descriptors.ts';
import { readPhases } from './phase-lines.ts';
import { namePreload, recordedEnvironment } from './preload.ts';
import { RecordedTrace } from './recorded-trace.ts';
import { StopRequests } from './stop-requests.ts';
import { startTarget, type Target } from './target.ts';

export interface RecordOptions {
  readonly native: Native;
  readonly argv: readonly [string, ...string[]];
  readonly env: Environment;
  /** The trace's final name. */
  readonly out: string;
  readonly force: boolean;
  /** Of each thread. */
  readonly ringBytes: number;
  readonly onFull: 'block' | 'drop';
  /** Lines on the target's stdout that begin a phase. */
  readonly phaseFrom?: RegExp;
  /** Takes stdout's bytes where lines are looked at; resolves when they are written. */
  readonly writeStdout: (bytes: Buffer) => Promise<void>;
  /** As the metadata has it. */
  readonly commandLine: readonly string[];
  /** Calls back for each signal that asks this process to stop, until the returned function is called. */
  readonly onStopSignal: (listener: (signal: NodeJS.Signals) => void) => () => void;
  /** What goes on. */
  readonly onNote: (message: string) => void;
  /** What qualifies the recording while it goes on. */
  readonly onWarning: (message: string) => void;
}

/** A command that did not start, with the exit status that a shell has for it. No trace was made. */
export interface NotStarted {
  readonly status: 126 | 127;
  readonly reason: string;
}

/** What a recording came to. */
export interface RecordSummary extends RecorderTotals {
  /** The command's own, as a shell has it. */
  readonly exitStatus: number;
  /** Calls that are not in the trace, of whatever kind. */
  readonly lost: number;
  /** Why there are only marks in the trace; empty otherwise. */
  readonly leftOut: readonly LeftOutStep[];
}

const POLL_MS = 200;
/** A program that was executed has the library in it after a few ms. */
const START_MS = 50;

/**
 * Records a command until it and all recorded processes that it left behind have ended, or the user interrupts (see `StopRequests`).
 * @throws CvmtraceError UNAVAILABLE for a target that cannot be recorded; IO if the trace exists or cannot be written: in the latter case the
 * command went on to its end; INTERRUPTED for a third signal, which leaves NAME.partial
 */
export async function recordCommand(options: RecordOptions): Promise<RecordSummary | NotStarted> {
  const { native, argv, env } = options;
  const descriptors = inheritedDescriptors();
  const found = findCommand(argv[0], env['PATH']);
  if ('status' in found) return found;
  assertRecordable(native, found.path);
  const preload = namePreload(makeControlFolder(env));
  const recorder = native.createRecorder(options);
  const stops = new StopRequests(options.onStopSignal);
  let control: ControlServer | undefined;
  try {
    const trace = new RecordedTrace(options.out, options.force, metadataOf(options, recorder));
    control = await startControl(env, { pid: process.pid, out: resolve(options.out) }, (name, tsNs) =>
      recorder.mark(name, tsNs),
    );
    let target: Target;
    try {
      target = await startTarget({
        path: found.path,
        argv,
        env: {
          ...recordedEnvironment(env, preload.path, recorder.path),
          [CONTROL_VARIABLE]: control?.path ?? '',
        },
        readStdout: options.phaseFrom !== undefined,
        descriptors,
      });
    } catch (error) {
      trace.discard();
      return { status: 126, reason: `${found.path} cannot be executed: ${String(error)}` };
    }
    return await stops.orAborted(recordTarget(options, recorder, trace, target, stops), () => trace.abort());
  } finally {
    stops.close();
    control?.close();
    recorder.close();
    preload.remove();
  }
}

async function recordTarget(
  options: RecordOptions,
  recorder: NativeRecorder,
  trace: RecordedTrace,
  target: Target,
  stops: StopRequests,
): Promise<RecordSummary> {
  stops.watch(target);
  let failure: Error | undefined;
  const written = writeRows(recorder, trace).catch((error: unknown) => {
    failure = error instanceof Error ? error : new Error(String(error));
    // So that nobody waits for room in a ring.
    recorder.stop();
    options.onWarning('the trace cannot be written any more; the command goes on without being recorded');
  });
  const phases =
    options.phaseFrom &&
    target.stdout &&
    readPhases(target.stdout, options.phaseFrom, options.writeStdout, (name) =>
      recorder.mark(name, process.hrtime.bigint()),
    );
  const exitStatus = await target.ended;
  if (failure === undefined) await untilLeft(options, recorder, stops);
  await phases?.untilQuiet();
  const tsNs = process.hrtime.bigint() - recorder.clockBaseNs;
  recorder.stop();
  await written;
  if (failure !== undefined) {
    trace.abort();
    throw failure;
  }
  const totals = recorder.totals();
  const lost = totals.dropped + totals.droppedWithoutSlot + totals.unreadable + totals.damaged;
  const leftOut = trace.hasEvents ? [] : [nothingSeen(totals)];
  await trace.finish({ exitStatus, lostEvents: lost, tsNs }, leftOut);
  // With the last row, trace_end.
  return { exitStatus, lost, leftOut, ...totals, rows: totals.rows + 1 };
}

async function writeRows(recorder: NativeRecorder, trace: RecordedTrace): Promise<void> {
  for (let batch = await recorder.next(); batch !== null; batch = await recorder.next()) trace.append(batch);
}

/** Waits for the recorded processes that outlive the command, as a VMM does that makes itself a daemon. */
async function untilLeft({ onNote }: RecordOptions, { path }: NativeRecorder, stops: StopRequests): Promise<void> {
  if (attachedProcesses(path).others.length > 0) await stops.within(START_MS);
  let told = false;
  while (!stops.asked) {
    const { attached } = attachedProcesses(path);
    if (attached.length === 0) return;
    if (!told) {
      const processes = attached.length === 1 ? 'a process' : `${attached.length} processes`;
      onNote(`still recording ${processes} that the command left behind (${attached.join(', ')}); interrupt to end`);
    }
    told = true;
    await stops.within(POLL_MS);
  }
}

function nothingSeen({ processes }: RecorderTotals): LeftOutStep {
  return {
    step: 'events',
    reason:
      processes === 0
        ? 'the recording library was not loaded into any process'
        : `the recording library was in ${processes === 1 ? '1 process' : `${processes} processes`}, and saw no call of KVM, VFIO or iommufd`,
  };
}

function metadataOf(options: RecordOptions, recorder: NativeRecorder): TraceMetadata {
  return {
    format: FORMAT_VERSION,
    tool: { name: 'cvmtrace', version: PACKAGE_VERSION },
    source: 'record',
    command: options.commandLine,
    clock: {
      name: 'CLOCK_MONOTONIC',
      baseNs: String(recorder.clockBaseNs),
      wallOffsetNs: String(wallOffsetNs()),
    },
    host: readHostInfo(),
    // What VMs there are, the rows tell.
    guest: { memoryBytes: null, vcpus: null, vmType: null, requests: 'guest', slots: [] },
    recording: { ringBytes: options.ringBytes, onFull: options.onFull },
    leftOut: [],
  };
}
