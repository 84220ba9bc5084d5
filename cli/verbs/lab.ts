import { existsSync, realpathSync, statSync } from 'node:fs';
import { Option } from 'commander';
import { buildKernel } from '../../bench/lab/build.ts';
import { bytesOnDisk, cacheFolder, listKernels, listUnfinished } from '../../bench/lab/cache.ts';
import { findKernel } from '../../bench/lab/find-kernel.ts';
import { assertMachine, DEVICE_ADDRESS, DEVICES, IOMMUS, parseDevice, parseIommu } from '../../bench/lab/machine.ts';
import { runInLab } from '../../bench/lab/run.ts';
import { DEBIAN_RELEASES, hashConfig } from '../../bench/lab/source.ts';
import { CvmtraceError } from '../../native/index.ts';
import { ExitStatus } from '../exit-status.ts';
import { formatBytes } from '../format-bytes.ts';
import { formatTable } from '../format-table.ts';
import { countOption, sizeOption } from '../option-values.ts';
import { startProgress } from '../progress.ts';
import { startTerminal } from '../raw-terminal.ts';
import { defineGroup, defineVerb, type VerbContext } from '../verb.ts';

interface BuildOptions {
  readonly kernel: string;
  readonly install: boolean;
}

interface RunOptions {
  readonly kernel?: string;
  readonly cpus: number;
  readonly memory: number;
  readonly iommu: string;
  readonly device: string;
  readonly share?: readonly string[];
  readonly bootLimit?: number;
}

const buildVerb = defineVerb<BuildOptions>({
  name: 'build',
  summary: 'build a kernel for the lab',
  details: `Takes Debian's source of a release (package linux-source-RELEASE), a kernel tree, a tarball, or a bzImage as it is. The config is
bench/lab/kernel.config. What is built is kept in the user's cache directory ($XDG_CACHE_HOME or ~/.cache), by the hash of source and config; an
interrupted build goes on where it stopped.`,
  examples: [
    ['cvmtrace lab build', `the kernel that the lab runs by default, ${DEBIAN_RELEASES[0]}`],
    ['cvmtrace lab build --kernel 6.1 --install', 'an older one, with apt-get for what is missing'],
    ['cvmtrace lab build --kernel ~/src/linux', 'the tree that you work on'],
  ],
  declare: (command) =>
    command
      .option('--kernel <kernel>', 'a release of Debian, a kernel tree, a tarball or a bzImage', DEBIAN_RELEASES[0])
      .option('--install', 'as root, install missing packages with apt-get', false),
  run: build,
});

const runVerb = defineVerb<RunOptions>({
  name: 'run',
  summary: 'run a command on an emulated host with KVM, VFIO and iommufd',
  details: `Boots the kernel under QEMU without KVM, runs the command in it as root, and ends it. The host's files are there read-only; what is written is
forgotten, but for the current directory and each --share, which are the host's own. Standard streams and exit status are the command's own; an
interrupt goes to it. Everything is emulated, so that times mean nothing but their ratios, and traces from inside say so.

The mock devices of iommufd (IOMMU_TEST_CMD) work where no IOMMU of the kind vtd or amd is in use: with --iommu virtio, the default, or none.
The device is ${DEVICE_ADDRESS}, bound to vfio-pci. Inside, CVMTRACE_LAB holds the kind of IOMMU.`,
  examples: [
    ['cvmtrace lab run -- cvmtrace probe', 'what works in there'],
    ['cvmtrace lab run --iommu vtd -- sh -c "ls /dev/vfio; dmesg | tail"', 'any command'],
    ['cvmtrace lab run --kernel 6.1 -- uname -r', 'another kernel'],
  ],
  declare: (command) =>
    command
      .argument('<command...>', 'what to run, after --')
      .option('--kernel <kernel>', 'as named for lab build (default: the first of its releases that is built)')
      .option('--cpus <n>', 'CPUs', countOption('--cpus', 1), 2)
      .addOption(new Option('--memory <size>', 'memory').argParser(sizeOption('--memory')).default(2 ** 31, '2G'))
      .option('--iommu <iommu>', IOMMUS.join(', '), 'virtio')
      .option('--device <device>', `a PCI device for VFIO: ${Object.keys(DEVICES).join(', ')}`, 'e1000e')
      .option('--share <dir...>', 'further folders that are writable inside')
      .option(
        '--boot-limit <seconds>',
        'give up if it has not booted by then (default: 180)',
        countOption('--boot-limit', 1),
      ),
  run,
});

