import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CvmtraceError, PACKAGE_ROOT } from '../../native/index.ts';
import { cacheFolder } from '../lab/cache.ts';
import { findKernel } from '../lab/find-kernel.ts';
import { medianInterval, pairedRatio } from '../stats/interval.ts';
import { type Metric, type Suite, withInterval } from './suite.ts';

const run = promisify(execFile);
const CLI = join(PACKAGE_ROOT, 'dist/cli/main.js');

/**
 * Boots that time themselves, bare and recorded in turns: `sh -c` around QEMU is what is recorded, so that the start of cvmtrace is in neither.
 * The guest's kernel ends in a panic, as it has no root, and QEMU with it.
 */
const SCRIPT = `
boot='a=$(date +%s%N); qemu-system-x86_64 -accel kvm -cpu host -machine q35 -m 256M -nodefaults -display none -serial null \\
  -device vfio-pci,host=0000:00:10.0 -kernel "$0" -append "console=ttyS0 quiet panic=-1" -no-reboot; b=$(date +%s%N); echo $((b - a))'
round=0
while [ $round -lt "$2" ]; do
  echo bare $(sh -c "$boot" "$1")
  echo recorded $(cvmtrace record --quiet --force -o /tmp/boot.arrow -- sh -c "$boot" "$1")
  round=$((round + 1))
done
cvmtrace info --json /tmp/boot.arrow
`;

export const recordBootSuite: Suite = {
  name: 'record-boot',
  summary: 'a boot of QEMU with KVM and a device in the lab, recorded and not',
  async run({ quick, signal, onProgress }) {
    const { kernel } = findKernel(cacheFolder(process.env), undefined);
    if (!existsSync('/usr/bin/qemu-system-x86_64'))
      throw new CvmtraceError('UNAVAILABLE', 'there is no qemu-system-x86_64', { hint: 'install qemu-system-x86' });
    const rounds = quick ? 1 : 7;
    onProgress?.(`${2 * rounds} boots`);
    const { stdout } = await run(
      process.execPath,
      [CLI, 'lab', 'run', '--iommu', 'vtd', '--', 'sh', '-c', SCRIPT, 'sh', kernel.image, String(rounds)],
      { cwd: PACKAGE_ROOT, signal, maxBuffer: 2 ** 24 },
    );
    const times = (side: string): number[] =>
      [...stdout.matchAll(new RegExp(`^${side} (\\d+)$`, 'gm'))].map(([, ns]) => Number(ns));
    const bare = times('bare');
    const recorded = times('recorded');
    const { rows } = JSON.parse(stdout.slice(stdout.indexOf('{'))) as { rows: number };
    const seconds = (side: string, values: readonly number[]): Metric => ({
      metric: `boot, emulated: ${side}`,
      ...withInterval(medianInterval(values.map((ns) => ns / 1e9))),
      unit: 's',
      better: 'lower',
    });
    const ratio = pairedRatio(recorded, bare);
    return {
      setup: `${rounds} rounds in turns in the lab (emulated, ${kernel.name}): QEMU with -accel kvm and a passed-through e1000e boots that kernel until it panics; timed around QEMU itself`,
      metrics: [
        seconds('bare', bare),
        seconds('recorded', recorded),
        ...(ratio
          ? [{ metric: 'boot: recorded / bare', ...withInterval(ratio), unit: 'x', better: 'lower' } as const]
          : []),
        { metric: 'rows of the last recording', value: rows, unit: 'rows', better: 'neither' },
      ],
    };
  },
};
