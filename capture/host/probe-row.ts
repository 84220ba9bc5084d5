import type { Attempt } from '../../native/native.ts';
import { HostFiles } from './host-files.ts';
import { detectHypervisor } from './hypervisor.ts';
import { readKernelConfig, type ConfigSymbol, type KernelConfig } from './kernel-config.ts';

/** One thing that a host can or cannot do. */
export interface ProbeRow {
  /** What it belongs to: a backend's name, or "kvm", "tee", "dma", "memory", "host". */
  readonly area: string;
  /** Stable name of the step within its area. */
  readonly step: string;
  /** null: not known, because it was not tried. */
  readonly works: boolean | null;
  /** What was found, or why it does not work, in words. */
  readonly found: string;
  /** Name of the errno that a call answered with, e.g. "ENOTTY". */
  readonly errno?: string;
  /** What would change that; absent where nothing has to, or can, change. */
  readonly remedy?: string;
}

/** Why something does not work, and what would change that. */
export interface Reason {
  readonly found: string;
  readonly remedy?: string;
}

/** All that rows are made from, read once. */
export interface Evidence {
  readonly files: HostFiles;
  readonly cpuinfo: string;
  readonly release: string;
  readonly config: KernelConfig;
  readonly hypervisor: ReturnType<typeof detectHypervisor>;
  /** What the addon tried, by key; null without the addon. */
  readonly attempts: Readonly<Record<string, Attempt>> | null;
  readonly errnoName: (errno: number) => string;
}

/** Reads the files of the host below `root`. */
export function gatherEvidence(root: string | undefined, native: Pick<Evidence, 'attempts' | 'errnoName'>): Evidence {
  const files = new HostFiles(root);
  const cpuinfo = files.text('/proc/cpuinfo') ?? '';
  const release = files.text('/proc/sys/kernel/osrelease') ?? 'unknown';
  return {
    ...native,
    files,
    cpuinfo,
    release,
    config: readKernelConfig(files, release),
    hypervisor: detectHypervisor(files, cpuinfo),
  };
}

export const ADDON_MISSING: Reason = {
  found: 'not tried: the native addon is not built',
  remedy: 'install make and g++, then run: npm run build:native',
};

/** A step that the addon tried. */
export interface TriedStep {
  readonly area: string;
  readonly step: string;
  /** Of the attempt that decides, see native/core/probe*.cc. */
  readonly key: string;
  /** Text for success, from the value that the call gave. */
  readonly found: (value: number | undefined) => string;
  /** Whether the value means yes; by default every success does. */
  readonly accepts?: (value: number | undefined) => boolean;
  /** Step that has to work before this one can be tried. */
  readonly needs: string;
  /** First kernel with it, and the symbol that turns it on: they explain why a kernel does not know it. */
  readonly since?: string;
  readonly symbol?: ConfigSymbol;
  /** Why the value means no, where age and configuration do not explain it. */
  readonly refused?: Reason;
  /** Explanations by errno that say more than age and configuration do. */
  readonly reasons?: Readonly<Record<string, Reason>>;
}

/** The errnos by which a kernel says that it does not know something. */
const NOT_KNOWN = ['ENOTTY', 'EINVAL', 'ENOENT', 'ENODEV', 'ENOSYS', 'EOPNOTSUPP'];

/** The row of a step that the addon tried. */
export function triedRow(evidence: Evidence, tried: TriedStep): ProbeRow {
  const { area, step } = tried;
  if (!evidence.attempts) return { area, step, works: null, ...ADDON_MISSING };
  const attempt = evidence.attempts[tried.key];
  if (!attempt) {
    const found = `not tried: it needs ${tried.needs}`;
    if (tried.since !== undefined && isOlder(evidence.release, tried.since)) {
      return { area, step, works: false, ...tooOld(evidence.release, tried.since, found) };
    }
    return { area, step, works: false, found };
  }
  if (attempt.errno === 0) {
    if (tried.accepts?.(attempt.value) ?? true) return { area, step, works: true, found: tried.found(attempt.value) };
    return { area, step, works: false, ...notKnown(evidence, tried, `${attempt.call} says no`) };
  }
  const errno = evidence.errnoName(attempt.errno);
  const reason =
    tried.reasons?.[errno] ??
    (NOT_KNOWN.includes(errno)
      ? notKnown(evidence, tried, `${attempt.call}: ${errno}`)
      : { found: `${attempt.call}: ${errno}` });
  return { area, step, works: false, errno, ...reason };
}

function notKnown(evidence: Evidence, { since, symbol, refused }: TriedStep, said: string): Reason {
  if (since !== undefined && isOlder(evidence.release, since)) return tooOld(evidence.release, since, said);
  if (symbol !== undefined && isOff(evidence, symbol)) return configOff(symbol, said);
  return refused ?? { found: said };
}

export function tooOld(release: string, since: string, said: string): Reason {
  return {
    found: `${said}; Linux ${release} is older than ${since}, which brought it`,
    remedy: `boot Linux ${since} or later`,
  };
}

export function configOff(symbol: ConfigSymbol, said: string): Reason {
  return { found: `${said}; ${symbol} is off`, remedy: `boot a kernel with ${symbol}` };
}

/** Whether the configuration is known and has the symbol off. */
export function isOff({ config }: Evidence, symbol: ConfigSymbol): boolean {
  return config.symbols[symbol] === null;
}

/** Whether a kernel release ("6.12.117-amd64") is before a version ("6.18"); false if it is no release. */
export function isOlder(release: string, version: string): boolean {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  const [sinceMajor = 0, sinceMinor = 0] = version.split('.').map(Number);
  if (major === undefined || minor === undefined) return false;
  return Number(major) < sinceMajor || (Number(major) === sinceMajor && Number(minor) < sinceMinor);
}

/** Whether the CPU has a flag, as /proc/cpuinfo lists them. */
export function hasFlag({ cpuinfo }: Evidence, flag: string): boolean {
  return /^flags\s*:(.*)$/m.exec(cpuinfo)?.[1]?.split(' ').includes(flag) ?? false;
}

/** Why a device file is not there although its module is loaded. */
export function notPassedIn(path: string, module: string): Reason {
  return {
    found: `no ${path}, although ${module} is loaded: this may be a container that was not given it`,
    remedy: `start the container with --device ${path}`,
  };
}

/** Why a device file that is there does not open for this user, from its mode and group. */
export function deniedDevice(files: HostFiles, path: string): Reason {
  const access = files.access(path);
  if (!access) return { found: `${path} may not be opened` };
  const mode = access.mode.toString(8).padStart(4, '0');
  if ((access.mode & 0o060) !== 0o060) {
    return {
      found: `${path} is for root alone (mode ${mode})`,
      remedy: `as root: chgrp kvm ${path} && chmod 660 ${path}`,
    };
  }
  const group = groupName(files, access.gid);
  return {
    found: `${path} is for root and group ${group} (mode ${mode}), which you are not in`,
    remedy: `as root: usermod -aG ${group} USER; then log in again`,
  };
}

function groupName(files: HostFiles, gid: number): string {
  const line = files
    .text('/etc/group')
    ?.split('\n')
    .find((entry) => entry.split(':')[2] === String(gid));
  return line?.split(':')[0] ?? String(gid);
}