const listVerb = defineVerb({
  name: 'list',
  summary: 'the kernels that are built, and their room on disk',
  examples: [['cvmtrace lab list', 'what there is']],
  declare: () => undefined,
  run: list,
});

export const labVerb = defineGroup({
  name: 'lab',
  summary: 'an emulated host: real KVM, VFIO and iommufd on any machine',
  members: [buildVerb, runVerb, listVerb],
});

async function build(context: VerbContext, _positionals: readonly string[], options: BuildOptions): Promise<number> {
  const progress = startProgress(context, 1, '');
  const { kernel, built } = await buildKernel({
    ...options,
    env: context.io.env,
    signal: context.signal,
    onProgress: (fraction, what) => progress.update(fraction, what),
  }).finally(() => progress.stop());
  if (built && kernel.missing.length > 0)
    context.output.note(`this kernel does not have ${kernel.missing.map((symbol) => `CONFIG_${symbol}`).join(', ')}`);
  await context.output.result(
    { kernel, built },
    () =>
      `kernel ${kernel.name} (${kernel.release ?? 'release unknown'}) ${built ? 'is built' : 'was built before'}: ${kernel.image}`,
  );
  return ExitStatus.done;
}

async function list(context: VerbContext): Promise<number> {
  const cache = cacheFolder(context.io.env);
  const configHash = hashConfig();
  const kernels = listKernels(cache).map((kernel) => ({
    ...kernel,
    outdated: kernel.configHash !== '' && kernel.configHash !== configHash,
    bytes: bytesOnDisk(kernel.folder),
  }));
  const unfinished = listUnfinished(cache).map((folder) => ({ folder, bytes: bytesOnDisk(folder) }));
  await context.output.result({ cache, kernels, unfinished }, () => {
    if (kernels.length + unfinished.length === 0) return `no kernel is built; build one with: cvmtrace lab build`;
    return formatTable(
      [
        { title: 'KERNEL' },
        { title: 'RELEASE' },
        { title: 'ON DISK', align: 'right' },
        { title: 'STATE', width: 48 },
        { title: 'FOLDER' },
      ],
      [
        ...kernels.map((kernel) => [
          kernel.name,
          kernel.release ?? '?',
          formatBytes(kernel.bytes),
          [
            kernel.outdated ? 'config is older than kernel.config' : 'ready',
            ...(kernel.missing.length > 0 ? [`without ${kernel.missing.join(', ')}`] : []),
          ].join('; '),
          kernel.folder,
        ]),
        ...unfinished.map(({ folder, bytes }) => ['', '', formatBytes(bytes), 'not finished', folder]),
      ],
    );
  });
  return ExitStatus.done;
}

async function run(context: VerbContext, argv: readonly string[], options: RunOptions): Promise<number> {
  if (context.json) {
    throw new CvmtraceError('USAGE', 'lab run prints what its command prints, and has no --json of its own', {
      hint: 'give --json to the command, after --',
    });
  }
  const machine = {
    cpus: options.cpus,
    memoryBytes: options.memory,
    iommu: parseIommu(options.iommu),
    device: parseDevice(options.device),
  };
  assertMachine(machine);
  const { kernel, outdated } = findKernel(cacheFolder(context.io.env), options.kernel);
  if (outdated)
    context.output.note(
      `kernel ${kernel.name} is older than kernel.config: cvmtrace lab build --kernel ${kernel.name}`,
    );
  const { stdin, stdout, stderr } = context.io;
  const terminal = startTerminal(context.io);
  const lab = runInLab({
    machine,
    image: kernel.image,
    folders: [process.cwd(), ...(options.share ?? []).map(sharedFolder)],
    argv,
    program: realpathSync(process.argv[1] ?? ''),
    env: context.io.env,
    stdin,
    stdout,
    stderr,
    ...(terminal && { terminal: terminal.size() }),
    ...(options.bootLimit !== undefined && { bootLimitMs: options.bootLimit * 1000 }),
  });
  terminal?.onResize((size) => lab.resize(size.rows, size.columns));
  const stopListening = context.io.onStopSignal((signal) => lab.kill(signal));
  try {
    return await lab.status;
  } finally {
    stopListening();
    terminal?.stop();
  }
}

function sharedFolder(path: string): string {
  if (!existsSync(path) || !statSync(path).isDirectory()) {
    throw new CvmtraceError('NO_INPUT', `--share: no folder ${path}`, { hint: 'make it first' });
  }
  return realpathSync(path);
}
