import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { PACKAGE_ROOT } from '../../native/index.ts';
import { cacheFolder } from '../lab/cache.ts';
import { findKernel } from '../lab/find-kernel.ts';
import { assertInstalled, missingPackages, RUN_NEEDS } from '../lab/tools.ts';
import { medianInterval, pairedRatio } from '../stats/interval.ts';
import { type Metric, type Suite, withInterval } from './suite.ts';

const run = promisify(execFile);
const CLI = join(PACKAGE_ROOT, 'dist/cli/main.js');

/** A boot takes about 5 s; what takes so long hangs. */
const LIMIT_S = 15;

/** A boot that hangs is tried again, so often at most. */
const TRIES = 6;

/**
 * Boots that time themselves, bare and recorded in turns: `sh -c` around QEMU is what is recorded, and QEMU starts when the recorder has: in the
 * lab all CPUs share one thread of the host, and what node does after its start would be in the boot's time.
 * The guest's kernel ends in a panic, as it has no root, and QEMU with it. KVM inside an emulator loses an interrupt now and then, recorded or not,
 * and the guest then waits for ever: such a boot is ended, with status 124, counted and tried again.
 */
const SCRIPT = `
boot='sleep 3; a=$(date +%s%N); timeout ${LIMIT_S} qemu-system-x86_64 -accel kvm -cpu host -machine q35 -m 256M -nodefaults -display none -serial stdio \\
  -device vfio-pci,host=0000:00:10.0 -kernel "$0" -append "console=ttyS0 panic=-1" -no-reboot > /dev/null 2>&1; s=$?; b=$(date +%s%N); echo $((b - a)) $s'
try() {
  side=$1; shift; tries=0
  while [ $tries -lt ${TRIES} ]; do
    tries=$((tries + 1))
    result=$("$@")
    echo $side $result
    case "$result" in *' 0') return;; esac
  done
}
round=0
while [ $round -lt "$2" ]; do
  try bare sh -c "$boot" "$1"
  try recorded cvmtrace record --quiet --force -o /tmp/boot.arrow -- sh -c "$boot" "$1"
  round=$((round + 1))
done
cvmtrace info --json /tmp/boot.arrow
`;

interface Boot {
  readonly ns: number;
  readonly ended: boolean;
}

export const recordBootSuite: Suite = {
  name: 'record-boot',
  summary: 'a boot of QEMU with KVM and a device in the lab, recorded and not',
  async run({ quick, signal, onProgress }) {
    const { kernel } = findKernel(cacheFolder(process.env), undefined);
    assertInstalled(missingPackages(RUN_NEEDS, process.env), 'the boot');
    const rounds = quick ? 1 : 7;
    onProgress?.(`${2 * rounds} boots`);
    const { stdout } = await run(
      process.execPath,
      [CLI, 'lab', 'run', '--iommu', 'vtd', '--', 'sh', '-c', SCRIPT, 'sh', kernel.image, String(rounds)],
      { cwd: PACKAGE_ROOT, signal, maxBuffer: 2 ** 24 },
    );
    const boots = (side: string): Boot[] =>
      [...stdout.matchAll(new RegExp(`^${side} (\\d+) (\\d+)$`, 'gm'))].map(([, ns, status]) => ({
        ns: Number(ns),
        ended: Number(status) === 0,
      }));
    const all = { bare: boots('bare'), recorded: boots('recorded') };
    const ended = (side: 'bare' | 'recorded'): number[] => all[side].filter((boot) => boot.ended).map(({ ns }) => ns);
    const bare = ended('bare');
    const recorded = ended('recorded');
    // With as many of each, a round's are beside each other.
    const ratio = bare.length === recorded.length ? pairedRatio(recorded, bare) : undefined;
    const hung = (side: 'bare' | 'recorded'): Metric => ({
      metric: `boots that hung: ${side}`,
      value: all[side].filter((boot) => !boot.ended).length,
      unit: 'boots',
      better: 'neither',
    });
    const { traces } = JSON.parse(stdout.slice(stdout.indexOf('{'))) as { traces: readonly { rows: number }[] };
    const seconds = (side: string, values: readonly number[]): Metric => ({
      metric: `boot, emulated: ${side}`,
      ...withInterval(medianInterval(values.map((ns) => ns / 1e9))),
      unit: 's',
      better: 'lower',
    });
    return {
      setup: `${rounds} rounds in turns in the lab (emulated, ${kernel.name}): QEMU with -accel kvm and a passed-through e1000e boots that kernel until it panics; timed around QEMU itself; a boot that did not end within ${LIMIT_S} s is tried again`,
      metrics: [
        ...(bare.length > 0 ? [seconds('bare', bare)] : []),
        ...(recorded.length > 0 ? [seconds('recorded', recorded)] : []),
        ...(ratio
          ? [{ metric: 'boot: recorded / bare', ...withInterval(ratio), unit: 'x', better: 'lower' } as const]
          : []),
        hung('bare'),
        hung('recorded'),
        { metric: 'rows of the last recording', value: traces[0]?.rows ?? NaN, unit: 'rows', better: 'neither' },
      ],
    };
  },
};
